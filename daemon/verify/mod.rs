//! Step × live × what was recorded × now → how the step went. Found by looking again, never by a call having returned.
//! Unknown is not healthy: what nobody has shown is waited for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::model::claim::Reported;
use crate::model::decision::{Key, Reason};
use crate::model::entry::Baseline;
use crate::model::live::{Id, Live, Node, OwnerKind, Pod, Ready};
use crate::model::plan::{Component, Step};

/// A node counts as back only after it has been Ready for this long without a break: a kubelet that flaps does so
/// within its first seconds.
pub const STABLE: SignedDuration = SignedDuration::from_secs(10);
/// After a control plane component was restarted, nothing goes on before the API has been steady for this long:
/// the kubelet of a new minor restarts every static pod once, right after it has reported the new version.
pub const STEADY: SignedDuration = SignedDuration::from_secs(10);

/// Whether what a step changed has come back, and if not, what is still missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Not yet, and when it could be at the earliest if nothing else happens.
    Pending(Vec<Reason>, Option<Timestamp>),
}

/// Whether the component of this step runs its target and is healthy.
pub fn changed(
    step: &Step,
    live: &Live,
    baseline: &BTreeMap<String, Baseline>,
    reported: Option<&Reported>,
    now: Timestamp,
) -> Outcome {
    match step.component {
        Component::Kubelet => kubelet(step, live, baseline, reported, now),
        Component::Servers => servers(step, live, now),
    }
}

fn kubelet(
    step: &Step,
    live: &Live,
    baseline: &BTreeMap<String, Baseline>,
    reported: Option<&Reported>,
    now: Timestamp,
) -> Outcome {
    let object = format!("node/{}", step.node);
    let Some(node) = live.nodes.get(step.node.as_str()) else {
        return pending(Key::NodeGone, &object, "the node is not there");
    };
    // Whoever else moves it may have gone further.
    if node.kubelet.as_ref().is_none_or(|kubelet| *kubelet < step.to) {
        let text = format!("its kubelet does not report {} yet", step.to);
        return pending(Key::Upgrading, &object, &text);
    }
    let heartbeat = live.leases.get(&node.name);
    let later_one = reported.filter(|reported| heartbeat.is_some_and(|seen| *seen != reported.heartbeat));
    let Some(reported) = later_one else {
        return pending(Key::NoRenewal, &object, "no heartbeat was seen since it reported the new version");
    };
    let mut missing = Vec::new();
    if node.ready != Ready::True || node.network_unavailable {
        missing.push(Reason::new(Key::NodeNotReady, &*object, "it is not Ready"));
    }
    missing.extend(daemon_sets(live, node, baseline));
    if !missing.is_empty() {
        return Outcome::Pending(missing, None);
    }
    let mut stable_at = later(node.ready_since.max(reported.at), STABLE);
    if node.control_plane {
        match steady(live, reported.at) {
            Ok(at) => stable_at = stable_at.max(at),
            Err(reason) => return Outcome::Pending(vec![reason], None),
        }
    }
    if now < stable_at {
        let reason = Reason::new(Key::Settling, &*object, "it is Ready and has to stay so for a while");
        return Outcome::Pending(vec![reason], Some(stable_at));
    }
    Outcome::Done
}

/// Pods of `DaemonSets` that should be Ready on a node before others are let onto it: essential ones always, others
/// if they were Ready before.
fn daemon_sets(live: &Live, node: &Node, baseline: &BTreeMap<String, Baseline>) -> Vec<Reason> {
    let pods = || live.pods_on(&node.name).filter(|pod| !pod.finished());
    let set_of = |pod: &Pod| {
        let owner = pod.owner.as_ref().filter(|owner| owner.kind == OwnerKind::DaemonSet)?;
        Some(owner.uid.clone())
    };
    let was_ready = |set: &Id| baseline.get(&**set).is_some_and(|before| before.ready > 0);
    let unready = pods().filter(|pod| {
        let essential = |set: &Id| live.workloads.get(set).is_some_and(|workload| workload.essential);
        !pod.ready && set_of(pod).is_some_and(|set| essential(&set) || was_ready(&set))
    });
    let unready = unready.map(|pod| {
        Reason::new(Key::DaemonSetNotReady, pod.object(), format!("it is not Ready on {}", node.name))
    });
    // A pod that was there before and is not there now is no less missing than one that is not Ready.
    let there: BTreeSet<Id> = pods().filter_map(set_of).collect();
    let sets = baseline
        .keys()
        .map(|uid| Id::from(uid.as_str()))
        .filter(|uid| live.workloads.get(uid).is_some_and(|workload| workload.kind == OwnerKind::DaemonSet));
    let gone = sets.filter(|uid| was_ready(uid) && !there.contains(uid)).map(|uid| {
        let text = format!("it has no pod on {} yet", node.name);
        Reason::new(Key::DaemonSetNotReady, live.owner_name(&uid), text)
    });
    unready.chain(gone).collect()
}

