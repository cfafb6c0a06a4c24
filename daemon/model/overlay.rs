//! What we have done and no watch has shown yet, laid over the picture of the cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::decision::Key;
use super::effect::EffectKey;
use super::uid::Uid;
use super::work::StepId;

/// Our own writes that no watch has shown yet. Each ends by the watch showing it, or by its deadline.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Pods whose eviction was accepted, by UID. Kept until the pod is gone: it is never evicted again.
    pub evicted: BTreeMap<Uid, Timestamp>,
    /// What the last refused eviction of a pod said, and when it may be tried again.
    pub refused: BTreeMap<Uid, Refusal>,
    /// Effects and questions that were sent and have not answered, with the time after which they count as lost.
    /// Work that goes on for longer than any call stays in here until a look shows its end.
    pub in_flight: BTreeMap<EffectKey, Timestamp>,
    /// When an effect that failed may be tried again, and why it failed.
    pub backoff: BTreeMap<EffectKey, Backoff>,
    /// Since when each wait has been there without a break, by reason key and object.
    pub waits: BTreeMap<(Key, String), Timestamp>,
    /// When we last wrote the `ConfigMap` `upgrade-status`.
    pub published: Option<Timestamp>,
    /// Since when each step on its way back has been looked at without a break, by its id.
    pub watched: BTreeMap<StepId, Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub until: Timestamp,
    pub tries: u32,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
    pub until: Timestamp,
    pub tries: u32,
}

/// The server's answers to an eviction that are not a yes; the three 429s are three different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A disruption budget says no.
    Budget,
    /// Priority and fairness: too many requests.
    Busy,
    /// The API server is shutting down.
    ShuttingDown,
    /// Several budgets match: it will never pass.
    SeveralBudgets,
    /// An admission webhook or a rule says no.
    Denied,
    /// No answer, or one that says nothing.
    Unclear,
}

impl Overlay {
    /// Pods whose eviction was accepted, or was asked for and has not been answered: none of them serves any more.
    pub fn leaving(&self) -> impl Iterator<Item = &Uid> {
        self.evicted.keys().chain(self.asked_to_leave())
    }

    pub fn is_leaving(&self, uid: &Uid) -> bool {
        self.evicted.contains_key(uid) || self.in_flight.contains_key(&EffectKey::Eviction(uid.clone()))
    }

    /// Pods whose eviction was asked for and has not been answered.
    pub fn asked_to_leave(&self) -> impl Iterator<Item = &Uid> {
        let evictions = self.in_flight.range(EffectKey::Eviction(Uid::FIRST)..);
        evictions.map_while(|(key, _)| key.evicted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_leave_from_the_asking_until_they_are_gone() {
        let (asked, accepted, other) = ("6fa459ea-ee8a-4ca4-894e-db77e160355e", "uid-accepted", "uid-other");
        let keys = [
            EffectKey::Node("w1".to_owned()),
            EffectKey::Eviction(asked.into()),
            EffectKey::Eviction("uid-asked".into()),
            EffectKey::Job("w1".to_owned()),
        ];
        let overlay = Overlay {
            in_flight: keys.into_iter().map(|key| (key, Timestamp::MAX)).collect(),
            evicted: BTreeMap::from([(accepted.into(), Timestamp::UNIX_EPOCH)]),
            ..Overlay::default()
        };
        let shown = |uids: Vec<&Uid>| uids.into_iter().map(Uid::to_string).collect::<Vec<_>>();
        assert_eq!(shown(overlay.leaving().collect()), [accepted, asked, "uid-asked"]);
        assert_eq!(shown(overlay.asked_to_leave().collect()), [asked, "uid-asked"]);
        for (uid, leaving) in [(asked, true), (accepted, true), ("uid-asked", true), (other, false)] {
            assert_eq!(overlay.is_leaving(&uid.into()), leaving, "{uid}");
        }
    }
}
