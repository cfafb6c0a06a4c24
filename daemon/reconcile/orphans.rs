//! Nodes that carry a claim of ours and are in nobody's hand: they are brought back.

use super::lock;
use super::pass::Pass;
use super::step::release;
use crate::model::live::{ClaimState, JobState};
use crate::record::StepEnd;

/// Brings back every node that carries a claim of ours and is in nobody's hand: set aside untouched, left over
/// from a run that is gone, or from a record that was deleted. What failed, or is being changed, stays as it is.
pub(super) fn return_orphans(pass: &mut Pass<'_>) {
    let (live, record) = (pass.input.live, pass.input.record);
    for node in live.nodes.values().filter(|node| node.hold.is_none()) {
        let Some(ClaimState::Ours(claim)) = &node.claim else { continue };
        let step =
            record.run.as_ref().filter(|run| run.id == claim.run).and_then(|run| run.steps.get(&claim.step));
        let keep = match step.map(|step| &step.end) {
            Some(None | Some(StepEnd::Failed(_) | StepEnd::SetAside { touched: true, .. })) => true,
            Some(Some(StepEnd::Done | StepEnd::Gone | StepEnd::SetAside { touched: false, .. })) => false,
            // Of another run: kept while its Job may still be at work, or if it ended badly.
            None => live
                .jobs
                .values()
                .any(|job| job.node == *node.name && job.run == claim.run && job.state != JobState::Complete),
        };
        if keep || (step.is_none() && taken_over(pass, &node.name)) {
            continue;
        }
        let held = lock::held(pass);
        if held.is_some_and(|epoch| epoch < claim.epoch) {
            continue;
        }
        // Whatever the record says by now has to be on the remote first.
        release(pass, node, &ClaimState::Ours(claim.clone()), record.next_seq.saturating_sub(1));
    }
}

/// Whether the present run has this node in hand and will take the claim over by itself.
fn taken_over(pass: &Pass<'_>, node: &str) -> bool {
    let run = pass.input.record.run.as_ref();
    run.is_some_and(|run| run.in_hand().any(|(_, step)| step.node == node))
}
