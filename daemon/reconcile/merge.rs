//! Merges the turns of all parts of a pass into one tick.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::explain::Answers;
use super::{Input, Tick};
use crate::gate::owners_in_debt;
use crate::model::effect::{Effect, EffectKey, LeaseMove};
use crate::model::live::Probe;
use crate::model::plan::Plan;
use crate::model::time::{earliest, later};
use crate::model::work::StepId;
use crate::verify::ledger::Ledger;
use crate::work::{State, Turn};

/// Without a run nothing is evicted.
const NO_SIZES: &BTreeMap<String, u32> = &BTreeMap::new();

pub(super) struct Merge<'a> {
    input: Input<'a>,
    /// True if the pass may write to the cluster. Giving the lease back is allowed in any case.
    acts: bool,
    tick: Tick,
    answers: Answers,
    /// The objects of the effects so far: two effects on one object are never sent at once.
    keys: BTreeSet<EffectKey>,
    ledger: Ledger<'a>,
    moves: bool,
    wants_lease: bool,
}

/// A pass whose waits are not recorded yet.
pub(super) struct Merged {
    pub(super) tick: Tick,
    pub(super) moves: bool,
}

impl<'a> Merge<'a> {
    pub(super) fn new(input: Input<'a>, acts: bool) -> Self {
        Self {
            input,
            acts,
            tick: Tick::default(),
            answers: Answers::default(),
            keys: BTreeSet::new(),
            ledger: ledger(&input),
            moves: false,
            wants_lease: false,
        }
    }

    /// What may still be evicted after all turns so far.
    pub(super) fn ledger(&self) -> &Ledger<'a> {
        &self.ledger
    }

    pub(super) fn wants_lease(&self) -> bool {
        self.wants_lease
    }

    pub(super) fn has_entries(&self) -> bool {
        !self.tick.entries.is_empty()
    }

    pub(super) fn freeze(&mut self, plan: Plan) {
        self.tick.frozen = Some(plan);
    }

    /// Where a step stands as the pass finds it.
    pub(super) fn state(&mut self, id: &StepId, state: Option<State>) {
        self.tick.states.extend(state.map(|state| (id.clone(), state)));
    }

    pub(super) fn turn(&mut self, turn: Turn) {
        let Turn {
            state: _,
            entries,
            effects,
            probes,
            answers,
            wake_at,
            moves,
            wants_lease,
            watched,
            looked,
        } = turn;
        self.tick.looked.extend(looked);
        // A stop lands between the claim and the Job, and the window closes. If the step's progress were recorded during
        // the stop, the node would count as begun when the stop ends, and be changed outside of the window.
        let stopped = self.input.live.stop.is_some();
        self.tick.entries.extend(entries.into_iter().filter(|what| !(stopped && what.is_progress())));
        self.answers.add(answers);
        self.tick.watched.extend(watched);
        self.wake(wake_at);
        self.moves |= moves;
        self.wants_lease |= wants_lease && self.input.live.stop.is_none();
        for (effect, after) in effects {
            self.effect(effect, after);
        }
        for (probe, every) in probes {
            self.probe(probe, every);
        }
    }

    pub(super) fn wake(&mut self, at: Option<Timestamp>) {
        self.tick.wake_at = earliest(self.tick.wake_at, at);
    }

    /// Asks a probe if its last answer is older than `every`.
    fn probe(&mut self, probe: Probe, every: SignedDuration) {
        let due = self.input.live.probed.get(&probe).map(|last| later(*last, every));
        match due.filter(|due| *due > self.input.now) {
            Some(due) => self.wake(Some(due)),
            None if self.tick.probes.contains(&probe) => {}
            None => self.tick.probes.push(probe),
        }
    }

    /// Adds an effect, unless it is in flight, failed a moment ago, or nothing may be written at all.
    fn effect(&mut self, effect: Effect, after: u64) {
        let (live, now) = (self.input.live, self.input.now);
        // Giving the lease back needs no permission to act.
        let gives_back = matches!(effect, Effect::Lease { lease: LeaseMove::Release { .. }, .. });
        // People who have only kubectl see the stop in the `ConfigMap`. It is written while the lease is still held.
        let stopped = live.stop.is_some() && !matches!(effect, Effect::Publish { .. });
        if stopped || !(self.acts || gives_back) {
            return;
        }
        self.wants_lease |= effect.needs_lease();
        if let Effect::Evict { uid, .. } = &effect
            && let Some(pod) = live.pods.get(&uid.as_str().into())
        {
            self.ledger.take(pod);
        }
        let key = effect.key();
        if let Some(deadline) = live.overlay.in_flight.get(&key).filter(|deadline| *deadline > now) {
            self.moves = true;
            return self.wake(Some(deadline));
        }
        if let Some(backoff) = live.overlay.backoff.get(&key).filter(|backoff| backoff.until > now) {
            self.moves = true;
            self.wake(Some(backoff.until));
            if backoff.lasts() {
                self.answers.add([backoff.told(&effect.object())]);
            }
            return;
        }
        if self.keys.insert(key) {
            self.tick.effects.push((effect, after));
        }
    }

    /// The merged tick. Without the lease, effects that only its holder may send are dropped.
    pub(super) fn merged(mut self, holds_lease: bool) -> Merged {
        if !holds_lease {
            self.tick.effects.retain(|(effect, _)| !effect.needs_lease());
        }
        self.tick.status.answers = self.answers.into_list();
        Merged { tick: self.tick, moves: self.moves }
    }
}

fn ledger<'a>(input: &Input<'a>) -> Ledger<'a> {
    let Some(run) = &input.record.run else { return Ledger::new(input.live, NO_SIZES, BTreeSet::new()) };
    // Where every pool gives its owners an implicit budget, it does not matter which of them are in debt.
    let matters = run.plan.pools.values().any(|limits| !limits.drain.implicit_budgets);
    let in_debt = if matters { owners_in_debt(input.live, run) } else { BTreeSet::new() };
    Ledger::new(input.live, &run.owner_sizes, in_debt)
}
