//! Checks patches of nodes: claims are written, kept and removed only by their step and leader, and of the control
//! plane one node is out at a time.

use std::collections::BTreeSet;

use super::{Check, InProgress, claim_of, claim_on};
use crate::model::claim::{AsFound, Claim};
use crate::model::effect::{Effect, NodePatch};
use crate::model::entry::StepPhase;
use crate::model::live::{ClaimState, JobState, Node, NodeTaint};
use crate::model::names;
use crate::model::work::{NodeRef, Scope};
use crate::record::{Run, StepEnd};

impl<'a> Check<'a> {
    pub(super) fn node_patch(
        &mut self,
        name: &str,
        resource_version: &str,
        (patch, taints): (&NodePatch, Option<&[NodeTaint]>),
        after: u64,
    ) {
        let object = format!("node/{name}");
        let Some(node) = self.live().nodes.get(name) else {
            return self.note(object, "there is no such node");
        };
        self.require(
            node.resource_version == resource_version,
            &object,
            "another state of it is patched than was seen",
        );
        self.require(node.hold.is_none(), &object, "it is patched while a person holds it");
        let later_one =
            claim_on(node).is_some_and(|claim| self.epoch().is_some_and(|ours| claim.epoch > ours));
        self.require(!later_one, &object, "a claim of a higher epoch is overwritten");
        if let Some(taints) = taints {
            self.taints(node, taints, after);
        }
        let unreadable = matches!(node.claim, Some(ClaimState::Unreadable(_)));
        let forgets = matches!(patch, NodePatch::Forget);
        let restores = matches!(patch, NodePatch::Release(_)) && self.found_by_step(node).is_some();
        self.require(
            unreadable == forgets || (unreadable && restores) || *patch == NodePatch::Taints,
            &object,
            "a claim that cannot be read is only ever forgotten, or the node is restored as the journal says",
        );
        match patch {
            NodePatch::Claim(claim) => self.claim(node, claim, after),
            NodePatch::Note(claim) => self.timers(node, claim, after),
            NodePatch::Release(claim) => self.release(node, claim, after),
            NodePatch::Forget => self.forget(node, after),
            NodePatch::Taints => {
                self.require(taints.is_some(), &object, "a patch of its taints has none");
            }
        }
    }

    /// Only our own taint comes and goes. A node gets it for a step of the run that has not begun.
    fn taints(&mut self, node: &Node, taints: &[NodeTaint], after: u64) {
        let object = format!("node/{}", node.name);
        let is_ours = |taint: &&NodeTaint| &*taint.key == names::OUTDATED;
        let foreign =
            |all: &[NodeTaint]| all.iter().filter(|taint| !is_ours(taint)).cloned().collect::<Vec<_>>();
        self.require(
            foreign(taints) == foreign(&node.taints),
            &object,
            "a taint of somebody else is changed",
        );
        let Some(ours) = taints.iter().find(is_ours) else { return };
        self.require(&*ours.effect == "PreferNoSchedule", &object, "our taint keeps pods from it");
        let this = NodeRef { name: node.name.to_string(), uid: node.uid.to_string() };
        let steps = self.run().into_iter().flat_map(|run| run.plan.steps().map(move |step| (run, step)));
        let mut waiting = steps.filter(|(run, step)| {
            let released = run.tainting.get(step.id.scope.name()) == Some(&after);
            released && step.id.node.as_ref() == Some(&this) && !run.steps.contains_key(&step.id)
        });
        let waits = waiting.next().is_some();
        self.require(waits, &object, "it gets our taint and does not wait for its upgrade");
        self.require(!node.unschedulable, &object, "it gets our taint while it is cordoned");
    }

    /// How the node was found, as the journal says of its step in progress.
    fn found_by_step(&self, node: &Node) -> Option<AsFound> {
        let mut steps = self.run()?.in_progress().filter(|(id, _)| id.node_name() == Some(&node.name));
        steps.find_map(|(_, progress)| progress.found)
    }

    /// The step of a claim, if it is in progress on this node and this entry is its intent.
    fn step_of(&mut self, node: &Node, claim: &Claim, after: u64) -> Option<(&'a Run, InProgress<'a>)> {
        let object = format!("node/{}", node.name);
        let (Some(run), Some(of)) = (self.run(), self.in_progress_as(&claim.step)) else {
            self.note(object, "it is patched for a step whose intent is not on record");
            return None;
        };
        let this = NodeRef { name: node.name.to_string(), uid: node.uid.to_string() };
        self.require(
            of.step.id.node.as_ref() == Some(&this),
            &object,
            "it is patched for the step of another node",
        );
        self.require(claim.run == run.id, &object, "it is patched for another run");
        self.require(
            of.progress.intent == after,
            &object,
            "it is released by another entry than the intent of its step",
        );
        Some((run, of))
    }

    fn claim(&mut self, node: &Node, claim: &Claim, after: u64) {
        let object = format!("node/{}", node.name);
        let epoch = self.epoch();
        let Some((run, InProgress { step, .. })) = self.step_of(node, claim, after) else { return };
        let before = claim_on(node);
        let again = claim_of(node, run, &step.id).is_some();
        self.require(claim.plan_digest == run.digest, &object, "its claim names another plan than the run's");
        self.require(claim.node_uid == *node.uid, &object, "its claim names another node");
        self.require(
            again || Some(claim.epoch) == epoch,
            &object,
            "its claim does not bear the epoch of the lease",
        );
        self.require(
            !step.drains() || claim.cordoned,
            &object,
            "it will be emptied and is claimed without a cordon",
        );
        // A cordon that neither a claim of ours nor the journal explains is another person's, also on a node that we
        // have claimed.
        let removed = self.found_by_step(node).filter(|_| before.is_none());
        let known = before.map(Claim::found).or(removed);
        let ours = known.is_some_and(|known| known.cordoned && !known.was_unschedulable);
        let found = (node.unschedulable && !ours) || known.is_some_and(|known| known.was_unschedulable);
        self.require(claim.was_unschedulable == found, &object, "its claim forgets how the node was found");
        if !again {
            self.control_plane_skew(step, &object, true);
            self.kubelet_skew(step, &object, true);
        }
    }

