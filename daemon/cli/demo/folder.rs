//! A private folder for one demo, deleted when the demo ends.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// How many names are tried; a leftover of an earlier process with this process id is rare.
const TRIES: u32 = 100;

pub(super) struct TempFolder {
    path: PathBuf,
    keep: bool,
}

impl TempFolder {
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

/// Other users of the machine must not read it.
fn private() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only unix has modes to set"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing uses the folder any more. If the deletion fails, the system clears its temporary folder.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}
