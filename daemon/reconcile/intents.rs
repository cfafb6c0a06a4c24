//! The intents of steps that may be begun. What already is as it should be is recorded as done without being touched.

use crate::model::entry::{StepEvent, What};
use crate::model::live::Live;
use crate::model::plan::Plan;
use crate::model::work::{Fact, Standing, Step, Truth};
use crate::verify::owners;

pub(super) fn intent(live: &Live, plan: &Plan, step: &Step) -> What {
    let event = match is_gone(live, step) {
        true => StepEvent::Gone,
        false if is_done(live, step) => StepEvent::Done { version: step.id.to.clone(), evicted: 0 },
        false => {
            let (pods, baseline) = step.work.node_move().map_or_else(Default::default, |(component, mv)| {
                let limits = plan.limits(&step.id.scope).map(|limits| &limits.drain);
                owners::baseline(live, component, mv, limits.filter(|_| mv.drain))
            });
            StepEvent::Started { pods, baseline }
        }
    };
    What::Step(step.id.clone(), event)
}

/// Whether beginning this step takes its node out: not one that is gone, and not one that somebody has moved already.
pub(super) fn takes_out(live: &Live, step: &Step) -> bool {
    !is_gone(live, step) && !is_done(live, step)
}

/// Whether a step is done without having been begun. A node that still bears a claim has to be brought back first.
fn is_done(live: &Live, step: &Step) -> bool {
    let claimed = step.node().and_then(|node| live.nodes.get(node)).is_some_and(|node| node.claim.is_some());
    !claimed && step.standing(|fact| live.truth(fact)) == Standing::Done
}

/// Whether the node of a step vanished, or another one bears its name.
pub(super) fn is_gone(live: &Live, step: &Step) -> bool {
    let mut nodes = step.expects.iter().filter(|fact| matches!(fact, Fact::Exists(_)));
    nodes.any(|fact| live.truth(fact) != Truth::Holds)
}
