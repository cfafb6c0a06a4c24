//! `windlass validate`: reports everything that is wrong with the files of a folder or of a commit, as a compiler
//! would. It reads no cluster and needs no network, so it works in an editor, a commit hook or the checks of a pull
//! request.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Output;
use super::source::Revision;
use crate::config::Environment;
use crate::desired::{self, File, Loaded, MAX_FILE_BYTES, MAX_TOTAL_BYTES, Problem};
use crate::gate::Calendar;
use crate::git::{self, BlobRefusal};
use crate::model::CommitId;
use crate::model::desired::{Desired, Mode};
use crate::model::text::plural;
use crate::view::standing::Exit;

/// How deep folders are read; ours are three levels deep, and a bind mount may be circular.
const MAX_DEPTH: usize = 16;

/// How many entries of a folder tree are looked at; a larger work tree is no desired state.
const MAX_ENTRIES: usize = 100_000;

/// Check desired state and policies, and show every problem with its place
///
/// Reads no cluster, and without --repo needs no network. Exit codes: 0 valid, 1 not valid.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass validate                       # the files of this folder, committed or not
  windlass validate --rev my-branch       # the files of a branch, a tag or a commit
  windlass validate --repo https://git.example.com/fleet.git")]
pub struct Args {
    /// The folder that holds `desired-state/` and `policies/`
    #[arg(value_name = "PATH", default_value = ".", conflicts_with = "repo")]
    pub folder: PathBuf,
    /// The format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(flatten)]
    pub revision: Revision,
}

pub fn run(args: &Args, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let rev = args.revision.rev.as_deref();
    let files = match args.revision.source(&args.folder, environment)? {
        Some(source) => source.files(rev)?,
        None => (CommitId("work tree".into()), work_tree(&named(args)?)?),
    };
    check(&files, args.output, out)
}

/// The folder that is meant. Other commands take the name of a cluster in its place.
fn named(args: &Args) -> anyhow::Result<PathBuf> {
    let cluster = Path::new("desired-state").join(&args.folder);
    anyhow::ensure!(
        args.folder.exists() || !cluster.is_dir(),
        "{0} is a cluster, and `windlass validate` takes a folder: without an argument it checks every cluster of \
         this one",
        args.folder.display()
    );
    Ok(args.revision.folder(&args.folder))
}

/// Writes what it found to `out`; returns the exit code.
fn check(
    (commit, files): &(CommitId, BTreeMap<String, File>),
    output: Output,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let loaded = desired::load(commit, files);
    let warnings = warnings(&loaded);
    match output {
        Output::Text => write_text(&loaded, &warnings, out)?,
        Output::Json => {
            let problems = serde_json::to_string_pretty(&loaded.problems).context("writing the problems")?;
            writeln!(out, "{problems}")?;
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
        }
    }
    Ok(if loaded.problems.is_empty() { Exit::Done } else { Exit::Failed }.code())
}

/// What is valid and means that nothing will ever happen: a cluster that Windlass is to upgrade, and no window.
fn warnings(loaded: &Loaded) -> Vec<String> {
    let acts = |desired: &&Desired| desired.cluster.mode == Mode::Act;
    let clusters = loaded.clusters.values().filter_map(|desired| desired.as_ref().ok()).filter(acts);
    let windowless = clusters.filter(|desired| {
        let calendar = Calendar::of(&loaded.policies, &desired.cluster.labels, &desired.cluster.name);
        calendar.windows().next().is_none()
    });
    let warning = |desired: &Desired| {
        format!(
            "cluster/{}: spec.mode is act, and no maintenance window matches the cluster: nothing is ever taken out",
            desired.cluster.name
        )
    };
    windowless.map(warning).collect()
}

fn write_text(loaded: &Loaded, warnings: &[String], out: &mut dyn Write) -> std::io::Result<()> {
    for problem in &loaded.problems {
        write!(out, "{problem}")?;
    }
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(out, "{}", summary(loaded))
}

/// `3 problems in 2 files`, or `2 clusters, 3 policies: valid`.
fn summary(loaded: &Loaded) -> String {
    if loaded.problems.is_empty() {
        let policies = loaded.policies.windows.len() + loaded.policies.freezes.len();
        let clusters = plural(loaded.clusters.len(), "cluster");
        return format!("{clusters}, {}: valid", plural(policies, "policy"));
    }
    let files: BTreeSet<&str> = loaded.problems.iter().map(|Problem { file, .. }| file.as_str()).collect();
    format!("{} in {}", plural(loaded.problems.len(), "problem"), plural(files.len(), "file"))
}

