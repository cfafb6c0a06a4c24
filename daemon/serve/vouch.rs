//! Compares the frozen plan of a run with the commit that the run names, and that commit with the desired branch,
//! whenever a record was read. The record's branch may be open to more people than the desired branch is.

use super::wanted::{self, descends, is_on};
use crate::git::{CommitHash, Repository};
use crate::model::text::one_line;
use crate::plan;
use crate::record::{Record, Run};

/// Where desired states are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trusted<'a> {
    /// The tip of the desired branch.
    pub(super) tip: CommitHash,
    /// Folder of `desired-state/` and `policies/` in the repository; empty for its root.
    pub(super) path: &'a str,
    /// The image of the upgrade Jobs for cluster files that name none.
    pub(super) image: Option<&'a str>,
}

/// More commits of the record's branch than a process looks through for foreign ones.
const MOST_LOOKED: usize = 10_000;

/// Logs the commits on the record's branch that another author wrote: those after `since`, or, for a process that has
/// just started, the newest ones. The entries in them count, because the record has no other truth; a person has to
/// look at them.
pub(super) fn tell_foreign(repository: &Repository, since: Option<CommitHash>, tip: Option<CommitHash>) {
    let branch = repository.record_branch();
    if let Some(gone) = since.filter(|since| !tip.is_some_and(|tip| is_on(repository, since, &tip))) {
        let commit = gone.short();
        tracing::warn!(%branch, %commit, "branch {branch} was rewritten: it no longer has commit {commit}");
    }
    let Some(log) = tip.and_then(|tip| repository.log(&tip, MOST_LOOKED).ok()) else { return };
    let ours = repository.author();
    let new = log.into_iter().take_while(|commit| match since {
        Some(since) => commit.id != since,
        None => commit.committer != *ours,
    });
    for commit in new.filter(|commit| commit.committer != *ours) {
        let (id, by) = (commit.id.short(), one_line(&commit.committer.to_string()));
        tracing::warn!(%branch, commit = %id, %by, "commit {id} on branch {branch} is by {by}; only the daemon, as {ours}, writes there");
    }
}

/// Notes in the record why the plan of the run in progress is not carried out, if it does not follow from the run's
/// commit.
pub(super) fn vouch(repository: &Repository, trusted: Trusted<'_>, cluster: &str, record: &mut Record) {
    let Some(run) = &mut record.run else { return };
    run.doubt = doubt(repository, trusted, cluster, run).map(|doubt| one_line(&doubt));
    if let Some(doubt) = &run.doubt {
        let (run, commit) = (&run.id, run.commit.short());
        tracing::error!(%cluster, %run, %commit, "the plan of the run does not follow from its commit, so it is not carried out: {doubt}");
    }
}

fn doubt(repository: &Repository, trusted: Trusted<'_>, cluster: &str, run: &Run) -> Option<String> {
    if !descends(repository, &run.commit, &trusted.tip) {
        return Some("the desired branch does not have that commit".to_owned());
    }
    let Ok(commit) = run.commit.0.parse::<CommitHash>() else { return Some("it is no commit".to_owned()) };
    let files = match wanted::read(repository, &commit, trusted.path) {
        Ok(files) => files,
        Err(error) => return Some(format!("the commit cannot be read: {error}")),
    };
    let mut loaded = wanted::load(&run.commit, &files, trusted.image);
    match loaded.clusters.remove(cluster) {
        None => Some("the commit does not have this cluster".to_owned()),
        Some(Err(_)) => Some("the commit is not valid for this cluster".to_owned()),
        Some(Ok(desired)) => {
            plan::misfit(&run.plan, &desired).unwrap_or_else(|error| Some(error.to_string()))
        }
    }
}
