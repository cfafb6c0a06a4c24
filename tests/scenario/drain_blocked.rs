//! Drains that cannot go on: known before the cordon where they never could, and set aside in time where they might.

use serde_json::json;
use windlass::model::decision::Key;
use windlass::model::entry::{Entry, StepEvent, What};
use windlass::model::state::RunState;
use windlass::serve::End;
use windlass::sim::{How, Kind};

use crate::world::World;
use crate::world::fixtures::{PATIENT, eviction, object, on, workers_only, workload};
use crate::world::process::{HOUR, MINUTE, SECOND};

/// Runs until nothing goes on, and checks that only w1 is left, untouched throughout, for this reason.
async fn assert_never_cordoned(world: &mut World, key: Key, object: &str, says: &str) {
    world.pass(MINUTE).await;
    let mut process = world.start();
    let end = world
        .watching(&mut process, |world| {
            world.assert_in_service("w1", "v1.35.4");
        })
        .await;
    let waits = matches!(end, End::Idle(RunState::Waiting | RunState::NeedsAPerson));
    assert!(waits, "{end:?}: {:#?}", world.log());
    world.assert_waits(key, object, says);
    for other in ["w2", "w3"] {
        world.assert_in_service(other, "v1.36.3");
    }
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_can_never_allow_it_is_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    world
        .create(workload("Deployment", "only", 1, &json!({}), &on("w1")))
        .budget("only", json!({"minAvailable": 1}));
    assert_never_cordoned(&mut world, Key::BudgetNeverAllows, "budget/default/only", "minAvailable 1 of 1")
        .await;
}

#[tokio::test(start_paused = true)]
async fn two_budgets_on_one_pod_are_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    world
        .create(workload("Deployment", "twice", 2, &json!({}), &on("w1")))
        .budget("twice", json!({"maxUnavailable": 1}));
    world.create(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all", "namespace": "default"},
        "spec": {"maxUnavailable": 1, "selector": {}}}));
    world.pass(SECOND * 10).await;
    let pod = {
        let pods = world.list("/api/v1/namespaces/default/pods");
        pods.iter()
            .map(|pod| format!("pod/default/{}", pod["metadata"]["name"].as_str().unwrap()))
            .min()
            .unwrap()
    };
    assert_never_cordoned(&mut world, Key::SeveralBudgets, &pod, "budgets all and twice").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_an_owner_is_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    world.create(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "default"},
        "spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "app:1"}]}}),
    );
    assert_never_cordoned(&mut world, Key::Unmanaged, "pod/default/bare", "no controller").await;
}

#[tokio::test(start_paused = true)]
async fn local_data_without_permission_is_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    let mut spec = on("w1");
    spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    world.create(workload("Deployment", "cache", 1, &json!({}), &spec));
    world.pass(SECOND * 10).await;
    let pod = object(&world, "cache");
    assert_never_cordoned(&mut world, Key::LocalData, &pod, "deleteEmptyDirData").await;
}

#[tokio::test(start_paused = true)]
async fn a_grace_beyond_the_timeout_is_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    let mut spec = on("w1");
    spec["terminationGracePeriodSeconds"] = json!(7200);
    world.create(workload("Deployment", "long", 1, &json!({}), &spec));
    world.pass(SECOND * 10).await;
    let pod = object(&world, "long");
    assert_never_cordoned(&mut world, Key::GraceTooLong, &pod, "7200 s").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_daemon_set_that_is_gone_is_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    world.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "orphan", "namespace": "default", "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "gone", "controller": true}]},
        "spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "app:1"}]}}));
    assert_never_cordoned(&mut world, Key::OrphanOfDaemonSet, "pod/default/orphan", "DaemonSet agent").await;
}

/// A worker whose budget is blocked, but not for ever, by pods that are not Ready elsewhere.
async fn blocked() -> World {
    let world = workers_only(3).await;
    world.create(workload("Deployment", "db", 1, &json!({}), &on("w1")));
    let mut stuck = workload("Deployment", "ill", 1, &json!({"sim/ready": "false"}), &on("w3"));
    stuck["spec"]["selector"] = json!({"matchLabels": {"app": "db", "half": "ill"}});
    stuck["spec"]["template"]["metadata"]["labels"] = json!({"app": "db", "half": "ill"});
    world.create(stuck).budget("db", json!({"maxUnavailable": 1}));
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", PATIENT);
    world
}

fn heal(world: &World) {
    world.change(Kind::Deployment, "default", "ill", |tree| {
        tree["spec"]["template"]["metadata"]["annotations"] = json!({});
    });
}

