//! What was asked of the API, and what came of it: for tests, reports and demonstrations.

use super::delete::Options;
use super::request::Call;
use http::StatusCode;
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// Requests kept; older ones are only counted.
const KEPT: usize = 100_000;

/// One request that meant to change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    pub verb: &'static str,
    pub path: String,
    pub resource: &'static str,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub agent: String,
    pub code: u16,
    pub dry_run: bool,
    pub eviction: Option<Eviction>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eviction {
    /// The pod that bore the name when the request came.
    pub uid: String,
    /// The UID that the request insisted on.
    pub expected_uid: Option<String>,
    pub dry_run: bool,
    pub accepted: bool,
}

/// A budget that a request broke: fewer pods healthy than desired once it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    pub at: Timestamp,
    pub namespace: String,
    pub budget: String,
    pub pod: String,
    pub healthy: usize,
    pub desired: usize,
}

/// The fewest Ready pods of an owner that were seen at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowWater {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub ready: usize,
    pub replicas: usize,
    pub at: Timestamp,
}

#[derive(Debug, Default)]
pub struct Audit {
    pub entries: VecDeque<Entry>,
    /// Requests by verb and resource, reads included.
    pub counts: BTreeMap<(&'static str, &'static str), u64>,
    pub breaches: Vec<Breach>,
    /// By the owner's UID.
    pub low_water: BTreeMap<String, LowWater>,
    eviction: Option<Eviction>,
}

impl Audit {
    pub(super) fn note(&mut self, call: &Call, code: StatusCode, now: Timestamp) {
        let eviction = self.eviction.take();
        let Some(place) = &call.place else { return };
        let verb = call.verb();
        *self.counts.entry((verb, place.resource.plural)).or_default() += 1;
        if matches!(verb, "get" | "list" | "watch") {
            return;
        }
        if self.entries.len() >= KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            at: now,
            verb,
            path: call.path.clone(),
            resource: place.resource.plural,
            subresource: place.subresource.clone(),
            namespace: place.namespace.clone(),
            name: place.name.clone(),
            agent: call.agent.clone(),
            code: code.as_u16(),
            // The options of a deletion are its body.
            dry_run: call.is_dry_run()
                || (verb == "delete"
                    && call.json().is_ok_and(|options| Options::from_json(&options).dry_run)),
            eviction,
        });
    }

    pub(super) fn observe_eviction(&mut self, uid: Option<&str>, expected: Option<&str>, dry_run: bool) {
        self.eviction = Some(Eviction {
            uid: uid.unwrap_or_default().to_owned(),
            expected_uid: expected.map(str::to_owned),
            dry_run,
            accepted: false,
        });
    }

    pub(super) fn accept_eviction(&mut self) {
        if let Some(eviction) = &mut self.eviction {
            eviction.accepted = true;
        }
    }

    /// Requests that meant to change something and were accepted.
    pub fn writes(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.code < 300 && !entry.dry_run)
    }

    pub fn evictions(&self) -> impl Iterator<Item = (&Entry, &Eviction)> {
        self.entries.iter().filter_map(|entry| entry.eviction.as_ref().map(|eviction| (entry, eviction)))
    }

    /// Starts counting afresh.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

impl super::Cluster {
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    pub fn audit_mut(&mut self) -> &mut Audit {
        &mut self.audit
    }

    /// Budgets that requests broke so far.
    pub fn breaches(&self) -> &[Breach] {
        &self.audit.breaches
    }
}
