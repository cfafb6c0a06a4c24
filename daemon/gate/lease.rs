//! The lease gate: whether another process acts on this cluster.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::names::LEASE;
use crate::model::state::Tenure;

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
