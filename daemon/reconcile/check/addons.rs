//! Checks the effects and entries of addons.

use super::Check;
use crate::model::effect::Effect;
use crate::model::entry::StepPhase;
use crate::model::work::{AddonMove, StepId};

impl Check<'_> {
    /// An image is changed only for the step in progress of its addon, to what the frozen plan has, and under its intent.
    pub(super) fn set_image(&mut self, effect: &Effect, after: u64) {
        let Effect::SetImage { workload, uid, container, image, .. } = effect else { return };
        let object = workload.to_string();
        let Some(run) = self.run() else {
            return self.note(object, "its image is changed, and there is no run");
        };
        let of = run.in_progress().find_map(|(id, progress)| {
            let mv = run.find(id)?.1.work.addon()?;
            (mv.workload == *workload && mv.container == *container).then_some((mv, progress))
        });
        let Some((mv, progress)) = of else {
            return self.note(object, "its image is changed for no step in progress");
        };
        self.require(
            progress.intent == after,
            &object,
            "it is released by another entry than the intent of its step",
        );
        self.require(mv.image == *image, &object, "it gets another image than its plan has");
        let read = self.live().addon_workloads.get(workload).and_then(Option::as_ref);
        let runs = read.and_then(|read| read.images.get(container));
        let asked = self
            .desired()
            .and_then(|desired| desired.cluster.addons.iter().find(|addon| addon.name == mv.name));
        let asked = runs.zip(asked).map(|(runs, addon)| addon.image.asked(&addon.version, &runs.image));
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

    /// The move of an addon's step; `None` for other steps.
    pub(super) fn addon_of(&self, id: &StepId) -> Option<&AddonMove> {
        self.run()?.find(id)?.1.work.addon()
    }

    /// True if the addon's container has the image of the plan; `rolled` asks for all of its pods too.
    pub(super) fn addon_arrived(&self, mv: &AddonMove, rolled: bool) -> bool {
        let read = self.live().addon_workloads.get(&mv.workload).and_then(Option::as_ref);
        read.is_some_and(|read| {
            let runs = read.images.get(&mv.container).is_some_and(|runs| runs.image == mv.image);
            runs && (!rolled || read.complete_since.is_some())
        })
    }
}
