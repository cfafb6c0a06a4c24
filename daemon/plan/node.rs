//! The steps that move one node: what they expect, what they achieve, and whether the node is emptied first.

use super::Member;
use crate::model::desired::{DrainWhen, Provider};
use crate::model::plan::{Component, Fact, NodeMove, NodeRef, Scope, Step, Work};
use crate::model::version::Version;

/// One move of one component.
pub(super) struct Move<'a> {
    pub(super) from: &'a Version,
    pub(super) to: &'a Version,
    pub(super) provider: Provider,
    /// What every API server has to run before.
    pub(super) api_servers: &'a Version,
    pub(super) canary: bool,
}

/// Somebody else moves the control plane; all that is known of it is that it has happened: every API server runs
/// `api_servers`.
pub(super) fn await_control_plane(from: &Version, to: &Version, api_servers: &Version) -> Step {
    let work = Work::AwaitControlPlane { from: from.clone(), to: to.clone() };
    Step::new(Scope::ControlPlane, work, Vec::new(), vec![Fact::ControlPlaneAtLeast(api_servers.clone())])
}

/// Control plane components are moved in place. That all API servers answer and none is older than this hop's start is
/// what keeps two of them from being away at once, and a node from being left behind by a minor.
pub(super) fn control_plane(member: &Member, mv: &Move) -> Option<Step> {
    step(member, Component::ControlPlane, mv, false)
}

pub(super) fn kubelet(member: &Member, mv: &Move) -> Option<Step> {
    step(member, Component::Kubelet, mv, drains(member, mv.from, mv.to))
}

/// A kubelet's minor move under running pods is not supported by Kubernetes; a patch move is, and whether it
/// empties the node is the pool's choice.
pub(super) fn drains(member: &Member, from: &Version, to: &Version) -> bool {
    let always = member.pool().is_some_and(|pool| pool.drain.when == DrainWhen::Always);
    always || !from.same_minor(to)
}

/// Nothing for a node that is not ours to move.
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
