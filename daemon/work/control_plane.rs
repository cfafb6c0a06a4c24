//! Moves the control plane components of one node in place. They are proven once etcd has its quorum and the API has
//! answered steadily since the newest of them was started.

use super::hand::Hand;
use super::job::{overdue, run_job};
use super::node::{self, our_jobs};
use super::state::{State, own_job};
use super::turn::Turn;
use crate::model::decision::{Decision, Gate};
use crate::model::entry::StepPhase;
use crate::model::live::Node;
use crate::model::work::NodeMove;
use crate::verify::{self, Outcome};

pub(super) fn advance(hand: &Hand<'_>, mv: &NodeMove, state: State, may: &Decision) -> Turn {
    node::advance(hand, mv, state, may, prove)
}

fn prove(hand: &Hand<'_>, mv: &NodeMove, _: &Node, turn: Turn) -> Turn {
    // Somebody deleted its Job, or the Job that was made in its place has not begun. kubeadm may still be at work on the
    // host, and only a Job there can tell when it ends.
    let own = own_job(hand, mv);
    let untold = own.as_ref().is_none_or(|(_, job)| !job.begun);
    if let Some(jobs) = our_jobs(hand, mv).filter(|_| untold && hand.progress.phase == StepPhase::Upgrading) {
        return run_job(hand, mv, jobs, turn);
    }
    let own = own.as_ref().map(|(name, _)| name.as_str());
    judge(hand, mv, verify::control_plane_node(mv, own, hand.live, hand.now), turn)
}

/// Decides from a proof: the component is healthy, it is still waited for, or its time is over and the step fails.
pub(super) fn judge(hand: &Hand<'_>, mv: &NodeMove, outcome: Outcome, turn: Turn) -> Turn {
    let mut turn = Turn { watched: Some(hand.step.id.clone()), ..turn };
    match outcome {
        Outcome::Done => turn.reached(&hand.step.id, StepPhase::Upgraded),
        Outcome::Pending(reasons, at) => {
            if let Some(at) = at {
                turn = turn.wakes(at);
            }
            let watched = hand.live.overlay.watched.get(&hand.step.id).copied().unwrap_or(hand.now);
            if overdue(hand, mv, watched, &mut turn) {
                return turn.failed(&hand.step.id, reasons);
            }
            reasons.into_iter().fold(turn, |turn, reason| turn.waits(Gate::Health, reason))
        }
    }
}
