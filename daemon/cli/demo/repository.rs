//! The repository of the demo: a bare one with the files of the quick start, and the commits that people would make
//! in it. The daemon does not use this module; it reads the repository like any other.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use git2::build::TreeUpdateBuilder;
use git2::{FileMode, RepositoryInitOptions, Signature, Time};
use jiff::Timestamp;

use similar::{ChangeTag, TextDiff};

use crate::model::version::Version;

pub(super) const BRANCH: &str = "main";
/// The cluster file; the demo changes its version line.
pub(super) const CLUSTER_FILE: &str = "desired-state/demo/cluster.yaml";

/// `desired-state/` and `policies/` of this project, embedded so that the binary needs no other files.
pub(super) const FILES: &[(&str, &str)] = &[
    (CLUSTER_FILE, include_str!("../../../desired-state/demo/cluster.yaml")),
    ("policies/change-freeze.yaml", include_str!("../../../policies/change-freeze.yaml")),
    ("policies/maintenance-window.yaml", include_str!("../../../policies/maintenance-window.yaml")),
];

/// A commit as a person makes it.
pub(super) struct NewCommit<'a> {
    pub(super) author: (&'a str, &'a str),
    pub(super) message: &'a str,
    pub(super) at: Timestamp,
    pub(super) files: Vec<(&'a str, String)>,
}

/// Makes the bare repository.
pub(super) fn create(path: &Path) -> anyhow::Result<()> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).no_reinit(true).initial_head(BRANCH).mkpath(true);
    git2::Repository::init_opts(path, &options)
        .with_context(|| format!("making the repository {}", path.display()))?;
    Ok(())
}

/// Commits files on top of the branch; returns the commit's id.
pub(super) fn commit(path: &Path, change: &NewCommit<'_>) -> anyhow::Result<String> {
    let doing = || format!("committing to {}", path.display());
    let repository = git2::Repository::open_bare(path).with_context(doing)?;
    let branch = format!("refs/heads/{BRANCH}");
    let parent = match repository.find_reference(&branch) {
        Ok(tip) => Some(tip.peel_to_commit().with_context(doing)?),
        Err(error) if error.code() == git2::ErrorCode::NotFound => None,
        Err(error) => return Err(error).with_context(doing),
    };
    let mut update = TreeUpdateBuilder::new();
    for (file, text) in &change.files {
        let blob = repository.blob(text.as_bytes()).with_context(doing)?;
        update.upsert(*file, blob, FileMode::Blob);
    }
    let base = if let Some(parent) = &parent {
        parent.tree().with_context(doing)?
    } else {
        let empty = repository.treebuilder(None).and_then(|builder| builder.write()).with_context(doing)?;
        repository.find_tree(empty).with_context(doing)?
    };
    let tree = update.create_updated(&repository, &base).with_context(doing)?;
    let tree = repository.find_tree(tree).with_context(doing)?;
    let (name, email) = change.author;
    let who = Signature::new(name, email, &Time::new(change.at.as_second(), 0)).with_context(doing)?;
    let parents: Vec<_> = parent.iter().collect();
    let id =
        repository.commit(Some(&branch), &who, &who, change.message, &tree, &parents).with_context(doing)?;
    Ok(id.to_string())
}

/// The version of the network plugin that the simulated cluster has, and the one to which the demo moves it.
const NETWORK: [&str; 2] = ["v1.18.3", "v1.18.4"];

/// The embedded files, with the cluster at this version and its network plugin, which people's clusters may not have;
/// `moved` is true if it moves as well.
pub(super) fn files_at(version: &Version, moved: bool) -> Vec<(&'static str, String)> {
    let [before, after] = NETWORK;
    let at_version = |(path, text): &(&'static str, &'static str)| match *path {
        CLUSTER_FILE => {
            let network = if moved { after } else { before };
            (*path, with_version(&with_an_image(text), version) + &network_plugin(network))
        }
        _ => (*path, (*text).to_owned()),
    };
    FILES.iter().map(at_version).collect()
}

