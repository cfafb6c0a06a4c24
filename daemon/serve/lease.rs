//! One loop's view of the lease: whether another process acts on its cluster, whether the record has to be read again
//! because of that, and the release at the end of the loop.

use crate::model::effect::Effect;
use crate::model::live::{Live, Lock};
use crate::reconcile;

/// Whether another process acted, and wrote the record, while this loop only waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standby {
    #[default]
    No,
    Yes,
    /// The other process no longer acts. The record has to be read before anything is done.
    Over,
}

impl Standby {
    /// `stands_by` is true if another process acts now, `held` if one has acted without being seen.
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
pub(super) struct LeaseWatch {
    standby: Standby,
    /// The last transition of the lease whose entries are known to be in the record.
    known: Option<u64>,
    released: bool,
    /// Who acts on the cluster, as it was last told.
    told: Acts,
}

/// Who acts on the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Acts {
    #[default]
    Nobody,
    WeDo,
    Another(String),
}

impl LeaseWatch {
    /// Takes in the result of a pass: whether another process acts, the lease as it was last seen, our name as a
    /// holder, and the epoch of the record's last entry.
    pub(super) fn observe(&mut self, stands_by: bool, lock: Option<&Lock>, holder: &str, recorded: u64) {
        let held = self.was_held_meanwhile(lock, holder, recorded);
        self.standby = self.standby.after(stands_by, held);
    }

    /// Who acts on the cluster, if that has changed since it was last told, and who acted before.
    pub(super) fn news(
        &mut self,
        stands_by: bool,
        lock: Option<&Lock>,
        holder: &str,
    ) -> Option<(Acts, Acts)> {
        let now = match lock {
            Some(lock) if lock.holder == holder => Acts::WeDo,
            Some(lock) if stands_by => Acts::Another(lock.holder.clone()),
            Some(_) | None => Acts::Nobody,
        };
        let before = std::mem::replace(&mut self.told, now.clone());
        (before != now).then_some((before, now))
    }

    /// True if another process has held the lease since this loop read the record, or since it held the lease itself.
    ///
    /// Two daemons run. One is suspended for an hour; the other takes the lease, upgrades half of the nodes and gives
    /// the lease back. When the first wakes up, the lease is free and it has never seen another holder. Only the
    /// number of transitions shows that its record is out of date.
    fn was_held_meanwhile(&mut self, lock: Option<&Lock>, holder: &str, recorded: u64) -> bool {
        let Some(lock) = lock else { return false };
        if lock.holder == holder {
            self.known = Some(lock.transitions);
            return false;
        }
        lock.transitions > self.known.unwrap_or(recorded)
    }

    /// True if the record has to be read again before the next decision.
    pub(super) fn must_reread(&self) -> bool {
        self.standby == Standby::Over
    }

    /// Notes that the record was read again, and the lease as it is known now.
    pub(super) fn reread(&mut self, lock: Option<&Lock>) {
        self.standby = Standby::No;
        self.known = lock.map(|lock| lock.transitions);
    }

    /// The effect that releases our lease when the loop ends, so that the next process need not wait until it
    /// expires. `None` if the lease is not ours, or once a release was returned.
    pub(super) fn release(&mut self, live: &Live, holder: &str) -> Option<Effect> {
        let release = reconcile::release(live, holder).filter(|_| !self.released)?;
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
            heard: None,
            seen: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_record_is_read_again_after_another_process_has_acted() {
        let mut watch = LeaseWatch::default();
        watch.observe(true, Some(&lock("other", 4)), "me", 3);
        assert!(!watch.must_reread(), "it still acts");
        watch.observe(false, Some(&lock("", 4)), "me", 3);
        assert!(watch.must_reread());
        watch.reread(Some(&lock("", 4)));
        watch.observe(false, Some(&lock("", 4)), "me", 3);
        assert!(!watch.must_reread(), "it was not held by another since");
    }

    #[test]
    fn a_holder_that_was_never_seen_shows_in_the_transitions() {
        for (known_by_record, transitions, expected) in [(3, 3, false), (3, 4, true)] {
            let mut watch = LeaseWatch::default();
            watch.observe(false, Some(&lock("", transitions)), "me", known_by_record);
            assert_eq!(watch.must_reread(), expected, "{transitions} after {known_by_record}");
        }
        let mut watch = LeaseWatch::default();
        watch.observe(false, Some(&lock("me", 7)), "me", 3);
        watch.observe(false, Some(&lock("", 7)), "me", 3);
        assert!(!watch.must_reread(), "the holder was this loop itself");
    }

    #[test]
    fn the_lease_is_released_once_and_only_by_its_holder() {
        let mut watch = LeaseWatch::default();
        let with = |lock| Live { lock, ..Live::default() };
        assert_eq!(watch.release(&with(None), "me"), None);
        assert_eq!(watch.release(&with(Some(lock("other", 1))), "me"), None);
        assert!(watch.release(&with(Some(lock("me", 1))), "me").is_some());
        assert_eq!(watch.release(&with(Some(lock("me", 1))), "me"), None);
    }
}
