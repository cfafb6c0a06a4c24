//! The hold gate: a hold annotation, a cordon that Windlass did not make, a claim of a later leader or one that
//! cannot be read, and a removal mark of an autoscaler. All reasons are reported. Control plane nodes and workers
//! follow the same rules.

use super::{Moment, Question};
use crate::model::claim::{CLAIM, Claim};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::desired::ForeignCordon;
use crate::model::live::{ClaimState, Node};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match question.moment {
        Moment::StartRun | Moment::TakeOut | Moment::Claim => {}
        // The node is claimed from here on. The step's own state covers a hold (`State::Held`).
        Moment::Change | Moment::GoOn => return Vec::new(),
    }
    let own = reasons(question).into_iter().map(|reason| Answer::deny(Gate::Hold, reason));
    let of_peers = question.peers().flat_map(|peer| reasons(&peer));
    let mut answers: Vec<Answer> = own.collect();
    for reason in of_peers {
        // A control plane node has two steps in its unit, so its reasons come twice.
        if !answers.iter().any(|answer| answer.reason == reason) {
            answers.push(Answer::wait(Gate::Hold, reason));
        }
    }
    answers
}

/// The reasons not to take the node of the question out.
fn reasons(question: &Question<'_>) -> Vec<Reason> {
    let Some(node) = question.node() else { return Vec::new() };
    let object = || format!("node/{}", node.name);
    let mut reasons = Vec::new();
    if let Some(why) = &node.hold {
        reasons.push(Reason::new(Key::Held, object(), format!("a person holds it: {why}")));
    }
    reasons.extend(claimed(question, node));
    let skips = question.limits().is_none_or(|limits| limits.foreign_cordon == ForeignCordon::Skip);
    if node.unschedulable && node.claim.is_none() && skips {
        let text = "somebody else has cordoned it; it is upgraded after they uncordon it";
        reasons.push(Reason::new(Key::ForeignCordon, object(), text));
    }
    if node.to_be_deleted {
        reasons.push(Reason::new(Key::Held, object(), "an autoscaler has marked it for removal"));
    }
    reasons
}

fn claimed(question: &Question<'_>, node: &Node) -> Option<Reason> {
    match node.claim.as_ref()? {
        ClaimState::Unreadable(why) => Some(unreadable_claim(&node.name, why)),
        ClaimState::Ours(claim) if question.world.tenure.is_before(claim) => {
            Some(later_claim(&node.name, claim))
        }
        ClaimState::Ours(_) => None,
    }
}

pub(super) fn unreadable_claim(node: &str, why: &str) -> Reason {
    let text = format!("its annotation {CLAIM} cannot be read: {why}");
    Reason::new(Key::ForeignClaim, format!("node/{node}"), text)
}

/// A lower epoch never overwrites a higher one.
pub(super) fn later_claim(node: &str, claim: &Claim) -> Reason {
    let text = format!("epoch {} of run {} has claimed it; ours is lower", claim.epoch, claim.run);
    Reason::new(Key::ForeignClaim, format!("node/{node}"), text)
}
