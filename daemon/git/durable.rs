//! Makes what was written to a local repository survive a power cut.
//!
//! libgit2 is told to flush the files it writes (see `cache::strict`); what it leaves out are the
//! folders above them, and without those a new name may be gone after the cut.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use git2::Oid;

use super::error::GitError;

/// Flushes loose objects and their folders; an object without a file lies in a pack, flushed
/// when that was written.
pub(super) fn objects(common: &Path, ids: &[Oid]) -> Result<(), GitError> {
    let top = common.join("objects");
    let mut folders = BTreeSet::from([top.clone()]);
    for id in ids {
        let hex = id.to_string();
        let (folder, file) = hex.split_at(2);
        let folder = top.join(folder);
        if flush_if_there(&folder.join(file))? {
            folders.insert(folder);
        }
    }
    folders.iter().try_for_each(|folder| flush(folder))
}

/// Flushes a ref and every folder from it up to the repository itself.
pub(super) fn reference(common: &Path, name: &str) -> Result<(), GitError> {
    let file = common.join(name);
    if !flush_if_there(&file)? {
        // Somebody packed the refs since.
        flush_if_there(&common.join("packed-refs"))?;
    }
    let parents = file.ancestors().skip(1).take_while(|folder| folder.starts_with(common));
    for folder in parents {
        flush_if_there(folder)?;
    }
    Ok(())
}

fn flush_if_there(path: &Path) -> Result<bool, GitError> {
    match flush_io(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(failed(path.to_owned(), source)),
    }
}

fn flush(path: &Path) -> Result<(), GitError> {
    flush_io(path).map_err(|source| failed(path.to_owned(), source))
}

fn flush_io(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn failed(path: PathBuf, source: io::Error) -> GitError {
    GitError::Sync { path, source }
}
