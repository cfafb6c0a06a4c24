//! Where a step stands, as one value: computed from the world by the step's own facts, and from the record where the
//! world does not show it. The picture of it is in `docs/architecture.md`.

use super::hand::Hand;
use crate::model::claim::Claim;
use crate::model::decision::Moment;
use crate::model::entry::StepPhase;
use crate::model::live::{ClaimState, Node, Pod};
use crate::model::work::{Component, NodeMove};
use crate::provider::{self, Order, Role};
use crate::verify::pods::{Case, case};

/// Where a step stands. Of a node, in the order in which it passes through them; each is left by what the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its node vanished, or another one bears its name.
    Gone,
    /// A person holds the node: nothing is done to it.
    Held,
    /// A claim that cannot be read, or one of a later leader: it is left alone.
    ClaimedElsewhere,
    /// The intent is written; the node is as it was found.
    Unclaimed,
    /// The claim is on the node; the record has not heard of it.
    Claimed,
    /// It is cordoned, and its pods leave.
    Draining,
    /// It is empty, or need not be; nothing was begun on it.
    Emptied,
    /// Its Job exists or existed, or somebody else was asked to move it.
    Changing,
    /// It runs the target and has to prove that it is well.
    Proving,
    /// It is well; its claim is taken away and it is made schedulable as it was found.
    Releasing,
    /// It is back in service; the owners of its pods are not as Ready as before yet.
    Recovering,
    /// Somebody else moves the control plane.
    Awaiting,
}

impl State {
    /// At which moment the gates are asked about a step that stands here.
    pub(super) fn moment(self) -> Moment {
        match self {
            Self::Unclaimed => Moment::Claim,
            Self::Emptied => Moment::Change,
            Self::Gone
            | Self::Held
            | Self::ClaimedElsewhere
            | Self::Claimed
            | Self::Draining
            | Self::Changing
            | Self::Proving
            | Self::Releasing
            | Self::Recovering
            | Self::Awaiting => Moment::GoOn,
        }
    }
}

/// The node of the step, where it is still the one that the plan was made for.
pub(super) fn node_of<'a>(hand: &Hand<'a>, mv: &NodeMove) -> Option<&'a Node> {
    hand.live.nodes.get(mv.node.name.as_str()).filter(|node| *node.uid == *mv.node.uid)
}

pub(super) fn state(hand: &Hand<'_>, mv: &NodeMove) -> State {
    let Some(node) = node_of(hand, mv) else { return State::Gone };
    if node.hold.is_some() {
        return State::Held;
    }
    if let Some(ClaimState::Ours(claim)) = &node.claim
        && hand.tenure.is_before(claim)
    {
        return State::ClaimedElsewhere;
    }
    let phase = hand.progress.phase;
    if hand.step.arrived(|fact| hand.live.truth(fact)) {
        return match &node.claim {
            _ if phase < StepPhase::Upgraded => State::Proving,
            Some(_) => State::Releasing,
            None => State::Recovering,
        };
    }
    match &node.claim {
        Some(ClaimState::Unreadable(_)) => State::ClaimedElsewhere,
        Some(ClaimState::Ours(claim)) if is_of(claim, hand) => match phase {
            StepPhase::Started => State::Claimed,
            _ if touched(hand, mv) => State::Changing,
            StepPhase::Claimed if mv.drain => State::Draining,
            StepPhase::Drained if mv.drain && !is_still_empty(hand, node, claim) => State::Draining,
            StepPhase::Claimed
            | StepPhase::Drained
            | StepPhase::Upgrading
            | StepPhase::Upgraded
            | StepPhase::Returned => State::Emptied,
        },
        // Its Job is at work, whatever has become of the claim meanwhile.
        Some(ClaimState::Ours(_)) | None if has_job(hand, mv) => State::Changing,
        // A claim that a run before left over is taken over as it is.
        Some(ClaimState::Ours(_)) | None => State::Unclaimed,
    }
}

fn is_of(claim: &Claim, hand: &Hand<'_>) -> bool {
    claim.run == hand.run.id && claim.step == hand.step.id.to_string()
}

/// Whether a node that was drained still is. While the daemon was stopped or away, somebody may have uncordoned it because
/// its capacity was needed, and what runs on it by now would be taken down with the upgrade.
fn is_still_empty(hand: &Hand<'_>, node: &Node, claim: &Claim) -> bool {
    let Some(limits) = hand.limits().map(|limits| &limits.drain) else { return false };
    let stays = |pod: &Pod| match case(hand.live, pod, limits, Some(claim), hand.now) {
        Case::Stays | Case::Late => true,
        Case::Goes => pod.finished(),
        Case::Blocked(_) | Case::Ends(_) | Case::Going(_) => false,
    };
    (node.unschedulable || !claim.cordoned) && hand.live.pods_on(&node.name).all(stays)
}

/// Whether this attempt has changed the node, or may have: its Job is there, or the record says so.
fn touched(hand: &Hand<'_>, mv: &NodeMove) -> bool {
    hand.progress.phase >= StepPhase::Upgrading || has_job(hand, mv)
}

fn has_job(hand: &Hand<'_>, mv: &NodeMove) -> bool {
    order(hand, mv).is_some_and(|order| hand.live.jobs.contains_key(&provider::job_name(&order)))
}

/// What the provider of the node is asked to carry out.
pub(super) fn order<'a>(hand: &Hand<'a>, mv: &'a NodeMove) -> Option<Order<'a>> {
    let (node, component) = (node_of(hand, mv)?, hand.step.component()?);
    let first = component == Component::ControlPlane && hand.run.first_of_hop(hand.step);
    Some(Order {
        cluster: &hand.run.plan.cluster,
        run: &hand.run.id,
        step: &hand.step.id,
        node_move: mv,
        role: Role::of(component, node.control_plane, first),
        kubeadm: &hand.run.plan.kubeadm,
        attempt: hand.progress.attempt,
    })
}
