//! One opened repository, local or the clone of a remote, and everything that is only read from it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use git2::{ErrorClass, ErrorCode, Oid, Repository, Sort};

use super::address::{Address, Remote};
use super::build::no_such;
use super::cache::{self, Slot};
use super::error::GitError;
use super::read::{self, Blob, Limits};
use super::types::{CommitHash, CommitInfo, Settings, branch_ref};
use super::{remote, timeout};

pub(super) enum StoreKind {
    Local,
    Remote { remote: Remote, slot: Slot },
}

pub(super) struct Store {
    pub(super) repo: Repository,
    /// For messages.
    pub(super) place: String,
    kind: StoreKind,
    /// An object was missing that must be there; the next fetch makes the clone anew.
    damaged: Cell<bool>,
}

impl Store {
    pub(super) fn open(url: &str, settings: &Settings) -> Result<Self, GitError> {
        let address = Address::parse(url)?;
        let place = address.to_string();
        let (repo, kind) = match address {
            Address::Local(path) => {
                let fail = |error| GitError::open(&place, error);
                (Repository::open(&path).map_err(fail)?, StoreKind::Local)
            }
            Address::Remote(remote) => {
                timeout::set_once(settings.timeout);
                let slot = Slot::take(&settings.cache, &remote)?;
                (slot.open()?, StoreKind::Remote { remote, slot })
            }
        };
        cache::strict(&repo, &settings.cache)?;
        Ok(Self { repo, place, kind, damaged: Cell::new(false) })
    }

    pub(super) fn kind(&self) -> &StoreKind {
        &self.kind
    }

    /// Where a local repository lies.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self.kind {
            StoreKind::Local => Some(self.repo.path()),
            StoreKind::Remote { .. } => None,
        }
    }

    /// Finds where the branches are now; a clone gets their commits.
    pub(super) fn fetch(&mut self, branches: &[&str], settings: &Settings) -> Result<Found, GitError> {
        let StoreKind::Remote { remote, slot } = &self.kind else {
            return self.branches(branches);
        };
        if !self.damaged.get() {
            match remote::fetch(&self.repo, remote, &settings.credentials, branches) {
                Err(GitError::Git { source, .. }) if broken(&source.0) => {}
                answer => return answer,
            }
        }
        self.repo = slot.renew()?;
        cache::strict(&self.repo, &settings.cache)?;
        self.damaged.set(false);
        remote::fetch(&self.repo, remote, &settings.credentials, branches)
    }

    fn branches(&self, wanted: &[&str]) -> Result<Found, GitError> {
        let fail = |source| self.failed("reading the branches", source);
        let mut found = Found { place: self.place.clone(), ..Found::default() };
        for reference in self.repo.references_glob("refs/heads/*").map_err(fail)? {
            let reference = reference.map_err(fail)?;
            let Some(name) = reference.shorthand().ok().map(str::to_owned) else { continue };
            if wanted.contains(&name.as_str()) {
                let tip = reference.peel_to_commit().map_err(fail)?;
                found.tips.insert(name.clone(), CommitHash(tip.id()));
            }
            found.exists.push(name);
        }
        found.exists.sort();
        Ok(found)
    }

    /// The tip of a branch, as this repository or clone has it.
    pub(super) fn tip(&self, branch: &str) -> Result<Option<CommitHash>, GitError> {
        match self.repo.find_reference(&branch_ref(branch)) {
            Ok(found) => match found.peel_to_commit() {
                Ok(commit) => Ok(Some(CommitHash(commit.id()))),
                Err(source) => Err(self.failed("reading the record's branch", source)),
            },
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(source) => Err(self.failed("reading the record's branch", source)),
        }
    }

    pub(super) fn holds(&self, id: &CommitHash) -> bool {
        self.repo.find_commit(id.0).is_ok()
    }

    pub(super) fn resolve(&self, rev: &str) -> Result<CommitHash, GitError> {
        let unknown = |_| GitError::NoSuchCommit { rev: rev.escape_debug().to_string() };
        let object = self.repo.revparse_single(rev).map_err(unknown)?;
        object.peel_to_commit().map(|commit| CommitHash(commit.id())).map_err(unknown)
    }

    pub(super) fn commit(&self, id: &CommitHash) -> Result<CommitInfo, GitError> {
        let commit = self.repo.find_commit(id.0).map_err(|error| self.lost(*id, error))?;
        Ok(CommitInfo::of(&commit))
    }

    pub(super) fn is_descendant(&self, of: &CommitHash, tip: &CommitHash) -> Result<bool, GitError> {
        if of == tip {
            return Ok(self.holds(of));
        }
        if !self.holds(of) {
            return Ok(false);
        }
        self.repo.graph_descendant_of(tip.0, of.0).map_err(|error| self.lost(*tip, error))
    }

    pub(super) fn read(
        &self,
        commit: &CommitHash,
        folders: &[&str],
        limits: &Limits,
    ) -> Result<BTreeMap<String, Blob>, GitError> {
        self.noting_damage(read::read(&self.repo, &self.place, *commit, folders, *limits))
    }

    pub(super) fn read_record(
        &self,
        commit: &CommitHash,
        folder: &str,
    ) -> Result<BTreeMap<String, String>, GitError> {
        self.noting_damage(read::read_record(&self.repo, &self.place, *commit, folder))
    }

    pub(super) fn log(&self, tip: &CommitHash, limit: usize) -> Result<Vec<CommitInfo>, GitError> {
        let fail = |error| self.lost(*tip, error);
        let mut walk = self.repo.revwalk().map_err(fail)?;
        walk.set_sorting(Sort::TOPOLOGICAL).map_err(fail)?;
        walk.push(tip.0).map_err(fail)?;
        let commits = walk.take(limit).map(|id| id.and_then(|id: Oid| self.repo.find_commit(id)));
        commits.map(|commit| commit.map(|commit| CommitInfo::of(&commit)).map_err(fail)).collect()
    }

    pub(super) fn failed(&self, doing: &str, source: git2::Error) -> GitError {
        GitError::git(doing, &self.place, source)
    }

    fn lost(&self, id: CommitHash, error: git2::Error) -> GitError {
        if error.code() == ErrorCode::NotFound {
            return no_such(id);
        }
        self.damaged.set(broken(&error));
        self.failed(&format!("reading commit {id}"), error)
    }

    fn noting_damage<T>(&self, answer: Result<T, GitError>) -> Result<T, GitError> {
        if let Err(GitError::Git { source, .. }) = &answer {
            self.damaged.set(broken(&source.0));
        }
        answer
    }
}

/// Errors of the clone itself, which a new clone cures.
fn broken(error: &git2::Error) -> bool {
    let stored = matches!(
        error.class(),
        ErrorClass::Odb
            | ErrorClass::Object
            | ErrorClass::Reference
            | ErrorClass::Repository
            | ErrorClass::Config
            | ErrorClass::Zlib
            | ErrorClass::Indexer
            | ErrorClass::Tree
    );
    stored || error.code() == ErrorCode::Locked
}

/// What a look at a repository's branches found.
#[derive(Default)]
pub(super) struct Found {
    pub place: String,
    pub tips: BTreeMap<String, CommitHash>,
    pub exists: Vec<String>,
}

impl Found {
    pub(super) fn get(&self, branch: &str) -> Option<CommitHash> {
        self.tips.get(branch).copied()
    }

    pub(super) fn must(&self, branch: &str) -> Result<CommitHash, GitError> {
        self.get(branch).ok_or_else(|| GitError::NoSuchBranch {
            place: self.place.clone(),
            branch: branch.to_owned(),
            exists: self.exists.clone(),
        })
    }
}
