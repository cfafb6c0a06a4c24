//! The lease, whose holder may act: taken while something is to be done, given back after. It is no fence: a paused
//! process may send an effect after its lease ran out. The fences are the journal's push, the claim on the node and
//! the UID of the pod.

use jiff::{SignedDuration, Timestamp};

use super::Input;
use super::merge::Merged;
use crate::gate::held_elsewhere;
use crate::model::effect::{Effect, EffectKey, LeaseMove};
use crate::model::live::{Heard, Live, Lock, Probe};
use crate::model::names::LEASE;
use crate::model::state::{Identity, Tenure};
use crate::model::time::{earliest, later};
use crate::provider;
use crate::record::Record;
use crate::work::{LOOK_AGAIN, Turn};

/// How long a silent holder is taken to be alive. Longer than an API server is away during its own upgrade.
const LENGTH: SignedDuration = SignedDuration::from_secs(30);
/// How often the holder renews the lease.
const RENEW: SignedDuration = SignedDuration::from_secs(8);
/// How long after the last renewal effects may be sent; well before another process may take over.
const DEADLINE: SignedDuration = SignedDuration::from_secs(20);

/// What is known of the lease.
pub fn tenure(live: &Live, record: &Record, me: &Identity, now: Timestamp) -> Tenure {
    let lock = live.lock.as_ref();
    let mine = lock.filter(|lock| lock.holder == me.holder);
    let epoch = match (lock, mine) {
        (_, Some(mine)) => Some(mine.transitions),
        (Some(_), None) => Some(next_epoch(live, record)),
        (None, None) => live.probed.contains_key(&Probe::Lock).then(|| next_epoch(live, record)),
    };
    let held = mine.filter(|lock| is_within(renewed(lock), DEADLINE, now)).map(|lock| lock.transitions);
    Tenure { held, epoch, elsewhere: elsewhere(lock.or(live.lock_deleted.as_ref()), me, now) }
}

/// When we renewed our lease, by our clock.
///
/// A renewal takes effect and its answer is lost. A look finds it 19 seconds later. Others count from when they saw it,
/// so counted from the look, this process would still send when another one has taken over.
fn renewed(lock: &Lock) -> Timestamp {
    lock.renewed.parse().map_or(lock.seen, |sent: Timestamp| sent.min(lock.seen))
}

/// True if no more than this length has passed. A time after now proves nothing: the lease is then renewed at once.
fn is_within(since: Timestamp, length: SignedDuration, now: Timestamp) -> bool {
    since <= now && now < later(since, length)
}

/// The epoch of the process that takes the lease next: above the lease's own and the last one in our record.
///
/// A person deletes the lease. The new one would count from 1, while claims of our own run have epoch 7: this process
/// would take them for claims of a later leader and never release their nodes. So the record's last epoch counts too.
/// A claim that the record does not know does not: the process that wrote it may be alive.
fn next_epoch(live: &Live, record: &Record) -> u64 {
    let lock = live.lock.as_ref().or(live.lock_deleted.as_ref()).map_or(0, |lock| lock.transitions);
    lock.max(record.last_epoch) + 1
}

/// Another process that is taken to hold the lease, and until when; `None` if the lease is free, ours or not known.
///
/// A person deletes the lease of a process that acts. It notices at its next renewal, and may send effects until then.
fn elsewhere(lock: Option<&Lock>, me: &Identity, now: Timestamp) -> Option<(String, Timestamp)> {
    let lock = lock?;
    let silent_until = later(lock.seen, SignedDuration::from_secs(lock.seconds.max(LENGTH.as_secs())));
    let free = lock.holder.is_empty() || lock.holder == me.holder || me.predecessors.contains(&lock.holder);
    (!free && silent_until > now).then(|| (lock.holder.clone(), silent_until))
}

/// Takes, renews or gives back the lease, as this pass needs it.
pub(super) fn keep(input: &Input<'_>, tenure: &Tenure, wanted: bool) -> Turn {
    let mine = input.live.lock.as_ref().filter(|lock| lock.holder == input.me.holder);
    let mut turn = match (mine, wanted) {
        (Some(lock), true) => renew(input, lock),
        (Some(_), false) => give_back(input),
        (None, true) => take(input, tenure),
        (None, false) => Turn::default(),
    };
    // The last write of our lease failed, or its answer was lost. No watch covers the lease, so a probe looks how it is now:
    // with the version of before, each further write would be refused too.
    if mine.is_some() && input.live.overlay.backoff.contains_key(&EffectKey::Lease) {
        turn.probes.push((Probe::Lock, LOOK_AGAIN));
    }
    turn
}

