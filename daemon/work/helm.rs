//! Moves a release: lets helm upgrade it, watches its workloads to the end of their rollouts, and takes back what an
//! interrupted helm left half done.

use jiff::SignedDuration;

use super::addon::READ;
use super::back::{fails, is_too_late, release_is_back, went_back};
use super::hand::Hand;
use super::manifests::failed;
use super::objects::{Going, comparing, expires, not_there_yet, objection};
use super::settled::unsettled;
use super::state::State;
use super::turn::{LOOK_AGAIN, Turn};
use crate::model::addon::AddonMove;
use crate::model::decision::{Decision, Gate, Key, Reason};
use crate::model::effect::{Effect, EffectKey};
use crate::model::entry::StepPhase;
use crate::model::helm::{
    HelmAct, HelmCall, HelmMove, ReleaseMark, ReleaseRead, ReleaseRevision, noted, noted_attempt,
};
use crate::model::live::{Backoff, Probe};
use crate::model::manifest::{ManifestsRead, ObjectRead, ObjectStanding};
use crate::model::time::later;
use crate::record::GoingBack;

/// How much longer than helm's own limit an interrupted helm is waited for.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

fn read<'a>(hand: &Hand<'a>, mv: &AddonMove, of: &HelmMove) -> Option<(&'a ManifestsRead, &'a ReleaseRead)> {
    let read = hand.live.manifests_of(&mv.name, &of.objects.digest)?;
    Some((read, read.release.as_ref()?))
}

fn key(of: &HelmMove) -> EffectKey {
    EffectKey::Release(of.release.to_string())
}

/// True while helm runs for this process.
fn runs(hand: &Hand<'_>, of: &HelmMove) -> bool {
    hand.live.overlay.in_flight.contains(&key(of))
}

/// True if Windlass made the revision for this addon.
fn is_ours(revision: &ReleaseRevision, read: &ManifestsRead) -> bool {
    revision.mark.as_ref().is_some_and(|mark| mark.addon == read.question.label)
}

/// True if Windlass made the revision in this attempt of this step.
fn was_made_in(hand: &Hand<'_>, revision: &ReleaseRevision) -> bool {
    let attempt = noted_attempt(&hand.run.id, hand.progress.attempt);
    revision.mark.as_ref().is_some_and(|mark| mark.attempt == attempt)
}

/// True if helm failed in this attempt, and was not told to end.
fn has_failed(hand: &Hand<'_>, revision: &ReleaseRevision) -> bool {
    revision.is_failed() && !revision.was_cancelled() && was_made_in(hand, revision)
}

/// The newest revision, if helm was interrupted while it made it for this addon. Helm gives the record of a rollback the labels of
/// the revision that it goes back to, so that one is known by what it takes back.
fn interrupted<'a>(read: &ManifestsRead, release: &'a ReleaseRead) -> Option<&'a ReleaseRevision> {
    let newest = release.newest()?;
    release.left_by(&read.question.label).then_some(newest)
}

/// Where the step stands: helm was started or not.
pub(super) fn release_state(hand: &Hand<'_>, mv: &AddonMove, of: &HelmMove) -> State {
    let begun = read(hand, mv, of).is_some_and(|(read, release)| {
        let newest = release.newest();
        interrupted(read, release).is_some()
            || release.has(&of.objects.digest)
            || newest.is_some_and(|newest| has_failed(hand, newest))
    });
    if begun
        || runs(hand, of)
        || hand.progress.goes_back.is_some()
        || hand.progress.phase >= StepPhase::Upgrading
    {
        State::RollingOut
    } else {
        State::Unrolled
    }
}

