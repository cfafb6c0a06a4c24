//! The lease gate: whether another process acts on this cluster.

use jiff::{SignedDuration, Timestamp};

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::live::Lock;
use crate::model::names::LEASE;
use crate::model::state::Tenure;
use crate::model::text::length;

/// By how much two clocks may differ before a page calls a holder silent.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(10);

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match question.moment {
        Moment::StartRun | Moment::TakeOut => {}
        Moment::Claim | Moment::Change | Moment::GoOn => return Vec::new(),
    }
    held_elsewhere(question.world.tenure).into_iter().collect()
}

/// The answer while another process holds the lease; `None` while none does.
pub fn held_elsewhere(tenure: &Tenure) -> Option<Answer> {
    let (holder, until) = tenure.elsewhere.as_ref()?;
    let text = format!("the lease {LEASE} is held by {holder}");
    let reason = Reason::new(Key::LeaseElsewhere, format!("lease/{LEASE}"), text);
    Some(Answer::wait(Gate::Lease, reason).until(Some(*until)))
}

/// How long ago the holder renewed the lease, by its own clock against ours.
pub fn lease_age(lock: &Lock, now: Timestamp) -> SignedDuration {
    let renewed = lock.renewed.parse().unwrap_or(lock.seen);
    now.duration_since(renewed).max(SignedDuration::ZERO)
}

/// True if a process holds the lease and has not renewed it for longer than the lease lasts, and some seconds for
/// clocks that differ. For a page that looks once; a daemon watches the lease with its own clock.
pub fn is_silent(lock: &Lock, now: Timestamp) -> bool {
    let lasts = SignedDuration::from_secs(lock.seconds.max(0)).saturating_add(CLOCKS_DIFFER);
    !lock.holder.is_empty() && lease_age(lock, now) > lasts
}

/// The answer about a holder that is silent: a daemon that died with work in hand, and no other has taken over.
pub fn silent_holder(lock: &Lock, now: Timestamp) -> Option<Answer> {
    let age = length(lease_age(lock, now));
    let text =
        format!("its holder {} has been silent for {age}; no daemon acts on this cluster", lock.holder);
    let reason = Reason::new(Key::LeaseSilent, format!("lease/{LEASE}"), text);
    is_silent(lock, now).then(|| Answer::deny(Gate::Lease, reason))
}
