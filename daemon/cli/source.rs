//! Where commands that only read get their files from: a folder, a repository at a revision, or the record's branch.
//! Nothing here writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::config::{Environment, RepositoryFlags, RepositorySettings};
use crate::desired::{File, Loaded};
use crate::git::{self, GitError, Repository};
use crate::model::CommitId;
use crate::model::desired::Desired;
use crate::model::state::DesiredState;
use crate::record::{self, Record};
use crate::serve::wanted::{self, Known};
use crate::serve::{accepted, by_cluster};

/// A repository that was opened and read.
pub struct Source {
    repository: Repository,
    desired: git::CommitHash,
    record: Option<git::CommitHash>,
    /// Folder of `desired-state/` and `policies/` in it.
    path: String,
    record_branch: String,
    local: bool,
    /// The image of the upgrade Jobs for cluster files that name none.
    image: Option<String>,
}

impl Source {
    /// Opens a repository and reads where its branches are. A local one may be named by any folder in it.
    pub fn open(given: RepositorySettings) -> anyhow::Result<Self> {
        let (named, image) = (given.branch.is_some(), given.image.clone());
        let (settings, path) = located(given);
        let local = Path::new(&settings.url).is_dir();
        let record_branch = settings.record_branch.clone();
        let mut repository = Repository::open(settings.clone())?;
        let (desired, record) = match repository.fetch() {
            Ok(tips) => (tips.desired, tips.record),
            Err(GitError::NoSuchBranch { exists, .. }) if !named && !local && sole(&exists).is_some() => {
                drop(repository);
                let branch = sole(&exists).unwrap_or_default();
                repository = Repository::open(git::Settings { branch, ..settings })?;
                let tips = repository.fetch()?;
                (tips.desired, tips.record)
            }
            // A checkout of a pull request has a commit, and often no branch.
            Err(error @ GitError::NoSuchBranch { .. }) if !named && local => {
                let head = repository.resolve("HEAD").map_err(|_| error)?;
                (head, repository.resolve(&format!("refs/heads/{record_branch}")).ok())
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { repository, desired, record, path, record_branch, local, image })
    }

    /// The files of a revision; of the desired branch if none is named.
    pub fn files(&self, rev: Option<&str>) -> anyhow::Result<(CommitId, BTreeMap<String, File>)> {
        let commit = match rev {
            Some(rev) => {
                self.repository.resolve(rev).with_context(|| format!("looking for the revision {rev}"))?
            }
            None => self.desired,
        };
        let files = wanted::read(&self.repository, &commit, &self.path)?;
        Ok((CommitId(commit.to_string()), files))
    }

    pub fn load(&self, rev: Option<&str>) -> anyhow::Result<Loaded> {
        let (commit, files) = self.files(rev)?;
        Ok(wanted::load(&commit, &files, self.image.as_deref()))
    }

    /// The record of every cluster, or why it cannot be used.
    pub fn all_records(&self) -> anyhow::Result<BTreeMap<String, Result<Record, record::ReadError>>> {
        let files = record_files(&self.repository, self.record, &self.record_branch, self.local)?;
        Ok(by_cluster(files))
    }

    /// The desired state of every cluster, as the daemon would see it.
    pub fn wanted(
        &mut self,
        records: &BTreeMap<String, Result<Record, record::ReadError>>,
    ) -> anyhow::Result<BTreeMap<String, DesiredState>> {
        let mut known = Known::new(accepted(records)).with_image(self.image.clone());
        let wanted = wanted::look(&mut self.repository, &self.path, &mut known)?;
        Ok(wanted.unwrap_or_default())
    }
}

/// What `validate` and `windows` read: the files on disk, or a commit of a repository.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Revision {
    /// Read a commit, a branch or a tag of the repository instead of the files on disk
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    #[command(flatten)]
    pub repository: RepositoryFlags,
}

impl Revision {
    /// The repository to read from; `None` if the files on disk are meant. Without `--repo` it is the repository
    /// around a folder.
    pub fn source(&self, folder: &Path, environment: &Environment) -> anyhow::Result<Option<Source>> {
        let flags = &self.repository;
        let named = flags.repo.is_some() || flags.branch.is_some() || flags.config.is_some();
        if self.rev.is_none() && !named {
            return Ok(None);
        }
        let around = || flags.config.is_none().then(|| folder.display().to_string());
        let flags = RepositoryFlags { repo: flags.repo.clone().or_else(around), ..flags.clone() };
        Source::open(RepositorySettings::read(&flags, environment)?).map(Some)
    }

    /// The folder on disk that has `desired-state/` and `policies/`.
    pub fn folder(&self, folder: &Path) -> PathBuf {
        self.repository.path.as_ref().map_or_else(|| folder.to_owned(), |path| folder.join(path))
    }
}

