//! Kubernetes objects and answers → [`Live`]: a fold, without calls.
//! It keeps what the stages ask for and lets the rest of every object go.

mod answer;
mod budget;
mod convert;
mod fold;
mod kinds;
mod shared;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;

pub use fold::Folder;
pub use kinds::{Kind, Object, Watch, Watched, watch_all};

use crate::model::effect::{EffectKey, LongState};
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
    /// By a watch of one kind of objects.
    Watched(Watched),
    /// A kind cannot be watched at present, or cannot be listed.
    Unseen {
        kind: Kind,
        why: String,
    },
    Probed(Probe, ProbeAnswer),
    Done(EffectKey, Answer),
}

/// What a probe brought back. A probe without an answer is unknown, never healthy.
#[derive(Clone, Debug)]
pub enum ProbeAnswer {
    ClusterUid(String),
    Api { ready: bool, version: Option<Version> },
    Heartbeat(String),
    Lock(Option<Lock>),
    Published(Option<String>),
    Long(LongState),
    Nothing(String),
}

/// How the world answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Done, or found done already.
    Done,
    /// The node as it is after our patch.
    Node(Box<Node>),
    Lock(Option<Lock>),
    Published {
        text: String,
        of: u64,
    },
    /// The world had moved: a conflict, a precondition that does not hold. Look again.
    Stale(String),
    /// The object is not there.
    Missing,
    Refused(RefusalKind, String, Option<Timestamp>),
    Failed(String),
}
