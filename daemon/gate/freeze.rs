//! Freezes: stretches in which nothing is taken out. What they let pass is asked of the step, not of its plan.

use super::{AtNow, Moment, Question};
use crate::model::decision::{Answer, Verdict};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let asked = match (question.moment, question.step) {
        (Moment::StartRun | Moment::TakeOut, _) => !question.hop_begun(),
        // A worker that is not out yet waits; the unit of a control plane is returned by the window's gate.
        (Moment::Claim, Some(_)) => {
            !question.is_control_plane() && question.at_now() > AtNow::FinishBatchOnly
        }
        (Moment::Change | Moment::GoOn, _) | (Moment::Claim, None) => false,
    };
    if !asked || question.only_waits() {
        return Vec::new();
    }
    let Some(now) = question.world.calendar(question.kind()) else { return Vec::new() };
    let of_moment = |answer: &&Answer| question.moment != Moment::Claim || answer.verdict != Verdict::Allow;
    now.freezes.iter().filter(of_moment).cloned().collect()
}
