//! Which node of a pool is taken out next: the one whose pods can leave soonest, by what budgets allow at this moment and by
//! what the nodes in drain still need of them. Of nodes that are alike, the one whose pods belong to the budgets that take
//! longest in all goes first, so that those budgets are never idle.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::model::live::{Id, Live, OwnerKind, Pod};
use crate::model::plan::DrainLimits;
use crate::model::work::Step;
use crate::record::Run;
use crate::verify::owners::ready_pods;
use crate::verify::pods;

/// How many waiting nodes of a pool are compared, the first of the plan. More would change little and cost time.
const COMPARED: usize = 200;

/// What limits how many pods leave at once: a budget, or the implicit one of an owner without a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Limiter<'a> {
    Budget(&'a (Id, Id)),
    Owner(&'a Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Capacity {
    /// How many more pods may leave now, after those that nodes in drain still need. Negative if those alone need more.
    free: i64,
    /// How many may be away at once.
    at_once: i64,
    /// How many pods there are in all.
    pods: i64,
}

/// The waiting nodes of a pool that are compared.
pub(super) struct Candidates<'a> {
    /// Each with the number of its pods for each limiter, in the order of the plan.
    steps: Vec<(&'a Step, Vec<(Limiter<'a>, i64)>)>,
    capacities: BTreeMap<Limiter<'a>, Capacity>,
}

impl<'a> Candidates<'a> {
    pub(super) fn of(
        live: &'a Live,
        run: &'a Run,
        limits: &'a DrainLimits,
        waiting: impl Iterator<Item = &'a Step>,
    ) -> Self {
        let mut this = Self { steps: Vec::new(), capacities: BTreeMap::new() };
        for step in waiting.take(COMPARED) {
            let needs = step.node().filter(|_| step.drains());
            let needs = needs.map_or_else(Vec::new, |node| this.needs(live, node, limits));
            this.steps.push((step, needs));
        }
        for step in run.steps_out().filter(|step| step.drains()) {
            for (limiter, count) in step.node().map_or_else(Vec::new, |node| this.needs(live, node, limits)) {
                this.book(limiter, count);
            }
        }
        this
    }

    /// The best of them, which is then no candidate any more.
    pub(super) fn pop(&mut self) -> Option<&'a Step> {
        let order = |(place, (_, needs)): (usize, &(&Step, Vec<(Limiter<'a>, i64)>))| {
            let (rounds, busy) = self.score(needs);
            ((rounds, Reverse(busy), place), place)
        };
        let (_, place) = self.steps.iter().enumerate().map(order).min()?;
        Some(self.steps.remove(place).0)
    }

    /// Counts the pods of a node that was chosen among those that nodes in drain need.
    pub(super) fn choose(&mut self, live: &'a Live, step: &'a Step, limits: &'a DrainLimits) {
        for (limiter, count) in step.node().map_or_else(Vec::new, |node| self.needs(live, node, limits)) {
            self.book(limiter, count);
        }
    }

    fn book(&mut self, limiter: Limiter<'a>, count: i64) {
        if let Some(capacity) = self.capacities.get_mut(&limiter) {
            capacity.free -= count;
        }
    }

    /// How many rounds of its slowest limiter the node has to wait for, and how much its pods keep slow limiters busy now.
    fn score(&self, needs: &[(Limiter<'a>, i64)]) -> (i64, i64) {
        let of = |(limiter, count): &(Limiter<'a>, i64)| Some((*self.capacities.get(limiter)?, *count));
        let known = || needs.iter().filter_map(of);
        let rounds = known().map(|(of, count)| divided_up((count - of.free).max(0), of.at_once));
        let busy = known().map(|(of, count)| count.min(of.free.max(0)) * divided_up(of.pods, of.at_once));
        (rounds.max().unwrap_or(0), busy.sum())
    }

    /// The pods of a node that a drain has to evict, by what limits them.
    fn needs(&mut self, live: &'a Live, node: &str, limits: &'a DrainLimits) -> Vec<(Limiter<'a>, i64)> {
        let mut needs: BTreeMap<Limiter<'a>, i64> = BTreeMap::new();
        for pod in pods::to_evict(live, node, limits) {
            if let Some(limiter) = self.limiter(live, pod, limits) {
                *needs.entry(limiter).or_default() += 1;
            }
        }
        needs.into_iter().collect()
    }

    fn limiter(&mut self, live: &'a Live, pod: &'a Pod, limits: &DrainLimits) -> Option<Limiter<'a>> {
        if let Some((key, budget)) = live.budgets_of(pod).first() {
            let limiter = Limiter::Budget(key);
            self.capacities.entry(limiter).or_insert_with(|| Capacity {
                free: i64::from(budget.disruptions_allowed),
                at_once: i64::from(budget.expected - budget.desired_healthy).max(1),
                pods: i64::from(budget.expected),
            });
            return Some(limiter);
        }
        let owner =
            pod.owner.as_ref().filter(|owner| limits.implicit_budgets && owner.kind != OwnerKind::Job)?;
        let top = live
            .workloads
            .get(&owner.uid)
            .and_then(|workload| workload.parent.as_ref())
            .unwrap_or(&owner.uid);
        let limiter = Limiter::Owner(top);
        self.capacities.entry(limiter).or_insert_with(|| {
            let ready = i64::from(ready_pods(live, top));
            let pods = live.workloads.get(top).map_or(ready, |workload| i64::from(workload.replicas));
            let at_once = (pods / 4).max(1);
            Capacity { free: at_once - (pods - ready).max(0), at_once, pods }
        });
        Some(limiter)
    }
}

fn divided_up(count: i64, by: i64) -> i64 {
    (count + by - 1) / by.max(1)
}
