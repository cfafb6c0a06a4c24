//! Checks limits: the intents take out no more nodes than pool, zone and cluster allow, counting nodes that are out
//! for another cause.

use std::collections::BTreeMap;

use super::Check;
use crate::model::desired::{Cluster, Limit, Pool};
use crate::model::entry::{StepEvent, StepPhase, What};
use crate::model::live::{Node, Ready};
use crate::model::plan::Plan;
use crate::model::work::{NodeMove, Scope, Step};

/// The nodes that are out, with pools and zones; and the number of nodes of each pool whose limit is a percentage.
#[derive(Default)]
struct Count<'a> {
    out: BTreeMap<&'a str, (&'a str, &'a str)>,
    totals: BTreeMap<&'a str, usize>,
}

impl<'a> Check<'a> {
    pub(super) fn limits(&mut self) {
        let (Some(run), Some(desired)) = (self.run(), self.desired()) else { return };
        let started = self.tick.entries.iter().filter_map(|what| match what {
            What::Step(id, StepEvent::Started { .. }) => Some(run.find(id)?.1),
            What::Step(..) | What::Cluster(_) | What::Commit(_) | What::Run(_) | What::Interruption(_) => {
                None
            }
        });
        let started: Vec<&Step> = started.filter(|step| pool_of(step).is_some()).collect();
        if started.is_empty() {
            return;
        }
        let mut count = self.count(&run.plan, &desired.cluster);
        for step in started {
            let (Some(pool), Some(mv)) = (pool_of(step), step.node_move()) else { continue };
            // A node that is out already takes no further room.
            if count.out.insert(&mv.node.name, (pool, &mv.zone)).is_none() {
                self.within(&run.plan, &count, pool, mv);
            }
        }
    }

    /// Labels are matched only for nodes that are out, unless a percentage needs all nodes counted.
    fn count(&self, plan: &Plan, cluster: &'a Cluster) -> Count<'a> {
        let share = |limit: &Limit| matches!(limit, Limit::Percent(_));
        let all = plan.pools.values().any(|limits| share(&limits.max_unavailable))
            || plan.max_unavailable.as_ref().is_some_and(share);
        let mut count = Count::default();
        for node in self.live().nodes.values() {
            let out = node.ready != Ready::True || node.unschedulable || node.hold.is_some();
            let Some(pool) = Some(node).filter(|_| out || all).and_then(|node| only_pool(cluster, node))
            else {
                continue;
            };
            *count.totals.entry(&pool.name).or_default() += 1;
            if out {
                count.out.insert(&node.name, (&pool.name, &node.zone));
            }
        }
        // A node that is back in service takes no room; what its pods' owners still miss is the recovery gate's business.
        let out = self.run().into_iter().flat_map(|run| {
            let out = run.in_progress().filter(|(_, known)| known.phase != StepPhase::Returned);
            out.filter_map(|(id, _)| Some(run.find(id)?.1))
        });
        for step in out {
            if let (Some(pool), Some(mv)) = (pool_of(step), step.node_move()) {
                count.out.entry(&mv.node.name).or_insert((pool, &mv.zone));
            }
        }
        count
    }

    fn within(&mut self, plan: &Plan, count: &Count<'_>, pool: &str, mv: &NodeMove) {
        let Some(limits) = plan.pools.get(pool) else {
            return self.note(format!("pool/{pool}"), "the plan has no limits for it");
        };
        let of_pool = || count.out.values().filter(|(of, _)| *of == pool);
        let total = count.totals.get(pool).copied().unwrap_or(0);
        let object = format!("pool/{pool}");
        self.require(
            of_pool().count() <= limits.max_unavailable.of(total),
            &object,
            "more of its nodes would be out than its limit",
        );
        let of_zone = of_pool().filter(|(_, zone)| *zone == mv.zone).count();
        let most = limits.max_unavailable_per_zone.map(|most| most as usize);
        let zone = format!("zone/{}", mv.zone);
        self.require(
            most.is_none_or(|most| of_zone <= most),
            &zone,
            "more nodes of one pool would be out in it than its limit",
        );
        let all: usize = count.totals.values().sum();
        let most = plan.max_unavailable.map(|limit| limit.of(all));
        let object = self.cluster();
        self.require(
            most.is_none_or(|most| count.out.len() <= most),
            &object,
            "more nodes would be out than its limit",
        );
    }
}

fn pool_of(step: &Step) -> Option<&str> {
    match &step.id.scope {
        Scope::Pool(pool) => Some(pool),
        Scope::ControlPlane | Scope::Addon(_) | Scope::Check(_) => None,
    }
}

/// The pool of a worker; `None` if no pool, or more than one, selects it.
fn only_pool<'c>(cluster: &'c Cluster, node: &Node) -> Option<&'c Pool> {
    let mut pools =
        cluster.pools.iter().filter(|pool| !node.control_plane && pool.selector.selects(&node.labels));
    pools.next().filter(|_| pools.next().is_none())
}
