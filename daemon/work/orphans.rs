//! Nodes with a claim of ours and without a step in progress: they are returned.

use super::turn::Turn;
use crate::model::claim::Claim;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::desired::{Desired, Mode};
use crate::model::effect::{Effect, NodePatch};
use crate::model::live::{ClaimState, Job, JobState, Live, Node, Ready};
use crate::model::state::Tenure;
use crate::record::{Record, StepEnd};

/// True if the node has a claim of a run that this record knows.
pub fn bears_our_claim(record: &Record, node: &Node) -> bool {
    let Some(ClaimState::Ours(claim)) = &node.claim else { return false };
    record.knows_run(&claim.run)
}

struct Orphans<'a> {
    desired: &'a Desired,
    live: &'a Live,
    record: &'a Record,
    tenure: &'a Tenure,
    turn: Turn,
}

/// Returns every node with a claim of ours and no step in progress: set aside untouched, left over from a run that is
/// gone, or from a record that was deleted. A node whose step failed, or whose Job may be at work, stays as it is.
pub fn return_orphans(desired: &Desired, live: &Live, record: &Record, tenure: &Tenure) -> Turn {
    let mut orphans = Orphans { desired, live, record, tenure, turn: Turn::default() };
    for name in &live.claimed {
        let Some(node) = live.nodes.get(name).filter(|node| node.hold.is_none()) else { continue };
        if let Some(ClaimState::Ours(claim)) = &node.claim {
            orphans.judge(node, claim);
        }
    }
    let mut turn = orphans.turn;
    turn.wants_lease |= !turn.effects.is_empty();
    turn
}

impl Orphans<'_> {
    fn judge(&mut self, node: &Node, claim: &Claim) {
        // In `observe` another process may act on the cluster, so only claims that our own record knows are ours.
        if self.desired.cluster.mode == Mode::Observe && !bears_our_claim(self.record, node) {
            return;
        }
        let run = self.record.run.as_ref().filter(|run| run.id == claim.run);
        let step = run.and_then(|run| run.recorded_as(&claim.step));
        if step.is_none() && self.left_badly(node, claim) {
            let text = format!("run {} left it cordoned: the Job of its upgrade did not end well", claim.run);
            return self.deny(Reason::new(Key::LeftCordoned, format!("node/{}", node.name), text));
        }
        let keep = match step.map(|step| &step.end) {
            Some(None | Some(StepEnd::Failed(_) | StepEnd::SetAside { touched: true, .. })) => true,
            // The Job of an untouched node may still start. The node is kept until the Job is withdrawn.
            Some(Some(StepEnd::SetAside { touched: false, .. })) => self.withdraw(&node.name, &claim.run),
            None | Some(Some(StepEnd::Done | StepEnd::Gone)) => self.withdraw_suspended(&node.name),
        };
        if keep || (step.is_none() && self.taken_over(&node.name)) {
            return;
        }
        // Checked before the release becomes an effect, because an effect makes the pass take the lease: this process
        // would take the lease, find the claim's epoch higher than its own, give the lease back and start over.
        if self.tenure.is_before(claim) {
            return self.deny(claim.of_later_leader(&node.name));
        }
        // A drain is given up while the git host is away. The entry that sets the step aside cannot be pushed, but
        // the step's intent is on the remote, so the node is released on its strength and does not stay cordoned
        // until git is back. A claim without a step has no intent; everything that the record says by now has to be
        // on the remote first.
        let after = step.map_or(self.record.next_seq.saturating_sub(1), |step| step.intent);
        self.turn.effects.push((Effect::node(node, NodePatch::Release(claim.clone())), after));
    }

    fn deny(&mut self, reason: Reason) {
        self.turn = std::mem::take(&mut self.turn).denies(Gate::Hold, reason);
    }

    /// True if the claim of another run has to stay: a Job of that run has not completed, and the node is not Ready
    /// at the desired version, so the upgrade that it began is not finished.
    fn left_badly(&self, node: &Node, claim: &Claim) -> bool {
        let mut jobs = self.live.jobs.on(&node.name).filter(|(_, job)| job.run == claim.run);
        let open = jobs
            .any(|(_, job)| !matches!(self.live.job_state(job), JobState::Complete | JobState::Suspended));
        let wanted = &self.desired.cluster.version;
        let finished = node.ready == Ready::True && node.kubelet.as_ref() == Some(wanted);
        open && !finished && !self.taken_over(&node.name)
    }

    /// Deletes the Jobs of an untouched node that have not started. True while a Job or its pod is still there.
    ///
    /// A Job whose pod is about to start is suspended first, and deleted once its pod is gone: a Job that is deleted in
    /// the second in which its pod starts would leave its unit at work on the host of a node that is given back.
    fn withdraw(&mut self, node: &str, run: &str) -> bool {
        let live = self.live;
        let over = |job: &Job| matches!(job.state, JobState::Complete | JobState::Failed(_));
        let mut any = live.pods_on(node).any(|pod| pod.is_ours() && !pod.finished());
        for (name, job) in live.jobs.on(node).filter(|(_, job)| job.run == run && !over(job)) {
            any = true;
            // A running Job is not deleted: the work on the host would go on without it. It is waited for.
            match live.job_state(job) {
                JobState::Suspended => self.delete(name, job),
                // Its pod is on its way out.
                JobState::Waiting(_) if job.suspended => {}
                JobState::Waiting(_) => self.suspend(name, job),
                JobState::Running | JobState::Complete | JobState::Failed(_) => {}
            }
        }
        self.turn.moves |= any;
        any
    }

    /// Deletes the suspended Jobs of a node, of whatever run: a process that was frozen might let one begin after the
    /// node was given back. True while there is one.
    fn withdraw_suspended(&mut self, node: &str) -> bool {
        let live = self.live;
        let mut any = false;
        for (name, job) in live.jobs.on(node).filter(|(_, job)| live.job_state(job) == JobState::Suspended) {
            any = true;
            self.delete(name, job);
        }
        self.turn.moves |= any;
        any
    }

    fn delete(&mut self, name: &str, job: &Job) {
        self.push(Effect::deletion(name, job));
    }

    fn suspend(&mut self, name: &str, job: &Job) {
        let (name, uid) = (name.to_owned(), job.uid.clone());
        let resource_version = job.resource_version.clone();
        self.push(Effect::SuspendJob { name, uid, resource_version, suspend: true });
    }

    fn push(&mut self, effect: Effect) {
        self.turn.effects.push((effect, self.record.next_seq.saturating_sub(1)));
    }

    /// True if the present run has a step in progress on this node; that step takes the claim over.
    fn taken_over(&self, node: &str) -> bool {
        let run = self.record.run.as_ref();
        run.is_some_and(|run| run.in_progress().any(|(id, _)| id.node_name() == Some(node)))
    }
}
