//! The cluster as it was last seen: the fields that the stages read, stored compactly. It is out of date as soon as
//! it exists. The `live` stage fills it; all other stages read it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::addon::{EarlierAddon, WorkloadRead, WorkloadRef};
use super::claim::Claim;
use super::evidence::Evidence;
use super::manifest::{GoneObject, ManifestsRead};
use super::time::later;
use super::version::Version;
use super::work::{Component, Fact, Truth};

pub use super::asked::{Api, Heard, Lock, Note, Probe};
pub use super::budgets::{Budget, Budgets, NamedBudget};
pub use super::effect::LongState;
pub use super::failure::CallFailure;
pub use super::jobs::Jobs;
pub use super::labels::Labels;
pub use super::nodes::Nodes;
pub use super::overlay::{Backoff, LeftAhead, Looked, Overlay, Refusal, RefusalKind, Sent};
pub use super::pod::{ByUid, Ending, Owner, OwnerKind, Phase, Pod, Pods, Restart, Seldom, Server};
pub use super::rollout::{NoteState, Progress, Rollout, RolloutNote, Strategy};
pub use super::room::{Allocatable, Requests};
pub use super::seconds::Seconds;
pub use super::taint::NodeTaint;
pub use super::uid::Uid;
pub use super::workload::Workload;

/// An API server sends a bookmark on each watch once a minute. A watch that has been silent for longer than this is dead.
pub const SILENT: SignedDuration = SignedDuration::from_secs(90);

/// A name, namespace, label key, label value or UID. It is interned: all objects that contain it share one copy.
pub type Id = Arc<str>;

