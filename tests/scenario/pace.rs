//! The time that an upgrade takes, and what it must not wait for.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use windlass::model::entry::{RunEvent, StepEvent, StepPhase, What};
use windlass::model::state::RunState;
use windlass::serve::End;

use crate::world::World;
use crate::world::fixtures::{workers_only, workload};
use crate::world::pace::Pace;
use crate::world::process::{MINUTE, SECOND};

const POOL: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 3}
";

/// Workers whose pods take seconds to end and to start, and which three at once may leave.
async fn paced(pace: Pace) -> World {
    let mut world = workers_only(18).await;
    world.pace = pace;
    for (app, replicas, stop, start) in [("a", 12, "3", "9"), ("b", 18, "7", "15"), ("c", 9, "1", "4")] {
        let times = json!({"sim/stop-seconds": stop, "sim/start-seconds": start});
        world.create(workload("Deployment", app, replicas, &times, &json!({})));
        world.budget(app, json!({"maxUnavailable": "25%"}));
    }
    world.pass(MINUTE * 5).await;
    world.desire_with("v1.36.3", POOL);
    world
}

/// From the first claim to the last return, by the journal.
fn makespan(world: &World) -> SignedDuration {
    let phases = |wanted| {
        let of = world.journal().into_iter().filter(move |entry| {
            matches!(&entry.what, What::Step(_, StepEvent::Moved { phase, .. }) if *phase == wanted)
        });
        of.map(|entry| entry.at).collect::<Vec<Timestamp>>()
    };
    let (claimed, returned) = (phases(StepPhase::Claimed), phases(StepPhase::Returned));
    assert_eq!((claimed.len(), returned.len()), (18, 18), "{:#?}", world.tail());
    returned.last().unwrap().duration_since(claimed[0])
}

async fn upgraded(pace: Pace) -> (World, SignedDuration) {
    let mut world = paced(pace).await;
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::AsDesired), "{:#?}", world.tail());
    world.assert_invariants();
    let length = makespan(&world);
    (world, length)
}

/// A host that takes 3 s for a push and allows six a minute makes an upgrade at most 3 % longer than one that answers at once:
/// intents are pushed ahead of their turn.
#[tokio::test(start_paused = true)]
async fn a_slow_git_host_does_not_slow_the_upgrade() {
    let (_, quick) = upgraded(Pace::default()).await;
    let slow = Pace { push: SECOND * 3, apart: SECOND * 10 };
    let (world, slow) = upgraded(slow).await;
    let ratio = slow.as_secs_f64() / quick.as_secs_f64();
    assert!(
        ratio <= 1.03,
        "{slow:#} with a slow host, {quick:#} with a quick one: {ratio:.3}\n{:#?}",
        world.log()
    );
    let ahead =
        world.journal().into_iter().filter(|entry| matches!(entry.what, What::Run(RunEvent::Next { .. })));
    assert!((1..=9).contains(&ahead.count()), "they are written together");
}

fn ahead(ahead: bool) -> String {
    format!(
        "  nodePools:
    - {{name: w, selector: {{matchLabels: {{pool: w}}}}, canary: 0, maxUnavailable: 1, drain: {{ahead: {ahead}}}}}
"
    )
}

/// Eight workers, an app of which one pod may be away at a time and takes its time to start, and one that is quick.
async fn with_a_slow_budget(cpu: &str, pool: &str) -> World {
    let world = workers_only(8).await;
    let asks = json!([{"name": "c", "image": "app:1", "resources": {"requests": {"cpu": cpu}}}]);
    let times = json!({"sim/stop-seconds": "2", "sim/start-seconds": "25"});
    world.create(workload("Deployment", "db", 16, &times, &json!({"containers": asks})));
    world.budget("db", json!({"maxUnavailable": 1})).deployment("web", 8);
    world.pass(MINUTE * 5).await;
    world.desire_with("v1.36.3", pool);
    world
}

/// The pods that left a node before its turn, and where the record says that those in their places are.
fn landed(world: &World) -> Vec<(String, Option<String>)> {
    let told = world.journal().into_iter().filter_map(|entry| match entry.what {
        What::Run(RunEvent::Landed { pods }) => Some(pods),
        _ => None,
    });
    told.flatten().map(|of| (of.from, of.there.map(|place| place.node))).collect()
}

/// Pods of the slow budget leave nodes that wait, while the budget would lie idle, and land on upgraded nodes.
#[tokio::test(start_paused = true)]
async fn pods_of_a_slow_budget_leave_before_their_nodes_turn() {
    let mut lengths = Vec::new();
    for asked in [false, true] {
        let mut world = with_a_slow_budget("100m", &ahead(asked)).await;
        let end = world.run().await;
        world.assert_done(&end, "v1.36.3");
        let phases = world.journal().into_iter().filter_map(|entry| match entry.what {
            What::Step(id, StepEvent::Moved { phase, .. }) => Some((entry.at, id, phase)),
            _ => None,
        });
        let phases: Vec<_> = phases.collect();
        lengths.push(phases.last().unwrap().0.duration_since(phases[0].0));
        let landed = landed(&world);
        if !asked {
            assert_eq!(landed, [], "nobody asked for it");
            continue;
        }
        assert!(landed.len() >= 4, "{landed:?}\n{:#?}", world.log());
        // Of each place: the node was back before the run ended, and nothing landed on the node that was left.
        let elsewhere = landed.iter().all(|(from, there)| there.as_ref().is_some_and(|node| node != from));
        assert!(elsewhere, "{landed:?}");
        let log = world.log().join("\n");
        assert!(log.contains("before the turn of their nodes") || log.contains("more)"), "{log}");
    }
    assert!(lengths[1] < lengths[0], "{lengths:?}");
}
