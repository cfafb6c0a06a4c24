//! What runs compared with the desired state: one change per component and node that differs. It decides no order and
//! no steps, and not whether a change may be made.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::model::desired::{Cluster, Desired, Pool};
use crate::model::live::{Live, Node, OwnerKind, Pod};
use crate::model::plan::{Component, Scope};
use crate::model::version::Version;
use crate::provider::{VersionSource, capabilities};

/// One component of one node that does not run the desired version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `None` for a node that no single pool selects; Windlass does not upgrade it.
    pub scope: Option<Scope>,
    pub component: Component,
    /// `None` while it is unknown.
    pub from: Option<Version>,
    pub to: Version,
    /// `None` for a control plane whose nodes are not in the cluster.
    pub node: Option<String>,
    /// How many pods a drain would evict from the node, counted now.
    pub pods: u32,
}

/// Which part of the cluster a node belongs to.
#[derive(Clone, Debug, PartialEq)]
pub enum Membership<'a> {
    /// The node has the control plane role label. Pools that select it as well are ignored.
    ControlPlane,
    Pool(&'a Pool),
    Nowhere,
    Several(Vec<&'a Pool>),
    /// Windlass cannot move it, whatever pool selects it.
    Beyond(Beyond<'a>),
}

/// Why a node cannot be moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beyond<'a> {
    /// It stands for another system, which has versions of its own.
    VirtualKubelet,
    /// The provider of its pool works on another operating system than the node has.
    System(&'a Pool),
}

impl Membership<'_> {
    /// The scope of the node; `None` if no pool, or more than one, selects it, or if Windlass cannot move it.
    pub fn scope(&self) -> Option<Scope> {
        match self {
            Self::ControlPlane => Some(Scope::ControlPlane),
            Self::Pool(pool) => Some(Scope::Pool(pool.name.clone())),
            Self::Nowhere | Self::Several(_) | Self::Beyond(_) => None,
        }
    }

    /// The name of that scope; `None` where there is none.
    pub fn scope_name(&self) -> Option<&str> {
        match self {
            Self::ControlPlane => Some(Scope::CONTROL_PLANE),
            Self::Pool(pool) => Some(&pool.name),
            Self::Nowhere | Self::Several(_) | Self::Beyond(_) => None,
        }
    }
}

impl fmt::Display for Beyond<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VirtualKubelet => out.write_str(
                "it is a virtual kubelet: it stands for another system, and its version does not count here",
            ),
            Self::System(pool) => {
                let system = capabilities(pool.provider).system.unwrap_or("any system");
                write!(
                    out,
                    "the provider of pool {} upgrades nodes of {system} only: it is not touched; upgrade it by hand, \
                     or put it in a pool with `provider: external`",
                    pool.name
                )
            }
        }
    }
}

/// Every component that does not run the desired version, control plane first, then by pool and node.
pub fn diff(desired: &Desired, live: &Live) -> Vec<Change> {
    let to = &desired.cluster.version;
    let change =
        |scope, component, node, from, pods| Change { scope, component, from, to: to.clone(), node, pods };
    let mut changes = Vec::new();
    for (name, from) in control_plane_versions(&desired.cluster, live) {
        if from.as_ref().is_none_or(|from| !from.is_as(to)) {
            let node = live.nodes.contains_key(name.as_str()).then_some(name);
            changes.push(change(Some(Scope::ControlPlane), Component::ControlPlane, node, from, 0));
        }
    }
    let leaving = leaving(live);
    let differs =
        |node: &&Node| !node.virtual_kubelet && node.kubelet.as_ref().is_none_or(|runs| !runs.is_as(to));
    for node in live.nodes.values().filter(differs) {
        let scope = membership(&desired.cluster, node).scope();
        let pods = leaving.get(&*node.name).copied().unwrap_or_default();
        changes.push(change(
            scope,
            Component::Kubelet,
            Some(node.name.to_string()),
            node.kubelet.clone(),
            pods,
        ));
    }
    let rank = |change: &Change| match &change.scope {
        Some(Scope::ControlPlane) => 0,
        Some(Scope::Pool(_) | Scope::Addon(_) | Scope::Check(_)) => 1,
        None => 2,
    };
    changes.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| in_order(a, b)));
    changes
}

