//! What the answers to our own deeds teach: they show at once, before any watch does.

use jiff::{SignedDuration, Timestamp};

use super::fold::Folder;
use super::{Answer, Deed};
use crate::model::live::{Backoff, Lock, OUR_LEASE, OUR_NAMESPACE, Probe, RESUME_NOTE, Refusal, RefusalKind};

/// What the keys of Jobs begin with.
const JOB: &str = "job/";

/// A watch shows what was made or taken away within this; after it, asking once more does no harm.
const SHOWN: SignedDuration = SignedDuration::from_secs(10);

impl Folder {
    pub(super) fn done(&mut self, deed: &Deed, answer: Answer, now: Timestamp) {
        self.live.overlay.in_flight.remove(&deed.key);
        match answer {
            Answer::Done => self.succeeded(deed, now),
            Answer::Node(node) => {
                self.put_node(&node, now);
                self.succeeded(deed, now);
            }
            Answer::Lock(lock) => {
                self.live.lock = lock.map(|lock| Lock { seen: now, ..lock });
                self.succeeded(deed, now);
            }
            Answer::Published(text) => {
                self.live.published = Some(text);
                self.live.overlay.published = Some(now);
                self.succeeded(deed, now);
            }
            // The watch will show what moved; asking again at once would only meet the same old picture.
            Answer::Stale(why) => {
                if deed.key == OUR_LEASE {
                    // No watch shows the lease: only another look does.
                    self.live.probed.remove(&Probe::Lock);
                }
                self.back_off(deed, &why, now, SignedDuration::from_millis(500));
            }
            Answer::Missing => match &deed.evicted {
                Some(uid) => {
                    let uid = self.names.id(uid);
                    self.drop_pod(&uid);
                }
                None => self.back_off(deed, "it is not there", now, SignedDuration::from_secs(2)),
            },
            Answer::Refused(kind, message, until) => self.refused(deed, kind, message, until, now),
            Answer::Failed(why) => self.back_off(deed, &why, now, SignedDuration::from_secs(2)),
        }
    }

    fn succeeded(&mut self, deed: &Deed, now: Timestamp) {
        self.live.overlay.backoff.remove(&deed.key);
        if deed.key.starts_with(JOB) || deed.key == RESUME_NOTE {
            // The answer does not bring the object: until a watch shows it, the same would be asked for again at once.
            self.live.overlay.in_flight.insert(deed.key.clone(), now.saturating_add(SHOWN).unwrap_or(now));
        }
        if deed.key == OUR_NAMESPACE {
            // The lease lives in it, and can be made now.
            self.live.overlay.backoff.remove(OUR_LEASE);
        }
        if let Some(uid) = &deed.evicted {
            let uid = self.names.id(uid);
            self.live.overlay.refused.remove(&uid);
            self.live.overlay.evicted.insert(uid, now);
        }
    }

    fn back_off(&mut self, deed: &Deed, why: &str, now: Timestamp, first: SignedDuration) {
        let tries = self.live.overlay.backoff.get(&deed.key).map_or(0, |before| before.tries) + 1;
        let until = after(now, first, tries);
        self.live.overlay.backoff.insert(deed.key.clone(), Backoff { until, tries, why: why.to_owned() });
    }

    fn refused(
        &mut self,
        deed: &Deed,
        kind: RefusalKind,
        message: String,
        until: Option<Timestamp>,
        now: Timestamp,
    ) {
        let Some(uid) = &deed.evicted else {
            return self.back_off(deed, &message, now, SignedDuration::from_secs(2));
        };
        let uid = self.names.id(uid);
        let tries = self.live.overlay.refused.get(&uid).map_or(0, |before| before.tries) + 1;
        let until = until.unwrap_or_else(|| after(now, SignedDuration::from_secs(5), tries));
        self.live.overlay.refused.insert(uid, Refusal { kind, message, until, tries });
    }
}

/// Doubling from `first`, up to half a minute: nothing that was refused is asked for more often than that helps.
fn after(now: Timestamp, first: SignedDuration, tries: u32) -> Timestamp {
    const LONGEST: SignedDuration = SignedDuration::from_secs(30);
    let factor = 1_i32 << tries.saturating_sub(1).min(6);
    now.saturating_add(first.saturating_mul(factor).min(LONGEST)).unwrap_or(Timestamp::MAX)
}
