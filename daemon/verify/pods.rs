//! What a drain does with each pod of a node, and what makes a drain impossible before it begins. It follows the
//! Eviction API, not kubectl's loop: pods by UID, no DELETE, all blockers at once.

use jiff::{SignedDuration, Timestamp};

use super::ledger::structural_objection;
use super::rollouts::{Way, way};
use crate::model::claim::Claim;
use crate::model::decision::{Key, Reason};
use crate::model::live::{Live, OwnerKind, Phase, Pod};
use crate::model::plan::DrainLimits;
use crate::model::time::later;

/// How far the API server's clock, by which pods are created, may be from ours.
pub const CLOCKS: SignedDuration = SignedDuration::from_secs(10);
/// How long after its grace period a pod may be terminating before its kubelet is taken to be gone.
const STUCK: SignedDuration = SignedDuration::from_secs(60);

/// What a drain does with one pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Case {
    /// It stays, and the drain does not wait for it.
    Stays,
    /// It came after the cordon, past the scheduler or with a toleration: reported, not waited for.
    Late,
    /// It cannot go until a person changes something.
    Blocked(Reason),
    /// It is expected to end by itself: [`Key::JobRunning`] or [`Key::DoNotDisrupt`]. [`ends`] has the words.
    Ends(Key),
    /// It is terminating; the reason is set if it does not get on.
    Going(Option<Reason>),
    /// It is evicted as soon as the budgets allow.
    Goes,
}

/// Why a drain of this node is impossible from the start: all blockers, not only the first.
pub fn structural(live: &Live, node: &str, limits: &DrainLimits) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for pod in live.pods_on(node) {
        match case(live, pod, limits, None, Timestamp::MIN) {
            Case::Blocked(reason) => reasons.push(reason),
            Case::Goes => reasons.extend(never_leaves(live, pod, limits)),
            Case::Stays | Case::Late | Case::Ends(_) | Case::Going(_) => {}
        }
    }
    reasons.sort();
    reasons.dedup();
    reasons
}

/// Why this pod can leave its node neither by an eviction nor by a rollout.
fn never_leaves(live: &Live, pod: &Pod, limits: &DrainLimits) -> Option<Reason> {
    let reason = structural_objection(live, pod)?;
    match way(live, pod, limits) {
        Way::Rollout(_) => None,
        Way::Eviction => Some(reason),
        Way::Unable(rolled, obstacle) => Some(rolled.explain(reason, obstacle)),
    }
}

/// Pods that a drain of this node would move.
pub fn to_evict<'a>(
    live: &'a Live,
    node: &str,
    limits: &'a DrainLimits,
) -> impl Iterator<Item = &'a Pod> + use<'a> {
    let pods: Vec<&Pod> = live.pods_on(node).collect();
    pods.into_iter().filter(move |pod| {
        !pod.finished() && matches!(case(live, pod, limits, None, Timestamp::MIN), Case::Goes | Case::Ends(_))
    })
}

/// What a drain does with one pod. `claim` is `None` before the node is cordoned; no pod is late then.
pub fn case(live: &Live, pod: &Pod, limits: &DrainLimits, claim: Option<&Claim>, now: Timestamp) -> Case {
    let owner = pod.owner.as_ref();
    if pod.mirror || pod.is_ours() {
        return Case::Stays;
    }
    if let Some(deleting) = pod.deleting {
        return going(pod, deleting.time(), now);
    }
    if pod.finished() {
        return Case::Goes;
    }
    if let Some(set) = owner.filter(|owner| owner.kind == OwnerKind::DaemonSet) {
        if live.workloads.contains_key(&set.uid) {
            return Case::Stays;
        }
        let text = format!("its DaemonSet {} is gone; delete the pod, or bring the DaemonSet back", set.name);
        return Case::Blocked(Reason::new(Key::OrphanOfDaemonSet, pod.object(), text));
    }
    if claim.is_some_and(|claim| late(live, pod, claim)) {
        return Case::Late;
    }
    if let Some(reason) = blocked(pod, limits) {
        return Case::Blocked(reason);
    }
    if owner.is_some_and(|owner| owner.kind == OwnerKind::Job) && pod.phase != Phase::Pending {
        return Case::Ends(Key::JobRunning);
    }
    if pod.do_not_disrupt {
        return Case::Ends(Key::DoNotDisrupt);
    }
    Case::Goes
}

/// Why a pod is expected to end by itself.
pub fn ends(pod: &Pod, key: Key) -> Reason {
    let text = match key {
        Key::JobRunning => "it belongs to a running Job",
        _ => "it asks not to be disrupted",
    };
    Reason::new(key, pod.object(), text)
}

/// True if a pod came after the cordon, past the scheduler: evicted, it would come back at once. Both the API
/// server's creation time and our own first look have to say so, because either alone may be seconds off.
fn late(live: &Live, pod: &Pod, claim: &Claim) -> bool {
    if pod.created.time() <= later(claim.at, CLOCKS) {
        return false;
    }
    let cordoned = pod.node.as_ref().and_then(|node| live.nodes.get(node)).filter(|node| node.unschedulable);
    cordoned.is_some_and(|node| pod.arrived.time() > later(node.unschedulable_since, CLOCKS))
}

fn going(pod: &Pod, deleting: Timestamp, now: Timestamp) -> Case {
    if pod.containers_gone {
        return Case::Stays;
    }
    // The deletion timestamp already includes the grace period.
    let stuck = later(deleting, STUCK) < now;
    Case::Going(stuck.then(|| {
        let text =
            "it is past its grace and still there: its kubelet does not answer, or a finalizer holds it";
        Reason::new(Key::StuckTerminating, pod.object(), text)
    }))
}

fn blocked(pod: &Pod, limits: &DrainLimits) -> Option<Reason> {
    if pod.owner.is_none() {
        let text =
            "it has no controller, so an eviction would lose it; delete it, or create it with a controller";
        return Some(Reason::new(Key::Unmanaged, pod.object(), text));
    }
    if pod.empty_dir && !limits.delete_empty_dir_data {
        let text = "it keeps data in an emptyDir; drain.deleteEmptyDirData lets it go";
        return Some(Reason::new(Key::LocalData, pod.object(), text));
    }
    if i64::from(pod.grace_seconds) > limits.timeout_seconds {
        let text = format!(
            "its grace of {} s is longer than drain.timeout ({} s)",
            pod.grace_seconds, limits.timeout_seconds
        );
        return Some(Reason::new(Key::GraceTooLong, pod.object(), text));
    }
    None
}
