//! Appends to a repository on this machine: objects first, then the branch, each made durable.
//!
//! libgit2's own push to a path overwrites other writers, so the branch is moved directly, with
//! its old value as the condition. No hooks run and `receive.*` settings do not apply: the daemon
//! starts no programs. A repository that needs its hooks is given by http or ssh.

use std::fs;
use std::path::PathBuf;

use git2::{ErrorCode, Oid};

use super::append::{Append, AppendError, Tag};
use super::error::GitError;
use super::store::Store;
use super::types::{CommitHash, Settings, branch_ref};
use super::{build, durable};

/// In the reflog, where the repository keeps one.
const REFLOG: &str = "windlass: append to the record";

pub(super) fn append_local(
    store: &Store,
    settings: &Settings,
    change: &Append,
) -> Result<CommitHash, AppendError> {
    let branch = settings.record_branch.as_str();
    refuse_checked_out(store, branch)?;
    let built = build::commit(&store.repo, &store.place, &settings.author, change)?;
    let common = store.repo.commondir();
    let tip = store.tip(branch)?;
    let ours = CommitHash(built.id);
    let written = tip.map_or(Ok(false), |tip| store.is_descendant(&ours, &tip))?;
    if tip != change.expected && !written {
        return Err(moved(store, branch, change));
    }
    for tag in &change.tags {
        make_tag(store, settings, change, tag)?;
    }
    durable::objects(common, &built.objects)?;
    if !written {
        let expected = change.expected.map_or(Oid::ZERO_SHA1, |id| id.0);
        match move_ref(store, &branch_ref(branch), built.id, expected)? {
            RefMove::Done => {}
            RefMove::Differs => return Err(moved(store, branch, change)),
        }
    }
    durable::reference(common, &branch_ref(branch))?;
    Ok(ours)
}

enum RefMove {
    Done,
    /// The ref does not have the expected value.
    Differs,
}

/// Moves a ref from `expected` to `id`; libgit2 compares under the lock that git itself takes.
fn move_ref(store: &Store, name: &str, id: Oid, expected: Oid) -> Result<RefMove, GitError> {
    match store.repo.reference_matching(name, id, true, expected, REFLOG) {
        Ok(_) => Ok(RefMove::Done),
        Err(error) => match error.code() {
            ErrorCode::Modified | ErrorCode::NotFound => Ok(RefMove::Differs),
            ErrorCode::Locked => {
                let (place, reference) = (store.place.clone(), name.to_owned());
                Err(GitError::Busy { place, reference })
            }
            _ => match clash(store, name) {
                Some(with) => {
                    let (place, reference) = (store.place.clone(), name.to_owned());
                    Err(GitError::Clash { place, reference, with })
                }
                None => Err(store.failed(&format!("moving {name}"), error)),
            },
        },
    }
}

/// A ref whose name is a folder of `name`, or the other way round.
fn clash(store: &Store, name: &str) -> Option<String> {
    let above = name.match_indices('/').filter_map(|(end, _)| name.get(..end));
    let above = above.map(str::to_owned).find(|above| store.repo.find_reference(above).is_ok());
    above.or_else(|| {
        let mut below = store.repo.references_glob(&format!("{name}/*")).ok()?;
        below.names().find_map(|name| name.ok().map(str::to_owned))
    })
}

fn make_tag(store: &Store, settings: &Settings, change: &Append, tag: &Tag) -> Result<(), GitError> {
    let name = format!("refs/tags/{}", tag.name);
    let common = store.repo.commondir();
    let id = build::tag(&store.repo, &store.place, &settings.author, tag, change.at)?;
    durable::objects(common, &[id])?;
    if let RefMove::Differs = move_ref(store, &name, id, Oid::ZERO_SHA1)? {
        let fail = |source| store.failed(&format!("reading {name}"), source);
        let there = store.repo.find_reference(&name).and_then(|there| there.peel_to_commit());
        let there = there.map_err(fail)?.id();
        if there != tag.target.0 {
            let (name, target) = (tag.name.clone(), there.to_string());
            return Err(GitError::TagTaken { name, target });
        }
    }
    durable::reference(common, &name)
}

fn moved(store: &Store, branch: &str, change: &Append) -> AppendError {
    let found = store.tip(branch).and_then(|tip| {
        let changed = build::changed(&store.repo, &store.place, change.expected, tip)?;
        Ok(AppendError::Moved { tip, changed })
    });
    found.unwrap_or_else(AppendError::from)
}

/// Moving a branch under somebody's work tree would show all its files as changed.
fn refuse_checked_out(store: &Store, branch: &str) -> Result<(), AppendError> {
    let fail = |source| store.failed("looking for work trees", source);
    let common = store.repo.commondir();
    let mut heads = Vec::new();
    if !store.repo.is_bare() {
        heads.push(common.join("HEAD"));
    }
    for name in &store.repo.worktrees().map_err(fail)? {
        if let Ok(Some(name)) = name {
            heads.push(common.join("worktrees").join(name).join("HEAD"));
        }
    }
    let line = format!("ref: {}", branch_ref(branch));
    let shows = |head: &PathBuf| fs::read_to_string(head).is_ok_and(|text| text.trim() == line);
    match heads.iter().find(|head| shows(head)) {
        None => Ok(()),
        Some(head) => Err(AppendError::Refused {
            words: format!("the branch {branch} is checked out, as {} says", head.display()),
        }),
    }
}
