//! The daemon's own settings: what flags and a file say together, checked once, and all mistakes at once.
//! It knows nothing of clusters or of what a repository holds.

mod environment;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde_saphyr::Spanned;

pub use environment::Environment;

use crate::git::{self, Author, Credentials, DEFAULT_RECORD_BRANCH};

const DEFAULT_POLL: SignedDuration = SignedDuration::from_secs(60);
/// Hosts count requests: more than one a second helps nobody, and less than one a day is a mistake in the unit.
const SHORTEST_POLL: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_POLL: SignedDuration = SignedDuration::from_hours(24);
/// How long a silent git host is waited for, per read or write.
pub const GIT_TIMEOUT: Duration = Duration::from_secs(30);
/// A settings file is a page; what is larger is another file.
const LARGEST_FILE: u64 = 1 << 20;

/// What flags say; each overrides the settings file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// The repository to follow: a local path, or an http, https or ssh address
    #[arg(long, value_name = "URL")]
    pub repo: Option<String>,
    /// The branch with the desired state [default: the repository's HEAD, else main]
    #[arg(long, value_name = "NAME")]
    pub branch: Option<String>,
    /// The folder of desired-state/ and policies/ in the repository [default: its root]
    #[arg(long, value_name = "DIR")]
    pub path: Option<String>,
    /// A settings file; flags override what it says
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep the record in another repository than the desired state
    #[arg(long, value_name = "URL")]
    pub record_repo: Option<String>,
    /// The branch that holds the record [default: windlass/status]
    #[arg(long, value_name = "NAME")]
    pub record_branch: Option<String>,
    /// Where clones of remote repositories are kept [default: ~/.cache/windlass]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// How often a remote repository is asked for changes [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub poll: Option<String>,
    /// A file with the token or password for http and https
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A private key for ssh, without a passphrase
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Option<PathBuf>,
    /// The only ssh host keys to accept [default: the user's and the system's]
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// A kubeconfig with a context for each cluster [default: $KUBECONFIG]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// What a settings file may say.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Raw {
    repo: Option<Spanned<String>>,
    branch: Option<Spanned<String>>,
    path: Option<Spanned<String>>,
    record_repo: Option<Spanned<String>>,
    record_branch: Option<Spanned<String>>,
    poll: Option<Spanned<String>>,
    cache: Option<Spanned<String>>,
    author: RawAuthor,
    credentials: RawCredentials,
    kubeconfig: Option<Spanned<String>>,
    contexts: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawAuthor {
    name: Option<String>,
    email: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawCredentials {
    token_file: Option<Spanned<String>>,
    username: Option<String>,
    ssh_key: Option<Spanned<String>>,
    known_hosts: Option<Spanned<String>>,
}

/// What the program may rely on.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its branch is [`Config::branch`], or `main` until somebody has looked at the repository.
    pub git: git::Settings,
    /// The branch that was asked for, where one was.
    pub branch: Option<String>,
    pub path: String,
    pub poll: SignedDuration,
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig context by cluster, where it does not bear the cluster's name.
    pub contexts: BTreeMap<String, String>,
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug)]
pub struct ConfigError(pub Vec<String>);

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "settings: {one}"),
            all => {
                write!(f, "{} problems in the settings", all.len())?;
                all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl Config {
    /// Reads the settings file, if one is named, and puts the flags on top.
    pub fn read(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let one = |problem| ConfigError(vec![problem]);
        let raw = flags.config.as_deref().map(read_file).transpose().map_err(one)?.unwrap_or_default();
        let mut settled = Settled { file: flags.config.as_deref(), problems: Vec::new() };
        let config = settled.config(flags, raw, environment);
        match config {
            Some(config) if settled.problems.is_empty() => Ok(config),
            Some(_) | None => Err(ConfigError(settled.problems)),
        }
    }

    /// The kubeconfig context of a cluster.
    pub fn context<'a>(&'a self, cluster: &'a str) -> &'a str {
        self.contexts.get(cluster).map_or(cluster, String::as_str)
    }
}

fn read_file(path: &Path) -> Result<Raw, String> {
    let shown = path.display();
    let size =
        std::fs::metadata(path).map_err(|error| format!("--config {shown} cannot be read: {error}"))?.len();
    if size > LARGEST_FILE {
        return Err(format!("--config {shown} has {size} bytes; a settings file has at most {LARGEST_FILE}"));
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("--config {shown} cannot be read: {error}"))?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Raw::default());
    }
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let place = error.location().map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
        let words = error.to_string();
        let words = words.lines().next().unwrap_or_default();
        // The place stands in front already.
        let words = words.split_once(" at line ").map_or(words, |(words, _)| words);
        format!("{shown}{place}: {words}")
    })
}

/// A value and where it comes from, for messages.
struct Given<T> {
    value: T,
    origin: String,
    from_file: bool,
}

/// Puts the two sources together and gathers what is wrong.
struct Settled<'a> {
    file: Option<&'a Path>,
    problems: Vec<String>,
}

