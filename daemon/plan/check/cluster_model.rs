//! The checker's model of the cluster between two steps: one version per control plane node and per kubelet.

use std::collections::BTreeMap;

use crate::model::addon::WorkloadRef;
use crate::model::desired::Cluster;
use crate::model::live::Live;
use crate::model::plan::{Component, Fact, Truth};
use crate::model::version::Version;
use crate::provider::{VersionSource, capabilities};

pub(super) struct ClusterModel<'a> {
    /// By control plane node; one entry for the API endpoint if no control plane node is visible.
    pub(super) control_plane: BTreeMap<&'a str, Version>,
    /// The kubelets of all nodes. Nodes that the plan does not move are included, because the version skew counts for
    /// them too.
    pub(super) kubelets: BTreeMap<&'a str, Version>,
    /// What addons' steps have given their containers so far, by workload and container.
    pub(super) images: BTreeMap<(&'a WorkloadRef, &'a str), &'a str>,
    /// What was checked so far, with the version that it has at least.
    pub(super) checked: BTreeMap<&'a WorkloadRef, Option<&'a str>>,
    /// The digests of the manifests that addons' steps have applied so far, by addon.
    pub(super) manifests: BTreeMap<&'a str, &'a str>,
}

impl<'a> ClusterModel<'a> {
    pub(super) fn of(cluster: &Cluster, live: &'a Live) -> Self {
        let source = capabilities(cluster.control_plane.provider).versions;
        let api_servers = live.api_servers();
        let mut control_plane = BTreeMap::new();
        for node in live.nodes.values().filter(|node| node.control_plane) {
            let version = match source {
                VersionSource::StaticPods => live.runs(Component::ControlPlane, &node.name),
                VersionSource::ApiServers => api_servers.get(&node.name).cloned().flatten(),
            };
            if let Some(version) = version {
                control_plane.insert(&*node.name, version);
            }
        }
        if let (true, Some(version)) = (control_plane.is_empty(), &live.api.version) {
            control_plane.insert("kubernetes", version.clone());
        }
        let kubelets =
            live.nodes.values().filter_map(|node| Some((&*node.name, node.kubelet.clone()?))).collect();
        Self {
            control_plane,
            kubelets,
            images: BTreeMap::new(),
            checked: BTreeMap::new(),
            manifests: BTreeMap::new(),
        }
    }

    pub(super) fn oldest_api_server(&self) -> Option<&Version> {
        Version::oldest(self.control_plane.values())
    }

    pub(super) fn newest_api_server(&self) -> Option<&Version> {
        Version::newest(self.control_plane.values())
    }

    pub(super) fn move_whole_control_plane(&mut self, version: &Version) {
        for runs in self.control_plane.values_mut() {
            *runs = version.clone();
        }
    }

    /// Nodes whose kubelet is further behind the newest API server than Kubernetes supports.
    pub(super) fn too_old(&self) -> Vec<&'a str> {
        self.kubelets.iter().filter(|(_, runs)| self.is_too_old(runs)).map(|(name, _)| *name).collect()
    }

    /// True if the kubelet is more than three minors behind the newest API server, or more than two for a kubelet
    /// before v1.25. This repeats the planner's rule on purpose: a check that called the planner's code would agree
    /// with its mistakes.
    pub(super) fn is_too_old(&self, kubelet: &Version) -> bool {
        let minor = i32::from(kubelet.minor);
        let most = if minor < 25 { 2 } else { 3 };
        self.newest_api_server().is_some_and(|newest| i32::from(newest.minor) - minor > most)
    }

    /// What is known of a fact now. A plan says nothing about health: every node that exists counts as Ready.
    pub(super) fn truth(&self, fact: &Fact, live: &Live) -> Truth {
        let at_least =
            |runs: Option<&Version>, version: &Version| Truth::of(runs.map(|runs| runs.reaches(version)));
        match fact {
            Fact::RunsAtLeast(Component::ControlPlane, node, version) => {
                at_least(self.control_plane.get(node.as_str()), version)
            }
            Fact::RunsAtLeast(Component::Kubelet, node, version) => {
                at_least(self.kubelets.get(node.as_str()), version)
            }
            Fact::ControlPlaneAtLeast(version) => at_least(self.oldest_api_server(), version),
            Fact::HasImage(workload, container, images) => {
                let given = self.images.get(&(workload, container.as_str()));
                Truth::of(Some(given.is_some_and(|given| images.contains(given))))
            }
            Fact::Applied(addon, contents) | Fact::AppliedAndReady(addon, contents) => {
                let given = self.manifests.get(addon.as_str());
                Truth::of(Some(given.is_some_and(|given| contents.contains(given))))
            }
            Fact::Removed(addon, _) => Truth::of(Some(self.manifests.contains_key(addon.as_str()))),
            Fact::HasVersion(workload, _, version) => {
                Truth::of(Some(self.checked.get(workload) == Some(&Some(version.as_str()))))
            }
            Fact::RolledOut(workload) => {
                let there = live.addon_workloads.contains_key(workload);
                Truth::of(Some(there || self.checked.contains_key(workload)))
            }
            Fact::Ready(node) => Truth::of(Some(live.nodes.contains_key(node.as_str()))),
            Fact::Exists(of) => {
                Truth::of(Some(live.nodes.get(of.name.as_str()).is_some_and(|node| *node.uid == *of.uid)))
            }
        }
    }
}
