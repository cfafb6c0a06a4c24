//! Takes back the move of an addon that failed, where its file asks for that. Then the step fails.

use jiff::{SignedDuration, Timestamp};

use super::hand::Hand;
use super::settled::unsettled;
use super::turn::Turn;
use crate::model::addon::{AddonMove, AddonWork, ContainerImage, ImageMove, OnFailure, WorkloadRead};
use crate::model::decision::{Gate, Key, Reason};
use crate::model::effect::Effect;
use crate::model::entry::StepEvent;
use crate::model::live::Progress;
use crate::model::manifest::ManifestsRead;
use crate::model::time::later;
use crate::record::GoingBack;
use crate::verify::STABLE;

/// The move failed: it is taken back first if its file asks for that and there is something to go back to.
pub(super) fn fails(hand: &Hand<'_>, mv: &AddonMove, turn: Turn, why: String) -> Turn {
    let reasons = vec![Reason::new(Key::AddonNotRolledOut, hand.object(), why)];
    let goes_back = mv.on_failure == OnFailure::Rollback && has_way_back(hand, mv);
    if goes_back && hand.progress.goes_back.is_none() {
        return turn.event(&hand.step.id, StepEvent::GoesBack { reasons }).moving();
    }
    turn.failed(&hand.step.id, reasons)
}

/// True if something is known to which the addon can go back.
fn has_way_back(hand: &Hand<'_>, mv: &AddonMove) -> bool {
    match &mv.change {
        AddonWork::Image(_) => true,
        // Objects that were applied whole by an earlier commit, with another content.
        AddonWork::Manifests(of) => {
            hand.record.addon_applied.get(&mv.name).is_some_and(|applied| applied.digest != of.digest)
        }
        AddonWork::Helm(of) => of.follows || of.revision.is_some(),
    }
}

/// The way back has ended, well or not.
pub(super) fn went_back(hand: &Hand<'_>, back: &GoingBack, turn: Turn, what: String) -> Turn {
    let told = Reason::new(Key::AddonNotRolledOut, hand.object(), what);
    turn.failed(&hand.step.id, back.reasons.iter().cloned().chain([told]).collect())
}

/// Whether an addon has not come further for longer than it may. The limit counts only while we look.
pub(super) fn is_too_late(
    hand: &Hand<'_>,
    mv: &AddonMove,
    progressed: Timestamp,
    turn: Turn,
) -> (Turn, bool) {
    is_without_progress(hand, SignedDuration::from_secs(mv.timeout_seconds), progressed, turn)
}

/// The same for any limit.
pub(super) fn is_without_progress(
    hand: &Hand<'_>,
    limit: SignedDuration,
    progressed: Timestamp,
    turn: Turn,
) -> (Turn, bool) {
    let id = &hand.step.id;
    let mut turn = Turn { watched: Some(id.clone()), ..turn };
    let watched = hand.live.overlay.watched.get(id).copied().unwrap_or(hand.now);
    let late = turn.expired(watched.max(progressed), limit, hand.now);
    (turn, late)
}

/// Gives the container of the move this image.
pub(super) fn gives_image(
    of: &ImageMove,
    (read, runs): (&WorkloadRead, &ContainerImage),
    image: &str,
) -> Effect {
    Effect::SetImage {
        workload: of.workload.clone(),
        uid: read.uid.clone(),
        resource_version: read.resource_version.clone(),
        container: of.container.clone(),
        init: runs.init,
        image: image.to_owned(),
    }
}

/// Gives the container the image that it had, and watches its rollout to the end.
pub(super) fn image_back(
    hand: &Hand<'_>,
    (mv, of, read): (&AddonMove, &ImageMove, Option<&WorkloadRead>),
    back: &GoingBack,
    turn: Turn,
) -> Turn {
    let found = read.and_then(|read| Some((read, read.images.get(&of.container)?)));
    let Some((read, runs)) = found else {
        return went_back(hand, back, turn, format!("{} is not there any more", of.workload));
    };
    if runs.image == of.image {
        let effect = gives_image(of, (read, runs), &of.image_from);
        return turn.effect(effect, back.seq).moving();
    }
    if runs.image != of.image_from {
        let by = runs.manager.as_deref().unwrap_or("somebody");
        let text = format!("it did not go back: {by} gave it the image {}", runs.image);
        return went_back(hand, back, turn, text);
    }
    let unsettled = unsettled(hand, [read]);
    if let Some(since) = read.complete_since.filter(|_| unsettled.is_none()) {
        let well = later(since, STABLE);
        if well <= hand.now {
            return went_back(hand, back, turn, format!("it went back to {}", mv.from));
        }
        return turn.moving().wakes(well);
    }
    if let Progress::Failed(why) = &read.progress {
        let text = format!("it went back to {}, and its rollout does not go on: {why}", mv.from);
        return went_back(hand, back, turn, text);
    }
    let (turn, late) = is_too_late(hand, mv, read.progressed, turn);
    if late {
        let text =
            format!("it went back to {}, and its rollout has not come further within its timeout", mv.from);
        return went_back(hand, back, turn, text);
    }
    let text = unsettled.unwrap_or_else(|| format!("{} goes back to {}", of.workload, mv.from));
    turn.moving().waits(Gate::Health, Reason::new(Key::AddonRolling, hand.object(), text))
}

/// Watches the workloads of a release that went back.
pub(super) fn release_is_back(
    hand: &Hand<'_>,
    (mv, read): (&AddonMove, &ManifestsRead),
    back: &GoingBack,
    turn: Turn,
) -> Turn {
    let unsettled = unsettled(hand, read.workloads().map(|(_, found)| found));
    let well = |found: &WorkloadRead| found.progress == Progress::Complete && unsettled.is_none();
    let going = read.workloads().find(|(_, found)| !well(found));
    let Some((object, found)) = going else {
        let since = read.workloads().filter_map(|(_, found)| found.complete_since).max();
        let well = since.map(|since| later(since, STABLE)).filter(|well| *well > hand.now);
        return match well {
            Some(well) => turn.moving().wakes(well),
            None => went_back(hand, back, turn, format!("it went back to {}", mv.from)),
        };
    };
    if let Progress::Failed(why) = &found.progress {
        let text = format!("it went back to {}, and the rollout of {object} does not go on: {why}", mv.from);
        return went_back(hand, back, turn, text);
    }
    let (turn, late) = is_too_late(hand, mv, read.progressed, turn);
    if late {
        let text =
            format!("it went back to {}, and {object} has not come further within its timeout", mv.from);
        return went_back(hand, back, turn, text);
    }
    let text = unsettled.unwrap_or_else(|| format!("{object} goes back to {}", mv.from));
    turn.moving().waits(Gate::Health, Reason::new(Key::AddonRolling, hand.object(), text))
}
