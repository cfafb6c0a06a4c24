//! Everything that can be done to a cluster, as data, and the keys that identify effects: which object an effect
//! changes, and the rules for all effects on that object.

use jiff::SignedDuration;
use serde_json::Value;

use super::addon::{WorkloadKind, WorkloadRef};
use super::asked::{Heard, Probe};
use super::claim::Claim;
use super::helm::HelmCall;
use super::live::{Job, Node, NodeTaint, Workload};
use super::manifest::{FoundObject, ObjectAddress, ObjectRef};
use super::names;
use super::rollout::RolloutNote;
use super::uid::Uid;

/// One change of a node, sent as one merge patch with its `resourceVersion`.
#[derive(Clone, Debug, PartialEq)]
pub enum NodePatch {
    /// Writes the claim, and cordons the node if the claim says so.
    Claim(Claim),
    /// Writes the new timers of the claim and nothing else.
    Note(Claim),
    /// Removes the claim and restores what the claim recorded: the cordon and the scale-down annotation.
    Release(Claim),
    /// Removes a claim that cannot be read. What it recorded is unknown, so nothing else is touched.
    Forget,
    /// Changes the taints and nothing else.
    Taints,
}

/// One change of the lease whose holder may act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseMove {
    Create {
        holder: String,
        transitions: u64,
    },
    /// Takes the lease over or renews it. The API server refuses it if the lease has changed since
    /// `resource_version`.
    Hold {
        holder: String,
        transitions: u64,
        resource_version: String,
    },
    Release {
        holder: String,
        transitions: u64,
        resource_version: String,
    },
}

/// One change of a Deployment, sent as one merge patch with its UID and `resourceVersion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutPatch {
    /// Sets off a rollout by the template's annotation, and notes who began it.
    Begin(RolloutNote),
    /// Removes the note of a rollout that has ended well, or that somebody has taken back.
    Forget,
    /// Gives the template's annotation back the value that it had, and removes the note.
    Undo { before: Option<String> },
}

/// Everything that can be done to a cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Node {
        name: String,
        resource_version: String,
        patch: NodePatch,
        /// All taints that the node is to have; `None` if they stay as they are.
        taints: Option<Vec<NodeTaint>>,
    },
    Evict {
        namespace: String,
        pod: String,
        uid: String,
    },
    Rollout {
        namespace: String,
        name: String,
        uid: String,
        resource_version: String,
        patch: RolloutPatch,
    },
    /// Gives one container of a workload another image. The API server refuses it if the workload has changed since
    /// `resource_version`.
    SetImage {
        workload: WorkloadRef,
        uid: String,
        resource_version: String,
        container: String,
        init: bool,
        image: String,
    },
    /// Applies one object of an addon by server-side apply. The API server refuses it if the object has changed since.
    Apply {
        object: ObjectRef,
        address: ObjectAddress,
        /// `None` if it does not exist.
        found: Option<FoundObject>,
        body: Value,
        /// True if fields of other managers are taken over.
        takes_over: bool,
    },
    /// Deletes an object that its addon does not have any more. The API server refuses it if the object has changed since.
    DeleteObject {
        object: ObjectRef,
        address: ObjectAddress,
        found: FoundObject,
    },
    /// Starts helm, and ends with it.
    Helm(HelmCall),
    CreateNamespace(Value),
    CreateJob {
        name: String,
        manifest: Value,
    },
    /// Lets a suspended Job begin, or suspends one that has not begun. The API server refuses it if the Job has changed
    /// since `resource_version`.
    SuspendJob {
        name: String,
        uid: String,
        resource_version: String,
        suspend: bool,
    },
    /// Deletes a Job of which nothing runs. The API server refuses it if the Job has changed since `resource_version`.
    DeleteJob {
        name: String,
        uid: String,
        resource_version: String,
    },
    Lease {
        name: String,
        lease: LeaseMove,
        /// What the next holder has to know of the API endpoint.
        heard: Option<Heard>,
        length: SignedDuration,
    },
    /// Writes the `ConfigMap` `upgrade-status`; its text covers every entry before `of`.
    Publish {
        text: String,
        of: u64,
    },
    ForgetResume {
        uid: String,
    },
    /// Begins work that takes longer than any call.
    BeginLong {
        name: String,
    },
}

impl Effect {
    /// A patch of a node as it was last seen. Whatever is patched, our taint is taken away with it.
    pub fn node(node: &Node, patch: NodePatch) -> Self {
        let (name, resource_version) = (node.name.to_string(), node.resource_version.clone());
        let taints = node.is_outdated().then(|| node.foreign_taints());
        Self::Node { name, resource_version, patch, taints }
    }

    /// Gives a node our taint.
    pub fn taint(node: &Node) -> Self {
        let (name, resource_version) = (node.name.to_string(), node.resource_version.clone());
        let mut taints = node.foreign_taints();
        taints.push(NodeTaint::outdated());
        Self::Node { name, resource_version, patch: NodePatch::Taints, taints: Some(taints) }
    }

