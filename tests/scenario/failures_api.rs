//! Failures of the API server: refused requests, lost answers, late and broken watches.

use jiff::Timestamp;
use serde_json::json;
use windlass::model::decision::Key;
use windlass::model::state::RunState;
use windlass::serve::End;
use windlass::sim::{self, How, When};

use crate::world::World;
use crate::world::fixtures::{busy, eviction, object, on, workers_only, workload};
use crate::world::process::{HOUR, MINUTE, SECOND};

/// The first requests of a kind are met by a fault, and the run gets over each of them.
async fn assert_gets_over(times: u64, when: When, how: How) {
    let mut world = busy().await;
    world.faults(|faults, _| faults.on(when.clone(), 0, times, how.clone()));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    let hit = |entry: &&sim::Entry| {
        (entry.verb, entry.resource, entry.subresource.as_str())
            == (when.verb, when.resource, when.subresource)
            && entry.code >= 400
    };
    let hits = world.server.with(|cluster, _| cluster.audit().entries.iter().filter(hit).count());
    assert!(hits > 0, "{when:?} never met {how:?}");
}

#[tokio::test(start_paused = true)]
async fn evictions_get_over_a_server_that_is_busy_goes_away_or_loses_answers() {
    assert_gets_over(20, eviction(), How::TooManyRequests { retry_after: 7 }).await;
    assert_gets_over(20, eviction(), How::ShuttingDown).await;
    assert_gets_over(20, eviction(), How::Plain { code: 502, body: "bad gateway".to_owned() }).await;
    assert_gets_over(20, eviction(), How::AppliedButTimedOut).await;
    let internal =
        How::Status { code: 500, reason: "InternalError", message: "etcdserver: leader changed".to_owned() };
    assert_gets_over(20, eviction(), internal).await;
}

#[tokio::test(start_paused = true)]
async fn node_patches_and_jobs_get_over_lost_answers() {
    for (verb, resource) in [
        ("patch", "nodes"),
        ("create", "jobs"),
        ("update", "leases"),
        ("create", "leases"),
        ("patch", "configmaps"),
    ] {
        let when = || When { verb, resource, ..When::default() };
        assert_gets_over(3, when(), How::AppliedButTimedOut).await;
        assert_gets_over(
            5,
            when(),
            How::Status { code: 409, reason: "Conflict", message: "the object has been modified".to_owned() },
        )
        .await;
        assert_gets_over(
            5,
            when(),
            How::Status { code: 500, reason: "InternalError", message: "oops".to_owned() },
        )
        .await;
    }
}