#[tokio::test(start_paused = true)]
async fn a_blocked_drain_goes_on_once_its_budget_opens() {
    let mut world = blocked().await;
    let mut process = world.start();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(MINUTE * 10).await;
    assert!(process.says(Key::BudgetBlocks, "budget/default/db"), "{:#?}", process.view());
    assert_eq!(world.evictions(), 0);
    heal(&world);
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_stays_blocked_is_set_aside_in_time_whatever_restarts() {
    let mut world = blocked().await;
    let process = world.start();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    let claimed = world.clock.now();
    world.pass(MINUTE * 10).await;
    process.end().await;
    let mut process = world.start();
    world.until("w1 is returned", HOUR, |world| !world.node("w1").2).await;
    let took = world.clock.now().duration_since(claimed);
    assert!(took >= MINUTE * 20 && took < MINUTE * 22, "{took:#}");
    assert_eq!(process.ended().await, End::Idle(RunState::Waiting), "{:#?}", world.log());
    world.assert_in_service("w1", "v1.35.4");
    world.assert_in_service("w2", "v1.36.3");
    world.assert_waits(Key::SetAside, "node/w1", "drain.timeout");
    world.assert_invariants();
}

/// A drain that gets nowhere is set aside half an hour after nothing has moved any more, and its node returned.
async fn assert_set_aside_in_time(mut world: World) {
    let process = world.daemon();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    let claimed = world.clock.now();
    world.until("w1 is returned", HOUR, |world| !world.node("w1").2).await;
    let took = world.clock.now().duration_since(claimed);
    assert!(took >= MINUTE * 30 && took < MINUTE * 33, "drain.timeout is 30 min, and it took {took:#}");
    world.assert_in_service("w1", "v1.35.4");
    let aside = |entry: &Entry| matches!(&entry.what, What::Step(id, StepEvent::SetAside { touched: false, .. }) if id.node_name() == Some("w1"));
    assert!(world.journal().iter().any(aside), "{:#?}", world.tail());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_denied_drain_is_set_aside_at_its_timeout() {
    let world = workers_only(3).await;
    world.create(workload("Deployment", "db", 1, &json!({}), &on("w1")));
    world.pass(MINUTE).await;
    world.faults(|faults, _| faults.deny_evictions("default", "no"));
    assert_set_aside_in_time(world).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_meets_500_for_ever_is_set_aside_at_its_timeout() {
    let world = workers_only(3).await;
    world.create(workload("Deployment", "db", 1, &json!({}), &on("w1")));
    world.pass(MINUTE).await;
    let how = How::Status {
        code: 500,
        reason: "InternalError",
        message: "failed calling webhook \"x\": context deadline exceeded".to_owned(),
    };
    world.faults(|faults, _| faults.on(eviction(), 0, u64::MAX, how));
    assert_set_aside_in_time(world).await;
}

/// A Deployment on one node whose budget allows nothing, because as many of the pods it covers are ill elsewhere.
fn blocked_on(world: &World, app: &str, node: &str, ill_on: &str) {
    world.create(workload("Deployment", app, 1, &json!({}), &on(node)));
    let mut ill =
        workload("Deployment", &format!("{app}-ill"), 1, &json!({"sim/ready": "false"}), &on(ill_on));
    let labels = json!({"app": app, "half": "ill"});
    ill["spec"]["selector"] = json!({"matchLabels": labels});
    ill["spec"]["template"]["metadata"]["labels"] = labels;
    world.create(ill).budget(app, json!({"maxUnavailable": 1}));
}

#[tokio::test(start_paused = true)]
async fn of_two_blocked_drains_each_is_set_aside_for_its_own_reasons() {
    let mut world = workers_only(3).await;
    blocked_on(&world, "alpha", "w1", "w3");
    blocked_on(&world, "beta", "w2", "w3");
    world.pass(MINUTE).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 2, drain: {timeout: 5m, jobs: 1h}}
";
    world.desire_with("v1.36.3", pool);
    let process = world.daemon();
    world.pass(HOUR).await;
    process.end().await;
    let mut aside = 0;
    for entry in world.journal() {
        let What::Step(id, StepEvent::SetAside { reasons, .. }) = entry.what else { continue };
        let other = if id.node_name() == Some("w1") { "beta" } else { "alpha" };
        aside += 1;
        assert!(!reasons.iter().any(|reason| reason.object.contains(other)), "{id}: {reasons:#?}");
    }
    assert!(aside >= 2, "{:#?}", world.tail());
}
