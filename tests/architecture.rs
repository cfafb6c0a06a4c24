//! The rules that hold the code together, as data: who may import whom, what the pure stages may not touch, how long
//! a file may be, what lies at the top. Each rule is a function of one made-up or real source, and is shown to fail.

mod cycles;
mod names;
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
    ("diff", &["model", "provider"]),
    ("plan", &["model", "diff", "provider"]),
    ("gate", &["model", "diff", "record", "verify", "provider"]),
    ("verify", &["model"]),
    ("record", &["model"]),
    ("view", &["model", "diff", "gate", "record"]),
    ("git", &["model"]),
    ("cluster", &["model", "live", "clock"]),
    ("execute", &["model", "cluster", "live", "clock"]),
    ("provider", &["model"]),
    ("sim", &[]),
    ("config", &["model", "git"]),
    ("log", &["clock", "config"]),
    // `verify` and `provider` for baselines and the namespace of the lease; the rest is asked by gates and work.
    ("reconcile", &["model", "gate", "work", "verify", "record", "provider"]),
    ("work", &["model", "record", "verify", "provider"]),
    (
        "serve",
        &[
            "model",
            "clock",
            "desired",
            "live",
            "plan",
            "gate",
            "work",
            "record",
            "git",
            "cluster",
            "execute",
            "provider",
            "reconcile",
            "view",
        ],
    ),
    ("reconcile/check", &["model", "record"]),
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
            "serve",
            "view",
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
    ("anyhow", &["serve", "cli", "main"]),
    ("tokio", &["clock", "cluster", "execute", "git", "sim", "serve", "cli", "main"]),
    ("tracing", &["cluster", "git", "serve", "cli", "log", "main"]),
    ("tracing_subscriber", &["log"]),
    ("serde_saphyr", &["cluster", "config", "desired", "provider", "record"]),
];

/// Functions over data: the stages, the nouns, the pages, the renderer of Jobs, and the pass itself.
const PURE: &[&str] = &[
    "model",
    "desired",
    "live",
    "diff",
    "plan",
    "verify",
    "gate",
    "work",
    "record",
    "view",
    "provider",
    "reconcile",
];

/// Rooms in which no two files import each other, by whatever way round. Between rooms that is nowhere allowed.
const NO_CYCLES: &[&str] = &["gate", "work", "reconcile", "serve"];

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

/// Where a provider may be told from another by its name: where the name is read, and where it gets its meaning.
const KNOWS_PROVIDERS: &[&str] = &["provider", "desired"];

/// Everyone else asks what the provider can do; or the next provider would be treated as whichever it is compared with.
fn providers(source: &Source) -> Vec<String> {
    if KNOWS_PROVIDERS.iter().any(|part| source::lies_in(&source.module, part)) {
        return Vec::new();
    }
    let lines = ["Provider ::", ":: Provider ::"].map(|tokens| source.lines_of(tokens)).concat();
    let named = lines.into_iter().map(|line| {
        format!("{}:{line}: a provider by its name; ask provider::capabilities what it can do", source.path)
    });
    named.collect()
}

fn purity(source: &Source) -> Vec<String> {
    if !PURE.iter().any(|part| source::lies_in(&source.module, part)) {
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

/// A file of tests that no other file names is never run: `it.rs` names those of `tests/`, `x.rs` those of `tests/x/`.
fn unlisted(list: &Source, files: &[String]) -> Vec<String> {
    let folder = list.path.strip_suffix("/it.rs").or(list.path.strip_suffix(".rs")).unwrap_or_default();
    let missing =
        files.iter().filter(|name| *name != "it" && list.lines_of(&format!("mod {name} ;")).is_empty());
    missing
        .map(|name| format!("{folder}/{name}.rs is not listed in {} and would never run", list.path))
        .collect()
}

/// People look up where a test belongs on one page: it names every file of tests, and none that is not there.
fn undescribed(page: &str, paths: &BTreeSet<String>) -> Vec<String> {
    let page: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let short = |path: &str| path.strip_prefix("tests/scenario/").unwrap_or(path).to_owned();
    let missing = paths.iter().filter(|path| !page.contains(short(path).as_str()));
    let missing = missing.map(|path| format!("docs/contributing.md does not say what {path} is for"));
    let gone = page.iter().filter(|name| is_rust(name) && name.starts_with("tests/"));
    let gone = gone.filter(|name| !paths.contains(**name) && !root().join(name).exists());
    let gone = gone.map(|name| format!("docs/contributing.md names {name}, which is not there"));
    missing.chain(gone).collect()
}

fn top(names: &[String]) -> Vec<String> {
    let strange = names.iter().filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()));
    strange.map(|name| format!("{name}: the top level stays as it is; see docs/architecture.md")).collect()
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "rs")
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
fn only_provider_knows_one_from_another() {
    hold(providers, program());
}

