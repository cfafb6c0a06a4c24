//! What the documentation says is true: examples parse, commands run, links lead somewhere, and nothing that exists
//! is left undocumented.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use windlass::cli::Cli;
use windlass::config::{Config, Environment, Flags, RepositoryFlags};
use windlass::desired::{File, load};
use windlass::model::CommitId;
use windlass::model::decision::Key;

/// Blocks of commands after this mark are not run here.
const NOT_RUN: &str = "<!-- not run here:";

/// A cluster that the policies of the pages select, where a block has none of its own.
const COMPANION: &str = "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\n\
    metadata: {name: companion, labels: {ring: prod, region: eu}}\n\
    spec: {kubernetes: {version: v1.36.3}, controlPlane: {provider: external}}\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `README.md` and everything below `docs/`, by path.
fn pages() -> BTreeMap<String, String> {
    let mut found = BTreeMap::from([("README.md".to_owned(), read("README.md"))]);
    let mut folders = vec!["docs".to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), read(&path));
            }
        }
    }
    found
}

/// One fenced block: its language, its text, and the line of text before it.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    text: String,
    before: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut open, mut before) = (None::<Block>, String::new());
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => writeln!(block.text, "{line}").unwrap(),
            (None, Some(language)) => {
                let (language, before) = (language.to_owned(), std::mem::take(&mut before));
                open = Some(Block { language, text: String::new(), before });
            }
            (None, None) if line.is_empty() => {}
            (None, None) => line.clone_into(&mut before),
        }
    }
    found
}

/// Headings as anchors, as hosts of git make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            text.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
        })
        .collect()
}

/// Where the links of a page point to, those of other sites left out.
fn links(page: &str) -> Vec<String> {
    let ends = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    ends.map(|(link, _)| link.to_owned()).filter(|link| !link.contains("://")).collect()
}

/// The path that a link on a page means.
fn target(page: &str, link: &str) -> (String, Option<String>) {
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (link, None),
    };
    if path.is_empty() {
        return (page.to_owned(), anchor);
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    (parts.join("/"), anchor)
}

/// What is wrong with the links of some pages, and which page none of them leads to.
fn broken_links(pages: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut reached = BTreeSet::from(["README.md".to_owned()]);
    for (page, text) in pages {
        for link in links(text) {
            let (path, anchor) = target(page, &link);
            match (pages.get(&path), anchor) {
                (None, _) => wrong.push(format!("{page}: {link} leads nowhere")),
                (Some(text), Some(anchor)) if !anchors(text).contains(&anchor) => {
                    wrong.push(format!("{page}: {link}: {path} has no such heading"));
                }
                (Some(_), _) => {}
            }
            if path != *page {
                reached.insert(path);
            }
        }
    }
    wrong.extend(
        pages.keys().filter(|page| !reached.contains(*page)).map(|page| format!("no link leads to {page}")),
    );
    wrong
}

/// The files that a block of YAML would be; nothing if it is of another kind.
fn files(block: &str) -> Option<BTreeMap<String, File>> {
    let mut files = BTreeMap::new();
    for (number, document) in block.split("\n---\n").enumerate() {
        let kind = document.lines().find_map(|line| line.strip_prefix("kind: "))?;
        let path = match kind {
            "Cluster" => {
                let name = document.split_once("name: ")?.1;
                let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '-')?;
                format!("desired-state/{}/cluster.yaml", &name[..end])
            }
            "MaintenanceWindow" | "Freeze" => format!("policies/{number}.yaml"),
            _ => return None,
        };
        files.insert(path, File::Text(format!("{document}\n")));
    }
    if !files.keys().any(|path| path.starts_with("desired-state/")) {
        files.insert("desired-state/companion/cluster.yaml".to_owned(), File::Text(COMPANION.to_owned()));
    }
    Some(files)
}

fn problems(files: &BTreeMap<String, File>) -> String {
    load(&CommitId("0123".repeat(10)), files).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn every_reason_has_an_entry_and_no_entry_is_of_another() {
    let page = read("docs/reference/reasons.md");
    let entries: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let keys: BTreeSet<&str> = Key::ALL.iter().map(|key| key.as_str()).collect();
    assert_eq!(entries, keys);
    let advice = page.matches("\n**What to do.** ").count();
    assert_eq!(advice, keys.len(), "every entry says what to do");
}

#[test]
fn every_example_is_valid() {
    let mut seen = 0;
    for (page, text) in pages() {
        for block in blocks(&text).iter().filter(|block| block.language == "yaml") {
            if let Some(files) = files(&block.text) {
                seen += 1;
                assert_eq!(problems(&files), "", "{page}:\n{}", block.text);
            }
        }
    }
    assert!(seen >= 4, "the pages have only {seen} examples");
}

#[test]
fn the_repository_of_this_project_is_valid() {
    let mut files = BTreeMap::new();
    for path in
        ["desired-state/demo/cluster.yaml", "policies/change-freeze.yaml", "policies/maintenance-window.yaml"]
    {
        files.insert(path.to_owned(), File::Text(read(path)));
    }
    assert_eq!(problems(&files), "");
}

#[test]
fn the_example_of_the_settings_is_valid() {
    let page = read("docs/reference/settings.md");
    let example = blocks(&page).into_iter().find(|block| block.language == "yaml").unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["token", "fleet.kubeconfig"] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    let path = folder.path().join("windlass.yaml");
    std::fs::write(&path, &example.text).unwrap();
    let repository = RepositoryFlags { config: Some(path), ..RepositoryFlags::default() };
    let flags = Flags { repository, ..Flags::default() };
    let config = Config::read(&flags, &Environment::default()).unwrap();
    assert_eq!(config.clusters.context("prod-eu"), "admin@prod-eu");
}

#[test]
fn every_command_and_every_flag_is_documented() {
    let page = read("docs/reference/cli.md");
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        assert!(page.contains(&format!("`{name}`")), "{name} has no entry");
        for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
            assert!(page.contains(&format!("--{flag}")), "{name} --{flag} is not documented");
        }
    }
}

