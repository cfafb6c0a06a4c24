//! Taking a node, the first effect of its step, and why an untouched one is given back.

use jiff::Timestamp;

use super::choose;
use super::pass::Pass;
use super::step::{InHand, patch, unmet};
use crate::cluster::NodePatch;
use crate::gate::AtNow;
use crate::model::claim::Claim;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::live::Ready;
use crate::model::plan::StageKind;
use crate::verify;

/// Why an untouched node is to be returned now, if it is.
pub(super) fn give_back(pass: &mut Pass<'_>, hand: &InHand<'_>) -> Option<Reason> {
    let object = hand.object();
    if pass.input.record.halted.is_some() {
        return Some(Reason::new(Key::Halted, object, "the run halted before its upgrade began"));
    }
    if choose::superseded(hand.desired, hand.run) && !hop_begun(hand) {
        return Some(Reason::new(
            Key::PlanStale,
            object,
            "a newer commit took the run's place before its upgrade began",
        ));
    }
    let worker = hand.kind == StageKind::Workers;
    (worker && pass.at_now(hand.desired, hand.run, hand.step) == AtNow::ReturnUntouched).then(|| {
        Reason::new(Key::WindowClosed, object, "the window's hard limit passed before its upgrade began")
    })
}

/// A control plane of which one node was touched is finished, whatever git says meanwhile.
fn hop_begun(hand: &InHand<'_>) -> bool {
    hand.kind != StageKind::Workers && choose::control_plane_touched(hand.run)
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
            pass.moving |= reason.is_some();
            reason.map(|reason| pass.waits(Gate::Health, reason)).is_none()
        }
        StageKind::AwaitServers => false,
    }
}
