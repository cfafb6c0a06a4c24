//! What runs against what is asked for: one change per component and node that is not there yet, and how
//! people read them. It says nothing of order, of steps, or of whether a change may be made.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::desired::{Cluster, Desired, Pool};
use crate::model::live::{Live, Node, OwnerKind, Pod};
use crate::model::plan::Component;
use crate::model::version::Version;

/// The scope of control plane nodes, beside the names of the pools; no pool may be called so.
pub const CONTROL_PLANE: &str = "controlPlane";

/// One component of one node that does not run what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `controlPlane`, or the pool's name; nothing for a node that no single pool selects, which is not touched.
    pub scope: Option<String>,
    pub component: Component,
    /// Nothing while it is unknown.
    pub from: Option<Version>,
    pub to: Version,
    /// Empty for a control plane whose nodes cannot be seen.
    pub node: String,
    /// Pods that leave the node if it is drained, counted now.
    pub pods: u32,
}

/// Where a node belongs.
#[derive(Clone, Debug, PartialEq)]
pub enum Membership<'a> {
    /// Known by its role label; whether a pool selects it as well does not matter.
    ControlPlane,
    Pool(&'a Pool),
    Nowhere,
    Several(Vec<&'a Pool>),
}

impl Membership<'_> {
    pub fn scope(&self) -> Option<&str> {
        match self {
            Self::ControlPlane => Some(CONTROL_PLANE),
            Self::Pool(pool) => Some(&pool.name),
            Self::Nowhere | Self::Several(_) => None,
        }
    }
}

/// Every part of the cluster that is not as asked, control plane first, then by pool and node.
pub fn diff(desired: &Desired, live: &Live) -> Vec<Change> {
    let to = &desired.cluster.version;
    let mut changes = Vec::new();
    if live.control_plane().next().is_none() && live.api.version.as_ref() != Some(to) {
        changes.push(Change {
            scope: Some(CONTROL_PLANE.to_owned()),
            component: Component::Servers,
            node: String::new(),
            from: live.api.version.clone(),
            to: to.clone(),
            pods: 0,
        });
    }
    let leaving = leaving(live);
    for node in live.nodes.values() {
        let membership = membership(&desired.cluster, node);
        let parts: &[Component] = if node.control_plane {
            &[Component::Servers, Component::Kubelet]
        } else {
            &[Component::Kubelet]
        };
        for &component in parts {
            let from = live.runs(component, &node.name);
            if from.as_ref() == Some(to) {
                continue;
            }
            let pods = match component {
                Component::Servers => 0,
                Component::Kubelet => leaving.get(&*node.name).copied().unwrap_or_default(),
            };
            let scope = membership.scope().map(str::to_owned);
            changes.push(Change {
                scope,
                component,
                node: node.name.to_string(),
                from,
                to: to.clone(),
                pods,
            });
        }
    }
    let rank = |change: &Change| change.scope.as_deref().map_or(2, |scope| u8::from(scope != CONTROL_PLANE));
    changes.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    changes
}

/// Which pool a node belongs to.
pub fn membership<'a>(cluster: &'a Cluster, node: &Node) -> Membership<'a> {
    if node.control_plane {
        return Membership::ControlPlane;
    }
    let label = |key: &str| node.labels.get(key).map(|value| &**value);
    let mut pools = cluster.pools.iter().filter(|pool| pool.selector.matches(label));
    match (pools.next(), pools.next()) {
        (None, _) => Membership::Nowhere,
        (Some(pool), None) => Membership::Pool(pool),
        (Some(first), Some(second)) => {
            Membership::Several([first, second].into_iter().chain(pools).collect())
        }
    }
}

/// Whether a drain makes this pod leave: it is neither of the node's own making nor already over.
pub fn leaves(pod: &Pod) -> bool {
    let of_the_node =
        pod.owner.as_ref().is_some_and(|owner| matches!(owner.kind, OwnerKind::DaemonSet | OwnerKind::Node));
    !pod.mirror && !of_the_node && !pod.finished() && pod.server.is_none()
}

/// How many pods a drain would make leave, by node.
fn leaving(live: &Live) -> BTreeMap<&str, u32> {
    let mut count = BTreeMap::new();
    for node in live.pods.values().filter(|pod| leaves(pod)).filter_map(|pod| pod.node.as_deref()) {
        *count.entry(node).or_default() += 1;
    }
    count
}

/// Changes as people read them, one line for all nodes that go the same way:
/// `general  kubelet  v1.35.4 → v1.36.3  12 nodes`.
pub fn lines(changes: &[Change]) -> Vec<String> {
    let same = |a: &Change, b: &Change| (&a.scope, a.component, &a.from) == (&b.scope, b.component, &b.from);
    changes
        .chunk_by(same)
        .filter_map(|group| {
            let first = group.first()?;
            let scope = first.scope.as_deref().unwrap_or("no pool");
            let from = first.from.as_ref().map_or("unknown".to_owned(), Version::to_string);
            let nodes = match group {
                [one] if one.node.is_empty() => "hosted".to_owned(),
                [one] => one.node.clone(),
                many => format!("{} nodes", many.len()),
            };
            Some(format!("{scope}  {}  {from} → {}  {nodes}", first.component.as_str(), first.to))
        })
        .collect()
}
