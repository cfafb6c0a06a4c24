//! Checks the steps of addons: each gives the container that the file names the image that the file names, when the file
//! says, and after the addons that have to be there first.

use super::PlanCheck;
use crate::model::addon::repository;
use crate::model::plan::{AddonMove, Scope, Stage, StageKind, Step, Work};

impl<'a> PlanCheck<'a> {
    pub(super) fn addon(&mut self, step: &'a Step, stage: &Stage) {
        let Work::Addon(mv) = &step.work else {
            return self.note(step, "is other work than that of its stage");
        };
        self.require(step.id.scope == Scope::Addon(mv.name.clone()), step, "has another name than its addon");
        let Some(addon) = self.cluster.addons.iter().find(|addon| addon.name == mv.name) else {
            return self.note(step, "moves an addon that the file does not have");
        };
        self.require(
            stage.kind == StageKind::of_addons(addon.when),
            step,
            "moves at another time than asked for",
        );
        self.require(stage.to == self.plan.to, step, "moves before the last hop");
        let same = mv.to == addon.version
            && mv.workload == addon.image.workload
            && mv.container == addon.image.container
            && mv.timeout_seconds == addon.timeout.as_secs();
        self.require(same, step, "is not the move that the file asks for");
        self.image(step, mv, addon.image.repository.as_deref());
        for before in &addon.after {
            let other = self.cluster.addons.iter().find(|other| other.name == *before);
            let pending = other.is_some_and(|other| {
                let planned = self.plan.steps().any(|step| step.id.scope == Scope::Addon(other.name.clone()));
                let key = (&other.image.workload, other.image.container.as_str());
                planned && !self.now.images.contains_key(&key)
            });
            self.require(!pending, step, "comes before an addon that it asks to follow");
        }
        self.expects(step);
        self.now.images.insert((&mv.workload, mv.container.as_str()), mv.image.as_str());
        self.achieves(step);
    }

    /// The image is that of the repository that is asked for, or of the one that runs, with the version as written.
    fn image(&mut self, step: &Step, mv: &AddonMove, asked: Option<&str>) {
        let read = self.live.addon_workloads.get(&mv.workload).and_then(Option::as_ref);
        let Some(runs) = read.and_then(|read| read.images.get(&mv.container)) else {
            return self.note(step, "gives an image to a container that is not there");
        };
        self.require(runs.image == mv.image_from, step, "starts from another image than the one that runs");
        self.require(runs.image != mv.image, step, "changes nothing");
        let of = asked.unwrap_or_else(|| repository(&runs.image));
        let rest = mv.image.strip_prefix(of).and_then(|rest| rest.strip_prefix([':', '@']));
        self.require(rest == Some(mv.to.as_str()), step, "gives another image than asked for");
    }
}
