//! The record alone, for commands that need no desired state. Nothing here writes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};

use super::source::{located, record_files, unknown};
use crate::config::RepositorySettings;
use crate::git::{self, Repository};
use crate::record::Record;
use crate::serve::by_cluster;

/// The branch that holds the record, in its repository.
pub struct RecordBranch {
    repository: Repository,
    /// `None` before the first entry.
    tip: Option<git::CommitHash>,
    branch: String,
    local: bool,
}

impl RecordBranch {
    /// Opens the record's repository and reads where its branch is.
    pub fn open(given: RepositorySettings) -> anyhow::Result<Self> {
        let (settings, _) = located(given);
        let local = Path::new(settings.record_url.as_deref().unwrap_or(&settings.url)).is_dir();
        let branch = settings.record_branch.clone();
        let mut repository = Repository::open_record(settings)?;
        let tip = repository.fetch_record()?;
        Ok(Self { repository, tip, branch, local })
    }

    /// An error if the branch was named by a person and does not exist: "no record" would be a wrong answer.
    pub fn named(self, name: Option<&str>) -> anyhow::Result<Self> {
        match name {
            Some(name) if self.tip.is_none() => bail!("the repository has no branch {name} with a record"),
            Some(_) | None => Ok(self),
        }
    }

    /// The branch and its repository, for people.
    pub fn place(&self) -> String {
        format!("branch {} of {}", self.branch, self.repository.record_place())
    }

    /// The files of all clusters.
    pub fn files(&self) -> anyhow::Result<BTreeMap<String, String>> {
        record_files(&self.repository, self.tip, &self.branch, self.local)
    }

    /// The record of every cluster, or of the one that is named.
    pub fn of(&self, cluster: Option<&str>) -> anyhow::Result<BTreeMap<String, Record>> {
        let mut records = BTreeMap::new();
        let folders = by_cluster(self.files()?);
        if let Some(cluster) = cluster
            && !folders.contains_key(cluster)
        {
            bail!(unknown("the record", cluster, folders.keys().map(String::as_str)));
        }
        for (name, record) in folders.into_iter().filter(|(name, _)| cluster.is_none_or(|only| only == name))
        {
            let record = record.with_context(|| format!("reading the record of {name}"))?;
            records.insert(name, record);
        }
        Ok(records)
    }
}
