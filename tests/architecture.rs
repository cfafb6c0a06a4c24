//! The rules that hold the code together, as data: who may import whom, what the pure stages may not touch, how long
//! a file may be, what lies at the top. Each rule is a function of one made-up or real source, and is shown to fail.

mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use source::Source;

/// Who may import what of ours. The longest row that fits a path is the one that holds; `*` is everything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &[]),
    ("desired", &["model"]),
    ("live", &["model"]),
    ("diff", &["model"]),
    ("plan", &["model", "diff"]),
    ("gate", &["model"]),
    ("verify", &["model"]),
    ("record", &["model"]),
    ("git", &["model"]),
    ("cluster", &["model", "live", "clock"]),
    ("execute", &["model", "cluster", "live", "clock"]),
    ("provider", &["model"]),
    ("sim", &[]),
    ("config", &["model", "git"]),
    (
        "reconcile",
        &[
            "model", "clock", "config", "desired", "live", "diff", "plan", "gate", "verify", "record", "git",
            "cluster", "execute", "provider",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "clock",
            "config",
            "desired",
            "live",
            "diff",
            "plan",
            "gate",
            "verify",
            "record",
            "git",
            "cluster",
            "execute",
            "provider",
            "reconcile",
        ],
    ),
    ("cli/demo", &["*"]),
    ("main", &["*"]),
    ("lib", &[]),
];

/// Crates that bring the world in, or that one part hides from all others, and who may name them.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("kube", &["cluster"]),
    ("git2", &["git", "cli/demo"]),
    ("notify", &["git"]),
    ("axum", &["sim"]),
    ("tower", &["cluster", "sim"]),
    ("k8s_openapi", &["cluster", "live", "provider"]),
    ("clap", &["cli", "config", "main"]),
    ("anyhow", &["reconcile", "cli", "main"]),
    ("tokio", &["clock", "cluster", "execute", "git", "sim", "reconcile", "cli", "main"]),
    ("tracing", &["cluster", "git", "reconcile", "cli", "main"]),
    ("tracing_subscriber", &["main"]),
    ("serde_saphyr", &["desired", "record", "config"]),
];

/// Functions over data: the stages, the nouns, the renderer of Jobs, and the pass itself.
const PURE: &[&str] =
    &["model", "desired", "live", "diff", "plan", "gate", "verify", "record", "provider", "reconcile"];

/// The loop around the pass, which looks, writes down and does.
const IMPURE_PARTS: &[&str] = &[
    "reconcile/ask",
    "reconcile/idle",
    "reconcile/journal",
    "reconcile/push",
    "reconcile/run",
    "reconcile/wanted",
];

/// What nothing pure may mention, each a row of tokens.
const IMPURE: &[&str] = &[
    "async",
    ". await",
    "tokio",
    "tracing",
    "std :: env",
    "std :: fs",
    "std :: net",
    "std :: process",
    "std :: io",
    "now ( )",
    "rand",
];

/// Longest files, in lines, without their tests.
const LINES: &[(&str, usize)] = &[("", 400), ("main", 100), ("lib", 60)];

/// Names that say nothing of what a thing is for.
const EMPTY_WORDS: &[&str] = &["manager", "helper", "handler", "service", "util", "utils", "common", "misc"];

/// What people find at the top. Names that begin with a dot belong to tools and are not listed.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "daemon",
    "desired-state",
    "docs",
    "policies",
    "target",
    "tests",
];

/// The longest row whose path is this one's, or lies above it.
fn row<'a, T: ?Sized>(rows: &'a [(&'static str, &'a T)], path: &str) -> Option<&'a T> {
    let fitting = rows.iter().filter(|(part, _)| source::lies_in(path, part));
    fitting.max_by_key(|(part, _)| part.len()).map(|(_, found)| *found)
}

/// Ours: only what the table allows. Inside one's own part everything may be named.
fn imports(source: &Source) -> Vec<String> {
    let Some(allowed) = row(MAY_IMPORT, &source.module) else {
        return vec![format!("{}: this part of the program has no row in MAY_IMPORT", source.path)];
    };
    let own = source.module.split('/').next().unwrap_or_default();
    let foreign = source
        .imports()
        .into_iter()
        .filter(|(_, part)| part != own && !allowed.contains(&"*") && !allowed.contains(&part.as_str()));
    foreign.map(|(line, part)| format!("{}:{line}: `{own}` may not import `{part}`", source.path)).collect()
}