pub(super) fn upgrade(
    hand: &Hand<'_>,
    (mv, of): (&AddonMove, &HelmMove),
    state: State,
    may: &Decision,
) -> Turn {
    let turn = Turn::of(state);
    // A look takes the chart from the files of the desired commit. Before the first look nothing is known of the release.
    let Some((read, release)) = read(hand, mv, of) else { return turn.moving() };
    let turn = Turn { watched: Some(hand.step.id.clone()), ..turn };
    let turn = turn.probe(Probe::Manifests(read.question_again().into()), LOOK_AGAIN);
    if runs(hand, of) {
        return waits(hand, turn, format!("helm is at work on {}", of.release));
    }
    match state {
        State::Unrolled => {
            if let Some(turn) = turn.kept_back(&hand.step.id, may) {
                return Turn { watched: None, ..turn };
            }
        }
        // Nothing is judged while a person has stopped the work, nor once a commit asks for something else.
        _ if may.objects(Gate::Stop) || may.objects(Gate::Plan) => return turn.moving(),
        _ => {}
    }
    if later(read.read_at, READ) <= hand.now {
        return comparing(hand, turn);
    }
    if let Some(back) = &hand.progress.goes_back {
        return release_back(hand, (mv, of), (read, release), back, turn);
    }
    if let Some(newest) = interrupted(read, release) {
        return take_back(hand, (mv, of, release), newest, turn);
    }
    if state == State::Unrolled {
        start(hand, (mv, of), (read, release), turn)
    } else {
        follow_release(hand, (mv, of), (read, release), turn)
    }
}

fn waits(hand: &Hand<'_>, turn: Turn, text: String) -> Turn {
    turn.moving().waits(Gate::Health, Reason::new(Key::AddonRolling, hand.object(), text))
}

/// How many times its timeout a step may take until its release is deployed.
const MOST_TIMES: i32 = 3;

/// True if this process has tried for so long that another try makes no sense: each interrupted helm begins its time anew.
fn is_at_it_for_long(hand: &Hand<'_>, mv: &AddonMove) -> bool {
    let since = hand.live.overlay.watched.get(&hand.step.id).copied().unwrap_or(hand.now);
    let limit = SignedDuration::from_secs(mv.timeout_seconds) + MARGIN;
    later(since, limit.saturating_mul(MOST_TIMES)) <= hand.now
}

/// Starts helm, unless something speaks against it.
fn start(
    hand: &Hand<'_>,
    (mv, of): (&AddonMove, &HelmMove),
    (read, release): (&ManifestsRead, &ReleaseRead),
    turn: Turn,
) -> Turn {
    let backoff = hand.live.overlay.backoff.get(&key(of));
    let (turn, expired) = expires(hand, (mv, read), turn);
    let again = is_at_it_for_long(hand, mv);
    if expired || again {
        let told = release.told_objection(Key::ApiUnreachable).map(|(_, text)| text);
        let why = told.or_else(|| backoff.map(|backoff| backoff.why.words().to_owned()));
        let why = why.unwrap_or_else(|| "helm was not started".to_owned());
        let what = if again {
            "helm was interrupted again and again"
        } else {
            "it could not begin within its timeout"
        };
        return failed(hand, turn, format!("{what}; {why}"));
    }
    if let Some((key, text)) = release.told_objection(Key::ApiUnreachable) {
        return turn.moving().waits(Gate::Health, Reason::new(key, hand.object(), text));
    }
    if let Some(newest) = release.newest().filter(|newest| newest.is_pending()) {
        let text = format!("{} is {} by somebody else: {}", of.release, newest.status, newest.words());
        return turn.denies(Gate::Plan, Reason::new(Key::AddonConflict, hand.object(), text));
    }
    if let Some(reason) = objection(hand, read) {
        return turn.denies(Gate::Plan, reason);
    }
    let mark = ReleaseMark {
        addon: read.question.label.clone(),
        content: noted(&of.objects.digest).to_owned(),
        attempt: noted_attempt(&hand.run.id, hand.progress.attempt),
        timeout_seconds: mv.timeout_seconds,
    };
    let creates_namespace = !release.has_namespace;
    let takes_over = takes_over(read, release);
    let act = HelmAct::Upgrade { archive: of.archive.clone(), mark, creates_namespace, takes_over };
    let lasts = backoff.is_some_and(Backoff::lasts);
    match call(mv, (read, release), act) {
        Some(call) => {
            let turn = turn.effect(Effect::Helm(call), hand.progress.intent);
            if lasts { turn } else { turn.moving() }
        }
        None => turn.moving(),
    }
}

