//! Kubernetes objects and answers → [`Live`]: a fold, without calls.
//! It keeps what the stages ask for and lets the rest of every object go.

mod answer;
mod budget;
mod convert;
mod fold;

use jiff::Timestamp;
use k8s_openapi::api::{apps, batch, core, policy, storage};

pub use fold::Folder;

use crate::model::live::{Lock, Probe, RefusalKind};
use crate::model::version::Version;

/// What a watch tells of one kind of object.
#[derive(Clone, Debug)]
pub enum Event<K> {
    /// A list begins: what it does not name is gone.
    Begin,
    Listed(K),
    End,
    Applied(K),
    Deleted(K),
}

/// Everything that is learnt of a cluster: by watching, by asking, and by the answers to what was done.
#[derive(Clone, Debug)]
pub enum Seen {
    Node(Event<Box<core::v1::Node>>),
    Pod(Event<Box<core::v1::Pod>>),
    Budget(Event<Box<policy::v1::PodDisruptionBudget>>),
    Deployment(Event<Box<apps::v1::Deployment>>),
    ReplicaSet(Event<Box<apps::v1::ReplicaSet>>),
    StatefulSet(Event<Box<apps::v1::StatefulSet>>),
    DaemonSet(Event<Box<apps::v1::DaemonSet>>),
    Job(Event<Box<batch::v1::Job>>),
    Attachment(Event<Box<storage::v1::VolumeAttachment>>),
    Stop(Event<Box<core::v1::ConfigMap>>),
    Resume(Event<Box<core::v1::ConfigMap>>),
    /// A kind cannot be watched at present, or cannot be listed.
    Unseen {
        kind: String,
        why: String,
    },
    Probed(Probe, ProbeAnswer),
    Done(Deed, Answer),
}

/// What a probe brought back. A probe without an answer is unknown, never healthy.
#[derive(Clone, Debug)]
pub enum ProbeAnswer {
    ClusterUid(String),
    Api { ready: bool, version: Option<Version> },
    Heartbeat(String),
    Lock(Option<Lock>),
    Published(Option<String>),
    Nothing(String),
}

/// What was done, by the key under which it was in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    pub key: String,
    /// The pod, where it was an eviction.
    pub evicted: Option<String>,
}

/// How the world answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Done, or found done already.
    Done,
    /// The node as it is after our patch.
    Node(Box<core::v1::Node>),
    Lock(Option<Lock>),
    Published(String),
    /// The world had moved: a conflict, a precondition that does not hold. Look again.
    Stale(String),
    /// The object is not there.
    Missing,
    Refused(RefusalKind, String, Option<Timestamp>),
    Failed(String),
}
