//! Checks rollouts of Deployments: each moves a pod from a node that a step drains, its owner asked for it, it takes no pod
//! away before the next one is there, and it is undone only when its step is over.

use super::{Check, claim_of};
use crate::model::desired::OnBlocked;
use crate::model::effect::{Effect, RolloutPatch};
use crate::model::entry::StepPhase;
use crate::model::live::{NoteState, Pod, Progress, Rollout, RolloutNote, Strategy, Workload};
use crate::model::work::Step;
use crate::record::StepRecord;

impl<'a> Check<'a> {
    pub(super) fn rollout(&mut self, effect: &Effect, after: u64) {
        let Effect::Rollout { namespace, name, uid, patch, .. } = effect else { return };
        let object = effect.object();
        let known = self.live().workloads.get_key_value(uid.as_str());
        let known = known.and_then(|(uid, workload)| Some((uid, workload, workload.rollout.as_deref()?)));
        let Some((uid, workload, rollout)) = known else {
            return self.note(object, "there is no such Deployment");
        };
        let same = *workload.namespace == **namespace && *workload.name == **name;
        self.require(same, &object, "another Deployment is patched than the one of this UID");
        match patch {
            RolloutPatch::Begin(note) => {
                self.require(rollout.note.is_none(), &object, "a rollout of it is in progress");
                self.require(
                    note.before.as_deref() == rollout.moved.as_deref(),
                    &object,
                    "its note does not have what its template had before",
                );
                let differs = rollout.moved.as_deref() != Some(note.value().as_str());
                self.require(differs, &object, "the patch would set off no rollout");
                self.require(
                    rollout.progress == Progress::Complete,
                    &object,
                    "its rollout is begun while another one is in progress",
                );
                let spares_none =
                    matches!(rollout.strategy, Strategy::Rolling { surge: 1.., unavailable: 0 });
                self.require(
                    spares_none,
                    &object,
                    "its rollout may take a pod away before the next is there",
                );
                let pods: Vec<&Pod> = self.live().pods_under(uid).collect();
                self.begins((workload, rollout), note, &pods, (after, &object));
            }
            RolloutPatch::Forget | RolloutPatch::Undo { .. } => self.ends_rollout(rollout, patch, &object),
        }
    }

    /// A rollout begins for a step in progress that drains a node on which it has a pod.
    fn begins(
        &mut self,
        (workload, rollout): (&Workload, &Rollout),
        begun: &RolloutNote,
        pods: &[&'a Pod],
        (after, object): (u64, &str),
    ) {
        let Some(of) = self.in_progress_as(&begun.step) else {
            return self.note(object, "its rollout is begun for no step in progress");
        };
        let (step, progress): (&Step, &StepRecord) = (of.step, of.progress);
        self.require(
            progress.intent == after,
            object,
            "it is released by another entry than the intent of its step",
        );
        self.require(progress.attempt == begun.attempt, object, "its note has another attempt than its step");
        self.require(self.epoch() == Some(begun.epoch), object, "its note has another epoch than ours");
        let emptying = step.drains() && progress.phase < StepPhase::Upgrading;
        self.require(emptying, object, "its rollout is begun for a node that is not being emptied");
        let Some(run) = self.run().filter(|run| run.id == begun.run) else {
            return self.note(object, "its rollout is begun for another run");
        };
        let node = self.live().nodes.get(step.node().unwrap_or_default());
        let Some(node) = node.filter(|node| claim_of(node, run, &step.id).is_some()) else {
            return self.note(object, "its rollout is begun for a node that does not bear our claim");
        };
        self.require(node.unschedulable, object, "its rollout is begun for a node that is not cordoned");
        self.require(node.hold.is_none(), object, "its rollout is begun for a node that a person holds");
        let here = || pods.iter().filter(|pod| pod.node.as_ref() == Some(&node.name));
        self.require(
            here().next().is_some(),
            object,
            "its rollout is begun for a node that has no pod of it",
        );
        let limits = run.plan.limits(&step.id.scope).map(|limits| limits.drain.on_blocked);
        let asked =
            rollout.surge == Some(true) || (rollout.surge.is_none() && limits == Some(OnBlocked::Surge));
        self.require(asked, object, "its owner did not ask that it moves by a rollout");
        let stuck = here().any(|pod| {
            let budgets = self.live().budgets_of(pod);
            budgets.len() > 1 || budgets.iter().any(|(_, budget)| budget.never.is_some())
        });
        self.require(
            workload.replicas == 1 || stuck,
            object,
            "it has several replicas, and evictions are possible",
        );
        let one_node = here().any(|pod| pod.claims().iter().any(|claim| self.only_for_one_node(pod, claim)));
        self.require(!one_node, object, "it mounts a volume that only one node may mount");
    }

    fn only_for_one_node(&self, pod: &Pod, claim: &crate::model::live::Id) -> bool {
        let of_pod = claim.starts_with(&format!("{}-", pod.name));
        let known = self.live().claims.get(&(pod.namespace.clone(), claim.clone()));
        !of_pod && !known.is_some_and(|known| known.shared)
    }

    /// A note is removed once its rollout has ended well or was taken back; a rollout is undone once its step is over.
    fn ends_rollout(&mut self, rollout: &Rollout, patch: &RolloutPatch, object: &str) {
        let Some(NoteState::Ours(note)) = rollout.note.as_deref() else {
            return self.note(object, "a rollout is ended that no note tells of");
        };
        self.require(self.epoch() >= Some(note.epoch), object, "a later leader has begun its rollout");
        let ours = rollout.moved.as_deref() == Some(note.value().as_str());
        let well = ours && rollout.progress == Progress::Complete;
        let in_progress = self
            .run()
            .filter(|run| run.id == note.run)
            .and_then(|_| self.in_progress_as(&note.step).filter(|of| of.progress.attempt == note.attempt));
        match patch {
            RolloutPatch::Undo { before } => {
                self.require(
                    in_progress.is_none(),
                    object,
                    "its rollout is undone while its step is in progress",
                );
                self.require(
                    *before == note.before,
                    object,
                    "its template gets another value than it had before",
                );
                self.require(
                    ours && !well,
                    object,
                    "a rollout is undone that is none of ours, or has ended well",
                );
            }
            RolloutPatch::Forget => {
                let over = well || (!ours && in_progress.is_none());
                self.require(over, object, "the note of a rollout is removed that has not ended");
            }
            RolloutPatch::Begin(_) => {}
        }
    }
}
