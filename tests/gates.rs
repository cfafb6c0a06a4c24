//! What keeps a run from going on: people, failures, other processes. Calendars are in `windows`.

use serde_json::json;
use windlass::model::decision::Key;
use windlass::model::entry::What;
use windlass::reconcile::{End, Standing};
use windlass::sim::{How, Kind, When};

use crate::acting::{HOUR, MINUTE, Process, SECOND, small, workers_only, workload};
use crate::world::World;

const WIDE: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 2}
";

/// A cluster in the middle of drains whose pods take their time to leave.
async fn draining(until_idle: bool) -> (World, Process) {
    let mut world = workers_only(4).await;
    world.create(workload("Deployment", "slow", 24, &json!({"sim/stop-seconds": "25"}), &json!({})));
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", WIDE);
    let process = world.started(until_idle);
    world.until("evictions", MINUTE * 10, |world| world.evictions() > 2).await;
    (world, process)
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_within_two_seconds_and_ended_by_its_deletion() {
    let (mut world, mut process) = draining(true).await;
    world.note("windlass-stop", "look at the shop first");
    let stopped = world.clock.now();
    assert_eq!(process.ended().await, End::Idle(Standing::Waiting));
    world.pass(HOUR).await;
    assert_eq!(world.run().await, End::Idle(Standing::Waiting), "a new process is stopped too");
    assert_eq!(world.writes_after(stopped + SECOND * 2), Vec::<String>::new());
    world.assert_waits(Key::Stopped, "cluster/demo", "look at the shop first");
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_stop_needs_no_git() {
    let (world, mut process) = draining(false).await;
    world.pass(MINUTE).await;
    let away = world.folder.path().join("away.git");
    std::fs::rename(world.repo(), &away).unwrap();
    world.pass(MINUTE).await;
    world.note("windlass-stop", "the shop is down");
    let stopped = world.clock.now();
    world.pass(MINUTE * 20).await;
    assert_eq!(world.writes_after(stopped + SECOND * 2), Vec::<String>::new());
    assert!(process.says(Key::Stopped, "cluster/demo"));
    std::fs::rename(&away, world.repo()).unwrap();
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    world.until("the end", HOUR, |world| world.record().run.is_none()).await;
    world.assert_converged("v1.36.3");
    world.assert_invariants();
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn with_git_away_nothing_new_begins_and_what_is_in_hand_is_finished() {
    let (world, mut process) = draining(false).await;
    world.pass(MINUTE).await;
    let away = world.folder.path().join("away.git");
    std::fs::rename(world.repo(), &away).unwrap();
    world.pass(HOUR).await;
    assert!(world.nodes().iter().all(|(.., schedulable, _)| *schedulable), "{:#?}", world.nodes());
    assert!(world.nodes().iter().any(|node| node.1 == "v1.35.4"), "nothing new is begun");
    assert!(process.says(Key::RecordRefused, "repository"), "{:#?}", process.status());
    std::fs::rename(&away, world.repo()).unwrap();
    world.until("the end", HOUR, |world| world.record().run.is_none()).await;
    world.assert_converged("v1.36.3");
    world.assert_invariants();
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_held_node_is_never_touched_and_keeps_the_run_from_being_complete() {
    let mut world = small().await;
    world.annotate("w2", "windlass.dev/hold", Some("debugging a disk"));
    let before = world.clock.now();
    world.desire_with("v1.36.3", WIDE);
    assert_eq!(world.run().await, End::Idle(Standing::Waiting), "{:#?}", world.log());
    assert!(world.record().run.is_some());
    world.assert_waits(Key::Held, "node/w2", "debugging a disk");
    assert_eq!(world.node("w2"), ("v1.35.4".to_owned(), true, false));
    assert!(!world.writes_after(before).iter().any(|line| line.contains("/nodes/w2")));
    assert_eq!(world.node("w3").0, "v1.36.3");
    world.annotate("w2", "windlass.dev/hold", None);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_somebody_else_cordoned_is_left_alone() {
    let mut world = small().await;
    world.cordon("w2");
    world.desire_with("v1.36.3", WIDE);
    assert_eq!(world.run().await, End::Idle(Standing::Waiting), "{:#?}", world.log());
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
    assert_eq!(world.run().await, End::Idle(Standing::AsDesired), "{:#?}", world.log());
    assert_eq!(world.node("w2"), ("v1.36.3".to_owned(), false, false), "as it was found");
    assert_eq!(world.node("w1"), ("v1.36.3".to_owned(), true, false));
    world.assert_invariants();
}

/// A run whose canary did not come back.
async fn lost_canary() -> World {
    let mut world = workers_only(3).await;
    world.faults(|faults, _| faults.never_return("w1"));
    assert_eq!(world.run().await, End::Idle(Standing::Halted), "{:#?}", world.log());
    assert_eq!(world.begun(), ["w1"], "no second node is touched");
    world
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_never_comes_back_halts_the_run_for_good() {
    let mut world = lost_canary().await;
    assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), false, true), "it stays cordoned and claimed");
    world.pass(HOUR * 24).await;
    assert_eq!(world.run().await, End::Idle(Standing::Halted), "not by itself, not by a restart");
    assert_eq!(world.begun(), ["w1"]);
    assert!(world.record().halted.unwrap().value.iter().any(|reason| format!("{reason:?}").contains("w1")));
    world.assert_invariants();
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
async fn a_halt_ends_by_a_new_commit() {
    let mut world = lost_canary().await;
    world.server.with(|cluster, now| cluster.revive_node("w1", now));
    world.desire("v1.36.4");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.4");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_halts_the_run() {
    let mut world = workers_only(3).await;
    world.faults(|faults, _| faults.fail_jobs_on("w1"));
    assert_eq!(world.run().await, End::Idle(Standing::Halted), "{:#?}", world.log());
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
    assert_eq!(world.run().await, End::Idle(Standing::Halted), "{:#?}", world.log());
    assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), true, false), "{:#?}", world.log());
    assert!(
        world.journal().iter().any(|entry| matches!(&entry.what, What::StepSetAside { touched: false, .. }))
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

/// A claim as another process of ours would have left it.
fn claim(world: &World, node: &str, run: &str, epoch: u64) {
    let uid = world.list("/api/v1/nodes").iter().find(|n| n["metadata"]["name"] == node).unwrap()["metadata"]
        ["uid"]
        .clone();
    let claim = json!({"nodeUid": uid, "run": run, "step": "w/v1.36.3/x/kubelet", "planDigest": "d", "epoch": epoch,
        "wasUnschedulable": false, "cordoned": true, "at": world.clock.now().to_string()});
    world.annotate(node, "windlass.dev/claim", Some(&claim.to_string()));
    world.cordon(node);
}

#[tokio::test(start_paused = true)]
async fn the_claim_of_a_run_that_nobody_knows_is_released() {
    let mut world = workers_only(3).await;
    claim(&world, "w3", "0000000-1", 0);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    claim(&world, "w3", "0000000-1", 0);
    assert_eq!(world.run().await, End::Idle(Standing::AsDesired), "at rest too");
    world.assert_converged("v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn the_claim_of_a_later_leader_is_left_alone() {
    let mut world = workers_only(3).await;
    claim(&world, "w3", "0000000-1", 99);
    world.desire_with("v1.36.3", WIDE);
    let before = world.clock.now();
    assert_eq!(world.run().await, End::Idle(Standing::Waiting), "{:#?}", world.log());
    world.assert_waits(Key::ForeignClaim, "node/w3", "epoch 99");
    assert!(!world.writes_after(before).iter().any(|line| line.contains("/nodes/w3")));
    assert_eq!(world.node("w2").0, "v1.36.3", "the others go on");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_cannot_be_read_is_left_alone_and_reported() {
    let mut world = workers_only(3).await;
    world.annotate("w3", "windlass.dev/claim", Some("{\"of\": \"a later version\"}"));
    assert_eq!(world.run().await, End::Idle(Standing::Waiting), "{:#?}", world.log());
    world.assert_waits(Key::ForeignClaim, "node/w3", "cannot be read");
    assert_eq!(world.node("w3"), ("v1.35.4".to_owned(), true, true));
    assert_eq!(world.node("w2").0, "v1.36.3", "the others go on");
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_lease_is_waited_for_until_it_has_been_silent() {
    let mut world = workers_only(2).await;
    world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "windlass-system"}}));
    let renewed = |world: &World| json!(format!("{:.6}", world.clock.now()));
    let now = renewed(&world);
    world.create(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "windlass", "namespace": "windlass-system"},
        "spec": {"holderIdentity": "another", "leaseDurationSeconds": 30, "leaseTransitions": 7, "renewTime": now}}));
    let mut process = world.daemon();
    for _ in 0..30 {
        world.pass(SECOND * 10).await;
        let now = renewed(&world);
        world.change(Kind::Lease, "windlass-system", "windlass", |tree| tree["spec"]["renewTime"] = now);
    }
    assert!(process.says(Key::LeaseElsewhere, "lease/windlass"));
    assert!(world.nodes().iter().all(|node| !node.3));
    let silent = world.clock.now();
    world.until("a claim", MINUTE * 2, |world| world.nodes().iter().any(|node| node.3)).await;
    assert!(world.clock.now().duration_since(silent) >= SECOND * 30);
    world.until("the end", HOUR, |world| world.record().run.is_none()).await;
    world.assert_converged("v1.36.3");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_forbidden_is_said() {
    let mut world = workers_only(2).await;
    let how = || How::Status {
        code: 403,
        reason: "Forbidden",
        message: "volumeattachments is forbidden".to_owned(),
    };
    for verb in ["list", "watch"] {
        let when = When { verb, resource: "volumeattachments", ..When::default() };
        world.faults(|faults, _| faults.on(when, 0, u64::MAX, how()));
    }
    let mut process = world.daemon();
    world.pass(HOUR).await;
    let status = process.status().clone();
    assert!(
        !status.answers.is_empty() || !world.record().waiting.is_empty(),
        "an hour of silence: {status:?} {:#?}",
        world.tail()
    );
    process.end().await;
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
    let resumed = world.journal().iter().filter(|e| matches!(e.what, What::Resumed { .. })).count();
    assert!(resumed <= 1, "one note ended {resumed} halts: {:#?}", world.tail());
    process.end().await;
}
