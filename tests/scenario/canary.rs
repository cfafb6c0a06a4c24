//! Canaries: they go before their pools, their pools wait for them, and one that is lost ends the run.

use std::collections::BTreeSet;

use windlass::model::decision::Key;
use windlass::model::entry::{StepEvent, What};
use windlass::model::state::RunState;
use windlass::model::work::{Scope, StepId};
use windlass::serve::End;

use crate::world::fixtures::{large, lost_canary};
use crate::world::process::{HOUR, MINUTE};

#[tokio::test(start_paused = true)]
async fn the_control_plane_goes_first_and_canaries_go_before_their_pools() {
    let mut world = large().await;
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    let begun = world.begun();
    // Servers, then kubelets of the control plane; then one canary of each pool; then the rest.
    assert!(begun[..6].iter().all(|node| node.starts_with("cp")), "{begun:?}");
    assert_eq!(
        begun[6..8].iter().map(|node| &node[..1]).collect::<BTreeSet<_>>(),
        BTreeSet::from(["a", "b"]),
        "{begun:?}"
    );
    assert_eq!(begun.len(), 14);
    for pool in ["a", "b"] {
        let of_pool = |id: &StepId| id.scope == Scope::Pool(pool.to_owned());
        let times = |end: bool| {
            world
                .journal()
                .into_iter()
                .filter_map(move |entry| match &entry.what {
                    What::Step(id, StepEvent::Done { .. }) if end && of_pool(id) => Some(entry.at),
                    What::Step(id, StepEvent::Started { .. }) if !end && of_pool(id) => Some(entry.at),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        assert!(times(false)[1].duration_since(times(true)[0]) >= MINUTE * 2, "pool {pool} soaks");
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_never_comes_back_halts_the_run_for_good() {
    let mut world = lost_canary().await;
    world.assert_taken_out("w1", "v1.35.4");
    world.pass(HOUR * 24).await;
    assert_eq!(world.run().await, End::Idle(RunState::Halted), "not by itself, not by a restart");
    assert_eq!(world.begun(), ["w1"]);
    world.assert_halted(Key::OldKubelet, "w1 does not run v1.36.3");
    world.assert_invariants();
}
