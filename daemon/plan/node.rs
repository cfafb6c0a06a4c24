//! The steps that move one node: what they expect, what they achieve, and whether the node is drained first.

use std::collections::BTreeSet;

use super::{Inventory, Member};
use crate::model::desired::{DrainWhen, Pool, Provider};
use crate::model::plan::{Component, Fact, NodeMove, NodeRef, Scope, Step, Work};
use crate::model::version::Version;

/// The move of one component.
pub(super) struct Move<'a> {
    pub(super) from: &'a Version,
    pub(super) to: &'a Version,
    pub(super) provider: Provider,
    /// The version that every API server must have before this step.
    pub(super) api_servers: &'a Version,
    pub(super) canary: bool,
}

/// An external provider moves the control plane. The step achieves that every API server runs `api_servers`.
pub(super) fn await_control_plane_step(from: &Version, to: &Version, api_servers: &Version) -> Step {
    let work = Work::AwaitControlPlane { from: from.clone(), to: to.clone() };
    Step::new(Scope::ControlPlane, work, Vec::new(), vec![Fact::ControlPlaneAtLeast(api_servers.clone())])
}

/// Moves control plane components in place. The step expects every API server to answer and to run at least the
/// version at which the hop starts: so two are never away at once, and none falls a minor behind.
pub(super) fn control_plane_step(member: &Member, mv: &Move, drain: bool) -> Option<Step> {
    step(member, Component::ControlPlane, mv, drain)
}

pub(super) fn kubelet_step(member: &Member, mv: &Move) -> Option<Step> {
    step(member, Component::Kubelet, mv, drains(member, mv.from, mv.to))
}

/// True if the node is drained first. Kubernetes supports no minor move of a kubelet under running pods. It supports
/// a patch move; for that the pool decides.
pub(super) fn drains(member: &Member, from: &Version, to: &Version) -> bool {
    drains_between(member.pool(), from, to)
}

/// The same for a node of a pool, or of none.
pub(super) fn drains_between(pool: Option<&Pool>, from: &Version, to: &Version) -> bool {
    let always = pool.is_some_and(|pool| pool.drain.when == DrainWhen::Always);
    always || !from.same_minor(to)
}

/// The step; `None` for a node outside of every scope.
fn step(member: &Member, component: Component, mv: &Move, drain: bool) -> Option<Step> {
    let scope = member.membership.scope()?;
    let name = member.node.name.to_string();
    let node = NodeRef { name: name.clone(), uid: member.node.uid.to_string() };
    let expects = vec![
        Fact::Exists(node.clone()),
        Fact::Ready(name.clone()),
        Fact::ControlPlaneAtLeast(mv.api_servers.clone()),
    ];
    let achieves = vec![Fact::RunsAtLeast(component, name.clone(), mv.to.clone()), Fact::Ready(name)];
    let node_move = NodeMove {
        node,
        zone: member.node.zone.to_string(),
        provider: mv.provider,
        from: mv.from.clone(),
        to: mv.to.clone(),
        drain,
        canary: mv.canary,
    };
    let work = match component {
        Component::ControlPlane => Work::ControlPlane(node_move),
        Component::Kubelet => Work::Kubelet(node_move),
    };
    Some(Step::new(scope, work, expects, achieves))
}

/// Control plane nodes whose components are replaced under running pods, while other control plane nodes watch their
/// heartbeats.
///
/// The kubelet of such a node talks to its own API server, which does not answer while kubeadm replaces it or its member
/// of etcd. The other control plane nodes take the node for lost after 40 seconds, and take its pods out of their
/// Services although they run. Seen with kubeadm v1.36.3 and three control plane nodes; no budget is asked.
pub(super) fn swapped_under_pods<'a>(inventory: &'a Inventory) -> BTreeSet<&'a str> {
    let control_plane = &inventory.cluster.control_plane;
    let nodes = inventory.control_plane.len();
    let ours = inventory.provider().moves_control_plane() && nodes > 1 && !control_plane.empties_first(nodes);
    let behind = inventory
        .control_plane
        .iter()
        .filter(|(_, runs)| ours && runs.as_ref().is_some_and(|runs| runs.is_before(inventory.target())));
    behind.map(|(name, _)| &**name).collect()
}