    /// A patch of a Deployment as it was last seen; `None` for any other workload.
    pub fn rollout(uid: &str, workload: &Workload, patch: RolloutPatch) -> Option<Self> {
        Some(Self::Rollout {
            namespace: workload.namespace.to_string(),
            name: workload.name.to_string(),
            uid: uid.to_owned(),
            resource_version: workload.rollout.as_ref()?.resource_version.to_string(),
            patch,
        })
    }

    /// Deletes a Job as it was last seen.
    pub fn deletion(name: &str, job: &Job) -> Self {
        let (uid, resource_version) = (job.uid.clone(), job.resource_version.clone());
        Self::DeleteJob { name: name.to_owned(), uid, resource_version }
    }

    /// The object that the effect changes. Two effects with one key are never in flight at the same time.
    pub fn key(&self) -> EffectKey {
        match self {
            Self::Node { name, .. } => EffectKey::Node(name.clone()),
            Self::Evict { uid, .. } => EffectKey::Eviction(uid.as_str().into()),
            Self::Rollout { namespace, name, .. } => EffectKey::deployment(namespace, name),
            Self::SetImage { workload, .. } => EffectKey::workload(workload),
            Self::Apply { object, .. } | Self::DeleteObject { object, .. } => EffectKey::of_object(object),
            Self::Helm(call) => EffectKey::Release(call.asked.release.to_string()),
            Self::CreateNamespace(_) => EffectKey::Namespace,
            Self::CreateJob { name, .. } | Self::SuspendJob { name, .. } | Self::DeleteJob { name, .. } => {
                EffectKey::Job(name.clone())
            }
            Self::Lease { .. } => EffectKey::Lease,
            Self::Publish { .. } => EffectKey::StatusMap,
            Self::ForgetResume { .. } => EffectKey::ResumeNote,
            Self::BeginLong { name } => EffectKey::Long(name.clone()),
        }
    }

    /// The object that the effect changes, as people name it.
    pub fn object(&self) -> String {
        match self {
            Self::Evict { namespace, pod, .. } => format!("pod/{namespace}/{pod}"),
            Self::Node { .. }
            | Self::Rollout { .. }
            | Self::SetImage { .. }
            | Self::Apply { .. }
            | Self::DeleteObject { .. }
            | Self::Helm(_)
            | Self::CreateNamespace(_)
            | Self::CreateJob { .. }
            | Self::SuspendJob { .. }
            | Self::DeleteJob { .. }
            | Self::Lease { .. }
            | Self::Publish { .. }
            | Self::ForgetResume { .. }
            | Self::BeginLong { .. } => self.key().object(),
        }
    }

    /// How long its answer may take where that is longer than a call.
    pub fn lasts(&self) -> Option<SignedDuration> {
        match self {
            Self::Helm(call) => Some(SignedDuration::from_secs(call.timeout_seconds)),
            _ => None,
        }
    }

    /// True if only the holder of the lease may carry it out.
    pub fn needs_lease(&self) -> bool {
        self.key().rules().needs_lease
    }
}

/// The object of an effect, or the question of a probe. Two with one key are never in flight at the same time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EffectKey {
    /// The eviction of one pod, by UID: a moment later another pod may have its name.
    Eviction(Uid),
    /// The node of this name.
    Node(String),
    /// The Deployment of this namespace and name: `shop/cart`.
    Deployment(String),
    /// The workload of an addon that is no Deployment: `daemonset/kube-system/cilium`.
    Workload(String),
    /// Any other object of an addon: `configmap/kube-system/coredns`.
    Object(String),
    /// The release of helm of this namespace and name: `release/kube-system/cilium`.
    Release(String),
    /// The namespace of the upgrade Jobs and of the lease.
    Namespace,
    /// The upgrade Job of this name.
    Job(String),
    /// The lease whose holder may act.
    Lease,
    /// The `ConfigMap` `upgrade-status`.
    StatusMap,
    /// The `ConfigMap` with which a person ended a halt.
    ResumeNote,
    /// The long work of this name.
    Long(String),
    /// A probe.
    Probe(Probe),
}

/// The rules for all effects with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// True if only the holder of the lease may carry it out.
    pub needs_lease: bool,
    /// True for writes to nodes, pods, Deployments and Jobs, and for long work: a stop keeps them back.
    pub stops: bool,
    /// Set if only a watch shows the result. The effect is then not repeated until the watch does, or for this long:
    /// until then the picture is as it was before and would ask for it again.
    pub shown_within: Option<SignedDuration>,
}

/// A watch shows a created or deleted object within this time. After it, sending the effect again does no harm.
const SHOWN: SignedDuration = SignedDuration::from_secs(10);

impl EffectKey {
    pub fn deployment(namespace: &str, name: &str) -> Self {
        Self::Deployment(format!("{namespace}/{name}"))
    }

