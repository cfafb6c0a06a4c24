//! What the whole daemon keeps in memory: `cargo bench --bench resident`.
//!
//! The daemon is the program itself, in a process of its own. It reaches a simulated API server over TLS, which is another
//! process too, and a repository over HTTP. It is measured at rest, and while it drains a tenth of the nodes. Pods are
//! as large as real ones: with environments, probes, mounts and the fields that API servers keep for each manager.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark is a test to us, and a program to the compiler"
)]
#![expect(clippy::disallowed_methods, reason = "another process is measured, in running time")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use windlass::clock::Clock;

#[path = "resident/crowd.rs"]
mod crowd;
#[path = "../../daemon/git/tests/http_backend.rs"]
#[expect(
    clippy::expect_used,
    dead_code,
    reason = "it serves the unit tests of `git` too, which order more faults"
)]
mod http_backend;
#[path = "resident/line.rs"]
mod tls;
#[path = "../world.rs"]
#[expect(dead_code, reason = "the world of the tests offers more than a benchmark needs")]
mod world;

use world::{ALWAYS, cluster_yaml, commit};

/// What the nodes are to run, and what they run before.
const GOAL: &str = "v1.36.3";
const OLD: &str = "v1.35.4";

/// How long the daemon is measured, from its start.
const AT_REST: Duration = Duration::from_secs(45);
const IN_A_RUN: Duration = Duration::from_mins(2);
/// How long the simulated cluster may take to be there.
const PATIENCE: jiff::SignedDuration = jiff::SignedDuration::from_mins(15);

const POOL: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 10%, drain: {deleteEmptyDirData: true}}
";

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let Some(at) = words.iter().position(|word| word == "serve") {
        return tls::serve(Path::new(&words[at + 1]), words[at + 2].parse().unwrap(), &words[at + 3]);
    }
    let all = [("at rest", 100, GOAL, AT_REST), ("in a run", 1_000, OLD, IN_A_RUN)];
    println!(
        "| | nodes | pods | evictions | peak | at the end | of it heap and stacks | of it files |\n\
         |---|---|---|---|---|---|---|---|"
    );
    for (name, nodes, kubelets, length) in all {
        if words.iter().all(|word| word.parse::<usize>().is_err() || *word == nodes.to_string()) {
            measure(name, nodes, kubelets, length);
        }
    }
}

fn measure(name: &str, nodes: usize, kubelets: &str, length: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).initial_head("main");
    let repository = git2::Repository::init_opts(path.join("origin.git"), &options).unwrap();
    repository.config().unwrap().set_bool("http.receivepack", true).unwrap();
    let desired = cluster_yaml(GOAL, POOL);
    let files: &[(&str, Option<&str>)] =
        &[("desired-state/demo/cluster.yaml", Some(&desired)), ("policies/window.yaml", Some(ALWAYS))];
    commit(&path.join("origin.git"), Clock::machine().now(), files, "demo");
    let git = http_backend::Server::start(path);
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg("serve")
        .args([path.as_os_str(), nodes.to_string().as_ref(), kubelets.as_ref()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let clock = Clock::machine();
    let began = clock.now();
    while !path.join("kubeconfig").exists() {
        assert!(
            clock.now().duration_since(began) < PATIENCE && server.try_wait().unwrap().is_none(),
            "no API server"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut daemon = daemon(path, &git.url());
    std::thread::sleep(length);
    assert!(daemon.try_wait().unwrap().is_none(), "the daemon has ended: {}", log(path));
    let [peak, now, heap, files] =
        ["VmHWM:", "VmRSS:", "RssAnon:", "RssFile:"].map(|line| memory(daemon.id(), line) >> 20);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // It answers the end of its input with what it has seen.
    drop(server.stdin.take());
    let mut evictions = String::new();
    server.stdout.take().unwrap().read_to_string(&mut evictions).unwrap();
    server.wait().unwrap();
    println!(
        "| {name} | {nodes} | {} | {} | {peak} MiB | {now} MiB | {heap} MiB | {files} MiB |",
        nodes * crowd::PODS_PER_NODE,
        evictions.trim()
    );
    std::io::stdout().flush().unwrap();
}

fn daemon(folder: &Path, repository: &str) -> Child {
    let log = std::fs::File::create(folder.join("daemon.log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
    command.args(["daemon", "--repo", repository]);
    command.arg("--kubeconfig").arg(folder.join("kubeconfig")).arg("--cache").arg(folder.join("cache"));
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap()
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("daemon.log")).unwrap()
}

/// Bytes, from the system's own books about a process.
fn memory(process: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
