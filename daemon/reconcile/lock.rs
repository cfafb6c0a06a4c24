//! The lease that says who should act: held while something is to be done, given back after.
//! It is no fence; what fences are the journal's push, the node's claim and the pod's UID.

use jiff::{SignedDuration, Timestamp};

use super::pass::{Pass, later};
use crate::cluster::LockMove;
use crate::execute::Effect;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::live::{Lock, OUR_LEASE, Probe};
use crate::provider;

/// The lease's name in the namespace `windlass-system`.
pub const NAME: &str = "windlass";
/// How long a silent holder is believed to be alive. Longer than an API server's swap during its own upgrade takes.
const LENGTH: SignedDuration = SignedDuration::from_secs(30);
/// How often the holder renews.
const RENEW: SignedDuration = SignedDuration::from_secs(8);
/// No effect is sent later than this after the last renewal: well before anybody else may take over.
pub(super) const DEADLINE: SignedDuration = SignedDuration::from_secs(20);

/// Whether we hold the lease and are sure to hold it for a while.
pub(super) fn held(pass: &Pass<'_>) -> Option<u64> {
    let lock = pass.input.live.lock.as_ref().filter(|lock| lock.holder == pass.input.me.holder)?;
    (later(lock.seen, DEADLINE) > pass.input.now).then_some(lock.transitions)
}

/// The epoch that our claims bear, or would bear once the lease is ours; nothing while the lease was never looked at.
pub(super) fn epoch_to_be(pass: &Pass<'_>) -> Option<u64> {
    let live = pass.input.live;
    match &live.lock {
        Some(lock) if lock.holder == pass.input.me.holder => Some(lock.transitions),
        Some(lock) => Some(lock.transitions + 1),
        None => live.probed.contains_key(&Probe::Lock).then_some(1),
    }
}

/// Takes, renews or gives back the lease as this pass needs it, and withholds what only its holder may do.
pub(super) fn keep(pass: &mut Pass<'_>) {
    let mine = pass.input.live.lock.clone().filter(|lock| lock.holder == pass.input.me.holder);
    let wanted = pass.acts() && pass.wants_lock && pass.input.live.stop.is_none();
    if held(pass).is_none() {
        pass.tick.effects.retain(|(effect, _)| !effect.needs_lock());
    }
    match (mine, wanted) {
        (Some(lock), true) => renew(pass, &lock),
        (Some(lock), false) => give_back(pass, &lock),
        (None, true) => take(pass),
        (None, false) => {}
    }
}

fn renew(pass: &mut Pass<'_>, lock: &Lock) {
    let due = later(lock.seen, RENEW);
    if due > pass.input.now {
        return pass.wake(due);
    }
    let hold = LockMove::Hold {
        holder: lock.holder.clone(),
        transitions: lock.transitions,
        resource_version: lock.resource_version.clone(),
    };
    move_lock(pass, hold);
    // Our picture of the lease may be old: then the write is refused, and this look shows why.
    if pass.input.live.overlay.backoff.contains_key(OUR_LEASE) {
        pass.probe_often(Probe::Lock);
    }
}

fn give_back(pass: &mut Pass<'_>, lock: &Lock) {
    if let Some(release) = release(Some(lock), &lock.holder) {
        pass.effect(release, 0);
    }
}

/// Until when somebody else is believed to hold the lease; nothing when it is free, ours, or was never looked at.
pub(super) fn elsewhere(pass: &Pass<'_>) -> Option<Timestamp> {
    let (me, lock) = (pass.input.me, pass.input.live.lock.as_ref()?);
    let silent_until = later(lock.seen, SignedDuration::from_secs(lock.seconds.max(LENGTH.as_secs())));
    let free =
        lock.holder.is_empty() || lock.holder == me.holder || me.predecessor.as_ref() == Some(&lock.holder);
    (!free && silent_until > pass.input.now).then_some(silent_until)
}

/// Looks on while somebody else acts.
pub(super) fn stand_by(pass: &mut Pass<'_>) {
    let (Some(until), Some(lock)) = (elsewhere(pass), &pass.input.live.lock) else { return };
    pass.moving = true;
    pass.probe_often(Probe::Lock);
    pass.wake(until);
    let text = format!("the lease {NAME} is held by {}", lock.holder);
    pass.waits(Gate::Lease, Reason::new(Key::LeaseElsewhere, format!("lease/{NAME}"), text));
}

fn take(pass: &mut Pass<'_>) {
    pass.moving = true;
    let (live, me) = (pass.input.live, pass.input.me);
    pass.probe_often(Probe::Lock);
    // Nothing is known of the lease before it has been looked at.
    if !live.probed.contains_key(&Probe::Lock) {
        return;
    }
    let Some(lock) = &live.lock else {
        if live.overlay.backoff.contains_key(OUR_LEASE) {
            pass.effect(Effect::CreateNamespace(provider::namespace()), 0);
        }
        return move_lock(pass, LockMove::Create { holder: me.holder.clone() });
    };
    if elsewhere(pass).is_some() {
        return stand_by(pass);
    }
    move_lock(
        pass,
        LockMove::Hold {
            holder: me.holder.clone(),
            transitions: lock.transitions + 1,
            resource_version: lock.resource_version.clone(),
        },
    );
}

fn move_lock(pass: &mut Pass<'_>, lock: LockMove) {
    pass.effect(Effect::Lock { name: NAME.to_owned(), lock, length: LENGTH }, 0);
}

/// Until when effects may be sent under the lease as it was last seen; nothing when it is not ours.
pub(super) fn deadline(lock: Option<&Lock>, holder: &str) -> Option<Timestamp> {
    lock.filter(|lock| lock.holder == holder).map(|lock| later(lock.seen, DEADLINE))
}

/// The effect that gives our lease back; nothing when it is not ours.
pub(super) fn release(lock: Option<&Lock>, holder: &str) -> Option<Effect> {
    let lock = lock.filter(|lock| lock.holder == holder)?;
    let lock = LockMove::Release {
        holder: lock.holder.clone(),
        transitions: lock.transitions,
        resource_version: lock.resource_version.clone(),
    };
    Some(Effect::Lock { name: NAME.to_owned(), lock, length: LENGTH })
}
