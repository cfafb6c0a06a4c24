//! The control plane as its pods show it: which pod is which component of which node, and which versions run. It does
//! not know who upgrades them, nor whether one may be away.

use std::collections::BTreeMap;

use super::live::{Id, Live, Node};
use super::names::NOTES;
use super::pod::{Owner, OwnerKind, Pod, Server};
use super::version::Version;

/// The components whose version is that of a control plane node. etcd has versions of its own.
const VERSIONED: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
const ETCD: &str = "etcd";

/// The component that a pod is by its own fields; `None` if it is no static pod of the control plane.
///
/// Labels are not asked: everybody who may create a pod may write `component: etcd` on it, and addons of the control
/// plane bear `tier: control-plane` too. A static pod is shown by a mirror pod, whose controller is its node and whose
/// name ends in the name of the node; and only few may create pods in `kube-system`.
/// [`Live::static_pods`] also compares the UID of the node.
pub fn component(
    pod: (&str, &str),
    mirror: bool,
    owner: Option<&Owner>,
    node: Option<&str>,
) -> Option<&'static str> {
    let ((namespace, name), node) = (pod, node?);
    let of_node = owner.is_some_and(|owner| owner.kind == OwnerKind::Node && *owner.name == *node);
    if namespace != NOTES || !mirror || !of_node {
        return None;
    }
    let file = name.strip_suffix(node)?.strip_suffix('-')?;
    VERSIONED.into_iter().chain([ETCD]).find(|component| *component == file)
}

impl Live {
    /// The static pods of the control plane on one node, whatever their state. This and [`component`] alone decide
    /// which pods those are.
    pub fn static_pods<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = (&'a Pod, &'a Server)> {
        self.pods.servers().filter(|(pod, _)| {
            let owned = pod.owner.as_ref().is_some_and(|owner| owner.uid == node.uid);
            owned && pod.node.as_ref() == Some(&node.name)
        })
    }

    /// The static pods of etcd on all control plane nodes: those of its members that the cluster shows.
    pub fn etcd_pods(&self) -> impl Iterator<Item = (&Node, &Pod)> {
        self.control_plane().flat_map(|node| {
            let pods = self.static_pods(node).filter(|(_, server)| &*server.component == ETCD);
            pods.map(move |(pod, _)| (node, pod))
        })
    }

    /// The oldest of API server, controller manager and scheduler on a control plane node; `None` while one of them
    /// is missing or not Ready, or its version is unknown.
    pub(super) fn servers_of(&self, node: &str) -> Option<Version> {
        let node = self.nodes.get(node)?;
        let versions: Option<Vec<_>> =
            VERSIONED.iter().map(|component| self.server_version(node, component)).collect();
        Version::oldest(versions?).cloned()
    }

    /// The version of each API server by node. A hosted control plane has one entry, with the version of its API
    /// endpoint.
    ///
    /// Where no control plane node shows a static pod of an API server, something else than kubeadm runs them. k3s is
    /// one program: the kubelet of a control plane node tells its version. Otherwise the API endpoint has to answer for
    /// all of them.
    pub fn api_servers(&self) -> BTreeMap<Id, Option<Version>> {
        self.api_servers_seen().into_iter().map(|(node, version)| (node, version.cloned())).collect()
    }

    /// The same, in the order of the nodes and without copies of the versions.
    pub(super) fn api_servers_seen(&self) -> Vec<(Id, Option<&Version>)> {
        let shown =
            |node| self.static_pods(node).any(|(_, server)| VERSIONED.first() == Some(&&*server.component));
        let hidden = !self.control_plane().any(shown);
        let front_door = || self.api.version.as_ref();
        let mut servers = Vec::new();
        for node in self.control_plane() {
            let version = match &node.kubelet {
                Some(kubelet) if hidden && kubelet.is_one_program() => Some(kubelet),
                Some(_) | None if hidden => front_door(),
                Some(_) | None => self.server_version(node, "kube-apiserver"),
            };
            servers.push((node.name.clone(), version));
        }
        match servers.len() {
            0 => vec![(Id::from("kubernetes"), front_door())],
            // With one instance, the API endpoint is that instance.
            1 => servers.into_iter().map(|(name, version)| (name, version.or_else(front_door))).collect(),
            _ => servers,
        }
    }

    /// True if the version of the control plane is known by the answers of its endpoint alone, behind which there may be
    /// several API servers.
    pub fn is_known_by_endpoint(&self) -> bool {
        let shown =
            |node| self.static_pods(node).any(|(_, server)| VERSIONED.first() == Some(&&*server.component));
        let one_program =
            |node: &Node| node.kubelet.as_ref().is_some_and(super::version::Version::is_one_program);
        match self.control_plane().count() {
            // The API endpoint is that instance.
            1 => false,
            0 => true,
            _ => !self.control_plane().any(shown) && !self.control_plane().all(one_program),
        }
    }

    /// The version of one component on a node; `None` while its static pod is missing, not Ready or being deleted.
    fn server_version<'a>(&'a self, node: &'a Node, component: &str) -> Option<&'a Version> {
        let (pod, server) = self.static_pods(node).find(|(_, server)| &*server.component == component)?;
        server.version.as_ref().filter(|_| pod.ready && pod.deleting.is_none())
    }
}