fn network_plugin(version: &str) -> String {
    format!(
        "  addons:\n    - name: cilium\n      version: \"{version}\"\n      \
         image: {{namespace: kube-system, workload: daemonset/cilium, container: cilium}}\n"
    )
}

/// The cluster file with a digest in place of the placeholder, with which no run begins. The simulated cluster has any
/// image.
fn with_an_image(text: &str) -> String {
    text.replace(&"0".repeat(64), &"5a".repeat(32))
}

/// The cluster file with another version line; the line's comment stays.
fn with_version(text: &str, version: &Version) -> String {
    let mut done = false;
    let mut changed = String::new();
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        match line.trim_start().strip_prefix("version: ").filter(|_| !done) {
            Some(rest) => {
                done = true;
                let after = rest.find(char::is_whitespace).map_or("", |end| rest.split_at(end).1);
                changed.push_str(line.split_at(indent).0);
                let _ = write!(changed, "version: {version}{after}");
            }
            None => changed.push_str(line),
        }
    }
    changed
}

/// What a pull request from one version to another shows: each changed line, and true if it was added.
pub(super) fn changed_lines(from: &Version, to: &Version) -> Vec<(bool, String)> {
    let text =
        |version, moved| files_at(version, moved).into_iter().map(|(_, text)| text).collect::<String>();
    let (before, after) = (text(from, false), text(to, true));
    let diff = TextDiff::from_lines(&before, &after);
    let changed = diff.iter_all_changes().filter(|change| change.tag() != ChangeTag::Equal);
    changed.map(|change| (change.tag() == ChangeTag::Insert, change.value().trim_end().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    fn collect(root: &Path, folder: &Path, into: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, into);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                into.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn the_embedded_files_are_those_of_the_quick_start() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut there = BTreeMap::new();
        collect(&root, &root.join("desired-state"), &mut there);
        collect(&root, &root.join("policies"), &mut there);
        let embedded: BTreeMap<String, String> =
            FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        assert_eq!(embedded, there, "add or remove files in FILES");
    }

    #[test]
    fn only_the_version_changes() {
        let text =
            "spec:\n  kubernetes:\n    version: v1.35.4              # the line\n  addons:\n    version: 1\n";
        let changed = with_version(text, &"v1.36.3".parse().unwrap());
        assert_eq!(changed, text.replace("v1.35.4", "v1.36.3"));
        let embedded = with_version(FILES[0].1, &"v1.40.1".parse().unwrap());
        assert!(embedded.lines().any(|line| line.starts_with("    version: v1.40.1")));
        let lines = changed_lines(&"v1.35.4".parse().unwrap(), &"v1.36.3".parse().unwrap());
        let added: Vec<bool> = lines.iter().map(|(added, _)| *added).collect();
        assert_eq!(added, [false, true, false, true], "Kubernetes and the network plugin: {lines:?}");
    }

    #[test]
    fn commits_follow_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("repo.git");
        create(&path).unwrap();
        for (second, version, moved) in [(0, "v1.35.4", false), (1, "v1.36.3", true)] {
            let change = NewCommit {
                author: ("Ada Example", "ada@example.com"),
                message: "demo: move\n",
                at: Timestamp::from_second(1_800_000_000 + second).unwrap(),
                files: files_at(&version.parse().unwrap(), moved),
            };
            commit(&path, &change).unwrap();
        }
        let repository = git2::Repository::open_bare(&path).unwrap();
        let tip = repository.head().unwrap().peel_to_commit().unwrap();
        assert_eq!(tip.parent_count(), 1);
        let blob = tip.tree().unwrap().get_path(Path::new(CLUSTER_FILE)).unwrap();
        let text = String::from_utf8(repository.find_blob(blob.id()).unwrap().content().to_vec()).unwrap();
        assert!(text.contains("version: v1.36.3"), "{text}");
    }
}
