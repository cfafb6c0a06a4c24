//! One node from its claim to its return: claimed, drained, changed, proven, returned. One match over the state
//! decides what happens next.

use jiff::{SignedDuration, Timestamp};

use super::drain::{self, Drained};
use super::hand::Hand;
use super::job::{begin_job, overdue, run_job};
use super::state::{State, has_job, lost_claim, node_of, readable};
use super::turn::{Turn, waiting_since};
use crate::model::claim::{AsFound, Claim};
use crate::model::decision::{Decision, Gate, Key, Reason, Verdict};
use crate::model::desired::OnNotRecovered;
use crate::model::effect::NodePatch;
use crate::model::entry::{StepEvent, StepPhase};
use crate::model::live::{ClaimState, Node, Probe};
use crate::model::time::later;
use crate::model::work::NodeMove;
use crate::provider::{self, HostJobs, Mover};
use crate::verify::owners::{self, Debt, Moved};

/// How long no pod may have left a node before the drain counts as blocked and the claim notes since when.
const BLOCKED: SignedDuration = SignedDuration::from_secs(30);

/// How old the last quorum read of a node, its pods and its Jobs may be when the node begins to be changed.
const READ_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// Takes the node as far as it goes now. `prove` checks whether its component is healthy.
pub(super) fn advance(
    hand: &Hand<'_>,
    mv: &NodeMove,
    state: State,
    may: &Decision,
    prove: fn(&Hand<'_>, &NodeMove, &Node, Turn) -> Turn,
) -> Turn {
    let mut turn = Turn::of(state);
    let Some(node) = node_of(hand, mv) else { return turn.event(&hand.step.id, StepEvent::Gone) };
    if node.control_plane {
        turn = turn.probe_often(Probe::Api);
    }
    let unchanged = state < State::Changing && !hand.progress.is_touched() && state > State::Held;
    // A claim that is not ours to take is waited for; whatever else ends a step ends this one too.
    let ends = may.returns().filter(|answer| state != State::ClaimedElsewhere || answer.gate != Gate::Hold);
    let ends: Vec<Reason> = ends.map(|answer| answer.reason.clone()).collect();
    // A Job that was made while Jobs cannot be seen may be at work, so the node is not known to be unchanged.
    let blind = state == State::Emptied && may.objects(Gate::Watch);
    if unchanged && !ends.is_empty() && !blind {
        return turn.set_aside(&hand.step.id, false, ends);
    }
    match state {
        State::Gone | State::Awaiting | State::Unrolled | State::RollingOut => turn,
        // Nothing is written to the node of a person or of a later leader, so the lease is not needed for it.
        State::Held | State::ClaimedElsewhere => {
            Turn { wants_lease: false, ..turn.answers(may.objections().cloned()) }
        }
        State::Unclaimed => take(hand, mv, node, may, turn),
        State::Claimed => is_claimed(hand, node, turn.moving()),
        // A stop leaves the drain as it is: no pod is evicted, and no timeout is judged.
        // Nor is one evicted on the strength of an old picture.
        State::Draining if may.objects(Gate::Stop) || may.objects(Gate::Watch) => turn,
        State::Draining => drain(hand, mv, node, turn.moving()),
        State::Emptied => begin_change(hand, mv, may, turn.moving()),
        // A Job whose pod is not shown to have started may be at work. It is judged once it is seen again.
        State::Changing | State::Recovering if may.objects(Gate::Watch) => turn.moving(),
        State::Changing => change(hand, mv, node, turn),
        // Nothing can be noted on the claim, or seen of the node, and the node is not to be blamed for that.
        State::Proving
            if may.objects(Gate::Stop) || may.objects(Gate::Watch) || hand.tenure.held.is_none() =>
        {
            turn.moving()
        }
        // The proof is noted on the claim, and a claim that cannot be read is a person's to remove.
        State::Proving if may.objects(Gate::Hold) => turn.answers(may.objections().cloned()),
        State::Proving if lost_claim(hand, node) => {
            let claim = NodePatch::Claim(new_claim(hand, mv, node));
            turn.moving().patch(node, claim, hand.progress.intent)
        }
        State::Proving => prove(hand, mv, node, turn.moving()),
        State::Releasing => release(hand, mv, node, turn.moving()),
        State::Recovering => recover(hand, turn),
    }
}

/// The first effect of a step: one patch that claims the node and, if it will be drained, cordons it.
fn take(hand: &Hand<'_>, mv: &NodeMove, node: &Node, may: &Decision, turn: Turn) -> Turn {
    if may.allows() {
        let claim = new_claim(hand, mv, node);
        return turn.moving().patch(node, NodePatch::Claim(claim), hand.progress.intent);
    }
    wait_for_turn(hand, may, turn)
}

/// The claim of this step. It has how the node was found: as the claim that is on it says, as the journal says of a
/// claim that somebody has removed, or as the node is.
///
/// A run before this one may have left the node cordoned with its claim. Read from the node, `was_unschedulable` would
/// be true, and the node would stay cordoned for good after its upgrade.
fn new_claim(hand: &Hand<'_>, mv: &NodeMove, node: &Node) -> Claim {
    let of_node = AsFound {
        was_unschedulable: node.is_cordoned_by_others(),
        scale_down_was_disabled: node.scale_down_disabled,
        cordoned: false,
    };
    let found = match readable(node) {
        Some(before) => {
            let before = before.found();
            AsFound { was_unschedulable: of_node.was_unschedulable || before.was_unschedulable, ..before }
        }
        None => hand.progress.found.filter(|found| found.cordoned).unwrap_or(of_node),
    };
    Claim {
        node_uid: mv.node.uid.clone(),
        run: hand.run.id.clone(),
        step: hand.step.id.to_string(),
        plan_digest: hand.run.digest.clone(),
        epoch: hand.tenure.held.unwrap_or(0),
        was_unschedulable: found.was_unschedulable,
        scale_down_was_disabled: found.scale_down_was_disabled,
        cordoned: mv.drain || found.cordoned,
        at: hand.now,
        blocked_since: None,
        reported: None,
        others: readable(node).map(|before| before.others.clone()).unwrap_or_default(),
    }
}

/// Reports every objection. Health objections pass soon or need a person; only while one passes soon is the lease
/// kept.
fn wait_for_turn(hand: &Hand<'_>, may: &Decision, turn: Turn) -> Turn {
    let mut turn = turn.answers(may.objections().cloned());
    may.objections().for_each(|answer| turn.passes_soon(answer, hand.live, hand.now));
    // The lease is not kept for a whole night until the next opening.
    Turn { wants_lease: turn.moves, ..turn }
}
fn drain(hand: &Hand<'_>, mv: &NodeMove, node: &Node, turn: Turn) -> Turn {
    let (Some(ClaimState::Ours(claim)), Some(limits)) = (&node.claim, hand.limits()) else { return turn };
    if claim.cordoned && !node.unschedulable {
        // A person uncordoned the node in the middle of its drain. New pods would come as fast as others leave, so it
        // is cordoned again.
        return turn.patch(node, NodePatch::Claim(claim.clone()), hand.progress.intent);
    }
    let (drained, turn) = drain::go_on(hand, mv, &limits.drain, claim, turn);
    match drained {
        Drained::Yes => turn.reached(&hand.step.id, StepPhase::Drained),
        // A pod leaves again, so the next block begins a new `drain.timeout`.
        Drained::Going if claim.blocked_since.is_some() => turn.patch(
            node,
            NodePatch::Note(Claim { blocked_since: None, ..claim.clone() }),
            hand.progress.intent,
        ),
        Drained::Going => turn,
        Drained::Blocked => blocked(hand, node, claim, limits.drain.timeout(), turn),
        Drained::GivenUp(key) => {
            let text = match key {
                Key::JobsTimedOut => {
                    "Jobs or pods that ask not to be disrupted did not end before drain.jobs"
                }
                Key::RolloutFailed => "a rollout that was to move pods from it has failed, and is undone",
                _ => "its drain was blocked for longer than drain.timeout",
            };
            let first = Reason::new(key, hand.object(), text);
            // The pods and budgets of this node only: the turn has the answers of this drain alone.
            let blockers = turn.answers.iter().filter(|answer| answer.verdict != Verdict::Allow);
            let reasons = std::iter::once(first).chain(blockers.map(|answer| answer.reason.clone())).take(10);
            let reasons = reasons.collect();
            turn.set_aside(&hand.step.id, hand.progress.touched, reasons)
        }
    }
}

/// The time since when the drain is blocked is on the claim. A daemon that restarts every ten minutes would otherwise
/// never reach a `drain.timeout` of thirty.
fn blocked(hand: &Hand<'_>, node: &Node, claim: &Claim, timeout: SignedDuration, turn: Turn) -> Turn {
    let since = waiting_since(hand.live, Key::DrainBlocked, &hand.object(), hand.now);
    let reason = Reason::new(Key::DrainBlocked, hand.object(), "no pod leaves it at present");
    let mut turn = turn.waits(Gate::Budget, reason);
    if let Some(blocked) = claim.blocked_since {
        return turn.wakes(later(hand.since(blocked), timeout));
    }
    if turn.expired(since, BLOCKED, hand.now) {
        let claim = Claim { blocked_since: Some(since), ..claim.clone() };
        return turn.patch(node, NodePatch::Note(claim), hand.progress.intent);
    }
    turn
}

/// The node is empty, or need not be. Everything that was asked at the intent is asked once more, and then its provider
/// begins: by the Job, whose sight is recorded as `Upgrading`. An external provider begins when it likes, so of its
/// nodes the entry itself says that they may be changed from now on.
fn begin_change(hand: &Hand<'_>, mv: &NodeMove, may: &Decision, turn: Turn) -> Turn {
    if !may.allows() {
        return turn.answers(may.objections().cloned());
    }
    // A watch may be behind: a pod that it has not shown yet would be taken down with its node.
    let read = hand.live.reads.get(mv.node.name.as_str());
    let read = read.filter(|at| later(**at, READ_WITHIN) > hand.now && is_of_this_claim(hand, **at));
    if read.is_none() {
        return turn.probe_often(Probe::Node(mv.node.name.clone()));
    }
    match our_jobs(hand, mv) {
        Some(jobs) => begin_job(hand, mv, jobs, turn),
        None => turn.reached(&hand.step.id, StepPhase::Upgrading),
    }
}

/// True if a read came after the claim of this step.
///
/// A run reads w1 and creates its Job, and the answer is lost. A newer commit takes the place of the run within two seconds, and the next run
/// claims w1, which is still empty. By the read of the run before there would be no Job.
fn is_of_this_claim(hand: &Hand<'_>, read: Timestamp) -> bool {
    let claimed = hand.progress.at.get(&StepPhase::Claimed).filter(|claimed| **claimed <= hand.now);
    claimed.is_none_or(|claimed| read >= *claimed)
}

fn is_claimed(hand: &Hand<'_>, node: &Node, turn: Turn) -> Turn {
    match readable(node) {
        Some(claim) => turn.claimed(&hand.step.id, claim),
        None => turn.reached(&hand.step.id, StepPhase::Claimed),
    }
}

/// The provider changes the node. The node decides whether the step is done, not the Job.
fn change(hand: &Hand<'_>, mv: &NodeMove, node: &Node, turn: Turn) -> Turn {
    let jobs = our_jobs(hand, mv);
    // The work of an external provider is not progress of ours.
    let turn = Turn { moves: jobs.is_some() || hand.progress.phase < StepPhase::Upgrading, ..turn };
    if hand.progress.phase < StepPhase::Claimed {
        return is_claimed(hand, node, turn);
    }
    if hand.progress.phase < StepPhase::Upgrading {
        // Until it is known whether the Job was created, nothing is concluded.
        return if has_job(hand, mv) { turn.reached(&hand.step.id, StepPhase::Upgrading) } else { turn };
    }
    match jobs {
        Some(jobs) => run_job(hand, mv, jobs, turn),
        None => await_other(hand, mv, turn),
    }
}

/// The Jobs that change the node; `None` where an external provider does.
pub(super) fn our_jobs(hand: &Hand<'_>, mv: &NodeMove) -> Option<&'static HostJobs> {
    match provider::capabilities(mv.provider).mover(hand.step.component()?) {
        Mover::OurJobs(jobs) => Some(jobs),
        Mover::SomebodyElse => None,
    }
}

fn await_other(hand: &Hand<'_>, mv: &NodeMove, mut turn: Turn) -> Turn {
    if overdue(hand, mv, Timestamp::MIN, &mut turn) {
        let reason =
            Reason::new(Key::ExternalTimedOut, hand.object(), "it was not upgraded before the deadline");
        return turn.set_aside(&hand.step.id, hand.progress.touched, vec![reason]);
    }
    let text = format!("it is empty and waits for somebody to bring it to {}", mv.to);
    turn.waits(Gate::Health, Reason::new(Key::ExternalProvider, hand.object(), text))
}

/// Restores the node as the claim recorded it, or, if the claim is gone or cannot be read, as the journal says. Without
/// either, a claim that cannot be read is removed, and nothing else is touched.
fn release(hand: &Hand<'_>, mv: &NodeMove, node: &Node, turn: Turn) -> Turn {
    let patch = match (&node.claim, hand.progress.found) {
        (Some(ClaimState::Ours(claim)), _) => NodePatch::Release(claim.clone()),
        (Some(ClaimState::Unreadable(_)) | None, Some(_)) => NodePatch::Release(new_claim(hand, mv, node)),
        (Some(ClaimState::Unreadable(_)), None) => NodePatch::Forget,
        (None, None) => return turn,
    };
    turn.patch(node, patch, hand.progress.intent)
}

fn recover(hand: &Hand<'_>, turn: Turn) -> Turn {
    if hand.progress.phase < StepPhase::Returned {
        return turn.moving().reached(&hand.step.id, StepPhase::Returned);
    }
    let returned = hand.progress.at.get(&StepPhase::Returned).copied().unwrap_or(hand.now);
    let moved = Moved { from: hand.progress.began().unwrap_or(returned), until: returned };
    let debts = owners::debts(hand.live, &hand.progress.baseline, moved);
    let short: Vec<Reason> = debts.iter().map(Debt::reason).collect();
    let (version, evicted) = (hand.step.id.to.clone(), hand.progress.pods);
    let done = |owes| StepEvent::Done { version, evicted, owes };
    if short.is_empty() {
        return turn.event(&hand.step.id, done(Vec::new()));
    }
    // Only the time in which this process looks counts: owners are not to blame for a daemon that was away.
    let watched = hand.live.overlay.watched.get(&hand.step.id).copied().unwrap_or(hand.now);
    let since = hand.since(returned).max(watched);
    let drain = hand.limits().map(|limits| &limits.drain);
    let mut turn = Turn { watched: Some(hand.step.id.clone()), ..turn };
    if drain.is_some_and(|drain| turn.expired(since, drain.recovery(), hand.now)) {
        // The node itself is well and back in service, so its step is done either way.
        let turn = turn.event(&hand.step.id, done(debts.into_iter().map(|debt| debt.name).collect()));
        return match drain.map(|drain| drain.on_not_recovered) {
            Some(OnNotRecovered::Halt) => turn.halted(short),
            Some(OnNotRecovered::Wait | OnNotRecovered::Continue) | None => turn,
        };
    }
    short.into_iter().fold(turn.moving(), |turn, reason| turn.waits(Gate::Recovery, reason))
}
