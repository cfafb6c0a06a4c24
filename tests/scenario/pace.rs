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
