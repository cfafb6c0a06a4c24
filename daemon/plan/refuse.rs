//! The blockers of a plan: versions that are unknown, moves that Kubernetes does not support, and decisions that only
//! a person may make. Each names its object and what to do about it.

use super::{Inventory, Member};
use crate::diff::Membership;
use crate::model::decision::{Key, Reason};
use crate::model::plan::{Stage, StageKind};
use crate::model::version::Version;

/// More hops than this in one change are a typing mistake: twelve minors are four years of releases.
const MOST_HOPS: i32 = 12;

/// Blockers without which no stage can be planned.
pub(super) fn at_start(inventory: &Inventory) -> Vec<Reason> {
    if !inventory.live.complete {
        let text = "the cluster has not been listed completely yet, so nothing follows from what is missing";
        return vec![Reason::new(Key::ApiUnreachable, cluster(inventory), text)];
    }
    let mut reasons = unknown_control_plane(inventory);
    reasons.extend(no_control_plane(inventory));
    for member in &inventory.nodes {
        reasons.extend(several_pools(member));
        reasons.extend(kubelet_blocker(inventory, member));
    }
    reasons.extend(control_plane_blockers(inventory));
    reasons
}

/// Blockers that depend on the stages. Health is not among them: it changes while a plan waits, and a gate checks it
/// before every step.
pub(super) fn before_stages(inventory: &Inventory, stages: &[Stage]) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if stages.iter().any(|stage| stage.kind == StageKind::ControlPlane)
        && inventory.cluster.etcd_unproven.is_none()
    {
        let text = "this version takes no snapshot of etcd itself, so a person has to say what stands in for one: \
                    write spec.etcd.unproven with the reason, as in `unproven: velero, nightly`";
        reasons.push(Reason::new(Key::NoProvenSnapshot, cluster(inventory), text));
    }
    reasons
}

fn no_control_plane(inventory: &Inventory) -> Option<Reason> {
    let missing = inventory.provider().moves_control_plane() && inventory.control_plane.is_empty();
    missing.then(|| {
        let text = "no node bears the label node-role.kubernetes.io/control-plane; if the control plane is hosted, \
                    write `provider: external`";
        Reason::new(Key::NoControlPlane, cluster(inventory), text)
    })
}

fn unknown_control_plane(inventory: &Inventory) -> Vec<Reason> {
    let unknown = inventory.control_plane.iter().filter(|(_, version)| version.is_none());
    let reason = |name: &String| {
        if inventory.live.nodes.contains_key(name.as_str()) {
            let text = "the version of its control plane is unknown: its static pods in kube-system were asked, and either \
                        one of them is not Ready or its image has no version";
            Reason::new(Key::VersionUnknown, format!("node/{name}"), text)
        } else {
            let text = "the version of the control plane is unknown: /version of the API server was asked";
            Reason::new(Key::VersionUnknown, cluster(inventory), text)
        }
    };
    unknown.map(|(name, _)| reason(name)).collect()
}

fn several_pools(member: &Member) -> Option<Reason> {
    let Membership::Several(pools) = &member.membership else { return None };
    let names: Vec<_> = pools.iter().map(|pool| format!("`{}`", pool.name)).collect();
    let text = format!("selected by the pools {}; a node belongs to one", names.join(" and "));
    Some(Reason::new(Key::NodeInTwoPools, object(member), text))
}

/// Why one kubelet's version blocks the plan. A node that no pool moves is never touched, but its version skew counts,
/// where it is known.
fn kubelet_blocker(inventory: &Inventory, member: &Member) -> Option<Reason> {
    let target = inventory.target();
    let managed = member.membership.scope_name().is_some();
    let Some(kubelet) = &member.node.kubelet else {
        if !managed {
            return None;
        }
        let text = "its kubelet's version is unknown: status.nodeInfo.kubeletVersion was asked";
        return Some(Reason::new(Key::VersionUnknown, object(member), text));
    };
    let oldest = inventory.oldest_control_plane()?;
    // What is not ours to move and is no newer than the target is as it should be once the control plane is there.
    let cured = !managed && kubelet.minors_ahead_of(target) <= 0;
    if kubelet.minors_ahead_of(&oldest) > 0 && !cured {
        let text =
            format!("its kubelet runs {kubelet}, which is newer than an API server that runs {oldest}");
        return Some(Reason::new(Key::SkewTooLarge, object(member), text));
    }
    if managed && kubelet.is_after(target) {
        return Some(Reason::new(Key::Downgrade, object(member), down("its kubelet runs", kubelet, target)));
    }
    let moves = target.minors_ahead_of(&oldest) > 0;
    if !managed && moves && !kubelet.may_lag(target) {
        let why = match &member.membership {
            Membership::Beyond(beyond) => format!("it is not moved: {beyond}"),
            _ => "no pool selects it".to_owned(),
        };
        let text = format!("runs {kubelet}, too old for API servers of {}, and {why}", target.minor_name());
        return Some(Reason::new(Key::SkewTooLarge, object(member), text));
    }
    None
}

fn control_plane_blockers(inventory: &Inventory) -> Vec<Reason> {
    let target = inventory.target();
    let newer = inventory.control_plane.iter().filter_map(|(name, version)| Some((name, version.as_ref()?)));
    let mut reasons: Vec<_> = newer
        .filter(|(_, version)| version.is_after(target))
        .map(|(name, version)| {
            let seen = inventory.live.nodes.contains_key(name.as_str());
            let object = if seen { format!("node/{name}") } else { cluster(inventory) };
            Reason::new(Key::Downgrade, object, down("its control plane runs", version, target))
        })
        .collect();
    let (Some(oldest), Some(newest)) = (inventory.oldest_control_plane(), inventory.newest_api_server())
    else {
        return reasons;
    };
    if newest.minors_ahead_of(&oldest) > 1 {
        let text = format!("its API servers run {oldest} and {newest}, and may be one minor apart");
        reasons.push(Reason::new(Key::SkewTooLarge, cluster(inventory), text));
    }
    if target.minors_ahead_of(&oldest) > MOST_HOPS {
        let text = format!(
            "from {oldest} to {target} is more than {MOST_HOPS} minors, which one change may not ask for"
        );
        reasons.push(Reason::new(Key::TooManyMinors, cluster(inventory), text));
    }
    reasons
}

fn down(what: &str, runs: &Version, target: &Version) -> String {
    format!(
        "{what} {runs}, newer than {target}; Kubernetes supports no downgrade, so Windlass does none: commit {runs} or later, or see Going back in docs/operating.md"
    )
}

fn cluster(inventory: &Inventory) -> String {
    format!("cluster/{}", inventory.cluster.name)
}

fn object(member: &Member) -> String {
    format!("node/{}", member.name())
}
