//! What callers hand in and get back: settings, commits, tips. Data, checked once.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::address;
use super::error::GitError;

/// The branch that holds the record unless the settings name another.
pub const DEFAULT_RECORD_BRANCH: &str = "windlass/status";

/// Which repositories to use, and how.
#[derive(Clone)]
pub struct Settings {
    /// A local path, or an http, https or ssh address.
    pub url: String,
    pub branch: String,
    /// Where the record is kept if not beside the desired state.
    pub record_url: Option<String>,
    pub record_branch: String,
    /// Folder of the bare clones of remotes; made if it is missing.
    pub cache: PathBuf,
    pub credentials: Credentials,
    pub author: Author,
    /// How long a silent server is waited for, per read or write on its connection.
    ///
    /// libgit2 keeps it once for the whole process: the first remote that is opened sets it.
    pub timeout: Duration,
}

impl Settings {
    /// The address without a password.
    pub fn shown_url(&self) -> String {
        super::address::shown(&self.url)
    }
}

impl fmt::Debug for Settings {
    /// Addresses may hold passwords, so they are shown as everywhere else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &address::shown(&self.url))
            .field("branch", &self.branch)
            .field("record_url", &self.record_url.as_deref().map(address::shown))
            .field("record_branch", &self.record_branch)
            .field("cache", &self.cache)
            .field("credentials", &self.credentials)
            .field("author", &self.author)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), GitError> {
        check_branch("branch", &self.branch)?;
        self.check_record()?;
        if self.record_url.is_none() && self.branch == self.record_branch {
            return Err(GitError::SameBranch { branch: self.branch.clone() });
        }
        self.author.check()
    }

    pub(super) fn check_record(&self) -> Result<(), GitError> {
        check_branch("record branch", &self.record_branch)
    }
}

/// True if git accepts this as the name of a branch.
pub fn is_branch_name(name: &str) -> bool {
    git2::Branch::name_is_valid(name).unwrap_or(false) && git2::Reference::is_valid_name(&branch_ref(name))
}

fn check_branch(what: &'static str, name: &str) -> Result<(), GitError> {
    if is_branch_name(name) {
        Ok(())
    } else {
        Err(GitError::Name { what, name: name.escape_debug().to_string() })
    }
}

pub(super) fn branch_ref(name: &str) -> String {
    format!("refs/heads/{name}")
}

/// Where the answers to a server's questions come from.
///
/// What is named here is the only thing offered. Where nothing is named: for http the file of
/// git's `store` credential helper, for ssh the agent and the default keys.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// A file with a token or password for http and https; read at every connection, so that it
    /// may rotate.
    pub token_file: Option<PathBuf>,
    /// The name that goes with it; `git` unless the address has one.
    pub username: Option<String>,
    /// A private key without a passphrase.
    pub ssh_key: Option<PathBuf>,
    /// The only host keys to accept; otherwise the user's and the system's.
    pub known_hosts: Option<PathBuf>,
}

/// A name and an address, as git writes them into a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    pub name: String,
    pub email: String,
}

impl Author {
    /// True if git accepts it as the author of a commit.
    pub fn is_valid(&self) -> bool {
        self.check().is_ok()
    }

    fn check(&self) -> Result<(), GitError> {
        match git2::Signature::new(&self.name, &self.email, &git2::Time::new(0, 0)) {
            Ok(_) => Ok(()),
            Err(error) => Err(GitError::Author { author: self.to_string(), source: error.into() }),
        }
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <{}>", self.name, self.email)
    }
}

/// The hash of a commit, checked to be one. [`CommitId`](crate::model::CommitId) is what files and people write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitHash(pub(super) git2::Oid);

impl CommitHash {
    /// The first twelve digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for CommitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CommitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitHash({})", self.0)
    }
}

impl FromStr for CommitHash {
    type Err = GitError;

    /// Reads a full id; a short one needs [`super::Repository::resolve`].
    fn from_str(text: &str) -> Result<Self, GitError> {
        let full = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        git2::Oid::from_str(text)
            .ok()
            .filter(|_| full)
            .map(Self)
            .ok_or_else(|| GitError::NoSuchCommit { rev: text.escape_debug().to_string() })
    }
}

/// Where the two branches are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tips {
    pub desired: CommitHash,
    /// `None` before the first entry.
    pub record: Option<CommitHash>,
}

/// A commit without its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    pub id: CommitHash,
    pub author: Author,
    pub committer: Author,
    /// When it was committed, by the committer's clock.
    pub time: Timestamp,
    /// The whole message; [`CommitInfo::subject`] is its first line.
    pub message: String,
    pub parents: Vec<CommitHash>,
}

impl CommitInfo {
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }

    pub(super) fn of(commit: &git2::Commit<'_>) -> Self {
        Self {
            id: CommitHash(commit.id()),
            author: person(&commit.author()),
            committer: person(&commit.committer()),
            time: instant(commit.time().seconds()),
            message: String::from_utf8_lossy(commit.message_bytes()).into_owned(),
            parents: commit.parent_ids().map(CommitHash).collect(),
        }
    }
}

fn person(signature: &git2::Signature<'_>) -> Author {
    Author {
        name: String::from_utf8_lossy(signature.name_bytes()).into_owned(),
        email: String::from_utf8_lossy(signature.email_bytes()).into_owned(),
    }
}

/// A commit may claim any second; one outside the calendar becomes the calendar's end.
fn instant(seconds: i64) -> Timestamp {
    let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(end)
}
