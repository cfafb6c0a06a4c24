//! The addons that do not run as they are asked for: what each step changes, in which order, and what keeps it from that.

use std::collections::BTreeMap;

use super::{Inventory, compatible};
use crate::model::addon::{
    Addon, AddonWhen, ContainerImage, WorkloadRead, WorkloadRef, image_version, is_as,
};
use crate::model::decision::{Key, Reason};
use crate::model::live::{CallFailure, Progress};
use crate::model::names::MANAGER;
use crate::model::plan::{AddonMove, Fact, Scope, Step, Work};
use crate::model::version::Version;

/// An addon whose image is not as it is asked for.
pub(super) struct PendingAddon<'a> {
    addon: &'a Addon,
    from: &'a str,
    image: String,
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
        let (workload, container) = (&addon.image.workload, &addon.image.container);
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
                    let image = addon.image.asked(&addon.version, &runs.image);
                    let (blockers, risks) = compatible::objections(inventory, addon, &runs.image, &image);
                    survey.blockers.extend(blockers);
                    survey.risks.extend(risks);
                    survey.compare(addon, read, runs, image);
                }
            },
        }
    }
    survey
}

impl<'a> AddonSurvey<'a> {
    /// Compares the image that runs with the one that is asked for.
    fn compare(&mut self, addon: &'a Addon, read: &WorkloadRead, runs: &'a ContainerImage, image: String) {
        if is_as(&runs.image, &image) {
            self.unchanged(addon, read);
            return;
        }
        let object = || format!("addon/{}", addon.name);
        if let Some(why) = read.stays {
            let text = format!("nothing would replace the pods of {}: {why}", addon.image.workload);
            self.blockers.push(Reason::new(Key::AddonNotRolledOut, object(), text));
        }
        let ours = format!("{MANAGER} by ");
        if let Some(manager) = runs.manager.as_ref().filter(|manager| !manager.starts_with(&ours)) {
            let text = format!("somebody else wrote its image last: {manager}");
            self.risks.push(Reason::new(Key::AddonManager, object(), text));
        }
        self.changes.push(PendingAddon { addon, from: &runs.image, image });
    }

    /// An addon that has its image, and whose pods may not all be there.
    fn unchanged(&mut self, addon: &'a Addon, read: &WorkloadRead) {
        let object = format!("addon/{}", addon.name);
        let reason = match &read.progress {
            Progress::Complete => return,
            Progress::Going if !read.is_half_way() => return,
            Progress::Going => {
                let text = format!("the rollout of {} has not ended", addon.image.workload);
                Reason::new(Key::AddonRolling, object, text)
            }
            Progress::Failed(why) => {
                let text = format!("the rollout of {} does not go on: {why}", addon.image.workload);
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
        let Addon { name, version, image: of, timeout, .. } = self.addon;
        let mv = AddonMove {
            name: name.clone(),
            from: image_version(self.from).to_owned(),
            to: version.clone(),
            workload: of.workload.clone(),
            container: of.container.clone(),
            image_from: self.from.to_owned(),
            image: self.image.clone(),
            timeout_seconds: timeout.as_secs(),
            kubernetes: kubernetes.clone(),
        };
        let achieves = vec![
            Fact::HasImage(of.workload.clone(), of.container.clone(), self.image.clone()),
            Fact::RolledOut(of.workload.clone()),
        ];
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
