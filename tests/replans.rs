//! Commits that come in the middle of a run, and what they change of it.

use serde_json::json;
use windlass::model::decision::Key;
use windlass::model::entry::{Entry, What};
use windlass::reconcile::{End, Standing};

use crate::acting::{HOUR, MINUTE, SECOND, careful, workers_only};
use crate::windows::window;
use crate::world::{ALWAYS, POOL, World, cluster_yaml};

async fn until_w1_is_done(world: &World) {
    let done = |entry: &Entry| matches!(&entry.what, What::StepDone { node, .. } if node == "w1");
    world.until("w1 done", HOUR, |world| world.journal().iter().any(done)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hosted_control_plane_that_is_waited_for_gives_way_to_a_newer_commit() {
    let mut world = World::new();
    world.workers("w", 2);
    world.pass(MINUTE).await;
    let pool = "  nodePools: [{name: w, selector: {matchLabels: {pool: w}}, provider: kubeadm, canary: 0}]\n";
    let desire = |world: &World, version: &str| {
        let cluster = cluster_yaml(version, pool)
            .replace("controlPlane: {provider: kubeadm}", "controlPlane: {provider: external}");
        world.commit(
            &[("desired-state/demo/cluster.yaml", Some(&cluster)), ("policies/window.yaml", Some(ALWAYS))],
            version,
        );
    };
    desire(&world, "v1.36.33");
    let process = world.daemon();
    world.pass(HOUR).await;
    desire(&world, "v1.36.3");
    world.pass(MINUTE * 10).await;
    world.server.with(|cluster, _| cluster.settings.version = "v1.36.3".to_owned());
    world.pass(HOUR).await;
    assert_eq!(world.node("w1").0, "v1.36.3", "{:#?}\n{:#?}", world.tail(), world.record().waiting);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_no_pool_selects_any_more_is_not_touched() {
    let mut world = workers_only(3).await;
    let process = world.daemon();
    until_w1_is_done(&world).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}, matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [w3]}]}, canary: 1, soak: 1m, maxUnavailable: 1}
";
    world.change_node("w3", |tree| tree["metadata"]["labels"]["kubernetes.io/hostname"] = json!("w3"));
    world.desire_with("v1.36.3", pool);
    world.pass(HOUR * 2).await;
    assert_eq!(world.node("w3").0, "v1.35.4", "no pool selects it: {:#?}", world.tail());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_lost_its_nodes_is_not_as_desired() {
    let mut world = workers_only(3).await;
    let mut process = world.start();
    until_w1_is_done(&world).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: elsewhere}}, canary: 1, soak: 1m, maxUnavailable: 1}
";
    world.desire_with("v1.36.3", pool);
    let end = process.ended().await;
    assert_ne!(end, End::Idle(Standing::AsDesired), "{:#?} {:#?}", world.nodes(), world.tail());
}

