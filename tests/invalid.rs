//! What the daemon says of files that are wrong: every folder of `cases/invalid/` is a repository with a mistake,
//! named after it, and `expected.txt` is what a person is told. `UPDATE=1` writes these files anew.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot read its cases has failed"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use windlass::desired::{File, Loaded, MAX_FILE_BYTES, Problem, load};
use windlass::model::CommitId;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn commit() -> CommitId {
    CommitId("0123456789abcdef0123456789abcdef01234567".into())
}

fn read(folder: &Path) -> BTreeMap<String, File> {
    let (mut files, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                open.push(entry);
                continue;
            }
            let path = entry.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            files.insert(path, File::of_bytes(fs::read(&entry).unwrap()));
        }
    }
    files
}

/// The repository of the quick start, the base that generated mistakes are made in.
fn quick_start() -> BTreeMap<String, File> {
    let mut files = BTreeMap::new();
    for folder in ["desired-state", "policies"] {
        files.extend(
            read(&root().join(folder)).into_iter().map(|(path, file)| (format!("{folder}/{path}"), file)),
        );
    }
    files
}

fn with(path: &str, file: File) -> Loaded {
    let mut files = quick_start();
    files.insert(path.into(), file);
    load(&commit(), &files)
}

fn told(loaded: &Loaded) -> String {
    loaded.problems.iter().map(Problem::to_string).collect()
}

