//! Our own writes that no watch has shown yet, laid over the picture of the cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::decision::{Answer, Gate, Key, Reason};
use super::effect::EffectKey;
use super::failure::CallFailure;
use super::live::Id;
use super::uid::Uid;
use super::work::StepId;

/// Our own writes that no watch has shown yet. Each is removed when the watch shows it, or at its deadline.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Pods whose eviction was accepted, by UID, until the pod is gone. Such a pod is not evicted again.
    pub evicted: BTreeMap<Uid, Timestamp>,
    /// Pods whose eviction was sent and got no clear answer, and until when they count as leaving. The API server may
    /// still carry it out: it goes on for a minute after the client has given up. A newer revision of the pod ends it.
    pub unanswered: BTreeMap<Uid, Timestamp>,
    /// Why the last eviction of a pod was refused, and when it may be tried again.
    pub refused: BTreeMap<Uid, Refusal>,
    /// Effects and probes that were sent and not answered, each with the time after which it counts as lost. Long
    /// work stays in here until a look shows its end.
    pub in_flight: Sent,
    /// Effects that failed: why, and when each may be tried again.
    pub backoff: BTreeMap<EffectKey, Backoff>,
    /// Since when each wait has been given without a break, by reason key and object.
    pub waits: BTreeMap<(Key, String), Timestamp>,
    /// Pods that this process evicted from nodes before their turn, until it is recorded where their owners' new pods are.
    pub ahead: BTreeMap<Uid, LeftAhead>,
    /// When this process last wrote the `ConfigMap` `upgrade-status`.
    pub published: Option<Timestamp>,
    /// When waiting nodes were last looked through.
    pub looked: BTreeMap<Looked, Timestamp>,
    /// Since when each step that returns its node has been looked at without a break, by its id.
    pub watched: BTreeMap<StepId, Timestamp>,
}

/// What waiting nodes are looked through for. It costs too much for each pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Looked {
    /// Those that are to have our taint, and those that are to lose it.
    Taints,
    /// The one that is taken out next, and none of them may begin.
    Next,
    /// Pods that may leave them before their turn.
    Ahead,
}

/// A pod that left its node before the node's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftAhead {
    /// `shop/db-3`.
    pub pod: String,
    /// The UID of its top-level owner.
    pub owner: Id,
    pub from: Id,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub until: Timestamp,
    pub tries: u32,
    pub why: CallFailure,
}

impl Backoff {
    /// True if more than a retry is needed: one or two failures are a race or a short outage.
    pub fn lasts(&self) -> bool {
        self.tries > 2
    }

    /// The answer about a write that failed several times. Only a person can give a missing right.
    pub fn told(&self, object: &str) -> Answer {
        if self.why.is_missing_right() {
            let text = format!("the daemon lacks a right: {}; docs/security.md has the role", self.why);
            return Answer::deny(Gate::Health, Reason::new(Key::RightMissing, object, text));
        }
        let text = format!("the API server was asked several times to change it: {}", self.why);
        Answer::wait(Gate::Health, Reason::new(Key::WriteRefused, object, text))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
    pub until: Timestamp,
    pub tries: u32,
}

/// Why the API server did not carry out an eviction. It answers 429 for three different reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A `PodDisruptionBudget` does not allow it.
    Budget,
    /// Priority and fairness: too many requests.
    Busy,
    /// The API server is shutting down.
    ShuttingDown,
    /// More than one budget selects the pod. The API server never accepts such an eviction.
    SeveralBudgets,
    /// An admission webhook or another rule refuses it.
    Denied,
    /// No answer, or one without a reason.
    Unclear,
}

/// What was sent and not answered, each with the time after which it counts as lost.
///
/// Evictions are kept apart: a drain asks about pod after pod whether its eviction is among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    evictions: BTreeMap<Uid, Timestamp>,
    others: BTreeMap<EffectKey, Timestamp>,
}

impl Sent {
    pub fn insert(&mut self, key: EffectKey, until: Timestamp) {
        match key {
            EffectKey::Eviction(uid) => drop(self.evictions.insert(uid, until)),
            other => drop(self.others.insert(other, until)),
        }
    }

    pub fn remove(&mut self, key: &EffectKey) {
        match key {
            EffectKey::Eviction(uid) => drop(self.evictions.remove(uid)),
            other => drop(self.others.remove(other)),
        }
    }

    /// When it counts as lost; `None` if it is not in flight.
    pub fn get(&self, key: &EffectKey) -> Option<Timestamp> {
        match key {
            EffectKey::Eviction(uid) => self.evictions.get(uid).copied(),
            other => self.others.get(other).copied(),
        }
    }

    pub fn contains(&self, key: &EffectKey) -> bool {
        self.get(key).is_some()
    }

    /// True if a write to an upgrade Job is in flight.
    pub fn any_job(&self) -> bool {
        self.others.keys().any(|key| matches!(key, EffectKey::Job(_)))
    }

    pub fn is_empty(&self) -> bool {
        self.evictions.is_empty() && self.others.is_empty()
    }

    /// Forgets everything that counts as lost at this time.
    pub fn forget_until(&mut self, now: Timestamp) {
        self.evictions.retain(|_, until| *until > now);
        self.others.retain(|_, until| *until > now);
    }
}

impl FromIterator<(EffectKey, Timestamp)> for Sent {
    fn from_iter<I: IntoIterator<Item = (EffectKey, Timestamp)>>(sent: I) -> Self {
        let mut this = Self::default();
        sent.into_iter().for_each(|(key, until)| this.insert(key, until));
        this
    }
}

impl Overlay {
    /// Pods whose eviction was accepted or is in flight. They count as out of service.
    pub fn leaving(&self) -> impl Iterator<Item = &Uid> {
        self.evicted.keys().chain(self.unanswered.keys()).chain(self.asked_to_leave())
    }

    pub fn is_leaving(&self, uid: &Uid) -> bool {
        self.evicted.contains_key(uid)
            || self.unanswered.contains_key(uid)
            || self.in_flight.evictions.contains_key(uid)
    }

    /// Pods whose eviction is in flight.
    pub fn asked_to_leave(&self) -> impl ExactSizeIterator<Item = &Uid> {
        self.in_flight.evictions.keys()
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