#[test]
fn no_files_import_each_other() {
    let program = program();
    assert!(program.len() > 5, "the files are not where they are looked for");
    let found = cycles::cycles(&program, NO_CYCLES);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
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
    // Benchmarks are named in Cargo.toml, and have no tests.
    let folders =
        names("tests").into_iter().filter(|name| root().join("tests").join(name).is_dir() && name != "bench");
    let below = folders.map(|name| (format!("tests/{name}"), format!("tests/{name}.rs")));
    let all = below.chain([("tests".to_owned(), "tests/it.rs".to_owned())]);
    for (folder, list) in all {
        let files: Vec<_> =
            names(&folder).iter().filter_map(|name| name.strip_suffix(".rs").map(str::to_owned)).collect();
        if files.is_empty() {
            continue;
        }
        let text = std::fs::read_to_string(root().join(&list)).unwrap_or_default();
        assert_eq!(unlisted(&Source::new(&list, &text), &files), [""; 0]);
    }
}

#[test]
fn every_file_of_tests_is_described() {
    let page = std::fs::read_to_string(root().join("docs/contributing.md")).unwrap();
    let paths: BTreeSet<_> = ["tests", "tests/scenario"]
        .iter()
        .flat_map(|folder| names(folder).into_iter().map(move |name| format!("{folder}/{name}")))
        .filter(|path| is_rust(path) && !["tests/it.rs", "tests/scenario.rs"].contains(&path.as_str()))
        .collect();
    assert_eq!(undescribed(&page, &paths), [""; 0]);
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
    for part in PURE.iter().chain(NO_CYCLES) {
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
    assert_eq!(complaints(crates, "daemon/serve/keeper.rs", "fn f(r: &git2::Repository) {}").len(), 1);
    assert_eq!(complaints(crates, "daemon/cluster/mod.rs", "use kube::Client;"), [""; 0]);
    assert_eq!(complaints(crates, "daemon/gate/mod.rs", "// as kube::Client does"), [""; 0]);
}

/// The circles among made-up files, where none is allowed within `serve`.
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> =
        files.iter().map(|(path, text)| Source::new(&format!("daemon/{path}.rs"), text)).collect();
    cycles::cycles(&files.iter().collect::<Vec<_>>(), &["serve"])
}

#[test]
fn a_circle_of_imports_is_found() {
    for files in [
        [
            ("serve/a", "use super::b::B;"),
            ("serve/b", "use crate::serve::a::A;"),
            ("serve/mod", "mod a;\nmod b;"),
        ],
        [
            ("serve/a", "use super::b::{self, B};"),
            ("serve/b", "fn f() { super::c::go(); }"),
            ("serve/c", "use super::{a};"),
        ],
        // By a name that the room passes on.
        [
            ("serve/a", "use super::b::B;"),
            ("serve/b", "use super::A;"),
            ("serve/mod", "mod a;\npub use a::A;"),
        ],
        [
            ("serve/a", "use super::b::B;"),
            ("serve/b", "use super::C;"),
            ("serve/mod", "mod a;\npub(crate) use a::A as C;"),
        ],
        // By what the room itself has, and does with its files.
        [
            ("serve/a", "use super::T;"),
            ("serve/b", ""),
            ("serve/mod", "mod a;\npub struct T;\nfn f() { a::go(); }"),
        ],
        [
            ("serve/a", "use super::T;"),
            ("serve/b", ""),
            ("serve/mod", "mod a;\npub use a::A;\npub struct T(A);"),
        ],
    ] {
        assert_eq!(circles(&files).len(), 1, "{files:?}");
    }
    let found = circles(&[("serve/a", "use super::b::B;"), ("serve/b", "use super::a::A;")]);
    assert_eq!(found, ["files import each other in a circle: serve/a → serve/b → serve/a"]);
}