/// The files of the record; empty if its branch does not exist yet.
pub(super) fn record_files(
    repository: &Repository,
    tip: Option<git::CommitHash>,
    branch: &str,
    local: bool,
) -> anyhow::Result<BTreeMap<String, String>> {
    let tip = tip.or_else(|| {
        // A developer's clone has the branch only as it was last fetched.
        let fetched = format!("refs/remotes/origin/{branch}");
        local.then(|| repository.resolve(&fetched).ok()).flatten()
    });
    let Some(tip) = tip else { return Ok(BTreeMap::new()) };
    repository
        .read_record(&tip, "")
        .with_context(|| format!("reading the record on branch {branch} of {}", repository.record_place()))
}

/// The only branch that people write to; of several, `master`.
pub(super) fn sole(exists: &[String]) -> Option<String> {
    let mut people = exists.iter().filter(|branch| !branch.starts_with("windlass/"));
    match (people.next(), people.next()) {
        (Some(only), None) => Some(only.clone()),
        (Some(_), Some(_)) => exists.iter().find(|branch| *branch == "master").cloned(),
        (None, _) => None,
    }
}

/// The named repository, with the branch to try first, and the folder in it. A local repository may be named by any
/// folder in it; that folder is then the one with the desired state.
pub fn located(repository: RepositorySettings) -> (git::Settings, String) {
    let (url, inside) = locate(&repository.git.url);
    let path = if repository.path.is_empty() { inside } else { repository.path };
    let settings = git::Settings {
        branch: repository.branch.unwrap_or_else(|| default_branch(&url)),
        url,
        record_url: repository.git.record_url.as_deref().map(|repo| locate(repo).0),
        ..repository.git
    };
    (settings, path)
}

/// The repository around a local folder, and the folder's path in it; an address stays as it is.
pub fn locate(repo: &str) -> (String, String) {
    let Ok(folder) = Path::new(repo).canonicalize() else { return (repo.to_owned(), String::new()) };
    let around = folder.ancestors().find(|at| at.join(".git").exists() || bare(at));
    let Some(around) = around else { return (repo.to_owned(), String::new()) };
    let inside = folder.strip_prefix(around).unwrap_or(Path::new("")).display().to_string();
    (around.display().to_string(), inside)
}

fn bare(at: &Path) -> bool {
    at.join("HEAD").is_file() && at.join("objects").is_dir() && at.join("refs").is_dir()
}

/// The branch of HEAD in a local repository; `main` if that cannot be read without a request.
pub fn default_branch(url: &str) -> String {
    let root = Path::new(url);
    let folder = if bare(root) { root.to_owned() } else { git_folder(root) };
    let head = std::fs::read_to_string(folder.join("HEAD")).unwrap_or_default();
    head.trim().strip_prefix("ref: refs/heads/").unwrap_or("main").to_owned()
}

/// `.git`, or the folder that a linked work tree's `.git` file names.
fn git_folder(root: &Path) -> PathBuf {
    let git = root.join(".git");
    let linked = std::fs::read_to_string(&git).unwrap_or_default();
    linked.trim().strip_prefix("gitdir: ").map_or(git, |folder| root.join(folder))
}

/// The clusters that are meant, each with its desired state or an error with its problems in words. A name that the
/// repository does not have is an error of all.
pub fn chosen(
    loaded: Loaded,
    asked: &[String],
    all: bool,
) -> anyhow::Result<Vec<(String, anyhow::Result<Desired>)>> {
    let mut clusters = loaded.clusters;
    let known: Vec<String> = clusters.keys().cloned().collect();
    let names = match (asked, known.as_slice()) {
        (_, []) => {
            let problems: String = loaded.problems.iter().map(ToString::to_string).collect();
            bail!("the repository describes no cluster below desired-state/; check --path\n{problems}");
        }
        ([], [_]) => known,
        ([], _) if all => known,
        ([], many) => bail!(
            "the repository describes several clusters; name some of {}, or pass --all",
            many.join(", ")
        ),
        (asked, known) => {
            let foreign = asked.iter().find(|name| !known.contains(name));
            if let Some(name) = foreign {
                bail!(unknown("the repository", name, known.iter().map(String::as_str)));
            }
            asked.to_vec()
        }
    };
    let desired = |name: String| {
        let desired = clusters.remove(&name)?.map_err(|problems| {
            let problems: String = problems.iter().map(ToString::to_string).collect();
            let problems = problems.trim_end();
            anyhow::anyhow!(
                "the desired state of {name} is not valid; `windlass validate` checks it\n{problems}"
            )
        });
        Some((name, desired))
    };
    // A name that is given twice is one cluster.
    Ok(names.into_iter().filter_map(desired).collect())
}

/// An error that names the known clusters, the nearest name first.
pub fn unknown<'a>(place: &str, cluster: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().find(|name| strsim::damerau_levenshtein(name, cluster) <= 2);
    let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    match known.as_slice() {
        [] => format!("{place} has no cluster {cluster}; it has none yet"),
        known => format!("{place} has no cluster {cluster}{hint}; it has {}", known.join(", ")),
    }
}
