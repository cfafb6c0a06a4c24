//! The freeze gate: while a freeze is in force no node is taken out. Whether a patch move passes depends on the step,
//! not on its plan.

use super::{AtNow, Moment, Question};
use crate::model::decision::{Answer, Verdict};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let asked = match (question.moment, question.step) {
        (Moment::StartRun | Moment::TakeOut, _) => !question.hop_begun(),
        // A worker that is not claimed yet waits. For the control plane of a hop, the window gate decides.
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