/// True if helm has to be told to take fields over from other managers.
fn takes_over(read: &ManifestsRead, release: &ReleaseRead) -> bool {
    let overwrites = release.rendering.as_ref().is_some_and(|rendering| rendering.overwrites());
    let taken = |read: &ObjectRead| matches!(read.standing, ObjectStanding::Differs { takes_over: true, .. });
    !overwrites && read.objects.values().any(taken)
}

fn call(mv: &AddonMove, (read, release): (&ManifestsRead, &ReleaseRead), act: HelmAct) -> Option<HelmCall> {
    Some(HelmCall {
        asked: read.question.release.clone()?,
        version: mv.to.clone(),
        act,
        newest: release.newest().map_or(0, |newest| newest.number),
        timeout_seconds: mv.timeout_seconds,
    })
}

/// Goes back to the last deployed revision once the helm that was interrupted is certainly dead. Helm upgrades nothing while a
/// revision is pending.
fn take_back(
    hand: &Hand<'_>,
    (mv, of, release): (&AddonMove, &HelmMove, &ReleaseRead),
    newest: &ReleaseRevision,
    turn: Turn,
) -> Turn {
    let Some((read, _)) = self::read(hand, mv, of) else { return turn.moving() };
    // A daemon that was killed leaves its helm at work.
    let noted = newest.mark.as_ref().map_or(0, |mark| mark.timeout_seconds);
    let limit = SignedDuration::from_secs(mv.timeout_seconds.max(noted)) + MARGIN;
    let dead = later(release.pending_since.unwrap_or(hand.now), limit);
    if dead > hand.now {
        let text = format!(
            "{} is {} by an interrupted helm, which may still be at work; it is taken back at {dead:.0}",
            of.release, newest.status
        );
        return waits(hand, turn, text).wakes(dead);
    }
    let goes_back = hand.progress.goes_back.as_ref();
    let to = match goes_back {
        Some(_) => way_back(of, release),
        None => release.deployed().map(|deployed| deployed.number),
    };
    let act = match to {
        Some(to) => HelmAct::Rollback { to },
        None => HelmAct::Forget { record: newest.record.clone(), found: newest.found.clone() },
    };
    let after = goes_back.map_or(hand.progress.intent, |back| back.seq);
    let turn = match call(mv, (read, release), act) {
        Some(call) => turn.effect(Effect::Helm(call), after),
        None => turn,
    };
    let text = match to {
        Some(to) => format!("{} is taken back to revision {to}: helm was interrupted", of.release),
        None => format!("helm was interrupted, and {} begins again: no revision is deployed", of.release),
    };
    waits(hand, turn, text)
}

/// The revision to which the step goes back. What a step before it in the plan leaves has no number yet when the plan is made.
fn way_back(of: &HelmMove, release: &ReleaseRead) -> Option<u64> {
    if of.follows {
        return release.before(&of.objects.digest).map(|before| before.number);
    }
    of.revision
}

