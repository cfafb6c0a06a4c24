//! What is learnt of a cluster by asking rather than by watching, and the notes that people leave in it.

use jiff::Timestamp;

use super::version::Version;

/// A question that no watch answers; asked while something in hand needs the answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// Which cluster this is.
    ClusterUid,
    /// `/readyz` and `/version` at the front door.
    Api,
    /// A node's heartbeat.
    Heartbeat(String),
    /// The lease that says who should act.
    Lock,
    /// The `ConfigMap` `upgrade-status`.
    Published,
    /// How far the long work of this name has come.
    Long(String),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Api {
    pub version: Option<Version>,
    /// Since when `/readyz` has answered well at every look.
    pub ready_since: Option<Timestamp>,
    pub last_seen: Option<Timestamp>,
}

/// The lease that says who should act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub holder: String,
    pub transitions: u64,
    pub resource_version: String,
    /// As its holder wrote it; compared only with itself.
    pub renewed: String,
    /// When this very state was first seen, by our clock.
    pub seen: Timestamp,
    pub seconds: i64,
}

/// A `ConfigMap` by which a person stops or resumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub uid: String,
    pub reason: String,
    pub by: String,
    pub created: Timestamp,
}
