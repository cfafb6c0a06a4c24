//! A folder for one demonstration, of nobody else's, that goes when the demonstration ends.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Names that are tried; a leftover of an earlier process with this one's number is rare.
const TRIES: u32 = 100;

pub(super) struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    pub(super) fn new(keep: bool) -> anyhow::Result<Self> {
        let parent = std::env::temp_dir();
        let process = std::process::id();
        for number in 0..TRIES {
            let path = parent.join(format!("windlass-demo-{process}-{number}"));
            match private().create(&path) {
                Ok(()) => return Ok(Self { path, keep }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("making the folder {}", path.display()));
                }
            }
        }
        anyhow::bail!("{} is full of windlass-demo-{process} folders; remove them", parent.display())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Others on the machine have no business in it.
fn private() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only unix has modes to set"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing depends on it any more; a leftover in the temporary folder is the system's to clear.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}
