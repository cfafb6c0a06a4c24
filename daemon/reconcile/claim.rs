//! Taking a node, the first effect of its step, and why an untouched one is given back.

use jiff::{SignedDuration, Timestamp};

use super::calendar::still_fits;
use super::choose;
use super::drain;
use super::pass::Pass;
use super::step::{InHand, patch, unmet};
use crate::cluster::NodePatch;
use crate::diff::{self, Membership};
use crate::gate::AtNow;
use crate::model::claim::Claim;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::desired::{Desired, Mode};
use crate::model::entry::StepPhase;
use crate::model::live::{Node, Ready};
use crate::model::plan::StageKind;
use crate::verify;

/// A control plane node that was restarted, and an API that is being replaced, are back within this.
const SOON: SignedDuration = SignedDuration::from_mins(20);

/// Why an untouched node is to be returned now, if it is.
pub(super) fn give_back(pass: &mut Pass<'_>, hand: &InHand<'_>) -> Option<Reason> {
    let object = hand.object();
    if pass.input.record.halted.is_some() {
        return Some(Reason::new(Key::Halted, object, "the run halted before its upgrade began"));
    }
    let touched = hand.kind != StageKind::Workers && choose::hop_touched(hand.run, hand.hop);
    if choose::superseded(hand.desired, hand.run) && !touched {
        return Some(Reason::new(
            Key::PlanStale,
            object,
            "a newer commit took the run's place before its upgrade began",
        ));
    }
    // A control plane that was begun is finished, whatever git says meanwhile.
    let begun = match hand.kind {
        StageKind::Workers => hand.rec.phase >= StepPhase::Claimed,
        _ => choose::hop_begun(pass, hand.run, hand.hop),
    };
    if hand.desired.cluster.mode == Mode::Observe && !begun {
        let text = "spec.mode became observe before it was taken out";
        return Some(Reason::new(Key::ObserveOnly, object, text));
    }
    if hand.kind != StageKind::Workers {
        // Nothing of the hop has been changed: it is one unit, and is begun whole within a window or not at all.
        let closed = !begun
            && (pass.at_now(hand.desired, hand.run, hand.step) != AtNow::TakeOut
                || !still_fits(pass, hand.desired, &hand.run.plan, hand.hop));
        let reason = || Reason::new(Key::WindowClosed, object, "the window closed before its hop began");
        return closed.then(reason);
    }
    if let Some(reason) = elsewhere(hand.desired, hand.node, &hand.step.pool) {
        return Some(reason);
    }
    (pass.at_now(hand.desired, hand.run, hand.step) == AtNow::ReturnUntouched).then(|| {
        Reason::new(Key::WindowClosed, object, "the window's hard limit passed before its upgrade began")
    })
}

/// Why a node no longer belongs to the pool that a plan found it in: labels and selectors change.
pub(super) fn elsewhere(desired: &Desired, node: &Node, pool: &str) -> Option<Reason> {
    let object = format!("node/{}", node.name);
    match diff::membership(&desired.cluster, node) {
        Membership::Pool(found) if found.name == pool => None,
        Membership::Pool(found) => {
            let text = format!("it belongs to pool {} by now, and the plan knows it in {pool}", found.name);
            Some(Reason::new(Key::PlanStale, object, text))
        }
        Membership::ControlPlane => {
            let text = format!("it is a control plane node by now, and the plan knows it in pool {pool}");
            Some(Reason::new(Key::PlanStale, object, text))
        }
        Membership::Nowhere => {
            let text = "no pool selects it any more: it is not touched, and the run is not complete";
            Some(Reason::new(Key::NodeInNoPool, object, text))
        }
        Membership::Several(pools) => {
            let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
            let text = format!("the pools {} select it; a node belongs to one", names.join(" and "));
            Some(Reason::new(Key::NodeInTwoPools, object, text))
        }
    }
}

/// The first effect of a step: one patch that claims the node and, where it will be emptied, cordons it.
pub(super) fn take(pass: &mut Pass<'_>, hand: &InHand<'_>, before: Option<&Claim>) {
    if !may_begin(pass, hand) {
        return;
    }
    pass.moving = true;
    let claim = Claim {
        node_uid: hand.step.node_uid.clone(),
        run: hand.run.id.clone(),
        step: hand.step.id.clone(),
        plan_digest: hand.run.digest.clone(),
        epoch: pass.epoch(),
        was_unschedulable: before.map_or(hand.node.unschedulable, |before| before.was_unschedulable),
        scale_down_was_disabled: before
            .map_or(hand.node.scale_down_disabled, |before| before.scale_down_was_disabled),
        cordoned: hand.step.drain || before.is_some_and(|before| before.cordoned),
        at: pass.input.now,
        blocked_since: None,
        reported: None,
    };
    patch(pass, hand.node, NodePatch::Claim(claim), hand.rec.intent);
}

/// What is asked once more right before the first effect: the world may have moved since the intent.
fn may_begin(pass: &mut Pass<'_>, hand: &InHand<'_>) -> bool {
    let live = pass.input.live;
    match hand.kind {
        StageKind::Workers => {
            let allowed = pass.at_now(hand.desired, hand.run, hand.step) <= AtNow::FinishBatchOnly;
            if !allowed {
                pass.answer_calendar(hand.desired, hand.step);
            }
            allowed
        }
        StageKind::Servers | StageKind::ControlPlaneKubelets => {
            let unready =
                live.control_plane().find(|node| node.ready != Ready::True && *node.name != *hand.step.node);
            let reason = unready
                .map(|node| {
                    let text = "it is not Ready; the control plane is moved only while all its nodes are";
                    Reason::new(Key::NodeNotReady, format!("node/{}", node.name), text)
                })
                .or_else(|| unmet(hand.step, live))
                .or_else(|| verify::quorum(live, Some(&hand.step.node)))
                .or_else(|| verify::steady(live, hand.run.started).err());
            let steady_at = verify::steady(live, Timestamp::UNIX_EPOCH).ok();
            if let (None, Some(at)) = (&reason, steady_at.filter(|at| *at > pass.input.now)) {
                pass.moving = true;
                pass.wake(at);
                let text = "it answers and has to do so for a while";
                pass.waits(Gate::Health, Reason::new(Key::ApiNotSteady, "api", text));
                return false;
            }
            // What passes by itself does so soon; for the rest somebody has to do something.
            let soon = reason.as_ref().is_some_and(|reason| {
                let since = pass.since(reason.key, &reason.object);
                !pass.expired(since, SOON)
            });
            pass.moving |= soon;
            reason.map(|reason| pass.waits(Gate::Health, reason)).is_none()
        }
        StageKind::AwaitServers => false,
    }
}

/// What can never be emptied is never cordoned, however far its control plane has come.
pub(super) fn blocked_for_good(pass: &Pass<'_>, hand: &InHand<'_>) -> Option<Reason> {
    if hand.node.claim.is_some() || hand.touched(pass.input.live) {
        return None;
    }
    let limits = hand.drain_limits().filter(|_| hand.step.drain)?;
    drain::structural(pass.input.live, &hand.step.node, limits).into_iter().next()
}
