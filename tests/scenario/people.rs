//! People: they stop, resume, hold, cordon, relabel, and upgrade nodes that are theirs to upgrade.

use serde_json::json;
use windlass::model::decision::Key;
use windlass::model::entry::{InterruptionEvent, What};
use windlass::model::state::RunState;
use windlass::serve::End;
use windlass::sim::{How, Kind, When};

use super::observe::shown;
use crate::world::World;
use crate::world::fixtures::{WIDE, draining, lost_canary, on, small, workers_only, workload};
use crate::world::process::{HOUR, MINUTE, SECOND};

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_within_two_seconds_and_ended_by_its_deletion() {
    let (mut world, mut process) = draining(true).await;
    world.note("windlass-stop", "look at the shop first");
    let stopped = world.clock.now();
    assert_eq!(process.ended().await, End::Idle(RunState::Waiting));
    world.pass(HOUR).await;
    assert_eq!(world.run().await, End::Idle(RunState::Waiting), "a new process is stopped too");
    assert_eq!(world.writes_after(stopped + SECOND * 2), Vec::<String>::new());
    let text = shown(&world);
    assert!(text.contains("until `windlass resume`, by ada: look at the shop first\n"), "{text}");
    assert!(text.contains("⏳ Stopped (claimed") && !text.contains("⏳ In Progress"), "{text}");
    world.assert_waits(Key::Stopped, "cluster/demo", "look at the shop first");
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert!(!shown(&world).contains("stopped"), "{}", shown(&world));
}