/// The order of changes in one part of the cluster. Changes from the same version are neighbours: people see them as
/// one line.
fn in_order(a: &Change, b: &Change) -> Ordering {
    let from = match (&a.from, &b.from) {
        (Some(a), Some(b)) => a.sorted_against(b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    (&a.scope, a.component).cmp(&(&b.scope, b.component)).then(from).then_with(|| a.node.cmp(&b.node))
}

/// The control plane version on each control plane node, `None` where it is unknown. If no control plane node is
/// visible, the map has one entry under the name of the API endpoint; for a provider that moves control plane nodes
/// itself the map is then empty.
pub fn control_plane_versions(cluster: &Cluster, live: &Live) -> BTreeMap<String, Option<Version>> {
    match capabilities(cluster.control_plane.provider).versions {
        VersionSource::StaticPods => live
            .control_plane()
            .map(|node| (node.name.to_string(), live.runs(Component::ControlPlane, &node.name)))
            .collect(),
        VersionSource::ApiServers => {
            live.api_servers().into_iter().map(|(name, version)| (name.to_string(), version)).collect()
        }
    }
}

/// Which pool a node belongs to.
pub fn membership<'a>(cluster: &'a Cluster, node: &Node) -> Membership<'a> {
    if node.virtual_kubelet {
        return Membership::Beyond(Beyond::VirtualKubelet);
    }
    if node.control_plane {
        return Membership::ControlPlane;
    }
    let mut pools = cluster.pools.iter().filter(|pool| pool.selector.selects(&node.labels));
    match (pools.next(), pools.next()) {
        (None, _) => Membership::Nowhere,
        (Some(pool), None) => match capabilities(pool.provider).system {
            Some(system) if system != node.system() => Membership::Beyond(Beyond::System(pool)),
            Some(_) | None => Membership::Pool(pool),
        },
        (Some(first), Some(second)) => {
            Membership::Several([first, second].into_iter().chain(pools).collect())
        }
    }
}

/// True if a drain evicts this pod: it has not finished, and it is neither a mirror pod nor a pod of a `DaemonSet` or of
/// an upgrade Job.
pub fn leaves(pod: &Pod) -> bool {
    let of_the_node =
        pod.owner.as_ref().is_some_and(|owner| matches!(owner.kind, OwnerKind::DaemonSet | OwnerKind::Node));
    !pod.mirror && !of_the_node && !pod.is_ours() && !pod.finished()
}

/// How many pods a drain would evict, by node.
fn leaving(live: &Live) -> BTreeMap<&str, u32> {
    let mut count = BTreeMap::new();
    for node in live.pods.values().filter(|pod| leaves(pod)).filter_map(|pod| pod.node.as_deref()) {
        *count.entry(node).or_default() += 1;
    }
    count
}

/// The changes for people, one line for all nodes with the same change: `general  kubelet  v1.35.4 → v1.36.3  12
/// nodes`.
pub fn lines(changes: &[Change]) -> Vec<String> {
    let same = |a: &Change, b: &Change| (&a.scope, a.component, &a.from) == (&b.scope, b.component, &b.from);
    changes
        .chunk_by(same)
        .filter_map(|group| {
            let first = group.first()?;
            let scope = first.scope.as_ref().map_or("no pool".to_owned(), Scope::to_string);
            let from = first.from.as_ref().map_or("unknown".to_owned(), Version::to_string);
            let nodes = match group {
                [one] => one.node.clone().unwrap_or_else(|| "hosted".to_owned()),
                many => format!("{} nodes", many.len()),
            };
            Some(format!("{scope}  {}  {from} → {}  {nodes}", first.component.as_str(), first.to))
        })
        .collect()
}
