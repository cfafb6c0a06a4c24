//! Folds Kubernetes objects and answers into [`Live`], without any call. It keeps the fields that the stages read and
//! drops the rest of every object.

mod addon;
mod answer;
mod budget;
mod changes;
mod convert;
mod evidence;
mod fold;
mod kinds;
mod manifest;
mod owner;
mod probed;
mod quantity;
mod release;
mod rollout;
mod shared;
#[cfg(test)]
mod tests;
mod volume;
mod workload;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job as KubeJob;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::Value;

pub use evidence::ObjectsBefore;
pub use fold::Folder;
pub use kinds::{Kind, Object, Watch, Watched, watch_all};
pub use manifest::{ObjectAnswer, ObjectsAnswer, There, Tried};
pub use release::ReleaseAnswer;

use crate::model::addon::{Addon, WorkloadRef};
use crate::model::effect::{EffectKey, LongState};
use crate::model::live::{CallFailure, Lock, Probe, RefusalKind};
use crate::model::manifest::ObjectRef;
use crate::model::version::Version;

/// What a watch reports of one kind of object.
#[derive(Clone, Debug)]
pub enum Event<K> {
    /// A list begins. Objects that it does not contain are gone.
    Begin,
    Listed(K),
    End,
    Applied(K),
    Deleted(K),
}

/// Everything that can be learnt of a cluster: from watches, from probes, and from the answers to writes.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A watch of one kind was accepted, or has spoken: what is known of the kind is current.
    Heard(Kind),
    /// From the watch of one kind of objects.
    Watched(Watched),
    /// A kind cannot be listed or watched at present.
    Unseen {
        kind: Kind,
        why: CallFailure,
    },
    /// The answer to a probe, and when it was asked: the answer may have been on its way for long.
    Probed {
        probe: Probe,
        answer: ProbeAnswer,
        asked: Timestamp,
    },
    Done(EffectKey, WriteAnswer),
}

/// The answer to a probe. A probe without an answer means unknown, never healthy.
#[derive(Clone, Debug)]
pub enum ProbeAnswer {
    ClusterUid(String),
    Api {
        ready: bool,
        version: Option<Version>,
        /// By how much our time of day is ahead of the API server's.
        clock_ahead: Option<SignedDuration>,
    },
    Heartbeat(String),
    Lock(Option<Lock>),
    Published(Option<String>),
    Node(Box<NodeRead>),
    Long(LongState),
    Workload(Option<WorkloadObject>),
    WorkloadUnread(CallFailure),
    /// Why our user may not do it; `None` if it may.
    Right(Option<String>),
    Evidence(ObjectsBefore),
    /// Why there is no such addon, if that cannot change.
    Earlier(Result<Arc<Addon>, String>),
    Manifests(ObjectsAnswer),
    Nothing(String),
}

/// The workload of an addon.
#[derive(Clone, Debug)]
pub enum WorkloadObject {
    Deployment(Box<Deployment>),
    DaemonSet(Box<DaemonSet>),
    StatefulSet(Box<StatefulSet>),
}

/// One node as etcd has it, with its pods and the upgrade Jobs that name it.
#[derive(Clone, Debug)]
pub struct NodeRead {
    /// `None` if there is no such node.
    pub node: Option<Node>,
    pub pods: Listing<Pod>,
    pub jobs: Listing<KubeJob>,
}

/// The objects of one list.
#[derive(Clone, Debug)]
pub struct Listing<K> {
    pub items: Vec<K>,
    /// The revision that the list shows.
    pub resource_version: Option<String>,
}

impl<K> Listing<K> {
    /// The revision as a number; the highest if it cannot be read, so that the list counts as newer than every object.
    fn at(&self) -> u64 {
        self.resource_version.as_ref().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
    }
}

/// How the API server answered a write.
#[derive(Clone, Debug)]
pub enum WriteAnswer {
    /// Done, or it was done already.
    Done,
    /// Done; the node as it is after the patch.
    Node(Box<Node>),
    /// Done; the Job as it is now.
    Job(Box<KubeJob>),
    /// Done; the Deployment as it is after the patch.
    Deployment(Box<Deployment>),
    /// Done; the workload of an addon as it is after the patch.
    Workload(WorkloadRef, WorkloadObject),
    /// Done; the object of an addon as it is after it was applied.
    Applied(ObjectRef, Box<Value>),
    /// Done; the object of an addon is being deleted.
    Deleted(ObjectRef),
    Lock(Option<Lock>),
    Published {
        text: String,
        of: u64,
    },
    /// The cluster had changed: a conflict, or a precondition that does not hold. The next pass looks again.
    Stale(String),
    /// The object does not exist.
    Missing,
    Refused(RefusalKind, String, Option<Timestamp>),
    Failed(CallFailure),
}
