//! Wakes the caller when the branches of a local repository change.
//!
//! A wake-up carries no data: the caller compares tips. Our own appends wake it too, which is
//! harmless as long as a look that finds nothing new writes nothing.

use std::path::{Component, Path};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::error::GitError;

/// Watches for as long as it lives.
pub struct BranchWatch {
    _inner: RecommendedWatcher,
}

/// Watches the branches of the repository at `path`, bare or not.
pub fn watch(path: &Path, wake: Box<dyn Fn() + Send>) -> Result<BranchWatch, GitError> {
    let repo =
        git2::Repository::open(path).map_err(|error| GitError::open(&path.display().to_string(), error))?;
    let common = repo.commondir();
    // The system reports real paths.
    let common = common.canonicalize().unwrap_or_else(|_| common.to_owned());
    let fail = |source| GitError::Watch { path: path.to_owned(), source };
    let top = common.clone();
    let mut inner = notify::recommended_watcher(move |event: Result<Event, notify::Error>| {
        // An error is mostly a full queue: something changed, only what is lost.
        if event.as_ref().map_or(true, |event| matters(&top, event)) {
            wake();
        }
    })
    .map_err(fail)?;
    inner.watch(&common, RecursiveMode::NonRecursive).map_err(fail)?;
    inner.watch(&common.join("refs").join("heads"), RecursiveMode::Recursive).map_err(fail)?;
    Ok(BranchWatch { _inner: inner })
}

/// Reading is no change: without this the caller's own look would wake it again.
fn matters(top: &Path, event: &Event) -> bool {
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => event.need_rescan() || event.paths.iter().any(|path| names_branch(top, path)),
    }
}

fn names_branch(top: &Path, path: &Path) -> bool {
    if path.extension().is_some_and(|extension| extension == "lock") {
        return false;
    }
    let Ok(inside) = path.strip_prefix(top) else { return false };
    let mut parts = inside.components().map(Component::as_os_str);
    match parts.next().and_then(|part| part.to_str()) {
        Some("HEAD" | "packed-refs") => true,
        Some("refs") => parts.next().is_some_and(|part| part == "heads"),
        Some(_) | None => false,
    }
}
