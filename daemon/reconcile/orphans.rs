//! Nodes that carry a claim of ours and are in nobody's hand: they are brought back.

use super::lock;
use super::pass::Pass;
use super::step::release;
use crate::execute::Effect;
use crate::model::claim::Claim;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::live::{ClaimState, Job, JobState};
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
            // What has not begun may still begin as long as its Job is there.
            Some(Some(StepEnd::SetAside { touched: false, .. })) => withdraw(pass, &node.name, &claim.run),
            Some(Some(StepEnd::Done | StepEnd::Gone)) => false,
            // Of another run: kept while its Job may still be at work, or if it ended badly.
            None => live
                .jobs
                .values()
                .any(|job| job.node == *node.name && job.run == claim.run && job.state != JobState::Complete),
        };
        if keep || (step.is_none() && taken_over(pass, &node.name)) {
            continue;
        }
        // Asked before the lease is: to take it and then not to use it would go on for ever.
        if lock::epoch_to_be(pass).is_some_and(|ours| ours < claim.epoch) {
            pass.denies(Gate::Hold, later_claim(&node.name, claim));
            continue;
        }
        // Whatever the record says by now has to be on the remote first.
        release(pass, node, &ClaimState::Ours(claim.clone()), record.next_seq.saturating_sub(1));
    }
}

/// Takes back the Jobs that were made for an untouched node; whether something of them is still there.
fn withdraw(pass: &mut Pass<'_>, node: &str, run: &str) -> bool {
    let live = pass.input.live;
    let over = |job: &Job| matches!(job.state, JobState::Complete | JobState::Failed(_));
    let mut any = live.pods_on(node).any(|pod| pod.is_ours() && !pod.finished());
    for (name, job) in live.jobs.iter().filter(|(_, job)| job.node == node && job.run == run && !over(job)) {
        any = true;
        let effect = Effect::DeleteJob { name: name.clone(), uid: job.uid.clone() };
        pass.effect(effect, pass.input.record.next_seq.saturating_sub(1));
    }
    pass.moving |= any;
    any
}

/// A lower epoch never overwrites a higher one.
pub(super) fn later_claim(node: &str, claim: &Claim) -> Reason {
    let text = format!("epoch {} of run {} has claimed it; ours is lower", claim.epoch, claim.run);
    Reason::new(Key::ForeignClaim, format!("node/{node}"), text)
}

/// Whether the present run has this node in hand and will take the claim over by itself.
fn taken_over(pass: &Pass<'_>, node: &str) -> bool {
    let run = pass.input.record.run.as_ref();
    run.is_some_and(|run| run.in_hand().any(|(_, step)| step.node == node))
}
