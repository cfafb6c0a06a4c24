//! The cluster as it was last seen, compact: what the stages ask of it, and nothing that only Kubernetes needs.
//! Stale from the moment it exists. Filled by the `live` stage, read by all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::claim::Claim;
use super::desired::Selector;
use super::plan::{Component, Fact};
use super::version::Version;

pub use super::asked::{Api, Lock, Note, Probe};
pub use super::overlay::{
    Backoff, EVICTION, OUR_LEASE, OUR_NAMESPACE, Overlay, RESUME_NOTE, Refusal, RefusalKind, STATUS_MAP,
};

/// Names, namespaces, label keys and values, UIDs: interned, shared by all that mention them.
pub type Id = Arc<str>;

#[derive(Clone, Debug, Default)]
pub struct Live {
    /// UID of the namespace `kube-system`: which cluster this is.
    pub cluster_uid: Option<String>,
    pub nodes: BTreeMap<Id, Node>,
    /// By UID: a name alone may mean another pod a moment later.
    pub pods: BTreeMap<Id, Pod>,
    pub pods_of_node: BTreeMap<Id, BTreeSet<Id>>,
    pub pods_of_owner: BTreeMap<Id, BTreeSet<Id>>,
    pub budgets: BTreeMap<(Id, Id), Budget>,
    /// Controllers by UID.
    pub workloads: BTreeMap<Id, Workload>,
    /// The `ReplicaSet`s of each Deployment.
    pub sets_of: BTreeMap<Id, BTreeSet<Id>>,
    /// Our own Jobs by name.
    pub jobs: BTreeMap<String, Job>,
    /// Attached volumes by name of the attachment: the node.
    pub attachments: BTreeMap<Id, Id>,
    /// Whether every kind has been listed once: before that nothing may be concluded from an absence.
    pub complete: bool,
    /// Kinds whose list or watch does not come at present, and why.
    pub unseen: BTreeMap<String, String>,
    pub stop: Option<Note>,
    pub resume: Option<Note>,
    /// What the API server says of itself at its front door, and since when it has answered without a break.
    pub api: Api,
    /// Heartbeats of nodes in hand, as their kubelets wrote them: by their clocks, so only ever compared with each other.
    pub leases: BTreeMap<Id, String>,
    /// The lease that says who should act; nothing while it has not been looked at or does not exist.
    pub lock: Option<Lock>,
    /// What the `ConfigMap` `upgrade-status` holds; nothing while it has not been read.
    pub published: Option<String>,
    /// When each probe last answered, well or not.
    pub probed: BTreeMap<Probe, Timestamp>,
    pub overlay: Overlay,
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
    pub labels: BTreeMap<Id, Id>,
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
    pub volumes_in_use: u32,
    pub network_unavailable: bool,
}

