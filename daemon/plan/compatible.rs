//! When each addon moves, and what speaks against it: the versions of Kubernetes that its versions support, and how its project
//! goes from one to another.

use std::collections::{BTreeMap, BTreeSet};

use super::Inventory;
use super::addons::{AddonSurvey, SurveyedAddon};
use super::helm::rendered_for_another;
use super::installed::older_than_kubeadm;
use super::paths;
use super::place::{Cost, MinorsPresent, Timeline, cheapest};
use crate::model::addon::{Addon, image_version, requirement};
use crate::model::decision::{Key, Reason};
use crate::model::plan::Step;
use crate::provider::{KnownAddon, Statement, known_of, numbers, of_minor};

/// A version of an addon, and what is known of it.
#[derive(Clone)]
pub(super) struct AddonVersion {
    /// As people call it.
    pub(super) version: String,
    /// The images that it has.
    pub(super) images: Vec<String>,
    /// The versions of Kubernetes with which it works, as its file says.
    pub(super) requires: Option<String>,
}

/// The steps of all addons, and what speaks against them.
#[derive(Default)]
pub(super) struct AddonSchedule {
    /// Each with the opening of the timeline at which it comes, in their order.
    pub(super) steps: Vec<(usize, Step)>,
    pub(super) blockers: Vec<Reason>,
    pub(super) risks: Vec<Reason>,
}

impl AddonVersion {
    /// The version that is asked for, with these images.
    pub(super) fn asked(addon: &Addon, images: Vec<String>) -> Self {
        Self { version: addon.version.clone(), images, requires: addon.requires.clone() }
    }

    /// Those of its images that Windlass knows, each with the version of the image.
    pub(super) fn known(&self) -> impl Iterator<Item = (&'static KnownAddon, &str)> {
        self.images.iter().filter_map(|image| Some((known_of(image)?, image_version(image))))
    }

    /// The minors with which it does not work as the file says.
    fn forbidden(&self, minors: &BTreeSet<u16>) -> BTreeSet<u16> {
        let Some(requires) = &self.requires else { return BTreeSet::new() };
        let range = requirement(requires);
        let allows = |minor: &u16| range.as_ref().is_some_and(|range| range.matches(&of_minor(*minor)));
        minors.iter().copied().filter(|minor| !allows(minor)).collect()
    }

    /// The minors with which its project does not say that it works. What the file says comes before that.
    pub(super) fn doubtful(&self, minors: &BTreeSet<u16>) -> BTreeSet<u16> {
        if self.requires.is_some() {
            return BTreeSet::new();
        }
        let missing = self.known().flat_map(|(known, version)| {
            let about = about(known, version);
            let missing = minors
                .iter()
                .copied()
                .filter(move |minor| !about.is_empty() && !about.iter().any(|row| row.allows(*minor)));
            missing.collect::<Vec<_>>()
        });
        missing.collect()
    }

    fn cost(&self, present: &MinorsPresent, follows: bool) -> Cost {
        let mut forbidden = self.forbidden(&present.servers);
        if !follows {
            forbidden.extend(self.unskewed(&present.servers));
        }
        Cost { forbidden: forbidden.len(), doubtful: self.doubtful(&present.servers).len(), early: 0 }
    }
}

/// What a project says of a version.
fn about<'k>(known: &'k KnownAddon, version: &str) -> Vec<&'k Statement> {
    let Some(numbers) = numbers(version) else { return Vec::new() };
    known.versions.iter().filter(|row| row.is_about(&numbers)).collect()
}

/// Gives every step of every addon its place.
///
/// An addon comes no later than those that follow it, by the last step of each. So those are placed first.
pub(super) fn schedule(inventory: &Inventory, survey: &AddonSurvey, timeline: &Timeline) -> AddonSchedule {
    let mut latest: BTreeMap<&str, usize> = BTreeMap::new();
    let mut placed: Vec<(&SurveyedAddon, Vec<usize>)> = Vec::new();
    for surveyed in survey.addons.iter().rev() {
        let name = surveyed.addon.name.as_str();
        let followers =
            survey.addons.iter().filter(|other| other.addon.after.iter().any(|after| after == name));
        let bound = followers.filter_map(|other| latest.get(other.addon.name.as_str())).min().copied();
        let may = timeline
            .open_to(surveyed.addon.when)
            .filter(|opening| bound.is_none_or(|bound| *opening <= bound));
        let may: Vec<usize> = may.collect();
        let turns = if surveyed.moves.is_empty() {
            Vec::new()
        } else {
            let cost = |index: usize, from, to| {
                let Some(version) = surveyed.versions.get(index) else { return Cost::default() };
                // What runs now does not stay behind if kubeadm moves it.
                let follows = index == 0 && inventory.moves_with_hops(surveyed.addon, version);
                version.cost(&timeline.present(from, to), follows)
            };
            cheapest(&may, surveyed.moves.len(), cost).unwrap_or_default()
        };
        if let Some(last) = turns.last().copied().or(bound) {
            latest.insert(name, last);
        }
        placed.push((surveyed, turns));
    }
    placed.reverse();
    let mut schedule = AddonSchedule::default();
    for (surveyed, turns) in &placed {
        objections(inventory, surveyed, timeline, turns, &mut schedule);
        let at = |turn: &usize| timeline.openings.get(*turn).map(|opening| &opening.at);
        let moves = surveyed.moves.iter().zip(turns);
        let steps = moves.filter_map(|(mv, turn)| Some((mv.to.as_str(), at(turn)?)));
        schedule.blockers.extend(rendered_for_another(inventory, surveyed.addon, steps));
    }
    for (index, opening) in timeline.openings.iter().enumerate() {
        for (surveyed, turns) in &placed {
            let here = surveyed.moves.iter().zip(turns).filter(|(_, place)| **place == index);
            schedule.steps.extend(here.map(|(mv, _)| (index, mv.step(surveyed.addon, &opening.at))));
        }
    }
    schedule
}

