//! What can go wrong at this edge. A message names the failure and the place, its source the cause.
//!
//! Addresses in here have lost their passwords before they arrive.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::known_hosts::KnownHostsError;
use super::read::BlobRefusal;
use super::types::CommitHash;
use crate::model::text::flat;

#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("{what} \"{name}\" is not a name that git allows")]
    Name { what: &'static str, name: String },
    #[error("the record cannot live on the branch \"{branch}\", which holds the desired state")]
    SameBranch { branch: String },
    #[error("\"{author}\" cannot be the author of a commit")]
    Author { author: String, source: Cause },
    #[error("repository address \"{address}\" is refused: {why}")]
    Address { address: String, why: &'static str },
    #[error("opening the repository at {place}")]
    Open { place: String, source: Cause },
    #[error("preparing the clone folder {}", path.display())]
    Cache { path: PathBuf, source: io::Error },
    #[error("all {slots} clones of {place} in {} are in use", path.display())]
    CacheInUse { place: String, path: PathBuf, slots: u32 },
    #[error("reading the token in {}", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("the token in {} is empty or has more than one line", path.display())]
    TokenShape { path: PathBuf },

    #[error("{place} cannot be reached, or does not answer")]
    Unreachable { place: String, source: Cause },
    #[error("{place} refused us, having been offered {tried}")]
    AuthRefused { place: String, tried: String, source: Cause },
    #[error("{place} does not exist, or may not be seen with these credentials")]
    NoRepository { place: String, source: Cause },
    #[error(
        "{place} sends us to another host, and credentials are never carried there; \
         give the address that it points at"
    )]
    Redirected { place: String, source: Cause },
    #[error("the certificate of {place} cannot be trusted")]
    Certificate { place: String, source: Cause },
    #[error("the host key of {place} cannot be trusted")]
    HostKey { place: String, source: Box<KnownHostsError> },
    #[error("{place} has no branch \"{branch}\"; {}", branches(exists))]
    NoSuchBranch { place: String, branch: String, exists: Vec<String> },

    #[error("there is no commit \"{rev}\"")]
    NoSuchCommit { rev: String },
    #[error("what commit {commit} holds is over the limit of {limit}")]
    TooMuch { commit: CommitHash, limit: String },
    #[error("\"{path}\" in the record at {commit} cannot be read: {why}")]
    Record { commit: CommitHash, path: String, why: BlobRefusal },
    #[error("\"{path}\" cannot be the path of a file in the record")]
    Path { path: String },
    #[error("the message of an entry is empty or holds a NUL")]
    Message,
    #[error("the tag \"{name}\" already points at {target}")]
    TagTaken { name: String, target: String },
    #[error(
        "the tag \"{name}\" points at {target}, which the record's repository does not hold; \
         tags need the record beside the desired state"
    )]
    TagTarget { name: String, target: CommitHash },
    #[error("another writer holds \"{reference}\" in {place}; if none runs, delete its .lock file")]
    Busy { place: String, reference: String },
    #[error("{place} has \"{with}\", and git cannot hold \"{reference}\" beside it")]
    Clash { place: String, reference: String, with: String },
    #[error("making {} durable", path.display())]
    Sync { path: PathBuf, source: io::Error },
    #[error("watching {}", path.display())]
    Watch { path: PathBuf, source: notify::Error },
    #[error("{doing} in {place}")]
    Git { doing: String, place: String, source: Cause },
}

impl GitError {
    pub(super) fn git(doing: &str, place: &str, source: git2::Error) -> Self {
        Self::Git { doing: doing.to_owned(), place: place.to_owned(), source: Cause(source) }
    }

    pub(super) fn open(place: &str, source: git2::Error) -> Self {
        Self::Open { place: place.to_owned(), source: Cause(source) }
    }
}

/// A misspelt branch is found sooner with the right one on the screen; a thousand help nobody.
const BRANCHES_SHOWN: usize = 12;

fn branches(exists: &[String]) -> String {
    if exists.is_empty() {
        return "it has no branches yet".to_owned();
    }
    let shown: Vec<&str> = exists.iter().take(BRANCHES_SHOWN).map(String::as_str).collect();
    let more = exists.len().saturating_sub(BRANCHES_SHOWN);
    match more {
        0 => format!("it has {}", shown.join(", ")),
        _ => format!("it has {} and {more} more", shown.join(", ")),
    }
}

/// What libgit2 says of its own failure: its words, without its numbers.
#[derive(Debug)]
pub struct Cause(pub(super) git2::Error);

impl From<git2::Error> for Cause {
    fn from(error: git2::Error) -> Self {
        Self(error)
    }
}

impl std::error::Error for Cause {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some of its texts are a server's, and those may hold anything.
        f.write_str(&flat(self.0.message()))?;
        remedy(self.0.message()).map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

/// What to do about a failure whose words in libgit2 do not say it.
fn remedy(words: &str) -> Option<&'static str> {
    let remedies = [
        (
            "is not owned by current user",
            "`git config --global --add safe.directory FOLDER` allows it for this user",
        ),
        ("unknown object format", "Windlass reads repositories with SHA-1 ids only"),
        (
            "object not found",
            "if this is a partial clone (`git clone --filter`), name a full clone or the address of the git host",
        ),
    ];
    remedies.iter().find(|(part, _)| words.contains(part)).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_git_users_know_has_its_remedy() {
        for (words, remedy) in [
            ("repository path '/srv/fleet' is not owned by current user", "safe.directory"),
            ("unknown object format 'sha256'", "SHA-1"),
            ("object not found - cannot read header for (fd7c187)", "partial clone"),
        ] {
            let told = Cause(git2::Error::from_str(words)).to_string();
            assert!(told.starts_with(words) && told.contains(remedy), "{told}");
        }
        assert_eq!(Cause(git2::Error::from_str("disk full")).to_string(), "disk full");
    }
}
