//! Checks the steps of addons: each gives the container that the file names the image that the file names, when the file
//! says, and after the addons that have to be there first.

use super::PlanCheck;
use crate::model::addon::{
    Addon, AddonManifests, AddonSource, AddonWork, ImageMove, numbers, repository, requirement,
};
use crate::model::decision::Key;
use crate::model::helm::{AddonHelm, HelmMove, ReleaseRead};
use crate::model::manifest::{GoneObject, ManifestsMove, ObjectStanding};
use crate::model::plan::{AddonMove, Scope, Stage, StageKind, Step, Work};
use crate::model::version::Version;

impl<'a> PlanCheck<'a> {
    pub(super) fn addon(&mut self, step: &'a Step, stage: &Stage) {
        let Work::Addon(mv) = &step.work else {
            return self.note(step, "is other work than that of its stage");
        };
        self.require(step.id.scope == Scope::Addon(mv.name.clone()), step, "has another name than its addon");
        let Some(addon) = self.cluster.addons.iter().find(|addon| addon.name == mv.name) else {
            return self.note(step, "moves an addon that the file does not have");
        };
        // Before everything else every addon may move.
        let early = stage.kind == StageKind::AddonsBeforeControlPlane && !self.servers_moved;
        self.require(
            early || stage.kind == StageKind::of_addons(addon.when),
            step,
            "moves at another time than asked for",
        );
        let asked = mv.to == addon.version || addon.via.iter().any(|via| via.version == mv.to);
        let same =
            asked && mv.timeout_seconds == addon.timeout.as_secs() && mv.on_failure == addon.on_failure;
        self.require(same, step, "is not the move that the file asks for");
        self.path(step, mv, addon);
        match (&addon.source, &mv.change) {
            (AddonSource::Image(of), AddonWork::Image(change)) => {
                let same = change.workload == of.workload && change.container == of.container;
                self.require(same, step, "is not the move that the file asks for");
                self.image(step, (mv, change), of.repository.as_deref());
            }
            (AddonSource::Manifests(of), AddonWork::Manifests(change)) => {
                self.manifests(step, (mv, change), of);
            }
            (AddonSource::Helm(of), AddonWork::Helm(change)) => self.release(step, (mv, change), of),
            (AddonSource::Image(_) | AddonSource::Manifests(_) | AddonSource::Helm(_), _) => {
                self.note(step, "changes another kind of addon than the file has");
            }
        }
        for before in addon.after.iter().filter(|_| mv.to == addon.version) {
            let of_other = |step: &&Step| step.id.scope == Scope::Addon(before.clone());
            let pending = self.plan.steps().filter(of_other).any(|step| !self.moved.contains(&step.id));
            self.require(!pending, step, "comes before an addon that it asks to follow");
        }
        self.moved.insert(&step.id);
        self.expects(step);
        match &mv.change {
            AddonWork::Image(of) => {
                self.now.images.insert((&of.workload, of.container.as_str()), of.image.as_str());
            }
            AddonWork::Manifests(of) => {
                self.now.manifests.insert(&mv.name, &of.digest);
            }
            AddonWork::Helm(of) => {
                self.now.manifests.insert(&mv.name, &of.objects.digest);
            }
        }
        self.achieves(step);
    }

