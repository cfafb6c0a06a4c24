//! How much is told of what keeps steps from starting.

use crate::model::decision::Answer;

/// More explanations of the same kind than a person reads.
pub(super) const MOST_EXPLAINED: usize = 20;

/// Adds answers that are not there yet: what is said of the cluster is said for every step again.
pub(super) fn merge_answers(into: &mut Vec<Answer>, answers: Vec<Answer>) {
    for answer in answers {
        if !into.contains(&answer) {
            into.push(answer);
        }
    }
}
