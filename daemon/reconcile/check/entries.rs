//! Checks entries: each follows from the record and from the live cluster.

use std::collections::BTreeSet;

use super::Check;
use crate::model::CommitId;
use crate::model::addon::OnFailure;
use crate::model::desired::Mode;
use crate::model::entry::{CommitEvent, InterruptionEvent, RunEvent, RunOutcome, StepEvent, StepPhase, What};
use crate::model::live::Node;
use crate::model::plan::StageKind;
use crate::model::work::{Fact, NodeRef, Scope, StepId};
use crate::record::StepEnd;

impl<'a> Check<'a> {
    pub(super) fn entries(&mut self) {
        let object = self.cluster();
        let (tick, now) = (self.tick, self.input);
        self.require(
            !tick.stands_by || tick.entries.is_empty(),
            &object,
            "it writes while another process acts",
        );
        let starts = tick.entries.iter().any(|what| matches!(what, What::Run(RunEvent::Started { .. })));
        self.require(
            starts == tick.frozen.is_some(),
            &object,
            "a plan is frozen without its run, or a run without its plan",
        );
        let begun: Vec<&StepId> = tick.entries.iter().filter_map(begun_by).collect();
        let distinct: BTreeSet<&StepId> = begun.iter().copied().collect();
        self.require(distinct.len() == begun.len(), &object, "one step begins twice");
        let stopped = now.live.stop.is_some();
        for what in &tick.entries {
            self.require(
                !(stopped && what.is_progress()),
                &object,
                "progress is recorded while the cluster is stopped",
            );
            match what {
                What::Commit(CommitEvent::Accepted { commit, .. }) => {
                    let good = now.state.problems.is_empty() && self.is_in_force(commit);
                    self.require(good, &object, "a commit is accepted that is not the good one in force");
                }
                What::Run(event) => self.run_event(event),
                What::Step(id, event) => self.step_event(id, event),
                What::Interruption(InterruptionEvent::Resumed { .. }) => {
                    let asked = now.record.halted.is_some() || now.live.resume.is_some();
                    self.require(
                        asked,
                        &object,
                        "it resumes, and neither is it halted nor did a person ask for it",
                    );
                }
                What::Cluster(_)
                | What::Commit(CommitEvent::Refused { .. })
                | What::Interruption(
                    InterruptionEvent::Halted { .. }
                    | InterruptionEvent::Stopped { .. }
                    | InterruptionEvent::StopEnded,
                ) => {}
            }
        }
        self.limits();
    }

    fn is_in_force(&self, commit: &CommitId) -> bool {
        self.desired().is_some_and(|desired| desired.commit == *commit)
    }

    fn run_event(&mut self, event: &RunEvent) {
        let object = self.cluster();
        match event {
            RunEvent::Started { commit, digest, .. } => self.run_starts(commit, digest),
            RunEvent::RollbackPoint { .. } => {}
            RunEvent::Tainting { pool } | RunEvent::Untainted { pool } => self.tainting(event, pool),
            RunEvent::Next { steps } => steps.iter().for_each(|id| self.comes_next(id)),
            RunEvent::Ahead { pool } => {
                let object = format!("pool/{pool}");
                let asked =
                    self.run().and_then(|run| run.plan.pools.get(pool)).is_some_and(|of| of.drain.ahead);
                self.require(
                    asked,
                    &object,
                    "pods leave its nodes before their turn, and it does not ask for that",
                );
                self.require(self.epoch().is_some(), &object, "pods leave its nodes without the lease");
                self.may_begin(&object);
            }
            RunEvent::Landed { .. } => {
                self.require(
                    self.run().is_some(),
                    &object,
                    "it tells of pods that have moved, and there is no run",
                );
            }
            RunEvent::Ended { outcome, .. } => {
                let Some(run) = self.run() else { return self.note(object, "a run ends, and there is none") };
                let working = run.in_progress().any(|(id, _)| id.node.is_some());
                self.require(!working, &object, "its run ends while a node is on its way");
                let open = *outcome == RunOutcome::Converged && run.open_stage().is_some();
                self.require(!open, &object, "its run is called converged and has steps to do");
            }
        }
    }

    /// A run starts with the plan that was frozen for it. The plan has no blockers and is made for the commit in
    /// force.
    fn run_starts(&mut self, commit: &CommitId, digest: &str) {
        let object = self.cluster();
        self.require(self.run().is_none(), &object, "a run starts while another is in progress");
        self.may_begin(&object);
        self.require(self.epoch().is_some(), &object, "a run starts without the lease");
        let good = self.input.state.problems.is_empty() && self.is_in_force(commit);
        self.require(good, &object, "a run starts for a commit that is not the good one in force");
        let Some(plan) = &self.tick.frozen else { return };
        self.require(
            plan.digest == digest && !digest.is_empty(),
            &object,
            "a run starts with another plan than the frozen one",
        );
        let same = plan.commit == *commit && plan.cluster == self.input.me.cluster;
        self.require(same, &object, "the frozen plan is one for another commit or cluster");
        self.require(
            plan.blockers.is_empty(),
            &object,
            "a run starts with a plan that cannot be carried out",
        );
        let waits = plan.stages.first().is_some_and(|stage| stage.kind == StageKind::AwaitControlPlane);
        self.require(
            waits || self.acts(),
            &object,
            "a run that takes nodes out starts while spec.mode is observe",
        );
    }