/// Lets helm go back to the revision before the step, and watches its workloads.
fn release_back(
    hand: &Hand<'_>,
    (mv, of): (&AddonMove, &HelmMove),
    (read, release): (&ManifestsRead, &ReleaseRead),
    back: &GoingBack,
    turn: Turn,
) -> Turn {
    let Some((newest, to)) = release.newest().zip(way_back(of, release)) else {
        let text = format!("it did not go back: {} has no revision of before any more", of.release);
        return went_back(hand, back, turn, text);
    };
    let said = format!("Rollback to {to}");
    let on_its_way = newest.is_pending() && newest.description.as_ref() == Some(&said);
    if on_its_way || interrupted(read, release).is_some() {
        return take_back(hand, (mv, of, release), newest, turn);
    }
    if newest.is_deployed() && newest.description.as_ref() == Some(&said) {
        if let Some((_, text)) = release.told_objection(Key::ApiUnreachable) {
            return waits(hand, turn, text);
        }
        return release_is_back(hand, (mv, read), back, turn);
    }
    if !is_ours(newest, read) {
        let text = format!("it did not go back: somebody made {}", newest.words());
        return went_back(hand, back, turn, text);
    }
    let (turn, late) = is_too_late(hand, mv, read.progressed, turn);
    if late {
        let why = hand.live.overlay.backoff.get(&key(of)).map_or("", |backoff| backoff.why.words());
        return went_back(hand, back, turn, format!("it did not go back within its timeout; {why}"));
    }
    let turn = match call(mv, (read, release), HelmAct::Rollback { to }) {
        Some(call) => turn.effect(Effect::Helm(call), back.seq),
        None => turn,
    };
    waits(hand, turn, format!("{} goes back to revision {to}", of.release))
}

/// Watches the rollouts until all pods have been well for a while.
fn follow_release(
    hand: &Hand<'_>,
    (mv, of): (&AddonMove, &HelmMove),
    (read, release): (&ManifestsRead, &ReleaseRead),
    turn: Turn,
) -> Turn {
    let id = &hand.step.id;
    let newest = release.newest();
    if !release.has(&of.objects.digest) {
        let why = match newest {
            Some(newest) if has_failed(hand, newest) => {
                let words = newest.description.as_deref().unwrap_or("helm does not say why");
                return fails(hand, mv, turn, format!("helm failed: {words}"));
            }
            Some(newest) => {
                format!("somebody changed {} after Windlass did: it has {}", of.release, newest.words())
            }
            None => format!("{} is not there any more", of.release),
        };
        return failed(hand, turn, why);
    }
    if hand.progress.phase < StepPhase::Upgrading {
        return turn.reached(id, StepPhase::Upgrading);
    }
    if let Some((_, text)) = release.told_objection(Key::ApiUnreachable) {
        return unlooked(hand, (mv, read), turn, text);
    }
    let unsettled = unsettled(hand, read.workloads().map(|(_, workload)| workload));
    if let Some(since) = read.complete_since.filter(|_| unsettled.is_none()) {
        return turn.done_once_well(id, &mv.to, since, hand.now);
    }
    let going = unsettled.map(Going::Waits).filter(|_| read.complete_since.is_some());
    let going = going.or_else(|| not_there_yet(hand, &of.objects, read));
    if let Some(why) = going.as_ref().and_then(Going::failure) {
        return fails(hand, mv, turn, why.to_owned());
    }
    let text = going.map_or_else(|| missing(read), Going::words);
    let (turn, expired) = expires(hand, (mv, read), turn);
    if expired {
        return fails(hand, mv, turn, format!("it has not come further within its timeout; {text}"));
    }
    waits(hand, turn, text)
}

/// Nothing is known of the objects: the step waits for another look, up to its timeout.
fn unlooked(hand: &Hand<'_>, (mv, read): (&AddonMove, &ManifestsRead), turn: Turn, text: String) -> Turn {
    let (turn, expired) = expires(hand, (mv, read), turn);
    if expired {
        return failed(hand, turn, format!("it could not be looked at within its timeout; {text}"));
    }
    waits(hand, turn, text)
}

/// What is not there of a release whose workloads are complete.
fn missing(read: &ManifestsRead) -> String {
    let missing =
        read.objects.iter().find(|(_, read)| matches!(read.standing, ObjectStanding::Missing { .. }));
    match missing {
        Some((object, _)) => format!("{object} is not there"),
        None => "its objects are not usable yet".to_owned(),
    }
}
