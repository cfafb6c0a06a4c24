//! The folder of bare clones: who uses which, and how a broken one is made anew.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use git2::{ConfigLevel, Repository};
use sha2::{Digest as _, Sha256};

use super::address::Remote;
use super::error::GitError;

/// Processes on one machine that follow the same repository: a daemon, and people's commands.
const SLOTS: u32 = 16;
/// Enough of the hash to keep a handful of repositories apart.
const NAME_DIGITS: usize = 16;

/// One clone that nobody else uses while this value lives.
pub(super) struct Slot {
    folder: PathBuf,
    /// Held, never read: the system gives the lock back when the process ends.
    _lock: File,
}

impl Slot {
    /// Takes the first clone of `remote` that is free.
    ///
    /// Sharing one would make it unsafe to throw a broken clone away, and that must be possible.
    pub(super) fn take(cache: &Path, remote: &Remote) -> Result<Self, GitError> {
        make_folder(cache)?;
        let digest = format!("{:x}", Sha256::digest(remote.text.as_bytes()));
        let name: String = digest.chars().take(NAME_DIGITS).collect();
        for slot in 0..SLOTS {
            let path = cache.join(format!("{name}-{slot}.lock"));
            let fail = |source| GitError::Cache { path: path.clone(), source };
            let lock = File::create(&path).map_err(fail)?;
            match lock.try_lock() {
                Ok(()) => {
                    let folder = cache.join(format!("{name}-{slot}.git"));
                    return Ok(Self { folder, _lock: lock });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
        let (place, path) = (remote.text.clone(), cache.to_owned());
        Err(GitError::CacheInUse { place, path, slots: SLOTS })
    }

    /// Opens the clone, or makes an empty one where there is none that can be opened.
    pub(super) fn open(&self) -> Result<Repository, GitError> {
        match Repository::open_bare(&self.folder) {
            Ok(repo) => Ok(repo),
            Err(_) => self.renew(),
        }
    }

    /// Replaces the clone by an empty one. A half-made one never bears the clone's name.
    pub(super) fn renew(&self) -> Result<Repository, GitError> {
        let fresh = self.folder.with_extension("new");
        let fail = |source| GitError::Cache { path: self.folder.clone(), source };
        remove(&fresh).map_err(fail)?;
        let place = self.folder.display().to_string();
        let open = |error| GitError::open(&place, error);
        Repository::init_bare(&fresh).map_err(open)?;
        remove(&self.folder).map_err(fail)?;
        fs::rename(&fresh, &self.folder).map_err(fail)?;
        Repository::open_bare(&self.folder).map_err(open)
    }
}

/// How libgit2 has to behave in our hands, whatever the machine's own settings say.
///
/// * Files and refs reach the disk before they bear their names.
/// * A redirect never leads to another host: it would carry the credentials there. On the same
///   host it is followed, as some hosts answer with the name that ends in `.git`.
const STRICT: &str = "[core]\n\tfsyncObjectFiles = true\n[http]\n\tfollowRedirects = false\n";

/// Puts [`STRICT`] on top of an open repository's settings, without writing to the repository.
pub(super) fn strict(repo: &Repository, cache: &Path) -> Result<(), GitError> {
    make_folder(cache)?;
    let path = cache.join("strict.gitconfig");
    let fail = |source| GitError::Cache { path: path.clone(), source };
    let lock = File::create(path.with_extension("lock")).map_err(fail)?;
    lock.lock().map_err(fail)?;
    if fs::read(&path).ok().as_deref() != Some(STRICT.as_bytes()) {
        // Others may be reading: the file appears whole or not at all.
        let draft = path.with_extension("new");
        fs::write(&draft, STRICT).and_then(|()| fs::rename(&draft, &path)).map_err(fail)?;
    }
    drop(lock);
    repo.config()
        .and_then(|mut config| config.add_file(&path, ConfigLevel::App, true))
        .map_err(|error| GitError::open(&repo.path().display().to_string(), error))
}

fn make_folder(path: &Path) -> Result<(), GitError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| GitError::Cache { path: path.to_owned(), source })
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
