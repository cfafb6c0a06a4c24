//! The one place where the parts of a pass come together: every part returns a turn, and the turns become one tick.

use jiff::{SignedDuration, Timestamp};

use super::{Input, Tick};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::effect::{Effect, LeaseMove};
use crate::model::live::Probe;
use crate::model::plan::Plan;
use crate::model::time::{earliest, later};
use crate::verify::ledger::Ledger;
use crate::work::Turn;

pub(super) struct Merge<'a> {
    input: Input<'a>,
    /// Whether anything but giving back the lease may be written to the cluster.
    acts: bool,
    tick: Tick,
    ledger: Ledger<'a>,
    moves: bool,
    wants_lease: bool,
}

/// What a pass came to, before it is known what is to be written down of its waits.
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
            ledger: Ledger::new(input.live),
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

    pub(super) fn turn(&mut self, turn: Turn) {
        let Turn { state: _, entries, effects, probes, answers, wake_at, moves, wants_lease, watched } = turn;
        self.tick.entries.extend(entries);
        for answer in answers {
            // Several parts of a pass ask the same of a gate, and a person reads it once.
            if !self.tick.status.answers.contains(&answer) {
                self.tick.status.answers.push(answer);
            }
        }
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

    /// Asks a question if its last answer is older than `every`.
    fn probe(&mut self, probe: Probe, every: SignedDuration) {
        let due = self.input.live.probed.get(&probe).map(|last| later(*last, every));
        match due.filter(|due| *due > self.input.now) {
            Some(due) => self.wake(Some(due)),
            None if self.tick.probes.contains(&probe) => {}
            None => self.tick.probes.push(probe),
        }
    }

    /// Takes an effect up, unless the same is under way, was refused a moment ago, or nothing may be done at all.
    fn effect(&mut self, effect: Effect, after: u64) {
        let (live, now) = (self.input.live, self.input.now);
        // Giving the lease back is always right.
        let gives_back = matches!(effect, Effect::Lease { lease: LeaseMove::Release { .. }, .. });
        if live.stop.is_some() || !(self.acts || gives_back) {
            return;
        }
        self.wants_lease |= effect.needs_lease();
        if let Effect::Evict { uid, .. } = &effect
            && let Some(pod) = live.pods.get(&uid.as_str().into())
        {
            self.ledger.take(pod);
        }
        let key = effect.key();
        if let Some(deadline) = live.overlay.in_flight.get(&key).filter(|deadline| **deadline > now) {
            self.moves = true;
            return self.wake(Some(*deadline));
        }
        if let Some(backoff) = live.overlay.backoff.get(&key).filter(|backoff| backoff.until > now) {
            self.moves = true;
            self.wake(Some(backoff.until));
            // Once or twice is a race or a moment's absence, and explains itself by passing.
            if backoff.tries > 2 {
                let text = format!("the API server was asked several times to change it: {}", backoff.why);
                let reason = Reason::new(Key::ApiUnreachable, effect.object(), text);
                self.tick.status.answers.push(Answer::wait(Gate::Health, reason));
            }
            return;
        }
        let twice = self.tick.effects.iter().any(|(planned, _)| planned.key() == key);
        if !twice {
            self.tick.effects.push((effect, after));
        }
    }

    /// The parts as one tick. Without the lease, what only its holder may do is withheld.
    pub(super) fn merged(mut self, holds_lease: bool) -> Merged {
        if !holds_lease {
            self.tick.effects.retain(|(effect, _)| !effect.needs_lease());
        }
        Merged { tick: self.tick, moves: self.moves }
    }
}
