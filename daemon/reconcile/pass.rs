//! What one pass gathers while it visits the stages, and the order in which it visits them.

use jiff::{SignedDuration, Timestamp};

use super::{Input, Standing, Tick, begin, choose, lock, orphans, settle, step};
use crate::execute::Effect;
use crate::gate::budget::Ledger;
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::desired::{Desired, Mode};
use crate::model::entry::What;
use crate::model::live::Probe;
use crate::record;

/// How often a question is asked again while its answer is needed.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);
/// How long a wait has to last before it is written down: shorter ones explain themselves by ending.
const WORTH_RECORDING: SignedDuration = SignedDuration::from_secs(10);
/// The `ConfigMap` is for people's eyes: a change shows within this, however many entries there are.
const PUBLISH_SPACING: SignedDuration = SignedDuration::from_secs(10);

pub(super) struct Pass<'a> {
    pub(super) input: Input<'a>,
    pub(super) tick: Tick,
    pub(super) ledger: Ledger<'a>,
    /// Something is in flight that will go on by itself.
    pub(super) moving: bool,
    /// Something wants to be done that only the holder of the lease may do.
    pub(super) wants_lock: bool,
}

/// One pure pass: settles what has changed, goes on with what is in hand, takes up what is allowed, and says what
/// to write, do and look up.
pub fn tick(input: Input<'_>) -> Tick {
    let mut pass = Pass {
        input,
        tick: Tick::default(),
        ledger: Ledger::new(input.live),
        moving: false,
        wants_lock: false,
    };
    if pass.input.live.cluster_uid.is_none() {
        pass.probe(Probe::ClusterUid, LOOK_AGAIN);
    }
    if pass.input.live.api.last_seen.is_none() {
        pass.probe(Probe::Api, LOOK_AGAIN);
    }
    if !pass.input.live.complete
        || pass.input.live.api.last_seen.is_none()
        || pass.input.live.cluster_uid.is_none()
    {
        return pass.tick;
    }
    settle::settle(&mut pass);
    // What was settled is folded into the record first; the next pass follows at once.
    if pass.tick.entries.is_empty() && settle::same_cluster(&mut pass) {
        pass.work();
    }
    pass.finish()
}

impl<'a> Pass<'a> {
    fn work(&mut self) {
        settle::standing_gates(self);
        if let Some(desired) = self.input.wanted.desired.as_ref() {
            if let Some(run) = &self.input.record.run {
                step::advance_all(self, desired, run);
                choose::go_on(self, desired, run);
            } else {
                begin::begin(self, desired);
            }
            if desired.cluster.mode == Mode::Act {
                orphans::return_orphans(self);
                self.publish();
            }
        }
        lock::keep(self);
    }

    fn finish(mut self) -> Tick {
        self.record_waits();
        let moving = self.moving || !self.tick.entries.is_empty() || !self.tick.effects.is_empty();
        let objects = self.tick.status.answers.iter().any(|answer| answer.verdict != Verdict::Allow);
        let refused = !self.input.wanted.problems.is_empty() || self.answered(Key::OtherCluster);
        self.tick.status.standing = match () {
            () if moving => Standing::Moving,
            () if self.input.record.halted.is_some() => Standing::Halted,
            () if refused => Standing::Refused,
            () if objects => Standing::Waiting,
            () => Standing::AsDesired,
        };
        self.tick
    }

    fn answered(&self, key: Key) -> bool {
        self.tick.status.answers.iter().any(|answer| answer.reason.key == key)
    }

    /// Writes down what is waited for when that has changed: gates at once, the world's own waits once they last.
    fn record_waits(&mut self) {
        if !self.tick.entries.is_empty() {
            return;
        }
        let mut lasting: Vec<Answer> = Vec::new();
        let mut wake = None;
        for answer in self.tick.status.answers.iter().filter(|answer| answer.verdict != Verdict::Allow) {
            // Whoever does not hold the lease does not write either: two who wait for each other would race.
            if answer.gate == Gate::Lease {
                continue;
            }
            let recorded = self.input.record.waiting.iter().any(|old| same(&old.value, answer));
            let due = later(self.since(answer.reason.key, &answer.reason.object), WORTH_RECORDING);
            if recorded || answer.verdict == Verdict::Deny || is_policy(answer.gate) || due <= self.input.now
            {
                lasting.push(answer.clone());
            } else {
                wake = earliest(wake, Some(due));
            }
        }
        lasting.sort_by(|a, b| (a.gate, &a.reason).cmp(&(b.gate, &b.reason)));
        lasting.dedup_by(|a, b| same(a, b));
        lasting.truncate(MOST_WAITS);
        if let Some(at) = wake {
            self.wake(at);
        }
        let recorded: Vec<&Answer> = self.input.record.waiting.iter().map(|old| &old.value).collect();
        if lasting.iter().collect::<Vec<_>>() != recorded {
            self.record(What::Waiting { answers: lasting });
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
        let acts = self.desired().is_some_and(|desired| desired.cluster.mode == Mode::Act);
        if live.stop.is_some() || !acts {
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
            return self.wake(backoff.until);
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

    /// Keeps the `ConfigMap` as the record has it. It is read once before it is ever written.
    fn publish(&mut self) {
        let record = self.input.record;
        if record.run.is_none() && record.ended.is_empty() {
            return;
        }
        let Some(published) = &self.input.live.published else { return self.probe_often(Probe::Published) };
        let last = self.input.live.probed.get(&Probe::Published).copied().unwrap_or(Timestamp::UNIX_EPOCH);
        // Of a run that goes on, not every entry is worth a write.
        if record.run.is_some() && !self.expired(last, PUBLISH_SPACING) {
            return;
        }
        let text = record::config_map_text(&record::status(&self.input.me.cluster, record));
        if text != *published {
            self.effect(Effect::Publish(text), 0);
        }
    }
}

/// More waits than anybody reads; the rest shows when these are gone.
const MOST_WAITS: usize = 50;

/// Answers that people or calendars give, as against the world's own.
fn is_policy(gate: Gate) -> bool {
    match gate {
        Gate::Mode
        | Gate::Desired
        | Gate::Plan
        | Gate::Window
        | Gate::Freeze
        | Gate::Stop
        | Gate::Halt
        | Gate::Hold => true,
        Gate::Limit
        | Gate::Budget
        | Gate::Canary
        | Gate::Order
        | Gate::Lease
        | Gate::Health
        | Gate::Record => false,
    }
}

fn same(left: &Answer, right: &Answer) -> bool {
    left.gate == right.gate
        && left.reason.key == right.reason.key
        && left.reason.object == right.reason.object
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
