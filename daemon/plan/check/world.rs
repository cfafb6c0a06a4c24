//! The cluster as the checker takes it to be between two steps: one version per set of servers and per kubelet.

use std::collections::BTreeMap;

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
    pub(super) fn of(live: &'a Live) -> Self {
        let mut servers = BTreeMap::new();
        for node in live.nodes.values().filter(|node| node.control_plane) {
            // A node that is seen but says nothing of its servers may still be the only one behind the front door.
            let front_door = || live.api_servers().get(&node.name).cloned().flatten();
            if let Some(version) = live.runs(Component::Servers, &node.name).or_else(front_door) {
                servers.insert(&*node.name, version);
            }
        }
        if let (true, Some(version)) = (servers.is_empty(), &live.api.version) {
            servers.insert("kubernetes", version.clone());
        }
        let kubelets = live.nodes.values().filter_map(|node| Some((&*node.name, node.kubelet.clone()?))).collect();
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

    /// Nodes whose kubelet is further behind the newest API server than Kubernetes supports: three minors,
    /// and two for kubelets before 1.25.
    pub(super) fn too_old(&self) -> impl Iterator<Item = String> + use<> {
        let newest = self.newest_server().map_or(0, |version| i32::from(version.minor));
        let late = |runs: &Version| {
            let minor = i32::from(runs.minor);
            newest - minor > if minor < 25 { 2 } else { 3 }
        };
        let names: Vec<_> =
            self.kubelets.iter().filter(|(_, runs)| late(runs)).map(|(name, _)| (*name).to_owned()).collect();
        names.into_iter()
    }

    /// Whether a fact would hold now. Health is not for a plan to say: a node that exists counts as Ready.
    pub(super) fn holds(&self, fact: &Fact, live: &Live) -> bool {
        match fact {
            Fact::Runs(Component::Servers, node, version) => self.servers.get(node.as_str()) == Some(version),
            Fact::Runs(Component::Kubelet, node, version) => self.kubelets.get(node.as_str()) == Some(version),
            Fact::ServersAtLeast(version) => {
                !self.servers.is_empty() && self.servers.values().all(|runs| runs >= version)
            }
            Fact::Ready(node) => live.nodes.contains_key(node.as_str()),
            Fact::Exists(node, uid) => live.nodes.get(node.as_str()).is_some_and(|node| *node.uid == **uid),
        }
    }
}
