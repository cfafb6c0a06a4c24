//! Moves an addon that is described by manifests to what the commit asks for, or back.

use super::back::fails;
use super::earlier::objects_back;
use super::hand::Hand;
use super::objects::{Carried, apply_rank, carry, comparing, expires, homeless, is_recent, objection};
use super::state::State;
use super::turn::{LOOK_AGAIN, Turn};
use crate::model::addon::AddonMove;
use crate::model::decision::{Decision, Gate, Key, Reason};
use crate::model::entry::{StepEvent, StepPhase};
use crate::model::live::Probe;
use crate::model::manifest::{ManifestsMove, ManifestsRead, ObjectRef, ObjectStanding};

/// The objects as they were read, if what was asked about them is what the step applies.
fn objects<'a>(hand: &Hand<'a>, mv: &AddonMove, of: &ManifestsMove) -> Option<&'a ManifestsRead> {
    hand.live.manifests_of(&mv.name, &of.digest)
}

/// True once an object that the step changes has been changed. What has begun is brought to its end.
fn has_applied(hand: &Hand<'_>, mv: &AddonMove, of: &ManifestsMove) -> bool {
    let Some(read) = objects(hand, mv, of) else { return false };
    let applied = |object: &ObjectRef| {
        read.objects.get(object).is_some_and(|read| matches!(read.standing, ObjectStanding::AsAsked { .. }))
    };
    of.added.iter().chain(&of.changed).any(applied)
}

/// Where the step stands: an object is changed or not.
pub(super) fn objects_state(hand: &Hand<'_>, mv: &AddonMove, of: &ManifestsMove) -> State {
    let goes_back = hand.progress.goes_back.is_some();
    if has_applied(hand, mv, of) || goes_back || hand.progress.phase >= StepPhase::Upgrading {
        State::RollingOut
    } else {
        State::Unrolled
    }
}

pub(super) fn apply(
    hand: &Hand<'_>,
    (mv, of): (&AddonMove, &ManifestsMove),
    state: State,
    may: &Decision,
) -> Turn {
    let turn = Turn::of(state);
    if let Some(back) = &hand.progress.goes_back {
        // Nothing is judged while a person has stopped the work, nor once a commit asks for something else.
        let held = may.objects(Gate::Stop) || may.objects(Gate::Plan);
        return if held { turn.moving() } else { objects_back(hand, mv, back, turn) };
    }
    // A look takes the manifests from the files of the desired commit. Before the first look nothing is known of the objects.
    let Some(read) = objects(hand, mv, of) else { return turn.moving() };
    let turn = turn.probe(Probe::Manifests(read.question_again().into()), LOOK_AGAIN);
    match state {
        State::Unrolled => {
            if let Some(turn) = turn.kept_back(&hand.step.id, may) {
                return turn;
            }
        }
        // Nothing is judged while a person has stopped the work, nor once a commit asks for something else.
        _ if may.objects(Gate::Stop) || may.objects(Gate::Plan) => return turn.moving(),
        _ => {}
    }
    if state == State::Unrolled {
        if !is_recent(hand, read) {
            return comparing(hand, turn);
        }
        if let Some(reason) = objection(hand, read) {
            return turn.denies(Gate::Plan, reason);
        }
        if let Some((object, why)) = read.unread() {
            let key = if why.is_missing_right() { Key::RightMissing } else { Key::VersionUnknown };
            let text = format!("{object} cannot be compared: {}", why.words());
            return turn.moving().waits(Gate::Health, Reason::new(key, hand.object(), text));
        }
        let (turn, expired) = expires(hand, (mv, read), turn);
        return match homeless(read).filter(|_| expired) {
            Some(why) => failed(hand, turn, format!("it could not begin within its timeout; {why}")),
            None => apply_rank(hand, read, hand.progress.intent, turn),
        };
    }
    follow_objects(hand, (mv, of, read), turn)
}

pub(super) fn failed(hand: &Hand<'_>, turn: Turn, why: String) -> Turn {
    turn.failed(&hand.step.id, vec![Reason::new(Key::AddonNotRolledOut, hand.object(), why)])
}

/// Applies the rest, watches the rollouts until all pods have been well for a while, and deletes what is gone from the folder.
fn follow_objects(
    hand: &Hand<'_>,
    (mv, of, read): (&AddonMove, &ManifestsMove, &ManifestsRead),
    turn: Turn,
) -> Turn {
    let id = &hand.step.id;
    if let Some(reason) = objection(hand, read) {
        return turn.failed(id, vec![reason]);
    }
    if hand.progress.phase < StepPhase::Upgrading {
        return turn.reached(id, StepPhase::Upgrading);
    }
    match carry(hand, (mv, of, read), hand.progress.intent, turn) {
        Carried::Goes(turn) => turn,
        Carried::Whole(turn) => {
            turn.event(id, StepEvent::Done { version: mv.to.clone(), evicted: 0, owes: Vec::new() })
        }
        Carried::Failed(turn, why) => fails(hand, mv, turn, why),
    }
}
