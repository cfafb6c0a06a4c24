//! A node that was changed proves itself before it is given back, and how long it may take.

use jiff::{SignedDuration, Timestamp};

use super::lock;
use super::pass::Pass;
use super::step::{InHand, fail, moved, note};
use crate::model::claim::{Claim, Reported};
use crate::model::decision::Gate;
use crate::model::desired::Provider;
use crate::model::entry::StepPhase;
use crate::model::live::{ClaimState, Probe, Ready};
use crate::model::plan::Component;
use crate::verify::{self, Outcome};

/// A kubelet is replaced in seconds and back in a minute or two.
const KUBELET: SignedDuration = SignedDuration::from_mins(20);

/// `kubeadm upgrade` allows five minutes a component, of which there are four, and pulls images before.
const SERVERS: SignedDuration = SignedDuration::from_mins(40);

/// Somebody else has this long to move a node that was emptied for them.
const EXTERNAL: SignedDuration = SignedDuration::from_hours(2);

/// What was changed has to come back. From when on it is judged stands on the claim, so that no restart of ours
/// begins the wait anew.
pub(super) fn prove(pass: &mut Pass<'_>, hand: &InHand<'_>) {
    let (live, now) = (pass.input.live, pass.input.now);
    pass.moving = true;
    // Nothing can be noted on the claim, or seen of the node, and it is not to be blamed for that.
    if live.stop.is_some() || lock::held(pass).is_none() {
        return;
    }
    pass.tick.watched.insert(hand.step.id.clone());
    let claim = match &hand.node.claim {
        Some(ClaimState::Ours(claim)) => Some(claim),
        Some(ClaimState::Unreadable(_)) | None => None,
    };
    let kubelet = hand.step.component == Component::Kubelet;
    // The claim is taken away only after the proof: it was given, and the record did not hear of it.
    if kubelet && hand.node.claim.is_none() && hand.node.ready == Ready::True {
        return moved(pass, hand, StepPhase::Upgraded);
    }
    if kubelet {
        let probe = Probe::Heartbeat(hand.step.node.clone());
        let fresh = live.probed.get(&probe).is_some_and(|asked| *asked >= hand.node.kubelet_since);
        pass.probe_often(probe);
        let heartbeat = live.leases.get(&hand.node.name).filter(|_| fresh);
        if let (Some(claim), Some(heartbeat)) = (claim.filter(|claim| claim.reported.is_none()), heartbeat) {
            let reported = Some(Reported { at: now, heartbeat: heartbeat.clone() });
            return note(pass, hand, Claim { reported, ..claim.clone() });
        }
    }
    let reported = claim.and_then(|claim| claim.reported.as_ref());
    match verify::changed(hand.step, live, &hand.rec.baseline, reported, now) {
        Outcome::Done => moved(pass, hand, StepPhase::Upgraded),
        Outcome::Pending(reasons, at) => {
            if let Some(at) = at {
                pass.wake(at);
            }
            let watched = live.overlay.watched.get(&hand.step.id).copied().unwrap_or(now);
            if overdue(pass, hand, watched) {
                return fail(pass, hand, reasons);
            }
            for reason in reasons {
                pass.waits(Gate::Health, reason);
            }
        }
    }
}

/// Whether a step has had its time since it was begun and since `from`, whichever is later: time in which nobody
/// looked, or in which a person had stopped or held it, is not held against a node.
pub(super) fn overdue(pass: &mut Pass<'_>, hand: &InHand<'_>, from: Timestamp) -> bool {
    let limit = match (hand.step.provider, hand.step.component) {
        (Provider::External, _) => EXTERNAL,
        (Provider::Kubeadm, Component::Kubelet) => KUBELET,
        (Provider::Kubeadm, Component::Servers) => SERVERS,
    };
    let since = hand.rec.at.get(&StepPhase::Upgrading).copied().or(hand.rec.started());
    since.is_some_and(|since| pass.expired(since.max(from), limit))
}