fn servers(step: &Step, live: &Live, now: Timestamp) -> Outcome {
    let object = format!("node/{}", step.node);
    let seen = live.runs(Component::Servers, &step.node);
    if seen.is_none_or(|seen| seen < step.to) {
        let text = format!("its servers do not all run {} and are Ready yet", step.to);
        return pending(Key::Upgrading, &object, &text);
    }
    if let Some(reason) = quorum(live, None) {
        return Outcome::Pending(vec![reason], None);
    }
    let newest = live.pods_on(&step.node).filter_map(|pod| pod.server.as_ref()?.started).max();
    match steady(live, newest.unwrap_or(Timestamp::UNIX_EPOCH)) {
        Ok(at) if now >= at => Outcome::Done,
        Ok(at) => {
            let reason = Reason::new(Key::Settling, "api", "it answers and has to do so for a while");
            Outcome::Pending(vec![reason], Some(at))
        }
        Err(reason) => Outcome::Pending(vec![reason], None),
    }
}

/// When the API will have been steady since `change`, if it stays so.
pub fn steady(live: &Live, change: Timestamp) -> Result<Timestamp, Reason> {
    match live.api.ready_since {
        Some(since) => Ok(later(since.max(change), STEADY)),
        None => Err(Reason::new(Key::ApiNotSteady, "api", "it does not answer /readyz with ok")),
    }
}

/// Why the control plane cannot spare a member; `without` is the one that is about to be changed.
///
/// etcd needs more than half of its members. Its static pods' readiness is the kubelet's probe of etcd's own
/// health endpoint.
pub fn quorum(live: &Live, without: Option<&str>) -> Option<Reason> {
    let members: Vec<_> = live
        .control_plane()
        .flat_map(|node| live.pods_on(&node.name).map(move |pod| (node, pod)))
        .filter(|(_, pod)| pod.server.as_ref().is_some_and(|server| &*server.component == "etcd"))
        .collect();
    let ready = members
        .iter()
        .filter(|(node, pod)| pod.ready && pod.deleting.is_none() && without != Some(&*node.name))
        .count();
    let needed = members.len() / 2 + 1;
    // A single member has no quorum to lose but its own: it is down while it is changed.
    let spare = members.len() > 1 || without.is_none();
    (spare && !members.is_empty() && ready < needed).then(|| {
        let text = format!("only {ready} of {} members would be Ready, {needed} are needed", members.len());
        Reason::new(Key::QuorumAtRisk, "etcd", text)
    })
}

/// Owners of evicted pods that are not yet as Ready as they were. What was scaled down or removed meanwhile is
/// explained and not waited for.
pub fn recovering(live: &Live, baseline: &BTreeMap<String, Baseline>) -> Vec<Reason> {
    let short = baseline.iter().filter_map(|(uid, before)| {
        let uid = Id::from(uid.as_str());
        let workload = live.workloads.get(&uid)?;
        if workload.kind == OwnerKind::DaemonSet {
            return None;
        }
        let wanted = before.ready.min(workload.replicas);
        let ready = ready_pods(live, &uid);
        (ready < wanted).then(|| {
            Reason::new(
                Key::OwnersRecovering,
                live.owner_name(&uid),
                format!("fewer than {wanted} of its pods are Ready again"),
            )
        })
    });
    short.collect()
}

/// Ready pods of an owner; of a Deployment, those of all its `ReplicaSets`.
pub fn ready_pods(live: &Live, owner: &Id) -> u32 {
    let ready = live.pods_under(owner).filter(|pod| pod.ready && pod.deleting.is_none()).count();
    u32::try_from(ready).unwrap_or(u32::MAX)
}

fn pending(key: Key, object: &str, text: &str) -> Outcome {
    Outcome::Pending(vec![Reason::new(key, object, text)], None)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}
