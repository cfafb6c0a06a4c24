//! The addons that do not run as they are asked for: what each step changes, in which order, and what keeps it from that.

use std::collections::BTreeMap;

use super::{Inventory, compatible, manifests};
use crate::model::addon::{
    Addon, AddonImage, AddonSource, AddonWhen, AddonWork, ContainerImage, ImageMove, WorkloadRead,
    WorkloadRef, image_version, is_as,
};
use crate::model::decision::{Key, Reason};
use crate::model::live::{CallFailure, Progress};
use crate::model::names::MANAGER;
use crate::model::plan::{AddonMove, Fact, Scope, Step, Work};
use crate::model::version::Version;

/// An addon that is not as it is asked for.
pub(super) struct PendingAddon<'a> {
    pub(super) addon: &'a Addon,
    pub(super) from: String,
    pub(super) change: AddonWork,
}

/// What is to be done about the addons, and why some of them cannot be moved.
pub(super) struct AddonSurvey<'a> {
    pub(super) changes: Vec<PendingAddon<'a>>,
    pub(super) blockers: Vec<Reason>,
    pub(super) risks: Vec<Reason>,
    /// Why nothing else is begun: addons that have their images, and not all of their pods.
    pub(super) unfinished: Vec<Reason>,
}

pub(super) fn look_at_addons<'a>(inventory: &'a Inventory) -> AddonSurvey<'a> {
    let mut survey =
        AddonSurvey { changes: Vec::new(), blockers: Vec::new(), risks: Vec::new(), unfinished: Vec::new() };
    for addon in in_order(&inventory.cluster.addons) {
        let object = || format!("addon/{}", addon.name);
        let of = match &addon.source {
            AddonSource::Image(of) => of,
            AddonSource::Manifests(of) => {
                manifests::look_at_objects(inventory, &mut survey, addon, of);
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
                    let image = of.asked(&addon.version, &runs.image);
                    let (blockers, risks) =
                        compatible::objections(inventory, addon, &[(runs.image.as_str(), image.as_str())]);
                    survey.blockers.extend(blockers);
                    survey.risks.extend(risks);
                    survey.compare((addon, of), read, runs, image);
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
        image: String,
    ) {
        if is_as(&runs.image, &image) {
            self.unchanged(addon, &of.workload.to_string(), read);
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
        let change = AddonWork::Image(ImageMove {
            workload: of.workload.clone(),
            container: of.container.clone(),
            image_from: runs.image.clone(),
            image,
            later: Vec::new(),
        });
        self.changes.push(PendingAddon { addon, from: image_version(&runs.image).to_owned(), change });
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

    /// The steps of the addons that move then.
    pub(super) fn steps(&self, when: AddonWhen, kubernetes: &Version) -> Vec<Step> {
        let changes = self.changes.iter().filter(|change| change.addon.when == when);
        changes.map(|change| change.step(kubernetes)).collect()
    }
}

impl PendingAddon<'_> {
    fn step(&self, kubernetes: &Version) -> Step {
        let Addon { name, version, timeout, .. } = self.addon;
        let mv = AddonMove {
            name: name.clone(),
            from: self.from.clone(),
            to: version.clone(),
            timeout_seconds: timeout.as_secs(),
            kubernetes: kubernetes.clone(),
            change: self.change.clone(),
        };
        let achieves = mv.achieves();
        let expects = vec![Fact::ControlPlaneAtLeast(kubernetes.clone())];
        Step::new(Scope::Addon(name.clone()), Work::Addon(mv), expects, achieves)
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