fn renew(input: &Input<'_>, lock: &Lock) -> Turn {
    // News of the API endpoint do not wait: this process may be killed before the next renewal.
    if is_within(renewed(lock), RENEW, input.now) && lock.heard == heard(input.live) {
        return Turn { wake_at: Some(later(renewed(lock), RENEW)), ..Turn::default() };
    }
    let hold = LeaseMove::Hold {
        holder: lock.holder.clone(),
        transitions: lock.transitions,
        resource_version: lock.resource_version.clone(),
    };
    moved(hold, input.live)
}

fn give_back(input: &Input<'_>) -> Turn {
    let effects = release(input.live, &input.me.holder).map(|release| (release, 0));
    Turn { effects: effects.into_iter().collect(), ..Turn::default() }
}

/// Waits while another process acts.
fn stand_by(tenure: &Tenure) -> Turn {
    let Some(answer) = held_elsewhere(tenure) else { return Turn::default() };
    Turn {
        wake_at: answer.next,
        answers: vec![answer],
        probes: vec![(Probe::Lock, LOOK_AGAIN)],
        moves: true,
        ..Turn::default()
    }
}

fn take(input: &Input<'_>, tenure: &Tenure) -> Turn {
    let (live, me) = (input.live, input.me);
    let turn = Turn { probes: vec![(Probe::Lock, LOOK_AGAIN)], moves: true, ..Turn::default() };
    // The lease has not been looked at yet.
    if !live.probed.contains_key(&Probe::Lock) {
        return turn;
    }
    if tenure.elsewhere.is_some() {
        return stand_by(tenure);
    }
    let Some(lock) = &live.lock else {
        let mut turn = turn;
        // The create failed before, perhaps because the namespace does not exist.
        if live.overlay.backoff.contains_key(&EffectKey::Lease) {
            turn.effects.push((Effect::CreateNamespace(provider::namespace()), 0));
        }
        let create =
            LeaseMove::Create { holder: me.holder.clone(), transitions: next_epoch(live, input.record) };
        turn.effects.extend(moved(create, live).effects);
        return turn;
    };
    let hold = LeaseMove::Hold {
        holder: me.holder.clone(),
        transitions: next_epoch(live, input.record),
        resource_version: lock.resource_version.clone(),
    };
    Turn { effects: moved(hold, live).effects, ..turn }
}

fn moved(lease: LeaseMove, live: &Live) -> Turn {
    let effect = Effect::Lease { name: LEASE.to_owned(), lease, heard: heard(live), length: LENGTH };
    Turn { effects: vec![(effect, 0)], ..Turn::default() }
}

/// What the lease keeps of the API endpoint. Where a control plane's versions are seen on its nodes, it keeps nothing.
fn heard(live: &Live) -> Option<Heard> {
    if !live.is_known_by_endpoint() {
        return None;
    }
    let before = live.lock.as_ref().and_then(|lock| lock.heard.clone());
    let (version, since) = (live.api.version.clone(), live.api.version_since);
    version.zip(since).map(|(version, since)| Heard { version, since }).or(before)
}

/// True if this pass must write no entries: another process holds the lease, or a run is in progress and the lease
/// has not been looked at yet.
///
/// Two daemons serve one repository. The first loses its network; the second takes the lease and drains w1. When the
/// first is back, it still has its old record, and every entry it would write follows from a record without the
/// second one's entries.
pub(super) fn others_write(input: &Input<'_>, acts: bool, tenure: &Tenure, merged: &mut Merged) -> bool {
    let tick = &mut merged.tick;
    if let Some(answer) = held_elsewhere(tenure) {
        tick.wake_at = earliest(tick.wake_at, answer.next);
        if !tick.status.answers.iter().any(|told| told.same_subject(&answer)) {
            tick.status.answers.push(answer);
        }
        merged.moves = true;
        look_at_lease(input, tick);
        tick.stands_by = true;
        return true;
    }
    let unseen = input.record.run.is_some() && !input.live.probed.contains_key(&Probe::Lock);
    if unseen && acts && input.live.stop.is_none() {
        merged.moves = true;
        look_at_lease(input, tick);
        return true;
    }
    false
}

