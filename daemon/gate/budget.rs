//! The budget gate: reasons why a node could never be drained, and the rest after a drain that was blocked. A node
//! with a structural blocker is never cordoned. All blockers are reported, not only the first.

use jiff::SignedDuration;

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::time::later;
use crate::model::work::Step;
use crate::record::StepEnd;
use crate::verify::pods;

/// How long a node whose drain was blocked rests before it is tried again.
const REST: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match question.moment {
        Moment::StartRun | Moment::TakeOut | Moment::Claim => {}
        Moment::Change | Moment::GoOn => return Vec::new(),
    }
    let own = structural(question).into_iter().map(|reason| Answer::deny(Gate::Budget, reason));
    let of_peers = question.peers().flat_map(|peer| structural(&peer));
    let of_peers = of_peers.map(|reason| Answer::wait(Gate::Budget, reason));
    resting(question).into_iter().chain(own).chain(of_peers).collect()
}

fn structural(question: &Question<'_>) -> Vec<Reason> {
    let (Some(live), Some(node)) = (question.live(), question.node()) else { return Vec::new() };
    let drained = question.step.is_some_and(Step::drains);
    let Some(limits) = question.limits().filter(|_| drained) else { return Vec::new() };
    let named = |reason: Reason| {
        let text = format!("node {} cannot be drained: {}", node.name, reason.text);
        Reason { text, ..reason }
    };
    pods::structural(live, &node.name, &limits.drain).into_iter().map(named).collect()
}

fn resting(question: &Question<'_>) -> Option<Answer> {
    let record = question.record_of_step()?;
    let Some(StepEnd::SetAside { reasons, .. }) = &record.end else { return None };
    let first = reasons.first()?;
    let long = matches!(
        first.key,
        Key::DrainTimedOut | Key::RolloutFailed | Key::JobsTimedOut | Key::ExternalTimedOut
    );
    let until = later(record.ended?, REST);
    if !long || until <= question.world.now {
        return None;
    }
    let text = format!("it was set aside: {}", first.text);
    let reason = Reason::new(Key::SetAside, question.object(), text);
    Some(Answer::deny(Gate::Budget, reason).until(Some(until)))
}
