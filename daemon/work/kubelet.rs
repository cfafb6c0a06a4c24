//! Moves the kubelet of one node, with a drain before it if the move says so. The time from which the return is
//! judged is on the claim, so a restart of the daemon does not restart the wait.

use jiff::SignedDuration;

use super::control_plane::judge;
use super::hand::Hand;
use super::node;
use super::state::State;
use super::turn::Turn;
use crate::model::claim::{Claim, Reported};
use crate::model::decision::Decision;
use crate::model::effect::NodePatch;
use crate::model::entry::StepPhase;
use crate::model::live::{ClaimState, Node, Probe, Ready};
use crate::model::work::NodeMove;
use crate::verify;

pub(super) fn advance(hand: &Hand<'_>, mv: &NodeMove, state: State, may: &Decision) -> Turn {
    node::advance(hand, mv, state, may, prove)
}

/// How often the heartbeat of a node is asked for whose kubelet has come back: its slot waits for nothing else.
const RENEWED: SignedDuration = SignedDuration::from_secs(1);

fn prove(hand: &Hand<'_>, mv: &NodeMove, node: &Node, turn: Turn) -> Turn {
    let mut turn = Turn { watched: Some(hand.step.id.clone()), ..turn };
    let claim = match &node.claim {
        Some(ClaimState::Ours(claim)) => Some(claim),
        // The claim is removed only after the proof, so the proof was given. The record missed it: the daemon ended
        // in between.
        None if node.ready == Ready::True => return turn.reached(&hand.step.id, StepPhase::Upgraded),
        Some(ClaimState::Unreadable(_)) | None => None,
    };
    let probe = Probe::Heartbeat(mv.node.name.clone());
    let fresh = hand.live.probed.get(&probe).is_some_and(|asked| *asked >= node.kubelet_since);
    turn = turn.probe(probe, RENEWED);
    let heartbeat = hand.live.leases.get(&node.name).filter(|_| fresh);
    if let (Some(claim), Some(heartbeat)) = (claim.filter(|claim| claim.reported.is_none()), heartbeat) {
        let reported = Some(Reported { at: hand.now, heartbeat: heartbeat.clone() });
        let claim = Claim { reported, ..claim.clone() };
        return turn.patch(node, NodePatch::Note(claim), hand.progress.intent);
    }
    let reported = claim.and_then(|claim| claim.reported.as_ref());
    judge(hand, mv, verify::kubelet(mv, hand.live, &hand.progress.baseline, reported, hand.now), turn)
}