fn look_at_lease(input: &Input<'_>, tick: &mut super::Tick) {
    let due = input.live.probed.get(&Probe::Lock).map(|last| later(*last, LOOK_AGAIN));
    match due.filter(|due| *due > input.now) {
        Some(due) => tick.wake_at = earliest(tick.wake_at, Some(due)),
        None if tick.probes.contains(&Probe::Lock) => {}
        None => tick.probes.push(Probe::Lock),
    }
}

/// Until when effects may be sent under the lease as it was last seen; `None` if the lease is not ours.
pub fn deadline(lock: Option<&Lock>, holder: &str) -> Option<Timestamp> {
    lock.filter(|lock| lock.holder == holder).map(|lock| later(renewed(lock), DEADLINE))
}

/// The effect that gives our lease back; `None` if the lease is not ours.
///
/// It leaves what this process has heard last. An endpoint answers with the target, then with the version before, and the
/// process has nothing to do any more. Had it left what the lease said, the next process would go on from there.
pub fn release(live: &Live, holder: &str) -> Option<Effect> {
    let lock = live.lock.as_ref().filter(|lock| lock.holder == holder)?;
    let lease = LeaseMove::Release {
        holder: lock.holder.clone(),
        transitions: lock.transitions,
        resource_version: lock.resource_version.clone(),
    };
    Some(Effect::Lease { name: LEASE.to_owned(), lease, heard: heard(live), length: LENGTH })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::live::{Folder, ProbeAnswer, Seen};

    fn lock(holder: &str, renewed: &str, seen: Timestamp) -> Lock {
        Lock {
            holder: holder.to_owned(),
            transitions: 7,
            resource_version: "1".to_owned(),
            renewed: renewed.to_owned(),
            seconds: 30,
            heard: None,
            seen,
        }
    }

    #[test]
    fn a_lease_that_somebody_deleted_is_its_holders_until_it_would_have_run_out() {
        let now: Timestamp = "2026-12-02T21:59:30Z".parse().unwrap();
        let me =
            Identity { cluster: "c".into(), holder: "me".into(), predecessors: BTreeSet::new(), twin: None };
        let looked = |holder: &str, seconds: i64| {
            let mut folder = Folder::default();
            let probed =
                |lock| Seen::Probed { probe: Probe::Lock, answer: ProbeAnswer::Lock(lock), asked: now };
            folder.fold(probed(Some(lock(holder, "2026-12-02T21:59:30Z", now))), now);
            folder.fold(probed(None), now);
            folder.fold(probed(None), now);
            tenure(&folder.live, &Record::default(), &me, now + SignedDuration::from_secs(seconds))
        };
        let until = now + SignedDuration::from_secs(30);
        assert_eq!(looked("other", 29).elsewhere, Some(("other".to_owned(), until)));
        assert_eq!(looked("other", 30).elsewhere, None);
        assert_eq!(looked("me", 0).elsewhere, None, "our own lease is taken again at once");
        assert_eq!(looked("", 0).elsewhere, None, "a lease without a holder is free");
        assert_eq!(looked("other", 30).epoch, Some(8), "above the epoch of the lease that was deleted");
    }

    #[test]
    fn the_deadline_counts_from_the_renewal_and_not_from_the_look_that_found_it() {
        let sent: Timestamp = "2026-12-02T21:59:30Z".parse().unwrap();
        let found = sent + SignedDuration::from_secs(19);
        for (renewed, from) in [
            ("2026-12-02T21:59:30Z", sent),
            // A time after the look proves nothing.
            ("2026-12-02T22:59:30Z", found),
            ("no time at all", found),
        ] {
            let lock = lock("me", renewed, found);
            assert_eq!(deadline(Some(&lock), "me"), Some(later(from, DEADLINE)), "{renewed}");
        }
    }
    #[test]
    fn a_lease_that_is_given_back_keeps_what_was_heard_last() {
        let now: Timestamp = "2026-12-02T21:59:30Z".parse().unwrap();
        let version = |text: &str| text.parse().unwrap();
        let mut live = Live::default();
        let heard = Heard { version: version("v1.36.3"), since: now - SignedDuration::from_mins(1) };
        live.lock = Some(Lock { heard: Some(heard), ..lock("me", "2026-12-02T21:59:30Z", now) });
        live.api.version = Some(version("v1.35.4"));
        live.api.version_since = Some(now);
        assert!(live.is_known_by_endpoint());
        let Some(Effect::Lease { heard, .. }) = release(&live, "me") else { panic!("it is ours") };
        assert_eq!(heard, Some(Heard { version: version("v1.35.4"), since: now }));
    }
}
