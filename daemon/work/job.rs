//! The Job that changes a node. The Job's state is reported, but the node decides whether the step is done.

use jiff::{SignedDuration, Timestamp};

use super::hand::Hand;
use super::state::{order, own_job};
use super::turn::{Turn, waiting_since};
use crate::model::decision::{Gate, Key, Reason};
use crate::model::effect::{Effect, EffectKey};
use crate::model::entry::StepPhase;
use crate::model::live::{Job, JobState};
use crate::model::work::NodeMove;
use crate::provider::{self, HostJobs, Order};

/// A Job without a running pod by then will not get one: its image cannot be pulled, or the pod is refused.
const JOB_START: SignedDuration = SignedDuration::from_mins(5);

/// How long a failed Job's node has to report the target before the step fails. The work on the host is detached from
/// the Job, and the kubelet's restart may have killed the Job's pod.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_mins(3);

/// How long after its deadline a Job may still show as running.
const AFTER_DEADLINE: SignedDuration = SignedDuration::from_mins(5);

/// The same for a Job that is complete while the node does not report the target.
const AFTER_COMPLETION: SignedDuration = SignedDuration::from_mins(3);

/// Creates the Job, which is suspended, and lets it begin once it is seen. That it has begun shows in the cluster: only
/// then is the node recorded as being upgraded.
///
/// A process may be frozen right before it sends a write, and wake up when the process after it has given the node back.
/// A Job that is created then stays suspended. One that is to begin then was deleted before its node was given back, or
/// has changed, and the API server refuses the write.
pub(super) fn begin_job(hand: &Hand<'_>, mv: &NodeMove, jobs: &HostJobs, turn: Turn) -> Turn {
    let Some((name, job)) = own_job(hand, mv) else { return create_job(hand, mv, jobs, false, turn) };
    let (uid, resource_version) = (job.uid.clone(), job.resource_version.clone());
    let begins = Effect::SuspendJob { name, uid, resource_version, suspend: false };
    turn.effect(begins, hand.progress.intent)
}

/// Asks for the Job; `anew` if somebody deleted the one before it.
fn create_job(hand: &Hand<'_>, mv: &NodeMove, jobs: &HostJobs, anew: bool, mut turn: Turn) -> Turn {
    let Some(order) = order(hand, mv) else { return turn };
    let order = Order { anew, ..order };
    let name = provider::job_name(&order);
    if let Some(backoff) = hand.live.overlay.backoff.get(&EffectKey::Job(name.clone())) {
        let text = format!("it cannot be created: {}", backoff.why);
        let reason = Reason::new(Key::JobRefused, format!("job/{name}"), text);
        let since = waiting_since(hand.live, Key::JobRefused, &reason.object, hand.now);
        if turn.expired(since, JOB_START, hand.now) {
            return not_begun(hand, anew, reason, turn);
        }
        turn = turn.waits(Gate::Health, reason);
    }
    turn.effect(Effect::CreateJob { name, manifest: jobs.job(&order) }, hand.progress.intent)
}

