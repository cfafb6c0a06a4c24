//! The canary gate: the canaries of a pool go first; its other nodes wait until the canaries are done and have
//! soaked.

use jiff::SignedDuration;

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::time::later;
use crate::model::work::Scope;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match question.moment {
        Moment::TakeOut => {}
        Moment::StartRun | Moment::Claim | Moment::Change | Moment::GoOn => return Vec::new(),
    }
    first_or_soaking(question).into_iter().collect()
}

fn first_or_soaking(question: &Question<'_>) -> Option<Answer> {
    let (run, stage, step) = (question.run()?, question.stage?, question.step?);
    let limits = question.limits()?;
    let Scope::Pool(pool) = &step.id.scope else { return None };
    let counts = run.counts_in(stage, &step.id.scope)?;
    let canaries = (limits.canary as usize).min(counts.steps);
    let object = || format!("pool/{pool}");
    if counts.done() < canaries {
        let begun = counts.done() + counts.in_progress + question.books.chosen(pool);
        let reason = || Reason::new(Key::CanaryFirst, object(), "its canary goes first");
        return (begun >= canaries).then(|| Answer::wait(Gate::Canary, reason()));
    }
    let last = canaries.checked_sub(1).and_then(|last| counts.done_at(last))?;
    let until = later(last, SignedDuration::from_secs(limits.soak_seconds));
    let reason = || Reason::new(Key::Soaking, object(), "its canary soaks before the other nodes follow");
    (until > question.world.now).then(|| Answer::wait(Gate::Canary, reason()).until(Some(until)))
}
