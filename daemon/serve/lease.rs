//! How a loop stands to the lease: whether another process acts on its cluster, whether the record has to be read
//! again because of that, and the release at an orderly end.

use crate::model::effect::Effect;
use crate::model::live::Lock;
use crate::reconcile;

/// Whether another process has acted, and written the record, while this loop only looked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standby {
    #[default]
    No,
    Yes,
    /// The other process no longer acts; what it wrote has to be read before anything is done.
    Over,
}

impl Standby {
    /// `stands_by` says that another process acts now; `held` that one has acted and nothing was seen of it.
    fn after(self, stands_by: bool, held: bool) -> Self {
        match self {
            Self::No | Self::Yes | Self::Over if stands_by => Self::Yes,
            Self::Yes | Self::Over => Self::Over,
            Self::No if held => Self::Over,
            Self::No => Self::No,
        }
    }
}

/// What one loop remembers of the lease.
#[derive(Debug, Default)]
pub(super) struct Tenure {
    standby: Standby,
    /// The last transition of the lease of which the record is known to tell.
    known: Option<u64>,
    released: bool,
}

impl Tenure {
    /// Takes in a pass: whether it found another process acting, the lease as it was last seen, who we are as a
    /// holder, and the transition under which the record was last written.
    pub(super) fn observe(&mut self, stands_by: bool, lock: Option<&Lock>, holder: &str, recorded: u64) {
        let held = self.was_held_meanwhile(lock, holder, recorded);
        self.standby = self.standby.after(stands_by, held);
    }

    /// Whether the lease has had a holder since the record was read, or since we held it ourselves.
    ///
    /// Two daemons run. One is suspended for an hour; the other takes the lease, upgrades half of the nodes and gives
    /// the lease back. When the first wakes up, it finds the lease free and has never seen it held by another: only
    /// the number of transitions tells that its record is old.
    fn was_held_meanwhile(&mut self, lock: Option<&Lock>, holder: &str, recorded: u64) -> bool {
        let Some(lock) = lock else { return false };
        if lock.holder == holder {
            self.known = Some(lock.transitions);
            return false;
        }
        lock.transitions > self.known.unwrap_or(recorded)
    }

    /// Whether the record has to be read again before anything is concluded from it.
    pub(super) fn must_reread(&self) -> bool {
        self.standby == Standby::Over
    }

    /// The record was read again, with the lease as it is known now.
    pub(super) fn reread(&mut self, lock: Option<&Lock>) {
        self.standby = Standby::No;
        self.known = lock.map(|lock| lock.transitions);
    }

    /// At an orderly end: the effect that releases our lease, so that the next process need not wait until it runs
    /// out. Asked for once.
    pub(super) fn release(&mut self, lock: Option<&Lock>, holder: &str) -> Option<Effect> {
        let release = reconcile::release(lock, holder).filter(|_| !self.released)?;
        self.released = true;
        Some(release)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn lock(holder: &str, transitions: u64) -> Lock {
        Lock {
            holder: holder.to_owned(),
            transitions,
            resource_version: "1".to_owned(),
            renewed: String::new(),
            seconds: 30,
            seen: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_record_is_read_again_after_another_process_has_acted() {
        let mut tenure = Tenure::default();
        tenure.observe(true, Some(&lock("other", 4)), "me", 3);
        assert!(!tenure.must_reread(), "it still acts");
        tenure.observe(false, Some(&lock("", 4)), "me", 3);
        assert!(tenure.must_reread());
        tenure.reread(Some(&lock("", 4)));
        tenure.observe(false, Some(&lock("", 4)), "me", 3);
        assert!(!tenure.must_reread(), "it was not held by another since");
    }

    #[test]
    fn a_holder_that_was_never_seen_shows_in_the_transitions() {
        for (known_by_record, transitions, expected) in [(3, 3, false), (3, 4, true)] {
            let mut tenure = Tenure::default();
            tenure.observe(false, Some(&lock("", transitions)), "me", known_by_record);
            assert_eq!(tenure.must_reread(), expected, "{transitions} after {known_by_record}");
        }
        let mut tenure = Tenure::default();
        tenure.observe(false, Some(&lock("me", 7)), "me", 3);
        tenure.observe(false, Some(&lock("", 7)), "me", 3);
        assert!(!tenure.must_reread(), "the holder was this loop itself");
    }

    #[test]
    fn the_lease_is_released_once_and_only_by_its_holder() {
        let mut tenure = Tenure::default();
        assert_eq!(tenure.release(None, "me"), None);
        assert_eq!(tenure.release(Some(&lock("other", 1)), "me"), None);
        assert!(tenure.release(Some(&lock("me", 1)), "me").is_some());
        assert_eq!(tenure.release(Some(&lock("me", 1)), "me"), None);
    }
}
