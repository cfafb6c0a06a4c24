//! Deadlines: time in which nobody could look or act is held against no node, and everything else runs out.

use jiff::SignedDuration;
use serde_json::{Value, json};
use windlass::model::entry::{Entry, What};
use windlass::reconcile::{End, Standing};
use windlass::sim::{How, Kind, When};

use crate::acting::{HOUR, MINUTE, SECOND, careful, on, workers_only, workload};
use crate::world::World;

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
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_was_away_for_an_hour_finds_the_node_done() {
    let mut world = workers_only(2).await;
    let process = world.daemon();
    world.until("a job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    world.pass(SECOND * 15).await;
    drop(process);
    world.pass(HOUR).await;
    assert_eq!(world.node("w1").0, "v1.36.3");
    let end = world.run().await;
    assert_eq!(
        end,
        End::Idle(Standing::AsDesired),
        "halted {:?}\n{:#?}\n{:#?}",
        world.record().halted,
        world.tail(),
        world.nodes()
    );
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
    assert_eq!(
        (world.node("w1"), world.record().halted),
        (("v1.36.3".to_owned(), true, false), None),
        "{:#?}",
        world.tail()
    );
    process.end().await;
}

/// Keeps the pod of a `DaemonSet` on w1 from being Ready until the run halts; whether it did within the time.
async fn ill_until_halted(world: &World, limit: SignedDuration) -> bool {
    let of_w1 = |pod: &Value| pod["spec"]["nodeName"] == "w1" && pod["metadata"]["labels"]["app"] == "cni";
    let end = world.clock.now() + limit;
    while world.clock.now() < end {
        for _ in 0..30 {
            for pod in world.list("/api/v1/namespaces/kube-system/pods").iter().filter(|pod| of_w1(pod)) {
                let name = pod["metadata"]["name"].as_str().unwrap();
                world.change(Kind::Pod, "kube-system", name, |tree| {
                    let conditions = tree["status"]["conditions"].as_array_mut().unwrap();
                    conditions
                        .iter_mut()
                        .filter(|c| c["type"] == "Ready")
                        .for_each(|c| c["status"] = json!("False"));
                });
            }
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
    let spec = json!({"priorityClassName": "system-node-critical", "tolerations": [{"operator": "Exists"}]});
    let mut set = workload("DaemonSet", "cni", 0, &json!({}), &spec);
    set["metadata"]["namespace"] = json!("kube-system");
    world.create(set);
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

/// Of a drain that gets nowhere: three hours are more than the half hour of `drain.timeout`.
async fn assert_set_aside(mut world: World) {
    let process = world.daemon();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(HOUR * 3).await;
    let aside = |entry: &Entry| matches!(&entry.what, What::StepSetAside { node, .. } if node == "w1");
    let aside = world.journal().iter().any(aside);
    assert!(aside, "3 h with drain.timeout 30m: {:#?}\n{:#?}", world.tail(), world.nodes());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_denied_drain_is_set_aside_at_its_timeout() {
    let world = workers_only(3).await;
    world.create(workload("Deployment", "db", 1, &json!({}), &on("w1")));
    world.pass(MINUTE).await;
    world.faults(|faults, _| faults.deny_evictions("default", "no"));
    assert_set_aside(world).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_meets_500_for_ever_is_set_aside_at_its_timeout() {
    let world = workers_only(3).await;
    world.create(workload("Deployment", "db", 1, &json!({}), &on("w1")));
    world.pass(MINUTE).await;
    let when = When { verb: "create", resource: "pods", subresource: "eviction", ..When::default() };
    let how = How::Status {
        code: 500,
        reason: "InternalError",
        message: "failed calling webhook \"x\": context deadline exceeded".to_owned(),
    };
    world.faults(|faults, _| faults.on(when, 0, u64::MAX, how));
    assert_set_aside(world).await;
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
    let away = world.folder.path().join("away.git");
    std::fs::rename(world.repo(), &away).unwrap();
    world.pass(HOUR * 5).await;
    assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), true, false), "finished or returned");
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
async fn until_idle_with_a_refused_record_leaves_no_node_half_emptied() {
    let mut world = workers_only(2).await;
    world.create(workload("Deployment", "slow", 2, &json!({"sim/stop-seconds": "29"}), &on("w1")));
    world.pass(MINUTE).await;
    let mut process = world.start();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    let _lock = lock_file(&world);
    let end = process.ended().await;
    let w1 = world.node("w1");
    assert!(w1.1 && !w1.2, "{end:?}: finished or returned, but {w1:?}");
}
