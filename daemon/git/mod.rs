//! The edge to git: reads desired state at a commit and appends to the record's branch.
//!
//! It knows commits, trees, blobs and branches, and nothing of clusters or plans. Every call blocks
//! until it is done or its deadline passes; it never checks a work tree out and starts no process.

mod address;
mod append;
mod build;
mod cache;
mod classify;
mod credentials;
mod durable;
mod error;
mod known_hosts;
mod link;
mod local;
mod push;
mod read;
mod remote;
mod store;
mod timeout;
mod types;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::address::refused_address;
pub use self::append::{Append, AppendError, Tag};
pub use self::error::{Cause, GitError};
pub use self::known_hosts::KnownHostsError;
pub use self::read::{Blob, BlobRefusal, Limits, plain_name};
pub use self::types::{
    Author, CommitHash, CommitInfo, Credentials, DEFAULT_RECORD_BRANCH, Settings, Tips, is_branch_name,
};
pub use self::watch::{BranchWatch, watch};

use self::store::Store;

/// A repository with desired state, and the branch that holds the record.
///
/// The two may live in two repositories; then the first is only ever read.
pub struct Repository {
    settings: Settings,
    desired: Store,
    /// `None` where the record lives beside the desired state.
    record: Option<Store>,
}

impl Repository {
    /// Opens what the settings name; a remote is not contacted yet.
    pub fn open(settings: Settings) -> Result<Self, GitError> {
        settings.check()?;
        let desired = Store::open(&settings.url, &settings)?;
        let record = match &settings.record_url {
            Some(url) if *url != settings.url => Some(Store::open(url, &settings)?),
            Some(_) | None => None,
        };
        Ok(Self { settings, desired, record })
    }

    /// Opens only what holds the record, for those who need no desired state; there is nothing else to read in it.
    pub fn open_record(settings: Settings) -> Result<Self, GitError> {
        settings.check_record()?;
        let url = settings.record_url.as_deref().unwrap_or(&settings.url);
        let store = Store::open(url, &settings)?;
        Ok(Self { settings, desired: store, record: None })
    }

    /// Asks where the record's branch is now, and brings its commits here; nothing before the first entry.
    pub fn fetch_record(&mut self) -> Result<Option<CommitHash>, GitError> {
        let branch = self.settings.record_branch.as_str();
        let store = self.record.as_mut().unwrap_or(&mut self.desired);
        Ok(store.fetch(&[branch], &self.settings)?.get(branch))
    }

    /// Asks where both branches are now, and brings their commits here.
    pub fn fetch(&mut self) -> Result<Tips, GitError> {
        let desired = self.settings.branch.as_str();
        let record = self.settings.record_branch.as_str();
        if let Some(store) = &mut self.record {
            let tips = self.desired.fetch(&[desired], &self.settings)?;
            let kept = store.fetch(&[record], &self.settings)?;
            return Ok(Tips { desired: tips.must(desired)?, record: kept.get(record) });
        }
        let tips = self.desired.fetch(&[desired, record], &self.settings)?;
        Ok(Tips { desired: tips.must(desired)?, record: tips.get(record) })
    }

    /// The commit that a branch, a tag, a full or a short id stands for.
    pub fn resolve(&self, rev: &str) -> Result<CommitHash, GitError> {
        self.desired.resolve(rev).or_else(|error| match &self.record {
            Some(record) => record.resolve(rev).map_err(|_| error),
            None => Err(error),
        })
    }

    pub fn commit(&self, id: &CommitHash) -> Result<CommitInfo, GitError> {
        self.holder(id).commit(id)
    }

    /// Whether `tip` is `of`, or has it among its ancestors.
    pub fn is_descendant(&self, of: &CommitHash, tip: &CommitHash) -> Result<bool, GitError> {
        self.holder(tip).is_descendant(of, tip)
    }

    /// All files below `folders` at a commit; an empty folder name means the top.
    ///
    /// What cannot be read as text is reported per file, so that the caller can name each one. A
    /// folder that does not exist has no files.
    pub fn read(
        &self,
        commit: &CommitHash,
        folders: &[&str],
        limits: &Limits,
    ) -> Result<BTreeMap<String, Blob>, GitError> {
        self.desired.read(commit, folders, limits)
    }

    /// All files below a folder of the record, which must all be plain text.
    pub fn read_record(
        &self,
        commit: &CommitHash,
        folder: &str,
    ) -> Result<BTreeMap<String, String>, GitError> {
        self.record_store().read_record(commit, folder)
    }

    /// Appends one commit to the record's branch if its tip is still the expected one.
    ///
    /// The same change on the same tip is the same commit, so trying again is harmless: a change
    /// that is already on the branch is a success. Two writers must therefore never write the same
    /// bytes; an epoch or a holder's name in the message keeps them apart.
    pub fn append(&mut self, change: &Append) -> Result<CommitHash, AppendError> {
        let store = self.record.as_mut().unwrap_or(&mut self.desired);
        append::append(store, &self.settings, change)
    }

    /// The paths in which two commits of the record differ; no commit stands for no files.
    pub fn record_changed(
        &self,
        from: Option<CommitHash>,
        to: Option<CommitHash>,
    ) -> Result<Vec<String>, GitError> {
        let store = self.record_store();
        build::changed(&store.repo, &store.place, from, to)
    }

    /// The newest commits reachable from `tip`, newest first.
    pub fn log(&self, tip: &CommitHash, limit: usize) -> Result<Vec<CommitInfo>, GitError> {
        self.holder(tip).log(tip, limit)
    }

    /// Who writes the record.
    pub fn author(&self) -> &Author {
        &self.settings.author
    }

    /// The branch that holds the record.
    pub fn record_branch(&self) -> &str {
        &self.settings.record_branch
    }

    /// Where the desired state is, as people may see it.
    pub fn place(&self) -> &str {
        &self.desired.place
    }

    /// Where the record is, as people may see it.
    pub fn record_place(&self) -> &str {
        &self.record_store().place
    }

    /// Whether the record lives in another repository than the desired state.
    ///
    /// Tags point at commits of the desired state, so an append has none in that case.
    pub fn record_is_apart(&self) -> bool {
        self.record.is_some()
    }

    /// Wakes the caller when a local repository's branches change; `None` for remotes.
    pub fn watch(&self, wake: Box<dyn Fn() + Send>) -> Result<Option<BranchWatch>, GitError> {
        self.desired.folder().map(|folder| watch(folder, wake)).transpose()
    }

    fn record_store(&self) -> &Store {
        self.record.as_ref().unwrap_or(&self.desired)
    }

    fn holder(&self, id: &CommitHash) -> &Store {
        if self.desired.holds(id) { &self.desired } else { self.record_store() }
    }
}
