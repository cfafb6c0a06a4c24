//! The addons that do not run as they are asked for: what each step changes, in which order, and what keeps it from that.

use std::collections::BTreeMap;

use super::compatible::AddonVersion;
use super::{Inventory, helm, manifests};
use crate::model::addon::{
    Addon, AddonImage, AddonSource, AddonWork, ContainerImage, ImageMove, WorkloadRead, WorkloadRef,
    image_version, is_as,
};
use crate::model::decision::{Key, Reason};
use crate::model::live::{CallFailure, Progress};
use crate::model::names::MANAGER;
use crate::model::plan::{AddonMove, Fact, Scope, Step, Work};
use crate::model::version::Version;

/// An addon of the file, and what is to be done about it.
pub(super) struct SurveyedAddon<'a> {
    pub(super) addon: &'a Addon,
    /// The version that runs, and each to which it goes from there.
    pub(super) versions: Vec<AddonVersion>,
    /// The moves from each of these versions to the next one.
    pub(super) moves: Vec<PendingMove>,
}

/// A move of an addon that is not as it is asked for.
pub(super) struct PendingMove {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) change: AddonWork,
}

/// What is to be done about the addons, and why some of them cannot be moved.
pub(super) struct AddonSurvey<'a> {
    /// Each after those that it follows.
    pub(super) addons: Vec<SurveyedAddon<'a>>,
    pub(super) blockers: Vec<Reason>,
    pub(super) risks: Vec<Reason>,
    /// Why nothing else is begun: addons that have their images, and not all of their pods.
    pub(super) unfinished: Vec<Reason>,
}

pub(super) fn look_at_addons<'a>(inventory: &'a Inventory) -> AddonSurvey<'a> {
    let mut survey =
        AddonSurvey { addons: Vec::new(), blockers: Vec::new(), risks: Vec::new(), unfinished: Vec::new() };
    for addon in in_order(&inventory.cluster.addons) {
        let object = || format!("addon/{}", addon.name);
        let of = match &addon.source {
            AddonSource::Image(of) => of,
            AddonSource::Manifests(of) => {
                manifests::look_at_objects(inventory, &mut survey, addon, of);
                continue;
            }
            AddonSource::Helm(of) => {
                helm::look_at_release(inventory, &mut survey, addon, of);
                continue;
            }
        };
        let (workload, container) = (&of.workload, &of.container);
        match inventory.live.addon_workloads.get(workload) {
            None => {
                survey.blockers.push(unread(workload, inventory.live.addons_unread.get(workload), object()));
            }
            Some(None) => {
                let text = format!("there is no {workload}");
                survey.blockers.push(Reason::new(Key::AddonNotFound, object(), text));
            }
            Some(Some(read)) => match read.images.get(container) {
                None => {
                    let has: Vec<&str> = read.images.keys().map(String::as_str).collect();
                    let text = format!("{workload} has no container {container}; it has {}", has.join(", "));
                    survey.blockers.push(Reason::new(Key::AddonNotFound, object(), text));
                }
                Some(runs) => {
                    survey.compare((addon, of), read, runs);
                    let differs = !is_as(&runs.image, &of.asked(&addon.version, &runs.image));
                    let missing = inventory.live.addon_rights.get(workload).and_then(Option::as_ref);
                    let missing = missing.filter(|_| differs);
                    survey
                        .blockers
                        .extend(missing.map(|text| Reason::new(Key::RightMissing, object(), text.clone())));
                }
            },
        }
    }
    survey
}

