//! How much is reported of what keeps steps from starting.

use std::collections::BTreeMap;

use crate::model::decision::{Answer, Gate, Key};

/// More explanations of the same kind than a person reads.
pub(super) const MOST_EXPLAINED: usize = 20;

/// Answers in the order in which they came, each once: what is said of the cluster is said for every step again.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Each answer with its place, by what is quickly compared: its gate, its key and the length of its object.
    known: BTreeMap<(Gate, Key, usize), Vec<(usize, Answer)>>,
    count: usize,
}

impl Answers {
    pub(super) fn add(&mut self, answers: impl IntoIterator<Item = Answer>) {
        for answer in answers {
            let alike = (answer.gate, answer.reason.key, answer.reason.object.len());
            let alike = self.known.entry(alike).or_default();
            if alike.iter().all(|(_, known)| *known != answer) {
                alike.push((self.count, answer));
                self.count += 1;
            }
        }
    }

    pub(super) fn into_list(self) -> Vec<Answer> {
        let mut list: Vec<_> = self.known.into_values().flatten().collect();
        list.sort_unstable_by_key(|(place, _)| *place);
        list.into_iter().map(|(_, answer)| answer).collect()
    }
}
