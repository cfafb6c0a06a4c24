//! Nodes that carry a claim of ours and are in nobody's hand: they are brought back.

use super::lock;
use super::pass::Pass;
use super::step::release;
use crate::execute::Effect;
use crate::model::claim::Claim;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::desired::Mode;
use crate::model::live::{ClaimState, Job, JobState, Node, Ready};
use crate::record::{Record, StepEnd};

/// Whether a node bears a claim of a run that this record knows.
pub(super) fn bears_our_claim(record: &Record, node: &Node) -> bool {
    let Some(ClaimState::Ours(claim)) = &node.claim else { return false };
    record.knows_run(&claim.run)
}

/// Brings back every node that carries a claim of ours and is in nobody's hand: set aside untouched, left over
/// from a run that is gone, or from a record that was deleted. What failed, or is being changed, stays as it is.
pub(super) fn return_orphans(pass: &mut Pass<'_>) {
    let (live, record) = (pass.input.live, pass.input.record);
    let observes = pass.desired().is_some_and(|desired| desired.cluster.mode == Mode::Observe);
    for node in live.nodes.values().filter(|node| node.hold.is_none()) {
        let Some(ClaimState::Ours(claim)) = &node.claim else { continue };
        // Beside another process that acts, only what our own record knows is ours.
        if observes && !bears_our_claim(record, node) {
            continue;
        }
        let step =
            record.run.as_ref().filter(|run| run.id == claim.run).and_then(|run| run.steps.get(&claim.step));
        if step.is_none() && left_badly(pass, node, claim) {
            let text = format!("run {} left it cordoned: the Job of its upgrade did not end well", claim.run);
            pass.denies(Gate::Hold, Reason::new(Key::SetAside, format!("node/{}", node.name), text));
            continue;
        }
        let keep = match step.map(|step| &step.end) {
            Some(None | Some(StepEnd::Failed(_) | StepEnd::SetAside { touched: true, .. })) => true,
            // What has not begun may still begin as long as its Job is there.
            Some(Some(StepEnd::SetAside { touched: false, .. })) => withdraw(pass, &node.name, &claim.run),
            None | Some(Some(StepEnd::Done | StepEnd::Gone)) => false,
        };
        if keep || (step.is_none() && taken_over(pass, &node.name)) {
            continue;
        }
        // Asked before the lease is: to take it and then not to use it would go on for ever.
        if lock::epoch_to_be(pass).is_some_and(|ours| ours < claim.epoch) {
            pass.denies(Gate::Hold, later_claim(&node.name, claim));
            continue;
        }
        // What is set aside is given back on the strength of its intent: the repository may be away for long. Of a
        // claim without a step, whatever the record says by now has to be on the remote first.
        let after = step.map_or(record.next_seq.saturating_sub(1), |step| step.intent);
        release(pass, node, &ClaimState::Ours(claim.clone()), after);
    }
}

/// Whether a claim of another run has to stay: its Job may still be at work, or has failed, and the node does not show
/// that somebody has finished what it began.
fn left_badly(pass: &Pass<'_>, node: &Node, claim: &Claim) -> bool {
    let mut jobs = pass.input.live.jobs.values().filter(|job| job.node == *node.name && job.run == claim.run);
    let open = jobs.any(|job| job.state != JobState::Complete);
    let wanted = pass.desired().map(|desired| &desired.cluster.version);
    let finished = node.ready == Ready::True && node.kubelet.as_ref() == wanted;
    open && !finished && !taken_over(pass, &node.name)
}

/// Takes back the Jobs that were made for an untouched node; whether something of them is still there.
fn withdraw(pass: &mut Pass<'_>, node: &str, run: &str) -> bool {
    let live = pass.input.live;
    let over = |job: &Job| matches!(job.state, JobState::Complete | JobState::Failed(_));
    let mut any = live.pods_on(node).any(|pod| pod.is_ours() && !pod.finished());
    for (name, job) in live.jobs.iter().filter(|(_, job)| job.node == node && job.run == run && !over(job)) {
        any = true;
        // What has begun on the host goes on without its Job: it is waited for.
        if live.job_state(job) == JobState::Running {
            continue;
        }
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
