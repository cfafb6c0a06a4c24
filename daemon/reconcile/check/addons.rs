//! Checks the effects and entries of addons.

use super::Check;
use crate::model::addon::AddonWork;
use crate::model::effect::Effect;
use crate::model::entry::StepPhase;
use crate::model::manifest::{GoneObject, ManifestsMove, ObjectRef, ObjectStanding};
use crate::model::work::{AddonMove, StepId};

impl<'a> Check<'a> {
    /// An image is changed only for the step in progress of its addon, to what the frozen plan has, and under its intent.
    pub(super) fn set_image(&mut self, effect: &Effect, after: u64) {
        let Effect::SetImage { workload, uid, container, image, .. } = effect else { return };
        let object = workload.to_string();
        let Some(run) = self.run() else {
            return self.note(object, "its image is changed, and there is no run");
        };
        let of = run.in_progress().find_map(|(id, progress)| {
            let mv = run.find(id)?.1.work.addon()?;
            let of = mv.image()?;
            (of.workload == *workload && of.container == *container).then_some((mv, of, progress))
        });
        let Some((mv, of, progress)) = of else {
            return self.note(object, "its image is changed for no step in progress");
        };
        self.require(
            progress.intent == after,
            &object,
            "it is released by another entry than the intent of its step",
        );
        self.require(of.image == *image, &object, "it gets another image than its plan has");
        let read = self.live().addon_workloads.get(workload).and_then(Option::as_ref);
        let runs = read.and_then(|read| read.images.get(container));
        let asked = self
            .desired()
            .and_then(|desired| desired.cluster.addons.iter().find(|addon| addon.name == mv.name));
        let asked = runs
            .zip(asked)
            .filter(|(_, addon)| addon.has_version(&mv.to))
            .and_then(|(runs, addon)| Some(addon.source.image()?.asked(&mv.to, &runs.image)));
        self.require(asked.as_ref() == Some(image), &object, "it gets another image than its file asks for");
        self.require(progress.phase == StepPhase::Started, &object, "its image is changed a second time");
        self.require(self.record().halted.is_none(), &object, "its image is changed while the run is halted");
        self.require(
            read.is_some_and(|read| read.uid == *uid),
            &object,
            "it is another workload than was read",
        );
        let others = run
            .in_progress()
            .filter(|(id, _)| run.find(id).is_some_and(|(_, step)| step.work.addon().is_some()));
        self.require(others.count() <= 1, &object, "two addons are on their way at once");
    }

    /// An object is applied only for the step in progress of its addon, as the file has it, and where the API server took it
    /// when it tried.
    pub(super) fn apply_object(&mut self, effect: &Effect, after: u64) {
        let Effect::Apply { object, address, found, body, takes_over } = effect else { return };
        let name = object.to_string();
        let Some((mv, of)) = self.manifests_step(&name, after) else { return };
        let addons = self.desired().into_iter().flat_map(|desired| &desired.cluster.addons);
        let asked = addons.filter(|addon| addon.name == mv.name).find_map(|addon| {
            let manifests = addon.source.manifests()?;
            manifests.objects.iter().find(|manifest| manifest.object == *object)
        });
        self.require(
            asked.is_some_and(|manifest| manifest.body == *body),
            &name,
            "its file has another content",
        );
        let read = self.live().manifests_of(&mv.name, &of.digest).and_then(|read| read.objects.get(object));
        let same = read.is_some_and(|read| read.found == *found && read.address.as_ref() == Some(address));
        self.require(same, &name, "it is not as it was read");
        let may = read.is_some_and(|read| match &read.standing {
            ObjectStanding::Missing { .. } => !takes_over,
            ObjectStanding::Differs { takes_over: tried, .. } => tried == takes_over,
            ObjectStanding::AsAsked { .. }
            | ObjectStanding::Conflicts(_)
            | ObjectStanding::Owned(_)
            | ObjectStanding::Refused(_)
            | ObjectStanding::Unread(_) => false,
        });
        self.require(may, &name, "it is applied, and no try has shown that it may be");
    }

    /// An object is deleted only if its step removes it, its file does not have it, and Windlass applied it for this addon.
    pub(super) fn delete_object(&mut self, effect: &Effect, after: u64) {
        let Effect::DeleteObject { object, address, found } = effect else { return };
        let name = object.to_string();
        let Some((mv, of)) = self.manifests_step(&name, after) else { return };
        self.require(of.removed.contains(object), &name, "it is deleted, and its step does not remove it");
        let read = self.live().manifests_of(&mv.name, &of.digest);
        let ours = read.and_then(|read| read.gone.get(object)).is_some_and(|gone| match gone {
            GoneObject::Ours(at, read) => at == address && read == found,
            GoneObject::Leaving | GoneObject::Kept | GoneObject::Absent | GoneObject::Unread(_) => false,
        });
        self.require(ours, &name, "it is deleted, and Windlass did not apply it for this addon");
        let kept =
            read.is_some_and(|read| read.question.all.objects.iter().any(|asked| asked.is_same_as(object)));
        self.require(!kept, &name, "it is deleted, and its file has it");
    }

    /// The step in progress that changes this object, if it is the only step of an addon and may change something.
    fn manifests_step(&mut self, name: &str, after: u64) -> Option<(&'a AddonMove, &'a ManifestsMove)> {
        let Some(run) = self.run() else {
            self.note(name, "it is changed for an addon, and there is no run");
            return None;
        };
        let mut steps = run.in_progress().filter_map(|(id, progress)| {
            let mv = run.find(id)?.1.work.addon()?;
            Some((mv, progress))
        });
        let found = steps.next().and_then(|(mv, progress)| Some((mv, mv.manifests()?, progress)));
        let several = steps.next().is_some();
        let Some((mv, of, progress)) = found else {
            self.note(name, "it is changed for no step in progress");
            return None;
        };
        self.require(!several, name, "two addons are on their way at once");
        self.require(
            progress.intent == after,
            name,
            "it is released by another entry than the intent of its step",
        );
        self.require(self.record().halted.is_none(), name, "it is changed while the run is halted");
        Some((mv, of))
    }

    /// The move of an addon's step; `None` for other steps.
    pub(super) fn addon_of(&self, id: &StepId) -> Option<&AddonMove> {
        self.run()?.find(id)?.1.work.addon()
    }

    /// True if the addon has begun to become what the plan has; `rolled` asks for all of it, with all of its pods.
    pub(super) fn addon_arrived(&self, mv: &AddonMove, rolled: bool) -> bool {
        match &mv.change {
            AddonWork::Image(of) => {
                let read = self.live().addon_workloads.get(&of.workload).and_then(Option::as_ref);
                read.is_some_and(|read| {
                    let runs = read.images.get(&of.container).is_some_and(|runs| runs.image == of.image);
                    runs && (!rolled || read.complete_since.is_some())
                })
            }
            AddonWork::Manifests(of) => {
                let read = self.live().manifests_of(&mv.name, &of.digest);
                read.is_some_and(|read| {
                    let applied = |object: &ObjectRef| {
                        let standing = read.objects.get(object).map(|read| &read.standing);
                        matches!(standing, Some(ObjectStanding::AsAsked { .. }))
                    };
                    let nothing_left = read.objects.keys().all(applied);
                    let begun = nothing_left || of.added.iter().chain(&of.changed).any(applied);
                    let gone = |object: &ObjectRef| read.gone.get(object).is_none_or(GoneObject::is_settled);
                    let whole = nothing_left && read.complete_since.is_some() && of.removed.iter().all(gone);
                    if rolled { whole } else { begun }
                })
            }
        }
    }
}
