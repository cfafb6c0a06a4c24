//! The daemon's own settings: flags and the settings file together, checked once, with all mistakes reported at once.
//! It knows nothing of clusters or of the content of a repository.

mod checks;
mod environment;
mod file;
mod flags;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use serde_saphyr::Spanned;

pub use environment::Environment;
pub use flags::{Flags, LogFormat, RepositoryFlags};

use file::read_file;

use crate::git::{self, Credentials, DEFAULT_RECORD_BRANCH};

const DEFAULT_POLL: SignedDuration = SignedDuration::from_secs(60);
/// The shortest and the longest poll interval: git hosts limit requests, so more than one a second helps nothing;
/// less than one a day is a mistake in the unit.
const SHORTEST_POLL: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_POLL: SignedDuration = SignedDuration::from_hours(24);
/// How long a read from or a write to a silent git host may take.
pub const GIT_TIMEOUT: Duration = Duration::from_secs(30);

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
    image: Option<Spanned<String>>,
    log_format: Option<Spanned<String>>,
    kubeconfig: Option<Spanned<String>>,
    contexts: BTreeMap<String, Spanned<String>>,
    helm: RawHelm,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawHelm {
    program: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawAuthor {
    name: Option<Spanned<String>>,
    email: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawCredentials {
    token_file: Option<Spanned<String>>,
    username: Option<String>,
    ssh_key: Option<Spanned<String>>,
    known_hosts: Option<Spanned<String>>,
}

/// The checked settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub repository: RepositorySettings,
    pub poll: SignedDuration,
    pub clusters: Clusters,
}

/// A repository, and the folder in it that has the desired state.
#[derive(Clone, Debug)]
pub struct RepositorySettings {
    /// Its branch is [`RepositorySettings::branch`], or `main` until the repository has been read.
    pub git: git::Settings,
    /// The branch that was named; `None` if none was.
    pub branch: Option<String>,
    /// The folder that was named; empty if none was.
    pub path: String,
    /// The image of the upgrade Jobs for cluster files that name none.
    pub image: Option<String>,
}

/// How clusters are reached.
#[derive(Clone, Debug)]
pub struct Clusters {
    pub kubeconfigs: Vec<PathBuf>,
    /// The kubeconfig context by cluster, for contexts that do not have the cluster's name.
    pub contexts: BTreeMap<String, String>,
    /// The program that moves releases of Helm: a path, or a name on the `PATH`.
    pub helm: PathBuf,
}

/// Everything that is wrong with the settings, one line each: first what has a place in the settings file, in the order
/// of the file.
#[derive(Debug)]
pub struct ConfigError {
    problems: Vec<String>,
    /// True if there is a settings file.
    has_file: bool,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] if self.has_file => write!(f, "settings: {one}"),
            [one] => write!(f, "{one}"),
            all => {
                let place = if self.has_file { "settings" } else { "flags and the environment" };
                write!(f, "{} problems in the {place}", all.len())?;
                all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl Config {
    /// Reads the settings file, if one is named, and applies the flags over it.
    pub fn read(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let (mut settled, raw) = Settled::open(flags.repository.config.as_deref())?;
        let repository = settled.repository(&flags.repository, &raw, None, environment);
        let poll = settled.given(flags.poll.as_ref(), "--poll", raw.poll.as_ref(), "poll");
        let poll = poll.map_or(DEFAULT_POLL, |given| settled.poll(&given));
        if let Some(given) = settled.given(None, "", raw.log_format.as_ref(), "logFormat")
            && LogFormat::named(&given.value).is_none()
        {
            settled.wrong(&given, format!("`{}` is neither `text` nor `json`", given.value));
        }
        let clusters = settled.clusters(flags.kubeconfig.as_ref(), &raw, environment);
        let config = repository.map(|repository| Self { repository, poll, clusters });
        settled.done(config)
    }
}

impl RepositorySettings {
    /// For commands that only read: the repository that the flags or the settings file name, or the one around the
    /// current folder.
    pub fn read(flags: &RepositoryFlags, environment: &Environment) -> Result<Self, ConfigError> {
        let (mut settled, raw) = Settled::open(flags.config.as_deref())?;
        let repository = settled.repository(flags, &raw, Some("."), environment);
        settled.done(repository)
    }
}

impl Clusters {
    /// For commands that read one cluster.
    pub fn read(
        config: Option<&Path>,
        kubeconfig: Option<&PathBuf>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let (mut settled, raw) = Settled::open(config)?;
        let clusters = settled.clusters(kubeconfig, &raw, environment);
        settled.done(Some(clusters))
    }

    /// The kubeconfig context of a cluster.
    pub fn context<'a>(&'a self, cluster: &'a str) -> &'a str {
        self.contexts.get(cluster).map_or(cluster, String::as_str)
    }
}

/// A value and its source, for messages.
struct Given<T> {
    value: T,
    origin: String,
    /// Its line and column in the settings file; `None` if it comes from elsewhere.
    place: Option<(u64, u64)>,
}

struct Mistake {
    place: Option<(u64, u64)>,
    text: String,
}

/// Combines the two sources and collects what is wrong.
struct Settled<'a> {
    file: Option<&'a Path>,
    problems: Vec<Mistake>,
}

impl<'a> Settled<'a> {
    fn open(file: Option<&'a Path>) -> Result<(Self, Raw), ConfigError> {
        let raw = file
            .map(read_file)
            .transpose()
            .map_err(|problem| ConfigError { problems: vec![problem], has_file: true })?;
        Ok((Self { file, problems: Vec::new() }, raw.unwrap_or_default()))
    }

    fn done<T>(self, settled: Option<T>) -> Result<T, ConfigError> {
        match settled {
            Some(settled) if self.problems.is_empty() => Ok(settled),
            Some(_) | None => Err(self.error()),
        }
    }

    fn error(mut self) -> ConfigError {
        self.problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        let problems = self.problems.into_iter().map(|problem| problem.text).collect();
        ConfigError { problems, has_file: self.file.is_some() }
    }

    /// Notes what is wrong with a value, in words behind its name.
    fn wrong<T>(&mut self, given: &Given<T>, what: impl fmt::Display) {
        self.problems.push(Mistake { place: given.place, text: format!("{} {what}", given.origin) });
    }

    /// Notes that something is missing.
    fn missing(&mut self, what: &str) {
        self.problems.push(Mistake { place: None, text: what.to_owned() });
    }

    /// `here` is the repository to use if none is named.
    fn repository(
        &mut self,
        flags: &RepositoryFlags,
        raw: &Raw,
        here: Option<&str>,
        environment: &Environment,
    ) -> Option<RepositorySettings> {
        let repo = self.given(flags.repo.as_ref(), "--repo", raw.repo.as_ref(), "repo");
        let branch = self.given(flags.branch.as_ref(), "--branch", raw.branch.as_ref(), "branch");
        let branch = branch.map(|given| self.branch(given));
        let path = self.given(flags.path.as_ref(), "--path", raw.path.as_ref(), "path");
        let path = path.map(|given| self.folder(&given)).unwrap_or_default();
        let record_repo =
            self.given(flags.record_repo.as_ref(), "--record-repo", raw.record_repo.as_ref(), "recordRepo");
        let record_branch = self.given(
            flags.record_branch.as_ref(),
            "--record-branch",
            raw.record_branch.as_ref(),
            "recordBranch",
        );
        let record_branch = record_branch.map(|given| self.branch(given));
        let record_url = record_repo.map(|given| self.address(given));
        let url = repo.map(|given| self.address(given)).or(here.map(str::to_owned));
        let author = self.author(&raw.author);
        let image = self.given(None, "", raw.image.as_ref(), "image").map(|given| self.image(given));
        let credentials = self.credentials(flags, &raw.credentials);
        let cache = self.path(flags.cache.as_ref(), "--cache", raw.cache.as_ref(), "cache");
        let Some(cache) = cache.map(|given| given.value).or_else(|| environment.cache.clone()) else {
            self.missing("there is no folder for clones: pass --cache, or set XDG_CACHE_HOME or HOME");
            return None;
        };
        let Some(url) = url else {
            self.missing("no repository is named: pass --repo, or set `repo` in the settings file");
            return None;
        };
        let git = git::Settings {
            url,
            branch: branch.clone().unwrap_or_else(|| "main".to_owned()),
            record_url,
            record_branch: record_branch.unwrap_or_else(|| DEFAULT_RECORD_BRANCH.to_owned()),
            cache,
            credentials,
            author,
            timeout: GIT_TIMEOUT,
        };
        Some(RepositorySettings { git, branch, path, image })
    }

    fn given<T: Clone>(
        &self,
        flag: Option<&T>,
        name: &str,
        raw: Option<&Spanned<T>>,
        key: &str,
    ) -> Option<Given<T>> {
        match (flag, raw) {
            (Some(value), _) => Some(Given { value: value.clone(), origin: name.to_owned(), place: None }),
            (None, Some(raw)) => {
                let file = self.file.unwrap_or(Path::new("")).display();
                let at = &raw.referenced;
                let origin = format!("{file}:{}:{}: {key}", at.line(), at.column());
                Some(Given { value: raw.value.clone(), origin, place: Some((at.line(), at.column())) })
            }
            (None, None) => None,
        }
    }

    /// A file that must exist. In the settings file its path is relative to that file's folder.
    fn path(
        &mut self,
        flag: Option<&PathBuf>,
        name: &str,
        raw: Option<&Spanned<String>>,
        key: &str,
    ) -> Option<Given<PathBuf>> {
        let raw = raw.map(|raw| Spanned::new(PathBuf::from(&raw.value), raw.referenced, raw.defined));
        let mut given = self.given(flag, name, raw.as_ref(), key)?;
        if given.place.is_some() {
            given.value = self.beside(&given.value);
        }
        Some(given)
    }

    fn beside(&self, path: &Path) -> PathBuf {
        self.file.and_then(Path::parent).map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    fn present(&mut self, given: Option<Given<PathBuf>>) -> Option<PathBuf> {
        let given = given?;
        let shown = given.value.display();
        match std::fs::metadata(&given.value) {
            Ok(found) if found.is_dir() => {
                self.wrong(&given, format_args!("{shown} is a folder, not a file"));
            }
            Ok(_) => {}
            Err(error) => self.wrong(&given, format_args!("{shown} cannot be read: {error}")),
        }
        Some(given.value)
    }

    fn credentials(&mut self, flags: &RepositoryFlags, raw: &RawCredentials) -> Credentials {
        let mut file = |flag: Option<&PathBuf>, name, raw, key| {
            let given = self.path(flag, name, raw, key);
            self.present(given)
        };
        Credentials {
            token_file: file(
                flags.token_file.as_ref(),
                "--token-file",
                raw.token_file.as_ref(),
                "credentials.tokenFile",
            ),
            username: raw.username.clone(),
            ssh_key: file(flags.ssh_key.as_ref(), "--ssh-key", raw.ssh_key.as_ref(), "credentials.sshKey"),
            known_hosts: file(
                flags.known_hosts.as_ref(),
                "--known-hosts",
                raw.known_hosts.as_ref(),
                "credentials.knownHosts",
            ),
        }
    }

    fn clusters(&mut self, flag: Option<&PathBuf>, raw: &Raw, environment: &Environment) -> Clusters {
        let given = self.path(flag, "--kubeconfig", raw.kubeconfig.as_ref(), "kubeconfig");
        let contexts = self.contexts(&raw.contexts);
        let helm = self.program(&raw.helm);
        // Of a list, files may be missing, as for kubectl; not all of them.
        if given.is_none() && environment.kubeconfigs.iter().any(|path| path.is_file()) {
            return Clusters { kubeconfigs: environment.kubeconfigs.clone(), contexts, helm };
        }
        let usual = environment.kubeconfigs.first().cloned();
        let usual = usual.map(|value| Given { value, origin: "KUBECONFIG".to_owned(), place: None });
        let kubeconfigs = self.present(given.or(usual)).into_iter().collect();
        Clusters { kubeconfigs, contexts, helm }
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
        let repository = RepositoryFlags { config: Some(path), ..flags.repository };
        let config = Config::read(&Flags { repository, ..flags }, &environment);
        (folder, config)
    }

    fn named(repo: &str) -> RepositoryFlags {
        RepositoryFlags { repo: Some(repo.to_owned()), ..RepositoryFlags::default() }
    }

    fn told(text: &str, flags: Flags) -> String {
        let (folder, config) = read(text, flags);
        config.unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn a_file_says_everything_and_flags_override() {
        let text = "repo: https://git.example.com/fleet.git\nbranch: trunk\npath: fleet/\nrecordRepo: ./record\n\
                    poll: 5m\nlogFormat: json\nimage: registry.example.com/windlass:1\ncache: cache\nauthor: {name: A, email: a@b}\nkubeconfig: kube\ncontexts: {demo: kind-demo}\n";
        let (folder, config) = read(text, Flags { poll: Some("2m".into()), ..Flags::default() });
        let config = config.unwrap();
        let repository = config.repository;
        assert_eq!(repository.git.url, "https://git.example.com/fleet.git");
        assert_eq!((repository.branch.as_deref(), repository.path.as_str()), (Some("trunk"), "fleet"));
        assert_eq!(config.poll, SignedDuration::from_mins(2));
        assert_eq!(repository.image.as_deref(), Some("registry.example.com/windlass:1"));
        let file =
            RepositoryFlags { config: Some(folder.path().join("windlass.yaml")), ..Default::default() };
        let flags = Flags { repository: file, ..Flags::default() };
        assert_eq!(LogFormat::of(&flags), LogFormat::Json);
        assert_eq!(LogFormat::of(&Flags { log_format: Some(LogFormat::Text), ..flags }), LogFormat::Text);
        assert_eq!(repository.git.cache, folder.path().join("cache"));
        assert_eq!(repository.git.record_url, Some(folder.path().join("./record").display().to_string()));
        assert_eq!(config.clusters.kubeconfigs, [folder.path().join("kube")]);
        assert_eq!((config.clusters.context("demo"), config.clusters.context("prod")), ("kind-demo", "prod"));
        assert_eq!(repository.git.author.to_string(), "A <a@b>");
    }

    #[test]
    fn an_empty_file_is_one_with_defaults() {
        let (_folder, config) =
            read("# nothing yet\n", Flags { repository: named("fleet"), ..Flags::default() });
        let config = config.unwrap();
        let git = config.repository.git;
        assert_eq!((git.branch.as_str(), git.record_branch.as_str()), ("main", "windlass/status"));
        assert_eq!((config.poll, git.cache.as_path()), (DEFAULT_POLL, Path::new("/cache")));
    }

    #[test]
    fn those_who_look_take_the_repository_around_them_and_no_kubeconfig() {
        let environment = Environment {
            cache: Some("/cache".into()),
            kubeconfigs: vec!["/nowhere/config".into()],
            ..Environment::default()
        };
        let repository = |flags| RepositorySettings::read(&flags, &environment).unwrap().git.url;
        assert_eq!(repository(RepositoryFlags::default()), ".");
        assert_eq!(repository(named("../fleet")), "../fleet");
        let refused = Clusters::read(None, None, &environment).unwrap_err().to_string();
        assert!(refused.starts_with("KUBECONFIG /nowhere/config cannot be read"), "{refused}");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let told = told(
            "path: ../up\npoll: soon\nimage: windlass\nlogFormat: xml\nkubeconfig: gone\ncredentials:\n  tokenFile: /nowhere/token\n",
            Flags::default(),
        );
        insta::assert_snapshot!(told, @r"
        7 problems in the settings
          windlass.yaml:1:7: path `../up` is not a plain folder inside the repository
          windlass.yaml:2:7: poll `soon` is no length of time; write `60s` or `5m`
          windlass.yaml:3:8: image `windlass` has neither a tag nor a digest, so it would change under you
          windlass.yaml:4:12: logFormat `xml` is neither `text` nor `json`
          windlass.yaml:5:13: kubeconfig gone cannot be read: No such file or directory (os error 2)
          windlass.yaml:7:14: credentials.tokenFile /nowhere/token cannot be read: No such file or directory (os error 2)
          no repository is named: pass --repo, or set `repo` in the settings file
        ");
    }

    #[test]
    fn what_git_and_the_kubeconfig_would_refuse_later_is_told_too() {
        let told = told(
            "contexts: {demo: \"\"}\nauthor: {name: \"\", email: \"a>b\"}\nrecordBranch: \"a..b\"\nrepo: git://x/y\npoll: 3d\nbranch: \"\"\n",
            Flags { kubeconfig: Some("/nowhere/config".into()), ..Flags::default() },
        );
        insta::assert_snapshot!(told, @r#"
        8 problems in the settings
          windlass.yaml:1:18: contexts.demo is empty; name a context of the kubeconfig
          windlass.yaml:2:16: author.name is empty
          windlass.yaml:2:27: author.email `a>b` cannot be in the author of a commit
          windlass.yaml:3:15: recordBranch `a..b` is not a name that git allows for a branch
          windlass.yaml:4:7: repo cannot be used: repository address "git://x/y" is refused: git:// neither encrypts nor knows who is asking; use https or ssh
          windlass.yaml:5:7: poll `3d` is no length of time; write `60s` or `5m`
          windlass.yaml:6:9: branch `` is not a name that git allows for a branch
          --kubeconfig /nowhere/config cannot be read: No such file or directory (os error 2)
        "#);
    }

    #[test]
    fn unknown_and_double_keys_are_refused_with_their_place() {
        for (text, expected) in [
            (
                "repo: a\nbranhc: b\n",
                "windlass.yaml:2:1: unknown field `branhc`, expected one of repo, branch, path",
            ),
            ("repo: a\nrepo: b\n", "windlass.yaml:2:1: `repo` is given twice"),
            ("contexts: {a: b, a: c}\n", "windlass.yaml:1:18: `a` is given twice"),
            ("repo: [a]\n", "windlass.yaml:1:7: expected text"),
            ("author: me\n", "windlass.yaml:1:9: expected keys with values"),
            ("contexts: {a: b\n", "windlass.yaml:"),
            ("credentials:\n  tokenfile: a\n", "windlass.yaml:2:3: unknown field `tokenfile`"),
        ] {
            let told = told(text, Flags::default());
            assert!(told.starts_with(&format!("settings: {expected}")), "{text}: {told}");
            assert_eq!(told.lines().count(), 1, "{told}");
        }
    }
}