#[derive(Clone, Debug, Default)]
pub struct Live {
    /// When this process first saw something of the cluster.
    pub begun: Option<Timestamp>,
    /// UID of the namespace `kube-system`, which identifies the cluster.
    pub cluster_uid: Option<String>,
    pub nodes: Nodes,
    pub pods: Pods,
    pub budgets: Budgets,
    /// Controllers by UID.
    pub workloads: BTreeMap<Id, Workload>,
    /// Pairs of UIDs: a Deployment and one of its `ReplicaSet`s.
    pub sets_of: BTreeSet<(Id, Id)>,
    /// UIDs of Deployments with the note of a rollout.
    pub moving: BTreeSet<Id>,
    /// UIDs of Deployments whose owners ask that they move by a rollout. Nearly everywhere there is none.
    pub surging: BTreeSet<Id>,
    /// Upgrade Jobs by name.
    pub jobs: Jobs,
    /// Nodes that have a claim, readable or not.
    pub claimed: BTreeSet<Id>,
    /// Nodes that have our taint.
    pub outdated: BTreeSet<Id>,
    /// Volume attachments by name.
    pub attachments: BTreeMap<Id, Attachment>,
    /// Bound claims by namespace and name.
    pub claims: BTreeMap<(Id, Id), VolumeClaim>,
    /// True once every kind has been listed. Before that, an object that is missing here may still exist.
    pub complete: bool,
    /// Kinds that cannot be listed or watched at present, by their name in the table of kinds, and why.
    pub unseen: BTreeMap<&'static str, CallFailure>,
    /// When each kind was heard of last: its list ended, or its watch was accepted or has spoken. By the kinds' names.
    pub heard: BTreeMap<&'static str, Timestamp>,
    /// When a node with its pods and Jobs was last read as etcd has them, and not as a watch has told.
    pub reads: BTreeMap<Id, Timestamp>,
    /// The workloads of addons as they were last read; `None` for one that does not exist.
    pub addon_workloads: BTreeMap<WorkloadRef, Option<WorkloadRead>>,
    /// Why our user may not patch the workload of an addon; `None` if it may.
    pub addon_rights: BTreeMap<WorkloadRef, Option<String>>,
    /// Why the last look at the workload of an addon failed; those that were read are not in the map.
    pub addons_unread: BTreeMap<WorkloadRef, CallFailure>,
    /// The objects of addons by the addons' names, as they were last read.
    pub addon_manifests: BTreeMap<String, ManifestsRead>,
    /// How the objects of addons were shortly before a run, by the addons' names.
    pub evidence: BTreeMap<String, Arc<Evidence>>,
    /// What earlier commits ask of addons that go back, by the addons' names.
    pub earlier_addons: BTreeMap<String, EarlierAddon>,
    pub stop: Option<Note>,
    pub resume: Option<Note>,
    /// What the API endpoint says of itself, and since when it has answered every probe.
    pub api: Api,
    /// Heartbeats of nodes in progress, as their kubelets wrote them. They use the kubelets' clocks, so they are only
    /// compared with each other.
    pub leases: BTreeMap<Id, String>,
    /// The lease; `None` if it does not exist or no probe has asked for it yet.
    pub lock: Option<Lock>,
    /// The lease as it was before somebody deleted it. Its holder may not have noticed yet.
    pub lock_deleted: Option<Lock>,
    /// What the `ConfigMap` `upgrade-status` holds; `None` until it has been read.
    pub published: Option<Published>,
    /// Long work by name, as it was last seen. Work that is not in the map is unknown.
    pub long: BTreeMap<String, LongState>,
    /// When each probe was last answered, successfully or not.
    pub probed: BTreeMap<Probe, Timestamp>,
    pub overlay: Overlay,
    /// Rises when something changes that plans or limits depend on: a node, a static pod of the control plane, the version
    /// that the API endpoint reports, or the image of an addon. A heartbeat does not raise it.
    pub nodes_generation: u64,
    /// Rises when a pod, a workload or a budget changes in a field that is kept. A new `resourceVersion` alone does
    /// not raise it.
    pub pods_generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    True,
    False,
    Unknown,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that Kubernetes tells")]
#[derive(Clone, Debug)]
pub struct Node {
    pub name: Id,
    pub uid: Id,
    pub resource_version: String,
    pub labels: Labels,
    pub zone: Id,
    pub control_plane: bool,
    pub kubelet: Option<Version>,
    /// When the node was first seen with this kubelet version, by our clock.
    pub kubelet_since: Timestamp,
    pub ready: Ready,
    pub ready_since: Timestamp,
    pub unschedulable: bool,
    /// Since when every look has found the node unschedulable, by our clock.
    pub unschedulable_since: Timestamp,
    pub claim: Option<ClaimState>,
    pub hold: Option<String>,
    pub taints: Vec<NodeTaint>,
    pub allocatable: Allocatable,
    /// True if the node has a taint by which an autoscaler marks it for removal.
    pub to_be_deleted: bool,
    /// True if the node has the annotation that keeps the autoscaler from removing it.
    pub scale_down_disabled: bool,
    /// When the node was made, by the API server's clock.
    pub joined: Timestamp,
    /// Since when the node says that it has no network: by our clock if we saw it; `None` if it does not say so.
    pub network_unavailable: Option<Timestamp>,
    /// True if no kubelet of Kubernetes runs it: a virtual kubelet stands for another system, and its version says
    /// nothing about skew. Its `kubelet` is `None`.
    pub virtual_kubelet: bool,
}

/// What the `ConfigMap` `upgrade-status` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    pub text: String,
    /// The number of the first entry that the text does not cover; `None` if the text was read from the cluster and
    /// not written by this process.
    pub of: Option<u64>,
}

/// The claim on a node. A claim that cannot be read still belongs to someone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    Ours(Claim),
    Unreadable(String),
}

/// A volume that is attached to a node, or on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub node: Id,
    /// The name of its `PersistentVolume`; `None` for a volume that is described in the attachment itself.
    pub volume: Option<Id>,
}

