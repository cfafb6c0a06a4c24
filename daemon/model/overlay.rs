//! What we have done and no watch has shown yet, laid over the picture of the cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::decision::Key;
use super::live::Id;

/// Our own writes that no watch has shown yet. Each ends by the watch showing it, or by its deadline.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Pods whose eviction was accepted, by UID. Kept until the pod is gone: it is never evicted again.
    pub evicted: BTreeMap<Id, Timestamp>,
    /// What the last refused eviction of a pod said, and when it may be tried again.
    pub refused: BTreeMap<Id, Refusal>,
    /// Effects that were sent and have not answered, with the time after which they count as lost.
    pub in_flight: BTreeMap<String, Timestamp>,
    /// When an effect that failed may be tried again, and why it failed.
    pub backoff: BTreeMap<String, Backoff>,
    /// Since when each wait has been there without a break, by reason key and object.
    pub waits: BTreeMap<(Key, String), Timestamp>,
    /// When we last wrote the `ConfigMap` `upgrade-status`.
    pub published: Option<Timestamp>,
    /// Since when each step on its way back has been looked at without a break, by its id.
    pub watched: BTreeMap<String, Timestamp>,
}

/// What the key of an eviction in flight begins with; the pod's UID follows.
pub const EVICTION: &str = "evict/";
/// The keys of what is written to one place only, named as the object it is.
pub const OUR_NAMESPACE: &str = "namespace/windlass-system";
pub const OUR_LEASE: &str = "lease/windlass";
pub const STATUS_MAP: &str = "configmap/upgrade-status";
pub const RESUME_NOTE: &str = "configmap/windlass-resume";

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
    pub fn leaving(&self) -> impl Iterator<Item = &str> {
        let asked = self.in_flight.keys().filter_map(|key| key.strip_prefix(EVICTION));
        self.evicted.keys().map(|uid| &**uid).chain(asked)
    }

    pub fn is_leaving(&self, uid: &str) -> bool {
        self.evicted.contains_key(uid) || self.in_flight.contains_key(&format!("{EVICTION}{uid}"))
    }
}