/// Not ours: what one part hides is named nowhere else.
fn crates(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (name, parts) in MAY_NAME {
        if parts.iter().any(|part| source::lies_in(&source.module, part)) {
            continue;
        }
        let lines = source.lines_of(&format!("{name} ::"));
        found.extend(
            lines.iter().map(|line| format!("{}:{line}: `{name}` belongs to {parts:?}", source.path)),
        );
    }
    found
}

fn purity(source: &Source) -> Vec<String> {
    let lies_in = |parts: &[&str]| parts.iter().any(|part| source::lies_in(&source.module, part));
    if !lies_in(PURE) || lies_in(IMPURE_PARTS) {
        return Vec::new();
    }
    let all =
        IMPURE.iter().flat_map(|tokens| source.lines_of(tokens).into_iter().map(move |line| (line, tokens)));
    all.map(|(line, tokens)| format!("{}:{line}: `{}` in a pure part", source.path, tokens.replace(' ', "")))
        .collect()
}

fn header(source: &Source) -> Vec<String> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{}: it does not begin with a header, `//! …`, that says what it is for", source.path)]
}

fn size(source: &Source) -> Vec<String> {
    let limits: Vec<_> = LINES.iter().map(|(part, limit)| (*part, limit)).collect();
    let Some(limit) = row(&limits, &source.module) else { return Vec::new() };
    let lines = source.lines_without_tests();
    if lines <= *limit {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines without its tests; the limit is {limit}", source.path)]
}

/// A lint is silenced where it bites, by `#[expect(…, reason = "…")]`, or not at all.
fn silence(source: &Source) -> Vec<String> {
    let allows =
        source.attributes("allow").into_iter().map(|(line, _)| (line, "`allow` silences a lint for ever"));
    let bare = source.attributes("expect").into_iter().filter(|(_, inside)| !inside.contains("reason"));
    let bare = bare.map(|(line, _)| (line, "`expect` without a reason"));
    allows.chain(bare).map(|(line, why)| format!("{}:{line}: {why}", source.path)).collect()
}

/// Names of files and types, and marks that something was left for later.
fn words(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let file = Path::new(&source.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if EMPTY_WORDS.contains(&file) {
        found.push(format!("{}: `{file}` says nothing of what is in the file", source.path));
    }
    for (line, name) in source.types() {
        if let Some(word) = EMPTY_WORDS.iter().find(|word| name.to_lowercase().ends_with(**word)) {
            found.push(format!("{}:{line}: `{name}`: `{word}` says nothing of what it is for", source.path));
        }
    }
    for (at, line) in source.text.lines().enumerate() {
        // In two halves, so that this line is not found.
        let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
        let words = line.split(|letter: char| !letter.is_alphanumeric());
        if let Some(mark) = words.into_iter().find(|word| marks.contains(word)) {
            found.push(format!("{}:{}: {mark}: do it, or write down why not in docs/", source.path, at + 1));
        }
    }
    found
}

/// A file of tests that `it.rs` does not name is never run.
fn unlisted(root: &str, files: &[String]) -> Vec<String> {
    let root = Source::new("tests/it.rs", root);
    let missing =
        files.iter().filter(|name| *name != "it" && root.lines_of(&format!("mod {name} ;")).is_empty());
    missing.map(|name| format!("tests/{name}.rs is not listed in tests/it.rs and would never run")).collect()
}

fn top(names: &[String]) -> Vec<String> {
    let strange = names.iter().filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()));
    strange.map(|name| format!("{name}: the top level stays as it is; see docs/architecture.md")).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn names(folder: &str) -> Vec<String> {
    let read = std::fs::read_dir(root().join(folder)).unwrap();
    let mut names: Vec<_> = read.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for name in names(folder) {
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            found.extend(sources(&path));
        } else if Path::new(&name).extension().is_some_and(|end| end == "rs") {
            found.push(Source::new(&path, &std::fs::read_to_string(root().join(&path)).unwrap()));
        }
    }
    found
}