    /// Only the timers of a claim may change. A step that finds its node at the target goes on with the claim that is
    /// there, of whichever run.
    fn timers(&mut self, node: &Node, claim: &Claim, after: u64) {
        let object = format!("node/{}", node.name);
        let mut steps = self.run().into_iter().flat_map(Run::in_progress);
        let ours = steps.any(|(id, progress)| id.node_name() == Some(&node.name) && progress.intent == after);
        self.require(ours, &object, "its claim is changed, and no step in progress has the node");
        let same = claim_on(node).is_some_and(|before| {
            let (blocked_since, reported) = (claim.blocked_since, claim.reported.clone());
            Claim { blocked_since, reported, ..before.clone() } == *claim
        });
        self.require(same, &object, "more than the timers of its claim would change");
    }

    /// A claim is released if its step was set aside untouched, is done, or does not exist. After a failure the claim
    /// stays.
    fn release(&mut self, node: &Node, claim: &Claim, after: u64) {
        let object = format!("node/{}", node.name);
        let bears = claim_on(node) == Some(claim);
        let restored = claim_on(node).is_none() && self.found_by_step(node) == Some(claim.found());
        self.require(bears || restored, &object, "another claim is taken away than it bears");
        let run = self.run().filter(|run| run.id == claim.run);
        let Some(progress) = run.and_then(|run| run.recorded_as(&claim.step)) else {
            let taken = self.run().is_some_and(|run| {
                let mut steps = run.in_progress().filter(|(id, _)| id.node_name() == Some(&node.name));
                steps.any(|(_, progress)| progress.phase < StepPhase::Upgraded)
            });
            return self.require(
                !taken,
                &object,
                "its claim is taken away while a step of the run has the node",
            );
        };
        match &progress.end {
            None => {
                let proven = progress.phase >= StepPhase::Upgraded;
                self.require(proven, &object, "its claim is taken away before it has proven that it is well");
                self.require(
                    progress.intent == after,
                    &object,
                    "it is released by another entry than the intent of its step",
                );
            }
            Some(StepEnd::SetAside { touched: false, .. }) => {
                let at_work = |state: &JobState| matches!(state, JobState::Waiting(_) | JobState::Running);
                let mut jobs = self.live().jobs.on(&node.name).filter(|(_, job)| job.run == claim.run);
                let any = jobs.any(|(_, job)| at_work(&job.state));
                self.require(!any, &object, "its claim is taken away while a Job may change it");
            }
            Some(StepEnd::Failed(_) | StepEnd::SetAside { touched: true, .. }) => {
                self.note(object, "its claim is taken away although it was changed and has not come back");
            }
            Some(StepEnd::Done | StepEnd::Gone) => {}
        }
    }

    fn forget(&mut self, node: &Node, after: u64) {
        let object = format!("node/{}", node.name);
        let of_node = |run: &Run| {
            let mut steps = run.in_progress().filter(|(id, _)| id.node_name() == Some(&node.name));
            steps.any(|(_, progress)| progress.phase >= StepPhase::Upgraded && progress.intent == after)
        };
        let holds = self.run().is_some_and(of_node);
        self.require(
            holds,
            &object,
            "a claim that cannot be read is taken away, and no step has brought the node back",
        );
    }

    /// Of a control plane at most one node is out: two could cost etcd its quorum and the cluster its API.
    pub(super) fn one_control_plane_node_at_a_time(&mut self) {
        let taken = self.tick.effects.iter().filter_map(|(effect, _)| match effect {
            Effect::Node { patch: NodePatch::Claim(claim), .. } => Some(&claim.step),
            Effect::Node { .. }
            | Effect::Evict { .. }
            | Effect::CreateNamespace(_)
            | Effect::CreateJob { .. }
            | Effect::SuspendJob { .. }
            | Effect::DeleteJob { .. }
            | Effect::Lease { .. }
            | Effect::Publish { .. }
            | Effect::ForgetResume { .. }
            | Effect::Rollout { .. }
            | Effect::SetImage { .. }
            | Effect::Apply { .. }
            | Effect::DeleteObject { .. }
            | Effect::Helm(_)
            | Effect::BeginLong { .. } => None,
        });
        let taken = taken.filter_map(|step| Some(&self.in_progress_as(step)?.step.id));
        let taken: BTreeSet<_> = taken.filter(|id| id.scope == Scope::ControlPlane).collect();
        if taken.is_empty() {
            return;
        }
        let on_its_way = self.run().into_iter().flat_map(Run::in_progress);
        let on_its_way =
            on_its_way.filter(|(_, progress)| progress.phase >= StepPhase::Claimed).map(|(id, _)| id);
        let of_control_plane = on_its_way.filter(|id| id.scope == Scope::ControlPlane).chain(taken);
        let nodes: BTreeSet<_> = of_control_plane.filter_map(|id| id.node_name()).collect();
        let (count, object) = (nodes.len(), self.cluster());
        self.require(count <= 1, &object, "two control plane nodes would be on their way at once");
    }
}
