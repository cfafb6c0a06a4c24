//! The clock gate: whether this machine and the API server agree about the time of day. Maintenance windows and freezes
//! are times of day, and nothing else says which of the two clocks is wrong.

use jiff::SignedDuration;

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::text;

/// By how much the two clocks may differ before nothing is begun any more.
const MOST: SignedDuration = SignedDuration::from_secs(30);
/// A difference that is told. `Date` of an HTTP answer has whole seconds, and the answer takes a moment.
const TOLD: SignedDuration = SignedDuration::from_secs(2);

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let Some(ahead) = question.live().and_then(|live| live.api.clock_ahead) else { return Vec::new() };
    match (question.moment, question.step) {
        (Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change, _) if clock_is_off(ahead) => {
            vec![off(ahead)]
        }
        // With a run in progress, or with work for one, nothing would be begun.
        (Moment::GoOn, None) if clock_is_off(ahead) && has_work(question) => {
            vec![off(ahead)]
        }
        (Moment::GoOn, None) if clock_differs(ahead) => {
            vec![Answer::allow(Gate::Clock, "clock", difference(ahead))]
        }
        (Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn, _) => Vec::new(),
    }
}

/// True if a run is in progress, or there is work for one.
fn has_work(question: &Question<'_>) -> bool {
    question.run().is_some() || question.plan.is_some_and(|plan| !plan.is_empty())
}

fn off(ahead: SignedDuration) -> Answer {
    let text = format!("{}; nothing is begun until both clocks are right", difference(ahead));
    Answer::deny(Gate::Clock, Reason::new(Key::ClockOff, "clock", text))
}

/// True if times by the one clock cannot be compared with times by the other.
pub fn clock_is_off(ahead: SignedDuration) -> bool {
    ahead.abs() > MOST
}

/// True if the difference is worth a line in the log.
pub fn clock_differs(ahead: SignedDuration) -> bool {
    ahead.abs() > TOLD
}

/// The difference between the two clocks in words.
pub fn difference(ahead: SignedDuration) -> String {
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    format!("the clock of this machine is {} {side} that of the API server", text::length(ahead.abs()))
}
