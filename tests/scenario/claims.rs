//! Claims that were removed, changed or copied: each has one meaning, and the journal has how the node was found.

use serde_json::{Value, json};
use windlass::model::decision::Key;
use windlass::model::state::RunState;

use crate::world::World;
use crate::world::fixtures::{on, workers_only, workload};
use crate::world::process::{HOUR, MINUTE};

const CLAIM: &str = "windlass.dev/claim";

async fn all_in_service(world: &World, nodes: &[&str]) {
    world
        .until("the end", HOUR * 3, |world| world.record().run.is_none() && !world.record().ended.is_empty())
        .await;
    for node in nodes {
        world.assert_in_service(node, "v1.36.3");
    }
}

fn changed(world: &World, node: &str, change: impl Fn(&mut Value)) {
    world.change_node(node, |tree| {
        let text = tree["metadata"]["annotations"][CLAIM].as_str().unwrap();
        let mut claim: Value = serde_json::from_str(text).unwrap();
        change(&mut claim);
        tree["metadata"]["annotations"][CLAIM] = json!(claim.to_string());
    });
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_removed_during_the_drain_is_made_again_as_the_node_was_found() {
    let mut world = workers_only(2).await;
    world.create(workload("Deployment", "slow", 1, &json!({"sim/stop-seconds": "25"}), &on("w1")));
    world.pass(MINUTE).await;
    let process = world.daemon();
    world.until("an eviction", MINUTE * 10, |world| world.evictions() > 0).await;
    world.annotate("w1", CLAIM, None);
    all_in_service(&world, &["w1", "w2"]).await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_removed_during_the_upgrade_does_not_leave_the_node_cordoned() {
    let mut world = workers_only(2).await;
    let process = world.daemon();
    world.until("a Job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    world.annotate("w1", CLAIM, None);
    all_in_service(&world, &["w1", "w2"]).await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_found_cordoned_stays_so_when_its_claim_is_removed() {
    let mut world = workers_only(2).await;
    world.cordon("w2");
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 2, foreignCordon: upgrade}
";
    world.desire_with("v1.36.3", pool);
    let process = world.daemon();
    let of_w2 = |job: &Value| job["metadata"]["labels"]["windlass.dev/node"] == "w2";
    world.until("its Job", HOUR, |world| world.jobs().iter().any(of_w2)).await;
    world.annotate("w2", CLAIM, None);
    world.until("the end", HOUR * 3, |world| world.record().run.is_none()).await;
    assert_eq!(world.node("w2"), ("v1.36.3".to_owned(), false, false));
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_became_unreadable_during_the_upgrade_is_told_and_waits_for_its_removal() {
    let mut world = workers_only(2).await;
    let process = world.daemon();
    world.until("a Job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    world.annotate("w1", CLAIM, Some("mine now"));
    world.pass(HOUR * 2).await;
    world.assert_waits(Key::ForeignClaim, "node/w1", "cannot be read");
    assert!(world.record().halted.is_none(), "{:#?}", world.tail());
    world.annotate("w1", CLAIM, None);
    all_in_service(&world, &["w1", "w2"]).await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_with_a_key_of_a_later_version_is_read_and_keeps_the_key() {
    let mut world = workers_only(2).await;
    let process = world.daemon();
    world.until("a Job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    changed(&world, "w1", |claim| claim["zoneBudget"] = json!(1));
    let noted = |world: &World| {
        let node =
            world.list("/api/v1/nodes").into_iter().find(|node| node["metadata"]["name"] == "w1").unwrap();
        node["metadata"]["annotations"][CLAIM].as_str().is_some_and(|text| {
            let claim: Value = serde_json::from_str(text).unwrap();
            claim["reported"].is_object() && claim["zoneBudget"] == 1
        })
    };
    world.until("a note on the claim", HOUR, noted).await;
    all_in_service(&world, &["w1", "w2"]).await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_copied_from_another_node_undoes_no_cordon_and_is_told() {
    let mut world = workers_only(3).await;
    world.assert_run_ends(RunState::AsDesired).await;
    let claim = json!({"nodeUid": "of-a-node-that-is-gone", "run": "0000000-1", "step": "w/v1.36.3/x/kubelet", "planDigest": "d",
        "epoch": 0, "wasUnschedulable": false, "cordoned": true, "at": world.clock.now().to_string()});
    world.annotate("w3", CLAIM, Some(&claim.to_string()));
    world.cordon("w3");
    world.desire("v1.36.4");
    let process = world.daemon();
    world.pass(HOUR * 2).await;
    assert_eq!(world.node("w3"), ("v1.36.3".to_owned(), false, true), "cordoned, with the claim");
    world.assert_waits(
        Key::ForeignClaim,
        "node/w3",
        "it is the claim of a node with the UID of-a-node-that-is-gone",
    );
    process.end().await;
}
