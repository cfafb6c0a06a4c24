//! The pods of one claimed node on their way out: what may be evicted now, and what keeps the rest.

use jiff::SignedDuration;

use super::hand::Hand;
use super::turn::{Turn, waiting_since};
use crate::model::claim::Claim;
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::effect::Effect;
use crate::model::live::{Pod, RefusalKind};
use crate::model::plan::DrainLimits;
use crate::model::time::later;
use crate::model::work::NodeMove;
use crate::verify::ledger::Ledger;
use crate::verify::pods::{Case, case};

/// More evictions at once would only meet the API server's own limits.
const MOST_AT_ONCE: usize = 50;
/// Volumes are not waited for longer: the attach-detach controller itself gives up and forces it by then.
const DETACH: SignedDuration = SignedDuration::from_mins(6);

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

/// One drain with what it has asked for so far in this pass.
struct Drain<'a> {
    hand: &'a Hand<'a>,
    limits: &'a DrainLimits,
    ledger: Ledger<'a>,
    room: usize,
    turn: Turn,
}

/// Goes on with the drain of one claimed node: evicts what may go, explains what may not.
pub(super) fn go_on(
    hand: &Hand<'_>,
    mv: &NodeMove,
    limits: &DrainLimits,
    claim: &Claim,
    turn: Turn,
) -> (Drained, Turn) {
    let (mut left, mut moves, mut ends) = (0_usize, false, false);
    let room = MOST_AT_ONCE.saturating_sub(hand.live.overlay.asked_to_leave().count());
    let mut drain = Drain { hand, limits, ledger: hand.ledger.clone(), room, turn };
    for pod in hand.live.pods_on(&mv.node.name) {
        match case(hand.live, pod, limits, Some(claim), hand.now) {
            Case::Stays => {}
            Case::Late => drain.answer(Verdict::Allow, late(mv, pod)),
            Case::Blocked(reason) => {
                left += 1;
                drain.answer(Verdict::Deny, reason);
            }
            Case::Ends(reason) => {
                left += 1;
                ends = true;
                drain.answer(Verdict::Wait, reason);
            }
            Case::Going(reason) => {
                left += 1;
                moves |= reason.is_none();
                drain.answer(Verdict::Wait, reason.unwrap_or_else(|| going(mv, pod)));
            }
            Case::Goes => {
                // What has ended is cleared away, and the drain does not wait for it.
                left += usize::from(!pod.finished());
                moves |= drain.evict(pod);
            }
        }
    }
    let mut turn = drain.turn;
    if left == 0 {
        return detached(hand, mv, claim, turn);
    }
    if ends && turn.expired(claim.at, limits.jobs(), hand.now) {
        return (Drained::GivenUp(Key::JobRunning), turn);
    }
    let timed_out = claim.blocked_since.is_some_and(|since| later(since, limits.timeout()) <= hand.now);
    let drained = match moves {
        true => Drained::Going,
        false if timed_out => Drained::GivenUp(Key::DrainTimedOut),
        // A Job has its own deadline.
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

impl Drain<'_> {
    fn answer(&mut self, verdict: Verdict, reason: Reason) {
        self.turn.answers.push(Answer::new(Gate::Budget, verdict, reason));
    }

    /// Asks for one eviction if everything allows it; whether the pod is on its way.
    fn evict(&mut self, pod: &Pod) -> bool {
        let overlay = &self.hand.live.overlay;
        if overlay.is_leaving(&pod.uid) {
            self.turn.moves = true;
            // Asking once more for what was refused is no move.
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
            self.answer(if for_good { Verdict::Deny } else { Verdict::Wait }, reason);
            return false;
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

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// Volumes of evicted pods leave the node after them. What stays behind with a pod that stays is not counted.
fn detached(hand: &Hand<'_>, mv: &NodeMove, claim: &Claim, turn: Turn) -> (Drained, Turn) {
    let live = hand.live;
    let attached = live.attachments.values().filter(|node| ***node == *mv.node.name).count();
    let stay: usize =
        live.pods_on(&mv.node.name).filter(|pod| !pod.finished()).map(|pod| pod.volume_claims as usize).sum();
    if attached <= stay {
        return (Drained::Yes, turn);
    }
    let object = hand.object();
    let since = waiting_since(live, Key::VolumesAttached, &object, hand.now).max(claim.at);
    let text = "volumes of pods that left are still attached to it";
    let mut turn = turn.waits(Gate::Budget, Reason::new(Key::VolumesAttached, object, text));
    let drained = if turn.expired(since, DETACH, hand.now) { Drained::Yes } else { Drained::Going };
    (drained, turn)
}
