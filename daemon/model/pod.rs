//! Pods, by far the most numerous objects of a cluster. Each is stored once, compactly, and is found by UID, node or
//! owner.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::labels::Labels;
use super::live::Id;
use super::names;
use super::room::Requests;
use super::seconds::Seconds;
use super::uid::Uid;
use super::version::Version;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

/// A kind of controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnerKind {
    /// The owner of a `ReplicaSet`, never of a pod.
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    Node,
    ReplicationController,
    /// Any other controller. Its pods count as managed.
    Other,
}

impl OwnerKind {
    pub fn noun(self) -> &'static str {
        match self {
            // People know the Deployment after which a ReplicaSet is named; a ReplicaSet without one is rare.
            Self::Deployment | Self::ReplicaSet => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::Job => "job",
            Self::Node => "node",
            Self::ReplicationController => "replicationcontroller",
            Self::Other => "owner",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    pub kind: OwnerKind,
    pub uid: Id,
    pub name: Id,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own that Kubernetes tells")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub uid: Uid,
    pub resource_version: u64,
    pub namespace: Id,
    /// No other object contains it, so it is not shared.
    pub name: Box<str>,
    pub node: Option<Id>,
    pub owner: Option<Arc<Owner>>,
    /// Shared by all pods with the same labels.
    pub labels: Arc<Labels>,
    pub phase: Phase,
    pub ready: bool,
    /// When the grace period of a pod that is being deleted ends; `None` for a pod that is not.
    pub deleting: Option<Seconds>,
    pub created: Seconds,
    /// When the pod was first seen on its node, by our clock.
    pub arrived: Seconds,
    pub grace_seconds: u32,
    pub requests: Requests,
    /// How many seconds after its creation it was Ready, the last time that it became so; 0 if it is not Ready.
    pub ready_after: u16,
    pub mirror: bool,
    pub empty_dir: bool,
    /// True if it asks not to be disrupted (an annotation of cluster-autoscaler or Karpenter).
    pub do_not_disrupt: bool,
    /// True if all containers have ended, even while something keeps the object.
    pub containers_gone: bool,
    /// `None` if it has none of it. See [`Pod::claims`], [`Pod::ending`] and [`Pod::server`].
    pub seldom: Option<Box<Seldom>>,
}

/// What few pods have. It is kept apart, so that all others need no room for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seldom {
    pub claims: Box<[Id]>,
    pub ending: Option<Ending>,
    pub server: Option<Server>,
    pub restarted: Option<Restart>,
}

impl Seldom {
    /// `None` if there is nothing in it.
    pub fn kept(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// That a container which had ended was started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// By the kubelet's clock, which may differ from ours.
    pub started: Timestamp,
    /// When it was first seen, by our clock.
    pub seen: Timestamp,
}

/// How the only container of a pod ended, or why it does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// `None` until it has ended.
    pub exit_code: Option<i32>,
    /// Of the pod of an upgrade Job: how its container ended in its own words, or why it does not start.
    pub said: Option<Box<str>>,
}

/// One control plane component, as its static pod shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `kube-apiserver`, `kube-controller-manager`, `kube-scheduler` or `etcd`.
    pub component: Id,
    /// The version of the running image, not of the manifest; `None` if the tag is no version.
    pub version: Option<Version>,
    pub started: Option<Timestamp>,
}

impl Pod {
    /// True if it is the pod of an upgrade Job.
    pub fn is_ours(&self) -> bool {
        &*self.namespace == names::NAMESPACE && self.labels.contains_key(names::RUN)
    }

    /// The volume claims that it mounts, by name.
    pub fn claims(&self) -> &[Id] {
        self.seldom.as_ref().map_or(&[], |seldom| &seldom.claims)
    }

    /// How its only container ended, or why it does not start; `None` while neither is known.
    pub fn ending(&self) -> Option<&Ending> {
        self.seldom.as_ref()?.ending.as_ref()
    }

    /// Set for a static pod of the control plane.
    pub fn server(&self) -> Option<&Server> {
        self.seldom.as_ref()?.server.as_ref()
    }

    /// When a container of it that had ended was last seen to be started again, by our clock.
    pub fn restarted(&self) -> Option<Timestamp> {
        Some(self.seldom.as_ref()?.restarted?.seen)
    }