    /// Nodes get the taint only where their pool asks for it, and lose it only where the record says that they got it.
    fn tainting(&mut self, event: &RunEvent, pool: &str) {
        let object = format!("pool/{pool}");
        let Some(run) = self.run() else {
            return self.note(object, "its nodes get a taint, and there is no run");
        };
        if matches!(event, RunEvent::Tainting { .. }) {
            let asked = run.plan.pools.get(pool).is_some_and(|limits| limits.prefer_upgraded);
            self.require(asked, &object, "its nodes get a taint that it does not ask for");
            self.may_begin(&object);
        } else {
            self.require(
                run.tainting.contains_key(pool),
                &object,
                "its nodes lose a taint that they never got",
            );
        }
    }

    /// An intent ahead of its turn is about a worker that has not begun, and is written once.
    fn comes_next(&mut self, id: &StepId) {
        let object = id.object();
        self.may_begin(&object);
        self.require(self.epoch().is_some(), &object, "its intent is written ahead without the lease");
        self.require(self.acts(), &object, "its intent is written ahead while spec.mode is observe");
        let Some(run) = self.run().filter(|run| run.find(id).is_some()) else {
            return self.note(object, "its intent is written ahead, and the frozen plan does not have it");
        };
        let worker = matches!(id.scope, Scope::Pool(_));
        self.require(worker, &object, "its intent is written ahead, and it is no worker");
        let open = !run.next.contains_key(id) && !run.steps.contains_key(id);
        self.require(open, &object, "its intent is written ahead, and there is one already");
    }

    /// Nothing begins while a person has stopped the work or has to look at a halt.
    fn may_begin(&mut self, object: &str) {
        self.require(self.live().stop.is_none(), object, "something begins while the cluster is stopped");
        self.require(self.record().halted.is_none(), object, "something begins while the run is halted");
    }

    fn acts(&self) -> bool {
        self.desired().is_some_and(|desired| desired.cluster.mode == Mode::Act)
    }

    fn step_event(&mut self, id: &StepId, event: &StepEvent) {
        let object = id.object();
        let Some(run) = self.run().filter(|run| run.find(id).is_some()) else {
            return self.note(object, "something is written of a step that the frozen plan does not have");
        };
        let known = run.steps.get(id);
        match event {
            StepEvent::Started { .. } => self.starts(id),
            StepEvent::Moved { phase, .. } => self.moves(id, *phase),
            StepEvent::Done { .. } => {
                let arrived = match (self.addon_of(id), &id.node) {
                    (Some(mv), _) => self.addon_arrived(mv, true),
                    (None, Some(_)) => self.has_arrived(id),
                    (None, None) => self.control_plane_arrived(id),
                };
                self.require(arrived, &object, "it is called done and does not run the target");
                let end = known.and_then(|known| known.end.as_ref());
                self.require(end != Some(&StepEnd::Done), &object, "it is done twice");
            }
            StepEvent::Failed { .. } => {
                let halts =
                    |what: &What| matches!(what, What::Interruption(InterruptionEvent::Halted { .. }));
                let halted = self.tick.entries.iter().any(halts);
                self.require(halted, &object, "it fails, and the run does not halt");
                self.require(self.in_progress(id).is_some(), &object, "it fails and was not in progress");
            }
            StepEvent::GoesBack { .. } => {
                let asked = self
                    .addon_of(id)
                    .is_some_and(|mv| mv.on_failure == OnFailure::Rollback && mv.has_way_back());
                self.require(asked, &object, "it goes back, and its file does not ask for that");
                let going = known.filter(|known| known.end.is_none() && known.goes_back.is_none());
                self.require(going.is_some(), &object, "it goes back and was not in progress");
            }
            StepEvent::SetAside { touched, .. } => {
                let before = known.is_some_and(|known| known.touched);
                self.require(
                    *touched || !before,
                    &object,
                    "it is called untouched, and an attempt before has changed it",
                );
                self.require(
                    self.in_progress(id).is_some(),
                    &object,
                    "it is set aside and was not in progress",
                );
            }
            StepEvent::Gone => {
                self.require(self.node(id).is_none(), &object, "it is called gone, and its node is there");
            }
        }
    }

