//! Limits and budgets: how many nodes and pods may be out at once, what is out already, and owners that are rolling out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::{Value, json};
use windlass::model::decision::Key;
use windlass::model::entry::{StepEvent, What};
use windlass::model::state::RunState;
use windlass::model::work::StepId;
use windlass::sim::{How, Kind};

use crate::world::World;
use crate::world::fixtures::{eviction, large, on, workers_only, workload};
use crate::world::process::{HOUR, MINUTE, SECOND};

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

const CLUSTER_ONE: &str = "  maxUnavailable: 1
  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 1}
";

#[tokio::test(start_paused = true)]
async fn a_failed_node_is_retried_under_a_cluster_limit_of_one() {
    let mut world = workers_only(3).await;
    world.desire_with("v1.36.3", CLUSTER_ONE);
    world.faults(|faults, _| faults.fail_jobs_on("w1"));
    world.assert_run_ends(RunState::Halted).await;
    world.faults(|faults, _| faults.heal_jobs_on("w1"));
    world.note("windlass-resume", "the mirror is back");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_cordon_to_be_upgraded_does_not_lock_a_pool_of_one_at_a_time() {
    let mut world = workers_only(3).await;
    world.cordon("w3");
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 1, foreignCordon: upgrade}
";
    world.desire_with("v1.36.3", pool);
    world.assert_run_ends(RunState::Waiting).await;
    // The node that is out already takes no other one out; a second one would exceed the limit.
    assert_eq!(world.begun(), ["w3"]);
    assert_eq!(world.node("w3"), ("v1.36.3".to_owned(), false, false), "as it was found");
    world.assert_waits(Key::LimitReached, "pool/w", "at most 1 of its 3 nodes");
    world.change_node("w3", |tree| tree["spec"]["unschedulable"] = json!(false));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

fn ready_pods(world: &World) -> usize {
    let ready = |pod: &&Value| {
        let is_so = |c: &Value| c["type"] == "Ready" && c["status"] == "True";
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        pod["metadata"]["deletionTimestamp"].is_null() && conditions.into_iter().any(is_so)
    };
    world.list("/api/v1/namespaces/default/pods").iter().filter(ready).count()
}

#[tokio::test(start_paused = true)]
async fn the_implicit_budget_is_of_the_deployment_not_of_each_replica_set() {
    let mut world = workers_only(3).await;
    world.deployment("web", 4);
    world.pass(MINUTE).await;
    // A rollout whose new pods take for ever: by its own terms three of four stay Ready.
    world.change(Kind::Deployment, "default", "web", |tree| {
        tree["spec"]["template"]["metadata"]["annotations"] = json!({"sim/ready": "false"});
    });
    world.pass(MINUTE).await;
    assert_eq!(ready_pods(&world), 3, "the rollout itself has taken the one that may be missing");
    let process = world.daemon();
    for _ in 0..600 {
        assert_eq!(ready_pods(&world), 3, "4 replicas may miss one: {:#?}", world.tail());
        world.pass(SECOND).await;
    }
    assert!(process.says(Key::OwnerNotReady, "deployment/default/web"), "{:#?}", process.view());
    process.end().await;
}

/// The fewest pods of an app that served at once, looked at each second for a while.
async fn fewest(world: &World, app: &str, length: SignedDuration) -> usize {
    let mut fewest = usize::MAX;
    let end = world.clock.now() + length;
    while world.clock.now() < end {
        let pods = world.list("/api/v1/namespaces/default/pods");
        let serves = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array();
            let ready = conditions
                .is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
            pod["metadata"]["labels"]["app"] == app && pod["metadata"]["deletionTimestamp"].is_null() && ready
        };
        fewest = fewest.min(pods.iter().filter(serves).count());
        world.pass(SECOND).await;
    }
    fewest
}

#[tokio::test(start_paused = true)]
async fn pods_of_an_unknown_kind_of_owner_are_not_taken_while_others_of_it_are_missing() {
    let mut world = workers_only(3).await;
    for n in 1..=3 {
        world.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pg-{n}"), "namespace": "default",
            "labels": {"app": "pg"}, "ownerReferences": [{"apiVersion": "postgresql.example.com/v1", "kind": "Cluster",
            "name": "pg", "uid": "pg-uid", "controller": true}]},
            "spec": {"nodeName": format!("w{n}"), "containers": [{"name": "c", "image": "pg:1"}]}}));
    }
    world.pass(MINUTE).await;
    let process = world.daemon();
    // The pods never come back: nothing in this cluster makes them anew.
    assert_eq!(fewest(&world, "pg", HOUR).await, 2, "{:#?}", world.tail());
    let waits = world.record().waiting;
    let told = waits.iter().map(|wait| &wait.value.reason).find(|reason| reason.key == Key::RecoveryOverdue);
    assert_eq!(
        told.map(|told| (told.object.as_str(), told.text.as_str())).unwrap_or_default(),
        ("pool/w", "owners of moved pods have not recovered within drain.recovery (5m): owner/default/pg")
    );
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_back_makes_room_while_the_owners_of_its_pods_recover() {
    let mut world = workers_only(2).await;
    world.create(workload("Deployment", "slow", 2, &json!({"sim/start-seconds": "200"}), &json!({})));
    world.pass(MINUTE * 10).await;
    let pool = "  nodePools: [{name: w, selector: {matchLabels: {pool: w}}, canary: 0}]\n";
    world.desire_with("v1.36.3", pool);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    let when = |wanted: &dyn Fn(&StepId, &StepEvent) -> bool| {
        let journal = world.journal();
        let found = journal.iter().find_map(|entry| match &entry.what {
            What::Step(id, event) if wanted(id, event) => Some(entry.at),
            _ => None,
        });
        found.expect("the journal has it")
    };
    let first_done =
        when(&|id, event| id.node_name() == Some("w1") && matches!(event, StepEvent::Done { .. }));
    let next = when(&|id, event| id.node_name() == Some("w2") && matches!(event, StepEvent::Started { .. }));
    assert!(next < first_done, "{:#?}", world.tail());
    // Each of the two pods was evicted when the other was Ready: the owner may miss one.
    assert!(world.evictions() >= 2);
}

#[tokio::test(start_paused = true)]
async fn an_eviction_without_an_answer_counts_against_its_owner() {
    for (lost, watches_late) in [(2, 100), (u64::MAX, 500)] {
        let mut world = workers_only(2).await;
        world.create(workload("Deployment", "free", 4, &json!({"sim/start-seconds": "30"}), &json!({})));
        world.pass(MINUTE * 2).await;
        world.faults(|faults, _| {
            faults.on(eviction(), 0, lost, How::AppliedButTimedOut);
            faults.delay_watches(SignedDuration::from_millis(watches_late));
        });
        let process = world.daemon();
        let fewest = fewest(&world, "free", MINUTE * 20).await;
        assert!(fewest >= 3, "{lost} answers lost: {fewest} of 4 served: {:#?}", world.tail());
        world.done_within(HOUR, "v1.36.3").await;
        process.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_whose_pods_are_ill_is_told_as_such() {
    let mut world = workers_only(3).await;
    world.create(workload("Deployment", "ill", 3, &json!({"sim/ready": "false"}), &on("w1")));
    world.budget("ill", json!({"minAvailable": 2}));
    world.pass(MINUTE).await;
    let process = world.daemon();
    world.until("w1 is claimed", HOUR * 2, |world| world.node("w1").2).await;
    world.pass(MINUTE).await;
    assert!(process.says(Key::BudgetUnhealthy, "budget/default/ill"), "{:#?}", process.view().answers);
    process.end().await;
}