/// A claim that cannot be read is somebody's all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    Ours(Claim),
    Unreadable(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OwnerKind {
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    Node,
    ReplicationController,
    /// Any other controller; it counts as managed.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub kind: OwnerKind,
    pub uid: Id,
    pub name: Id,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that Kubernetes tells")]
#[derive(Clone, Debug)]
pub struct Pod {
    pub uid: Id,
    pub resource_version: u64,
    pub namespace: Id,
    pub name: Id,
    pub node: Option<Id>,
    pub owner: Option<Owner>,
    pub labels: Arc<BTreeMap<Id, Id>>,
    pub phase: Phase,
    pub ready: bool,
    pub deleting: Option<Timestamp>,
    pub created: Timestamp,
    /// When we first saw it on its node, by our clock.
    pub arrived: Timestamp,
    pub grace_seconds: u32,
    pub mirror: bool,
    pub empty_dir: bool,
    /// It asks not to be disrupted (cluster-autoscaler's or Karpenter's annotation).
    pub do_not_disrupt: bool,
    /// Names of the claims whose volumes must be detached after it.
    pub volume_claims: Vec<Id>,
    /// All containers have ended, whatever keeps the object.
    pub containers_gone: bool,
    /// Of a static pod of the control plane.
    pub server: Option<Box<Server>>,
}

/// What one static pod of the control plane says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `kube-apiserver`, `kube-controller-manager`, `kube-scheduler` or `etcd`.
    pub component: Id,
    /// From the image that runs, not from the manifest; nothing where the tag is no version.
    pub version: Option<Version>,
    pub started: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub resource_version: u64,
    pub selector: Option<Selector>,
    pub disruptions_allowed: i32,
    pub current_healthy: i32,
    pub desired_healthy: i32,
    pub expected_pods: i32,
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
    /// Which watch brought it: what a list of that kind does not name is gone.
    pub watched: &'static str,
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
        let pods = self.pods_of_owner.get(job.uid.as_str()).into_iter().flatten();
        let mut pods = pods.filter_map(|uid| self.pods.get(uid)).peekable();
        let pending = pods.peek().is_some() && pods.all(|pod| pod.phase == Phase::Pending);
        match &job.state {
            JobState::Running if pending => JobState::Waiting("its pod does not start".to_owned()),
            state => state.clone(),
        }
    }

    /// What plans depend on: which nodes there are, and what runs on them.
    pub fn inventory(&self, hash: &mut impl std::hash::Hasher) {
        use std::hash::Hash;
        for node in self.nodes.values() {
            (&node.name, &node.uid, &node.kubelet, &node.labels, node.control_plane).hash(hash);
            if node.control_plane {
                self.servers_of(&node.name).hash(hash);
            }
        }
        self.api_servers().hash(hash);
    }

    /// The version of one component on one node, and where it was read; nothing when it is unknown.
    pub fn runs(&self, component: Component, node: &str) -> Option<Version> {
        match component {
            Component::Kubelet => self.nodes.get(node)?.kubelet.clone(),
            Component::Servers => self.servers_of(node),
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
        self.pods_of_node.get(node).into_iter().flatten().filter_map(|uid| self.pods.get(uid))
    }

    /// The pods of an owner as people know it: of a Deployment those of all its `ReplicaSet`s.
    pub fn pods_under(&self, top: &Id) -> impl Iterator<Item = &Pod> {
        let sets = self.sets_of.get(top).into_iter().flatten();
        let owners = std::iter::once(top.clone()).chain(sets.cloned());
        let pods = owners.flat_map(|uid| self.pods_of_owner.get(&uid).into_iter().flatten());
        pods.filter_map(|uid| self.pods.get(uid))
    }

    pub fn put_workload(&mut self, uid: Id, workload: Workload) {
        if let Some(parent) = &workload.parent {
            self.sets_of.entry(parent.clone()).or_default().insert(uid.clone());
        }
        self.workloads.insert(uid, workload);
    }

    pub fn drop_workload(&mut self, uid: &Id) {
        let parent = self.workloads.remove(uid).and_then(|workload| workload.parent);
        let Some(parent) = parent else { return };
        if let Some(sets) = self.sets_of.get_mut(&parent) {
            sets.remove(uid);
            if sets.is_empty() {
                self.sets_of.remove(&parent);
            }
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

    /// Whether a fact holds. What nobody saw holds of nothing.
    pub fn holds(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Runs(component, node, version) => {
                self.runs(*component, node).is_some_and(|runs| runs == *version)
            }
            Fact::ServersAtLeast(version) => {
                self.api_servers().values().all(|seen| seen.as_ref().is_some_and(|seen| seen >= version))
            }
            Fact::Ready(node) => self.nodes.get(node.as_str()).is_some_and(|node| node.ready == Ready::True),
            Fact::Exists(node, uid) => self.nodes.get(node.as_str()).is_some_and(|node| *node.uid == **uid),
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
        let first = (pod.namespace.clone(), Id::from(""));
        self.budgets.range(first..).take_while(|((namespace, _), _)| *namespace == pod.namespace).filter(
            |(_, budget)| {
                budget
                    .selector
                    .as_ref()
                    .is_some_and(|selector| selector.matches(|key| pod.labels.get(key).map(|value| &**value)))
            },
        )
    }
}

impl Pod {
    /// Of an upgrade Job.
    pub fn is_ours(&self) -> bool {
        &*self.namespace == "windlass-system" && self.labels.contains_key("windlass.dev/run")
    }

    pub fn finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// `pod/shop/cart-0`.
    pub fn object(&self) -> String {
        format!("pod/{}/{}", self.namespace, self.name)
    }
}

impl OwnerKind {
    pub fn noun(self) -> &'static str {
        match self {
            // People know the Deployment by whose name a ReplicaSet is called; a bare one is rare.
            Self::ReplicaSet => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::Job => "job",
            Self::Node => "node",
            Self::ReplicationController => "replicationcontroller",
            Self::Other => "owner",
        }
    }
}
