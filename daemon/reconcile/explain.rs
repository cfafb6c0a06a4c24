//! How many steps that do not begin are explained.

use crate::model::decision::Answer;

/// The most explanations of one kind that a person reads.
pub(super) const MOST_EXPLAINED: usize = 20;

/// Adds answers that are not there yet: an answer about the cluster comes again for every step.
pub(super) fn merge_answers(into: &mut Vec<Answer>, answers: Vec<Answer>) {
    for answer in answers {
        if !into.contains(&answer) {
            into.push(answer);
        }
    }
}
