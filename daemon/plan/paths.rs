//! The versions that are missing on the way of an addon: those over which its project does not support a jump, and those with which
//! alone a minor of Kubernetes can be passed.

use std::collections::BTreeSet;

use semver::Version as Numbers;

use super::addons::SurveyedAddon;
use super::compatible::AddonVersion;
use super::place::Timeline;
use crate::model::text::list;
use crate::provider::{KnownAddon, Reach, numbers};

/// More missing minors than a person reads.
const MOST_NAMED: usize = 5;

/// What is missing on the way from the version that runs to the one that is asked for.
pub(super) fn missing(surveyed: &SurveyedAddon, timeline: &Timeline) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    let by_hand = !surveyed.addon.source.has_versions();
    for pair in surveyed.versions.windows(2) {
        let [before, after] = pair else { continue };
        missing.extend(jump(before, after, by_hand));
    }
    if !surveyed.moves.is_empty() {
        missing.extend(passed(&surveyed.versions, timeline, by_hand));
    }
    missing
}

/// What its project asks people to do themselves for the moves of an addon.
pub(super) fn notices(surveyed: &SurveyedAddon) -> BTreeSet<String> {
    let kind = surveyed.moves.first().map(|mv| mv.change.kind());
    let pairs = surveyed.versions.windows(2).filter_map(|pair| Some((pair.first()?, pair.last()?)));
    let told = pairs.flat_map(|(before, after)| {
        let moves = after.known().filter_map(|(known, to)| {
            let (_, from) = before.known().find(|(other, _)| other.addon == known.addon)?;
            Some((known, numbers(from)?, numbers(to)?))
        });
        let told = moves.flat_map(|(known, from, to)| {
            let about = known
                .notices
                .iter()
                .filter(move |row| kind.is_some_and(|kind| row.is_about(kind, &from, &to)));
            about.map(|row| {
                format!("{}, from {} to {}: {}", known.addon, before.version, after.version, row.text)
            })
        });
        told.collect::<Vec<_>>()
    });
    told.collect()
}

/// What to do about versions that are missing.
fn remedy(named: &str, by_hand: bool) -> String {
    if by_hand { format!("commit {named} first") } else { format!("name {named} in `via`") }
}

/// Why a project does not support the step from one version to another; `None` if it does, or nothing is known.
fn jump(before: &AddonVersion, after: &AddonVersion, by_hand: bool) -> Option<String> {
    let (known, to) = after
        .known()
        .find(|(known, version)| numbers(version).is_some_and(|to| known.reach(&to).is_some()))?;
    let (_, from) = before.known().find(|(other, _)| other.addon == known.addon)?;
    let (low, high) = (numbers(from)?, numbers(to)?);
    let reach = reach(known, &low, &high)?;
    if low.major != high.major || low.minor.abs_diff(high.minor) <= reach.minors {
        return None;
    }
    let named = between(&low, &high, reach.minors);
    let over = if reach.minors == 1 { "one minor".to_owned() } else { format!("{} minors", reach.minors) };
    let versions = if named.len() == 1 { "a version of" } else { "versions of" };
    let named = format!("{versions} {}", list(&named, MOST_NAMED));
    Some(format!(
        "{} goes over at most {over} at a time, and {from} to {to} are {}: {}",
        known.addon,
        low.minor.abs_diff(high.minor),
        remedy(&named, by_hand)
    ))
}

/// What is known of the way from one version to another. On the way back, that of the newer one counts.
fn reach<'k>(known: &'k KnownAddon, from: &Numbers, to: &Numbers) -> Option<&'k Reach> {
    if from <= to { known.reach(to) } else { known.reach(from).filter(|reach| reach.back) }
}

/// The minors between two versions, with jumps of at most so many.
fn between(from: &Numbers, to: &Numbers, most: u64) -> Vec<String> {
    let mut named = Vec::new();
    let mut at = from.minor;
    while at.abs_diff(to.minor) > most {
        at = if at < to.minor { at + most } else { at - most };
        named.push(format!("{}.{at}", from.major));
    }
    named
}

/// A minor of Kubernetes that the plan passes through, with which none of the versions is said to work, and another one is that lies
/// between them.
fn passed(versions: &[AddonVersion], timeline: &Timeline, by_hand: bool) -> Option<String> {
    let all = timeline.present(None, None).servers;
    let (first, last) = (timeline.start.servers.last()?, all.last()?);
    let on_the_way = all.iter().filter(|minor| *minor > first && *minor < last);
    let minor = on_the_way.copied().find(|minor| {
        let minor = BTreeSet::from([*minor]);
        versions.iter().all(|version| !version.doubtful(&minor).is_empty())
    })?;
    let (installed, asked) = (versions.first()?, versions.last()?);
    installed.known().find_map(|(known, from)| {
        let (_, to) = asked.known().find(|(other, _)| other.addon == known.addon)?;
        let (low, high) = (numbers(from)?, numbers(to)?);
        let row = known.versions.iter().filter(|row| row.allows(minor)).find(|row| {
            row.first().is_some_and(|first| {
                first > low.clone().min(high.clone()) && first < low.clone().max(high.clone())
            })
        })?;
        let named: Vec<String> = versions.iter().map(|version| version.version.clone()).collect();
        Some(format!(
            "Kubernetes 1.{minor} is passed on the way, and of {} {} none is said to work with it; {} is: {}",
            known.addon,
            list(&named, MOST_NAMED),
            row.versions,
            remedy("one of these versions", by_hand)
        ))
    })
}
