//! Any cluster at all: a plan is sound or says why there is none, and step by step it ends where it should.

use proptest::prelude::*;
use windlass::model::desired::{Desired, DrainWhen, Provider};
use windlass::model::live::Live;
use windlass::model::version::Version;
use windlass::plan::check;

use super::case::{add_node, desired, pool};
use super::sealed;

#[derive(Clone, Debug)]
struct World {
    external: bool,
    /// The oldest control plane's minor.
    base: u16,
    /// How far each control plane node's control plane is ahead of the base, and its kubelet behind it.
    control_plane: Vec<(u16, u16, u16)>,
    /// Pool, minors behind the base, patch, zone, words.
    workers: Vec<(u8, u16, u16, u8, u8)>,
    /// Minors ahead of the base, and the patch.
    target: (i16, u16),
    canary: u32,
    drain_for_minor: bool,
}

fn any_world() -> impl Strategy<Value = World> {
    // Mostly whole clusters, sometimes ones that were stopped half way or that are beyond repair.
    let ahead = prop_oneof![40 => Just(0_u16), 10 => Just(1), 1 => Just(2)];
    let late = prop_oneof![8 => Just(0_u16), 3 => Just(1), 1 => 2..=3_u16];
    let control_plane = prop::collection::vec((ahead, late.clone(), 0..3_u16), 0..=5);
    let pool = prop_oneof![60 => 0..2_u8, 3 => Just(2_u8), 1 => Just(3_u8)];
    let worker = (pool, prop_oneof![9 => 0..=3_u16, 1 => 4..=5_u16], 0..3_u16, 0..3_u8, 0..12_u8);
    let target = (prop_oneof![1 => Just(-1_i16), 12 => 0..=5_i16], 2..=20_u16);
    let tuple = (
        prop::bool::weighted(0.2),
        22..=36_u16,
        control_plane,
        prop::collection::vec(worker, 0..=8),
        target,
        0..=2_u32,
        any::<bool>(),
    );
    tuple.prop_map(|(external, base, control_plane, workers, target, canary, drain_for_minor)| World {
        external,
        base,
        control_plane,
        workers,
        target,
        canary,
        drain_for_minor,
    })
}

impl World {
    fn desired(&self) -> Desired {
        let minor = self.base.saturating_add_signed(self.target.0);
        let mut pools = vec![pool("general", "pool=general"), pool("batch", "batch=yes")];
        for pool in &mut pools {
            pool.canary = self.canary;
            pool.drain.when = if self.drain_for_minor { DrainWhen::Minor } else { DrainWhen::Always };
        }
        let mut desired = desired(Version::new(1, minor, self.target.1), pools);
        if self.external {
            desired.cluster.control_plane.provider = Provider::External;
        }
        desired
    }

    fn live(&self) -> Live {
        let mut live = Live::default();
        live.api.version = Some(Version::new(1, self.base, 1));
        live.api.agreed = true;
        for (number, (ahead, late, patch)) in self.control_plane.iter().enumerate() {
            let control_plane = Version::new(1, self.base + ahead, *patch);
            let kubelet = Version::new(1, self.base - late, *patch);
            add_node(&mut live, &format!("cp{number}"), &format!("control-plane {control_plane}/{kubelet}"));
        }
        for (number, (pool, behind, patch, zone, words)) in self.workers.iter().enumerate() {
            let labels =
                ["pool=general", "batch=yes", "pool=none", "pool=general batch=yes"][usize::from(*pool)];
            let words = ["cordoned", "held", "notReady", "leaving"].get(usize::from(*words)).unwrap_or(&"");
            let kubelet = Version::new(1, self.base - behind, *patch);
            add_node(&mut live, &format!("w{number}"), &format!("{labels} zone=z{zone} {words} {kubelet}"));
        }
        live.complete = true;
        live
    }
}

proptest! {
    // Without a file of old failures: a failure becomes a case in `cases/plan`.
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cluster_is_planned_soundly_and_ends_or_says_why_not(world in any_world()) {
        super::follow("any", &world.desired(), &world.live());
    }

    #[test]
    fn a_node_is_never_emptied_more_often_than_the_skew_asks(world in any_world()) {
        let (desired, live) = (world.desired(), world.live());
        let plan = sealed(&desired, &live);
        prop_assert_eq!(check(&plan, &desired, &live), []);
        for node in live.nodes.values().filter(|node| !node.control_plane) {
            let steps = plan.steps().filter(|step| step.node() == Some(&*node.name)).count();
            let minors = node.kubelet.as_ref().map_or(0, |kubelet| desired.cluster.version.minors_ahead_of(kubelet));
            // Two minors at a time is the least that a lift gains.
            prop_assert!(i32::try_from(steps).unwrap_or(i32::MAX) <= 1 + (minors + 1) / 2, "{} steps for {minors} minors", steps);
        }
    }
}
