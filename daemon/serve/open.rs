//! Opens a repository at the start of a process and reads the record of each cluster.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use super::retry::Rest;
use super::settings::Serve;
use super::vouch::{Trusted, tell_foreign, vouch};
use crate::git::{self, CommitHash, GitError, Repository, Tips};
use crate::record::{self, Record};

/// The record of each cluster, or why it cannot be used.
pub type Records = BTreeMap<String, Result<Record, record::ReadError>>;

/// A repository as it was when it was opened.
pub struct Opened {
    pub repository: Repository,
    /// The tip of the record's branch; `None` before the first entry.
    pub tip: Option<CommitHash>,
    pub records: Records,
}

/// Opens the repository and reads the record. Waits for a host that is away; `None` if the process is asked to end
/// meanwhile.
pub(super) async fn open(settings: &Serve) -> anyhow::Result<Option<Opened>> {
    let mut ending = settings.ending.clone();
    let mut rest = Rest::new();
    while !*ending.borrow() {
        let (git, path, image) = (settings.git.clone(), settings.path.clone(), settings.image.clone());
        let error = match blocking(move || open_now(git, &path, image.as_deref())).await? {
            Ok(opened) => return Ok(Some(opened)),
            Err(error) => error,
        };
        let away = matches!(error.downcast_ref(), Some(GitError::Unreachable { .. }));
        if settings.until_idle || !away {
            return Err(error);
        }
        tracing::warn!(error = format!("{error:#}"), "the repository cannot be read; trying again");
        rest.take(&settings.clock, &mut ending).await;
    }
    Ok(None)
}

/// Opens the repository once and reads the record of each cluster. The plan of each run is compared with its commit.
///
/// # Errors
///
/// The repository or its record's branch cannot be read.
pub fn open_now(git: git::Settings, path: &str, image: Option<&str>) -> anyhow::Result<Opened> {
    let mut repository = Repository::open(git)?;
    let Tips { desired, record: tip } = repository.fetch()?;
    let files = match &tip {
        Some(tip) => repository.read_record(tip, "")?,
        None => BTreeMap::new(),
    };
    tell_foreign(&repository, None, tip);
    let mut records = by_cluster(files);
    for (cluster, record) in &mut records {
        if let Ok(record) = record {
            vouch(&repository, Trusted { tip: desired, path, image }, cluster, record);
        }
    }
    Ok(Opened { repository, tip, records })
}

/// The record of each cluster from the files of the whole status branch.
pub fn by_cluster(files: BTreeMap<String, String>) -> Records {
    let mut folders: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (path, text) in files {
        if let Some((cluster, _)) = path.split_once('/') {
            folders.entry(cluster.to_owned()).or_default().insert(path, text);
        }
    }
    let read = |(cluster, files): (String, BTreeMap<String, String>)| {
        let record = record::read(&cluster, &files);
        (cluster, record)
    };
    folders.into_iter().map(read).collect()
}

/// The commit in force of each cluster.
pub fn accepted(records: &Records) -> BTreeMap<String, String> {
    let commit = |(cluster, record): (&String, &Result<Record, record::ReadError>)| {
        let (commit, _) = record.as_ref().ok()?.accepted.as_ref()?;
        Some((cluster.clone(), commit.0.clone()))
    };
    records.iter().filter_map(commit).collect()
}

/// Clusters with a run that has begun and not ended, according to the record.
pub(super) fn under_way(records: &Records) -> BTreeSet<String> {
    let open =
        |record: &Result<Record, record::ReadError>| record.as_ref().is_ok_and(|record| record.run.is_some());
    records.iter().filter(|(_, record)| open(record)).map(|(cluster, _)| cluster.clone()).collect()
}

/// One short git call on a blocking thread.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a call on the repository panicked")
}
