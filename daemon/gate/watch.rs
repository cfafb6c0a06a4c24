//! The watch gate: whether what is known of the cluster is current. A watch that was cut, answers errors or has been silent
//! for longer than an API server ever is shows an old cluster, and nothing is taken out or newly changed because of it.

use jiff::Timestamp;

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::live::{CallFailure, Live};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let Some(live) = question.live() else { return Vec::new() };
    let old = question.world.not_current.get_or_init(|| not_current(live, question.world.now));
    match (old.is_empty(), question.moment, question.step) {
        (true, Moment::GoOn, None) => {
            let text = "every watch of the cluster is current";
            vec![Answer::allow(Gate::Watch, question.world.object(), text)]
        }
        (_, Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn, _) => {
            old.clone()
        }
    }
}

/// An answer for each kind of which the picture may be old. A missing right stays missing until a person gives it.
pub fn not_current(live: &Live, now: Timestamp) -> Vec<Answer> {
    let answer = |(kind, why): (&str, CallFailure)| {
        if why.is_missing_right() {
            let text = format!("the daemon lacks a right: {why}; docs/security.md has the role");
            return Answer::deny(Gate::Watch, Reason::new(Key::RightMissing, kind, text));
        }
        Answer::wait(Gate::Watch, Reason::new(Key::NotCurrent, kind, why.to_string()))
    };
    live.not_current(now).into_iter().map(answer).collect()
}