    /// No version comes after one that the file has later, the last one comes at the end, and the API servers of then are among
    /// those with which the file says that the version works.
    fn path(&mut self, step: &Step, mv: &AddonMove, addon: &Addon) {
        let place = |version: &str| {
            addon.via.iter().position(|via| via.version == version).unwrap_or(addon.via.len())
        };
        let of_addon = || self.plan.steps().filter(|other| other.id.scope == step.id.scope);
        let later = of_addon().skip_while(|other| other.id != step.id).skip(1);
        let ordered = later.into_iter().all(|later| place(&later.id.to) > place(&mv.to));
        let ends = of_addon().last().is_some_and(|last| last.id.to == addon.version);
        self.require(ordered && ends, step, "does not go through its versions in their order");
        let requires = if mv.to == addon.version {
            addon.requires.as_ref()
        } else {
            addon.via.iter().find(|via| via.version == mv.to).and_then(|via| via.requires.as_ref())
        };
        let range = requires.and_then(|text| requirement(text));
        let told = self.plan.blockers.iter().any(|blocker| {
            blocker.key == Key::AddonUnsupported && blocker.object == format!("addon/{}", addon.name)
        });
        let servers: Vec<Version> =
            self.now.oldest_api_server().into_iter().chain(self.now.newest_api_server()).cloned().collect();
        let allowed = |server: &Version| {
            let minor = semver::Version::new(server.major.into(), server.minor.into(), 0);
            range.as_ref().is_none_or(|range| range.matches(&minor))
        };
        self.require(
            told || servers.iter().all(allowed),
            step,
            "runs with API servers that its file excludes",
        );
        let proxy =
            mv.image().is_some_and(|of| repository(&of.image).rsplit('/').next() == Some("kube-proxy"));
        let newer =
            |server: &Version| numbers(&mv.to).is_some_and(|to| proxy && to.minor > u64::from(server.minor));
        self.require(told || !servers.iter().any(newer), step, "makes kube-proxy newer than an API server");
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

    /// Helm is given the chart and the values of the file, and the archive that was rendered.
    fn release(&mut self, step: &Step, (mv, change): (&AddonMove, &HelmMove), asked: &AddonHelm) {
        let read = self.live.addon_manifests.get(&mv.name);
        let Some((read, release)) = read.and_then(|read| Some((read, read.release.as_ref()?))) else {
            return self.note(step, "moves a release that was not read");
        };
        self.require(change.release == asked.release, step, "moves another release than the file has");
        let digest = asked.digests.get(&mv.to);
        self.require(digest == Some(&change.objects.digest), step, "has another content than the file");
        self.require(
            change.objects.folder == asked.chart.to_string(),
            step,
            "has another chart than the file",
        );
        let steps: Vec<&AddonMove> =
            self.plan.steps().filter_map(|step| step.work.addon()).filter(|of| of.name == mv.name).collect();
        let place = steps.iter().position(|of| of.to == mv.to).unwrap_or_default();
        let later = steps.iter().skip(place + 1).filter_map(|of| asked.digests.get(&of.to));
        self.require(later.eq(&change.later), step, "has other contents as its own than its later steps");
        if place > 0 {
            return self.later_release(step, (mv, change), (place, &steps), release);
        }
        let rendering = release.rendering.as_ref();
        let of_step = rendering.is_some_and(|rendering| digest == Some(&rendering.asked.digest));
        self.require(of_step && !change.follows, step, "begins with another version than was compared");
        let from = rendering.is_some_and(|rendering| rendering.installed == mv.from);
        self.require(from, step, "starts from another version than is installed");
        let archive = rendering.and_then(|rendering| rendering.archive.as_ref());
        self.require(change.archive.as_ref() == archive, step, "has another archive than was rendered");
        let deployed = release.revisions.iter().rev().find(|revision| revision.status == "deployed");
        let deployed = deployed.map(|revision| revision.number);
        self.require(
            change.revision == deployed,
            step,
            "would go back to another revision than the deployed one",
        );
        let newest = release.revisions.last();
        let as_asked =
            newest.is_some_and(|newest| newest.is_deployed() && newest.has(&change.objects.digest));
        self.require(!as_asked, step, "changes nothing");
        let objects = read.question.objects.iter().map(|manifest| &manifest.object);
        self.require(objects.eq(&change.objects.objects), step, "has other objects than were rendered");
    }

    /// A version after the first one: it starts where the step before it ends, and has the archive and the objects that were rendered.
    fn later_release(
        &mut self,
        step: &Step,
        (mv, change): (&AddonMove, &HelmMove),
        (place, steps): (usize, &[&AddonMove]),
        release: &ReleaseRead,
    ) {
        let before = place.checked_sub(1).and_then(|before| steps.get(before));
        let joined = before.is_some_and(|before| before.to == mv.from);
        self.require(joined, step, "starts from another version than the step before it leaves");
        self.require(
            change.follows && change.revision.is_none(),
            step,
            "would go back to another revision than the step before it leaves",
        );
        let rendering = release.rendering.as_ref();
        let rendered = rendering.and_then(|rendering| rendering.later.get(place.checked_sub(1)?));
        let Some(rendered) = rendered.filter(|of| of.asked.digest == change.objects.digest) else {
            return self.note(step, "has a version that was not rendered");
        };
        self.require(change.archive == rendered.archive, step, "has another archive than was rendered");
        let objects = rendered.objects.iter().map(|manifest| &manifest.object);
        self.require(objects.eq(&change.objects.objects), step, "has other objects than were rendered");
    }

    /// The image is that of the repository that is asked for, or of the one that runs, with the version as written.
    fn image(&mut self, step: &Step, (of_step, mv): (&AddonMove, &ImageMove), asked: Option<&str>) {
        let read = self.live.addon_workloads.get(&mv.workload).and_then(Option::as_ref);
        let Some(runs) = read.and_then(|read| read.images.get(&mv.container)) else {
            return self.note(step, "gives an image to a container that is not there");
        };
        let given = self.now.images.get(&(&mv.workload, mv.container.as_str())).copied();
        let from = given.unwrap_or(&runs.image);
        self.require(from == mv.image_from, step, "starts from another image than the one that runs");
        self.require(from != mv.image, step, "changes nothing");
        let of = asked.unwrap_or_else(|| repository(&runs.image));
        let rest = mv.image.strip_prefix(of).and_then(|rest| rest.strip_prefix([':', '@']));
        self.require(rest == Some(of_step.to.as_str()), step, "gives another image than asked for");
        let of_addon = self.plan.steps().filter(|other| other.id.scope == step.id.scope);
        let later = of_addon.skip_while(|other| other.id != step.id).skip(1);
        let later = later.filter_map(|other| other.work.addon()?.image().map(|of| &of.image));
        self.require(
            later.eq(&mv.later),
            step,
            "takes other images as its own than those of its later steps",
        );
    }
}
