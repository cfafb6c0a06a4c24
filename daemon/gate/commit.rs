//! The commit gate: while the newest commit is broken or rewrites history, no node is taken out and no run starts.
//! While the desired branch does not have the commit in force, no node is changed either.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let mut answers: Vec<Answer> =
        not_proven(question).map(|reason| Answer::deny(Gate::Desired, reason)).into_iter().collect();
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
        if question.step.is_none() && answers.is_empty() {
            answers.push(Answer::allow(Gate::Desired, question.world.object(), "the newest commit is valid"));
        }
        return answers;
    };
    let first = first.lines().next().unwrap_or_default();
    let text = format!("commit {} is not valid: {first}", state.newest.short());
    let key = if state.rewritten { Key::HistoryRewritten } else { Key::CommitRefused };
    answers.push(Answer::deny(Gate::Desired, Reason::new(key, question.world.object(), text)));
    answers
}

/// The record alone says which commit is in force. Everyone who can push to the record's branch can name any commit
/// there, so that commit says how nodes are returned, and nothing else.
fn not_proven(question: &Question<'_>) -> Option<Reason> {
    let desired = question.desired().filter(|_| question.world.state.unproven)?;
    match (question.moment, question.step) {
        (Moment::GoOn, Some(_)) => return None,
        (Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn, _) => {}
    }
    let text = format!(
        "the record names commit {} as the one in force, and the desired branch does not have it",
        desired.commit.short()
    );
    Some(Reason::new(Key::CommitNotProven, question.world.object(), text))
}