/// The files below a folder, read as those of a commit are: links are not followed, sizes are bounded.
pub(super) fn work_tree(root: &Path) -> anyhow::Result<BTreeMap<String, File>> {
    let found = fs::metadata(root).with_context(|| format!("reading the folder {}", root.display()))?;
    anyhow::ensure!(found.is_dir(), "{} is not a folder", root.display());
    let mut tree = Tree { files: BTreeMap::new(), entries: 0, bytes: 0 };
    for folder in ["desired-state", "policies"] {
        tree.entry(&root.join(folder), folder, 0)?;
    }
    Ok(tree.files)
}

struct Tree {
    files: BTreeMap<String, File>,
    entries: usize,
    bytes: u64,
}

impl Tree {
    /// Reads a file, or everything below a folder. A path that does not exist is no error; the loader reports what is
    /// missing.
    fn entry(&mut self, at: &Path, path: &str, depth: usize) -> anyhow::Result<()> {
        self.entries += 1;
        anyhow::ensure!(
            self.entries <= MAX_ENTRIES,
            "more than {MAX_ENTRIES} files and folders; is {path} the right one?"
        );
        anyhow::ensure!(depth <= MAX_DEPTH, "{path} is nested more than {MAX_DEPTH} folders deep");
        let found = match fs::symlink_metadata(at) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("reading {path}")),
        };
        if found.is_dir() {
            for entry in fs::read_dir(at).with_context(|| format!("reading the folder {path}"))? {
                let entry = entry.with_context(|| format!("reading the folder {path}"))?;
                match git::plain_name(entry.file_name().as_encoded_bytes()) {
                    Ok(name) => self.entry(&entry.path(), &format!("{path}/{name}"), depth + 1)?,
                    Err(shown) => self.refuse_name(format!("{path}/{shown}")),
                }
            }
        } else if desired::reads(path) {
            let file = self.file(at, path, &found);
            self.files.insert(path.to_owned(), file);
        }
        Ok(())
    }

    /// A name that a commit could not have either; the file is not read.
    fn refuse_name(&mut self, path: String) {
        self.entries += 1;
        if desired::reads(&path) {
            self.files.insert(path, File::Refused(BlobRefusal::Name.to_string()));
        }
    }

    fn file(&mut self, at: &Path, path: &str, found: &fs::Metadata) -> File {
        if found.is_symlink() {
            return File::link();
        }
        if !desired::reads_text(path) {
            return File::Text(String::new());
        }
        // A pipe or a device would block, or never end.
        if !found.is_file() {
            return File::Refused("is not a regular file".into());
        }
        if found.len() > MAX_FILE_BYTES as u64 {
            return File::too_large(found.len());
        }
        self.bytes = self.bytes.saturating_add(found.len());
        if self.bytes > MAX_TOTAL_BYTES as u64 {
            return File::Refused(format!(
                "is not read: the files before it have {MAX_TOTAL_BYTES} bytes already"
            ));
        }
        // The file may grow while it is read.
        let mut bytes = Vec::new();
        match fs::File::open(at).and_then(|file| file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes))
        {
            Ok(_) => File::of_bytes(bytes),
            Err(error) => File::Refused(format!("cannot be read: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nmetadata: {name: a}\nspec:\n  kubernetes: {version: v1.36.3}\n  controlPlane: {provider: kubeadm}\n";

    const VALID: u8 = 0;
    const INVALID: u8 = 1;

    /// Runs the command over files on disk; the answer is the exit code and what was written.
    fn said(root: &Path, output: Output) -> (u8, String) {
        let mut out = Vec::new();
        let code =
            check(&(CommitId("work tree".into()), work_tree(root).unwrap()), output, &mut out).unwrap();
        (code, String::from_utf8(out).unwrap())
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn valid_files_are_counted() {
        let root = folder(&[("desired-state/a/cluster.yaml", CLUSTER), ("policies/README.md", "x")]);
        assert_eq!(said(root.path(), Output::Text), (VALID, "1 cluster, 0 policies: valid\n".into()));
        assert_eq!(said(root.path(), Output::Json), (VALID, "[]\n".into()));
    }

    #[test]
    fn a_cluster_that_acts_and_has_no_window_is_warned_of() {
        const WARNED: &str = "warning: cluster/a: spec.mode is act, and no maintenance window matches the cluster: nothing is ever taken out\n";
        let act = CLUSTER.replace("spec:\n", "spec:\n  mode: act\n");
        let window = "apiVersion: windlass.dev/v1alpha1\nkind: MaintenanceWindow\nmetadata: {name: w}\nspec: {clusters: {}, opens: always}\n";
        let root = folder(&[("desired-state/a/cluster.yaml", &act)]);
        let (code, told) = said(root.path(), Output::Text);
        assert_eq!((code, told), (VALID, format!("{WARNED}1 cluster, 0 policies: valid\n")));
        assert_eq!(said(root.path(), Output::Json), (VALID, "[]\n".into()));
        fs::create_dir(root.path().join("policies")).unwrap();
        fs::write(root.path().join("policies/w.yaml"), window).unwrap();
        assert_eq!(said(root.path(), Output::Text), (VALID, "1 cluster, 1 policy: valid\n".into()));
    }

    #[test]
    fn problems_are_shown_and_counted() {
        let root = folder(&[
            ("desired-state/a/cluster.yaml", &CLUSTER.replace("kind:", "kid:")),
            ("policies/x.yml", ""),
        ]);
        let (code, told) = said(root.path(), Output::Text);
        assert!(
            code == INVALID
                && told.contains("cluster.yaml:2:1: unknown key `kid`")
                && told.ends_with("3 problems in 2 files\n"),
            "{told}"
        );
        let (code, told) = said(root.path(), Output::Json);
        let list: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (code, list[0]["line"].as_u64(), list[0]["sourceLine"].is_string()),
            (INVALID, Some(1), true)
        );
        let near = list
            .as_array()
            .unwrap()
            .iter()
            .find(|each| each["message"] == "unknown key `kid`; did you mean `kind`?");
        assert_eq!(near.unwrap()["fix"], "write `kind`");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_told_and_not_followed() {
        let root = folder(&[("elsewhere/cluster.yaml", CLUSTER), ("desired-state/b/note.txt", "")]);
        let link = |to: &str| std::os::unix::fs::symlink("../elsewhere", root.path().join(to)).unwrap();
        link("desired-state/a");
        link("desired-state/b/cluster.yaml");
        link("policies");
        let (_, told) = said(root.path(), Output::Text);
        assert_eq!(
            told,
            "desired-state/a: is a symbolic link; links are not followed\n       \
             = fix: a cluster must be a folder with `cluster.yaml`\n\
             desired-state/b/cluster.yaml: is a symbolic link; links are not followed\n\
             policies: is a symbolic link; links are not followed\n       = fix: `desired-state` and `policies` must be folders\n3 problems in 3 files\n"
        );
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf_8_are_told_as_of_a_commit() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt as _;
        let root = folder(&[("desired-state/a/cluster.yaml", CLUSTER), ("policies/note.txt", "")]);
        let paths: [&[u8]; 5] = [
            b"desired-state/a/\xff.txt",
            b"desired-state/b\xff/cluster.yaml",
            b"desired-state/\xff.yaml",
            b"policies/p\xff.yaml",
            b"policies/q\xff/p.yaml",
        ];
        for path in paths {
            let path = root.path().join(OsStr::from_bytes(path));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let (_, told) = said(root.path(), Output::Text);
        let heads: Vec<&str> = told.lines().filter(|line| !line.starts_with(' ')).collect();
        let wrong = "its name is not UTF-8 text, or not one that a file may have here";
        assert_eq!(
            heads,
            [
                format!("desired-state/a/\u{fffd}.txt: {wrong}").as_str(),
                "desired-state/b\u{fffd}: the folder's name `b\u{fffd}` is no name for a cluster",
                &format!("desired-state/\u{fffd}.yaml: {wrong}"),
                &format!("policies/p\u{fffd}.yaml: {wrong}"),
                &format!("policies/q\u{fffd}: {wrong}"),
                "5 problems in 5 files",
            ]
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let error = work_tree(Path::new("/nowhere")).unwrap_err();
        assert_eq!(error.to_string(), "reading the folder /nowhere");
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_unread() {
        let root = folder(&[
            ("desired-state/a/cluster.yaml", CLUSTER),
            ("policies/big.yaml", &"#".repeat(MAX_FILE_BYTES + 1)),
        ]);
        let (_, told) = said(root.path(), Output::Text);
        assert_eq!(
            told,
            "policies/big.yaml: has 1048577 bytes; at most 1048576 are read\n1 problem in 1 file\n"
        );
    }
}
