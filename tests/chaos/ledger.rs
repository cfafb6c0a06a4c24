//! The record branch of a run: one line of history, of which nothing was ever lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use git2::{Oid, Repository, Sort};
use windlass::record;

/// The tip of the record branch, if there is one.
pub fn tip(repository: &Path) -> Option<Oid> {
    let repository = Repository::open_bare(repository).ok()?;
    repository.refname_to_id("refs/heads/windlass/status").ok()
}

/// Merges, tips that were seen and are gone, and gaps of the journal.
pub fn findings(
    path: &Path,
    cluster: &str,
    files: &BTreeMap<String, String>,
    seen: &BTreeSet<Oid>,
) -> Vec<String> {
    let Some(tip) = tip(path) else { return vec!["there is no record branch".to_owned()] };
    let repository = Repository::open_bare(path).unwrap();
    let mut walk = repository.revwalk().unwrap();
    walk.push(tip).unwrap();
    walk.set_sorting(Sort::TOPOLOGICAL).unwrap();
    let line: BTreeSet<Oid> = walk.map(Result::unwrap).collect();
    let mut findings = Vec::new();
    for commit in line.iter().map(|id| repository.find_commit(*id).unwrap()) {
        if commit.parent_count() > 1 {
            findings.push(format!("the record has a merge: {}", commit.id()));
        }
    }
    findings.extend(seen.difference(&line).map(|id| format!("the record lost {id}")));
    match record::journal(cluster, files) {
        Ok(entries) => {
            let numbers: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
            if numbers != (0..numbers.len() as u64).collect::<Vec<_>>() {
                findings.push(format!("the journal has gaps: {numbers:?}"));
            }
        }
        Err(error) => findings.push(format!("the journal cannot be read: {error}")),
    }
    findings
}
