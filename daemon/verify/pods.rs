//! What becomes of each pod when its node is drained, and what makes a drain impossible before it has begun.
//! It follows the Eviction API, not kubectl's loop: pods by UID, no DELETE, all blockers at once.

use jiff::{SignedDuration, Timestamp};

use super::ledger::Ledger;
use crate::model::claim::Claim;
use crate::model::decision::{Key, Reason};
use crate::model::live::{Live, OwnerKind, Phase, Pod};
use crate::model::plan::DrainLimits;
use crate::model::time::later;

/// Clocks of the API server and ours may differ by this much before a pod counts as having arrived after the cordon.
const CLOCKS: SignedDuration = SignedDuration::from_secs(10);
/// How long after the end of its grace a pod may be going before its kubelet is thought to be gone.
const STUCK: SignedDuration = SignedDuration::from_secs(60);

/// What is to be done about one pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Case {
    /// It stays, and the drain does not mind.
    Stays,
    /// It came after the cordon, past the scheduler or with a toleration: reported, not waited for.
    Late,
    /// It cannot go until a person changes something.
    Blocked(Reason),
    /// It should end by itself.
    Ends(Reason),
    /// It is on its way out.
    Going(Option<Reason>),
    /// It can be evicted if the budgets allow it.
    Goes,
}

/// What makes a drain of this node impossible before it has begun. Every blocker, not only the first.
pub fn structural(live: &Live, node: &str, limits: &DrainLimits) -> Vec<Reason> {
    let ledger = Ledger::new(live);
    let mut reasons: Vec<Reason> = Vec::new();
    for pod in live.pods_on(node) {
        match case(live, pod, limits, None, Timestamp::MIN) {
            Case::Blocked(reason) => reasons.push(reason),
            Case::Goes => {
                let objection = ledger.objection(pod, limits.implicit_budgets);
                reasons.extend(
                    objection.filter(|r| matches!(r.key, Key::BudgetNeverAllows | Key::SeveralBudgets)),
                );
            }
            Case::Stays | Case::Late | Case::Ends(_) | Case::Going(_) => {}
        }
    }
    reasons.sort();
    reasons.dedup();
    reasons
}

/// Pods that a drain of this node would evict.
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

/// What a drain does with one pod. Without a claim, before the node is cordoned; then no pod is late.
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
        return Case::Ends(Reason::new(
            Key::JobRunning,
            pod.object(),
            "it belongs to a running Job".to_owned(),
        ));
    }
    if pod.do_not_disrupt {
        return Case::Ends(Reason::new(
            Key::DoNotDisrupt,
            pod.object(),
            "it asks not to be disrupted".to_owned(),
        ));
    }
    Case::Goes
}

/// Whether a pod came after the cordon, past the scheduler: it would come back as fast as it is evicted. The API
/// server's clock and our own looks both have to say so, for either alone may be seconds behind.
fn late(live: &Live, pod: &Pod, claim: &Claim) -> bool {
    let cordoned = pod.node.as_ref().and_then(|node| live.nodes.get(node)).filter(|node| node.unschedulable);
    cordoned.is_some_and(|node| {
        pod.created.time() > later(claim.at, CLOCKS)
            && pod.arrived.time() > later(node.unschedulable_since, CLOCKS)
    })
}

fn going(pod: &Pod, deleting: Timestamp, now: Timestamp) -> Case {
    if pod.containers_gone {
        return Case::Stays;
    }
    // The deletion's time is already the end of the grace.
    let stuck = later(deleting, STUCK) < now;
    Case::Going(stuck.then(|| {
        let text =
            "it is past its grace and still there: its kubelet does not answer, or a finalizer holds it";
        Reason::new(Key::StuckTerminating, pod.object(), text)
    }))
}

fn blocked(pod: &Pod, limits: &DrainLimits) -> Option<Reason> {
    if pod.owner.is_none() {
        let text = "nothing would bring it back: it has no controller; delete it, or give it one";
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
