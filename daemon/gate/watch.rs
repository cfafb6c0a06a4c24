//! The watch gate: whether what is known of the cluster is current. A watch that was cut, answers errors or has been silent
//! for longer than an API server ever is shows an old cluster, and nothing is taken out or newly changed because of it.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let Some(live) = question.live() else { return Vec::new() };
    let old = live.not_current(question.world.now);
    match (old.is_empty(), question.moment, question.step) {
        (true, Moment::GoOn, None) => {
            let text = "every watch of the cluster is current";
            vec![Answer::allow(Gate::Watch, question.world.object(), text)]
        }
        (_, Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn, _) => {
            let reason = |(kind, why): (&str, String)| Reason::new(Key::NotCurrent, kind, why);
            old.into_iter().map(|kind| Answer::wait(Gate::Watch, reason(kind))).collect()
        }
    }
}
