//! Pods that leave their node by a rollout of their Deployment: never a moment without a Ready pod, whatever happens meanwhile.

use serde_json::{Value, json};
use windlass::model::decision::{Key, Reason};
use windlass::model::entry::{StepEvent, What};
use windlass::model::names::{MOVED, MOVING, SURGE};
use windlass::model::state::RunState;
use windlass::serve::End;
use windlass::sim::{How, Kind, When};

use crate::world::World;
use crate::world::fixtures::{PATIENT, object, on, workers_only, workload};
use crate::world::process::{HOUR, MINUTE, SECOND};

/// A Deployment whose owner asks for a rollout.
fn asking(name: &str, replicas: u32, annotations: &Value, spec: &Value) -> Value {
    let mut deployment = workload("Deployment", name, replicas, annotations, spec);
    deployment["metadata"]["annotations"] = json!({SURGE: "true"});
    deployment
}

/// Two workers of which only w1 is behind; what is created lies on w1.
async fn lying_on_w1(objects: impl IntoIterator<Item = Value>) -> World {
    let world = workers_only(2).await;
    world.change_node("w2", |tree| {
        tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.36.3");
        tree["spec"]["unschedulable"] = json!(true);
    });
    for object in objects {
        world.create(object);
    }
    world.pass(MINUTE).await;
    world.change_node("w2", |tree| drop(tree["spec"].as_object_mut().unwrap().remove("unschedulable")));
    world.desire_with("v1.36.3", PATIENT);
    world
}

async fn one_on_w1() -> World {
    lying_on_w1([asking("only", 1, &json!({"sim/start-seconds": "20"}), &json!({}))]).await
}

fn deployment(world: &World, name: &str) -> Value {
    let all = world.list("/apis/apps/v1/namespaces/default/deployments");
    all.into_iter().find(|deployment| deployment["metadata"]["name"] == name).unwrap()
}

fn is_moving(world: &World, name: &str) -> bool {
    deployment(world, name)["metadata"]["labels"].get(MOVING).is_some()
}

fn moved(world: &World, name: &str) -> Option<String> {
    let template = &deployment(world, name)["spec"]["template"]["metadata"];
    template["annotations"].get(MOVED)?.as_str().map(str::to_owned)
}

/// How many accepted patches there were of Deployments.
fn patches(world: &World) -> usize {
    let writes = world.writes_after("2026-01-01T00:00:00Z".parse().unwrap());
    writes.iter().filter(|write| write.contains(" patch ") && write.contains("/deployments/")).count()
}

/// The fewest Ready pods that a Deployment had since it first lost one.
fn fewest(world: &World, name: &str) -> Option<usize> {
    world.server.with(|cluster, _| {
        cluster.audit().low_water.values().find(|mark| mark.name == name).map(|mark| mark.ready)
    })
}

