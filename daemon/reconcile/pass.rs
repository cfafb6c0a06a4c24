//! What one pass gathers while it visits the stages.

use jiff::{SignedDuration, Timestamp};

use super::orphans::bears_our_claim;
use super::{Input, Tick};
use crate::cluster::LockMove;
use crate::execute::Effect;
use crate::gate::budget::Ledger;
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::desired::{Desired, Mode};
use crate::model::entry::What;
use crate::model::live::Probe;

/// How often a question is asked again while its answer is needed.
pub(super) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// The pass under way: what it looks at, what it has answered so far, and the books of what it may still take.
pub(super) struct Pass<'a> {
    pub(super) input: Input<'a>,
    pub(super) tick: Tick,
    pub(super) ledger: Ledger<'a>,
    /// Something is in flight that will go on by itself.
    pub(super) moving: bool,
    /// Something wants to be done that only the holder of the lease may do.
    pub(super) wants_lock: bool,
    /// In `observe`: something of ours is still to be brought to its end.
    unfinished: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        let observes = input.wanted.desired.as_ref().is_some_and(|d| d.cluster.mode == Mode::Observe);
        Self {
            input,
            tick: Tick::default(),
            ledger: Ledger::new(input.live),
            moving: false,
            wants_lock: false,
            unfinished: observes && Self::is_unfinished(&input),
        }
    }

    /// Since when this wait has been there without a break; now if it is new.
    pub(super) fn since(&self, key: Key, object: &str) -> Timestamp {
        let known = self.input.live.overlay.waits.get(&(key, object.to_owned()));
        known.copied().unwrap_or(self.input.now)
    }

    pub(super) fn desired(&self) -> Option<&'a Desired> {
        self.input.wanted.desired.as_ref()
    }

    /// Whether anything may be written to the cluster. In `observe` what is in hand is finished, and what bears a
    /// claim of ours is given back, so that no node is left behind; nothing more is taken out.
    pub(super) fn acts(&self) -> bool {
        match self.desired().map(|desired| desired.cluster.mode) {
            Some(Mode::Act) => true,
            Some(Mode::Observe) => self.unfinished,
            None => false,
        }
    }

    /// Whether a run of our own record has a step in hand, or its claim on a node.
    fn is_unfinished(input: &Input<'_>) -> bool {
        let in_hand = input.record.run.as_ref().is_some_and(|run| run.in_hand().next().is_some());
        in_hand || input.live.nodes.values().any(|node| bears_our_claim(input.record, node))
    }

    pub(super) fn record(&mut self, what: What) {
        self.tick.entries.push(what);
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        self.tick.status.answers.push(answer);
    }

    pub(super) fn waits(&mut self, gate: Gate, reason: Reason) {
        self.answer(Answer { gate, verdict: Verdict::Wait, reason, next: None });
    }

    pub(super) fn denies(&mut self, gate: Gate, reason: Reason) {
        self.answer(Answer { gate, verdict: Verdict::Deny, reason, next: None });
    }

    pub(super) fn passes(&mut self, gate: Gate, object: &str, text: &str) {
        let reason = Reason::new(Key::Passes, object, text);
        self.answer(Answer { gate, verdict: Verdict::Allow, reason, next: None });
    }

    /// Asks for an effect, unless the same is under way, was refused a moment ago, or nothing may be done at all.
    pub(super) fn effect(&mut self, effect: Effect, after: u64) {
        let live = self.input.live;
        // To give back what is ours is always right.
        let gives_back = matches!(effect, Effect::Lock { lock: LockMove::Release { .. }, .. });
        if live.stop.is_some() || !(self.acts() || gives_back) {
            return;
        }
        self.wants_lock |= effect.needs_lock();
        let key = effect.key();
        if let Some(deadline) =
            live.overlay.in_flight.get(&key).filter(|deadline| **deadline > self.input.now)
        {
            self.moving = true;
            return self.wake(*deadline);
        }
        if let Some(backoff) = live.overlay.backoff.get(&key).filter(|backoff| backoff.until > self.input.now)
        {
            self.moving = true;
            self.wake(backoff.until);
            // Once or twice is a race or a moment's absence, and explains itself by passing.
            if backoff.tries > 2 {
                let text = format!("the API server was asked several times to change it: {}", backoff.why);
                self.waits(Gate::Health, Reason::new(Key::ApiUnreachable, effect.object(), text));
            }
            return;
        }
        let twice = self.tick.effects.iter().any(|(planned, _)| planned.key() == key);
        if !twice {
            self.tick.effects.push((effect, after));
        }
    }

    /// Asks a question if its last answer is older than `every`.
    pub(super) fn probe(&mut self, probe: Probe, every: SignedDuration) {
        let due = self.input.live.probed.get(&probe).map(|last| later(*last, every));
        match due.filter(|due| *due > self.input.now) {
            Some(due) => self.wake(due),
            None => self.tick.probes.push(probe),
        }
    }

    /// The question's answer is needed for something in hand.
    pub(super) fn probe_often(&mut self, probe: Probe) {
        self.probe(probe, LOOK_AGAIN);
    }

    pub(super) fn wake(&mut self, at: Timestamp) {
        self.tick.wake_at = earliest(self.tick.wake_at, Some(at));
    }

    /// Whether `limit` has passed since `from`; if not, looks again when it has.
    pub(super) fn expired(&mut self, from: Timestamp, limit: SignedDuration) -> bool {
        let at = later(from, limit);
        if at > self.input.now {
            self.wake(at);
        }
        at <= self.input.now
    }
}

pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

pub(super) fn earliest(left: Option<Timestamp>, right: Option<Timestamp>) -> Option<Timestamp> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}
