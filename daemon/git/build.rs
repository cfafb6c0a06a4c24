//! Writes commits and tags as objects, without moving any branch. The same input gives the same ids.

use std::collections::BTreeSet;
use std::path::Path;

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, ObjectType, Oid, Repository, Signature, Time, Tree};
use jiff::Timestamp;

use super::append::{Append, Tag};
use super::error::GitError;
use super::types::{Author, CommitHash};

/// A commit that no branch points at yet.
pub(super) struct Built {
    pub id: Oid,
    /// Every object that it brought into the repository, or found there already.
    pub objects: Vec<Oid>,
}

pub(super) fn commit(
    repo: &Repository,
    place: &str,
    author: &Author,
    change: &Append,
) -> Result<Built, GitError> {
    change.files.keys().try_for_each(|path| check_path(path))?;
    let message = message(&change.message)?;
    let fail = |error| GitError::git("writing an entry", place, error);
    let parent = match change.expected {
        Some(id) => Some(repo.find_commit(id.0).map_err(|_| no_such(id))?),
        None => None,
    };
    let base = match &parent {
        Some(parent) => parent.tree().map_err(fail)?,
        None => empty_tree(repo).map_err(fail)?,
    };
    let who = signature(author, change.at)?;
    let mut objects = BTreeSet::new();
    let tree = tree(repo, &base, change, &mut objects).map_err(fail)?;
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    let id = repo.commit(None, &who, &who, &message, &tree, &parents).map_err(fail)?;
    objects.insert(id);
    Ok(Built { id, objects: objects.into_iter().collect() })
}

/// Writes an annotated tag's object, which no tag points at yet.
pub(super) fn tag(
    repo: &Repository,
    place: &str,
    author: &Author,
    tag: &Tag,
    at: Timestamp,
) -> Result<Oid, GitError> {
    let missing = |_| GitError::TagTarget { name: tag.name.clone(), target: tag.target };
    let target = repo.find_object(tag.target.0, Some(ObjectType::Commit)).map_err(missing)?;
    let (who, message) = (signature(author, at)?, message(&tag.message)?);
    repo.tag_annotation_create(&tag.name, &target, &who, &message)
        .map_err(|error| GitError::git(&format!("writing the tag {}", tag.name), place, error))
}

pub(super) fn no_such(id: CommitHash) -> GitError {
    GitError::NoSuchCommit { rev: id.to_string() }
}

/// The paths in which two commits differ; no commit stands for no files.
pub(super) fn changed(
    repo: &Repository,
    place: &str,
    from: Option<CommitHash>,
    to: Option<CommitHash>,
) -> Result<Vec<String>, GitError> {
    let fail = |error| GitError::git("comparing two entries", place, error);
    let tree = |id: Option<CommitHash>| match id {
        Some(id) => repo.find_commit(id.0).and_then(|commit| commit.tree()).map(Some),
        None => Ok(None),
    };
    let (from, to) = (tree(from).map_err(fail)?, tree(to).map_err(fail)?);
    let diff = repo.diff_tree_to_tree(from.as_ref(), to.as_ref(), None).map_err(fail)?;
    let mut paths = BTreeSet::new();
    for delta in diff.deltas() {
        for file in [delta.old_file(), delta.new_file()] {
            paths.extend(file.path_bytes().map(|path| String::from_utf8_lossy(path).into_owned()));
        }
    }
    Ok(paths.into_iter().collect())
}

fn tree<'repo>(
    repo: &'repo Repository,
    base: &Tree<'_>,
    change: &Append,
    objects: &mut BTreeSet<Oid>,
) -> Result<Tree<'repo>, git2::Error> {
    let mut update = TreeUpdateBuilder::new();
    for (path, content) in &change.files {
        let blob = repo.blob(content)?;
        objects.insert(blob);
        update.upsert(path.as_str(), blob, FileMode::Blob);
    }
    let tree = repo.find_tree(update.create_updated(repo, base)?)?;
    objects.insert(tree.id());
    for path in change.files.keys() {
        let folders = Path::new(path).ancestors().skip(1);
        for folder in folders.filter(|folder| !folder.as_os_str().is_empty()) {
            objects.insert(tree.get_path(folder)?.id());
        }
    }
    Ok(tree)
}

fn empty_tree(repo: &Repository) -> Result<Tree<'_>, git2::Error> {
    repo.find_tree(repo.treebuilder(None)?.write()?)
}

/// Dates are in UTC, so that an entry's id does not depend on where the daemon runs.
fn signature(author: &Author, at: Timestamp) -> Result<Signature<'static>, GitError> {
    Signature::new(&author.name, &author.email, &Time::new(at.as_second(), 0))
        .map_err(|source| GitError::Author { author: author.to_string(), source: source.into() })
}

fn message(text: &str) -> Result<String, GitError> {
    let text = text.trim_end();
    if text.is_empty() || text.contains('\0') {
        return Err(GitError::Message);
    }
    Ok(format!("{text}\n"))
}

fn check_path(path: &str) -> Result<(), GitError> {
    let odd = |part: &str| matches!(part, "" | "." | "..") || part.eq_ignore_ascii_case(".git");
    if path.split('/').any(odd) || path.contains('\\') || path.chars().any(char::is_control) {
        return Err(GitError::Path { path: path.escape_debug().to_string() });
    }
    Ok(())
}
