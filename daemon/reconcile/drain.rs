//! The pods of one node on their way out: what each is, what blocks it, and what may be evicted now.
//! It follows the Eviction API, not kubectl's loop: pods by UID, no DELETE, all blockers at once, and a node with a
//! structural blocker is never cordoned at all.

use jiff::{SignedDuration, Timestamp};

use super::pass::{Pass, later};
use crate::execute::Effect;
use crate::gate::budget::Ledger;
use crate::model::claim::Claim;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::live::{EVICTION, Live, OwnerKind, Phase, Pod, RefusalKind};
use crate::model::plan::{DrainLimits, Step};

/// Clocks of the API server and ours may differ by this much before a pod counts as having arrived after the cordon.
const CLOCKS: SignedDuration = SignedDuration::from_secs(10);
/// How long after the end of its grace a pod may be going before its kubelet is thought to be gone.
const STUCK: SignedDuration = SignedDuration::from_secs(60);
/// More evictions at once would only meet the API server's own limits.
const MOST_AT_ONCE: usize = 50;
/// Volumes are not waited for longer: the attach-detach controller itself gives up and forces it by then.
const DETACH: SignedDuration = SignedDuration::from_mins(6);

/// What is to be done about one pod.
#[derive(Clone, Debug, PartialEq)]
enum Case {
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

/// How far the drain of one node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    Yes,
    /// Something is going, or was asked to go just now.
    Going,
    /// Nothing moves; the ladder's timer runs.
    Blocked,
    /// The drain cannot succeed within its limits.
    GivenUp(Key),
}

/// What makes a drain of this node impossible before it has begun. Every blocker, not only the first.
pub(super) fn structural(live: &Live, node: &str, limits: &DrainLimits) -> Vec<Reason> {
    let mut ledger = Ledger::new(live);
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
pub(super) fn to_evict<'a>(
    live: &'a Live,
    node: &str,
    limits: &'a DrainLimits,
) -> impl Iterator<Item = &'a Pod> + use<'a> {
    let pods: Vec<&Pod> = live.pods_on(node).collect();
    pods.into_iter().filter(move |pod| {
        !pod.finished() && matches!(case(live, pod, limits, None, Timestamp::MIN), Case::Goes | Case::Ends(_))
    })
}