fn hold<'a>(rule: fn(&Source) -> Vec<String>, sources: impl IntoIterator<Item = &'a Source>) {
    let sources: Vec<_> = sources.into_iter().collect();
    assert!(sources.len() > 5, "the files are not where they are looked for");
    let broken: Vec<_> = sources.into_iter().flat_map(rule).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// Every file, read once.
fn everything() -> &'static [Source] {
    static ALL: OnceLock<Vec<Source>> = OnceLock::new();
    ALL.get_or_init(|| [sources("daemon"), sources("tests")].concat())
}

/// The program itself; its tests may reach for whatever they need.
fn program() -> Vec<&'static Source> {
    everything().iter().filter(|source| source.path.starts_with("daemon/") && !source.is_test()).collect()
}

#[test]
fn imports_point_at_the_nouns() {
    hold(imports, program());
}

#[test]
fn what_one_part_hides_is_named_nowhere_else() {
    hold(crates, program());
}

#[test]
fn stages_are_pure() {
    hold(purity, program());
}

#[test]
fn every_file_says_what_it_is_for() {
    hold(header, everything());
}

#[test]
fn files_fit_into_a_head() {
    hold(size, program());
}

#[test]
fn no_lint_is_silenced_without_a_reason() {
    hold(silence, everything());
}

#[test]
fn names_say_something_and_nothing_is_left_for_later() {
    hold(words, everything());
}

#[test]
fn every_file_of_tests_runs() {
    let files: Vec<_> =
        names("tests").iter().filter_map(|name| name.strip_suffix(".rs").map(str::to_owned)).collect();
    let listed = std::fs::read_to_string(root().join("tests/it.rs")).unwrap();
    assert_eq!(unlisted(&listed, &files), [""; 0]);
}

#[test]
fn the_top_level_is_as_designed() {
    let names = names("");
    assert_eq!(top(&names), [""; 0]);
    let there: BTreeSet<_> = names.iter().map(String::as_str).collect();
    let missing: Vec<_> = TOP.iter().filter(|name| **name != "target" && !there.contains(**name)).collect();
    assert!(missing.is_empty(), "missing at the top: {missing:?}");
}

#[test]
fn every_row_of_the_tables_means_something() {
    let program = program();
    for (part, _) in MAY_IMPORT {
        assert!(
            program.iter().any(|source| source::lies_in(&source.module, part)),
            "no file lies in `{part}`"
        );
    }
    for part in PURE.iter().chain(IMPURE_PARTS) {
        assert!(
            program.iter().any(|source| source::lies_in(&source.module, part)),
            "no file lies in `{part}`"
        );
    }
}

/// How many complaints a rule has about a small made-up source.
fn complaints(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
    rule(&Source::new(path, text))
}

#[test]
fn a_forbidden_import_is_found_however_it_is_written() {
    for text in [
        "use crate::git::Commit;",
        "use crate::{model::plan::Plan, git};",
        "use crate::{\n    model,\n    git::{self, Commit},\n};",
        "fn f(commit: &crate::git::Commit) {}",
        "use super::super::git::Commit;",
        "use windlass::git;",
    ] {
        let found = complaints(imports, "daemon/gate/window.rs", text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].ends_with("`gate` may not import `git`"), "{found:?}");
    }
    assert_eq!(complaints(imports, "daemon/model/plan.rs", "use crate::plan::Plan;").len(), 1);
    assert_eq!(complaints(imports, "daemon/sim/store.rs", "use crate::model::Version;").len(), 1);
    assert_eq!(complaints(imports, "daemon/cli/plan.rs", "use crate::sim::Cluster;").len(), 1);
    assert_eq!(complaints(imports, "daemon/dashboard/mod.rs", "").len(), 1, "a part without a row");
}

#[test]
fn what_is_allowed_is_not_complained_about() {
    for (path, text) in [
        (
            "daemon/plan/order.rs",
            "use crate::diff::Change;\nuse crate::model::{plan::Plan, version::Version};",
        ),
        ("daemon/gate/window.rs", "use super::freeze;\nuse crate::gate::close;"),
        ("daemon/cli/demo/world.rs", "use crate::sim::Cluster;"),
        ("daemon/cli/demo.rs", "use crate::sim::Cluster;"),
        ("daemon/gate/mod.rs", "// use crate::git::Commit;\nconst TEXT: &str = \"crate::git\";"),
        ("daemon/gate/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::desired::load;\n}\n"),
    ] {
        assert_eq!(complaints(imports, path, text), [""; 0], "{text}");
    }
}

