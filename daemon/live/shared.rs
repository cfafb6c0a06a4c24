//! Values that many objects repeat, stored once: names, label sets, owners.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::model::live::{Id, Labels, Owner};

/// The shared values of one picture.
#[derive(Debug, Default)]
pub(super) struct Shared {
    names: Interned<str>,
    labels: Interned<Labels>,
    owners: Interned<Owner>,
}

impl Shared {
    pub(super) fn id(&mut self, text: &str) -> Id {
        self.names.find(text).unwrap_or_else(|| self.names.keep(text.into()))
    }

    pub(super) fn labels(&mut self, labels: Option<&BTreeMap<String, String>>) -> Arc<Labels> {
        let set = self.unshared_labels(labels);
        self.labels.find(&set).unwrap_or_else(|| self.labels.keep(Arc::new(set)))
    }

    /// For labels that no two objects share: every node has its own name among its labels.
    pub(super) fn unshared_labels(&mut self, labels: Option<&BTreeMap<String, String>>) -> Labels {
        labels.into_iter().flatten().map(|(key, value)| (self.id(key), self.id(value))).collect()
    }

    pub(super) fn owner(&mut self, owner: Owner) -> Arc<Owner> {
        self.owners.find(&owner).unwrap_or_else(|| self.owners.keep(Arc::new(owner)))
    }
}

#[expect(
    clippy::disallowed_types,
    reason = "its order never shows, and each object looks up dozens of names"
)]
type Copies<T> = std::collections::HashSet<Arc<T>>;

/// One copy of each value. Values that no object uses any more are dropped, so a cluster with thousands of
/// short-lived Jobs does not grow the pool.
#[derive(Debug)]
struct Interned<T: ?Sized> {
    kept: Copies<T>,
    /// At this number of values the pool drops those that no object uses.
    full_at: usize,
}

/// A pool smaller than this is not cleaned.
const FEW: usize = 1024;

impl<T: ?Sized> Default for Interned<T> {
    fn default() -> Self {
        Self { kept: Copies::default(), full_at: FEW }
    }
}

impl<T: ?Sized + Eq + Hash> Interned<T> {
    fn find(&self, value: &T) -> Option<Arc<T>> {
        self.kept.get(value).cloned()
    }

    fn keep(&mut self, value: Arc<T>) -> Arc<T> {
        if self.kept.len() >= self.full_at {
            // The next limit is a quarter above what is left, so cleaning costs about four checks per value that was
            // put in.
            self.kept.retain(|value| Arc::strong_count(value) > 1);
            self.full_at = (self.kept.len() / 4 * 5).max(FEW);
        }
        self.kept.insert(Arc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mentioned_stays_one_and_the_rest_goes() {
        let mut shared = Shared::default();
        let kept = shared.id("web");
        for number in 0..100 * FEW {
            shared.id(&format!("report-{number}"));
        }
        assert!(Arc::ptr_eq(&kept, &shared.id("web")));
        assert!(shared.names.kept.len() <= FEW + 1, "{}", shared.names.kept.len());
    }

    #[test]
    fn as_many_as_there_are_stay_while_they_are_mentioned() {
        let mut shared = Shared::default();
        let kept: Vec<Id> = (0..10 * FEW).map(|number| shared.id(&number.to_string())).collect();
        assert!(kept.iter().all(|id| Arc::ptr_eq(id, &shared.id(id))));
    }
}
