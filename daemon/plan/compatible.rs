//! What keeps an addon from its version, or speaks against it: the versions of Kubernetes that it supports, and what kubeadm installs.

use std::collections::BTreeSet;

use super::Inventory;
use crate::model::addon::{Addon, AddonWhen, image_version, requirement};
use crate::model::decision::{Key, Reason};
use crate::model::version::Version;
use crate::provider::{KnownAddon, Statement, known_of, numbers, of_minor};

/// What is known against an addon: blockers, and risks. `images` are those that run, each with the one that is asked for.
pub(super) fn objections(
    inventory: &Inventory,
    addon: &Addon,
    images: &[(&str, &str)],
) -> (Vec<Reason>, Vec<Reason>) {
    let (mut blockers, mut risks) = (Vec::new(), Vec::new());
    let object = || format!("addon/{}", addon.name);
    let target = inventory.target();
    let from = inventory.oldest_control_plane().map_or(target.minor, |oldest| oldest.minor);
    let moves = from < target.minor;
    // The minors of the API servers while the new version runs.
    let early = addon.when == AddonWhen::BeforeControlPlane && moves;
    let new: BTreeSet<u16> = [target.minor - u16::from(early), target.minor].into();
    if let Some(requires) = &addon.requires {
        let allows =
            |minor: &u16| requirement(requires).is_some_and(|range| range.matches(&of_minor(*minor)));
        for minor in new.iter().filter(|minor| !allows(minor)) {
            let text = format!(
                "its file says that {} needs Kubernetes {requires}, and it would run with 1.{minor}",
                addon.version
            );
            blockers.push(Reason::new(Key::AddonUnsupported, object(), text));
        }
    }
    let known: Vec<_> =
        images.iter().filter_map(|(runs, image)| Some((*runs, *image, known_of(image)?))).collect();
    if known.is_empty() && moves && addon.requires.is_none() {
        let text = format!(
            "it is not known which Kubernetes {} supports; `requires` in its file can say so",
            addon.version
        );
        risks.push(Reason::new(Key::AddonUnknown, object(), text));
    }
    for (runs, image, known) in known {
        blockers.extend(
            older_than_kubeadm(inventory, image_version(image), known, target)
                .map(|text| Reason::new(Key::AddonOlderThanKubeadm, object(), text)),
        );
        let told = against_images(inventory, addon, (runs, image, known), &new);
        risks.extend(told.into_iter().map(|text| Reason::new(Key::AddonUnsupported, object(), text)));
    }
    (blockers, risks)
}

/// What is known against the image that runs, until it is replaced, and against the one that is asked for.
fn against_images(
    inventory: &Inventory,
    addon: &Addon,
    (runs, image, known): (&str, &str, &KnownAddon),
    new: &BTreeSet<u16>,
) -> Vec<String> {
    let target = inventory.target();
    let from = inventory.oldest_control_plane().map_or(target.minor, |oldest| oldest.minor);
    let moves = from < target.minor;
    let unchanged = image == runs;
    let last = if unchanged || addon.when != AddonWhen::BeforeControlPlane {
        target.minor
    } else {
        target.minor - 1
    };
    let old: BTreeSet<u16> = if moves { (from..=last).collect() } else { BTreeSet::new() };
    let stays = if unchanged { BTreeSet::new() } else { new.clone() };
    // What the file says comes before what others say.
    let stays = if addon.requires.is_some() { BTreeSet::new() } else { stays };
    let both = [(image_version(runs), old), (image_version(image), stays)];
    both.into_iter().filter_map(|(version, minors)| unsupported(known, version, &minors)).collect()
}

/// Why a version is not known to work with one of these minors; `None` if it is, or if its project says nothing of it.
fn unsupported(known: &KnownAddon, version: &str, minors: &BTreeSet<u16>) -> Option<String> {
    let numbers = numbers(version)?;
    let about: Vec<&Statement> = known.versions.iter().filter(|row| row.is_about(&numbers)).collect();
    let stated = about.first()?;
    let minor = minors.iter().find(|minor| !about.iter().any(|row| row.allows(**minor)))?;
    let others: Vec<&str> =
        known.versions.iter().filter(|row| row.allows(*minor)).map(|row| row.versions.as_str()).collect();
    let would = match others.first() {
        Some(first) => format!("{} {first} does", known.addon),
        None => "no version is known that does".to_owned(),
    };
    Some(format!(
        "{} {version} is not said to work with Kubernetes 1.{minor}, only with {}; {would}",
        known.addon, stated.kubernetes
    ))
}

/// kubeadm moves `CoreDNS` and kube-proxy when it moves the control plane. A file that asks for less would take that back.
fn older_than_kubeadm(
    inventory: &Inventory,
    version: &str,
    known: &KnownAddon,
    target: &Version,
) -> Option<String> {
    // What the provider of this control plane installs when it moves it.
    let moves = inventory.control_plane.values().flatten().any(|runs| runs.is_before(target));
    let by_kubeadm = moves && inventory.provider().installs_addons;
    let installed =
        known.kubeadm.iter().find(|row| row.kubernetes == format!("{}.{}", target.major, target.minor))?;
    let older = numbers(version)? < numbers(&installed.version)?;
    (by_kubeadm && older).then(|| {
        format!(
            "kubeadm installs {} {} with Kubernetes 1.{}, and its file asks for {}, which is older: write {} or later",
            known.addon, installed.version, target.minor, version, installed.version
        )
    })
}
