//! Takes the objects of an addon further: applies them, first those that others need, watches its workloads to the end of their
//! rollouts, and deletes what is not asked for any more.

use super::addon::{READ, not_ready};
use super::back::is_too_late;
use super::hand::Hand;
use super::settled::unsettled;
use super::turn::Turn;
use crate::model::addon::{AddonMove, WorkloadRead};
use crate::model::decision::{Gate, Key, Reason};
use crate::model::effect::{Effect, EffectKey};
use crate::model::entry::StepPhase;
use crate::model::live::{Backoff, Progress};
use crate::model::manifest::{
    GoneObject, ManifestsMove, ManifestsRead, ObjectRank, ObjectRead, ObjectRef, ObjectStanding,
    StuckWorkload,
};
use crate::model::time::later;
use crate::verify::STABLE;

/// An answer about many objects takes its time. Each write names what it expects, so what counts is when the answer came.
pub(super) fn is_recent(hand: &Hand<'_>, read: &ManifestsRead) -> bool {
    later(read.read_at, READ) > hand.now
}

pub(super) fn comparing(hand: &Hand<'_>, turn: Turn) -> Turn {
    let text = "its objects are being compared with what the cluster has".to_owned();
    turn.moving().waits(Gate::Health, Reason::new(Key::AddonRolling, hand.object(), text))
}

/// Why an object is not applied, if only a person can change that.
pub(super) fn objection(hand: &Hand<'_>, read: &ManifestsRead) -> Option<Reason> {
    let mut all = read.objects.iter();
    all.find_map(|(object, read)| read.objection(object))
        .map(|(key, text)| Reason::new(key, hand.object(), text))
}

/// Applies what is not as asked yet, of the first rank that has something of it.
pub(super) fn apply_rank(hand: &Hand<'_>, read: &ManifestsRead, after: u64, turn: Turn) -> Turn {
    let pending = || read.objects.iter().filter(|(_, read)| read.is_pending());
    let Some(rank) = pending().map(|(object, _)| object.rank()).min() else {
        // Objects are only to be deleted, or somebody else did the rest.
        return turn.reached(&hand.step.id, StepPhase::Upgrading);
    };
    // What came first has to be usable before others need it.
    let mut earlier = read.objects.iter().filter(|(object, _)| object.rank() < rank);
    let unusable = earlier.find_map(|(object, read)| match &read.standing {
        ObjectStanding::Unread(why) => Some(format!("{object} cannot be compared: {}", why.words())),
        _ if rank == ObjectRank::Webhook && read.is_rolling() => Some(format!("{object} rolls out")),
        _ => read.unready.clone(),
    });
    if let Some(why) = unusable {
        return turn.moving().waits(Gate::Health, Reason::new(Key::AddonRolling, hand.object(), why));
    }
    let mut held_up = 0;
    // Without a place an object waits for the next look.
    let of_rank = pending().filter(|(object, read)| object.rank() == rank && read.has_place());
    let next: Vec<_> = of_rank.take(AT_ONCE).collect();
    let mut turn = match homeless(read).filter(|_| next.is_empty()) {
        Some(why) => turn.waits(Gate::Health, Reason::new(Key::AddonRolling, hand.object(), why)),
        None => turn,
    };
    for (object, read_of) in &next {
        let manifest = read.question.objects.iter().find(|manifest| manifest.object == **object);
        let Some((manifest, address)) = manifest.zip(read_of.address.clone()) else { continue };
        let effect = Effect::Apply {
            object: (*object).clone(),
            address,
            found: read_of.found.clone(),
            body: manifest.body.clone(),
            takes_over: matches!(read_of.standing, ObjectStanding::Differs { takes_over: true, .. }),
        };
        held_up += usize::from(is_held_up(hand, &effect.key()));
        turn = turn.effect(effect, after);
    }
    if held_up == next.len() && held_up > 0 { turn } else { turn.moving() }
}

/// Why an object cannot be applied: its kind or its namespace does not exist.
pub(super) fn homeless(read: &ManifestsRead) -> Option<String> {
    read.objects.iter().find_map(|(object, read)| match &read.standing {
        ObjectStanding::Missing { no_place: Some(words) } => Some(format!("{object} has no place: {words}")),
        _ => None,
    })
}

/// How many objects are written at a time. What is decided is sent soon, so that a stop is heeded within its time.
const AT_ONCE: usize = 8;

/// What keeps a write from being done is told with the object; see `Merge::effect`.
fn is_held_up(hand: &Hand<'_>, key: &EffectKey) -> bool {
    hand.live.overlay.backoff.get(key).is_some_and(Backoff::lasts)
}

/// How far the objects of an addon are.
pub(super) enum Carried {
    Goes(Turn),
    /// All of them are as asked, and their pods have been well for a while.
    Whole(Turn),
    Failed(Turn, String),
}

