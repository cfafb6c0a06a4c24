//! Where a step stands, as one value: computed from the live cluster by the step's facts, and from the record where
//! the cluster does not show it. `docs/architecture.md` has a picture of the states.

use super::hand::Hand;
use crate::model::claim::Claim;
use crate::model::decision::Moment;
use crate::model::effect::EffectKey;
use crate::model::entry::StepPhase;
use crate::model::live::{ClaimState, Job, JobState, Node, Pod};
use crate::model::work::{Component, NodeMove};
use crate::provider::{self, Order, Role};
use crate::verify::pods::{Case, case};

/// Where a step stands, for a node in the order in which it passes through the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The node is gone, or another one has its name.
    Gone,
    /// A person holds the node. Nothing is done to it.
    Held,
    /// The node has a claim that cannot be read or that a later leader wrote. It is left alone.
    ClaimedElsewhere,
    /// The intent is written; the node is unchanged.
    Unclaimed,
    /// The claim is on the node; the record does not have it yet.
    Claimed,
    /// The node is cordoned, and its pods leave.
    Draining,
    /// The node is drained, or need not be; no Job was created for it.
    Emptied,
    /// The node may be changed: its phase is recorded as upgrading, or its Job exists.
    Changing,
    /// The node runs the target version, and its health is checked.
    Proving,
    /// The node is healthy; its claim is removed and it is made as schedulable as it was.
    Releasing,
    /// The node is back in service; the owners of its evicted pods do not have all their Ready pods yet.
    Recovering,
    /// The step waits for a control plane that an external provider moves.
    Awaiting,
    /// The intent of an addon's step is written; its workload is unchanged.
    Unrolled,
    /// The workload of the addon has its new image, and its pods are replaced.
    RollingOut,
}

impl State {
    /// The moment at which the gates are asked about a step in this state.
    pub fn moment(self) -> Moment {
        match self {
            Self::Unclaimed | Self::Unrolled => Moment::Claim,
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
            | Self::Awaiting
            | Self::RollingOut => Moment::GoOn,
        }
    }
}

/// The node of the step; `None` if it is gone or another node has its name.
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
            // The process before this one released the node and claimed it for its next step, and was killed before
            // that was on the remote: the claim is no longer this step's to remove.
            Some(ClaimState::Ours(claim)) if is_of_another_step(claim, hand) => State::Recovering,
            Some(_) => State::Releasing,
            None if phase < StepPhase::Returned && lost_claim(hand, node) => State::Releasing,
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
        // The Job is at work even if the claim was removed meanwhile.
        Some(ClaimState::Ours(_)) | None if has_job(hand, mv) => State::Changing,
        // A claim that an earlier run left is taken over: the new claim keeps what that one recorded of the node.
        Some(ClaimState::Ours(_)) | None => State::Unclaimed,
    }
}

pub(super) fn readable(node: &Node) -> Option<&Claim> {
    match &node.claim {
        Some(ClaimState::Ours(claim)) => Some(claim),
        Some(ClaimState::Unreadable(_)) | None => None,
    }
}

/// True if somebody has removed the claim of this step and left our cordon.
///
/// A person removes the annotation from a node in the middle of its upgrade. The node is upgraded, and without its claim
/// nothing on it says that the cordon is ours. The journal does.
pub(super) fn lost_claim(hand: &Hand<'_>, node: &Node) -> bool {
    let ours = hand.progress.found.is_some_and(|found| found.cordoned && !found.was_unschedulable);
    ours && node.claim.is_none() && node.unschedulable
}

/// True if the claim is that of another step of this run that is in progress.
fn is_of_another_step(claim: &Claim, hand: &Hand<'_>) -> bool {
    let in_progress = || hand.run.recorded_as(&claim.step).is_some_and(|step| step.end.is_none());
    claim.run == hand.run.id && !hand.step.id.is_shown_as(&claim.step) && in_progress()
}

fn is_of(claim: &Claim, hand: &Hand<'_>) -> bool {
    claim.run == hand.run.id && hand.step.id.is_shown_as(&claim.step)
}

/// True if a drained node is still empty.
///
/// A node is drained, and a person stops the work. During the stop an operator uncordons the node because its
/// capacity is needed, and pods are scheduled onto it. After the stop the upgrade would take them down, so the node
/// is drained again.
fn is_still_empty(hand: &Hand<'_>, node: &Node, claim: &Claim) -> bool {
    let Some(limits) = hand.limits().map(|limits| &limits.drain) else { return false };
    let stays = |pod: &Pod| match case(hand.live, pod, limits, Some(claim), hand.now) {
        Case::Stays | Case::Late => true,
        Case::Goes => pod.finished(),
        Case::Blocked(_) | Case::Ends(_) | Case::Going(_) => false,
    };
    (node.unschedulable || !claim.cordoned) && hand.live.pods_on(&node.name).all(stays)
}

/// True if this attempt has changed the node, or may have: the record says so, or its Job exists or was asked for.
fn touched(hand: &Hand<'_>, mv: &NodeMove) -> bool {
    hand.progress.phase >= StepPhase::Upgrading
        || is_job_possible(hand, mv)
            && own_job_name(hand, mv).is_some_and(|name| {
                hand.live.jobs.get(&name).is_some_and(|job| has_begun(hand, job))
                    || hand.live.overlay.in_flight.contains(&EffectKey::Job(name))
            })
}

/// True if a Job may have done something: it is not suspended, or has a pod.
fn has_begun(hand: &Hand<'_>, job: &Job) -> bool {
    hand.live.job_state(job) != JobState::Suspended
}

/// False if the node has no Job and none was asked for: nearly always true of nodes that are drained, and cheaper than
/// the name of their Job.
fn is_job_possible(hand: &Hand<'_>, mv: &NodeMove) -> bool {
    hand.live.jobs.on(&mv.node.name).next().is_some() || hand.live.overlay.in_flight.any_job()
}

/// True if the Job of this attempt exists and is not suspended.
pub(super) fn has_job(hand: &Hand<'_>, mv: &NodeMove) -> bool {
    own_job(hand, mv).is_some_and(|(_, job)| has_begun(hand, job))
}

/// The Job of this attempt with its name; `None` if there is none.
pub(super) fn own_job<'a>(hand: &Hand<'a>, mv: &NodeMove) -> Option<(String, &'a Job)> {
    let name = own_job_name(hand, mv)?;
    let job = hand.live.jobs.get(&name)?;
    Some((name, job))
}

fn own_job_name(hand: &Hand<'_>, mv: &NodeMove) -> Option<String> {
    order(hand, mv).map(|order| provider::job_name(&order))
}

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
        anew: false,
    })
}
