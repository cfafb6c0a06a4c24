//! What a pass need not ask again, because it was answered for an earlier step.

use std::collections::{BTreeMap, BTreeSet};

use super::explain::MOST_EXPLAINED;
use crate::gate::Full;
use crate::model::decision::{Decision, Gate};
use crate::model::work::{MoveKind, Step};
use crate::record::Alike;

/// Steps that need no question in this pass because an earlier step got the same answer.
#[derive(Default)]
pub(super) struct Passed<'a> {
    /// How many nodes of each pool were explained.
    explained: BTreeMap<&'a str, usize>,
    /// Kinds of move that a gate denies for every node.
    kinds: BTreeSet<MoveKind>,
    /// Pools that have no room for another node; below, zones of pools.
    pools: BTreeSet<&'a str>,
    zones: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Passed<'a> {
    /// True if no step of a group needs a question any more. Once true it stays so.
    pub(super) fn by(&self, alike: &'a Alike) -> bool {
        let pool = alike.scope.name();
        self.pools.contains(pool)
            || self.zones.contains(&(pool, alike.zone.as_str()))
            || self.enough_said(pool, alike.kind)
    }

    /// True if a gate denies every node this kind of move, and the pool has been told often enough.
    pub(super) fn enough_said(&self, pool: &str, kind: MoveKind) -> bool {
        self.kinds.contains(&kind) && self.enough(pool)
    }

    fn enough(&self, pool: &str) -> bool {
        self.explained.get(pool).is_some_and(|count| *count >= MOST_EXPLAINED)
    }

    /// Notes an objection. True if it is to be reported.
    pub(super) fn note(&mut self, step: &'a Step, decision: &Decision, full: Full) -> bool {
        let pool = step.id.scope.name();
        if decision.objections().any(|answer| !answer.gate.is_about_nodes()) {
            self.kinds.insert(step.move_kind());
        }
        // The canaries of a pool keep all its other nodes waiting, and so do pods that are not back.
        let of_pool = decision.objections().all(|answer| answer.gate.is_about_pools());
        // A node that is held is out already, so no limit objects to it, and the pool it fills is not told of yet.
        let limited = decision.objections().any(|answer| answer.gate == Gate::Limit);
        match full {
            Full::Pool | Full::Zone if !limited => {}
            Full::Pool => drop(self.pools.insert(pool)),
            Full::Zone => drop(self.zones.insert((pool, step.node_move().map_or("", |mv| &mv.zone)))),
            Full::No if of_pool => drop(self.pools.insert(pool)),
            Full::No => {}
        }
        let told = !self.enough(pool);
        *self.explained.entry(pool).or_default() += 1;
        told
    }
}