#[track_caller]
fn assert_moved_once(world: &World, name: &str) {
    assert_eq!(fewest(world, name), Some(1), "it always had a Ready pod");
    assert!(!is_moving(world, name), "the note of its rollout is gone");
    assert!(moved(world, name).is_some_and(|value| value.contains("/w1@")), "{:?}", moved(world, name));
    assert_eq!(patches(world), 2, "its rollout was begun once and ended once");
    assert_eq!(world.evictions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_single_replica_moves_without_a_moment_without_it() {
    let mut world = one_on_w1().await;
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_moved_once(&world, "only");
}

#[tokio::test(start_paused = true)]
async fn the_pool_may_ask_for_all_of_its_deployments() {
    let mut asked = asking("only", 1, &json!({}), &json!({}));
    let mut kept = asking("kept", 1, &json!({}), &json!({}));
    asked["metadata"]["annotations"] = json!({});
    kept["metadata"]["annotations"] = json!({SURGE: "false"});
    let mut world = lying_on_w1([asked, kept]).await;
    world.desire_with("v1.36.3", &PATIENT.replace("jobs: 1h", "jobs: 1h, onBlocked: surge"));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!((fewest(&world, "only"), fewest(&world, "kept")), (Some(1), Some(0)));
    assert_eq!(world.evictions(), 1, "its owner does not want a rollout");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_never_allows_an_eviction_is_kept_by_a_rollout() {
    let mut world = lying_on_w1([asking("pair", 2, &json!({}), &json!({}))]).await;
    world.budget("pair", json!({"minAvailable": 2}));
    world.pass(MINUTE).await;
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(fewest(&world, "pair"), Some(2), "both were always Ready");
    assert_eq!((world.evictions(), patches(&world)), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_strategy_that_takes_pods_away_first_is_told_before_the_cordon() {
    let mut recreated = asking("only", 1, &json!({}), &json!({}));
    recreated["spec"]["strategy"] = json!({"type": "Recreate"});
    let mut world = lying_on_w1([recreated]).await;
    world.budget("only", json!({"maxUnavailable": 0}));
    world.pass(MINUTE).await;
    let end = world.run().await;
    assert!(matches!(end, End::Idle(RunState::Waiting | RunState::NeedsAPerson)), "{end:?}");
    world.assert_in_service("w1", "v1.35.4");
    world.assert_waits(Key::BudgetNeverAllows, "budget/default/only", "its strategy is Recreate");
    assert_eq!(patches(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_fails_is_undone_and_its_node_set_aside() {
    let mut world = lying_on_w1([asking("only", 1, &json!({}), &on("w1"))]).await;
    let pod = object(&world, "only");
    let mut process = world.start();
    world.until("its rollout has begun", HOUR, |world| is_moving(world, "only")).await;
    world.until("it is undone", HOUR, |world| !is_moving(world, "only")).await;
    assert_eq!(process.ended().await, End::Idle(RunState::Waiting), "{:#?}", world.log());
    world.assert_in_service("w1", "v1.35.4");
    world.assert_waits(Key::SetAside, "node/w1", "a rollout that was to move pods from it has failed");
    let told = world.journal().into_iter().find_map(|entry| match entry.what {
        What::Step(_, StepEvent::SetAside { reasons, .. }) => Some(reasons),
        _ => None,
    });
    let told = told.unwrap_or_default();
    let named = |reason: &Reason| {
        reason.object == "deployment/default/only"
            && reason.text.contains("is pending: no node has room for it")
    };
    assert!(told.iter().any(named), "{told:#?}");
    world.pass(MINUTE).await;
    assert_eq!((object(&world, "only"), moved(&world, "only")), (pod, None), "all is as it was");
    assert_eq!(patches(&world), 2);
    assert_eq!(fewest(&world, "only"), None, "no Ready pod was ever lost");
}

#[tokio::test(start_paused = true)]
async fn a_restart_finds_the_rollout_that_was_begun() {
    let mut world = one_on_w1().await;
    let process = world.start();
    world.until("its rollout has begun", HOUR, |world| is_moving(world, "only")).await;
    process.end().await;
    world.pass(SECOND * 5).await;
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_moved_once(&world, "only");
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_the_rollout_to_kubernetes() {
    let mut world = one_on_w1().await;
    let process = world.daemon();
    world.until("its rollout has begun", HOUR, |world| is_moving(world, "only")).await;
    world.note("windlass-stop", "lunch");
    let stopped = world.clock.now();
    world.pass(HOUR).await;
    let writes = world.writes_after(stopped + SECOND * 2);
    assert!(writes.iter().all(|write| !write.contains("/deployments/")), "{writes:?}");
    assert!(is_moving(&world, "only"));
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    world.done_within(HOUR, "v1.36.3").await;
    process.end().await;
    assert_moved_once(&world, "only");
}

#[tokio::test(start_paused = true)]
async fn two_nodes_move_one_deployment_by_one_rollout_at_a_time() {
    let mut world = workers_only(4).await;
    let mut wide = asking("wide", 4, &json!({"sim/start-seconds": "20"}), &json!({}));
    wide["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    world.create(wide).budget("wide", json!({"maxUnavailable": 0}));
    world.pass(MINUTE).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 2}
";
    world.desire_with("v1.36.3", pool);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(fewest(&world, "wide"), Some(4), "it always had all its Ready pods");
    assert_eq!(patches(&world) % 2, 0, "each rollout was begun once and ended once");
    assert_eq!(world.evictions(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_changes_meanwhile_stays() {
    let mut world = one_on_w1().await;
    let mut process = world.start();
    world.until("its rollout has begun", HOUR, |world| is_moving(world, "only")).await;
    world.change(Kind::Deployment, "default", "only", |tree| {
        tree["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
    });
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(deployment(&world, "only")["spec"]["template"]["spec"]["containers"][0]["image"], "app:2");
    assert_eq!(fewest(&world, "only"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_without_the_right_to_patch_deployments_says_so() {
    let mut world = one_on_w1().await;
    let message = "deployments.apps \"only\" is forbidden: User \"windlass\" cannot patch resource \"deployments\" in API \
                   group \"apps\" in the namespace \"default\"";
    let how = How::Status { code: 403, reason: "Forbidden", message: message.to_owned() };
    let patch = When { verb: "patch", resource: "deployments", ..When::default() };
    world.faults(|faults, _| faults.on(patch, 0, u64::MAX, how));
    let process = world.daemon();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(MINUTE * 2).await;
    assert!(process.says(Key::RightMissing, "deployment/default/only"), "{:#?}", process.view().answers);
    world.until("w1 is returned", HOUR, |world| !world.node("w1").2).await;
    world.assert_in_service("w1", "v1.35.4");
    process.end().await;
}