/// A claim that is bound to a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeClaim {
    pub volume: Id,
    /// True if several nodes may mount it at once.
    pub shared: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub uid: String,
    pub resource_version: String,
    pub node: String,
    pub run: String,
    pub component: String,
    pub target: String,
    pub state: JobState,
    /// True if it may have no pod: it was made so and has not begun, or was suspended again.
    pub suspended: bool,
    /// False if it still is as it was made: suspended, and never changed since. Nothing of it has run.
    pub begun: bool,
    /// True if it was made in the place of one that somebody deleted: that one may have changed the node.
    pub made_anew: bool,
    pub created: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It is suspended and has no pod: nothing of it runs.
    Suspended,
    /// No pod of it has started; why.
    Waiting(String),
    Running,
    Complete,
    Failed(String),
}

impl Live {
    /// Kinds of which the picture may be old, and why: the watch is broken or has been silent for too long. Nothing is
    /// taken out or newly changed on the strength of such a picture.
    pub fn not_current(&self, now: Timestamp) -> Vec<(&'static str, CallFailure)> {
        let broken = self.unseen.iter().map(|(kind, why)| (*kind, why.clone()));
        let silent = self.heard.iter().filter(|(_, at)| later(**at, SILENT) <= now);
        let silent = silent.filter(|(kind, _)| !self.unseen.contains_key(*kind));
        let text = || CallFailure::Other(format!("nothing was heard of them for {} s", SILENT.as_secs()));
        broken.chain(silent.map(|(kind, _)| (*kind, text()))).collect()
    }

    /// When the first kind will have been silent for too long, if nothing is heard of it until then.
    pub fn current_until(&self) -> Option<Timestamp> {
        self.heard.values().min().map(|at| later(*at, SILENT))
    }

    /// The state of an upgrade Job. While its only pod is Pending nothing has run, whatever the Job's status counts.
    pub fn job_state(&self, job: &Job) -> JobState {
        let mut pods = self.pods.of(&job.uid).peekable();
        let pending = pods.peek().is_some() && pods.all(|pod| pod.phase == Phase::Pending);
        match &job.state {
            JobState::Running if pending => {
                let why = self.job_words(job).map_or_else(String::new, |words| format!(": {words}"));
                JobState::Waiting(format!("its pod does not start{why}"))
            }
            // Its pod is there still, or again.
            JobState::Suspended if self.pods.of(&job.uid).next().is_some() => JobState::Running,
            state => state.clone(),
        }
    }

    /// The last words of a Job's pod: why it failed, or why it does not start; `None` if it has said nothing.
    pub fn job_words(&self, job: &Job) -> Option<&str> {
        self.pods.of(&job.uid).filter_map(|pod| pod.ending()?.said.as_deref()).last()
    }

    /// The exit code of a Job's pod; `None` while it runs, and if its pod or container was removed.
    pub fn job_exit_code(&self, job: &Job) -> Option<i32> {
        self.pods.of(&job.uid).filter_map(|pod| pod.ending()?.exit_code).last()
    }

    /// The version of one component on one node; `None` if it is unknown.
    pub fn runs(&self, component: Component, node: &str) -> Option<Version> {
        match component {
            Component::Kubelet => self.nodes.get(node)?.kubelet.clone(),
            Component::ControlPlane => self.servers_of(node),
        }
    }

    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Pod> {
        self.pods.on(node)
    }

    pub fn control_plane(&self) -> impl Iterator<Item = &Node> {
        self.nodes.control_plane()
    }

