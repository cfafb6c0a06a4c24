//! The record gate: whether entries can be written. No effect is sent before its entry is on the remote, whatever
//! this gate says; the gate gives the wait a reason.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match (question.moment, question.step, question.world.trouble) {
        (Moment::GoOn, None, Some(trouble)) => vec![Answer::wait(Gate::Record, trouble.clone())],
        (Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn, _, _) => {
            Vec::new()
        }
    }
}
