//! What a run remembers for its report beyond its steps: what it waited for, and who interrupted it.
//! Bounded, so that a run of thousands of nodes over weeks stays small; what is left out is still counted.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::run::{StepEnd, StepRecord};
use crate::model::decision::{Answer, Key, Verdict};
use crate::model::plan::StepId;

/// Ended waits that are kept one by one; a report with more is not read. The longest stay.
const WAITS_KEPT: usize = 200;
/// Ends of steps that were started again.
const ATTEMPTS_KEPT: usize = 200;
/// Halts and stops that are kept one by one: each takes a person to end, so a run has a handful.
const INTERRUPTIONS_KEPT: usize = 100;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunLog {
    /// When the commit of the run was accepted; nothing where the journal does not say.
    pub accepted: Option<Timestamp>,
    /// What is waited for now, by key and object: the last answer and since when, counted from the run's start.
    pub open: BTreeMap<(Key, String), (Answer, Timestamp)>,
    /// Ended waits, in the order in which they ended.
    pub waits: Vec<Waited>,
    /// All ended waits added up, those that are not kept one by one among them.
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

/// One wait that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Waited {
    /// As it was last given.
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
    /// Why: of a halt its reasons, of a stop who asked and what was said.
    pub text: String,
    pub from: Timestamp,
    pub until: Option<Timestamp>,
    /// Who ended it and why; nothing where the entry does not say.
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
    /// A run inherits what was already being waited for, from its own start on.
    pub(super) fn begin<'a>(
        accepted: Option<Timestamp>,
        waiting: impl Iterator<Item = &'a Answer>,
        at: Timestamp,
    ) -> Self {
        let mut log = Self { accepted, ..Self::default() };
        log.wait(waiting, at);
        log
    }

    /// Closes the waits that are no longer given and opens the new ones.
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
            interruption.ended_by = by.map(str::to_owned);
        }
    }

    /// The log as a run that ends at this instant leaves it: nothing is open any more.
    pub(super) fn ended(&self, at: Timestamp) -> Self {
        let mut log = self.clone();
        log.wait(std::iter::empty(), at);
        log
    }
}
