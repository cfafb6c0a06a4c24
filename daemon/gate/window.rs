//! The window gate: whether a window is open, whether the rest of it is long enough for the control plane of a hop,
//! and what a run may still do after its close.

use jiff::SignedDuration;

use super::{AtNow, CalendarState, LOOK, Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::provider;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    if question.only_waits() {
        return Vec::new();
    }
    match (question.moment, question.step) {
        (Moment::StartRun | Moment::TakeOut, _) => take_out(question),
        (Moment::Claim | Moment::Change | Moment::GoOn, Some(_)) if question.is_control_plane() => {
            hop(question)
        }
        (Moment::Claim | Moment::Change | Moment::GoOn, Some(_)) => in_progress(question),
        // Without a step there is nothing to object to; an objection would keep a cluster that is as desired waiting.
        (Moment::Claim | Moment::Change | Moment::GoOn, None) => Vec::new(),
    }
}

fn take_out(question: &Question<'_>) -> Vec<Answer> {
    let Some(now) = question.world.calendar(question.kind()) else { return Vec::new() };
    // A hop that was begun is finished, and a run that may run on needs no open window.
    let passes =
        question.hop_begun() || (question.moment == Moment::TakeOut && question.at_now() == AtNow::TakeOut);
    let mut answers = Vec::new();
    if !passes || now.window.verdict == Verdict::Allow {
        answers.push(now.window.clone());
    }
    let too_short = || too_short(question, hop_length(question));
    answers.extend(
        (!question.hop_begun() && answers.iter().all(|a| a.verdict == Verdict::Allow))
            .then(too_short)
            .flatten(),
    );
    answers
}

/// Why the rest of the opening is too short for the control plane of a hop, which takes `needed`.
fn too_short(question: &Question<'_>, needed: SignedDuration) -> Option<Answer> {
    let now = question.world.calendar(question.kind())?;
    let left = match now.state {
        CalendarState::Open { closes: None, .. } => return None,
        CalendarState::Open { closes: Some(closes), .. } => closes.duration_since(question.world.wall),
        // A run that runs on takes workers out after the close, but begins no hop.
        CalendarState::Closed { .. } => SignedDuration::ZERO,
    };
    // What a freeze covers is the freeze's to tell.
    if now.freezes.iter().any(|answer| answer.verdict != Verdict::Allow) {
        return None;
    }
    if needed.is_zero() || left >= needed {
        return None;
    }
    let longest = question.world.longest_opening(question.kind()).unwrap_or_default();
    if longest < needed {
        let text = format!(
            "the control plane of one hop takes about {} min, and no opening of the next {} days is as long; the longest has \
             {} min",
            needed.as_mins(),
            LOOK.as_hours() / 24,
            longest.as_mins()
        );
        let reason = Reason::new(Key::WindowTooShort, question.world.object(), text);
        return Some(Answer::deny(Gate::Window, reason));
    }
    let text = format!(
        "the control plane of one hop takes about {} min and is not begun unless the opening is long enough",
        needed.as_mins()
    );
    Some(Answer::wait(Gate::Window, Reason::new(Key::WindowTooShort, question.world.object(), text)))
}

/// How long the control plane of the question's hop takes.
fn hop_length(question: &Question<'_>) -> SignedDuration {
    let (Some(plan), Some(stage)) = (question.plan, question.stage) else { return SignedDuration::ZERO };
    if question.moment == Moment::TakeOut && !question.is_control_plane() {
        return SignedDuration::ZERO;
    }
    let unit = plan.stages.iter().filter(|other| other.hop == stage.hop && other.kind.is_control_plane());
    let steps = unit.map(|stage| stage.steps.len()).sum::<usize>();
    step_length(question) * i32::try_from(steps).unwrap_or(i32::MAX)
}

/// How long one step of a control plane node takes.
fn step_length(question: &Question<'_>) -> SignedDuration {
    let provider = question.desired().map(|desired| desired.cluster.control_plane.provider);
    provider.map_or(SignedDuration::ZERO, |provider| provider::capabilities(provider).control_plane_step)
}

/// The control plane of a hop is begun completely within a window or not at all. The window is asked again at every
/// step before the first change.
///
/// A hop of three steps of 5 minutes is chosen exactly 15 minutes before the close; its first claim comes some
/// seconds later. Asked for 15 minutes again, the gate would return the node. So by then one step less has to fit.
fn hop(question: &Question<'_>) -> Vec<Answer> {
    if question.hop_begun() {
        return Vec::new();
    }
    let needed = hop_length(question) - step_length(question);
    if question.at_now() == AtNow::TakeOut && too_short(question, needed).is_none() {
        return Vec::new();
    }
    let text = "the maintenance window closed before the control plane of its hop was begun";
    vec![Answer::deny(Gate::Window, Reason::new(Key::WindowClosed, question.object(), text))]
}

/// A worker in progress is finished, waits or is returned, as `atClose` and `hardLimit` say.
fn in_progress(question: &Question<'_>) -> Vec<Answer> {
    match question.at_now() {
        AtNow::FinishOnly if question.moment == Moment::Claim => {
            let now = question.world.calendar(question.kind());
            now.map(|now| now.window.clone())
                .filter(|answer| answer.verdict != Verdict::Allow)
                .into_iter()
                .collect()
        }
        AtNow::TakeOut | AtNow::FinishBatchOnly | AtNow::FinishOnly => Vec::new(),
        AtNow::ReturnUntouched => {
            let text = "the maintenance window's hard limit passed before its upgrade began";
            vec![Answer::deny(Gate::Window, Reason::new(Key::WindowClosed, question.object(), text))]
        }
    }
}
