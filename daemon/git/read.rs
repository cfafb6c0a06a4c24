//! Reads files at a commit out of the object database, with limits that hold before a byte is read.
//!
//! Nothing is checked out and no link is followed, so no path in a repository reaches outside it.

use std::collections::BTreeMap;

use git2::{ObjectType, Odb, Oid, Repository, Tree, TreeEntry};

use super::error::GitError;
use super::types::CommitHash;

const MIB: u64 = 1024 * 1024;
/// Longer paths are no use to anyone, and deep trees would make them grow without end.
const PATH_LIMIT: usize = 4096;
const MODE_SYMLINK: i32 = 0o120_000;
const MODE_SUBMODULE: i32 = 0o160_000;
const MODE_FOLDER: i32 = 0o040_000;

/// How much one commit may ask of us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one file; a larger one is refused by itself.
    pub blob: u64,
    /// Bytes of everything that is read; above it the commit is refused.
    pub total: u64,
    /// Files and folders; above it the commit is refused.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { blob: MIB, total: 64 * MIB, entries: 100_000 }
    }
}

/// The record is written by us, so these are far above what a year of runs leaves in one folder.
const RECORD_LIMITS: Limits = Limits { blob: 8 * MIB, total: 256 * MIB, entries: 1_000_000 };

/// One file, or why its content is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blob {
    Text(String),
    Refused { why: BlobRefusal },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobRefusal {
    #[error("it is a symbolic link, and links are not followed")]
    Symlink,
    #[error("it is a submodule, and submodules are not read")]
    Submodule,
    #[error("it is a file where a folder is expected")]
    NotAFolder,
    #[error("its folder calls it a file, which it is not")]
    NotAFile,
    #[error("its {size} bytes are over the limit of {limit}")]
    TooLarge { size: u64, limit: u64 },
    #[error("its name is not UTF-8 text, or not one that a file may have here")]
    Name,
    #[error("it is not UTF-8 text")]
    Encoding,
    #[error("its folder names it twice")]
    Twice,
}

/// All files below `folders` at a commit, by path.
pub(super) fn read(
    repo: &Repository,
    place: &str,
    commit: CommitHash,
    folders: &[&str],
    limits: Limits,
) -> Result<BTreeMap<String, Blob>, GitError> {
    let fail = |error| GitError::git(&format!("reading commit {commit}"), place, error);
    let odb = repo.odb().map_err(fail)?;
    let root = repo.find_commit(commit.0).map_err(fail)?.tree_id();
    let mut walk = TreeWalk { repo, odb, limits, total: 0, entries: 0, found: BTreeMap::new() };
    for folder in outermost(folders) {
        walk.folder(root, &folder).map_err(|stop| match stop {
            ReadFailure::Over(limit) => GitError::TooMuch { commit, limit },
            ReadFailure::Git(source) => fail(source),
        })?;
    }
    Ok(walk.found)
}

/// All files below a folder of the record. Here every refusal is an error.
pub(super) fn read_record(
    repo: &Repository,
    place: &str,
    commit: CommitHash,
    folder: &str,
) -> Result<BTreeMap<String, String>, GitError> {
    read(repo, place, commit, &[folder], RECORD_LIMITS)?
        .into_iter()
        .map(|(path, blob)| match blob {
            Blob::Text(text) => Ok((path, text)),
            Blob::Refused { why } => Err(GitError::Record { commit, path, why }),
        })
        .collect()
}

/// Folder names without stray slashes, leaving out those that lie inside another one.
fn outermost(folders: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = folders.iter().map(|folder| components(folder).join("/")).collect();
    names.sort();
    names.dedup();
    let inside = |name: &String, outer: &String| {
        name != outer && (outer.is_empty() || name.starts_with(&format!("{outer}/")))
    };
    names.iter().filter(|name| !names.iter().any(|outer| inside(name, outer))).cloned().collect()
}

fn components(folder: &str) -> Vec<&str> {
    folder.split('/').filter(|part| !part.is_empty() && *part != ".").collect()
}

enum ReadFailure {
    Over(String),
    Git(git2::Error),
}

impl From<git2::Error> for ReadFailure {
    fn from(source: git2::Error) -> Self {
        Self::Git(source)
    }
}

struct TreeWalk<'a> {
    repo: &'a Repository,
    odb: Odb<'a>,
    limits: Limits,
    total: u64,
    entries: usize,
    found: BTreeMap<String, Blob>,
}

