//! Runs the program `helm`. What a run needs lies in a folder of its own, which goes away with it.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::process::Command;

/// How long a look may take that changes nothing: a chart repository may be slow.
pub(super) const LOOK: Duration = Duration::from_secs(25);

/// One run of helm.
#[derive(Debug)]
pub struct HelmRun<'a> {
    pub arguments: Vec<String>,
    /// Holds what the arguments name, and nothing of anybody else's.
    pub folder: &'a Path,
    /// After this it is killed.
    pub limit: Duration,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelmOutput {
    pub succeeded: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Why there was no run, or no end of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelmError {
    #[error(
        "there is no program `{0}` where Windlass runs: install Helm 3.13 or later, or name it in the settings file \
         (`helm: {{program: /usr/local/bin/helm}}`)"
    )]
    Missing(String),
    #[error("helm cannot be run: {0}")]
    Unable(String),
    #[error("helm did not end within {0} s and was killed")]
    Silent(u64),
}

/// Runs helm for one cluster.
pub trait HelmProgram: Send + Sync {
    fn run<'a>(&'a self, run: HelmRun<'a>) -> BoxFuture<'a, Result<HelmOutput, HelmError>>;
}

/// The program `helm` of this machine, for one cluster.
#[derive(Clone, Debug)]
pub struct InstalledHelm {
    pub program: PathBuf,
    pub kubeconfigs: Vec<PathBuf>,
    pub context: String,
}

/// Variables with which helm would look elsewhere, or act as another person.
const CLEARED: [&str; 16] = [
    "HELM_DRIVER",
    "HELM_DRIVER_SQL_CONNECTION_STRING",
    "HELM_NAMESPACE",
    "HELM_KUBECONTEXT",
    "HELM_KUBEAPISERVER",
    "HELM_KUBEASGROUPS",
    "HELM_KUBEASUSER",
    "HELM_KUBECAFILE",
    "HELM_KUBEINSECURE_SKIP_TLS_VERIFY",
    "HELM_KUBETLS_SERVER_NAME",
    "HELM_KUBETOKEN",
    "HELM_MAX_HISTORY",
    "HELM_DEBUG",
    "HELM_PLUGINS",
    "HELM_MEMORY_DRIVER_DATA",
    "HELM_REPOSITORY_CACHE",
];

impl HelmProgram for InstalledHelm {
    fn run<'a>(&'a self, run: HelmRun<'a>) -> BoxFuture<'a, Result<HelmOutput, HelmError>> {
        Box::pin(async move {
            // It runs in a folder of its own.
            let is_path = self.program.components().count() > 1;
            let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let program = if is_path { absolute(&self.program) } else { self.program.clone() };
            let mut command = Command::new(&program);
            command.args(&run.arguments).current_dir(run.folder);
            for name in CLEARED {
                command.env_remove(name);
            }
            let files = std::env::join_paths(self.kubeconfigs.iter().map(absolute))
                .unwrap_or_else(|_| OsString::new());
            command.env("KUBECONFIG", files).env("HELM_KUBECONTEXT", &self.context);
            // Nothing of an earlier run, and no program but helm.
            command
                .env("HELM_CACHE_HOME", run.folder.join("cache"))
                .env("KUBECACHEDIR", run.folder.join("cache"));
            command.env("HELM_NO_PLUGINS", "1");
            // What a terminal sends to Windlass is not for helm.
            command.process_group(0);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
            match tokio::time::timeout(run.limit, command.output()).await {
                Ok(Ok(output)) => Ok(HelmOutput {
                    succeeded: output.status.success(),
                    stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                    stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
                }),
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                    Err(HelmError::Missing(self.program.display().to_string()))
                }
                Ok(Err(error)) => Err(HelmError::Unable(error.to_string())),
                Err(_) => Err(HelmError::Silent(run.limit.as_secs())),
            }
        })
    }
}

/// A folder with these files.
pub(super) fn folder_of<'f>(files: impl Iterator<Item = (String, &'f str)>) -> Result<TempDir, HelmError> {
    let unable = |error: std::io::Error| HelmError::Unable(format!("its files cannot be written: {error}"));
    // Values may hold secrets.
    let own = std::fs::Permissions::from_mode(0o700);
    remove_left_folders();
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).permissions(own).tempdir().map_err(unable)?;
    for (path, text) in files {
        let path = folder.path().join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(unable)?;
        }
        std::fs::write(&path, text).map_err(unable)?;
    }
    Ok(folder)
}

/// How folders of runs are called; the number of the process follows.
const PREFIX: &str = "windlass-helm-";

/// Removes what processes left that were killed. Helm reads its files when it starts, so one that is still at work needs none.
fn remove_left_folders() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        let Some(process) = process.filter(|process| process.parse::<u32>().is_ok()) else { continue };
        if !Path::new("/proc").join(process).exists() {
            // Of another user, or gone meanwhile.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
