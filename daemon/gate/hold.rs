//! The hold gate: a hold annotation, a cordon that Windlass did not make, a claim of a later leader or one that
//! cannot be read, and a removal mark of an autoscaler. All reasons are reported. Control plane nodes and workers
//! follow the same rules.

use super::{Moment, Question};
use crate::model::claim::CLAIM;
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::desired::ForeignCordon;
use crate::model::live::{ClaimState, Node};
use crate::model::text::held;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match question.moment {
        Moment::StartRun | Moment::TakeOut | Moment::Claim => {}
        // The node is ours from here on: its cordon is our own, and what a person says of it still counts.
        Moment::Change | Moment::GoOn => {
            let reasons = question.node().into_iter().flat_map(|node| reserved(question, node));
            return reasons.map(|reason| Answer::deny(Gate::Hold, reason)).collect();
        }
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
    let mut reasons = reserved(question, node);
    let skips = question.limits().is_none_or(|limits| limits.foreign_cordon == ForeignCordon::Skip);
    if node.is_cordoned_by_others() && skips && !cordoned_by_step(question, node) {
        let text = "another user cordoned it; Windlass skips it until it is uncordoned";
        reasons.push(Reason::new(Key::ForeignCordon, object(), text));
    }
    if node.to_be_deleted {
        reasons.push(Reason::new(
            Key::MarkedForRemoval,
            object(),
            "a taint or an annotation of an autoscaler or a cloud provider marks it for removal or shutdown",
        ));
    }
    reasons
}

/// True if the journal says that the step cordoned the node, and its claim was removed.
fn cordoned_by_step(question: &Question<'_>, node: &Node) -> bool {
    let found = question.record_of_step().filter(|step| step.end.is_none()).and_then(|step| step.found);
    node.claim.is_none() && found.is_some_and(|found| found.cordoned && !found.was_unschedulable)
}

/// Why Windlass writes nothing to the node: a person holds it, or a later leader or an unreadable claim has it.
fn reserved(question: &Question<'_>, node: &Node) -> Vec<Reason> {
    let why = node.hold.as_deref().map(held);
    let hold = why.map(|why| Reason::new(Key::Held, format!("node/{}", node.name), why));
    hold.into_iter().chain(claimed(question, node)).collect()
}

fn claimed(question: &Question<'_>, node: &Node) -> Option<Reason> {
    match node.claim.as_ref()? {
        ClaimState::Unreadable(why) => Some(unreadable_claim(&node.name, why)),
        ClaimState::Ours(claim) if question.world.tenure.is_before(claim) => {
            Some(claim.of_later_leader(&node.name))
        }
        ClaimState::Ours(_) => None,
    }
}

fn unreadable_claim(node: &str, why: &str) -> Reason {
    let text = format!("its annotation {CLAIM} cannot be read: {why}");
    Reason::new(Key::ForeignClaim, format!("node/{node}"), text)
}
