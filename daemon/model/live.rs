//! The cluster as it was last seen, compact: what the stages ask of it, and nothing that only Kubernetes needs.
//! Stale from the moment it exists. Filled by the `live` stage, read by all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::claim::Claim;
use super::desired::Selector;
use super::version::Version;
use super::work::{Component, Fact, Truth};

pub use super::asked::{Api, Lock, Note, Probe};
pub use super::effect::LongState;
pub use super::labels::Labels;
pub use super::overlay::{Backoff, Overlay, Refusal, RefusalKind};
pub use super::pod::{Owner, OwnerKind, Phase, Pod, Pods, Server};
pub use super::seconds::Seconds;
pub use super::uid::Uid;

/// Names, namespaces, label keys and values, UIDs: interned, shared by all that mention them.
pub type Id = Arc<str>;

#[derive(Clone, Debug, Default)]
pub struct Live {
    /// UID of the namespace `kube-system`: which cluster this is.
    pub cluster_uid: Option<String>,
    pub nodes: BTreeMap<Id, Node>,
    pub pods: Pods,
    pub budgets: BTreeMap<(Id, Id), Budget>,
    /// Controllers by UID.
    pub workloads: BTreeMap<Id, Workload>,
    /// The `ReplicaSet`s of each Deployment: UIDs of both.
    pub sets_of: BTreeSet<(Id, Id)>,
    /// Our own Jobs by name.
    pub jobs: BTreeMap<String, Job>,
    /// Nodes that bear a claim, readable or not.
    pub claimed: BTreeSet<Id>,
    /// Attached volumes by name of the attachment: the node.
    pub attachments: BTreeMap<Id, Id>,
    /// Whether every kind has been listed once: before that nothing may be concluded from an absence.
    pub complete: bool,
    /// Kinds whose list or watch does not come at present, by the name in the table of kinds, and why.
    pub unseen: BTreeMap<&'static str, String>,
    pub stop: Option<Note>,
    pub resume: Option<Note>,
    /// What the API server says of itself at its front door, and since when it has answered without a break.
    pub api: Api,
    /// Heartbeats of nodes in hand, as their kubelets wrote them: by their clocks, so only ever compared with each other.
    pub leases: BTreeMap<Id, String>,
    /// The lease that says who should act; nothing while it has not been looked at or does not exist.
    pub lock: Option<Lock>,
    /// What the `ConfigMap` `upgrade-status` holds; nothing while it has not been read.
    pub published: Option<Published>,
    /// Work that goes on for longer than any call, by name, as it was last seen. What is not in here is unknown.
    pub long: BTreeMap<String, LongState>,
    /// When each probe last answered, well or not.
    pub probed: BTreeMap<Probe, Timestamp>,
    pub overlay: Overlay,
    /// Rises whenever something changed that plans or limits depend on: in a node, in a static pod of the control
    /// plane, or in the version that the API endpoint tells. A heartbeat changes nothing.
    pub nodes_generation: u64,
    /// Rises whenever a pod, a workload or a budget says something new. A new `resourceVersion` alone is nothing new.
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
    /// When we first saw it report this version, by our clock.
    pub kubelet_since: Timestamp,
    pub ready: Ready,
    pub ready_since: Timestamp,
    pub unschedulable: bool,
    /// When we first saw it so, without a break since.
    pub unschedulable_since: Timestamp,
    pub claim: Option<ClaimState>,
    pub hold: Option<String>,
    /// Taints by which an autoscaler has marked the node for removal.
    pub to_be_deleted: bool,
    /// An autoscaler has been asked to leave the node alone.
    pub scale_down_disabled: bool,
    pub network_unavailable: bool,
}

/// What the `ConfigMap` `upgrade-status` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    pub text: String,
    /// Which entry of the journal comes after those that the text tells of; nothing where another process wrote it.
    pub of: Option<u64>,
}