/// What is known against an addon whose moves come at these openings.
fn objections(
    inventory: &Inventory,
    surveyed: &SurveyedAddon,
    timeline: &Timeline,
    places: &[usize],
    schedule: &mut AddonSchedule,
) {
    // The rest of a hop that was begun comes first; the next plan has this addon.
    if places.is_empty() && !surveyed.moves.is_empty() {
        return;
    }
    let object = format!("addon/{}", surveyed.addon.name);
    let (moves, last) = (timeline.moves(), surveyed.versions.len().saturating_sub(1));
    let mut risks = BTreeSet::new();
    for (index, version) in surveyed.versions.iter().enumerate() {
        // What runs now is of interest only if something else comes to it.
        if index == 0 && !moves {
            continue;
        }
        let from = index.checked_sub(1).and_then(|before| places.get(before)).copied();
        let mut present = timeline.present(from, places.get(index).copied());
        let doubtful = version.doubtful(&present.servers);
        risks.extend(
            doubtful
                .first()
                .and_then(|minor| unsupported(version, *minor))
                .map(|text| (Key::AddonUnsupported, text)),
        );
        if index == 0 {
            present.servers.retain(|minor| !timeline.start.servers.contains(minor));
        } else if let Some(text) = old_kubelets(version, &present) {
            risks.insert((Key::AddonUnsupported, text));
        }
        if let (Some(minor), Some(requires)) =
            (version.forbidden(&present.servers).first(), &version.requires)
        {
            let text = format!(
                "its file says that {} needs Kubernetes {requires}, and it would run with 1.{minor}",
                version.version
            );
            schedule.blockers.push(Reason::new(Key::AddonUnsupported, &object, text));
        }
        let follows = index == 0 && inventory.moves_with_hops(surveyed.addon, version);
        let skew = version.out_of_skew(&present.servers).filter(|_| !follows);
        schedule.blockers.extend(skew.map(|text| Reason::new(Key::AddonUnsupported, &object, text)));
        let new = index > 0 || last == 0;
        if new && moves && version.requires.is_none() && version.known().next().is_none() {
            let text = format!(
                "it is not known which Kubernetes {} supports; `requires` in its file can say so",
                version.version
            );
            risks.insert((Key::AddonUnknown, text));
        }
        if new {
            let opening = index.checked_sub(1).and_then(|before| timeline.openings.get(*places.get(before)?));
            let to = opening.filter(|_| index < last).map_or(inventory.target(), |opening| &opening.at);
            let older = older_than_kubeadm(inventory, (surveyed.addon, version), to);
            schedule
                .blockers
                .extend(older.map(|text| Reason::new(Key::AddonOlderThanKubeadm, &object, text)));
        }
    }
    risks.extend(paths::notices(surveyed).into_iter().map(|text| (Key::AddonNotice, text)));
    schedule.risks.extend(risks.into_iter().map(|(key, text)| Reason::new(key, &object, text)));
    let missing = paths::missing(surveyed, timeline).into_iter();
    schedule.blockers.extend(missing.map(|text| Reason::new(Key::AddonVersionMissing, &object, text)));
}

/// Why a version is not known to work with this minor; `None` if its project says nothing of it.
fn unsupported(version: &AddonVersion, minor: u16) -> Option<String> {
    let minors = BTreeSet::from([minor]);
    let one = |image: &String| AddonVersion { images: vec![image.clone()], ..version.clone() };
    let version = version.images.iter().map(one).find(|one| !one.doubtful(&minors).is_empty())?;
    let (known, version) = version.known().next()?;
    let stated = about(known, version).first()?.kubernetes.clone();
    let others: Vec<&str> =
        known.versions.iter().filter(|row| row.allows(minor)).map(|row| row.versions.as_str()).collect();
    let would = match others.first() {
        Some(first) => format!("{} {first} does", known.addon),
        None => "no version is known that does".to_owned(),
    };
    Some(format!(
        "{} {version} is not said to work with Kubernetes 1.{minor}, only with {stated}; {would}",
        known.addon
    ))
}

/// Kubelets with which a version is not known to work, although it is with all API servers.
fn old_kubelets(version: &AddonVersion, present: &MinorsPresent) -> Option<String> {
    let against = |minors: &BTreeSet<u16>| {
        version.forbidden(minors).first().or(version.doubtful(minors).first()).copied()
    };
    let minor = against(&present.kubelets).filter(|_| against(&present.servers).is_none())?;
    let all: BTreeSet<u16> = present.servers.union(&present.kubelets).copied().collect();
    let works = |row: &&Statement| all.iter().all(|minor| row.allows(*minor));
    let would = match version.known().find(|(known, _)| !known.versions.is_empty()) {
        Some((known, _)) => match known.versions.iter().find(works) {
            Some(row) => format!("; {} {} does, and with all others of then", known.addon, row.versions),
            None => "; no version is known that works with all minors of then".to_owned(),
        },
        None => String::new(),
    };
    Some(format!(
        "{} is not said to work with Kubernetes 1.{minor}, which kubelets still run while it is there{would}",
        version.version
    ))
}
