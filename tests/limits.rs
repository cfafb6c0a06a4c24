//! Limits and budgets at their edges: what is out already, and owners that are rolling out.

use serde_json::json;
use windlass::reconcile::{End, Standing};
use windlass::sim::Kind;

use crate::acting::{MINUTE, SECOND, workers_only};
use crate::world::World;

const CLUSTER_ONE: &str = "  maxUnavailable: 1
  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 1}
";

#[tokio::test(start_paused = true)]
async fn a_failed_node_is_retried_under_a_cluster_limit_of_one() {
    let mut world = workers_only(3).await;
    world.desire_with("v1.36.3", CLUSTER_ONE);
    world.faults(|faults, _| faults.fail_jobs_on("w1"));
    assert_eq!(world.run().await, End::Idle(Standing::Halted));
    world.faults(|faults, _| faults.heal_jobs_on("w1"));
    world.note("windlass-resume", "the mirror is back");
    let end = world.run().await;
    assert_eq!(
        end,
        End::Idle(Standing::AsDesired),
        "{:#?}\n{:#?}\n{:#?}",
        world.tail(),
        world.nodes(),
        world.record().waiting
    );
}

#[tokio::test(start_paused = true)]
async fn a_foreign_cordon_to_be_upgraded_does_not_lock_a_pool_of_one_at_a_time() {
    let mut world = workers_only(3).await;
    world.cordon("w3");
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 1, foreignCordon: upgrade}
";
    world.desire_with("v1.36.3", pool);
    world.run().await;
    assert_eq!(world.node("w3").0, "v1.36.3", "it costs nobody anything to upgrade what is out already");
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
    let ready = |world: &World| {
        world
            .list("/api/v1/namespaces/default/pods")
            .iter()
            .filter(|p| {
                p["metadata"]["deletionTimestamp"].is_null()
                    && p["status"]["conditions"]
                        .as_array()
                        .is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
            })
            .count()
    };
    let before = ready(&world);
    let process = world.daemon();
    let mut least = before;
    for _ in 0..600 {
        least = least.min(ready(&world));
        world.pass(SECOND).await;
    }
    assert!(
        least >= 3,
        "4 replicas may miss one: {before} were Ready, and we went to {least}: {:#?}",
        world.tail()
    );
    process.end().await;
}
