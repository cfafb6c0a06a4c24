//! How much is reported of what keeps steps from starting.

use std::collections::BTreeMap;

use crate::model::decision::Answer;

/// More explanations of the same kind than a person reads.
pub(super) const MOST_EXPLAINED: usize = 20;

/// Answers in the order in which they came, each once: what is said of the cluster is said for every step again.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Each answer with its place.
    known: BTreeMap<Answer, usize>,
}

impl Answers {
    pub(super) fn add(&mut self, answers: impl IntoIterator<Item = Answer>) {
        for answer in answers {
            let place = self.known.len();
            self.known.entry(answer).or_insert(place);
        }
    }

    pub(super) fn into_list(self) -> Vec<Answer> {
        let mut list: Vec<_> = self.known.into_iter().collect();
        list.sort_unstable_by_key(|(_, place)| *place);
        list.into_iter().map(|(answer, _)| answer).collect()
    }
}