    /// What is known of a fact. It is unknown where the version is unknown, as while a static pod is not Ready.
    pub fn truth(&self, fact: &Fact) -> Truth {
        match fact {
            Fact::RunsAtLeast(component, node, version) => {
                Truth::of(self.runs(*component, node).map(|runs| runs.reaches(version)))
            }
            Fact::ControlPlaneAtLeast(version) => {
                let seen: Vec<_> = self
                    .api_servers_seen()
                    .into_iter()
                    .map(|(_, seen)| seen.map(|seen| seen.reaches(version)))
                    .collect();
                // One API server that is too old makes it false, whatever the others run.
                if seen.contains(&Some(false)) {
                    Truth::Fails
                } else if self.is_known_by_endpoint() && !self.api.agreed {
                    Truth::Unknown
                } else {
                    Truth::of(seen.into_iter().collect::<Option<Vec<_>>>().map(|_| true))
                }
            }
            Fact::Ready(node) => match self.nodes.get(node.as_str()).map(|node| node.ready) {
                Some(Ready::True) => Truth::Holds,
                Some(Ready::False) | None => Truth::Fails,
                Some(Ready::Unknown) => Truth::Unknown,
            },
            Fact::HasImage(workload, container, images) => {
                let read = self.addon_workloads.get(workload).map(|read| {
                    let runs = read.as_ref().and_then(|read| read.images.get(container));
                    runs.is_some_and(|runs| images.contains(&runs.image))
                });
                Truth::of(read)
            }
            Fact::HasVersion(workload, container, version) => {
                let read = self.addon_workloads.get(workload);
                let has = |read: &Option<WorkloadRead>| {
                    read.as_ref().is_some_and(|read| read.has_version(container, version))
                };
                Truth::of(read.map(has))
            }
            Fact::RolledOut(workload) => {
                let read = self.addon_workloads.get(workload);
                Truth::of(
                    read.map(|read| read.as_ref().is_some_and(|read| read.progress == Progress::Complete)),
                )
            }
            Fact::Applied(addon, contents) => {
                let read = self.addon_manifests.get(addon);
                Truth::of(read.and_then(|read| read.has_applied(contents)))
            }
            Fact::AppliedAndReady(addon, contents) => {
                let read = self.addon_manifests.get(addon);
                let read = read.filter(|read| contents.contains(&read.question.digest));
                Truth::of(
                    read.and_then(|read| Some(read.has_applied(contents)? && read.complete_since.is_some())),
                )
            }
            Fact::Removed(addon, object) => {
                let read = self.addon_manifests.get(addon);
                Truth::of(read.map(|read| read.gone.get(object).is_none_or(GoneObject::is_settled)))
            }
            Fact::Exists(of) => {
                Truth::of(Some(self.nodes.get(of.name.as_str()).is_some_and(|node| *node.uid == *of.uid)))
            }
        }
    }

    /// The objects of an addon, if what was asked about them is the content with this digest.
    pub fn manifests_of(&self, addon: &str, digest: &str) -> Option<&ManifestsRead> {
        self.addon_manifests.get(addon).filter(|read| read.question.digest == digest)
    }

    /// The budgets that cover a pod, by name.
    pub fn budgets_of(&self, pod: &Pod) -> Vec<NamedBudget<'_>> {
        self.budgets.of(pod)
    }
}

impl Node {
    /// `kubernetes.io/os`; Linux where no label says so.
    pub fn system(&self) -> &str {
        self.labels.get("kubernetes.io/os").map_or("linux", |system| system)
    }

    /// True if the node has our taint: it waits for its upgrade.
    pub fn is_outdated(&self) -> bool {
        self.taints.iter().any(NodeTaint::is_ours)
    }

    /// The taints of others.
    pub fn foreign_taints(&self) -> Vec<NodeTaint> {
        self.taints.iter().filter(|taint| !taint.is_ours()).cloned().collect()
    }

    /// True if the node has a cordon that Windlass must not remove: it is unschedulable, and no claim says that
    /// Windlass cordoned it.
    ///
    /// A claim alone does not make it false. A control plane node is claimed without a cordon while its control plane
    /// components are moved, and a person may cordon it meanwhile; or a person cordoned a node before Windlass
    /// claimed it. A claim that cannot be read proves nothing, so its node counts as cordoned by others.
    pub fn is_cordoned_by_others(&self) -> bool {
        let ours = match &self.claim {
            Some(ClaimState::Ours(claim)) => claim.cordoned && !claim.was_unschedulable,
            Some(ClaimState::Unreadable(_)) | None => false,
        };
        self.unschedulable && !ours
    }
}
