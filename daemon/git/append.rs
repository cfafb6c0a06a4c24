//! Appending to the record's branch: what is asked for, and the ways in which it can fail.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::error::GitError;
use super::store::{Store, StoreKind};
use super::types::{CommitHash, Settings};
use super::{local, push};

/// One commit to append, and the tip it was decided on.
#[derive(Clone, Debug)]
pub struct Append {
    /// `None`: the branch does not exist yet, and the commit becomes its root.
    pub expected: Option<CommitHash>,
    /// Files to write or replace, by path; all others stay as they are.
    pub files: BTreeMap<String, Vec<u8>>,
    pub message: String,
    /// The date of the commit and of its tags.
    pub at: Timestamp,
    /// Annotated tags to make first; each may exist already if it points at the same commit.
    pub tags: Vec<Tag>,
}

#[derive(Clone, Debug)]
pub struct Tag {
    /// Without `refs/tags/`.
    pub name: String,
    pub target: CommitHash,
    pub message: String,
}

/// Why an entry is not on the branch.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else wrote first. `changed` are the paths in which `tip` differs from the
    /// expected commit; whether it also descends from it is the caller's question to ask.
    #[error("the record's branch {}; paths that differ: {}", destination(tip.as_ref()), changed.len())]
    Moved { tip: Option<CommitHash>, changed: Vec<String> },
    /// A rule of the host: a hook, a protected branch. Trying again changes nothing.
    #[error("the host refused the entry: {words}")]
    Refused { words: String },
    /// No answer. With `attempted`, the entry was sent and may still arrive, even later; the
    /// same append may be tried again, and a tip that equals `attempted` is this one's success.
    #[error("the host of the record did not answer")]
    Unreachable { attempted: Option<CommitHash>, source: GitError },
    #[error("the entry could not be written")]
    Failed { source: GitError },
}

impl From<GitError> for AppendError {
    fn from(source: GitError) -> Self {
        match source {
            GitError::Unreachable { .. } => Self::Unreachable { attempted: None, source },
            source => Self::Failed { source },
        }
    }
}

fn destination(tip: Option<&CommitHash>) -> String {
    match tip {
        Some(tip) => format!("moved to {tip}"),
        None => "is gone".to_owned(),
    }
}

pub(super) fn append(
    store: &mut Store,
    settings: &Settings,
    change: &Append,
) -> Result<CommitHash, AppendError> {
    for tag in &change.tags {
        let name = format!("refs/tags/{}", tag.name);
        if tag.name.starts_with('-') || !git2::Reference::is_valid_name(&name) {
            let name = tag.name.escape_debug().to_string();
            return Err(AppendError::Failed { source: GitError::Name { what: "tag", name } });
        }
    }
    match store.kind() {
        StoreKind::Local => local::append_local(store, settings, change),
        StoreKind::Remote { .. } => push::append_remote(store, settings, change),
    }
}