#[tokio::test(start_paused = true)]
async fn a_stop_needs_no_git() {
    let (world, process) = draining(false).await;
    world.pass(MINUTE).await;
    world.take_git_away();
    world.pass(MINUTE).await;
    world.note("windlass-stop", "the shop is down");
    let stopped = world.clock.now();
    world.pass(MINUTE * 20).await;
    assert_eq!(world.writes_after(stopped + SECOND * 2), Vec::<String>::new());
    assert!(process.says(Key::Stopped, "cluster/demo"));
    world.bring_git_back();
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    world.until("the end", HOUR, |world| world.record().run.is_none()).await;
    world.assert_converged("v1.36.3");
    world.assert_invariants();
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_stop_during_an_upgrade_is_no_failure() {
    let mut world = workers_only(2).await;
    let process = world.daemon();
    world.until("a job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    world.pass(SECOND * 15).await;
    world.note("windlass-stop", "lunch");
    world.pass(HOUR).await;
    assert_eq!(world.node("w1").0, "v1.36.3", "what ran on the host finished");
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    world.done_within(HOUR, "v1.36.3").await;
    process.end().await;
    let journal = world.journal();
    let during = journal.iter().map(|entry| &entry.what);
    let during =
        during.skip_while(|what| !matches!(what, What::Interruption(InterruptionEvent::Stopped { .. })));
    let during = during.take_while(|what| !matches!(what, What::Interruption(InterruptionEvent::StopEnded)));
    let progress: Vec<&What> = during.filter(|what| what.is_progress()).collect();
    assert!(progress.is_empty(), "recorded during the stop: {progress:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_when_idle_does_not_wait_for_a_stopped_run() {
    let mut world = workers_only(2).await;
    let mut process = world.start();
    world.until("a job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    world.pass(SECOND * 15).await;
    world.note("windlass-stop", "lunch");
    assert_eq!(process.ended().await, End::Idle(RunState::Waiting), "once the host is done");
    assert_eq!(world.node("w1").0, "v1.36.3", "what ran on the host finished");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_got_empty_during_a_stop_is_upgraded_after_it() {
    let mut world = workers_only(1).await;
    world.create(workload("Deployment", "slow", 1, &json!({"sim/stop-seconds": "25"}), &on("w1")));
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    let process = world.daemon();
    world.until("an eviction", MINUTE * 10, |world| world.evictions() > 0).await;
    world.note("windlass-stop", "lunch");
    world.pass(HOUR).await;
    assert!(world.jobs().is_empty());
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    world.pass(MINUTE * 30).await;
    world.assert_in_service("w1", "v1.36.3");
    assert_eq!(world.record().halted, None);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_halt_ends_by_a_resume_once_the_cause_is_gone() {
    let mut world = lost_canary().await;
    world.server.with(|cluster, now| cluster.revive_node("w1", now));
    world.note("windlass-resume", "the kernel is fixed");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    let maps = world.list("/api/v1/namespaces/kube-system/configmaps");
    assert!(maps.iter().all(|map| map["metadata"]["name"] != "windlass-resume"), "it is spent");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_node_that_came_to_its_version_by_a_persons_hand_is_returned() {
    let mut world = lost_canary().await;
    world.server.with(|cluster, now| cluster.revive_node("w1", now));
    world.change_node("w1", |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.36.3"));
    world.note("windlass-resume", "done by hand");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_spent_resume_note_does_not_end_a_later_halt() {
    let mut world = workers_only(3).await;
    world.faults(|faults, _| faults.fail_jobs_on("w1"));
    let when = When { verb: "delete", resource: "configmaps", ..When::default() };
    let how = How::Status { code: 403, reason: "Forbidden", message: "no".to_owned() };
    world.faults(|faults, _| faults.on(when, 0, u64::MAX, how));
    let process = world.daemon();
    world.until("halted", HOUR, |world| world.record().halted.is_some()).await;
    world.note("windlass-resume", "once");
    world.pass(HOUR * 2).await;
    let count = |is_so: fn(&What) -> bool| world.journal().iter().filter(|entry| is_so(&entry.what)).count();
    let halted = count(|what| matches!(what, What::Interruption(InterruptionEvent::Halted { .. })));
    let resumed = count(|what| matches!(what, What::Interruption(InterruptionEvent::Resumed { .. })));
    assert_eq!((halted, resumed), (2, 1), "{:#?}", world.tail());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_held_node_is_never_touched_and_keeps_the_run_from_being_complete() {
    let mut world = small().await;
    world.annotate("w2", "windlass.dev/hold", Some("debugging a disk"));
    let before = world.clock.now();
    world.desire_with("v1.36.3", WIDE);
    world.assert_run_ends(RunState::Waiting).await;
    assert!(world.record().run.is_some());
    world.assert_waits(Key::Held, "node/w2", "debugging a disk");
    world.assert_in_service("w2", "v1.35.4");
    assert!(!world.writes_after(before).iter().any(|line| line.contains("/nodes/w2")));
    assert_eq!(world.node("w3").0, "v1.36.3");
    world.annotate("w2", "windlass.dev/hold", None);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_long_hold_during_an_upgrade_is_no_failure() {
    let mut world = workers_only(2).await;
    let process = world.daemon();
    world.until("a job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    world.pass(SECOND * 15).await;
    world.annotate("w1", "windlass.dev/hold", Some("look"));
    world.pass(HOUR).await;
    world.annotate("w1", "windlass.dev/hold", None);
    world.done_within(HOUR, "v1.36.3").await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_a_person_cordoned_is_left_alone() {
    let mut world = small().await;
    world.cordon("w2");
    world.desire_with("v1.36.3", WIDE);
    world.assert_run_ends(RunState::NeedsAPerson).await;
    world.assert_waits(Key::ForeignCordon, "node/w2", "uncordon");
    assert_eq!(world.node("w2"), ("v1.35.4".to_owned(), false, false));
    assert_eq!(world.node("w3").0, "v1.36.3", "the others go on");
    world.change_node("w2", |tree| tree["spec"]["unschedulable"] = json!(false));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_cordon_outlasts_an_upgrade_that_its_pool_asks_for() {
    let mut world = small().await;
    world.cordon("w2");
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 2, foreignCordon: upgrade}
";
    world.desire_with("v1.36.3", pool);
    world.assert_run_ends(RunState::AsDesired).await;
    assert_eq!(world.node("w2"), ("v1.36.3".to_owned(), false, false), "as it was found");
    world.assert_in_service("w1", "v1.36.3");
    world.assert_invariants();
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

const BY_OTHERS: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, provider: external, canary: 1, soak: 1m, maxUnavailable: 1}
";

#[tokio::test(start_paused = true)]
async fn nodes_of_an_external_provider_are_drained_waited_for_and_returned() {
    let mut world = workers_only(2).await;
    world.deployment("web", 4);
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", BY_OTHERS);
    let process = world.daemon();
    for node in ["w1", "w2"] {
        let empty = |world: &World| {
            world.node(node).2
                && !world
                    .list("/api/v1/namespaces/default/pods")
                    .iter()
                    .any(|pod| pod["spec"]["nodeName"] == node)
        };
        world.until("it is cordoned and empty", HOUR, |world| !world.node(node).1 && empty(world)).await;
        world.pass(MINUTE * 5).await;
        world.change_node(node, |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.36.3"));
    }
    world.until("the end", HOUR, |world| world.record().run.is_none()).await;
    world.assert_converged("v1.36.3");
    assert_eq!(world.list("/apis/batch/v1/namespaces/windlass-system/jobs").len(), 0);
    world.assert_invariants();
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_its_external_provider_does_not_upgrade_is_returned_at_its_deadline() {
    let mut world = workers_only(2).await;
    world.desire_with("v1.36.3", BY_OTHERS);
    let process = world.daemon();
    world.until("a claim", HOUR, |world| world.nodes().iter().any(|node| node.3)).await;
    let first = world.nodes().into_iter().find(|node| node.3).unwrap().0;
    world.pass(MINUTE * 115).await;
    world.assert_taken_out(&first, "v1.35.4");
    world.pass(MINUTE * 10).await;
    world.assert_in_service(&first, "v1.35.4");
    world.assert_waits(Key::SetAside, &format!("node/{first}"), "before the deadline");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_kubelet_is_newer_than_asked_for_is_returned() {
    let mut world = workers_only(2).await;
    world.desire_with("v1.36.3", BY_OTHERS);
    let process = world.daemon();
    world.until("a claim", HOUR, |world| world.nodes().iter().any(|node| node.3)).await;
    let first = world.nodes().into_iter().find(|node| node.3).unwrap().0;
    world.pass(MINUTE * 5).await;
    world.change_node(&first, |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.36.4"));
    world.pass(MINUTE * 5).await;
    world.assert_in_service(&first, "v1.36.4");
    assert_eq!(world.record().halted, None);
    process.end().await;
}
