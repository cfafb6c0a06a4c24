//! What a run keeps for its report beyond its steps: its waits, halts and stops. It is bounded, so that a run of
//! thousands of nodes over weeks stays small; what is left out is counted.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::run::{StepEnd, StepRecord};
use super::text::count;
use crate::model::decision::{Answer, Key, Verdict};
use crate::model::entry::Authored;
use crate::model::plan::StepId;

/// How many ended waits are kept, the longest ones; a person reads no more of them in a report.
const WAITS_KEPT: usize = 200;
/// How many ends of steps that were started again are kept.
const ATTEMPTS_KEPT: usize = 200;
/// How many halts and stops are kept. A person ends each, so a run has few.
const INTERRUPTIONS_KEPT: usize = 100;

/// How long after a stop the note with its words may be seen: two watches of one API server.
const SEEN_APART: SignedDuration = SignedDuration::from_mins(1);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunLog {
    /// When the run's commit was accepted; `None` if the journal does not say.
    pub accepted: Option<Timestamp>,
    /// Who wrote the run's commit.
    pub by: Option<Authored>,
    /// The present waits by key and object: the last answer, and since when, from the run's start at the earliest.
    pub open: BTreeMap<(Key, String), (Answer, Timestamp)>,
    /// Ended waits, in the order in which they ended.
    pub waits: Vec<Waited>,
    /// The sums over all ended waits, those that are not kept included.
    pub totals: BTreeMap<Key, Total>,
    pub interruptions: Vec<Interruption>,
    pub interruptions_left_out: u32,
    /// How steps had ended before they were started again.
    pub attempts: Vec<Attempt>,
    pub attempts_left_out: u32,
}

/// An earlier end of a step that was started again.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub step: StepId,
    pub end: StepEnd,
    pub ended: Timestamp,
}

/// One wait that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Waited {
    /// The last answer of the wait.
    pub answer: Answer,
    pub from: Timestamp,
    pub until: Timestamp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub times: u32,
    pub length: SignedDuration,
}

/// A halt or a stop, and how it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Interruption {
    pub kind: InterruptionKind,
    /// Why: the reasons of a halt, or who stopped the work and what they wrote.
    pub text: String,
    pub from: Timestamp,
    pub until: Option<Timestamp>,
    /// Who ended it and why; `None` if the entry does not say.
    pub ended_by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterruptionKind {
    Halt,
    Stop,
}

impl Waited {
    pub fn length(&self) -> SignedDuration {
        self.until.duration_since(self.from)
    }
}

impl RunLog {
    /// A run that starts takes over the present waits; they count from its start.
    pub(super) fn begin<'a>(
        accepted: Option<(Timestamp, Option<Authored>)>,
        waiting: impl Iterator<Item = &'a Answer>,
        at: Timestamp,
    ) -> Self {
        let (accepted, by) = accepted.map_or((None, None), |(at, by)| (Some(at), by));
        let mut log = Self { accepted, by, ..Self::default() };
        log.wait(waiting, at);
        log
    }

    /// Ends the waits that are no longer given and begins new ones.
    pub(super) fn wait<'a>(&mut self, answers: impl Iterator<Item = &'a Answer>, at: Timestamp) {
        let mut before = std::mem::take(&mut self.open);
        for answer in answers.filter(|answer| answer.verdict != Verdict::Allow) {
            let key = (answer.reason.key, answer.reason.object.clone());
            let from = before.remove(&key).map_or(at, |(_, from)| from);
            self.open.insert(key, (answer.clone(), from));
        }
        for (answer, from) in before.into_values() {
            self.close(answer, from, at);
        }
    }

    fn close(&mut self, answer: Answer, from: Timestamp, until: Timestamp) {
        if until <= from {
            return;
        }
        let waited = Waited { answer, from, until };
        let total = self.totals.entry(waited.answer.reason.key).or_default();
        total.times = total.times.saturating_add(1);
        total.length = total.length.saturating_add(waited.length());
        self.waits.push(waited);
        if self.waits.len() > WAITS_KEPT {
            let shortest = self.waits.iter().enumerate().min_by_key(|(_, waited)| waited.length());
            if let Some((index, _)) = shortest {
                self.waits.remove(index);
            }
        }
    }

    /// Keeps how a step had ended when it is started again.
    pub(super) fn begun_anew(&mut self, step: &StepId, before: StepRecord) {
        let (Some(end), Some(ended)) = (before.end, before.ended) else { return };
        if self.attempts.len() < ATTEMPTS_KEPT {
            self.attempts.push(Attempt { step: step.clone(), end, ended });
        } else {
            self.attempts_left_out = self.attempts_left_out.saturating_add(1);
        }
    }

    pub(super) fn interrupt(&mut self, kind: InterruptionKind, text: String, from: Timestamp) {
        if self.interruptions.len() < INTERRUPTIONS_KEPT {
            self.interruptions.push(Interruption { kind, text, from, until: None, ended_by: None });
        } else {
            self.interruptions_left_out = self.interruptions_left_out.saturating_add(1);
        }
    }

    pub(super) fn interruption_ended(&mut self, kind: InterruptionKind, by: Option<&str>, at: Timestamp) {
        let open = |it: &&mut Interruption| it.kind == kind && it.until.is_none();
        for interruption in self.interruptions.iter_mut().filter(open) {
            interruption.until = Some(at);
            interruption.ended_by = by.map(str::to_owned).or(interruption.ended_by.take());
        }
    }

    /// Notes who ends the last stop, and why. The note with these words and the end of the stop are seen in either
    /// order.
    pub(super) fn stop_explained(&mut self, by: &str, at: Timestamp) {
        let just_now = |until: Timestamp| at.duration_since(until) <= SEEN_APART;
        if let Some(stop) = self.last_stop().filter(|stop| stop.until.is_none_or(just_now)) {
            stop.ended_by.get_or_insert_with(|| by.to_owned());
        }
    }

    /// Notes the better words of the stop that lasts.
    pub(super) fn stop_reworded(&mut self, text: &str) {
        if let Some(stop) = self.last_stop().filter(|stop| stop.until.is_none()) {
            text.clone_into(&mut stop.text);
        }
    }

    /// How often the run has halted.
    pub fn halts(&self) -> u32 {
        count(self.interruptions.iter().filter(|it| it.kind == InterruptionKind::Halt).count())
    }

    fn last_stop(&mut self) -> Option<&mut Interruption> {
        self.interruptions.iter_mut().rev().find(|it| it.kind == InterruptionKind::Stop)
    }

    /// The log of a run that ends at this instant: every wait ends with it.
    pub(super) fn ended(&self, at: Timestamp) -> Self {
        let mut log = self.clone();
        log.wait(std::iter::empty(), at);
        log
    }
}