/// When evictions were asked for so far.
fn asked_at(world: &World) -> Vec<Timestamp> {
    let is_one = |entry: &&sim::Entry| entry.subresource == "eviction";
    world
        .server
        .with(|cluster, _| cluster.audit().entries.iter().filter(is_one).map(|entry| entry.at).collect())
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_asked_again_when_it_said() {
    let mut world = workers_only(1).await;
    world.create(workload("Deployment", "web", 1, &json!({}), &on("w1")));
    world.pass(MINUTE).await;
    world.faults(|faults, _| faults.on(eviction(), 0, 1, How::TooManyRequests { retry_after: 40 }));
    let mut process = world.start();
    world.until("an eviction", HOUR, |world| !asked_at(world).is_empty()).await;
    world.pass(SECOND * 12).await;
    let pod = object(&world, "web");
    assert!(process.says(Key::ServerBusy, &pod), "{:#?}", process.view());
    world.until("another", HOUR, |world| asked_at(world).len() > 1).await;
    let between = asked_at(&world)[1].duration_since(asked_at(&world)[0]);
    assert!(between >= SECOND * 40 && between <= SECOND * 50, "{between:#}");
    assert_eq!(process.ended().await, End::Idle(RunState::AsDesired), "{:#?}", world.log());
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_denies_evictions_is_quoted_and_asked_again() {
    let mut world = busy().await;
    world.faults(|faults, _| faults.deny_evictions("default", "the broker moves its partitions"));
    let mut process = world.start();
    world.until("a refusal", HOUR, |world| !asked_at(world).is_empty()).await;
    let first = asked_at(&world).len();
    world.pass(MINUTE * 5).await;
    assert!(asked_at(&world).len() > first, "asked again");
    let quoted = process.view().answers.iter().any(|answer| {
        answer.reason.key == Key::EvictionRefused
            && answer.reason.text.contains("the broker moves its partitions")
    });
    assert!(quoted, "{:#?}", process.view());
    world.faults(|faults, _| faults.allow_evictions("default"));
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn late_watches_make_no_second_eviction() {
    let mut world = busy().await;
    world.faults(|faults, _| faults.delay_watches(SECOND * 5));
    let mut process = world.start();
    world.until("the end", HOUR * 3, |_| !process.is_running()).await;
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn cut_and_expired_watches_and_a_short_outage_are_got_over() {
    let mut world = busy().await;
    let mut process = world.start();
    world.until("an eviction", HOUR, |world| world.evictions() > 0).await;
    world.server.with(|cluster, now| {
        cluster.compact();
        cluster.faults.expire_next_resumptions(5);
        cluster.cut_watches();
        cluster.faults.outage(now + SECOND * 20, now + SECOND * 50);
        cluster.faults.outage(now + MINUTE * 3, now + MINUTE * 5);
    });
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_not_be_listed_is_named() {
    let mut world = workers_only(2).await;
    let how = || How::Status {
        code: 403,
        reason: "Forbidden",
        message: "volumeattachments.storage.k8s.io is forbidden: User \"few\" cannot list resource \
                  \"volumeattachments\" in API group \"storage.k8s.io\" at the cluster scope"
            .to_owned(),
    };
    for verb in ["list", "watch"] {
        let when = When { verb, resource: "volumeattachments", ..When::default() };
        world.faults(|faults, _| faults.on(when, 0, u64::MAX, how()));
    }
    let process = world.daemon();
    let told =
        |world: &World| world.waits_for(Key::RightMissing, "volumeattachments", "user few may not list");
    world.until("it is on record", SECOND * 30, told).await;
    assert!(process.says(Key::RightMissing, "volumeattachments"), "{:#?}", process.view());
    let recorded = world.log();
    world.pass(MINUTE * 10).await;
    assert_eq!(world.log(), recorded, "it is told once");
    assert!(world.begun().is_empty(), "nothing is concluded from a picture with holes");
    world.faults(|faults, _| faults.clear());
    world.done_within(HOUR, "v1.36.3").await;
    assert!(!told(&world));
    process.end().await;
}

/// Lists and watches of a kind are refused from now on, and the watches that there are end.
fn break_watches(world: &World, resource: &'static str, how: &How) {
    for verb in ["list", "watch"] {
        let when = When { verb, resource, ..When::default() };
        world.faults(|faults, _| faults.on(when, 0, u64::MAX, how.clone()));
    }
    world.server.with(|cluster, _| cluster.cut_watches());
}

fn timed_out() -> How {
    let message = "etcdserver: request timed out".to_owned();
    How::Status { code: 500, reason: "InternalError", message }
}

/// Writes to nodes, pods and Jobs later than two seconds after a time.
fn writes_after_a_stop(world: &World, stopped: Timestamp) -> Vec<String> {
    let late = world.writes_after(stopped + SECOND * 2).into_iter();
    late.filter(|line| !line.contains("/leases/") && !line.contains("upgrade-status")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_while_its_watch_is_broken_or_silent() {
    for broken in [true, false] {
        let mut world = workers_only(4).await;
        world.create(workload("Deployment", "slow", 24, &json!({"sim/stop-seconds": "25"}), &json!({})));
        world.pass(MINUTE).await;
        let process = world.daemon();
        world.until("an eviction", MINUTE * 10, |world| world.evictions() > 0).await;
        if broken {
            break_watches(&world, "configmaps", &timed_out());
        } else {
            world.faults(|faults, _| faults.delay_watches(MINUTE * 4));
        }
        world.pass(SECOND).await;
        world.note("windlass-stop", "the shop is down");
        let stopped = world.clock.now();
        world.pass(MINUTE * 4).await;
        assert_eq!(writes_after_a_stop(&world, stopped), [] as [String; 0], "broken: {broken}");
        process.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_later_is_told_and_no_further_node_is_taken_out() {
    let mut world = workers_only(4).await;
    let process = world.daemon();
    world.until("a Job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    let forbidden = How::Status { code: 403, reason: "Forbidden", message: "pods is forbidden".to_owned() };
    break_watches(&world, "pods", &forbidden);
    let begun = world.begun();
    world
        .until("it is on record", SECOND * 30, |world| world.waits_for(Key::NotCurrent, "pods", "forbidden"))
        .await;
    assert!(process.says(Key::NotCurrent, "pods"), "{:#?}", process.view().answers);
    world.pass(MINUTE * 20).await;
    assert_eq!(world.begun(), begun, "{:#?}", world.tail());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn no_kubelet_is_replaced_under_pods_that_could_not_be_seen() {
    let mut world = workers_only(4).await;
    let process = world.daemon();
    world.until("a Job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    break_watches(&world, "pods", &timed_out());
    world.pass(SECOND).await;
    world.deployment("shop", 12);
    world.pass(SECOND * 30).await;
    let jobs = world.jobs().len();
    world.pass(MINUTE * 15).await;
    assert_eq!((world.jobs().len(), world.evictions()), (jobs, 0), "{:#?}", world.tail());
    process.end().await;
}
