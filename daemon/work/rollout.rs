//! Pods that leave their node by a rollout of their Deployment: it is begun once for each attempt of a step, waited for, and
//! ended. What was begun is read from the Deployment itself, so that a restart changes nothing.

use super::hand::Hand;
use super::turn::Turn;
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::desired::{Desired, Mode};
use crate::model::effect::{Effect, EffectKey, RolloutPatch};
use crate::model::live::{Id, Live, Phase, Pod, Progress, Rollout, RolloutNote, Workload};
use crate::model::plan::DrainLimits;
use crate::model::rollout::{Rolled, moved_by};
use crate::model::state::Tenure;
use crate::model::time::earlier;
use crate::record::Record;
use crate::verify::pods::CLOCKS;

/// How far the rollout of one Deployment has come.
pub(super) enum Rolling {
    /// It was begun by this attempt of the step, or is about to be.
    Going(Reason),
    /// It cannot begin yet.
    Waits(Answer),
    Failed(Reason),
}

/// Takes the rollout of one Deployment further that has a pod on the node of this step.
pub(super) fn roll(hand: &Hand<'_>, limits: &DrainLimits, rolled: &Rolled<'_>, turn: &mut Turn) -> Rolling {
    let (rollout, object) = (rolled.rollout, rolled.object());
    let wait = |key, text: &str| Rolling::Waits(Answer::wait(Gate::Budget, Reason::new(key, &*object, text)));
    let going = || {
        let node = hand.step.id.node_name().unwrap_or_default();
        let text = format!("it moves by a rollout: a new pod has to be Ready before the one on {node} goes");
        Rolling::Going(Reason::new(Key::MovesByRollout, &*object, text))
    };
    if let Some(note) = rollout.readable_note() {
        if !is_of_attempt(note, hand) {
            return wait(Key::RolloutAwaited, "another rollout that moves its pods has not ended yet");
        }
        let failed = |why: &str| Rolling::Failed(Reason::new(Key::RolloutFailed, &*object, why));
        if !rollout.follows(note) {
            return failed("somebody has changed the annotation windlass.dev/moved of its template");
        }
        let words = || new_pod(hand.live, rolled, note);
        if let Progress::Failed(why) = &rollout.progress {
            return failed(&format!("its rollout does not go on: {why}{}", words()));
        }
        if turn.expired(hand.since(note.at), limits.timeout(), hand.now) {
            return failed(&format!("its rollout has not ended within drain.timeout{}", words()));
        }
        return going();
    }
    let value = moved_by(&hand.run.id, &hand.step.id, hand.progress.attempt);
    if rollout.moved.as_deref() == Some(value.as_str()) {
        return wait(Key::RolloutAwaited, "its rollout has ended, and a pod of it is on the node again");
    }
    if rollout.progress != Progress::Complete {
        let text = "a rollout of it is in progress, or not all of its pods are available";
        return wait(Key::RolloutAwaited, text);
    }
    begin(hand, rolled, turn);
    let key = EffectKey::deployment(&rolled.workload.namespace, &rolled.workload.name);
    match hand.live.overlay.backoff.get(&key).filter(|backoff| backoff.lasts()) {
        None => going(),
        Some(backoff) => Rolling::Waits(backoff.told(&object)),
    }
}

fn begin(hand: &Hand<'_>, rolled: &Rolled<'_>, turn: &mut Turn) {
    let note = RolloutNote {
        run: hand.run.id.clone(),
        step: hand.step.id.to_string(),
        attempt: hand.progress.attempt,
        epoch: hand.tenure.held.unwrap_or(0),
        at: hand.now,
        before: rolled.rollout.moved.as_deref().map(str::to_owned),
    };
    let effect = Effect::rollout(rolled.uid, rolled.workload, RolloutPatch::Begin(note));
    turn.effects.extend(effect.map(|effect| (effect, hand.progress.intent)));
}

fn is_of_attempt(note: &RolloutNote, hand: &Hand<'_>) -> bool {
    note.run == hand.run.id && hand.step.id.is_shown_as(&note.step) && note.attempt == hand.progress.attempt
}

/// What a pod says that the rollout has made and that is not Ready.
fn new_pod(live: &Live, rolled: &Rolled<'_>, begun: &RolloutNote) -> String {
    let is_new = |pod: &&Pod| pod.created.time() >= earlier(begun.at, CLOCKS);
    let mut pods = live.pods_under(rolled.uid).filter(|pod| pod.deleting.is_none() && !pod.ready);
    let Some(pod) = pods.find(is_new) else { return String::new() };
    let (object, started) = (pod.object(), pod.phase != Phase::Pending);
    match &pod.node {
        None => format!("; {object} is pending: no node has room for it, or may run it"),
        Some(node) if started => format!("; {object} is not Ready on {node}"),
        Some(node) => format!("; {object} does not start on {node}"),
    }
}

/// True if the Deployment has the note of a run that this record knows.
pub fn bears_our_note(record: &Record, live: &Live) -> bool {
    notes(live).any(|(_, _, _, note)| record.knows_run(&note.run))
}

/// Deployments with the note of a rollout that can be read.
fn notes(live: &Live) -> impl Iterator<Item = (&Id, &Workload, &Rollout, &RolloutNote)> {
    live.moving.iter().filter_map(|uid| {
        let (uid, workload) = live.workloads.get_key_value(uid)?;
        let rollout = workload.rollout.as_deref()?;
        Some((uid, workload, rollout, rollout.readable_note()?))
    })
}

/// Ends every rollout that a drain has begun: the note goes when the rollout has ended well, and when somebody has taken it
/// back. A rollout whose step is over, whatever the reason, is undone.
pub fn end_rollouts(desired: &Desired, live: &Live, record: &Record, tenure: &Tenure) -> Turn {
    let mut turn = Turn::default();
    for (uid, workload, rollout, note) in notes(live) {
        if desired.cluster.mode == Mode::Observe && !record.knows_run(&note.run) {
            continue;
        }
        let step = record.run.as_ref().filter(|run| run.id == note.run);
        let step = step.and_then(|run| run.recorded_as(&note.step));
        let goes_on = step.is_some_and(|step| step.end.is_none() && step.attempt == note.attempt);
        let follows = rollout.follows(note);
        let patch = match (&rollout.progress, follows) {
            (Progress::Complete, true) => RolloutPatch::Forget,
            // The drain that waits for it gives its node up first.
            _ if goes_on => continue,
            (_, false) => RolloutPatch::Forget,
            (Progress::Going | Progress::Failed(_), true) => {
                RolloutPatch::Undo { before: note.before.clone() }
            }
        };
        if tenure.is_before_epoch(note.epoch) {
            let object = format!("deployment/{}/{}", workload.namespace, workload.name);
            let text = format!("epoch {} of run {} moves it; ours is lower", note.epoch, note.run);
            turn = turn.denies(Gate::Hold, Reason::new(Key::ForeignClaim, object, text));
            continue;
        }
        let after = step.map_or(record.next_seq.saturating_sub(1), |step| step.intent);
        turn.effects.extend(Effect::rollout(uid, workload, patch).map(|effect| (effect, after)));
    }
    turn.wants_lease = !turn.effects.is_empty();
    turn
}
