//! The intents of steps that may begin. A step whose component already runs the target is recorded as done, without a
//! touch.

use crate::model::entry::{StepEvent, What};
use crate::model::live::Live;
use crate::model::plan::Plan;
use crate::model::work::{Fact, Standing, Step, Truth};
use crate::verify::owners;

pub(super) fn intent(live: &Live, plan: &Plan, step: &Step) -> What {
    let event = match is_gone(live, step) {
        true => StepEvent::Gone,
        false if is_done(live, step) => {
            StepEvent::Done { version: step.id.to.clone(), evicted: 0, owes: Vec::new() }
        }
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

/// True if beginning the step takes its node out: not if the node is gone or already runs the target.
pub(super) fn takes_out(live: &Live, step: &Step) -> bool {
    !is_gone(live, step) && !is_done(live, step)
}

/// True if the step is done without having begun. A node that still has a claim is returned first.
fn is_done(live: &Live, step: &Step) -> bool {
    let claimed = step.node().and_then(|node| live.nodes.get(node)).is_some_and(|node| node.claim.is_some());
    !claimed && step.standing(|fact| live.truth(fact)) == Standing::Done
}

/// True if the node of the step is gone, or another one has its name.
pub(super) fn is_gone(live: &Live, step: &Step) -> bool {
    let mut nodes = step.expects.iter().filter(|fact| matches!(fact, Fact::Exists(_)));
    nodes.any(|fact| live.truth(fact) != Truth::Holds)
}
