//! The drain of one claimed node: which pods may be evicted now, and what keeps the others.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::hand::Hand;
use super::rollout::{Rolling, roll};
use super::turn::{Turn, waiting_since};
use crate::model::claim::Claim;
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::effect::Effect;
use crate::model::live::{Id, Live, Pod, RefusalKind};
use crate::model::plan::DrainLimits;
use crate::model::rollout::{Obstacle, Rolled};
use crate::model::text::one_line;
use crate::model::time::later;
use crate::model::work::NodeMove;
use crate::verify::ledger::Ledger;
use crate::verify::pods::{self, Case, case};
use crate::verify::rollouts::{Way, way};

/// The most evictions in flight at once. More would only meet the API server's own limits.
const MOST_AT_ONCE: usize = 50;
/// How long the drain waits for volumes to detach. By then the attach-detach controller itself forces it.
const DETACH: SignedDuration = SignedDuration::from_mins(6);

/// How far the drain of one node has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    Yes,
    /// A pod is terminating, was just evicted, or is a Job's that is still waited for.
    Going,
    /// No pod leaves; `drain.timeout` counts.
    Blocked,
    /// The drain cannot succeed within its limits.
    GivenUp(Key),
}

/// The drain of one node in this pass.
struct NodeDrain<'a> {
    hand: &'a Hand<'a>,
    limits: &'a DrainLimits,
    ledger: Ledger<'a>,
    room: usize,
    turn: Turn,
    rollouts: Rollouts,
}

/// The Deployments that move by a rollout in this drain.
#[derive(Default)]
struct Rollouts {
    /// Those that were looked at, by UID: several pods on a node may be of one Deployment.
    known: BTreeSet<Id>,
    going: bool,
    failed: bool,
}

/// Takes the drain of one claimed node further: evicts the pods that may go, and gives a reason for each of the
/// others.
pub(super) fn go_on(
    hand: &Hand<'_>,
    mv: &NodeMove,
    limits: &DrainLimits,
    claim: &Claim,
    turn: Turn,
) -> (Drained, Turn) {
    let (mut left, mut moves, mut ends) = (0_usize, false, false);
    let room = MOST_AT_ONCE.saturating_sub(hand.ledger.asked_to_leave());
    let mut drain =
        NodeDrain { hand, limits, ledger: hand.ledger.clone(), room, turn, rollouts: Rollouts::default() };
    for pod in hand.live.pods_on(&mv.node.name) {
        match case(hand.live, pod, limits, Some(claim), hand.now) {
            Case::Stays => {}
            Case::Late => drain.answer(Verdict::Allow, late(mv, pod)),
            Case::Blocked(reason) => {
                left += 1;
                drain.answer(Verdict::Deny, reason);
            }
            Case::Ends(key) => {
                left += 1;
                ends = true;
                drain.answer(Verdict::Wait, pods::ends(pod, key));
            }
            Case::Going(reason) => {
                left += 1;
                moves |= reason.is_none();
                drain.answer(Verdict::Wait, reason.unwrap_or_else(|| going(mv, pod)));
            }
            Case::Goes => {
                // A pod that has finished is evicted too, but the drain does not wait for it.
                left += usize::from(!pod.finished());
                moves |= drain.leaves(pod);
            }
        }
    }
    let NodeDrain { mut turn, rollouts, .. } = drain;
    if left == 0 {
        return detached(hand, mv, claim, turn);
    }
    if rollouts.failed {
        // Nothing more is begun on a node that is given up.
        turn.effects.clear();
        turn.answers.retain(|answer| answer.verdict == Verdict::Deny);
        return (Drained::GivenUp(Key::RolloutFailed), turn);
    }
    if ends && turn.expired(hand.since(claim.at), limits.jobs(), hand.now) {
        return (Drained::GivenUp(Key::JobsTimedOut), turn);
    }
    let timed_out =
        claim.blocked_since.is_some_and(|since| later(hand.since(since), limits.timeout()) <= hand.now);
    let drained = match moves {
        true => Drained::Going,
        // `drain.timeout` counts from its own beginning.
        false if rollouts.going => Drained::Going,
        false if timed_out => Drained::GivenUp(Key::DrainTimedOut),
        // `drain.jobs` counts for these, not `drain.timeout`.
        false if ends => Drained::Going,
        false => Drained::Blocked,
    };
    (drained, turn)
}

fn late(mv: &NodeMove, pod: &Pod) -> Reason {
    let text = format!("it came to {} after the cordon and is not waited for", mv.node.name);
    Reason::new(Key::LateArrival, pod.object(), text)
}

fn going(mv: &NodeMove, pod: &Pod) -> Reason {
    Reason::new(Key::Terminating, pod.object(), format!("it is leaving {}", mv.node.name))
}

