//! What limits how many pods of a node leave at once: a disruption budget, or the implicit one of an owner without a budget.

use std::collections::BTreeMap;

use super::ledger::implicit_budget;
use super::owners::ready_pods;
use super::pods;
use super::rollouts::{Way, way};
use crate::model::live::{Id, Live, OwnerKind, Pod};
use crate::model::plan::DrainLimits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limiter<'a> {
    Budget(&'a (Id, Id)),
    Owner(&'a Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many more pods may leave now. Negative if more are away than may be.
    pub free: i64,
    /// How many may be away at once.
    pub at_once: i64,
    /// How many pods there are in all.
    pub pods: i64,
}

/// The limiters of the pods that were asked about.
#[derive(Clone, Debug, Default)]
pub struct Limiters<'a> {
    capacities: BTreeMap<Limiter<'a>, Capacity>,
}

impl<'a> Limiters<'a> {
    pub fn get(&self, limiter: &Limiter<'a>) -> Option<Capacity> {
        self.capacities.get(limiter).copied()
    }

    /// Takes these pods from what may leave now.
    pub fn book(&mut self, needs: &[(Limiter<'a>, i64)]) {
        for (limiter, count) in needs {
            if let Some(capacity) = self.capacities.get_mut(limiter) {
                capacity.free -= count;
            }
        }
    }

    /// How many pods of each limiter a drain of the node has to evict.
    pub fn needs(&mut self, live: &'a Live, node: &str, limits: &'a DrainLimits) -> Vec<(Limiter<'a>, i64)> {
        let mut needs: BTreeMap<Limiter<'a>, i64> = BTreeMap::new();
        for pod in pods::to_evict(live, node, limits) {
            if let Some(limiter) = self.of(live, pod, limits) {
                *needs.entry(limiter).or_default() += 1;
            }
        }
        needs.into_iter().collect()
    }

    /// What limits this pod; `None` if nothing does.
    pub fn of(&mut self, live: &'a Live, pod: &'a Pod, limits: &DrainLimits) -> Option<Limiter<'a>> {
        let budgets = live.budgets_of(pod);
        if let Some((key, budget)) = budgets.first() {
            // No eviction would ever pass, so that the pod leaves by a rollout, which asks no budget, or not at all.
            let never = budget.never.is_some() || budgets.len() > 1;
            if never && matches!(way(live, pod, limits), Way::Rollout(_)) {
                return None;
            }
            // Its status is not computed yet.
            if budget.expected == 0 {
                return None;
            }
            let limiter = Limiter::Budget(key);
            self.capacities.entry(limiter).or_insert_with(|| Capacity {
                free: i64::from(budget.disruptions_allowed),
                at_once: i64::from(budget.expected - budget.desired_healthy).max(1),
                pods: i64::from(budget.expected),
            });
            return Some(limiter);
        }
        let has_implicit = |kind| limits.implicit_budgets && kind != OwnerKind::Job;
        let owner = pod.owner.as_ref().filter(|owner| has_implicit(owner.kind))?;
        let workload = live.workloads.get(&owner.uid);
        let top = workload.and_then(|workload| workload.parent.as_ref()).unwrap_or(&owner.uid);
        let limiter = Limiter::Owner(top);
        self.capacities.entry(limiter).or_insert_with(|| {
            let ready = i64::from(ready_pods(live, top));
            let pods = live.workloads.get(top).map_or(ready, |workload| i64::from(workload.replicas));
            let at_once = implicit_budget(pods);
            Capacity { free: at_once - (pods - ready).max(0), at_once, pods }
        });
        Some(limiter)
    }
}