/// Takes the objects further under the entry with this number.
pub(super) fn carry(
    hand: &Hand<'_>,
    (mv, of, read): (&AddonMove, &ManifestsMove, &ManifestsRead),
    after: u64,
    turn: Turn,
) -> Carried {
    let unsettled = unsettled(hand, read.workloads().map(|(_, workload)| workload));
    if let Some(since) = read.complete_since.filter(|_| is_recent(hand, read) && unsettled.is_none()) {
        let well = later(since, STABLE);
        if well > hand.now {
            return Carried::Goes(turn.moving().wakes(well));
        }
        if of.removed.iter().all(|object| read.gone.get(object).is_none_or(GoneObject::is_settled)) {
            return Carried::Whole(turn);
        }
    }
    let going = unsettled.map(Going::Waits).filter(|_| read.complete_since.is_some());
    let going = going.or_else(|| not_there_yet(hand, of, read));
    if let Some(Going::Failed(why)) = going.as_ref().filter(|_| is_recent(hand, read)) {
        return Carried::Failed(turn, why.clone());
    }
    let (turn, expired) = expires(hand, (mv, read), turn);
    if expired {
        let what = going.map_or_else(|| left_over(of, read), Going::words);
        return Carried::Failed(turn, format!("it has not come further within its timeout; {what}"));
    }
    if !is_recent(hand, read) {
        return Carried::Goes(comparing(hand, turn));
    }
    if read.complete_since.is_some() && going.is_none() {
        return Carried::Goes(prune(hand, (of, read), after, turn));
    }
    if read.objects.values().any(ObjectRead::is_pending) {
        return Carried::Goes(apply_rank(hand, read, after, turn));
    }
    let text = going.map_or_else(|| left_over(of, read), Going::words);
    Carried::Goes(turn.moving().waits(Gate::Health, Reason::new(Key::AddonRolling, hand.object(), text)))
}

/// Why the addon is not as it should be yet.
pub(super) enum Going {
    /// It comes by itself, or not.
    Waits(String),
    Failed(String),
}

impl Going {
    pub(super) fn failure(&self) -> Option<&str> {
        if let Self::Failed(words) = self { Some(words) } else { None }
    }

    pub(super) fn words(self) -> String {
        match self {
            Self::Waits(words) | Self::Failed(words) => words,
        }
    }
}

pub(super) fn not_there_yet(hand: &Hand<'_>, of: &ManifestsMove, read: &ManifestsRead) -> Option<Going> {
    if let Some((object, why)) = read.unread() {
        return Some(Going::Waits(format!("{object} cannot be compared: {}", why.words())));
    }
    if let Some(why) = read.objects.values().find_map(|read| read.unready.clone()) {
        return Some(Going::Waits(why));
    }
    // A rollout of before the step says nothing of it.
    let applied = |object: &ObjectRef| {
        read.objects.get(object).is_some_and(|read| matches!(read.standing, ObjectStanding::AsAsked { .. }))
    };
    let going =
        |(object, of): &(&ObjectRef, &WorkloadRead)| of.progress != Progress::Complete && applied(object);
    let (object, workload) = read.workloads().find(going)?;
    let pods = not_ready(hand, workload).map_or_else(String::new, |words| format!("; {words}"));
    // The rollout of before the step: what it needs may have been changed beside it.
    let stuck = StuckWorkload { object: object.clone(), generation: workload.generation };
    let before = of.stuck.contains(&stuck);
    Some(match &workload.progress {
        Progress::Failed(why) if !before => {
            Going::Failed(format!("the rollout of {object} does not go on: {why}{pods}"))
        }
        Progress::Failed(_) | Progress::Going | Progress::Complete => {
            Going::Waits(format!("{object} rolls out{pods}"))
        }
    })
}

/// Whether the addon has not come further for longer than it may. The limit counts only while we look.
pub(super) fn expires(hand: &Hand<'_>, (mv, read): (&AddonMove, &ManifestsRead), turn: Turn) -> (Turn, bool) {
    is_too_late(hand, mv, read.progressed, turn)
}

/// What of the step is not done, where no rollout and no answer is waited for.
fn left_over(of: &ManifestsMove, read: &ManifestsRead) -> String {
    let left = of.removed.iter().find(|object| read.gone.get(object).is_some_and(|gone| !gone.is_settled()));
    if let Some(why) = homeless(read) {
        return why;
    }
    match (left, read.objects.iter().find(|(_, read)| read.is_pending())) {
        (Some(object), _) if read.complete_since.is_some() => format!("{object} is being deleted"),
        (_, Some((object, _))) => format!("{object} is not applied"),
        (_, None) => "its objects are not usable yet".to_owned(),
    }
}

/// Deletes what the addon does not have any more. Pods of before do not need it any more either.
fn prune(hand: &Hand<'_>, (of, read): (&ManifestsMove, &ManifestsRead), after: u64, turn: Turn) -> Turn {
    let mut turn = turn.moving();
    let ours = read.gone.iter().filter(|(object, gone)| of.removed.contains(object) && gone.is_ours());
    for (object, gone) in ours.take(AT_ONCE) {
        if let GoneObject::Ours(address, found) = gone {
            let (object, address, found) = (object.clone(), address.clone(), found.clone());
            turn = turn.effect(Effect::DeleteObject { object, address, found }, after);
        }
    }
    let text = left_over(of, read);
    turn.waits(Gate::Health, Reason::new(Key::AddonRolling, hand.object(), text))
}
