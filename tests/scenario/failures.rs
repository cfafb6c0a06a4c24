//! Failures of nodes, of Jobs and of git: what halts a run, what it gets over, and what becomes of the nodes in hand.

use jiff::SignedDuration;
use serde_json::json;
use windlass::model::decision::Key;
use windlass::model::entry::{ClusterEvent, StepEvent, What};
use windlass::model::state::RunState;
use windlass::serve::End;
use windlass::sim;

use crate::world::World;
use crate::world::fixtures::{
    at, busy, careful, change_network, draining, network, on, workers_only, workload,
};
use crate::world::process::{HOUR, MINUTE, SECOND};

#[tokio::test(start_paused = true)]
async fn a_node_that_vanishes_during_its_upgrade_is_not_waited_for() {
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
            .any(|entry| matches!(&entry.what, What::Step(id, StepEvent::Gone) if id.node_name() == Some(gone.as_str())))
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

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_halts_the_run() {
    let mut world = workers_only(3).await;
    world.faults(|faults, _| faults.fail_jobs_on("w1"));
    world.assert_run_ends(RunState::Halted).await;
    world.assert_halted(Key::JobFailed, "BackoffLimitExceeded");
    world.assert_taken_out("w1", "v1.35.4");
    assert_eq!(world.begun(), ["w1"]);
    world.faults(|faults, _| faults.heal_jobs_on("w1"));
    world.note("windlass-resume", "the mirror is back");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_never_starts_gives_its_node_back_untouched_and_halts() {
    let mut world = workers_only(3).await;
    let usual =
        world.server.with(|cluster, _| std::mem::replace(&mut cluster.settings.timings.pod_start, HOUR));
    world.assert_run_ends(RunState::Halted).await;
    world.assert_in_service("w1", "v1.35.4");
    world.assert_halted(Key::JobNotStarted, "its pod does not start");
    assert!(
        world
            .journal()
            .iter()
            .any(|entry| matches!(&entry.what, What::Step(_, StepEvent::SetAside { touched: false, .. })))
    );
    assert_eq!(
        world.list("/apis/batch/v1/namespaces/windlass-system/jobs").len(),
        0,
        "it cannot begin later by itself"
    );
    world.server.with(|cluster, _| cluster.settings.timings.pod_start = usual);
    world.note("windlass-resume", "the image can be pulled");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn the_node_is_judged_where_the_restart_kills_the_job() {
    let mut world = busy().await;
    world.server.with(|cluster, _| cluster.settings.timings.restart_kills_job = true);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert!(!world.jobs().is_empty() && world.jobs().iter().all(|job| job["status"]["failed"] == 1));
}

/// Keeps the pod of a `DaemonSet` on w1 from being Ready until the run halts; whether it did within the time.
async fn ill_until_halted(world: &World, limit: SignedDuration) -> bool {
    let end = world.clock.now() + limit;
    while world.clock.now() < end {
        for _ in 0..30 {
            change_network(world, "w1", |_| ());
            world.pass(SECOND * 2).await;
        }
        if world.record().halted.is_some() {
            return true;
        }
    }
    false
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_unhealthy_after_a_resume_halts_again() {
    let mut world = workers_only(2).await;
    world.create(network());
    world.pass(MINUTE).await;
    let process = world.daemon();
    world.until("a job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    assert!(ill_until_halted(&world, HOUR).await, "{:#?}", world.tail());
    world.note("windlass-resume", "try again");
    world.pass(SECOND * 20).await;
    assert!(world.record().halted.is_none());
    assert!(ill_until_halted(&world, HOUR).await, "{:#?}\n{:#?}", world.tail(), world.record().waiting);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn with_git_away_nodes_under_way_are_finished_and_no_other_is_started() {
    let (world, process) = draining(false).await;
    world.pass(MINUTE).await;
    let begun = world.begun();
    world.take_git_away();
    world.pass(HOUR).await;
    for n in 1..=4 {
        let node = format!("w{n}");
        world.assert_in_service(&node, if begun.contains(&node) { "v1.36.3" } else { "v1.35.4" });
    }
    assert!(process.says(Key::RecordRefused, "repository"), "{:#?}", process.view());
    world.bring_git_back();
    world.until("the end", HOUR, |world| world.record().run.is_none()).await;
    world.assert_converged("v1.36.3");
    world.assert_invariants();
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn with_git_away_a_node_that_is_given_up_is_returned() {
    let mut world = workers_only(3).await;
    world.create(careful("w1"));
    world.pass(SECOND * 10).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 1, drain: {timeout: 20m, jobs: 30m}}
";
    world.desire_with("v1.36.3", pool);
    let _process = world.daemon();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(MINUTE).await;
    world.take_git_away();
    world.pass(HOUR * 5).await;
    world.assert_in_service("w1", "v1.35.4");
}

/// As another git process leaves it while it writes the status branch.
fn lock_file(world: &World) -> std::path::PathBuf {
    let lock = world.repo().join("refs/heads/windlass/status.lock");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, "").unwrap();
    lock
}

#[tokio::test(start_paused = true)]
async fn a_ref_that_is_locked_for_a_moment_is_no_refusal() {
    let mut world = workers_only(1).await;
    let lock = lock_file(&world);
    let clock = world.clock.clone();
    tokio::spawn(async move {
        clock.sleep(SECOND * 20).await;
        std::fs::remove_file(lock).unwrap();
    });
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn until_idle_with_a_record_that_cannot_be_written_leaves_no_node_half_emptied() {
    let mut world = workers_only(2).await;
    world.create(workload("Deployment", "slow", 2, &json!({"sim/stop-seconds": "29"}), &on("w1")));
    world.pass(MINUTE).await;
    let mut process = world.start();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    let _lock = lock_file(&world);
    let end = process.ended().await;
    assert!(matches!(end, End::Unrecorded { refused: false, .. }), "{end:?}");
    // The second of its pods could not go while the first one waits for a node; w1 is given up in time, and given back.
    world.assert_in_service("w1", "v1.35.4");
    world.assert_in_service("w2", "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_run_reaches_its_end_after_the_status_branch_was_deleted() {
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

/// A run in which the only pod of an owner is never scheduled again after its eviction, and how it ended.
async fn never_recovers(then: &str) -> (World, End) {
    let mut world = workers_only(3).await;
    // The others have more pods, so w1 goes first.
    for (name, node) in [("b1", "w2"), ("b2", "w2"), ("c1", "w3"), ("c2", "w3")] {
        world.create(workload("Deployment", name, 1, &json!({}), &on(node)));
    }
    world.create(workload("Deployment", "lost", 1, &json!({}), &on("w1")));
    world.pass(MINUTE).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, drain: {recovery: 10m, onNotRecovered: THEN}}
";
    world.desire_with("v1.36.3", &pool.replace("THEN", then));
    let mut process = world.start();
    world.until("its eviction", HOUR, |world| world.evictions() > 0).await;
    world.change_node("w1", |tree| tree["metadata"]["labels"]["kubernetes.io/hostname"] = json!("elsewhere"));
    let end = process.ended().await;
    (world, end)
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_never_recovers_halts_the_run_after_its_time() {
    let (world, end) = never_recovers("halt").await;
    assert_eq!(end, End::Idle(RunState::Halted), "{:#?}", world.tail());
    world.assert_halted(Key::OwnersRecovering, "fewer than 1 of its pods are Ready again");
    world.assert_in_service("w1", "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_never_recovers_keeps_further_nodes_from_being_taken_out() {
    let (mut world, end) = never_recovers("wait").await;
    assert_eq!(end, End::Idle(RunState::Waiting), "{:#?}", world.tail());
    world.assert_in_service("w1", "v1.36.3");
    world.assert_in_service("w3", "v1.35.4");
    let waits = world.record().waiting;
    assert!(waits.iter().any(|wait| wait.value.reason.key == Key::RecoveryOverdue), "{waits:#?}");
    // The pod fits on a node again, its owner recovers, and the run goes on without a person.
    world.change_node("w1", |tree| tree["metadata"]["labels"]["kubernetes.io/hostname"] = json!("w1"));
    world.pass(MINUTE).await;
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_never_recovers_is_told_where_the_pool_goes_on() {
    let (world, end) = never_recovers("continue").await;
    world.assert_done(&end, "v1.36.3");
    let told = world.journal().iter().any(|entry| {
        matches!(&entry.what, What::Cluster(ClusterEvent::Waiting { answers })
            if answers.iter().any(|answer| answer.reason.key == Key::OwnersRecovering))
    });
    assert!(told, "{:#?}", world.tail());
}