pub(super) fn run_job(hand: &Hand<'_>, mv: &NodeMove, jobs: &HostJobs, mut turn: Turn) -> Turn {
    let Some(order) = order(hand, mv) else { return turn };
    let name = provider::job_name(&order);
    let object = format!("job/{name}");
    let began = hand.since(hand.progress.at.get(&StepPhase::Upgrading).copied().unwrap_or(hand.now));
    // A person may have deleted it. What it began on the host may be unfinished, so that it is made anew, and begins.
    let Some(job) = hand.live.jobs.get(&name) else { return create_job(hand, mv, jobs, true, turn) };
    if !job.begun {
        return begin_job(hand, mv, jobs, turn);
    }
    let state = hand.live.job_state(job);
    match &state {
        JobState::Waiting(why) => {
            let reason = Reason::new(Key::JobNotStarted, &*object, why.clone());
            if turn.expired(began.max(job.created), JOB_START, hand.now) {
                return not_begun(hand, job.made_anew, reason, turn);
            }
            turn.waits(Gate::Health, reason)
        }
        // Somebody suspended it: its pod is gone, and its unit on the host may be at work.
        JobState::Running | JobState::Suspended => {
            let reason = Reason::new(Key::Upgrading, &*object, format!("it upgrades {}", mv.node.name));
            if is_late(hand, jobs, job, &mut turn) {
                let text = format!("it is still at work on {}, and has had its time", mv.node.name);
                return turn.failed(&hand.step.id, vec![Reason::new(Key::UpgradeTimedOut, &*object, text)]);
            }
            turn.waits(Gate::Health, reason)
        }
        JobState::Complete => {
            let text = format!("it ended well, but {} does not run {}", mv.node.name, mv.to);
            let reason = Reason::new(Key::OldKubelet, &*object, text);
            ended(hand, mv, reason, AFTER_COMPLETION, turn)
        }
        JobState::Failed(why) => {
            // What the script said names the cause; the Job's own status says only that it was tried too often.
            let text = match hand.live.job_words(job) {
                Some(words) => format!("{words} ({why})"),
                None => why.clone(),
            };
            let reason = Reason::new(Key::JobFailed, &*object, text);
            if provider::nothing_was_changed(hand.live.job_exit_code(job)) {
                return not_begun(hand, job.made_anew, reason, turn);
            }
            ended(hand, mv, reason, AFTER_FAILURE, turn)
        }
    }
}

/// The Job has ended and the node does not run the target. The work on the host may go on for a while without the
/// Job, so the node gets some time to report the target.
fn ended(hand: &Hand<'_>, mv: &NodeMove, reason: Reason, patience: SignedDuration, mut turn: Turn) -> Turn {
    // When a pass first saw that the Job had ended.
    let since = waiting_since(hand.live, reason.key, &reason.object, hand.now);
    if turn.expired(since, patience, hand.now) {
        return turn.failed(&hand.step.id, vec![reason]);
    }
    let (minutes, node) = (patience.as_mins(), &mv.node.name);
    let text = format!("{}; {node} has up to {minutes} min to report {}", reason.text, mv.to);
    turn.waits(Gate::Health, Reason { text, ..reason })
}

/// This attempt changed nothing on the host. The node is returned once its Job is withdrawn, unless an earlier
/// attempt changed it, or its Job was made anew: the deleted one may have. The run halts, because a person has to look at
/// the cause.
fn not_begun(hand: &Hand<'_>, anew: bool, reason: Reason, turn: Turn) -> Turn {
    let touched = hand.progress.touched || anew;
    turn.halted(vec![reason.clone()]).set_aside(&hand.step.id, touched, vec![reason])
}

/// True if a Job is at work for longer than the unit on the host may be. apt alone may wait for other package managers,
/// refresh its lists and load packages for half an hour.
fn is_late(hand: &Hand<'_>, jobs: &HostJobs, job: &Job, turn: &mut Turn) -> bool {
    let Some(component) = hand.step.component() else { return false };
    let limit = jobs.deadline(component).saturating_add(AFTER_DEADLINE);
    let since = hand.progress.at.get(&StepPhase::Upgrading).copied().or(hand.progress.started());
    since.is_some_and(|since| turn.expired(hand.since(since).max(job.created), limit, hand.now))
}

/// True if the step's time is over, counted from the later of two times: when the upgrade began, and `from`. A step
/// that returns its node passes the time since which it was looked at without a break, so a stop, a hold or a daemon
/// that was away does not count against the node.
pub(super) fn overdue(hand: &Hand<'_>, mv: &NodeMove, from: Timestamp, turn: &mut Turn) -> bool {
    let Some(component) = hand.step.component() else { return false };
    let limit = provider::capabilities(mv.provider).patience.of(component);
    let since = hand.progress.at.get(&StepPhase::Upgrading).copied().or(hand.progress.started());
    since.is_some_and(|since| turn.expired(hand.since(since).max(from), limit, hand.now))
}
