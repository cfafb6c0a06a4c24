//! Checks the effects and entries of addons.

use jiff::SignedDuration;

use super::Check;
use crate::model::addon::{AddonManifests, AddonWork, ImageMove, WorkloadRead, numbers};
use crate::model::effect::Effect;
use crate::model::entry::StepPhase;
use crate::model::helm::{HelmAct, HelmMove, ReleaseRead, ReleaseRevision};
use crate::model::live::Probe;
use crate::model::manifest::{GoneObject, ManifestsRead, ObjectRef, ObjectStanding};
use crate::model::time::later;
use crate::model::work::{AddonMove, StepId};
use crate::record::{GoingBack, Run, StepRecord};

/// What was read longer ago may have changed.
const JUST_READ: SignedDuration = SignedDuration::from_secs(10);

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
        let read = self.live().addon_workloads.get(workload).and_then(Option::as_ref);
        match &progress.goes_back {
            Some(back) => self.goes_back_to(&object, (back, after), *image == of.image_from),
            None => self.goes_forward_to(&object, (progress, after), (mv, of), image),
        }
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

    /// What kubeadm moves is there with its version, and its rollout was complete when it was last read, a moment ago.
    pub(super) fn check_passed(&self, id: &StepId) -> bool {
        let Some(of) = self.run().and_then(|run| run.find(id)?.1.work.check()) else { return false };
        let read = self.live().addon_workloads.get(&of.workload).and_then(Option::as_ref);
        let seen = self.live().probed.get(&Probe::Workload(of.workload.clone()));
        let fresh = seen.is_some_and(|at| later(*at, JUST_READ) > self.input.now);
        let has = |read: &WorkloadRead| {
            of.version.as_ref().is_none_or(|least| read.has_version(&of.container, least))
        };
        fresh && read.is_some_and(|read| has(read) && read.complete_since.is_some())
    }

    /// What fails goes back to what its plan says that it was, once that is written down.
    fn goes_back_to(&mut self, object: &str, (back, after): (&GoingBack, u64), is_before: bool) {
        self.require(back.seq == after, object, "it goes back under another entry than the one that says so");
        self.require(is_before, object, "it goes back to something else than it was before its step");
    }

    fn goes_forward_to(
        &mut self,
        object: &str,
        (progress, after): (&StepRecord, u64),
        (mv, of): (&AddonMove, &ImageMove),
        image: &str,
    ) {
        let workload = &of.workload;
        let container = &of.container;
        self.require(
            progress.intent == after,
            object,
            "it is released by another entry than the intent of its step",
        );
        self.require(of.image == image, object, "it gets another image than its plan has");
        let read = self.live().addon_workloads.get(workload).and_then(Option::as_ref);
        let runs = read.and_then(|read| read.images.get(container));
        let asked = self
            .desired()
            .and_then(|desired| desired.cluster.addons.iter().find(|addon| addon.name == mv.name));
        let asked = runs
            .zip(asked)
            .filter(|(_, addon)| addon.has_version(&mv.to))
            .and_then(|(runs, addon)| Some(addon.source.image()?.asked(&mv.to, &runs.image)));
        self.require(asked.as_deref() == Some(image), object, "it gets another image than its file asks for");
        self.require(progress.phase == StepPhase::Started, object, "its image is changed a second time");
    }

    /// An object is applied only for the step in progress of its addon, as the file has it, and where the API server took it
    /// when it tried.
    pub(super) fn apply_object(&mut self, effect: &Effect, after: u64) {
        let Effect::Apply { object, address, found, body, takes_over } = effect else { return };
        let name = object.to_string();
        let Some((mv, _)) = self.addon_step(&name, after, AddonMove::manifests) else { return };
        let asked = self.manifests_asked(mv);
        let manifest =
            asked.and_then(|asked| asked.objects.iter().find(|manifest| manifest.object == *object));
        self.require(
            manifest.is_some_and(|manifest| manifest.body == *body),
            &name,
            "its file has another content",
        );
        let others = self.desired().into_iter().flat_map(|desired| &desired.cluster.addons);
        let mut others =
            others.filter(|addon| addon.name != mv.name).filter_map(|addon| addon.source.manifests());
        let theirs = others.any(|of| of.objects.iter().any(|manifest| manifest.object.is_same_as(object)));
        self.require(!theirs, &name, "another addon of the file has it");
        let read = asked.and_then(|asked| self.live().manifests_of(&mv.name, &asked.digest));
        let read = read.and_then(|read| read.objects.get(object));
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
        let Some((mv, of)) = self.addon_step(&name, after, AddonMove::manifests) else { return };
        let asked = self.manifests_asked(mv);
        // On the way back goes what the step has added, and what else the earlier commit does not have.
        let of_step = asked.is_some_and(|asked| asked.digest != of.digest) || of.removed.contains(object);
        self.require(of_step, &name, "it is deleted, and its step does not remove it");
        let read = asked.and_then(|asked| self.live().manifests_of(&mv.name, &asked.digest));
        let ours = read.and_then(|read| read.gone.get(object)).is_some_and(|gone| match gone {
            GoneObject::Ours(at, read) => at == address && read == found,
            GoneObject::Leaving | GoneObject::Kept | GoneObject::Absent | GoneObject::Unread(_) => false,
        });
        self.require(ours, &name, "it is deleted, and Windlass did not apply it for this addon");
        let kept =
            read.is_some_and(|read| read.question.all.objects.iter().any(|asked| asked.is_same_as(object)));
        self.require(!kept, &name, "it is deleted, and its file has it");
    }

    /// Helm is started only for the step in progress of its addon, with what the file asks for; it takes back only what Windlass
    /// left half done.
    pub(super) fn helm(&mut self, effect: &Effect, after: u64) {
        let Effect::Helm(call) = effect else { return };
        let name = call.asked.release.to_string();
        let Some((mv, of)) = self.addon_step(&name, after, AddonMove::helm) else { return };
        let mut in_progress = self.run().into_iter().flat_map(Run::in_progress);
        let back = in_progress.find_map(|(_, progress)| progress.goes_back.as_ref());
        self.require(of.release == call.asked.release, &name, "it is not the release of its step");
        let addons = self.desired().into_iter().flat_map(|desired| &desired.cluster.addons);
        let same = addons.filter(|addon| addon.name == mv.name).any(|addon| {
            let source = addon.source.helm();
            source.is_some_and(|of| {
                of.chart == call.asked.chart
                    && of.files == call.asked.files
                    && addon.has_version(&call.version)
            })
        });
        self.require(same, &name, "its file asks for another chart or for other values");
        self.require(call.version == mv.to, &name, "it gets another version than its step has");
        let read = self.live().manifests_of(&mv.name, &of.objects.digest);
        let Some((read, release)) = read.and_then(|read| Some((read, read.release.as_ref()?))) else {
            return self.note(name, "it is changed, and it was not read");
        };
        let newest = release.revisions.last();
        self.require(
            newest.map_or(0, |newest| newest.number) == call.newest,
            &name,
            "it is not as it was read",
        );
        let ours = |revision: &ReleaseRevision| {
            revision.mark.as_ref().is_some_and(|mark| mark.addon == read.question.label)
        };
        let pending = newest.is_some_and(|newest| newest.status.starts_with("pending-"));
        let before = release.revisions.iter().rev().find(|revision| revision.status != "pending-rollback");
        let left = pending && (newest.is_some_and(ours) || before.is_some_and(ours));
        let deployed = release.revisions.iter().rev().find(|revision| revision.status == "deployed");
        match &call.act {
            HelmAct::Upgrade { archive, mark, .. } => {
                self.require(!pending, &name, "it is upgraded while a revision of it is pending");
                let marked = of.objects.digest.contains(&mark.content) && mark.addon == read.question.label;
                self.require(marked, &name, "it is marked as another addon or content");
                self.require(*archive == of.archive, &name, "it gets another archive than its plan has");
                self.require(!beyond(read, (mv, of)), &name, "it would skip a version, or be taken back");
            }
            HelmAct::Rollback { to } if back.is_some() => {
                let before = if of.follows { left_before(release, of) } else { of.revision };
                let before = before == Some(*to);
                self.require(before, &name, "it goes back to another revision than the one before its step");
            }
            HelmAct::Rollback { to } => {
                self.require(left, &name, "it is taken back, and Windlass left nothing half done");
                let back = deployed.is_some_and(|deployed| deployed.number == *to);
                self.require(back, &name, "it is taken back to another revision than the deployed one");
            }
            HelmAct::Forget { record, found } => {
                self.require(left, &name, "its record is removed, and Windlass left nothing half done");
                self.require(deployed.is_none(), &name, "its record is removed, and a revision is deployed");
                let same = newest.is_some_and(|newest| newest.record == *record && newest.found == *found);
                self.require(same, &name, "another record is removed than that of the newest revision");
            }
        }
    }

    /// True if the record or the frozen plan names what the addon was before the step.
    pub(super) fn has_way_back(&self, mv: &AddonMove) -> bool {
        match &mv.change {
            AddonWork::Image(_) => true,
            AddonWork::Manifests(_) => self.record().addon_applied.contains_key(&mv.name),
            AddonWork::Helm(of) => of.follows || of.revision.is_some(),
        }
    }

    /// The manifests of the commit that says what is applied now: the desired one, or on the way back the one with which the
    /// addon was applied last.
    fn manifests_asked(&self, mv: &AddonMove) -> Option<&'a AddonManifests> {
        let goes_back = self
            .run()
            .into_iter()
            .flat_map(Run::in_progress)
            .any(|(_, progress)| progress.goes_back.is_some());
        if goes_back {
            let applied = self.record().addon_applied.get(&mv.name)?;
            let earlier = self.live().earlier_addons.get(&mv.name)?;
            let found = earlier.found.as_ref().ok().filter(|_| earlier.commit == applied.commit);
            return found?.source.manifests().filter(|asked| asked.digest == applied.digest);
        }
        let addons = &self.desired()?.cluster.addons;
        addons.iter().find(|addon| addon.name == mv.name)?.source.manifests()
    }

    /// The step in progress that changes this object, if it is the only step of an addon and may change something.
    fn addon_step<T>(
        &mut self,
        name: &str,
        after: u64,
        change: impl Fn(&'a AddonMove) -> Option<&'a T>,
    ) -> Option<(&'a AddonMove, &'a T)> {
        let Some(run) = self.run() else {
            self.note(name, "it is changed for an addon, and there is no run");
            return None;
        };
        let mut steps = run.in_progress().filter_map(|(id, progress)| {
            let mv = run.find(id)?.1.work.addon()?;
            Some((mv, progress))
        });
        let found = steps.next().and_then(|(mv, progress)| Some((mv, change(mv)?, progress)));
        let several = steps.next().is_some();
        let Some((mv, of, progress)) = found else {
            self.note(name, "it is changed for no step in progress");
            return None;
        };
        self.require(!several, name, "two addons are on their way at once");
        let back = progress.goes_back.as_ref().map(|back| back.seq);
        self.require(
            back.unwrap_or(progress.intent) == after,
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
            AddonWork::Helm(of) => {
                let read = self.live().manifests_of(&mv.name, &of.objects.digest);
                read.is_some_and(|read| {
                    let newest = read.release.as_ref().and_then(|release| release.revisions.last());
                    let deployed = newest
                        .is_some_and(|newest| newest.status == "deployed" && newest.has(&of.objects.digest));
                    deployed && (!rolled || read.complete_since.is_some())
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

/// True if the release has a version that lies on neither side of the step, nor between: the step would skip a version, or take the
/// release back.
fn beyond(read: &ManifestsRead, (mv, of): (&AddonMove, &HelmMove)) -> bool {
    let runs = read.rendering().and_then(|rendering| numbers(&rendering.installed));
    let ends = numbers(&mv.from).zip(numbers(&mv.to));
    let several = of.follows || !of.later.is_empty();
    several
        && runs
            .zip(ends)
            .is_some_and(|(runs, (from, to))| runs > from.clone().max(to.clone()) || runs < from.min(to))
}

/// The last revision with another content that was deployed before the last one of the step.
fn left_before(release: &ReleaseRead, of: &HelmMove) -> Option<u64> {
    let made = release.revisions.iter().rposition(|revision| revision.has(&of.objects.digest))?;
    let left = release.revisions.iter().take(made).rev().find(|revision| {
        matches!(revision.status.as_str(), "deployed" | "superseded") && !revision.has(&of.objects.digest)
    });
    left.map(|left| left.number)
}
