//! Problems that only all files together show: names that are taken twice, selectors that match nothing.

use std::collections::BTreeMap;

use super::policy::Placed;
use super::problem::{Place, Problem, quoted};
use crate::model::desired::{Freeze, Selector, Window};

/// A policy and its file.
pub(super) struct In<'f, T> {
    pub(super) file: &'f str,
    pub(super) text: &'f str,
    pub(super) placed: Placed<T>,
}

/// A policy's name is unique over all kinds, because reasons, reports and overrides refer to it.
pub(super) fn names(windows: &[In<'_, Window>], freezes: &[In<'_, Freeze>]) -> Vec<Problem> {
    let windows = windows.iter().map(|at| (at.placed.policy.name.as_str(), at.file, at.text, at.placed.name));
    let freezes = freezes.iter().map(|at| (at.placed.policy.name.as_str(), at.file, at.text, at.placed.name));
    let mut all: Vec<_> = windows.chain(freezes).collect();
    all.sort_by_key(|(_, file, _, place)| (*file, *place));
    let mut taken = BTreeMap::<&str, (&str, Place)>::new();
    let mut problems = Vec::new();
    for (name, file, text, place) in all {
        if let Some((other, at)) = taken.get(name) {
            let message = format!("a policy called {} is already in {other}:{}", quoted(name), at.line);
            problems.push(Problem::at(file, text, place, message).fixed_by("give every policy its own name"));
        } else {
            taken.insert(name, (file, place));
        }
    }
    problems
}

/// A policy that selects no cluster does nothing, while its author relies on it.
pub(super) fn selectors(
    clusters: &[&BTreeMap<String, String>],
    windows: &[In<'_, Window>],
    freezes: &[In<'_, Freeze>],
) -> Vec<Problem> {
    let idle = |selector: &Selector| !clusters.iter().any(|labels| selector.matches_map(labels));
    let told = |file: &str, text: &str, place: Place| {
        Problem::at(file, text, place, "spec.clusters: the selector matches no cluster of this repository")
            .fixed_by(
                "compare it with `metadata.labels` in the files of desired-state/, or remove the policy",
            )
    };
    let windows = windows.iter().filter(|at| idle(&at.placed.policy.clusters));
    let freezes = freezes.iter().filter(|at| idle(&at.placed.policy.clusters));
    windows
        .map(|at| told(at.file, at.text, at.placed.clusters))
        .chain(freezes.map(|at| told(at.file, at.text, at.placed.clusters)))
        .collect()
}
