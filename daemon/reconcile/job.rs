//! The Job that changes a node. Its fate is told, but the node is judged, never the Job.

use jiff::SignedDuration;

use super::pass::{Pass, later};
use super::prove::overdue;
use super::step::{InHand, fail, set_aside};
use crate::execute::Effect;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::entry::{StepPhase, What};
use crate::model::live::JobState;
use crate::provider;

/// A Job that has no running pod by then will not get one by itself: an image that cannot be pulled, a refusal.
const JOB_START: SignedDuration = SignedDuration::from_mins(5);

/// How long a Job may have failed before its node is given up: the work goes on detached from it, and the kubelet's
/// own restart may have killed it.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_mins(3);

/// Likewise for a Job that says it is complete while the node says nothing new.
const AFTER_COMPLETION: SignedDuration = SignedDuration::from_mins(3);

pub(super) fn run_job(pass: &mut Pass<'_>, hand: &InHand<'_>) {
    let order = hand.order();
    let name = provider::job_name(&order);
    let object = format!("job/{name}");
    let began = hand.rec.at.get(&StepPhase::Upgrading).copied().unwrap_or(pass.input.now);
    let Some(job) = pass.input.live.jobs.get(&name) else {
        if let Some(backoff) = pass.input.live.overlay.backoff.get(&object) {
            let reason =
                Reason::new(Key::JobRefused, &*object, format!("it cannot be created: {}", backoff.why));
            if pass.expired(began, JOB_START) {
                return not_begun(pass, hand, reason);
            }
            pass.waits(Gate::Health, reason);
        }
        return pass.effect(Effect::CreateJob { name, manifest: provider::job(&order) }, hand.rec.intent);
    };
    let at_work = || Reason::new(Key::Upgrading, &*object, format!("it upgrades {}", hand.step.node));
    let state = pass.input.live.job_state(job);
    let (reason, patience) = match &state {
        JobState::Waiting(why) => {
            let reason = Reason::new(Key::JobNotStarted, &*object, why.clone());
            if pass.expired(later(began, SignedDuration::ZERO).max(job.created), JOB_START) {
                return not_begun(pass, hand, reason);
            }
            return pass.waits(Gate::Health, reason);
        }
        JobState::Running => (at_work(), None),
        JobState::Complete => {
            let text = format!("it ended well, but {} does not run {}", hand.step.node, hand.step.to);
            (Reason::new(Key::OldKubelet, &*object, text), Some(AFTER_COMPLETION))
        }
        JobState::Failed(why) => (Reason::new(Key::JobFailed, &*object, why.clone()), Some(AFTER_FAILURE)),
    };
    let late = patience.is_some_and(|patience| {
        // Since when the Job has been seen to have ended: what it began on the host may still be on its way.
        let since = pass.since(Key::Settling, &object);
        pass.expired(since, patience)
    });
    if late || overdue(pass, hand, job.created) {
        return fail(pass, hand, vec![reason]);
    }
    if patience.is_some() {
        let text = match &state {
            JobState::Failed(why) => format!("it failed ({why}); what it began on the host may still show"),
            JobState::Waiting(_) | JobState::Running | JobState::Complete => {
                "it has ended; what it began on the host has to show".to_owned()
            }
        };
        pass.waits(Gate::Health, Reason::new(Key::Settling, &*object, text));
    } else {
        pass.waits(Gate::Health, reason);
    }
}

/// Nothing was begun on the host: the node goes back as it was once its Job is withdrawn, and the run halts for the
/// cause to be looked at.
fn not_begun(pass: &mut Pass<'_>, hand: &InHand<'_>, reason: Reason) {
    pass.record(What::Halted { reasons: vec![reason.clone()] });
    set_aside(pass, hand, false, vec![reason]);
}
