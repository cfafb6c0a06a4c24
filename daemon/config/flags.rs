//! The command line flags; each overrides the settings file.

use std::path::PathBuf;

use super::file::read_file;

/// What the daemon is told.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    #[command(flatten)]
    pub repository: RepositoryFlags,
    /// How often a remote repository is asked for changes [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub poll: Option<String>,
    /// How log lines are written [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// A kubeconfig with a context for each cluster [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON object a line
    Json,
}

impl LogFormat {
    /// The format for the daemon's log. It is needed before anything else is read, so a file that cannot be read is
    /// no error here; reading all settings reports it.
    pub fn of(flags: &Flags) -> Self {
        let named = || {
            let raw = read_file(flags.repository.config.as_deref()?).ok()?;
            LogFormat::named(&raw.log_format?.value)
        };
        flags.log_format.or_else(named).unwrap_or_default()
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Which repository is meant and how it is reached, for the daemon and for those who look.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RepositoryFlags {
    /// The repository: a local path, or an http, https or ssh address [default: the current folder, but not for
    /// `windlass daemon`]
    #[arg(long, value_name = "URL", help_heading = "Repository")]
    pub repo: Option<String>,
    /// The branch with the desired state [default: the repository's HEAD, else main]
    #[arg(long, value_name = "NAME", help_heading = "Repository")]
    pub branch: Option<String>,
    /// The folder of desired-state/ and policies/ in the repository [default: its root]
    #[arg(long, value_name = "DIR", help_heading = "Repository")]
    pub path: Option<String>,
    /// The daemon's settings file; flags override it
    #[arg(long, value_name = "FILE", help_heading = "Repository")]
    pub config: Option<PathBuf>,
    /// The repository that holds the record [default: the same]
    #[arg(long, value_name = "URL", help_heading = "Repository")]
    pub record_repo: Option<String>,
    /// The branch that holds the record [default: windlass/status]
    #[arg(long, value_name = "NAME", help_heading = "Repository")]
    pub record_branch: Option<String>,
    /// Where clones of remote repositories are kept [default: ~/.cache/windlass]
    #[arg(long, value_name = "DIR", help_heading = "Repository")]
    pub cache: Option<PathBuf>,
    /// A file with the token or password for http and https
    #[arg(long, value_name = "FILE", help_heading = "Repository")]
    pub token_file: Option<PathBuf>,
    /// A private key for ssh, without a passphrase
    #[arg(long, value_name = "FILE", help_heading = "Repository")]
    pub ssh_key: Option<PathBuf>,
    /// The only ssh host keys to accept [default: the user's and the system's]
    #[arg(long, value_name = "FILE", help_heading = "Repository")]
    pub known_hosts: Option<PathBuf>,
}
