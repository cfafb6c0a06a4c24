//! Whole upgrades on the simulator, from the commit to the record.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::json;
use windlass::model::decision::Key;
use windlass::model::entry::{RunOutcome, What};
use windlass::reconcile::{End, Standing};
use windlass::sim;

use crate::acting::{MINUTE, small, workers_only};
use crate::world::{World, rules};

#[tokio::test(start_paused = true)]
async fn a_version_bump_becomes_an_upgrade() {
    let mut world = small().await;
    assert_eq!(world.run().await, End::Idle(Standing::AsDesired), "{:#?}", world.log());
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

const TWO_POOLS: &str = "  maxUnavailable: 3
  nodePools:
    - {name: a, selector: {matchLabels: {pool: a}}, canary: 1, soak: 2m, maxUnavailable: 2, maxUnavailablePerZone: 1}
    - {name: b, selector: {matchLabels: {pool: b}}, canary: 1, soak: 2m, maxUnavailable: 50%}
";

/// Three control plane nodes, eight workers in two pools, and 80 pods under every kind of budget.
async fn large() -> World {
    let world = World::new();
    world.control_plane(3).workers("a", 4).workers("b", 4);
    world.deployment("max1", 8).budget("max1", json!({"maxUnavailable": 1}));
    world.deployment("share", 10).budget("share", json!({"maxUnavailable": "25%"}));
    world.deployment("min", 6).budget("min", json!({"minAvailable": 4}));
    world.deployment("most", 10).budget("most", json!({"minAvailable": "60%"}));
    world.deployment("free1", 1).deployment("free4", 4).deployment("free20", 20).deployment("free21", 21);
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", TWO_POOLS);
    world
}

/// How many nodes are out: of each pool, of each zone of pool a, of all workers, of the control plane.
fn out(world: &World) -> BTreeMap<String, usize> {
    let mut out: BTreeMap<String, usize> = BTreeMap::new();
    for node in world.list("/api/v1/nodes") {
        let ready = node["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True");
        if ready && node["spec"]["unschedulable"] != true {
            continue;
        }
        let pool = node["metadata"]["labels"]["pool"].as_str().unwrap_or("control plane");
        *out.entry(pool.to_owned()).or_default() += 1;
        *out.entry(if pool == "control plane" { "servers".to_owned() } else { "workers".to_owned() })
            .or_default() += 1;
        if pool == "a" {
            *out.entry(format!("a/{}", node["metadata"]["labels"]["topology.kubernetes.io/zone"]))
                .or_default() += 1;
        }
    }
    out
}

#[tokio::test(start_paused = true)]
async fn every_limit_holds_at_every_instant() {
    let mut world = large().await;
    let mut process = world.start();
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    let end = world
        .watching(&mut process, |world| {
            let now = out(world);
            assert!(!(now.contains_key("control plane") && now.contains_key("workers")), "{now:?}");
            for (what, count) in now {
                let before = most.entry(what).or_default();
                *before = count.max(*before);
            }
        })
        .await;
    world.assert_done(&end, "v1.36.3");
    for (what, count) in &most {
        let limit = match what.as_str() {
            "a" | "b" => 2,
            "workers" => 3,
            _ => 1,
        };
        assert!(*count <= limit, "{what}: {most:?}");
    }
    assert!(most["workers"] > 1, "it works on several at once where it may: {most:?}");
}

#[tokio::test(start_paused = true)]
async fn owners_without_a_budget_keep_three_quarters_and_no_eviction_is_asked_for_in_vain() {
    let mut world = large().await;
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    world.server.with(|cluster, _| {
        for mark in cluster.audit().low_water.values().filter(|mark| mark.name.starts_with("free")) {
            assert!(mark.ready + (mark.replicas / 4).max(1) >= mark.replicas, "{mark:?}");
        }
        let asked = cluster.audit().evictions().count();
        let uids: BTreeSet<_> =
            cluster.audit().evictions().map(|(_, eviction)| eviction.uid.clone()).collect();
        assert!(uids.len() > 40, "{}", uids.len());
        assert!(asked * 10 <= uids.len() * 11, "{asked} requests for {} pods", uids.len());
    });
}

#[tokio::test(start_paused = true)]
async fn the_control_plane_goes_first_and_canaries_go_before_their_pools() {
    let mut world = large().await;
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    let begun = world.begun();
    // Servers, then kubelets of the control plane; then one canary of each pool; then the rest.
    assert!(begun[..6].iter().all(|node| node.starts_with("cp")), "{begun:?}");
    assert_eq!(
        begun[6..8].iter().map(|node| &node[..1]).collect::<BTreeSet<_>>(),
        BTreeSet::from(["a", "b"]),
        "{begun:?}"
    );
    assert_eq!(begun.len(), 14);
    for pool in ["a", "b"] {
        let times = |end: bool| {
            world
                .journal()
                .into_iter()
                .filter_map(move |entry| match &entry.what {
                    What::StepDone { node, .. } if end && node.starts_with(pool) => Some(entry.at),
                    What::StepStarted { node, .. } if !end && node.starts_with(pool) => Some(entry.at),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        assert!(times(false)[1].duration_since(times(true)[0]) >= MINUTE * 2, "pool {pool} soaks");
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_taken_back_before_the_control_plane_moved_is_cancelled() {
    let mut world = small().await;
    world.run().await;
    // A control plane that is not healthy enough to begin with holds the run back.
    world.desire("v1.36.3");
    let mut process = world.start();
    world.until("a run", MINUTE, |world| world.record().run.is_some()).await;
    world.desire("v1.35.4");
    let end = process.ended().await;
    let ended = world.record().ended;
    if ended[0].outcome == RunOutcome::Cancelled {
        world.assert_done(&end, "v1.35.4");
    } else {
        panic!("{:#?}", world.log());
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_taken_back_after_the_control_plane_moved_holds_and_names_what_is_mixed() {
    let mut world = small().await;
    world.run().await;
    world.desire("v1.36.3");
    let mut process = world.start();
    world
        .until("a worker is taken out", MINUTE * 30, |world| {
            world.begun().iter().any(|node| node.starts_with('w'))
        })
        .await;
    world.desire("v1.35.4");
    assert_eq!(process.ended().await, End::Idle(Standing::Waiting), "{:#?}", world.log());
    world.assert_waits(Key::Downgrade, "node/cp1", "v1.36.3");
    assert!(
        world.nodes().iter().all(|(.., schedulable, claimed)| *schedulable && !claimed),
        "{:#?}",
        world.nodes()
    );
    assert_eq!(world.record().ended[0].outcome, RunOutcome::Superseded);
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_newer_commit_takes_over_between_two_workers() {
    let mut world = small().await;
    world.run().await;
    world.desire("v1.36.1");
    let mut process = world.start();
    world
        .until("a worker is done", MINUTE * 60, |world| {
            world.nodes().iter().any(|n| n.0.starts_with('w') && n.1 == "v1.36.1")
        })
        .await;
    world.desire("v1.36.3");
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
    let outcomes: Vec<_> = world.record().ended.iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [RunOutcome::Superseded, RunOutcome::Converged]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_vanishes_in_hand_is_no_reason_to_wait() {
    let mut world = workers_only(3).await;
    let mut process = world.start();
    world.until("a claim", MINUTE * 5, |world| world.nodes().iter().any(|node| node.3)).await;
    let gone = world.nodes().into_iter().find(|node| node.3).unwrap().0;
    world.erase(sim::Kind::Node, "", &gone);
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
    assert!(
        world
            .journal()
            .iter()
            .any(|entry| matches!(&entry.what, What::StepGone { node, .. } if *node == gone))
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_replaced_under_its_name_and_one_that_joins_late_are_upgraded_too() {
    let mut world = workers_only(3).await;
    let mut process = world.start();
    world.until("a claim", MINUTE * 5, |world| world.nodes().iter().any(|node| node.3)).await;
    let gone = world.nodes().into_iter().find(|node| node.3).unwrap().0;
    world.erase(sim::Kind::Node, "", &gone);
    for name in [gone.as_str(), "w9"] {
        world.create(
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"pool": "w"}}}),
        );
        world.change_node(name, |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.35.4"));
    }
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(world.nodes().len(), 5);
}

/// The control plane and workers at one version each.
async fn at(servers: &str, workers: &str) -> World {
    let world = World::with(sim::Settings {
        version: servers.to_owned(),
        rules: rules(),
        ..sim::Settings::default()
    });
    world.control_plane(1).workers("w", 2).deployment("web", 4);
    world.pass(MINUTE).await;
    for node in ["w1", "w2"] {
        world.change_node(node, |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!(workers));
    }
    world
}

fn minor(version: &str) -> i32 {
    version.trim_start_matches("v1.").split('.').next().unwrap().parse().unwrap()
}

/// The minors by which the oldest kubelet is behind the newest API server, and whether one is ahead of the oldest.
fn skew(world: &World) -> (i32, bool) {
    let image = |pod: &serde_json::Value| {
        pod["spec"]["containers"][0]["image"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    };
    let pods = world.list("/api/v1/namespaces/kube-system/pods");
    let servers: Vec<i32> = pods
        .iter()
        .filter(|pod| pod["metadata"]["labels"]["component"] == "kube-apiserver")
        .map(|pod| minor(&image(pod)))
        .collect();
    let kubelets: Vec<i32> = world.nodes().iter().map(|node| minor(&node.1)).collect();
    let (newest, oldest) = (*servers.iter().max().unwrap(), *servers.iter().min().unwrap());
    (newest - kubelets.iter().min().unwrap(), *kubelets.iter().max().unwrap() > oldest)
}

#[tokio::test(start_paused = true)]
async fn two_minors_are_two_hops_and_workers_are_moved_once() {
    let mut world = at("v1.34.4", "v1.34.4").await;
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    let workers = world.begun().iter().filter(|node| node.starts_with('w')).count();
    assert_eq!(workers, 2, "{:?}", world.begun());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_status_branch_changes_nothing_about_the_way() {
    let mut world = at("v1.34.4", "v1.34.4").await;
    world.desire("v1.36.3");
    let process = {
        let process = world.start();
        world.until("the first hop", MINUTE * 60, |world| world.node("cp1").0.starts_with("v1.35")).await;
        process
    };
    process.end().await;
    git2::Repository::open(world.repo())
        .unwrap()
        .find_reference("refs/heads/windlass/status")
        .unwrap()
        .delete()
        .unwrap();
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn the_skew_holds_at_every_instant_of_many_hops() {
    let mut world = at("v1.33.4", "v1.32.4").await;
    world.desire("v1.36.3");
    let mut process = world.start();
    let end = world
        .watching(&mut process, |world| {
            let (behind, ahead) = skew(world);
            assert!(behind <= 3 && !ahead, "{behind} behind: {:?}", world.nodes());
        })
        .await;
    world.assert_done(&end, "v1.36.3");
    assert!(world.begun().iter().filter(|node| *node == "w1").count() > 1, "lifted once on the way");
}

#[tokio::test(start_paused = true)]
async fn a_broken_commit_lets_what_is_in_hand_finish_and_begins_nothing() {
    let mut world = workers_only(3).await;
    let mut process = world.start();
    world.until("a claim", MINUTE * 5, |world| world.nodes().iter().any(|node| node.3)).await;
    world.commit(&[("desired-state/demo/cluster.yaml", Some("kind: Cluster\nspec: [oops"))], "demo: broken");
    assert_eq!(process.ended().await, End::Idle(Standing::Refused), "{:#?}", world.log());
    assert_eq!(world.begun().len(), 1);
    assert!(world.nodes().iter().all(|(.., schedulable, claimed)| *schedulable && !claimed));
    world.pass(SignedDuration::from_hours(1)).await;
    assert_eq!(world.run().await, End::Idle(Standing::Refused), "a new process knows it too");
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_broken_commit_does_not_split_a_control_plane() {
    let mut world = World::new();
    world.control_plane(3).workers("w", 2);
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    let process = world.daemon();
    let serves = |world: &World, node: &str| world.node(node).2;
    world.until("the first claim", MINUTE * 10, |world| serves(world, "cp1")).await;
    world.commit(&[("desired-state/demo/cluster.yaml", Some("kind: Cluster\nspec: [oops"))], "demo: broken");
    world.pass(SignedDuration::from_hours(3)).await;
    process.end().await;
    for node in ["cp1", "cp2", "cp3"] {
        assert_eq!(world.node(node), ("v1.36.3".to_owned(), true, false), "{:#?}", world.log());
    }
    for node in ["w1", "w2"] {
        assert_eq!(world.node(node), ("v1.35.4".to_owned(), true, false), "{:#?}", world.log());
    }
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_rewritten_history_is_refused() {
    let mut world = small().await;
    world.run().await;
    let repo = git2::Repository::open(world.repo()).unwrap();
    repo.find_reference("refs/heads/main").unwrap().delete().unwrap();
    world.desire("v1.36.3");
    assert_eq!(world.run().await, End::Idle(Standing::Refused));
    world.assert_converged("v1.35.4");
}
