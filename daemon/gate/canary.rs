//! The canary gate: the canaries of a pool go first; its other nodes wait until the canaries are done and have
//! soaked.

use jiff::SignedDuration;

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::time::later;
use crate::model::work::Scope;

/// How many more nodes of the pool may begin while its canaries are not done; `None` once they are.
fn room(question: &Question<'_>) -> Option<usize> {
    let (run, step) = (question.run()?, question.step?);
    let Scope::Pool(pool) = &step.id.scope else { return None };
    let counts = run.counts_beside(&step.id)?;
    let canaries = (question.limits()?.canary as usize).min(counts.steps);
    let begun = counts.done() + counts.in_progress + question.books.chosen(pool);
    (counts.done() < canaries).then(|| canaries.saturating_sub(begun))
}

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match question.moment {
        Moment::TakeOut => {}
        Moment::StartRun | Moment::Claim | Moment::Change | Moment::GoOn => return Vec::new(),
    }
    let Some(Scope::Pool(pool)) = question.step.map(|step| &step.id.scope) else { return Vec::new() };
    let object = format!("pool/{pool}");
    match room(question) {
        Some(0) => {
            let reason = Reason::new(Key::CanaryFirst, object, "its canary goes first");
            vec![Answer::wait(Gate::Canary, reason)]
        }
        Some(_) => Vec::new(),
        None => soaking(question, object).into_iter().collect(),
    }
}

fn soaking(question: &Question<'_>, object: String) -> Option<Answer> {
    let (run, step, limits) = (question.run()?, question.step?, question.limits()?);
    let counts = run.counts_beside(&step.id)?;
    let canaries = (limits.canary as usize).min(counts.steps);
    let last = canaries.checked_sub(1).and_then(|last| counts.done_at(last))?;
    let until = later(last, SignedDuration::from_secs(limits.soak_seconds));
    let reason = || Reason::new(Key::Soaking, object, "its canary soaks before the other nodes follow");
    (until > question.world.now).then(|| Answer::wait(Gate::Canary, reason()).until(Some(until)))
}