/// A claim that cannot be read is somebody's all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    Ours(Claim),
    Unreadable(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub resource_version: u64,
    pub selector: Option<Selector>,
    pub disruptions_allowed: i32,
    pub current_healthy: i32,
    pub desired_healthy: i32,
    /// The status speaks of the present spec.
    pub observed: bool,
    /// The controller could not compute it (`SyncFailed`).
    pub sync_failed: bool,
    pub always_allow_unhealthy: bool,
    /// Names of pods whose eviction was accepted and that are not gone yet.
    pub disrupted: BTreeSet<Id>,
    /// It can never allow a disruption while the workload has the size it has, in words; see `live::budget`.
    pub never: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub kind: OwnerKind,
    pub namespace: Id,
    pub name: Id,
    pub replicas: u32,
    /// The Deployment over a `ReplicaSet`.
    pub parent: Option<Id>,
    /// Of a `DaemonSet`: it carries networking, proxy or storage.
    pub essential: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub uid: String,
    pub node: String,
    pub run: String,
    pub component: String,
    pub target: String,
    pub state: JobState,
    pub created: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// No pod of it has started.
    Waiting(String),
    Running,
    Complete,
    Failed(String),
}

impl Live {
    /// How a Job of ours stands. While its only pod is Pending nothing of it has begun, whatever the Job counts.
    pub fn job_state(&self, job: &Job) -> JobState {
        let mut pods = self.pods.of(&job.uid).peekable();
        let pending = pods.peek().is_some() && pods.all(|pod| pod.phase == Phase::Pending);
        match &job.state {
            JobState::Running if pending => JobState::Waiting("its pod does not start".to_owned()),
            state => state.clone(),
        }
    }

    /// The exit code of a Job's pod; nothing while it runs, and where its pod or its container was taken away.
    pub fn job_exit_code(&self, job: &Job) -> Option<i32> {
        self.pods.of(&job.uid).filter_map(|pod| pod.exit_code).last()
    }

    /// The version of one component on one node, and where it was read; nothing when it is unknown.
    pub fn runs(&self, component: Component, node: &str) -> Option<Version> {
        match component {
            Component::Kubelet => self.nodes.get(node)?.kubelet.clone(),
            Component::ControlPlane => self.servers_of(node),
        }
    }

    /// The oldest of the Kubernetes servers on a control plane node; nothing while one of them is not Ready.
    fn servers_of(&self, node: &str) -> Option<Version> {
        let mut oldest: Option<Version> = None;
        let mut api_server = false;
        for pod in self.pods_on(node) {
            let Some(server) = &pod.server else { continue };
            if &*server.component == "etcd" {
                continue;
            }
            if !pod.ready || pod.deleting.is_some() {
                return None;
            }
            api_server |= &*server.component == "kube-apiserver";
            let version = server.version.clone()?;
            oldest = Some(oldest.map_or(version.clone(), |oldest| oldest.min(version)));
        }
        oldest.filter(|_| api_server)
    }

    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Pod> {
        self.pods.on(node)
    }

    /// The pods of an owner as people know it: of a Deployment those of all its `ReplicaSet`s.
    pub fn pods_under(&self, top: &Id) -> impl Iterator<Item = &Pod> {
        let first = (top.clone(), Id::default());
        let of_top = top.clone();
        let sets = self.sets_of.range(first..).take_while(move |(parent, _)| *parent == of_top);
        self.pods.of(top).chain(sets.flat_map(|(_, set)| self.pods.of(set)))
    }

    pub fn put_workload(&mut self, uid: Id, workload: Workload) {
        if let Some(parent) = &workload.parent {
            self.sets_of.insert((parent.clone(), uid.clone()));
        }
        self.workloads.insert(uid, workload);
    }

    pub fn drop_workload(&mut self, uid: &Id) {
        let parent = self.workloads.remove(uid).and_then(|workload| workload.parent);
        if let Some(parent) = parent {
            self.sets_of.remove(&(parent, uid.clone()));
        }
    }

