//! Moves an addon: gives its container the image that is asked for, and watches the rollout to its end.

use jiff::SignedDuration;

use super::back::{fails, gives_image, image_back, is_too_late};
use super::hand::Hand;
use super::settled::unsettled;
use super::state::State;
use super::turn::{LOOK_AGAIN, Turn};
use crate::model::addon::{ImageMove, WorkloadRead, WorkloadRef};
use crate::model::decision::{Decision, Gate, Key, Reason};
use crate::model::effect::EffectKey;
use crate::model::entry::StepPhase;
use crate::model::live::{Backoff, Phase, Pod, Probe, Progress};
use crate::model::plan::AddonMove;
use crate::model::time::later;

/// A workload was read within this before its image is changed, or its rollout is judged.
pub(super) const READ: SignedDuration = SignedDuration::from_secs(5);

/// Where the step stands: its workload has the image or not.
pub(super) fn image_state(hand: &Hand<'_>, of: &ImageMove) -> State {
    let goes_back = hand.progress.goes_back.is_some();
    if has_image(hand, of) || goes_back || hand.progress.phase >= StepPhase::Upgrading {
        State::RollingOut
    } else {
        State::Unrolled
    }
}

fn has_image(hand: &Hand<'_>, of: &ImageMove) -> bool {
    let runs = workload(hand, of).and_then(|read| read.images.get(&of.container));
    runs.is_some_and(|runs| runs.image == of.image)
}

fn workload<'a>(hand: &Hand<'a>, of: &ImageMove) -> Option<&'a WorkloadRead> {
    hand.live.addon_workloads.get(&of.workload)?.as_ref()
}

pub(super) fn is_fresh(hand: &Hand<'_>, of: &WorkloadRef) -> bool {
    let read = hand.live.probed.get(&Probe::Workload(of.clone()));
    let answered = !hand.live.addons_unread.contains_key(of);
    answered && read.is_some_and(|at| later(*at, READ) > hand.now)
}

/// The workload was not read of late; why, if its last look failed.
pub(super) fn unread(hand: &Hand<'_>, of: &WorkloadRef, turn: Turn) -> Turn {
    let Some(why) = hand.live.addons_unread.get(of) else { return turn.moving() };
    let text = format!("{of} cannot be read: {}", why.words());
    if why.is_missing_right() {
        return turn.denies(Gate::Health, Reason::new(Key::RightMissing, hand.object(), text));
    }
    turn.moving().waits(Gate::Health, Reason::new(Key::ApiUnreachable, hand.object(), text))
}

pub(super) fn advance(
    hand: &Hand<'_>,
    (mv, of): (&AddonMove, &ImageMove),
    state: State,
    may: &Decision,
) -> Turn {
    let turn = Turn::of(state).probe(Probe::Workload(of.workload.clone()), LOOK_AGAIN);
    match state {
        State::Unrolled => set_image(hand, of, turn, may),
        // Nothing is judged while a person has stopped the work, nor by an old picture.
        _ if may.objects(Gate::Stop) => turn.moving(),
        _ if !is_fresh(hand, &of.workload) => unread(hand, &of.workload, turn),
        _ => match &hand.progress.goes_back {
            Some(back) => image_back(hand, (mv, of, workload(hand, of)), back, turn),
            None => follow(hand, (mv, of), turn),
        },
    }
}

/// Changes the image, if every gate allows it; gives the step up untouched where a gate says so.
fn set_image(hand: &Hand<'_>, of: &ImageMove, turn: Turn, may: &Decision) -> Turn {
    if let Some(turn) = turn.kept_back(&hand.step.id, may) {
        return turn;
    }
    let Some(read) = hand.live.addon_workloads.get(&of.workload).filter(|_| is_fresh(hand, &of.workload))
    else {
        return unread(hand, &of.workload, turn);
    };
    let runs = read.as_ref().and_then(|read| Some((read, read.images.get(&of.container)?)));
    let Some((read, runs)) = runs else {
        let text = format!("{} with a container {} is not there any more", of.workload, of.container);
        return turn.denies(Gate::Health, Reason::new(Key::AddonNotFound, hand.object(), text));
    };
    let effect = gives_image(of, (read, runs), &of.image);
    // What keeps the write from being done is told with the object; see `Merge::effect`.
    let lasts = hand.live.overlay.backoff.get(&EffectKey::workload(&of.workload)).is_some_and(Backoff::lasts);
    let turn = turn.effect(effect, hand.progress.intent);
    if lasts { turn } else { turn.moving() }
}

/// Watches the rollout until all pods have the image and have been well for a while.
fn follow(hand: &Hand<'_>, (mv, of): (&AddonMove, &ImageMove), turn: Turn) -> Turn {
    let (id, object) = (&hand.step.id, hand.object());
    let failed = |turn: Turn, why: String| fails(hand, mv, turn, why);
    // What somebody else has done is not taken back.
    let disturbed = |turn: Turn, why: String| {
        turn.failed(id, vec![Reason::new(Key::AddonNotRolledOut, object.clone(), why)])
    };
    let Some(read) = workload(hand, of) else {
        if hand.live.addon_workloads.contains_key(&of.workload) {
            return disturbed(turn, format!("{} is not there any more", of.workload));
        }
        return turn.moving();
    };
    if !has_image(hand, of) {
        let runs = read.images.get(&of.container).map_or("no such container", |runs| runs.image.as_str());
        let by = read.images.get(&of.container).and_then(|runs| runs.manager.as_deref());
        let by = by.map_or_else(String::new, |by| format!(", written by {by}"));
        return disturbed(turn, format!("somebody changed its image after Windlass did: it has {runs}{by}"));
    }
    if hand.progress.phase < StepPhase::Upgrading {
        return turn.reached(id, StepPhase::Upgrading);
    }
    let unsettled = unsettled(hand, [read]);
    if let Some(since) = read.complete_since.filter(|_| unsettled.is_none()) {
        return turn.done_once_well(id, &mv.to, since, hand.now);
    }
    let words = || match &unsettled {
        Some(why) => format!("; {why}"),
        None => not_ready(hand, read).map_or_else(String::new, |words| format!("; {words}")),
    };
    if let Progress::Failed(why) = &read.progress {
        return failed(turn, format!("the rollout of {} does not go on: {why}{}", of.workload, words()));
    }
    // A rollout over many nodes takes its time: the limit counts from its last progress, and only while we look.
    let (turn, late) = is_too_late(hand, mv, read.progressed, turn);
    if late {
        let text =
            format!("the rollout of {} has not come further within its timeout{}", of.workload, words());
        return failed(turn, text);
    }
    let text = unsettled.unwrap_or_else(|| format!("{} rolls out {}", of.workload, mv.to));
    turn.moving().waits(Gate::Health, Reason::new(Key::AddonRolling, object, text))
}

/// What a pod of the workload says that is not Ready.
pub(super) fn not_ready(hand: &Hand<'_>, read: &WorkloadRead) -> Option<String> {
    let uid = read.uid.as_str().into();
    let mut pods = hand.live.pods_under(&uid).filter(|pod: &&Pod| pod.deleting.is_none() && !pod.ready);
    let pod = pods.next()?;
    let object = pod.object();
    Some(match &pod.node {
        None => format!("{object} is pending: no node has room for it, or may run it"),
        Some(node) if pod.phase == Phase::Pending => format!("{object} does not start on {node}"),
        Some(node) => format!("{object} is not Ready on {node}"),
    })
}