    pub fn workload(of: &WorkloadRef) -> Self {
        match of.kind {
            WorkloadKind::Deployment => Self::deployment(&of.namespace, &of.name),
            WorkloadKind::DaemonSet | WorkloadKind::StatefulSet => Self::Workload(of.to_string()),
        }
    }

    /// The key of an object of an addon.
    pub fn of_object(object: &ObjectRef) -> Self {
        object.workload().map_or_else(|| Self::Object(object.to_string()), |of| Self::workload(&of))
    }

    pub fn rules(&self) -> Rules {
        match self {
            // The answer has the object as it is now. An evicted pod counts as leaving from the answer until a watch
            // shows that it is gone; long work counts as running until a probe shows its end.
            Self::Node(_)
            | Self::Deployment(_)
            | Self::Workload(_)
            | Self::Object(_)
            | Self::Release(_)
            | Self::Eviction(_)
            | Self::Long(_) => Rules { needs_lease: true, stops: true, shown_within: None },
            Self::StatusMap => Rules { needs_lease: true, stops: false, shown_within: None },
            Self::Job(_) => Rules { needs_lease: true, stops: true, shown_within: Some(SHOWN) },
            Self::ResumeNote => Rules { needs_lease: true, stops: false, shown_within: Some(SHOWN) },
            // The answer has the lease, and the namespace exists before the lease can be held.
            Self::Lease | Self::Namespace | Self::Probe(_) => {
                Rules { needs_lease: false, stops: false, shown_within: None }
            }
        }
    }

    /// The UID of the pod that it evicts; `None` for other keys.
    pub fn evicted(&self) -> Option<&Uid> {
        if let Self::Eviction(uid) = self { Some(uid) } else { None }
    }

    /// The object, as people name it. An eviction knows its pod only by UID; a caller that has the name shows the
    /// name.
    pub fn object(&self) -> String {
        match self {
            Self::Eviction(uid) => format!("pod/{uid}"),
            Self::Node(name) | Self::Probe(Probe::Heartbeat(name) | Probe::Node(name)) => {
                format!("node/{name}")
            }
            Self::Deployment(name) => format!("deployment/{name}"),
            Self::Workload(name) | Self::Object(name) | Self::Release(name) => name.clone(),
            Self::Probe(Probe::Earlier(question)) => format!("addon/{}", question.addon),
            Self::Probe(Probe::Evidence(question)) => format!("addon/{}", question.addon),
            Self::Probe(Probe::Manifests(question)) => format!("addon/{}", question.addon),
            Self::Probe(Probe::Workload(workload) | Probe::Right(workload)) => workload.to_string(),
            Self::Namespace => format!("namespace/{}", names::NAMESPACE),
            Self::Job(name) => format!("job/{name}"),
            Self::Lease | Self::Probe(Probe::Lock) => format!("lease/{}", names::LEASE),
            Self::StatusMap | Self::Probe(Probe::Published) => format!("configmap/{}", names::STATUS),
            Self::ResumeNote => format!("configmap/{}", names::RESUME),
            Self::Long(name) | Self::Probe(Probe::Long(name)) => format!("work/{name}"),
            Self::Probe(Probe::ClusterUid) => format!("namespace/{}", names::NOTES),
            Self::Probe(Probe::Api) => "api".to_owned(),
        }
    }
}

/// How far long work has come, as a look at it shows. If a look fails, the state is unknown and is none of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LongState {
    NotBegun,
    Running,
    Done,
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_are_shown_of_an_effect_is_the_object_that_it_is_about() {
        let uid = "6fa459ea-ee8a-4ca4-894e-db77e160355e";
        let node = || "w1".to_owned();
        for (key, object, needs_lease, waits_for_a_watch) in [
            (EffectKey::Eviction(uid.into()), "pod/6fa459ea-ee8a-4ca4-894e-db77e160355e", true, false),
            (EffectKey::Node(node()), "node/w1", true, false),
            (EffectKey::deployment("shop", "cart"), "deployment/shop/cart", true, false),
            (EffectKey::Namespace, "namespace/windlass-system", false, false),
            (EffectKey::Job("w1-kubelet".to_owned()), "job/w1-kubelet", true, true),
            (EffectKey::Lease, "lease/windlass", false, false),
            (EffectKey::StatusMap, "configmap/upgrade-status", true, false),
            (EffectKey::ResumeNote, "configmap/windlass-resume", true, true),
            (EffectKey::Long("snapshot-1".to_owned()), "work/snapshot-1", true, false),
            (EffectKey::Probe(Probe::Heartbeat(node())), "node/w1", false, false),
            (EffectKey::Probe(Probe::Lock), "lease/windlass", false, false),
        ] {
            assert_eq!(key.object(), object);
            let rules = key.rules();
            assert_eq!(
                (rules.needs_lease, rules.shown_within.is_some()),
                (needs_lease, waits_for_a_watch),
                "{key:?}"
            );
        }
    }
}
