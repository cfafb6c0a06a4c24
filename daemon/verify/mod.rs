//! How a step went, found by looking at the cluster and never by a call having returned. It reads the step, the live
//! state, the recorded baseline and the time. What is unknown does not count as healthy; it is waited for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::model::claim::Reported;
use crate::model::decision::{Key, Reason};
use crate::model::entry::Baseline;
use crate::model::live::{Id, JobState, Live, Node, OwnerKind, Pod, Ready};
use crate::model::time::later;
use crate::model::work::{Component, NodeMove};

pub mod bound;
pub mod control_plane;
pub mod ledger;
pub mod limiters;
pub mod owners;
pub mod pods;
pub mod rollouts;
pub mod room;

use control_plane::{quorum, steady};

/// How long a node must be Ready without a break before it counts as back: a kubelet that flaps does so within its
/// first seconds.
pub const STABLE: SignedDuration = SignedDuration::from_secs(10);
/// Whether the thing that a step changed is healthy again, and if not, what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Not yet; and the earliest time at which it could be, if nothing else happens.
    Pending(Vec<Reason>, Option<Timestamp>),
}

/// Whether the kubelet of a node runs its target and the node is healthy. `reported` is when the kubelet was first
/// seen at the target, and the heartbeat of that time.
pub fn kubelet(
    mv: &NodeMove,
    live: &Live,
    baseline: &BTreeMap<String, Baseline>,
    reported: Option<&Reported>,
    now: Timestamp,
) -> Outcome {
    let object = format!("node/{}", mv.node.name);
    let Some(node) = live.nodes.get(mv.node.name.as_str()) else {
        return pending(Key::NodeGone, &object, "the node is not there");
    };
    // An operator who moves it may have gone further than the target.
    if node.kubelet.as_ref().is_none_or(|kubelet| kubelet.is_before(&mv.to)) {
        let text = format!("its kubelet does not report {} yet", mv.to);
        return pending(Key::Upgrading, &object, &text);
    }
    let heartbeat = live.leases.get(&node.name);
    let later_one = reported.filter(|reported| heartbeat.is_some_and(|seen| *seen != reported.heartbeat));
    let Some(reported) = later_one else {
        return pending(
            Key::NoRenewal,
            &object,
            "the node has not renewed its lease since its kubelet reported the new version",
        );
    };
    let mut missing = Vec::new();
    if node.ready != Ready::True || node.network_unavailable.is_some() {
        missing.push(Reason::new(Key::NodeNotReady, &*object, "it is not Ready"));
    }
    missing.extend(daemon_sets(live, node, baseline));
    if node.control_plane {
        missing.extend(static_pods(live, node));
        missing.extend(etcd_not_ready(live, &node.name));
    }
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
        let reason = Reason::new(Key::Settling, &*object, "it is Ready and has to stay Ready for 10 s");
        return Outcome::Pending(vec![reason], Some(stable_at));
    }
    Outcome::Done
}

/// The `DaemonSet` pods that are missing or not Ready on a node: essential ones always count, others if they were
/// Ready before.
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
    // A pod that was there before and is gone now is as much missing as one that is not Ready.
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

/// Whether the control plane components of a node run their target and the API is steady.
pub fn control_plane_node(mv: &NodeMove, own_job: Option<&str>, live: &Live, now: Timestamp) -> Outcome {
    let object = format!("node/{}", mv.node.name);
    let seen = live.runs(Component::ControlPlane, &mv.node.name);
    if seen.is_none_or(|seen| seen.is_before(&mv.to)) {
        let text = format!("not all of its control plane components run {} and are Ready yet", mv.to);
        return pending(Key::Upgrading, &object, &text);
    }
    if let Some(reason) = job_at_work(live, mv, own_job)
        .or_else(|| etcd_not_ready(live, &mv.node.name))
        .or_else(|| quorum(live, None))
    {
        return Outcome::Pending(vec![reason], None);
    }
    let pods = live.nodes.get(mv.node.name.as_str()).into_iter().flat_map(|node| live.static_pods(node));
    let newest = pods.filter_map(|(_, server)| server.started).max();
    match steady(live, newest.unwrap_or(Timestamp::UNIX_EPOCH)) {
        Ok(at) if now >= at => Outcome::Done,
        Ok(at) => {
            let reason = Reason::new(
                Key::ApiNotSteady,
                "api",
                "it answers and has to answer for 10 s without a break",
            );
            Outcome::Pending(vec![reason], Some(at))
        }
        Err(reason) => Outcome::Pending(vec![reason], None),
    }
}

/// The upgrade Job on a node, while it has not ended. kubeadm goes on for a while after the last component is new: it
/// applies addons, and the next node must not begin beside it. A Job whose pod was removed has failed too, and its work
/// on the host goes on without it: only an exit code tells that it has ended. Of the attempts before this one a person
/// has looked at the host.
fn job_at_work(live: &Live, mv: &NodeMove, own: Option<&str>) -> Option<Reason> {
    let mut jobs = live.jobs.on(&mv.node.name);
    let own = |name: &String| own == Some(name.as_str());
    let (name, job) = jobs.find(|(name, job)| match live.job_state(job) {
        JobState::Waiting(_) | JobState::Running => true,
        JobState::Failed(_) => own(name) && live.job_exit_code(job).is_none(),
        JobState::Suspended => own(name) && job.begun,
        JobState::Complete => false,
    })?;
    let ending = match job.state {
        JobState::Failed(_) => "it failed without an exit code, so its work on the host may not have ended",
        JobState::Suspended => "it was suspended, so its work on the host may not have ended",
        JobState::Waiting(_) | JobState::Running | JobState::Complete => "it has not ended",
    };
    let text = format!("the control plane components of {} are new, and {ending}", mv.node.name);
    Some(Reason::new(Key::Upgrading, format!("job/{name}"), text))
}

/// The etcd member of a node, while it is not Ready. A member that is not shown is missed if another control plane node has
/// one: kubeadm puts one on each, and the kubelet shows none for a moment while it replaces it.
fn etcd_not_ready(live: &Live, node: &str) -> Option<Reason> {
    let members = || live.etcd_pods().map(|(node, pod)| (&*node.name, pod));
    let ready = match members().find(|(of, _)| *of == node) {
        Some((_, pod)) => pod.ready && pod.deleting.is_none(),
        None => members().next().is_none(),
    };
    let object = || format!("pod/kube-system/etcd-{node}");
    (!ready).then(|| Reason::new(Key::QuorumAtRisk, object(), "this member of etcd is not Ready yet"))
}

/// The static pods of a control plane node that are not Ready again after its kubelet was restarted. That the API answers
/// through a load balancer proves nothing about one node.
fn static_pods(live: &Live, node: &Node) -> Option<Reason> {
    let has_any = live.pods_on(&node.name).any(|pod| pod.server().is_some());
    let ready = live.runs(Component::ControlPlane, &node.name).is_some();
    let text = "not all of its control plane components are Ready again";
    (has_any && !ready).then(|| Reason::new(Key::NodeNotReady, format!("node/{}", node.name), text))
}

fn pending(key: Key, object: &str, text: &str) -> Outcome {
    Outcome::Pending(vec![Reason::new(key, object, text)], None)
}