#[test]
fn a_circle_between_rooms_is_found_wherever_it_is() {
    let files = [("gate/mod", "use crate::plan::order::Order;"), ("plan/order", "use crate::gate::Gate;")];
    assert_eq!(circles(&files).len(), 1);
    let inside = [("plan/a", "use super::b::B;"), ("plan/b", "use super::a::A;")];
    assert_eq!(circles(&inside), [""; 0], "within this room it is allowed so far");
}

#[test]
fn imports_that_lead_nowhere_back_are_not_complained_about() {
    for files in [
        [
            ("serve/a", "use super::B;"),
            ("serve/b", ""),
            ("serve/mod", "mod a;\nmod b;\npub use a::A;\npub use b::B;"),
        ],
        [
            ("serve/a", "use super::b::B;\nuse super::c::C;"),
            ("serve/b", "use super::c::C;"),
            ("serve/c", "// super::a"),
        ],
        [
            ("serve/a", "use super::b::B;"),
            ("serve/b", "#[cfg(test)]\nmod tests {\n    use crate::serve::a::A;\n}"),
            ("lib", "pub mod serve;"),
        ],
    ] {
        assert_eq!(circles(&files), [""; 0], "{files:?}");
    }
}

#[test]
fn a_provider_by_its_name_is_found_elsewhere() {
    for text in [
        "fn f(p: Provider) -> bool { p == Provider::External }",
        "fn f(p: Provider) { match p { Provider::Kubeadm => {}, Provider::External => {} } }",
        "fn f(p: Provider) -> bool { p == desired::Provider::External }",
        "use crate::model::desired::Provider::{External, Kubeadm};",
    ] {
        assert!(!complaints(providers, "daemon/plan/order.rs", text).is_empty(), "{text}");
        assert!(!complaints(providers, "daemon/gate/mod.rs", text).is_empty(), "{text}");
        assert_eq!(complaints(providers, "daemon/provider/mod.rs", text), [""; 0], "{text}");
        assert_eq!(complaints(providers, "daemon/desired/kubeadm.rs", text), [""; 0], "{text}");
    }
    for text in [
        "use crate::model::desired::Provider;",
        "fn f(p: Provider) -> bool { p == q }",
        "// Provider::External",
    ] {
        assert_eq!(complaints(providers, "daemon/plan/order.rs", text), [""; 0], "{text}");
    }
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
    let unlisted = |list: &str, text: &str| unlisted(&Source::new(list, text), &files);
    assert_eq!(unlisted("tests/it.rs", "mod gate;\nmod plan;\n"), [""; 0]);
    for list in ["tests/it.rs", "tests/scenario.rs"] {
        assert_eq!(unlisted(list, "mod gate;\n// mod plan;\n").len(), 1);
    }
    let forgotten = unlisted("tests/scenario.rs", "mod gate;\n");
    assert!(
        forgotten[0].starts_with("tests/scenario/plan.rs is not listed in tests/scenario.rs"),
        "{forgotten:?}"
    );
}

#[test]
fn a_file_of_tests_without_a_description_is_found() {
    let paths = BTreeSet::from(["tests/gate.rs".to_owned(), "tests/scenario/drain.rs".to_owned()]);
    assert_eq!(undescribed("| `tests/gate.rs` | x |\n| `drain.rs` | y |", &paths), [""; 0]);
    assert_eq!(undescribed("| `tests/gate.rs` | x |", &paths).len(), 1);
    assert_eq!(undescribed("`tests/gate.rs`, `drain.rs`, `tests/gone.rs`", &paths).len(), 1);
}

#[test]
fn a_stranger_at_the_top_is_found() {
    assert_eq!(top(&[".ci".to_owned(), "daemon".to_owned()]), [""; 0]);
    assert_eq!(top(&["scripts".to_owned()]).len(), 1);
}
