//! Checks the steps of addons: each gives the container that the file names the image that the file names, when the file
//! says, and after the addons that have to be there first.

use super::PlanCheck;
use crate::model::addon::{Addon, AddonManifests, AddonSource, AddonWork, ImageMove, repository};
use crate::model::manifest::{GoneObject, ManifestsMove, ObjectStanding};
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
        let same = mv.to == addon.version && mv.timeout_seconds == addon.timeout.as_secs();
        self.require(same, step, "is not the move that the file asks for");
        match (&addon.source, &mv.change) {
            (AddonSource::Image(of), AddonWork::Image(change)) => {
                let same = change.workload == of.workload && change.container == of.container;
                self.require(same, step, "is not the move that the file asks for");
                self.image(step, (mv, change), of.repository.as_deref());
            }
            (AddonSource::Manifests(of), AddonWork::Manifests(change)) => {
                self.manifests(step, (mv, change), of);
            }
            (AddonSource::Image(_) | AddonSource::Manifests(_), _) => {
                self.note(step, "changes another kind of addon than the file has");
            }
        }
        for before in &addon.after {
            let other = self.cluster.addons.iter().find(|other| other.name == *before);
            let pending = other.is_some_and(|other| {
                let planned = self.plan.steps().any(|step| step.id.scope == Scope::Addon(other.name.clone()));
                planned && !self.has_moved(other)
            });
            self.require(!pending, step, "comes before an addon that it asks to follow");
        }
        self.expects(step);
        match &mv.change {
            AddonWork::Image(of) => {
                self.now.images.insert((&of.workload, of.container.as_str()), of.image.as_str());
            }
            AddonWork::Manifests(of) => drop(self.now.manifests.insert(&mv.name, &of.digest)),
        }
        self.achieves(step);
    }

    fn has_moved(&self, addon: &Addon) -> bool {
        match &addon.source {
            AddonSource::Image(of) => self.now.images.contains_key(&(&of.workload, of.container.as_str())),
            AddonSource::Manifests(_) => self.now.manifests.contains_key(addon.name.as_str()),
        }
    }

    /// Everything that is applied is in the file; what is deleted is not, and was applied by Windlass for this very addon.
    fn manifests(&mut self, step: &Step, (mv, change): (&AddonMove, &ManifestsMove), asked: &AddonManifests) {
        let Some(read) = self.live.manifests_of(&mv.name, &asked.digest) else {
            return self.note(step, "changes objects that were not read");
        };
        let objects: Vec<_> = asked.objects.iter().map(|manifest| manifest.object.clone()).collect();
        self.require(change.digest == asked.digest, step, "has another content than the file");
        self.require(change.objects == objects, step, "has other objects than the file");
        self.require(change.folder == asked.folder, step, "has another folder than the file");
        for object in &change.added {
            let missing = read.objects.get(object).is_some_and(|found| found.found.is_none());
            self.require(missing, step, "adds what is there, or what the file does not have");
        }
        for object in &change.changed {
            let differs = read.objects.get(object).is_some_and(|found| {
                found.found.is_some() && matches!(found.standing, ObjectStanding::Differs { .. })
            });
            self.require(differs, step, "changes what is not different, or what others manage");
        }
        for object in &change.removed {
            let ours = matches!(read.gone.get(object), Some(GoneObject::Ours(..)));
            let asked = asked.all.objects.iter().any(|asked| asked.is_same_as(object));
            self.require(ours && !asked, step, "removes what the file has, or what Windlass did not apply");
        }
        let all = [&change.added, &change.changed, &change.removed];
        self.require(all.iter().any(|list| !list.is_empty()), step, "changes nothing");
    }

    /// The image is that of the repository that is asked for, or of the one that runs, with the version as written.
    fn image(&mut self, step: &Step, (of_step, mv): (&AddonMove, &ImageMove), asked: Option<&str>) {
        let read = self.live.addon_workloads.get(&mv.workload).and_then(Option::as_ref);
        let Some(runs) = read.and_then(|read| read.images.get(&mv.container)) else {
            return self.note(step, "gives an image to a container that is not there");
        };
        self.require(runs.image == mv.image_from, step, "starts from another image than the one that runs");
        self.require(runs.image != mv.image, step, "changes nothing");
        let of = asked.unwrap_or_else(|| repository(&runs.image));
        let rest = mv.image.strip_prefix(of).and_then(|rest| rest.strip_prefix([':', '@']));
        self.require(rest == Some(of_step.to.as_str()), step, "gives another image than asked for");
    }
}
