//! The commit gate: while the newest commit is broken or rewrites history, no node is taken out and no run starts.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let asked = match (question.moment, question.step) {
        (Moment::StartRun | Moment::TakeOut, _) => !question.only_waits() && !question.hop_begun(),
        // A node with an intent and no claim is still in service. It stays so until the commit is fixed.
        (Moment::Claim, Some(_)) => !question.hop_begun(),
        (Moment::Claim | Moment::Change | Moment::GoOn, None) => true,
        // A node that was taken out for an older commit is finished.
        (Moment::Change | Moment::GoOn, Some(_)) => false,
    };
    let state = question.world.state;
    let Some(first) = state.problems.first().filter(|_| asked) else {
        return match question.step {
            Some(_) => Vec::new(),
            None => vec![Answer::allow(Gate::Desired, question.world.object(), "the newest commit is valid")],
        };
    };
    let first = first.lines().next().unwrap_or_default();
    let text = format!("commit {} is not valid: {first}", state.newest.short());
    let key = if state.rewritten { Key::HistoryRewritten } else { Key::CommitRefused };
    vec![Answer::deny(Gate::Desired, Reason::new(key, question.world.object(), text))]
}