    pub fn control_plane(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.control_plane)
    }

    /// The version of each API server by node, with its source; a hosted control plane has one, from its front door.
    pub fn api_servers(&self) -> BTreeMap<Id, Option<Version>> {
        let servers: BTreeMap<_, _> =
            self.control_plane().map(|node| (node.name.clone(), self.api_server_of(node))).collect();
        match servers.len() {
            0 => BTreeMap::from([(Id::from("kubernetes"), self.api.version.clone())]),
            // With one instance the front door is that instance.
            1 => servers
                .into_iter()
                .map(|(name, version)| (name, version.or(self.api.version.clone())))
                .collect(),
            _ => servers,
        }
    }

    fn api_server_of(&self, node: &Node) -> Option<Version> {
        self.pods_on(&node.name)
            .find(|pod| pod.server.as_ref().is_some_and(|server| &*server.component == "kube-apiserver"))
            .filter(|pod| pod.ready && pod.deleting.is_none())
            .and_then(|pod| pod.server.as_ref()?.version.clone())
    }

    /// What is known of a fact. Unknown where the version is not told, as while a static pod is not Ready.
    pub fn truth(&self, fact: &Fact) -> Truth {
        match fact {
            Fact::RunsAtLeast(component, node, version) => {
                Truth::of(self.runs(*component, node).map(|runs| runs >= *version))
            }
            Fact::ControlPlaneAtLeast(version) => {
                let seen: Vec<_> =
                    self.api_servers().into_values().map(|seen| seen.map(|seen| seen >= *version)).collect();
                // One that is too old decides, whatever the others are.
                if seen.contains(&Some(false)) {
                    Truth::Fails
                } else {
                    Truth::of(seen.into_iter().collect::<Option<Vec<_>>>().map(|_| true))
                }
            }
            Fact::Ready(node) => match self.nodes.get(node.as_str()).map(|node| node.ready) {
                Some(Ready::True) => Truth::Holds,
                Some(Ready::False) | None => Truth::Fails,
                Some(Ready::Unknown) => Truth::Unknown,
            },
            Fact::Exists(of) => {
                Truth::of(Some(self.nodes.get(of.name.as_str()).is_some_and(|node| *node.uid == *of.uid)))
            }
        }
    }

    /// The controller that people know: the Deployment over a `ReplicaSet`, else the owner itself.
    pub fn top_owner(&self, owner: &Owner) -> Id {
        self.workloads
            .get(&owner.uid)
            .and_then(|workload| workload.parent.clone())
            .unwrap_or(owner.uid.clone())
    }

    /// `deployment/shop/cart` or as near as can be said.
    pub fn owner_name(&self, uid: &Id) -> String {
        self.workloads.get(uid).map_or_else(
            || format!("owner/{uid}"),
            |w| format!("{}/{}/{}", w.kind.noun(), w.namespace, w.name),
        )
    }

    pub fn budgets_of<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = (&'a (Id, Id), &'a Budget)> {
        let first = (pod.namespace.clone(), Id::default());
        let there = self.budgets.range(first..).take_while(|((namespace, _), _)| *namespace == pod.namespace);
        there.filter(|(_, budget)| budget.selects(pod))
    }
}

impl Node {
    /// Whether a cordon stands on the node that is not ours to take away: it is unschedulable, and no claim of ours
    /// says that we made it so.
    ///
    /// The claim alone does not answer it. A control plane node is claimed without a cordon while its control plane
    /// is moved, and a person may cordon it in the meantime; a node may also have been cordoned before we claimed it.
    /// A claim that cannot be read proves nothing, so its node counts as cordoned by others.
    pub fn is_cordoned_by_others(&self) -> bool {
        let ours = match &self.claim {
            Some(ClaimState::Ours(claim)) => claim.cordoned && !claim.was_unschedulable,
            Some(ClaimState::Unreadable(_)) | None => false,
        };
        self.unschedulable && !ours
    }
}

impl Budget {
    /// Whether it covers a pod of its namespace.
    pub fn selects(&self, pod: &Pod) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.selects(&pod.labels))
    }
}
