//! How much is reported of what keeps steps from starting.

use std::collections::BTreeSet;

use crate::model::decision::Answer;

/// More explanations of the same kind than a person reads.
pub(super) const MOST_EXPLAINED: usize = 20;

/// Answers in the order in which they came, each once: what is said of the cluster is said for every step again.
#[derive(Debug, Default)]
pub(super) struct Answers {
    list: Vec<Answer>,
    known: BTreeSet<Answer>,
}

impl Answers {
    pub(super) fn add(&mut self, answers: impl IntoIterator<Item = Answer>) {
        for answer in answers {
            if self.known.insert(answer.clone()) {
                self.list.push(answer);
            }
        }
    }

    pub(super) fn into_list(self) -> Vec<Answer> {
        self.list
    }
}
