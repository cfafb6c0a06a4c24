//! Which node of a pool is taken out next: the one that has to wait least for others, by what budgets allow at this moment and
//! by what the nodes in drain still need of them. A node with pods that end by themselves comes after the others. Of nodes that
//! are alike, one whose intent is written ahead goes first, because no push is waited for; then the one whose drain is longest
//! whoever else is out, so that no such drain is left for the end; and then the one whose pods belong to the budgets that take
//! longest for what is left, so that those budgets are never idle. Before the first node of the pool is back, pods land on
//! nodes that are still to be drained and move once more; so the nodes without pods of such budgets go first.

use std::cmp::Reverse;

use jiff::Timestamp;

use crate::model::live::Live;
use crate::model::plan::{DrainLimits, PoolLimits};
use crate::model::work::Step;
use crate::record::Run;
use crate::verify::limiters::{Capacity, Limiter, Limiters};
use crate::verify::pods::{self, Case};

/// How many waiting nodes of a pool are compared, the first of the plan. More would change little and cost time.
const COMPARED: usize = 200;

/// Nodes whose limiters need less than one of so many parts of the time that the slowest one needs are alike.
const PARTS: i64 = 4;

/// How many seconds an intent is taken to need until it is pushed.
const PUSH: i64 = 5;

/// How many pods of a node each limiter covers.
type Needs = Vec<(Limiter, i64)>;

/// A node that waits, by its step.
struct Candidate<'a> {
    step: &'a Step,
    /// True if a drain would have to wait for a running Job, or for a pod that asks not to be disrupted.
    waits: bool,
    /// True if its intent is written already, ahead of its turn.
    named: bool,
    needs: Needs,
}

/// The waiting nodes of a pool that are compared, in the order of the plan.
pub(super) struct Candidates<'a> {
    steps: Vec<Candidate<'a>>,
    limiters: Limiters<'a>,
    /// True if pods that leave these nodes land on nodes that are still to be drained.
    repeated: bool,
}

impl<'a> Candidates<'a> {
    pub(super) fn of(
        live: &'a Live,
        run: &'a Run,
        pool: &str,
        limits: &'a PoolLimits,
        waiting: impl Iterator<Item = &'a Step>,
    ) -> Self {
        let repeated = limits.prefer_upgraded && !run.tainting.contains_key(pool);
        let limits = &limits.drain;
        let mut limiters = Limiters::default();
        let mut needs = |step: &Step| {
            let node = step.node().filter(|_| step.drains());
            node.map_or_else(Vec::new, |node| limiters.needs(live, node, limits))
        };
        let candidate = |step: &'a Step| Candidate {
            step,
            waits: waits(live, step, limits),
            named: run.next.contains_key(&step.id),
            needs: needs(step),
        };
        let steps = waiting.take(COMPARED).map(candidate).collect();
        let in_drain: Vec<Needs> = run.steps_out().map(needs).collect();
        for needs in &in_drain {
            limiters.book(needs);
        }
        Self { steps, limiters, repeated }
    }

    /// Takes the best of them out, with its pods.
    pub(super) fn pop(&mut self) -> Option<(&'a Step, Needs)> {
        let slowest = self.limiters.iter().map(|of| takes(of, of.to_evict)).max().unwrap_or(0);
        let order = |(place, candidate): (usize, &Candidate<'a>)| {
            let Score { longest, pressing, behind_others, alone, busy } =
                self.score(&candidate.needs, slowest);
            let pressing = !self.repeated && behind_others < pressing;
            let lost = if self.repeated && slowest > 0 { longest * PARTS / slowest } else { 0 };
            let push = if candidate.named { 0 } else { PUSH };
            (candidate.waits, lost, !pressing, behind_others + push, Reverse(alone), Reverse(busy), place)
        };
        let (.., place) = self.steps.iter().enumerate().map(order).min()?;
        let Candidate { step, needs, .. } = self.steps.remove(place);
        Some((step, needs))
    }

    /// Counts the pods of a node that was chosen among those that nodes in drain need.
    pub(super) fn choose(&mut self, needs: &Needs) {
        self.limiters.book(needs);
    }

    fn score(&self, needs: &Needs, slowest: i64) -> Score {
        let (mut longest, mut pressing, mut now, mut alone, mut busy) = (0, 0, 0, 0, 0);
        for (limiter, count) in needs {
            let Some((_, of)) = self.limiters.get(*limiter) else { continue };
            let needed = takes(of, of.to_evict);
            longest = longest.max(needed);
            if of.free > 0 && needed * PARTS >= slowest * (PARTS - 1) {
                pressing = pressing.max(of.away);
            }
            now = now.max(takes(of, count - of.free));
            alone = alone.max(takes(of, count - of.at_once));
            busy += (*count).min(of.free.max(0)) * needed;
        }
        Score { longest, pressing, behind_others: (now - alone).max(0), alone, busy }
    }
}

/// What tells nodes apart, in seconds. A limiter lets some pods go at once, and more when those are Ready elsewhere.
struct Score {
    /// How long the slowest of its limiters needs for all pods that are left.
    longest: i64,
    /// How long a pod of those of its limiters is missing that need about as long as the slowest of all, and that would let one
    /// go now; 0 if there is none.
    pressing: i64,
    /// How much longer its drain is because of nodes in drain and of pods that are not back.
    behind_others: i64,
    /// How long its slowest limiter keeps its drain waiting with nobody else in drain.
    alone: i64,
    /// How much its pods keep slow limiters busy now.
    busy: i64,
}

fn waits(live: &Live, step: &Step, limits: &DrainLimits) -> bool {
    let pods = step.node().into_iter().flat_map(|node| live.pods_on(node));
    let ends = |pod| matches!(pods::case(live, pod, limits, None, Timestamp::MIN), Case::Ends(_));
    step.drains() && pods.into_iter().any(ends)
}

/// How many seconds a limiter needs until so many pods have left and others are in their places.
fn takes(of: &Capacity, pods: i64) -> i64 {
    let at_once = of.at_once.max(1);
    (pods.max(0) + at_once - 1) / at_once * of.away.max(1)
}
