//! The intents of steps that may begin. A step whose component already runs the target is recorded as done, without a
//! touch. A node that was claimed on the strength of an intent ahead of its turn is found again by its claim.

use crate::model::entry::{StepEvent, What};
use crate::model::live::{ClaimState, Live};
use crate::model::plan::Plan;
use crate::model::work::{Fact, Standing, Step, Truth, WorkKind};
use crate::record::Run;
use crate::verify::owners;
use crate::work::Turn;

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

/// True if the step is done without having begun. A node that still has a claim is returned first, and a check looks for itself.
fn is_done(live: &Live, step: &Step) -> bool {
    if step.id.kind == WorkKind::Check {
        return false;
    }
    let claimed = step.node().and_then(|node| live.nodes.get(node)).is_some_and(|node| node.claim.is_some());
    !claimed && step.standing(|fact| live.truth(fact)) == Standing::Done
}

/// True if the node of the step is gone, or another one has its name.
pub(super) fn is_gone(live: &Live, step: &Step) -> bool {
    let mut nodes = step.expects.iter().filter(|fact| matches!(fact, Fact::Exists(_)));
    nodes.any(|fact| live.truth(fact) != Truth::Holds)
}

/// The beginnings of steps that the record misses: their nodes bear our claim, and their intents were written ahead.
///
/// The intents of w5 to w8 are on the remote. A process claims w5 and is killed before it has pushed that the step begins. The
/// process after it finds the claim, and the upgrade may be at work on the host.
pub(super) fn begun_unrecorded(live: &Live, run: &Run) -> Turn {
    let mut turn = Turn::default();
    if run.next.is_empty() {
        return turn;
    }
    for node in live.claimed.iter().filter_map(|name| live.nodes.get(name)) {
        let Some(ClaimState::Ours(claim)) = &node.claim else { continue };
        let mut steps = run.next.keys().filter(|id| id.node_name() == Some(&node.name));
        let id = steps.find(|id| claim.run == run.id && id.is_shown_as(&claim.step));
        if let Some((_, step)) = id.and_then(|id| run.find(id)) {
            turn.entries.push(intent(live, &run.plan, step));
        }
    }
    turn
}