impl<'a> AddonSurvey<'a> {
    /// Compares the image that runs with the one that is asked for.
    fn compare(
        &mut self,
        (addon, of): (&'a Addon, &AddonImage),
        read: &WorkloadRead,
        runs: &'a ContainerImage,
    ) {
        if is_as(&runs.image, &of.asked(&addon.version, &runs.image)) {
            self.unchanged(addon, &of.workload.to_string(), read);
            let versions = vec![AddonVersion::asked(addon, vec![runs.image.clone()])];
            self.addons.push(SurveyedAddon { addon, versions, moves: Vec::new() });
            return;
        }
        let object = || format!("addon/{}", addon.name);
        if let Some(why) = read.stays {
            let text = format!("nothing would replace the pods of {}: {why}", of.workload);
            self.blockers.push(Reason::new(Key::AddonNotRolledOut, object(), text));
        }
        let ours = format!("{MANAGER} by ");
        if let Some(manager) = runs.manager.as_ref().filter(|manager| !manager.starts_with(&ours)) {
            let text = format!("somebody else wrote its image last: {manager}");
            self.risks.push(Reason::new(Key::AddonManager, object(), text));
        }
        let (versions, images) = path(addon, of, &runs.image);
        let moves = images.windows(2).enumerate().filter_map(|(index, pair)| {
            let [from, to] = pair else { return None };
            let change = AddonWork::Image(ImageMove {
                workload: of.workload.clone(),
                container: of.container.clone(),
                image_from: from.clone(),
                image: to.clone(),
                later: images.iter().skip(index + 2).cloned().collect(),
            });
            let name = |index: usize| versions.get(index).map(|version| version.version.clone());
            Some(PendingMove { from: name(index)?, to: name(index + 1)?, change })
        });
        let moves: Vec<_> = moves.collect();
        self.addons.push(SurveyedAddon { addon, versions, moves });
    }

    /// An addon that is as asked for, and whose pods may not all be there.
    pub(super) fn unchanged(&mut self, addon: &Addon, workload: &str, read: &WorkloadRead) {
        let object = format!("addon/{}", addon.name);
        let reason = match &read.progress {
            Progress::Complete => return,
            Progress::Going if !read.is_half_way() => return,
            Progress::Going => {
                let text = format!("the rollout of {workload} has not ended");
                Reason::new(Key::AddonRolling, object, text)
            }
            Progress::Failed(why) => {
                let text = format!("the rollout of {workload} does not go on: {why}");
                Reason::new(Key::AddonNotRolledOut, object, text)
            }
        };
        self.unfinished.push(reason);
    }
}

/// The versions from the one that runs to the one that is asked for, and their images.
fn path(addon: &Addon, of: &AddonImage, runs: &str) -> (Vec<AddonVersion>, Vec<String>) {
    let installed = image_version(runs);
    let mut images = vec![runs.to_owned()];
    let mut versions = vec![AddonVersion {
        version: installed.to_owned(),
        images: images.clone(),
        requires: addon.requires_of(installed).map(str::to_owned),
    }];
    for via in addon.path_from(installed) {
        let image = of.asked(&via.version, runs);
        images.push(image.clone());
        versions.push(AddonVersion { version: via.version, images: vec![image], requires: via.requires });
    }
    (versions, images)
}

impl PendingMove {
    /// The step; `at` is what the API servers run when its turn comes.
    pub(super) fn step(&self, addon: &Addon, at: &Version) -> Step {
        let mv = AddonMove {
            name: addon.name.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            timeout_seconds: addon.timeout.as_secs(),
            kubernetes: at.clone(),
            on_failure: addon.on_failure,
            change: self.change.clone(),
        };
        let achieves = mv.achieves();
        let expects = vec![Fact::ControlPlaneAtLeast(at.clone())];
        Step::new(Scope::Addon(addon.name.clone()), Work::Addon(mv), expects, achieves)
    }
}

/// The addons as the file has them, but each after those that it names in `after`.
fn in_order(addons: &[Addon]) -> Vec<&Addon> {
    let by_name: BTreeMap<&str, &Addon> = addons.iter().map(|addon| (addon.name.as_str(), addon)).collect();
    let mut ordered: Vec<&Addon> = Vec::with_capacity(addons.len());
    for addon in addons {
        put(addon, &by_name, &mut ordered, addons.len());
    }
    ordered
}

/// `depth` ends a circle, which no file that was read has.
fn put<'a>(
    addon: &'a Addon,
    by_name: &BTreeMap<&str, &'a Addon>,
    ordered: &mut Vec<&'a Addon>,
    depth: usize,
) {
    if depth == 0 || ordered.iter().any(|known| known.name == addon.name) {
        return;
    }
    for before in addon.after.iter().filter_map(|name| by_name.get(name.as_str())) {
        put(before, by_name, ordered, depth - 1);
    }
    ordered.push(addon);
}

fn unread(workload: &WorkloadRef, why: Option<&CallFailure>, object: String) -> Reason {
    match why {
        None => Reason::new(Key::VersionUnknown, object, format!("{workload} has not been read yet")),
        Some(why) => {
            let key = if why.is_missing_right() { Key::RightMissing } else { Key::VersionUnknown };
            Reason::new(key, object, format!("{workload} cannot be read: {}", why.words()))
        }
    }
}
