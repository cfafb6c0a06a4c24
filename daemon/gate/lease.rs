//! The lease gate: whether another process acts on this cluster.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match question.moment {
        Moment::StartRun | Moment::TakeOut => {}
        Moment::Claim | Moment::Change | Moment::GoOn => return Vec::new(),
    }
    elsewhere(question).into_iter().collect()
}

fn elsewhere(question: &Question<'_>) -> Option<Answer> {
    let (holder, until) = question.world.tenure.elsewhere.as_ref()?;
    let reason =
        Reason::new(Key::LeaseElsewhere, "lease/windlass", format!("the lease windlass is held by {holder}"));
    Some(Answer::wait(Gate::Lease, reason).until(Some(*until)))
}