#[tokio::test(start_paused = true)]
async fn the_scripts_of_a_run_are_those_of_its_plan() {
    let mut world = workers_only(3).await;
    let process = world.daemon();
    until_w1_is_done(&world).await;
    let digest = world.record().run.unwrap().digest;
    let cluster = cluster_yaml("v1.36.3", "").replace(
        "controlPlane: {provider: kubeadm}",
        "controlPlane: {provider: kubeadm, kubeadm: {image: \"evil.example.com/x:1\"}}",
    );
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&cluster))], "another image");
    world
        .until("w2", HOUR, |world| {
            world.jobs().iter().any(|j| j["metadata"]["labels"]["windlass.dev/node"] != "w1")
        })
        .await;
    let job =
        world.jobs().into_iter().find(|j| j["metadata"]["labels"]["windlass.dev/node"] != "w1").unwrap();
    let image = job["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let now = world.record().run.map(|run| run.digest);
    assert!(
        image != "evil.example.com/x:1" || now.as_ref() != Some(&digest),
        "image {image} runs under the digest of the plan that named another"
    );
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_node_finished_by_hand_is_returned_under_a_new_run() {
    let mut world = workers_only(3).await;
    world.faults(|faults, _| faults.fail_jobs_on("w1"));
    assert_eq!(world.run().await, End::Idle(Standing::Halted));
    world.faults(|faults, _| faults.heal_jobs_on("w1"));
    world.change_node("w1", |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.36.3"));
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 2m, maxUnavailable: 2}
";
    world.desire_with("v1.36.3", pool);
    let end = world.run().await;
    assert!(
        end != End::Idle(Standing::AsDesired) || world.node("w1").1,
        "exit 0 with w1 cordoned and claimed: {:?}",
        world.node("w1")
    );
}

/// In the middle of a run: one worker is done, the next is in hand, the third has not been begun.
async fn half_way() -> (World, crate::acting::Process) {
    let mut world = workers_only(3).await;
    let process = world.daemon();
    world.until("w1 done", HOUR, |world| world.node("w1").0 == "v1.36.3" && world.node("w1").1).await;
    world.until("the next in hand", HOUR, |world| world.nodes().iter().any(|node| node.3)).await;
    (world, process)
}

/// What is in hand was finished and given back, and the last worker was left alone.
fn assert_finished_and_left(world: &World) {
    let at = |version| world.nodes().iter().filter(|node| node.1 == version && node.2 && !node.3).count();
    assert_eq!((at("v1.36.3"), at("v1.35.4")), (3, 1), "{:#?}\n{:#?}", world.tail(), world.nodes());
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_cluster_whose_folder_goes_is_seen_to_the_end_of_what_is_in_hand() {
    let (mut world, process) = half_way().await;
    let gone = world.commit(&[("desired-state/demo/cluster.yaml", None)], "demo: away");
    world.pass(HOUR * 3).await;
    process.end().await;
    assert_finished_and_left(&world);
    assert_eq!(world.record().refused.map(|(commit, _)| commit.0), Some(gone), "the one that took it away");
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_after_the_folder_went_ends_what_was_begun() {
    let (mut world, process) = half_way().await;
    drop(process);
    world.commit(&[("desired-state/demo/cluster.yaml", None)], "demo: away");
    assert_eq!(world.run().await, End::Idle(Standing::Refused), "{:#?}", world.tail());
    assert_finished_and_left(&world);
}

#[tokio::test(start_paused = true)]
async fn to_observe_in_mid_run_leaves_no_node_behind() {
    let (mut world, process) = half_way().await;
    let observed = cluster_yaml("v1.36.3", POOL).replace("mode: act", "mode: observe");
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&observed))], "demo: look only");
    world.pass(HOUR).await;
    process.end().await;
    assert_finished_and_left(&world);
    assert_eq!(world.run().await, End::Idle(Standing::Waiting));
    world.assert_waits(Key::ObserveOnly, "cluster/demo", "no node is taken out");
    let rest = world.clock.now();
    world.pass(HOUR).await;
    assert_eq!(world.run().await, End::Idle(Standing::Waiting));
    assert_eq!(world.writes_after(rest), Vec::<String>::new());
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn observe_with_another_plan_returns_what_is_set_aside() {
    let mut world = workers_only(3).await;
    world.create(careful("w1"));
    world.pass(SECOND * 10).await;
    let process = world.daemon();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(MINUTE).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 2m, maxUnavailable: 1}
";
    let observed = cluster_yaml("v1.36.3", pool).replace("mode: act", "mode: observe");
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&observed))], "demo: look only");
    world.pass(HOUR * 4).await;
    process.end().await;
    assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), true, false), "{:#?}", world.tail());
}

#[tokio::test(start_paused = true)]
async fn observe_returns_a_node_whose_drain_is_given_up() {
    let mut world = workers_only(3).await;
    world.create(careful("w1"));
    world.pass(SECOND * 10).await;
    let process = world.daemon();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(MINUTE).await;
    let observed = cluster_yaml("v1.36.3", "").replace("mode: act", "mode: observe");
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&observed))], "demo: look only");
    world.pass(HOUR * 6).await;
    process.end().await;
    assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), true, false), "{:#?}", world.tail());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_moves_to_another_pool_is_upgraded_in_the_end() {
    let mut world = workers_only(3).await;
    let pools = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 1}
    - {name: x, selector: {matchLabels: {pool: x}}, canary: 0, maxUnavailable: 1}
";
    world.desire_with("v1.36.3", pools);
    let process = world.daemon();
    world.until("w1 done", HOUR, |world| world.node("w1").0 == "v1.36.3").await;
    world.change_node("w3", |tree| tree["metadata"]["labels"]["pool"] = json!("x"));
    world.pass(HOUR * 24).await;
    process.end().await;
    assert_eq!(world.node("w3").0, "v1.36.3", "{:#?} {:#?}", world.tail(), world.record().waiting);
}

#[tokio::test(start_paused = true)]
async fn an_observed_cluster_with_an_open_run_is_not_written_to() {
    let mut world = workers_only(3).await;
    let cluster = cluster_yaml("v1.36.3", "");
    let daily = window("1h", "");
    world.commit(
        &[("desired-state/demo/cluster.yaml", Some(&cluster)), ("policies/window.yaml", Some(&daily))],
        "demo",
    );
    let process = world.daemon();
    world.until("w1 done", HOUR * 3, |world| world.node("w1").0 == "v1.36.3" && world.node("w1").1).await;
    let observed = cluster.replace("mode: act", "mode: observe");
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&observed))], "demo: look only");
    world.pass(HOUR * 8).await;
    assert!(world.record().run.is_some(), "set-up");
    let rest = world.clock.now();
    world.pass(HOUR * 25).await;
    process.end().await;
    assert_eq!(world.writes_after(rest), Vec::<String>::new());
}
