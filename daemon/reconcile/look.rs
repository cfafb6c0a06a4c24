//! What a loop looks at before a pass: what git wants, which cluster this is, and what there would be to do.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::Wanted;
use super::run::Loop;

impl Loop {
    pub(super) fn take_wanted(&mut self) {
        let all = self.links.wanted.borrow_and_update();
        match all.get(&self.settings.me.cluster) {
            Some(wanted) => self.wanted = Some(wanted.clone()),
            None if all.is_empty() => {}
            // Its folder is gone: what is in hand is finished by the last commit that had it, nothing is begun.
            None => {
                if let Some(wanted) = &mut self.wanted {
                    wanted.problems = vec!["its folder is no longer there; nothing new is begun".to_owned()];
                }
            }
        }
    }

    /// Finds out whether another loop of this process has this very cluster in hand.
    pub(super) fn meet(&mut self) {
        let Some(uid) = &self.folder.live.cluster_uid else { return };
        let mut met = self.settings.met.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let me = &mut self.settings.me;
        let first = met.entry(uid.clone()).or_insert_with(|| me.cluster.clone());
        me.twin = (*first != me.cluster).then(|| first.clone());
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
