//! What limits how many pods of a node leave at once: a disruption budget, or the implicit one of an owner without a budget.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ledger::implicit_budget;
use super::owners::ready_pods;
use super::pods;
use super::rollouts::{Way, way};
use crate::model::live::{Id, Labels, Live, Owner, OwnerKind, Pod};
use crate::model::plan::DrainLimits;

/// No pod takes longer to be Ready after its creation, in seconds.
const SLOWEST: u16 = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitedBy<'a> {
    Budget(&'a (Id, Id)),
    Owner(&'a Id),
}

/// A limiter of some [`Limiters`], by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limiter(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many more pods may leave now. Negative if more are away than may be.
    pub free: i64,
    /// How many may be away at once.
    pub at_once: i64,
    /// How many pods drains of the nodes that were asked about have to evict.
    pub to_evict: i64,
    /// How many seconds the quickest of these is missing, from its eviction until there is a Ready one in its place.
    pub away: i64,
}

/// The limiters of the pods that were asked about.
#[derive(Clone, Debug, Default)]
pub struct Limiters<'a> {
    all: Vec<(LimitedBy<'a>, Capacity)>,
    numbers: BTreeMap<LimitedBy<'a>, Limiter>,
    /// Pods of one owner with the same labels have the same limiter. Both are kept once, so their places tell them apart.
    of_alike: BTreeMap<OwnerAndLabels, Option<Limiter>>,
}

/// The places of the labels and of the owner of some pods, and of the limits by which they are judged.
type OwnerAndLabels = (*const Labels, *const Owner, *const DrainLimits);

impl<'a> Limiters<'a> {
    /// `None` if the number is of other limiters.
    pub fn get(&self, limiter: Limiter) -> Option<&(LimitedBy<'a>, Capacity)> {
        self.all.get(limiter.0)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Capacity> {
        self.all.iter().map(|(_, capacity)| capacity)
    }

    /// Takes these pods from what may leave now.
    pub fn book(&mut self, needs: &[(Limiter, i64)]) {
        for (limiter, count) in needs {
            if let Some((_, capacity)) = self.all.get_mut(limiter.0) {
                capacity.free -= count;
            }
        }
    }

    /// How many pods of each limiter a drain of the node has to evict.
    pub fn needs(&mut self, live: &'a Live, node: &str, limits: &'a DrainLimits) -> Vec<(Limiter, i64)> {
        let mut needs: BTreeMap<Limiter, i64> = BTreeMap::new();
        for pod in pods::to_evict(live, node, limits) {
            let Some(limiter) = self.of(live, pod, limits) else { continue };
            *needs.entry(limiter).or_default() += 1;
            if let Some((_, capacity)) = self.all.get_mut(limiter.0) {
                let away = away(pod);
                capacity.away = if capacity.to_evict == 0 { away } else { capacity.away.min(away) };
                capacity.to_evict += 1;
            }
        }
        needs.into_iter().collect()
    }

    /// What limits this pod; `None` if nothing does.
    pub fn of(&mut self, live: &'a Live, pod: &'a Pod, limits: &DrainLimits) -> Option<Limiter> {
        let owner = pod.owner.as_ref()?;
        let alike = (Arc::as_ptr(&pod.labels), Arc::as_ptr(owner), std::ptr::from_ref(limits));
        if let Some(known) = self.of_alike.get(&alike) {
            return *known;
        }
        let limiter = limited_by(live, pod, owner, limits);
        let limiter = limiter.map(|(by, capacity)| {
            *self.numbers.entry(by).or_insert_with(|| {
                self.all.push((by, capacity()));
                Limiter(self.all.len() - 1)
            })
        });
        self.of_alike.insert(alike, limiter);
        limiter
    }
}

/// How many seconds a pod is missing once it is evicted, until the pod in its place is Ready, by how long it took to be Ready
/// itself.
pub fn away(pod: &Pod) -> i64 {
    // A ReplicaSet makes the next pod when the eviction is accepted; others when the old one is gone.
    let at_once = pod.owner.as_ref().is_some_and(|owner| owner.kind == OwnerKind::ReplicaSet);
    let ended = if at_once { 0 } else { i64::from(pod.grace_seconds) };
    // A pod that became Ready once more after an outage does not tell how long it takes to start.
    let ready = if pod.ready_after > SLOWEST { 0 } else { i64::from(pod.ready_after) };
    ended + ready
}

type CapacityOf<'a> = Box<dyn FnOnce() -> Capacity + 'a>;

fn limited_by<'a>(
    live: &'a Live,
    pod: &'a Pod,
    owner: &'a Owner,
    limits: &DrainLimits,
) -> Option<(LimitedBy<'a>, CapacityOf<'a>)> {
    let budgets = live.budgets_of(pod);
    if let Some((key, budget)) = budgets.first().copied() {
        // No eviction would ever pass, so that the pod leaves by a rollout, which asks no budget, or not at all.
        let never = budget.never.is_some() || budgets.len() > 1;
        if never && matches!(way(live, pod, limits), Way::Rollout(_)) {
            return None;
        }
        // Its status is not computed yet.
        if budget.expected == 0 {
            return None;
        }
        let capacity = move || Capacity {
            free: i64::from(budget.disruptions_allowed),
            at_once: i64::from(budget.expected - budget.desired_healthy).max(1),
            to_evict: 0,
            away: 0,
        };
        return Some((LimitedBy::Budget(key), Box::new(capacity)));
    }
    if !limits.implicit_budgets || owner.kind == OwnerKind::Job {
        return None;
    }
    let workload = live.workloads.get(&owner.uid);
    let top = workload.and_then(|workload| workload.parent.as_ref()).unwrap_or(&owner.uid);
    let capacity = || {
        let ready = i64::from(ready_pods(live, top));
        let pods = live.workloads.get(top).map_or(ready, |workload| i64::from(workload.replicas));
        let at_once = implicit_budget(pods);
        Capacity { free: at_once - (pods - ready).max(0), at_once, to_evict: 0, away: 0 }
    };
    Some((LimitedBy::Owner(top), Box::new(capacity)))
}