    fn starts(&mut self, id: &StepId) {
        let object = id.object();
        if self.was_begun(id) {
            return;
        }
        self.may_begin(&object);
        let again = |end: &StepEnd| matches!(end, StepEnd::SetAside { .. } | StepEnd::Failed(_));
        let known = self.run().and_then(|run| run.steps.get(id));
        let open = known.is_none_or(|known| known.end.as_ref().is_some_and(again));
        self.require(open, &object, "it is begun and is in progress, done or gone");
        if id.kind.only_waits() {
            return;
        }
        if self.addon_of(id).is_some() {
            self.require(self.acts(), &object, "it is begun while spec.mode is observe");
            self.require(self.epoch().is_some(), &object, "it is begun without the lease");
            let good = self.input.state.problems.is_empty();
            return self.require(good, &object, "it is begun while the newest commit is not valid");
        }
        self.require(self.acts(), &object, "it is taken out while spec.mode is observe");
        self.require(self.epoch().is_some(), &object, "it is begun without the lease");
        self.require(self.node(id).is_some(), &object, "it is begun, and its node is not there");
        let Some((stage, step)) = self.run().and_then(|run| run.find(id)) else { return };
        let stage = Some(stage);
        match id.scope {
            // The intents of a unit's kubelets are written before the API servers are upgraded.
            Scope::ControlPlane => {
                let begun = self.run().zip(stage).is_some_and(|(run, stage)| run.hop_changed(stage.hop))
                    || self.record().left_mid_hop(self.live(), step.to());
                let good = self.input.state.problems.is_empty();
                self.require(good || begun, &object, "it is begun while the newest commit is not valid");
                self.control_plane_skew(step, &object, false);
            }
            Scope::Pool(_) => {
                let good = self.input.state.problems.is_empty();
                self.require(good, &object, "it is taken out while the newest commit is not valid");
                self.kubelet_skew(step, &object, true);
            }
            Scope::Addon(_) | Scope::Check(_) => {}
        }
    }

    /// True if its node was claimed on the strength of an intent ahead of its turn, and only the record misses that it began.
    fn was_begun(&self, id: &StepId) -> bool {
        let Some(run) = self.run().filter(|run| run.next.contains_key(id)) else { return false };
        self.node(id).is_some_and(|node| super::claim_of(node, run, id).is_some())
    }

    fn moves(&mut self, id: &StepId, phase: StepPhase) {
        let object = id.object();
        let Some(before) = self.in_progress(id).map(|of| of.progress.phase) else {
            return self.note(object, "it moves on and is not in progress");
        };
        // A node that got new pods after its drain is drained again, so this phase may come again.
        self.require(before <= phase, &object, "it moves back");
        if let Some(mv) = self.addon_of(id) {
            let set = phase == StepPhase::Upgrading && self.addon_arrived(mv, false);
            return self.require(set, &object, "it is called changed and is as it was");
        }
        let claim = self.node(id).zip(self.run()).and_then(|(node, run)| super::claim_of(node, run, id));
        match phase {
            StepPhase::Started => {}
            StepPhase::Claimed | StepPhase::Drained | StepPhase::Upgrading => {
                self.require(claim.is_some(), &object, "it moves on without its claim on the node");
                let drained = (phase == StepPhase::Drained).then(|| self.node(id)).flatten();
                let step = self.run().and_then(|run| run.find(id)).map(|(_, step)| step);
                if let (Some(node), Some(claim), Some(step)) = (drained, claim, step) {
                    self.emptied(node, claim, step, &object);
                }
            }
            StepPhase::Upgraded => {
                let arrived = self.has_arrived(id);
                self.require(arrived, &object, "it is called upgraded and does not run the target");
            }
            StepPhase::Returned => {
                self.require(claim.is_none(), &object, "it is called returned and bears its claim");
            }
        }
    }

    /// The node of a step, with the UID that the step names.
    fn node(&self, id: &StepId) -> Option<&'a Node> {
        let NodeRef { name, uid } = id.node.as_ref()?;
        self.live().nodes.get(name.as_str()).filter(|node| *node.uid == **uid)
    }

    /// True if every API server runs what a step that waits for a control plane achieves.
    fn control_plane_arrived(&self, id: &StepId) -> bool {
        let Some((_, step)) = self.run().and_then(|run| run.find(id)) else { return false };
        let servers = self.live().api_servers();
        step.achieves.iter().all(|fact| match fact {
            Fact::ControlPlaneAtLeast(version) => {
                servers.values().flatten().count() == servers.len()
                    && servers.values().flatten().all(|runs| runs.reaches(version))
            }
            Fact::RunsAtLeast(..)
            | Fact::Ready(_)
            | Fact::HasImage(..)
            | Fact::RolledOut(_)
            | Fact::Applied(..)
            | Fact::AppliedAndReady(..)
            | Fact::Removed(..)
            | Fact::Exists(_) => true,
        })
    }

    /// True if the node of a step runs the step's target or a newer version.
    fn has_arrived(&self, id: &StepId) -> bool {
        let step = self.run().and_then(|run| run.find(id)).map(|(_, step)| step);
        let Some((component, mv)) = step.and_then(|step| step.work.node_move()) else { return false };
        self.live().runs(component, &mv.node.name).is_some_and(|runs| runs.reaches(&mv.to))
    }
}

fn begun_by(what: &What) -> Option<&StepId> {
    match what {
        What::Step(id, StepEvent::Started { .. }) => Some(id),
        What::Step(..) | What::Run(_) | What::Cluster(_) | What::Commit(_) | What::Interruption(_) => None,
    }
}
