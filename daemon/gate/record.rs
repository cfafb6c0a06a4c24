//! The record gate: whether entries can be written. No effect is sent before its entry is on the remote, whatever
//! this gate says; the gate gives the wait a reason. While the record cannot be written, no node is claimed whose intent was
//! written ahead of its turn: the entry that says that its step begins could not be pushed.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match (question.moment, question.step, question.world.trouble) {
        (Moment::GoOn, None, Some(trouble)) => vec![Answer::wait(Gate::Record, trouble.clone())],
        (Moment::Claim, Some(_), Some(trouble)) if has_early_intent(question) => {
            vec![Answer::wait(Gate::Record, trouble.clone())]
        }
        (Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn, _, _) => {
            Vec::new()
        }
    }
}

/// True if the intent of the step was written before the entry that says that it begins.
fn has_early_intent(question: &Question<'_>) -> bool {
    question.record_of_step().is_some_and(|step| step.intent < step.begun)
}
