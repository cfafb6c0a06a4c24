//! What is learnt of a cluster by asking instead of watching, and the notes that people leave in it.

use jiff::{SignedDuration, Timestamp};

use std::sync::Arc;

use super::addon::{EarlierQuestion, WorkloadRef};
use super::evidence::EvidenceQuestion;
use super::manifest::ManifestsQuestion;
use super::version::Version;

/// A question that no watch answers. It is asked while a step in progress needs the answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// The UID of the namespace `kube-system`, which identifies the cluster.
    ClusterUid,
    /// `/readyz` and `/version` of the API endpoint.
    Api,
    /// The node of this name, its pods and its upgrade Jobs, as etcd has them now.
    Node(String),
    /// The heartbeat of the node of this name.
    Heartbeat(String),
    /// The lease whose holder may act.
    Lock,
    /// The `ConfigMap` `upgrade-status`.
    Published,
    /// The state of the long work of this name.
    Long(String),
    /// The workload of an addon.
    Workload(WorkloadRef),
    /// Whether our user may patch the workload of an addon.
    Right(WorkloadRef),
    /// The objects of an addon.
    Manifests(Arc<ManifestsQuestion>),
    /// The same objects as a whole, once before a run.
    Evidence(Arc<EvidenceQuestion>),
    /// What an earlier commit asks of an addon.
    Earlier(EarlierQuestion),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Api {
    /// By how much the time of day of this machine is ahead of the API server's, by its last answer that had a date.
    pub clock_ahead: Option<SignedDuration>,
    pub version: Option<Version>,
    /// Since when every look at the API endpoint has found this version, and how many looks did. A look is several
    /// answers, each over a new connection. The looks of a process before count if the lease tells of them.
    pub version_since: Option<Timestamp>,
    pub same_looks: u32,
    /// True if this process has found more than one version. What a process before it found then counts no more.
    pub changed: bool,
    /// True once they have agreed for long enough. Behind a balancer, one answer is that of one API server.
    pub agreed: bool,
    /// Since when every probe of `/readyz` has succeeded; `None` if the last one failed.
    pub ready_since: Option<Timestamp>,
    pub last_seen: Option<Timestamp>,
}

/// What the API endpoint has answered since a time. The lease keeps it from one process to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub version: Version,
    pub since: Timestamp,
}

/// The lease whose holder may act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub holder: String,
    pub transitions: u64,
    pub resource_version: String,
    /// The renew time as its holder wrote it, by the holder's clock. Of another process's lease it is only compared with
    /// other values of the same lease; of our own it says when the renewal was sent.
    pub renewed: String,
    /// When this state was first seen, by our clock.
    pub seen: Timestamp,
    pub seconds: i64,
    /// What its last holder had heard of the API endpoint.
    pub heard: Option<Heard>,
}

/// A `ConfigMap` by which a person stops or resumes the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub uid: String,
    pub reason: String,
    pub by: String,
    pub created: Timestamp,
}