#[test]
fn what_a_part_hides_is_found_elsewhere() {
    assert_eq!(complaints(crates, "daemon/plan/mod.rs", "use kube::Client;").len(), 1);
    assert_eq!(complaints(crates, "daemon/reconcile/run.rs", "fn f(r: &git2::Repository) {}").len(), 1);
    assert_eq!(complaints(crates, "daemon/cluster/mod.rs", "use kube::Client;"), [""; 0]);
    assert_eq!(complaints(crates, "daemon/gate/mod.rs", "// as kube::Client does"), [""; 0]);
}

#[test]
fn impurity_is_found() {
    for text in [
        "async fn f() {}",
        "fn f() { g().await }",
        "use tokio::sync::mpsc;",
        "fn f() { tracing::info!(\"x\"); }",
        "use std::fs;",
        "use std::{env, fmt};",
        "fn f() -> Timestamp { Timestamp::now() }",
        "fn f(clock: &Clock) -> Timestamp { clock.now () }",
    ] {
        assert_eq!(complaints(purity, "daemon/plan/mod.rs", text).len(), 1, "{text}");
        assert_eq!(complaints(purity, "daemon/git/mod.rs", text), [""; 0], "{text}");
    }
    for text in [
        "fn f(now: Timestamp) {}",
        "// never awaits, no tokio",
        "fn f() -> &'static str { \"async\" }",
        "let asynchronous = 'a';",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
    ] {
        assert_eq!(complaints(purity, "daemon/plan/mod.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn a_missing_header_is_found() {
    assert_eq!(complaints(header, "daemon/main.rs", "fn main() {}").len(), 1);
    assert_eq!(complaints(header, "daemon/main.rs", "//! The way in.\n\nfn main() {}"), [""; 0]);
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let long = "fn f() {}\n".repeat(401);
    assert_eq!(complaints(size, "daemon/plan/mod.rs", &long).len(), 1);
    assert_eq!(complaints(size, "daemon/main.rs", &long[..1010]).len(), 1);
    assert_eq!(complaints(size, "daemon/lib.rs", &long[..610]).len(), 1);
    let tested = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert_eq!(complaints(size, "daemon/plan/mod.rs", &tested), [""; 0]);
    assert_eq!(complaints(size, "daemon/plan/mod.rs", &long[..4000]), [""; 0]);
}

#[test]
fn a_silenced_lint_is_found() {
    for text in [
        "#[allow(dead_code)]\nfn f() {}",
        "#![allow(clippy::all)]",
        "#[cfg_attr(test, allow(dead_code))]\nfn f() {}",
        "#[expect(dead_code)]\nfn f() {}",
    ] {
        assert_eq!(complaints(silence, "daemon/plan/mod.rs", text).len(), 1, "{text}");
    }
    for text in
        ["#[expect(dead_code, reason = \"why\")]\nfn f() {}", "let x = y.expect(\"text\");", "// #[allow(x)]"]
    {
        assert_eq!(complaints(silence, "daemon/plan/mod.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn an_empty_word_is_found() {
    assert_eq!(complaints(words, "daemon/plan/utils.rs", "").len(), 1);
    assert_eq!(complaints(words, "daemon/plan/mod.rs", "pub struct PlanManager;").len(), 1);
    assert_eq!(complaints(words, "daemon/plan/mod.rs", concat!("// TO", "DO: later")).len(), 1);
    assert_eq!(complaints(words, "daemon/plan/mod.rs", "// the controller-manager\nstruct Plan;"), [""; 0]);
}

#[test]
fn a_forgotten_file_of_tests_is_found() {
    let files = ["gate", "it", "plan"].map(str::to_owned);
    assert_eq!(unlisted("mod gate;\nmod plan;\n", &files), [""; 0]);
    assert_eq!(unlisted("mod gate;\n// mod plan;\n", &files).len(), 1);
}

#[test]
fn a_stranger_at_the_top_is_found() {
    assert_eq!(top(&[".ci".to_owned(), "daemon".to_owned()]), [""; 0]);
    assert_eq!(top(&["scripts".to_owned()]).len(), 1);
}
