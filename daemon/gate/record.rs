//! The record gate: whether entries can be written. No effect is sent before its entry is on the remote, whatever
//! this gate says; the gate gives the wait a reason. A node whose intent was written ahead of its turn is not claimed while
//! the record cannot be written: that its step begins could not be said.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match (question.moment, question.step, question.world.trouble) {
        (Moment::GoOn, None, Some(trouble)) => vec![Answer::wait(Gate::Record, trouble.clone())],
        (Moment::Claim, Some(_), Some(trouble)) if is_ahead(question) => {
            vec![Answer::wait(Gate::Record, trouble.clone())]
        }
        (Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn, _, _) => {
            Vec::new()
        }
    }
}

fn is_ahead(question: &Question<'_>) -> bool {
    question.record_of_step().is_some_and(|step| step.intent < step.begun)
}