impl Settled<'_> {
    fn config(&mut self, flags: &Flags, raw: Raw, environment: &Environment) -> Option<Config> {
        let repo = self.given(flags.repo.as_ref(), "--repo", raw.repo, "repo");
        let branch =
            self.given(flags.branch.as_ref(), "--branch", raw.branch, "branch").map(|given| given.value);
        let path = self.given(flags.path.as_ref(), "--path", raw.path, "path");
        let path = path.map(|given| self.folder(&given)).unwrap_or_default();
        let record_repo =
            self.given(flags.record_repo.as_ref(), "--record-repo", raw.record_repo, "recordRepo");
        let record_branch =
            self.given(flags.record_branch.as_ref(), "--record-branch", raw.record_branch, "recordBranch");
        let poll = self.given(flags.poll.as_ref(), "--poll", raw.poll, "poll");
        let poll = poll.map_or(DEFAULT_POLL, |given| self.poll(&given));
        let credentials = self.credentials(flags, raw.credentials);
        let cache = self.path(flags.cache.as_ref(), "--cache", raw.cache, "cache").map(|given| given.value);
        let kubeconfig = self.kubeconfig(flags, raw.kubeconfig, environment);
        let Some(cache) = cache.or_else(|| environment.cache.clone()) else {
            self.problems.push(
                "there is no folder for clones: pass --cache, or set XDG_CACHE_HOME or HOME".to_owned(),
            );
            return None;
        };
        let Some(repo) = repo else {
            self.problems
                .push("no repository is named: pass --repo, or set `repo` in the settings file".to_owned());
            return None;
        };
        let git = git::Settings {
            url: self.address(repo),
            branch: branch.clone().unwrap_or_else(|| "main".to_owned()),
            record_url: record_repo.map(|given| self.address(given)),
            record_branch: record_branch
                .map_or_else(|| DEFAULT_RECORD_BRANCH.to_owned(), |given| given.value),
            cache,
            credentials,
            author: Author {
                name: raw.author.name.unwrap_or_else(|| "Windlass".to_owned()),
                email: raw.author.email.unwrap_or_else(|| "windlass@localhost".to_owned()),
            },
            timeout: GIT_TIMEOUT,
        };
        Some(Config { git, branch, path, poll, kubeconfig, contexts: raw.contexts })
    }

    fn given<T: Clone>(
        &self,
        flag: Option<&T>,
        name: &str,
        raw: Option<Spanned<T>>,
        key: &str,
    ) -> Option<Given<T>> {
        match (flag, raw) {
            (Some(value), _) => {
                Some(Given { value: value.clone(), origin: name.to_owned(), from_file: false })
            }
            (None, Some(raw)) => {
                let file = self.file.unwrap_or(Path::new("")).display();
                let at = &raw.referenced;
                let origin = format!("{file}:{}:{}: {key}", at.line(), at.column());
                Some(Given { value: raw.value, origin, from_file: true })
            }
            (None, None) => None,
        }
    }

    /// A file that must be there; in the settings file it counts from that file's folder.
    fn path(
        &mut self,
        flag: Option<&PathBuf>,
        name: &str,
        raw: Option<Spanned<String>>,
        key: &str,
    ) -> Option<Given<PathBuf>> {
        let raw = raw.map(|raw| Spanned::new(PathBuf::from(raw.value), raw.referenced, raw.defined));
        let mut given = self.given(flag, name, raw, key)?;
        if given.from_file {
            given.value = self.beside(&given.value);
        }
        Some(given)
    }

    fn beside(&self, path: &Path) -> PathBuf {
        self.file.and_then(Path::parent).map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    fn present(&mut self, given: Option<Given<PathBuf>>) -> Option<PathBuf> {
        let given = given?;
        match std::fs::metadata(&given.value) {
            Ok(found) if found.is_dir() => {
                self.problems.push(format!(
                    "{} {} is a folder, not a file",
                    given.origin,
                    given.value.display()
                ));
            }
            Ok(_) => {}
            Err(error) => {
                self.problems.push(format!(
                    "{} {} cannot be read: {error}",
                    given.origin,
                    given.value.display()
                ));
            }
        }
        Some(given.value)
    }

    fn credentials(&mut self, flags: &Flags, raw: RawCredentials) -> Credentials {
        let mut file = |flag: Option<&PathBuf>, name, raw, key| {
            let given = self.path(flag, name, raw, key);
            self.present(given)
        };
        Credentials {
            token_file: file(
                flags.token_file.as_ref(),
                "--token-file",
                raw.token_file,
                "credentials.tokenFile",
            ),
            username: raw.username,
            ssh_key: file(flags.ssh_key.as_ref(), "--ssh-key", raw.ssh_key, "credentials.sshKey"),
            known_hosts: file(
                flags.known_hosts.as_ref(),
                "--known-hosts",
                raw.known_hosts,
                "credentials.knownHosts",
            ),
        }
    }

    fn kubeconfig(
        &mut self,
        flags: &Flags,
        raw: Option<Spanned<String>>,
        environment: &Environment,
    ) -> Option<PathBuf> {
        let given = self.path(flags.kubeconfig.as_ref(), "--kubeconfig", raw, "kubeconfig");
        let usual = environment.kubeconfig.clone();
        let usual = usual.map(|value| Given { value, origin: "KUBECONFIG".to_owned(), from_file: false });
        self.present(given.or(usual))
    }

    /// A folder inside a repository: forward slashes, and no way out of it.
    fn folder(&mut self, given: &Given<String>) -> String {
        let inside = given.value.trim_matches('/');
        let inside = if inside == "." { "" } else { inside };
        if inside.split('/').any(|part| matches!(part, ".." | ".")) || inside.contains('\\') {
            self.problems.push(format!(
                "{} `{}` is not a plain folder inside the repository",
                given.origin, given.value
            ));
        }
        inside.to_owned()
    }

    fn poll(&mut self, given: &Given<String>) -> SignedDuration {
        let read = given.value.parse::<SignedDuration>();
        match read {
            Ok(poll) if (SHORTEST_POLL..=LONGEST_POLL).contains(&poll) => poll,
            Ok(_) => {
                self.problems.push(format!("{} `{}` is not between 1s and 24h", given.origin, given.value));
                DEFAULT_POLL
            }
            Err(_) => {
                self.problems.push(format!(
                    "{} `{}` is no length of time; write `60s` or `5m`",
                    given.origin, given.value
                ));
                DEFAULT_POLL
            }
        }
    }

    /// A local path in the settings file counts from that file's folder, as every path there.
    fn address(&self, given: Given<String>) -> String {
        let local = given.value == "." || given.value.starts_with("./") || given.value.starts_with("../");
        if given.from_file && local {
            self.beside(Path::new(&given.value)).display().to_string()
        } else {
            given.value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, flags: Flags) -> (tempfile::TempDir, Result<Config, ConfigError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("windlass.yaml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("kube"), "").unwrap();
        let environment = Environment { cache: Some("/cache".into()), ..Environment::default() };
        let config = Config::read(&Flags { config: Some(path), ..flags }, &environment);
        (folder, config)
    }

    fn told(text: &str, flags: Flags) -> String {
        let (folder, config) = read(text, flags);
        config.unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn a_file_says_everything_and_flags_override() {
        let text = "repo: https://git.example.com/fleet.git\nbranch: trunk\npath: fleet/\nrecordRepo: ./record\n\
                    poll: 5m\ncache: cache\nauthor: {name: A, email: a@b}\nkubeconfig: kube\ncontexts: {demo: kind-demo}\n";
        let (folder, config) = read(text, Flags { poll: Some("2m".into()), ..Flags::default() });
        let config = config.unwrap();
        assert_eq!(config.git.url, "https://git.example.com/fleet.git");
        assert_eq!((config.branch.as_deref(), config.path.as_str()), (Some("trunk"), "fleet"));
        assert_eq!(config.poll, SignedDuration::from_mins(2));
        assert_eq!(config.git.cache, folder.path().join("cache"));
        assert_eq!(config.git.record_url, Some(folder.path().join("./record").display().to_string()));
        assert_eq!(config.kubeconfig, Some(folder.path().join("kube")));
        assert_eq!((config.context("demo"), config.context("prod")), ("kind-demo", "prod"));
        assert_eq!(config.git.author.to_string(), "A <a@b>");
    }

    #[test]
    fn an_empty_file_is_one_with_defaults() {
        let (_folder, config) =
            read("# nothing yet\n", Flags { repo: Some("fleet".into()), ..Flags::default() });
        let config = config.unwrap();
        assert_eq!(
            (config.git.branch.as_str(), config.git.record_branch.as_str()),
            ("main", "windlass/status")
        );
        assert_eq!((config.poll, config.git.cache.as_path()), (DEFAULT_POLL, Path::new("/cache")));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let told = told(
            "path: ../up\npoll: soon\nkubeconfig: gone\ncredentials:\n  tokenFile: /nowhere/token\n",
            Flags::default(),
        );
        insta::assert_snapshot!(told, @r"
        5 problems in the settings
          windlass.yaml:1:7: path `../up` is not a plain folder inside the repository
          windlass.yaml:2:7: poll `soon` is no length of time; write `60s` or `5m`
          windlass.yaml:5:14: credentials.tokenFile /nowhere/token cannot be read: No such file or directory (os error 2)
          windlass.yaml:3:13: kubeconfig gone cannot be read: No such file or directory (os error 2)
          no repository is named: pass --repo, or set `repo` in the settings file
        ");
    }

    #[test]
    fn unknown_and_double_keys_are_refused_with_their_place() {
        for (text, expected) in [
            (
                "repo: a\nbranhc: b\n",
                "windlass.yaml:2:1: unknown field `branhc`, expected one of repo, branch, path",
            ),
            ("repo: a\nrepo: b\n", "windlass.yaml:2:1: "),
            ("repo: [a]\n", "windlass.yaml:1:7: "),
            ("credentials:\n  tokenfile: a\n", "windlass.yaml:2:3: unknown field `tokenfile`"),
        ] {
            let told = told(text, Flags::default());
            assert!(told.starts_with(&format!("settings: {expected}")), "{text}: {told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }
}
