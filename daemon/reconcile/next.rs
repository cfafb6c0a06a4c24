//! Which node of a pool is taken out next, by what budgets allow at this moment and by what the nodes in drain still need of
//! them. A node with pods that end by themselves comes after the others. Then:
//!
//! * Before the first node of the pool is back, pods land on nodes that are still to be drained, and move once more. So the
//!   nodes go first that have no pods of the budgets that need longest for what is left.
//! * Later a node goes first that keeps the budget busy which needs longest, unless its drain would wait for others for longer
//!   than a pod of that budget is missing. A budget that needs longer than all slots has its next node in drain before it lets
//!   another pod go.
//! * Then the node goes first that waits least for others; one whose intent is not written ahead waits for a push as well.
//! * Of nodes that wait equally long, the node goes first whose drain takes longest by its own pods alone, so that no long drain
//!   is left for the end of the run; and then the node whose pods keep slow budgets busiest.

use std::cmp::Reverse;

use jiff::Timestamp;

use crate::model::entry::StepPhase;
use crate::model::live::Live;
use crate::model::plan::{DrainLimits, PoolLimits};
use crate::model::work::{Scope, Step};
use crate::record::Run;
use crate::verify::limiters::{Capacity, Limiter, Limiters};
use crate::verify::pods::{self, Case};

/// How many waiting nodes of a pool are compared, the first of the plan. More would change little and cost time.
const COMPARED: usize = 200;

/// Before a node is back, limiters are told apart by so many parts of the time that the slowest one needs. Later those of the
/// last part are slow ones.
const PARTS: i64 = 4;

/// So many grades tell slow limiters apart.
const GRADES: i64 = 16;

/// So many nodes that are back tell how long one is out.
const SAMPLE: usize = 50;

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
    /// How many seconds the nodes need that wait, by how long those before them took and by how many may be out at once.
    slots: i64,
}

impl<'a> Candidates<'a> {
    pub(super) fn of(
        live: &'a Live,
        run: &'a Run,
        pool: &str,
        limits: &'a PoolLimits,
        at_once: usize,
        waiting: Vec<&'a Step>,
    ) -> Self {
        let slots = seconds_out(run, pool) * number(waiting.len()) / number(at_once).max(1);
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
        let steps = waiting.into_iter().take(COMPARED).map(candidate).collect();
        let in_drain: Vec<Needs> = run.steps_out().map(needs).collect();
        for needs in &in_drain {
            limiters.book(needs);
        }
        Self { steps, limiters, repeated, slots }
    }

    /// Takes the best of them out, with its pods.
    pub(super) fn pop(&mut self) -> Option<(&'a Step, Needs)> {
        let slowest = self.limiters.iter().map(|of| takes(of, of.to_evict)).max().unwrap_or(0);
        let order = |(place, candidate): (usize, &Candidate<'a>)| {
            let Score { longest, pressing, behind_others, alone, busy } =
                self.score(&candidate.needs, slowest);
            let pressing = if self.repeated { 0 } else { pressing };
            let lost = if self.repeated && slowest > 0 { longest * PARTS / slowest } else { 0 };
            let push = if candidate.named { 0 } else { PUSH };
            (
                candidate.waits,
                lost,
                Reverse(pressing),
                behind_others + push,
                Reverse(alone),
                Reverse(busy),
                place,
            )
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
        let mut pressing: Vec<(i64, i64)> = Vec::new();
        let (mut longest, mut now, mut alone, mut busy) = (0, 0, 0, 0);
        for (limiter, count) in needs {
            let Some((_, of)) = self.limiters.get(*limiter) else { continue };
            let needed = takes(of, of.to_evict);
            longest = longest.max(needed);
            let queued = if needed > self.slots { of.at_once } else { 0 };
            if of.free + queued > 0 && needed * PARTS >= slowest * (PARTS - 1) {
                pressing.push((needed * GRADES / slowest.max(1), of.away));
            }
            now = now.max(takes(of, count - of.free));
            alone = alone.max(takes(of, count - of.at_once));
            busy += (*count).min(of.free.max(0)) * needed;
        }
        let behind_others = (now - alone).max(0);
        let pressing = pressing.into_iter().filter(|(_, away)| behind_others <= *away);
        let pressing = pressing.map(|(grade, _)| grade).max().unwrap_or(0);
        Score { longest, pressing, behind_others, alone, busy }
    }
}

/// What tells nodes apart; times are in seconds. A limiter lets some pods go at once, and more when those are Ready elsewhere.
struct Score {
    /// How long the slowest of its limiters needs for all pods that are left.
    longest: i64,
    /// How near the limiter that it would keep busy is to the slowest of all, in [`GRADES`]; 0 if it is none of the slow ones.
    pressing: i64,
    /// How much longer its drain is because of nodes in drain and of pods that are not back.
    behind_others: i64,
    /// How long its slowest limiter would delay its drain if no other node were in drain.
    alone: i64,
    /// How much its pods keep slow limiters busy now.
    busy: i64,
}

fn waits(live: &Live, step: &Step, limits: &DrainLimits) -> bool {
    let pods = step.node().into_iter().flat_map(|node| live.pods_on(node));
    let ends = |pod| matches!(pods::case(live, pod, limits, None, Timestamp::MIN), Case::Ends(_));
    step.drains() && pods.into_iter().any(ends)
}

/// How many seconds a node of the pool is out, by some of those that are back; 0 if none is.
fn seconds_out(run: &Run, pool: &str) -> i64 {
    let of_pool = run.steps.iter().filter(|(id, _)| matches!(&id.scope, Scope::Pool(name) if name == pool));
    let times = of_pool.filter_map(|(_, step)| {
        let (out, back) = step.at.get(&StepPhase::Claimed).zip(step.at.get(&StepPhase::Returned))?;
        Some(back.duration_since(*out).as_secs())
    });
    let times: Vec<i64> = times.take(SAMPLE).collect();
    times.iter().sum::<i64>() / number(times.len()).max(1)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How many seconds a limiter needs until so many pods have left and others are in their places.
fn takes(of: &Capacity, pods: i64) -> i64 {
    let at_once = of.at_once.max(1);
    (pods.max(0) + at_once - 1) / at_once * of.away.max(1)
}