    pub fn finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// The name of an owner of which nothing but its pods is known: `owner/shop/pg`.
    pub fn owner_name(&self) -> String {
        let owner = self.owner.as_ref().map_or("none", |owner| &owner.name);
        format!("owner/{}/{owner}", self.namespace)
    }

    /// `pod/shop/cart-0`.
    pub fn object(&self) -> String {
        format!("pod/{}/{}", self.namespace, self.name)
    }
}

/// All pods of a cluster, ordered by UID: a name alone may mean another pod a moment later.
#[derive(Clone, Debug, Default)]
pub struct Pods {
    all: BTreeSet<ByUid>,
    of_node: BTreeMap<Id, BTreeSet<ByUid>>,
    of_owner: BTreeMap<Id, BTreeSet<ByUid>>,
    /// Pods without a controller.
    unowned: BTreeSet<ByUid>,
    /// Static pods of the control plane.
    servers: BTreeSet<ByUid>,
}

/// A pod, ordered by its UID.
#[derive(Clone, Debug)]
pub struct ByUid(Arc<Pod>);

impl Borrow<Uid> for ByUid {
    fn borrow(&self) -> &Uid {
        &self.0.uid
    }
}

impl Ord for ByUid {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.uid.cmp(&other.0.uid)
    }
}

impl PartialOrd for ByUid {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByUid {
    fn eq(&self, other: &Self) -> bool {
        self.0.uid == other.0.uid
    }
}

impl Eq for ByUid {}

impl Pods {
    pub fn get(&self, uid: &Uid) -> Option<&Pod> {
        self.all.get(uid).map(|pod| &*pod.0)
    }

    pub fn values(&self) -> impl Iterator<Item = &Pod> {
        self.all.iter().map(|pod| &*pod.0)
    }

    /// All of them, by reference.
    pub fn all(&self) -> &BTreeSet<ByUid> {
        &self.all
    }

    /// The pods on one node.
    pub fn on(&self, node: &str) -> impl Iterator<Item = &Pod> + use<'_> {
        self.of_node.get(node).into_iter().flatten().map(|pod| &*pod.0)
    }

    /// The pods whose controller has this UID.
    pub fn of(&self, owner: &str) -> impl Iterator<Item = &Pod> + use<'_> {
        self.of_owner.get(owner).into_iter().flatten().map(|pod| &*pod.0)
    }

    /// The pods of each controller in turn.
    pub fn by_owner(&self) -> impl Iterator<Item = impl Iterator<Item = &Pod>> {
        self.of_owner.values().map(|pods| pods.iter().map(|pod| &*pod.0))
    }

    /// Pods without a controller.
    pub fn unowned(&self) -> impl Iterator<Item = &Pod> {
        self.unowned.iter().map(|pod| &*pod.0)
    }

    /// Static pods of the control plane.
    pub fn servers(&self) -> impl Iterator<Item = (&Pod, &Server)> {
        self.servers.iter().filter_map(|pod| Some((&*pod.0, pod.0.server()?)))
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds a pod, or replaces the pod that has its UID.
    pub fn put(&mut self, pod: Pod) {
        self.remove(&pod.uid);
        let pod = ByUid(Arc::new(pod));
        if let Some(node) = &pod.0.node {
            self.of_node.entry(node.clone()).or_default().insert(pod.clone());
        }
        let owned = pod.0.owner.as_ref().map(|owner| self.of_owner.entry(owner.uid.clone()).or_default());
        owned.unwrap_or(&mut self.unowned).insert(pod.clone());
        if pod.0.server().is_some() {
            self.servers.insert(pod.clone());
        }
        self.all.insert(pod);
    }

    pub fn remove(&mut self, uid: &Uid) -> Option<Arc<Pod>> {
        let ByUid(pod) = self.all.take(uid)?;
        if let Some(node) = &pod.node {
            take_out(&mut self.of_node, node, uid);
        }
        match &pod.owner {
            Some(owner) => take_out(&mut self.of_owner, &owner.uid, uid),
            None => drop(self.unowned.remove(uid)),
        }
        if pod.server().is_some() {
            self.servers.remove(uid);
        }
        Some(pod)
    }
}

fn take_out(groups: &mut BTreeMap<Id, BTreeSet<ByUid>>, group: &Id, uid: &Uid) {
    let Some(pods) = groups.get_mut(group) else { return };
    pods.remove(uid);
    if pods.is_empty() {
        groups.remove(group);
    }
}
