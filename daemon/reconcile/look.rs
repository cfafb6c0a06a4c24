//! What a loop looks at before a pass: what git wants, which cluster this is, and what there would be to do.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::Wanted;
use super::run::Loop;

impl Loop {
    pub(super) fn take_wanted(&mut self) {
        if let Some(wanted) = self.links.wanted.borrow_and_update().get(&self.settings.me.cluster) {
            self.wanted = Some(wanted.clone());
        }
    }

    /// Finds out whether another loop of this process has this very cluster in hand.
    pub(super) fn meet(&mut self) {
        let Some(uid) = &self.folder.live.cluster_uid else { return };
        let mut met = self.settings.met.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let me = &mut self.settings.me;
        // Whom the record knows by this UID comes before whoever happens to be quicker.
        let known = self.record.cluster_uid.as_ref() == Some(uid);
        let first = met.entry(uid.clone()).or_insert_with(|| (me.cluster.clone(), known));
        if known && !first.1 {
            *first = (me.cluster.clone(), true);
        }
        me.twin = (first.0 != me.cluster).then(|| first.0.clone());
    }

    /// Plans afresh where no run is under way and something that plans depend on has changed.
    pub(super) fn replan(&mut self, wanted: &Wanted) {
        let Some(desired) =
            wanted.desired.as_ref().filter(|_| self.record.run.is_none() && self.folder.live.complete)
        else {
            self.fresh = None;
            return;
        };
        let mut hash = DefaultHasher::new();
        desired.commit.hash(&mut hash);
        self.folder.live.inventory(&mut hash);
        let key = hash.finish();
        if self.fresh.as_ref().is_some_and(|(known, _)| *known == key) {
            return;
        }
        let live = &self.folder.live;
        let fresh = super::fresh_plan(desired, live);
        self.fresh = Some((key, fresh));
    }
}
