//! Whole upgrades on the simulator, from the commit to the record.

use jiff::SignedDuration;
use serde_json::json;
use windlass::reconcile::{End, Standing};

use crate::world::World;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn a_version_bump_becomes_an_upgrade() {
    let mut world = World::new();
    world.control_plane(1).workers("w", 3).deployment("web", 4).budget("web", json!({"maxUnavailable": 1}));
    world.pass(MINUTE).await;
    world.desire("v1.35.4");
    assert_eq!(world.run().await, End::Idle(Standing::AsDesired), "{:#?}", world.log());
    world.desire("v1.36.3");
    let end = world.run().await;
    println!("{:#?}\n{:#?}", world.log(), world.nodes());
    assert_eq!(end, End::Idle(Standing::AsDesired));
    world.assert_converged("v1.36.3");
    world.assert_invariants();
}