#[test]
fn the_quick_start_is_valid() {
    let loaded = load(&commit(), &quick_start());
    assert_eq!(told(&loaded), "");
    let demo = loaded.clusters["demo"].as_ref().unwrap();
    assert_eq!(
        (demo.cluster.pools.len(), demo.policies.windows.len(), demo.policies.freezes.len()),
        (2, 1, 1)
    );
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the switch of whoever changes a message on purpose")]
fn every_mistake_is_told_as_expected() {
    let cases = root().join("tests/cases/invalid");
    let mut names: Vec<_> = fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|case| case.is_dir());
    names.sort();
    assert!(names.len() >= 45, "{} cases", names.len());
    let mut wrong = Vec::new();
    for case in names {
        let told = told(&load(&commit(), &read(&case)));
        let golden = case.join("expected.txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &told).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if told.is_empty() || told != expected {
            wrong.push(format!("{}: told\n{told}\nexpected\n{expected}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A hostile file yields one clear problem; that the test ends at all says that the work was bounded.
fn check_hostile(name: &str, text: String, says: &str) {
    let loaded = with(&format!("policies/{name}.yaml"), File::Text(text));
    let told = told(&loaded);
    assert!(told.contains(says), "{name}: {told}");
    assert!(told.len() < 4_000 && loaded.problems.len() <= 20, "{name} tells {} bytes", told.len());
    // What is broken elsewhere does not lift a freeze, and nothing is permitted by a broken commit.
    assert_eq!((loaded.policies.freezes.len(), loaded.policies.windows.len()), (1, 0), "{name}");
    assert!(loaded.clusters["demo"].is_err(), "{name}");
}

#[test]
fn hostile_files_are_refused_in_few_words() {
    let bomb = (1..=9).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        let before = format!("*a{}", level - 1);
        format!("{text}a{level}: &a{level} [{}]\n", [before.as_str(); 9].join(", "))
    });
    check_hostile("alias-bomb", bomb, "anchors, aliases and merge keys");
    check_hostile("brackets", "[".repeat(100_000), "nested deeper than 32 levels");
    check_hostile("braces", "{a: ".repeat(100_000), "nested deeper than 32 levels");
    check_hostile("dashes", "- ".repeat(100_000), "nested deeper than 32 levels");
    check_hostile("questions", "? ".repeat(100_000), "nested deeper than 32 levels");
    check_hostile("long-list", format!("[{}]", "a,".repeat(400_000)), "more than 20000 values");
    check_hostile("long-line", format!("kind: {}", "x".repeat(1_000_000)), "unknown kind `xxx");
    check_hostile("long-key", format!("{}: x", "k".repeat(1_000)), "is missing");
    check_hostile("no-end-of-quote", format!("kind: \"{}", "x\n ".repeat(300_000)), "never closed");
    check_hostile("hundred-megabytes", "#".repeat(100 << 20), "has 104857600 bytes");
    check_hostile("two-megabytes", "#".repeat(2 << 20), "has 2097152 bytes; at most 1048576 are read");
    check_hostile("documents", "---\nkind: Freeze\n".repeat(60_000), "holds 60000 documents");
}

#[test]
fn too_many_policies_are_refused_whole() {
    let QuickStart { freeze, .. } = QuickStart::read();
    let mut files = quick_start();
    for file in 0..5 {
        let policies: Vec<_> =
            (0..110).map(|n| freeze.replace("year-end", &format!("f-{file}-{n}"))).collect();
        files.insert(format!("policies/{file}.yaml"), File::Text(policies.join("---\n")));
    }
    let loaded = load(&commit(), &files);
    assert_eq!(told(&loaded), "policies: there are 552 policies; at most 500 are read\n");
    assert!(loaded.policies.freezes.is_empty());
}

#[test]
fn a_commit_that_is_too_large_is_refused_whole() {
    let mut files = quick_start();
    files.extend((0..65).map(|n| (format!("policies/{n}.yaml"), File::Text("#".repeat(MAX_FILE_BYTES)))));
    let loaded = load(&commit(), &files);
    assert!(told(&loaded).starts_with("desired-state: the files have 6816"), "{}", told(&loaded));
    assert!(loaded.problems.len() == 1 && loaded.clusters["demo"].is_err());
}

#[test]
fn a_refused_file_is_told_with_its_reason() {
    let loaded = with("policies/huge.yaml", File::too_large(100 << 20));
    assert_eq!(told(&loaded), "policies/huge.yaml: has 104857600 bytes; at most 1048576 are read\n");
    assert_eq!(told(&with("policies/picture.png", File::too_large(100 << 20))), "");
}

#[test]
fn thousands_of_problems_are_capped() {
    let keys = (0..9_000).map(|n| format!("key{n}: 1")).collect::<Vec<_>>().join("\n");
    let loaded = with(
        "policies/keys.yaml",
        File::Text(format!("apiVersion: windlass.dev/v1alpha1\nkind: Freeze\n{keys}")),
    );
    assert_eq!(loaded.problems.len(), 51);
    assert!(told(&loaded).contains("8952 more problems in this file are not shown"), "{}", told(&loaded));

    let mut files = quick_start();
    files.extend(
        (0..2_000).map(|n| (format!("desired-state/c{n}/cluster.yaml"), File::Text("a: 1\nb: 2\n".into()))),
    );
    let loaded = load(&commit(), &files);
    assert_eq!(loaded.problems.len(), 501);
    assert!(loaded.problems.last().unwrap().message.ends_with("more problems are not shown"));
    assert_eq!(loaded.clusters.values().filter(|cluster| cluster.is_ok()).count(), 1);
}

#[test]
fn a_broken_cluster_leaves_the_others_valid() {
    let loaded = with("desired-state/other/cluster.yaml", File::Text("kind: Cluster".into()));
    assert!(loaded.clusters["demo"].is_ok() && loaded.clusters["other"].is_err());
    // The windows stand: no policy is broken.
    assert_eq!(loaded.policies.windows.len(), 1);
}

#[test]
fn a_freeze_counts_beside_a_broken_document_of_its_own_file() {
    let QuickStart { freeze, .. } = QuickStart::read();
    let loaded = with(
        "policies/change-freeze.yaml",
        File::Text(format!("kind: [\n---\n{freeze}\n---\nkind: Freez\n")),
    );
    assert_eq!((loaded.policies.freezes.len(), loaded.problems.len()), (1, 3), "{}", told(&loaded));
}

struct QuickStart {
    cluster: String,
    freeze: String,
}

impl QuickStart {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(root().join(path)).unwrap();
        Self { cluster: text("desired-state/demo/cluster.yaml"), freeze: text("policies/change-freeze.yaml") }
    }
}

/// Every problem points into its file, and prints within bounds.
fn check_sound(loaded: &Loaded) {
    for problem in &loaded.problems {
        let printed = problem.to_string();
        assert!(printed.len() < 6_000, "{} bytes", printed.len());
        assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
        assert_eq!(problem.line.is_some(), problem.column.is_some());
    }
    assert_eq!(
        loaded.problems.is_empty(),
        loaded.clusters.values().all(Result::is_ok) && !loaded.clusters.is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "(\\PC|[\\x00-\\x20]|[-:,?\\[\\]{}&*!|>'\"%#]|---\n|: |\n  )*") {
        check_sound(&with("policies/any.yaml", File::Text(text.clone())));
        check_sound(&with("desired-state/demo/cluster.yaml", File::Text(text)));
    }

    #[test]
    fn a_changed_quick_start_is_answered(at in any::<prop::sample::Index>(), cut in 0_usize..30, put in "\\PC{0,4}|[ \t\n:\\[\\]{}'\"&*#-]{1,3}") {
        let QuickStart { cluster, freeze } = QuickStart::read();
        for (path, text) in [("desired-state/demo/cluster.yaml", cluster), ("policies/change-freeze.yaml", freeze)] {
            let letters: Vec<char> = text.chars().collect();
            let at = at.index(letters.len());
            let rest = letters.iter().skip(at + cut);
            let changed: String = letters[..at].iter().copied().chain(put.chars()).chain(rest.copied()).collect();
            check_sound(&with(path, File::Text(changed)));
        }
    }

    #[test]
    fn any_path_is_answered(path in "(desired-state|policies|[a-z.]{1,3})(/(\\PC{0,5}|addons|cluster\\.ya?ml|[a-z]{1,3}(\\.ya?ml)?)){0,4}") {
        let loaded = with(&path, File::Refused("is a symbolic link".into()));
        for problem in &loaded.problems { prop_assert!(!problem.headline().is_empty()); }
    }
}