impl<'a> TreeWalk<'a> {
    /// Goes down to `folder` without following anything, then reads all that is below it.
    fn folder(&mut self, root: Oid, folder: &str) -> Result<(), ReadFailure> {
        let mut tree = self.tree(root)?;
        let mut path = String::new();
        for part in components(folder) {
            path = join_path(&path, part);
            let Some(entry) = tree.get_name(part) else { return Ok(()) };
            let (id, mode) = (entry.id(), entry.filemode());
            drop(entry);
            let why = match mode {
                MODE_FOLDER => {
                    tree = self.tree(id)?;
                    continue;
                }
                MODE_SYMLINK => BlobRefusal::Symlink,
                MODE_SUBMODULE => BlobRefusal::Submodule,
                _ => BlobRefusal::NotAFolder,
            };
            self.refuse(path, why);
            return Ok(());
        }
        self.below(path, tree.id())
    }

    fn below(&mut self, path: String, top: Oid) -> Result<(), ReadFailure> {
        let mut open = vec![(path, top)];
        while let Some((path, id)) = open.pop() {
            let tree = self.tree(id)?;
            for entry in &tree {
                self.entries += 1;
                if self.entries > self.limits.entries {
                    return Err(ReadFailure::Over(format!("{} files and folders", self.limits.entries)));
                }
                if let Some(folder) = self.entry(&path, &entry)? {
                    open.push(folder);
                }
            }
        }
        Ok(())
    }

    /// Reads a file or says why not; hands a folder back to be opened.
    fn entry(&mut self, at: &str, entry: &TreeEntry<'_>) -> Result<Option<(String, Oid)>, ReadFailure> {
        let name = match plain_name(entry.name_bytes()) {
            Ok(name) => name,
            Err(shown) => {
                self.refuse(join_path(at, &shown), BlobRefusal::Name);
                return Ok(None);
            }
        };
        let path = join_path(at, name);
        if path.len() > PATH_LIMIT {
            let start = path.chars().take(64).collect();
            self.refuse(start, BlobRefusal::Name);
            return Ok(None);
        }
        match entry.filemode() {
            MODE_FOLDER => return Ok(Some((path, entry.id()))),
            MODE_SYMLINK => self.refuse(path, BlobRefusal::Symlink),
            MODE_SUBMODULE => self.refuse(path, BlobRefusal::Submodule),
            _ => self.file(path, entry.id())?,
        }
        Ok(None)
    }

    fn file(&mut self, path: String, id: Oid) -> Result<(), ReadFailure> {
        let ((size, kind), limit) = (self.header(id)?, self.limits.blob);
        if kind != ObjectType::Blob {
            self.refuse(path, BlobRefusal::NotAFile);
            return Ok(());
        }
        if size > limit {
            self.refuse(path, BlobRefusal::TooLarge { size, limit });
            return Ok(());
        }
        self.charge(size)?;
        let text = std::str::from_utf8(self.odb.read(id)?.data()).map(str::to_owned);
        match text {
            Ok(text) if !self.found.contains_key(&path) => {
                self.found.insert(path, Blob::Text(text));
            }
            Ok(_) => self.refuse(path, BlobRefusal::Twice),
            Err(_) => self.refuse(path, BlobRefusal::Encoding),
        }
        Ok(())
    }

    fn refuse(&mut self, path: String, why: BlobRefusal) {
        self.found.insert(path, Blob::Refused { why });
    }

    fn tree(&mut self, id: Oid) -> Result<Tree<'a>, ReadFailure> {
        let (size, _) = self.header(id)?;
        self.charge(size)?;
        Ok(self.repo.find_tree(id)?)
    }

    /// What an object's header states; its content is not looked at.
    fn header(&self, id: Oid) -> Result<(u64, ObjectType), ReadFailure> {
        let (size, kind) = self.odb.read_header(id)?;
        Ok((u64::try_from(size).unwrap_or(u64::MAX), kind))
    }

    fn charge(&mut self, size: u64) -> Result<(), ReadFailure> {
        self.total = self.total.saturating_add(size);
        if self.total > self.limits.total {
            return Err(ReadFailure::Over(format!("{} bytes", self.limits.total)));
        }
        Ok(())
    }
}

fn join_path(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A name that is safe to show and to use as part of a path; of another one what can be shown, with `U+FFFD` for what
/// cannot.
pub fn plain_name(name: &[u8]) -> Result<&str, String> {
    let cannot_be_shown = |c: char| c.is_control() || matches!(c, '/' | '\\');
    match std::str::from_utf8(name) {
        Ok(name) if !unusable(name) && !name.contains(cannot_be_shown) => Ok(name),
        _ => Err(String::from_utf8_lossy(name).replace(cannot_be_shown, "\u{fffd}")),
    }
}

fn unusable(name: &str) -> bool {
    matches!(name, "" | "." | "..") || name.eq_ignore_ascii_case(".git")
}