impl NodeDrain<'_> {
    fn answer(&mut self, verdict: Verdict, reason: Reason) {
        self.turn.answers.push(Answer::new(Gate::Budget, verdict, reason));
    }

    /// Takes one pod further on its way from the node, by an eviction or by a rollout. True if an eviction is on its way.
    fn leaves(&mut self, pod: &Pod) -> bool {
        let live = self.hand.live;
        match way(live, pod, self.limits) {
            Way::Eviction => self.evict(pod, None),
            Way::Unable(rolled, obstacle) => self.evict(pod, Some((rolled, obstacle))),
            Way::Rollout(rolled) => {
                if self.rollouts.known.insert(rolled.uid.clone()) {
                    self.roll(&rolled);
                }
                false
            }
        }
    }

    fn roll(&mut self, rolled: &Rolled<'_>) {
        match roll(self.hand, self.limits, rolled, &mut self.turn) {
            Rolling::Going(reason) => {
                self.rollouts.going = true;
                self.answer(Verdict::Wait, reason);
            }
            Rolling::Waits(answer) => self.turn.answers.push(answer),
            Rolling::Failed(reason) => {
                self.rollouts.failed = true;
                self.answer(Verdict::Deny, reason);
            }
        }
    }

    /// Evicts one pod if everything allows it. `unable` says why its owner's wish for a rollout cannot be met. True if the
    /// pod is on its way out.
    fn evict(&mut self, pod: &Pod, unable: Option<(Rolled<'_>, Obstacle<'_>)>) -> bool {
        let overlay = &self.hand.live.overlay;
        if let Some(until) = overlay.unanswered.get(&pod.uid) {
            let text = "its eviction got no clear answer, so it counts as leaving until it is seen again";
            self.answer(Verdict::Wait, Reason::new(Key::EvictionRefused, pod.object(), text));
            self.turn = std::mem::take(&mut self.turn).wakes(*until);
            return false;
        }
        if overlay.is_leaving(&pod.uid) {
            self.turn.moves = true;
            // An admission webhook answers 500 to every eviction of a pod. If each new try counted as progress, it
            // would clear `blocked_since`, `drain.timeout` would never pass, and the node would stay cordoned for
            // good.
            return overlay.evicted.contains_key(&pod.uid) || !overlay.refused.contains_key(&pod.uid);
        }
        if let Some(refusal) = overlay.refused.get(&pod.uid).filter(|refusal| refusal.until > self.hand.now) {
            let text = format!("its eviction was refused: {}", one_line(&refusal.message));
            let reason = Reason::new(refusal_key(refusal.kind), pod.object(), text);
            self.answer(Verdict::Wait, reason);
            self.turn = std::mem::take(&mut self.turn).wakes(refusal.until);
            return false;
        }
        if let Some(reason) = self.ledger.objection(pod, self.limits.implicit_budgets) {
            let for_good = matches!(reason.key, Key::BudgetNeverAllows | Key::SeveralBudgets);
            let reason = match unable {
                Some((rolled, obstacle)) => rolled.explain(reason, obstacle),
                None => reason,
            };
            self.answer(if for_good { Verdict::Deny } else { Verdict::Wait }, reason);
            return false;
        }
        if let Some((rolled, obstacle)) = unable {
            let text =
                format!("its only pod is evicted, because it cannot move by a rollout: {}", obstacle.told());
            self.answer(Verdict::Allow, Reason::new(Key::SingleReplica, rolled.object(), text));
        }
        self.ledger.take(pod);
        if self.room > 0 {
            self.room -= 1;
            let effect = Effect::Evict {
                namespace: pod.namespace.to_string(),
                pod: pod.name.to_string(),
                uid: pod.uid.to_string(),
            };
            self.turn.effects.push((effect, self.hand.progress.intent));
        }
        !overlay.refused.contains_key(&pod.uid)
    }
}

fn refusal_key(kind: RefusalKind) -> Key {
    match kind {
        RefusalKind::Budget => Key::BudgetBlocks,
        RefusalKind::Busy | RefusalKind::ShuttingDown => Key::ServerBusy,
        RefusalKind::SeveralBudgets => Key::SeveralBudgets,
        RefusalKind::Denied | RefusalKind::Unclear => Key::EvictionRefused,
    }
}

/// `Drained::Yes` once the volumes of the evicted pods are detached, or after [`DETACH`]; `Drained::Going` until
/// then. Volumes of a pod that stays are not waited for.
fn detached(hand: &Hand<'_>, mv: &NodeMove, claim: &Claim, turn: Turn) -> (Drained, Turn) {
    let live = hand.live;
    let on_node = live.attachments.values().filter(|attached| *attached.node == *mv.node.name);
    let mut leaving =
        on_node.filter(|attached| !attached.volume.as_ref().is_some_and(|it| stays(live, mv, it)));
    if leaving.next().is_none() {
        return (Drained::Yes, turn);
    }
    let object = hand.object();
    let since = waiting_since(live, Key::VolumesAttached, &object, hand.now).max(claim.at);
    let text = "volumes of pods that left are still attached to it";
    let mut turn = turn.waits(Gate::Budget, Reason::new(Key::VolumesAttached, object, text));
    let drained = if turn.expired(since, DETACH, hand.now) { Drained::Yes } else { Drained::Going };
    (drained, turn)
}

/// True if a pod that stays on the node mounts this volume.
fn stays(live: &Live, mv: &NodeMove, volume: &Id) -> bool {
    let mut pods = live.pods_on(&mv.node.name).filter(|pod| !pod.finished());
    pods.any(|pod| {
        let mut claims = pod.claims().iter().map(|claim| (pod.namespace.clone(), claim.clone()));
        claims.any(|claim| live.claims.get(&claim).is_some_and(|claim| claim.volume == *volume))
    })
}
