//! What kubeadm moves by itself when it moves a control plane, `CoreDNS` and kube-proxy, and how the addons of the file stand to
//! that.

use std::collections::BTreeSet;

use super::Inventory;
use super::addons::AddonSurvey;
use super::compatible::AddonVersion;
use crate::model::addon::{Addon, AddonSource};
use crate::model::decision::{Key, Reason};
use crate::model::installed::{InstalledAddon, InstalledCheck};
use crate::model::plan::{Fact, Scope, Stage, StageKind, Step, Work};
use crate::model::text::list;
use crate::model::version::Version;
use crate::provider::{KnownAddon, installed_at_least, installed_with, numbers};

impl Inventory<'_> {
    /// True if the provider of this control plane moves the addon when it moves the control plane.
    fn installs(&self, addon: InstalledAddon) -> bool {
        self.provider().installs_addons && !self.cluster.control_plane.kubeadm.skips(addon)
    }

    /// True if the provider of this control plane moves this version of an addon with every hop.
    pub(super) fn moves_with_hops(&self, asked: &Addon, version: &AddonVersion) -> bool {
        version.known().any(|(known, _)| installed_as(asked, known).is_some_and(|addon| self.installs(addon)))
    }
}

/// What kubeadm installs under the name of what an addon of the file has: an image alone may also run elsewhere, as kube-proxy does
/// on nodes of Windows.
fn installed_as(asked: &Addon, known: &KnownAddon) -> Option<InstalledAddon> {
    let is = |addon: &InstalledAddon| match &asked.source {
        AddonSource::Image(of) => of.workload == addon.workload(),
        AddonSource::Manifests(_) | AddonSource::Helm(_) => true,
    };
    InstalledAddon::ALL.into_iter().filter(is).find(|addon| addon.name() == known.addon)
}

/// The checks of what the provider moves with the control plane of a hop, of the workloads that are there.
pub(super) fn checks(inventory: &Inventory, from: &Version, to: &Version) -> Vec<Step> {
    let there = |addon: &InstalledAddon| {
        inventory.installs(*addon) && inventory.live.workload_of(&addon.workload()).is_some()
    };
    InstalledAddon::ALL.into_iter().filter(there).map(|addon| check_step(addon, from, to)).collect()
}

/// The check of what one hop brings of an addon.
pub(super) fn check_step(addon: InstalledAddon, from: &Version, to: &Version) -> Step {
    let of = InstalledCheck {
        workload: addon.workload(),
        container: addon.name().to_owned(),
        from: from.clone(),
        to: to.clone(),
        version: installed_at_least(addon, to),
    };
    let achieves = of.achieves();
    let expects = vec![Fact::ControlPlaneAtLeast(to.clone())];
    Step::new(Scope::Check(addon.name().to_owned()), Work::Check(of), expects, achieves)
}

/// A file that asks for less than kubeadm installs with the control plane would take that back.
pub(super) fn older_than_kubeadm(
    inventory: &Inventory,
    (asked, version): (&Addon, &AddonVersion),
    to: &Version,
) -> Option<String> {
    let moves = inventory.control_plane.values().flatten().any(|runs| runs.is_before(to));
    let older = |(known, version): (&KnownAddon, &str)| {
        let addon = installed_as(asked, known).filter(|addon| inventory.installs(*addon))?;
        let installed = installed_with(addon, to)?;
        (numbers(version)? < numbers(&installed)?).then(|| {
            format!(
                "kubeadm installs {} {installed} with Kubernetes 1.{}, and its file asks for {version}, which is older: \
                 write {installed} or later",
                known.addon, to.minor
            )
        })
    };
    version.known().filter(|_| moves).find_map(older)
}

/// Why kubeadm cannot leave out what the file asks it to: that of an earlier hop may not know how.
pub(super) fn phases_not_skippable(inventory: &Inventory, stages: &[Stage]) -> Option<Reason> {
    let phases = &inventory.cluster.control_plane.kubeadm.skip_phases;
    let moves = stages.iter().filter(|stage| stage.kind == StageKind::ControlPlane && !phases.is_empty());
    let cannot = |to: &&Version| !(inventory.provider().can_skip_phases)(to);
    let hops: Vec<String> = moves.map(|stage| &stage.to).filter(cannot).map(ToString::to_string).collect();
    let named: Vec<String> = phases.iter().map(ToString::to_string).collect();
    (!hops.is_empty()).then(|| {
        let text = format!(
            "kubeadm can leave out the phases of its addons from v1.32 on, and the plan moves the control plane to {} by a \
             kubeadm that cannot leave out {}: go there without spec.controlPlane.kubeadm.skipPhases first",
            list(&hops, hops.len()),
            list(&named, named.len())
        );
        Reason::new(Key::PhaseNotSkippable, format!("cluster/{}", inventory.cluster.name), text)
    })
}

/// The checks that could not be made: it is not known yet whether our user may read what they are about, or it may not.
pub(super) fn not_readable(inventory: &Inventory, stages: &[Stage]) -> BTreeSet<Reason> {
    let live = inventory.live;
    let checked = stages.iter().flat_map(|stage| &stage.steps).filter_map(|step| step.work.check());
    let reason = |of: &InstalledCheck| {
        let of = &of.workload;
        let (key, text) = match (live.addons_unread.get(of), live.addon_workloads.get(of)) {
            (Some(why), _) if why.is_missing_right() => {
                (Key::RightMissing, format!("{of} could not be looked at after the hop: {}", why.words()))
            }
            (Some(why), None) => (Key::VersionUnknown, format!("{of} cannot be read: {}", why.words())),
            (None, None) => (Key::VersionUnknown, format!("{of} has not been read yet")),
            (Some(_) | None, Some(_)) => return None,
        };
        Some(Reason::new(key, of.to_string(), text))
    };
    checked.filter_map(reason).collect()
}

/// The addons that kubeadm leaves out, and that no addon of the file moves either.
pub(super) fn moved_by_nobody(inventory: &Inventory, survey: &AddonSurvey, stages: &[Stage]) -> Vec<Reason> {
    let moves = stages.iter().any(|stage| stage.kind == StageKind::ControlPlane);
    let skipped = |addon: &InstalledAddon| {
        moves && inventory.provider().installs_addons && inventory.cluster.control_plane.kubeadm.skips(*addon)
    };
    let covered = |addon: InstalledAddon| {
        let mut images = inventory.cluster.addons.iter().filter_map(|asked| asked.source.image());
        let mut found = survey.addons.iter().flat_map(|surveyed| {
            let known = surveyed.versions.iter().flat_map(AddonVersion::known);
            known.filter_map(|(known, _)| installed_as(surveyed.addon, known))
        });
        images.any(|of| of.workload == addon.workload()) || found.any(|of| of == addon)
    };
    let left = InstalledAddon::ALL.into_iter().filter(skipped).filter(|addon| !covered(*addon));
    let there = left.filter(|addon| inventory.live.workload_of(&addon.workload()).is_some());
    let risk = |addon: InstalledAddon| {
        let text = format!(
            "kubeadm leaves {} out (skipPhases), and no addon of the file moves it: it stays at its version",
            addon.title()
        );
        Reason::new(Key::AddonMovedByNobody, addon.workload().to_string(), text)
    };
    there.map(risk).collect()
}
