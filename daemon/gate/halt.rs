//! The halt gate: a step failed, and a person has to look at it. Nothing new begins; a node that is out and not
//! changed yet is returned.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::record::text;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let object = || question.world.object();
    let Some(halted) = &question.world.record.halted else {
        return match (question.step, question.moment) {
            (None, Moment::GoOn) => vec![Answer::allow(Gate::Halt, object(), "nothing has failed")],
            (_, Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn) => {
                Vec::new()
            }
        };
    };
    if question.is_in_progress() {
        let text = "the run halted before its upgrade began";
        return vec![Answer::deny(Gate::Halt, Reason::new(Key::Halted, question.object(), text))];
    }
    let why = halted.value.first().map(text::cause).unwrap_or_default();
    let text = format!("halted: {why}; a commit that asks for something else, or `windlass resume`, goes on");
    vec![Answer::deny(Gate::Halt, Reason::new(Key::Halted, object(), text))]
}
