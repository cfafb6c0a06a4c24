//! The steps that move one node: what they are called, what they expect, what they achieve, and whether the
//! node is emptied first.

use super::Member;
use crate::diff::CONTROL_PLANE;
use crate::model::desired::{DrainWhen, Provider};
use crate::model::plan::{Component, Fact, Step};
use crate::model::version::Version;

/// One move of one component.
pub(super) struct Move<'a> {
    pub(super) from: &'a Version,
    pub(super) to: &'a Version,
    pub(super) provider: Provider,
    /// What every API server has to run before.
    pub(super) servers: &'a Version,
    pub(super) canary: bool,
}

/// Somebody else moves the servers; all that is known of it is that it has happened. Only the last version
/// is exact: on the way there, any patch of the minor will do.
pub(super) fn await_servers(from: &Version, to: &Version, servers: &Version) -> Step {
    Step {
        id: format!("{CONTROL_PLANE}/{to}/{}", Component::Servers.as_str()),
        pool: CONTROL_PLANE.to_owned(),
        node: String::new(),
        node_uid: String::new(),
        zone: String::new(),
        component: Component::Servers,
        provider: Provider::External,
        from: from.clone(),
        to: to.clone(),
        drain: false,
        canary: false,
        expects: Vec::new(),
        achieves: vec![Fact::ServersAtLeast(servers.clone())],
    }
}

/// Servers are moved in place. That all API servers answer and none is older than this hop's start is what
/// keeps two of them from being away at once, and a node from being left behind by a minor.
pub(super) fn servers(member: &Member, mv: &Move) -> Step {
    step(member, Component::Servers, mv, false)
}

pub(super) fn kubelet(member: &Member, mv: &Move) -> Step {
    step(member, Component::Kubelet, mv, drains(member, mv.from, mv.to))
}

/// A kubelet's minor move under running pods is not supported by Kubernetes; a patch move is, and whether it
/// empties the node is the pool's choice.
pub(super) fn drains(member: &Member, from: &Version, to: &Version) -> bool {
    let always = member.pool().is_some_and(|pool| pool.drain.when == DrainWhen::Always);
    always || !from.same_minor(to)
}

fn step(member: &Member, component: Component, mv: &Move, drain: bool) -> Step {
    let scope = member.membership.scope().unwrap_or_default();
    let (node, uid) = (member.node.name.to_string(), member.node.uid.to_string());
    Step {
        id: format!("{scope}/{}/{node}@{uid}/{}", mv.to, component.as_str()),
        pool: scope.to_owned(),
        zone: member.node.zone.to_string(),
        component,
        provider: mv.provider,
        from: mv.from.clone(),
        to: mv.to.clone(),
        drain,
        canary: mv.canary,
        expects: vec![
            Fact::Exists(node.clone(), uid.clone()),
            Fact::Ready(node.clone()),
            Fact::ServersAtLeast(mv.servers.clone()),
        ],
        achieves: vec![Fact::Runs(component, node.clone(), mv.to.clone()), Fact::Ready(node.clone())],
        node,
        node_uid: uid,
    }
}
