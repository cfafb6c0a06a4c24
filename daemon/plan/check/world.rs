//! The cluster as the checker takes it to be between two steps: one version per set of servers and per kubelet.

use std::collections::BTreeMap;

use crate::model::desired::{Cluster, Provider};
use crate::model::live::Live;
use crate::model::plan::{Component, Fact};
use crate::model::version::Version;

pub(super) struct World<'a> {
    /// By control plane node; where none can be seen, one entry for the front door.
    pub(super) servers: BTreeMap<&'a str, Version>,
    /// Of every node, also of those that nobody moves: they suffer what the servers do.
    pub(super) kubelets: BTreeMap<&'a str, Version>,
}

impl<'a> World<'a> {
    pub(super) fn of(cluster: &Cluster, live: &'a Live) -> Self {
        let api_servers = live.api_servers();
        let mut servers = BTreeMap::new();
        for node in live.nodes.values().filter(|node| node.control_plane) {
            let version = match cluster.control_plane.provider {
                Provider::Kubeadm => live.runs(Component::Servers, &node.name),
                Provider::External => api_servers.get(&node.name).cloned().flatten(),
            };
            if let Some(version) = version {
                servers.insert(&*node.name, version);
            }
        }
        if let (true, Some(version)) = (servers.is_empty(), &live.api.version) {
            servers.insert("kubernetes", version.clone());
        }
        let kubelets =
            live.nodes.values().filter_map(|node| Some((&*node.name, node.kubelet.clone()?))).collect();
        Self { servers, kubelets }
    }

    pub(super) fn oldest_server(&self) -> Option<&Version> {
        self.servers.values().min()
    }

    pub(super) fn newest_server(&self) -> Option<&Version> {
        self.servers.values().max()
    }

    pub(super) fn all_servers_to(&mut self, version: &Version) {
        for runs in self.servers.values_mut() {
            *runs = version.clone();
        }
    }

    /// Nodes whose kubelet is further behind the newest API server than Kubernetes supports.
    pub(super) fn too_old(&self) -> Vec<&'a str> {
        self.kubelets.iter().filter(|(_, runs)| self.is_too_old(runs)).map(|(name, _)| *name).collect()
    }

    /// Three minors behind is the most, and two for kubelets before 1.25.
    pub(super) fn is_too_old(&self, kubelet: &Version) -> bool {
        let minor = i32::from(kubelet.minor);
        let most = if minor < 25 { 2 } else { 3 };
        self.newest_server().is_some_and(|newest| i32::from(newest.minor) - minor > most)
    }

    /// Whether a fact would hold now. Health is not for a plan to say: a node that exists counts as Ready.
    pub(super) fn holds(&self, fact: &Fact, live: &Live) -> bool {
        match fact {
            Fact::Runs(Component::Servers, node, version) => self.servers.get(node.as_str()) == Some(version),
            Fact::Runs(Component::Kubelet, node, version) => {
                self.kubelets.get(node.as_str()) == Some(version)
            }
            Fact::ServersAtLeast(version) => {
                !self.servers.is_empty() && self.servers.values().all(|runs| runs >= version)
            }
            Fact::Ready(node) => live.nodes.contains_key(node.as_str()),
            Fact::Exists(node, uid) => live.nodes.get(node.as_str()).is_some_and(|node| *node.uid == **uid),
        }
    }
}