#[test]
fn summaries_of_commands_and_flags_are_not_sentences() {
    for command in Cli::command().get_subcommands() {
        let flags = command.get_arguments().filter_map(|argument| argument.get_help());
        for summary in flags.chain(command.get_about()).map(ToString::to_string) {
            assert!(!summary.ends_with('.'), "{}: {summary}", command.get_name());
        }
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = read("Cargo.toml");
    let sections = manifest
        .split("\n[")
        .filter(|part| part.starts_with("dependencies]") || part.starts_with("dev-dependencies]"));
    let named = sections.flat_map(|part| part.lines().skip(1)).filter_map(|line| line.split_once(" = "));
    let named: BTreeSet<&str> = named.map(|(name, _)| name).collect();
    let page = read("docs/decisions/0002-dependencies.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")).filter_map(|row| row.split_once(" |"));
    let told: BTreeSet<&str> = rows
        .flat_map(|(names, _)| names.trim_end_matches(" (tests)").split(", "))
        .filter(|name| *name != "crate")
        .collect();
    assert_eq!(told, named);
}

#[test]
fn every_link_leads_somewhere_and_every_page_is_linked() {
    assert_eq!(broken_links(&pages()), [""; 0]);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "git and sh are found as everywhere; nothing else is taken over"
)]
fn the_quick_start_runs() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("windlass");
    std::os::unix::fs::symlink(root(), &project).unwrap();
    let page = read("docs/quickstart.md");
    let run: Vec<Block> = blocks(&page)
        .into_iter()
        .filter(|block| block.language == "sh" && !block.before.starts_with(NOT_RUN))
        .collect();
    assert!(run.len() >= 4, "the quick start has only {} blocks to run", run.len());
    let script: String = run.iter().map(|block| block.text.as_str()).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_windlass"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-eux", "-c", &script])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_NAME"), "Ada Example")))
        .envs(["AUTHOR", "COMMITTER"].map(|who| (format!("GIT_{who}_EMAIL"), "ada@example.com")))
        .output()
        .unwrap();
    let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{told}");
    assert!(out.contains("1 cluster, 2 policies: valid"), "{out}");
    assert!(out.contains("demo-anytime"), "{out}");
}

#[test]
fn blocks_are_found_with_what_stands_before_them() {
    let page = "text\n\n```sh\na\nb\n```\n\n<!-- not run here: x -->\n```sh\nc\n```\n";
    let block =
        |text: &str, before: &str| Block { language: "sh".into(), text: text.into(), before: before.into() };
    assert_eq!(blocks(page), [block("a\nb\n", "text"), block("c\n", "<!-- not run here: x -->")]);
}

#[test]
fn a_broken_link_is_found() {
    let page = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let good = [
        page("README.md", "[a](docs/a.md#a-b)"),
        page("docs/a.md", "# A b\n[up](../README.md) [x](https://x)"),
    ];
    assert_eq!(broken_links(&BTreeMap::from(good)), [""; 0]);
    for (text, wrong) in [
        ("[a](docs/a.md) [b](docs/b.md)", "README.md: docs/b.md leads nowhere"),
        ("[a](docs/a.md#c)", "README.md: docs/a.md#c: docs/a.md has no such heading"),
        ("none", "no link leads to docs/a.md"),
    ] {
        let pages = BTreeMap::from([page("README.md", text), page("docs/a.md", "# A b")]);
        assert_eq!(broken_links(&pages), [wrong]);
    }
}

#[test]
fn an_invalid_example_is_found() {
    let broken = COMPANION.replace("v1.36.3", "1.36");
    assert!(problems(&files(&broken).unwrap()).contains("1.36"));
    assert_eq!(files("kind: ClusterStatus\n"), None);
    assert!(
        problems(&files("apiVersion: windlass.dev/v1alpha1\nkind: Freeze\nspec: {}\n").unwrap())
            .contains("metadata")
    );
}
