//! Tests against real repositories, written and judged by the real git.

mod address;
mod http_backend;
mod known_hosts;
mod local;
mod read;
mod remote;
mod ssh;
mod watch;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::{Append, Author, CommitHash, Credentials, Repository, Settings};

/// libgit2 has one deadline per process, so all tests share it: long enough for a busy machine,
/// short enough for the tests that let it pass.
pub(super) const TIMEOUT: Duration = Duration::from_secs(4);

const RECORD: &str = "windlass/status";

/// A folder with a bare repository `origin.git`, whose `main` holds one cluster file.
pub(super) struct World {
    dir: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        world.git(&["init", "--quiet", "--bare", "--initial-branch=main", "origin.git"]);
        world.git(&["-C", "origin.git", "config", "http.receivepack", "true"]);
        world.commit("main", &[("desired-state/demo/cluster.yaml", "version: v1.36.3\n")]);
        world
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn origin(&self) -> PathBuf {
        self.path().join("origin.git")
    }

    pub(super) fn settings(&self, url: impl Into<String>) -> Settings {
        Settings {
            url: url.into(),
            branch: "main".to_owned(),
            record_url: None,
            record_branch: RECORD.to_owned(),
            cache: self.path().join("cache"),
            credentials: Credentials::default(),
            author: Author { name: "windlass".to_owned(), email: "windlass@example.com".to_owned() },
            timeout: TIMEOUT,
        }
    }

    /// The origin opened as a local repository.
    pub(super) fn local(&self) -> Repository {
        open(self.settings(self.origin().display().to_string()))
    }

    /// Runs the real git in the world's folder, knowing nothing of the machine's settings.
    pub(super) fn git(&self, args: &[&str]) -> String {
        self.git_with(args, "")
    }

    pub(super) fn git_with(&self, args: &[&str], input: &str) -> String {
        let mut child = Command::new("git")
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git runs");
        child.stdin.take().expect("an input").write_all(input.as_bytes()).expect("git reads");
        let output = child.wait_with_output().expect("git ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {errors}");
        String::from_utf8(output.stdout).expect("plain output").trim_end().to_owned()
    }

    /// Commits files to a branch of the origin, on top of what is there.
    pub(super) fn commit(&self, branch: &str, files: &[(&str, &str)]) -> CommitHash {
        let files: Vec<_> = files.iter().map(|(path, text)| ("100644", *path, *text)).collect();
        self.commit_modes(branch, &files)
    }

    pub(super) fn commit_modes(&self, branch: &str, files: &[(&str, &str, &str)]) -> CommitHash {
        let name = format!("refs/heads/{branch}");
        let mut stream = format!("commit {name}\ncommitter Someone <someone@example.com> 1700000000 +0000\n");
        stream.push_str("data 7\nchange\n\n");
        if self.tip(branch).is_some() {
            writeln!(stream, "from {name}^0").expect("text");
        }
        for (mode, path, text) in files {
            match *mode {
                "160000" => writeln!(stream, "M {mode} {text} {path}").expect("text"),
                _ => writeln!(stream, "M {mode} inline {path}\ndata {}\n{text}", text.len()).expect("text"),
            }
        }
        self.git_with(&["-C", "origin.git", "fast-import", "--quiet", "--force"], &stream);
        self.tip(branch).expect("the branch exists now")
    }

    /// What the origin has, as git itself sees it.
    pub(super) fn tip(&self, branch: &str) -> Option<CommitHash> {
        let format = "--format=%(objectname)";
        let name = format!("refs/heads/{branch}");
        let out = self.git(&["-C", "origin.git", "for-each-ref", format, &name]);
        out.lines().next().map(|id| id.parse().expect("an id"))
    }

    pub(super) fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.origin().join("hooks").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a hook");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// Everything that git can find wrong with the origin.
    pub(super) fn fsck(&self) {
        self.git(&["-C", "origin.git", "fsck", "--strict", "--no-dangling"]);
    }

    /// The commits of the record, newest first.
    pub(super) fn history(&self) -> Vec<CommitHash> {
        let out = self.git(&["-C", "origin.git", "rev-list", RECORD]);
        out.lines().map(|id| id.parse().expect("an id")).collect()
    }
}

pub(super) fn open(settings: Settings) -> Repository {
    Repository::open(settings).expect("the repository opens")
}

/// One entry of the record: a file `demo/<name>.yaml`.
pub(super) fn entry(expected: Option<CommitHash>, name: &str) -> Append {
    Append {
        expected,
        files: BTreeMap::from([(format!("demo/{name}.yaml"), format!("entry: {name}\n").into_bytes())]),
        message: format!("demo: {name}\n\nCluster: demo\n"),
        at: Timestamp::from_second(1_800_000_000).expect("a time"),
        tags: Vec::new(),
    }
}

/// A whole error with its causes, as the edge prints it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        write!(text, ": {cause}").expect("text");
        next = cause.source();
    }
    text
}

#[test]
fn a_repository_may_change_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Repository>();
    assert_send::<super::BranchWatch>();
}