fn case(live: &Live, pod: &Pod, limits: &DrainLimits, claim: Option<&Claim>, now: Timestamp) -> Case {
    let owner = pod.owner.as_ref();
    if pod.mirror || pod.is_ours() {
        return Case::Stays;
    }
    if let Some(deleting) = pod.deleting {
        return going(pod, deleting, now);
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
        pod.created > later(claim.at, CLOCKS) && pod.arrived > later(node.unschedulable_since, CLOCKS)
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

/// Goes on with the drain of one claimed node: evicts what may go, explains what may not.
pub(super) fn go_on(
    pass: &mut Pass<'_>,
    step: &Step,
    limits: &DrainLimits,
    claim: &Claim,
    after: u64,
) -> Drained {
    let (live, now) = (pass.input.live, pass.input.now);
    let (mut left, mut moves, mut ends) = (0_usize, false, false);
    let in_flight = live.overlay.in_flight.keys().filter(|key| key.starts_with(EVICTION)).count();
    let mut room = MOST_AT_ONCE.saturating_sub(in_flight);
    for pod in live.pods_on(&step.node) {
        match case(live, pod, limits, Some(claim), now) {
            Case::Stays => {}
            Case::Late => {
                let text = format!("it came to {} after the cordon and is not waited for", step.node);
                pass.passes_with(Gate::Budget, Reason::new(Key::LateArrival, pod.object(), text));
            }
            Case::Blocked(reason) => {
                left += 1;
                pass.denies(Gate::Budget, reason);
            }
            Case::Ends(reason) => {
                left += 1;
                ends = true;
                pass.waits(Gate::Budget, reason);
            }
            Case::Going(reason) => {
                left += 1;
                moves |= reason.is_none();
                let going =
                    Reason::new(Key::Terminating, pod.object(), format!("it is leaving {}", step.node));
                pass.waits(Gate::Budget, reason.unwrap_or(going));
            }
            Case::Goes => {
                // What has ended is cleared away; nobody waits for it.
                left += usize::from(!pod.finished());
                moves |= evict(pass, pod, limits, after, &mut room);
            }
        }
    }
    if left == 0 {
        return detached(pass, step, claim);
    }
    if ends && pass.expired(claim.at, limits.jobs()) {
        return Drained::GivenUp(Key::JobRunning);
    }
    let blocked_for_good = claim.blocked_since.is_some_and(|since| later(since, limits.timeout()) <= now);
    match moves {
        true => Drained::Going,
        false if blocked_for_good => Drained::GivenUp(Key::DrainTimedOut),
        // A Job has its own deadline.
        false if ends => Drained::Going,
        false => Drained::Blocked,
    }
}

/// Asks for one eviction if everything allows it; whether the pod is on its way.
fn evict(pass: &mut Pass<'_>, pod: &Pod, limits: &DrainLimits, after: u64, room: &mut usize) -> bool {
    let (live, now) = (pass.input.live, pass.input.now);
    if live.overlay.is_leaving(&pod.uid) {
        pass.moving = true;
        // Asking once more for what was refused is no move.
        return live.overlay.evicted.contains_key(&pod.uid) || !live.overlay.refused.contains_key(&pod.uid);
    }
    if let Some(refusal) = live.overlay.refused.get(&pod.uid).filter(|refusal| refusal.until > now) {
        pass.wake(refusal.until);
        let text = format!("its eviction was refused: {}", one_line(&refusal.message));
        let reason = Reason::new(refusal_key(refusal.kind), pod.object(), text);
        pass.waits(Gate::Budget, reason);
        return false;
    }
    if let Some(reason) = pass.ledger.objection(pod, limits.implicit_budgets) {
        match reason.key {
            Key::BudgetNeverAllows | Key::SeveralBudgets => pass.denies(Gate::Budget, reason),
            _ => pass.waits(Gate::Budget, reason),
        }
        return false;
    }
    pass.ledger.take(pod);
    if *room > 0 {
        *room -= 1;
        let effect = Effect::Evict {
            namespace: pod.namespace.to_string(),
            pod: pod.name.to_string(),
            uid: pod.uid.to_string(),
        };
        pass.effect(effect, after);
    }
    !live.overlay.refused.contains_key(&pod.uid)
}

fn refusal_key(kind: RefusalKind) -> Key {
    match kind {
        RefusalKind::Budget => Key::BudgetBlocks,
        RefusalKind::Busy | RefusalKind::ShuttingDown => Key::ServerBusy,
        RefusalKind::SeveralBudgets => Key::SeveralBudgets,
        RefusalKind::Denied | RefusalKind::Unclear => Key::EvictionRefused,
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// Volumes of evicted pods leave the node after them. What stays behind with a pod that stays is not counted.
fn detached(pass: &mut Pass<'_>, step: &Step, claim: &Claim) -> Drained {
    let live = pass.input.live;
    let attached = live.attachments.values().filter(|node| ***node == *step.node).count();
    let stay: usize =
        live.pods_on(&step.node).filter(|pod| !pod.finished()).map(|pod| pod.volume_claims.len()).sum();
    if attached <= stay {
        return Drained::Yes;
    }
    let object = format!("node/{}", step.node);
    let since = pass.since(Key::VolumesAttached, &object).max(claim.at);
    let text = "volumes of pods that left are still attached to it";
    pass.waits(Gate::Budget, Reason::new(Key::VolumesAttached, object, text));
    if pass.expired(since, DETACH) { Drained::Yes } else { Drained::Going }
}
