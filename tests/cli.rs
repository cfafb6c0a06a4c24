//! What people type, from a shell's side: the built binary against a real repository and a simulated cluster on a
//! loopback port. The clock is real, so the cluster is small and quick, and no test waits for anything by sleeping.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use jiff::SignedDuration;
use serde_json::{Value, json};
use tempfile::TempDir;
use windlass::clock::Clock;
use windlass::model::decision::Gate;
use windlass::sim;

use crate::world;

/// A control plane that is there already, and workers that are not: as quick as an upgrade gets. A hosted one would
/// have to agree with itself for two minutes first.
const CLUSTER: &str = "apiVersion: windlass.dev/v1alpha1
kind: Cluster
metadata: {name: demo, labels: {ring: demo}}
spec:
  mode: act
  kubernetes: {version: v1.36.3}
  maxUnavailable: 2
  controlPlane:
    provider: kubeadm
    kubeadm: {image: windlass:0.1.0@sha256:b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184}
  nodePools:
    - {name: general, provider: kubeadm, selector: {matchLabels: {pool: general}}, canary: 0, maxUnavailable: 2}
";

const NOT_TAKEN_UP: &str = "demo: no daemon has accepted the newest commit yet";

/// A folder with a repository and a kubeconfig, and the cluster that they are about.
struct Bench {
    folder: TempDir,
    server: sim::Server,
    _runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (now, sleep) = Clock::machine().functions();
        let millis = SignedDuration::from_millis;
        let timings = sim::Timings {
            pod_start: millis(50),
            pod_termination: millis(50),
            job_run: millis(200),
            lease_renewal: millis(500),
            kubelet_restart: millis(200),
            ..sim::Timings::default()
        };
        let settings = sim::Settings {
            version: "v1.36.3".to_owned(),
            rules: world::rules(),
            timings,
            ..Default::default()
        };
        let server = sim::Server::new(sim::Cluster::new(settings, now()), now, sleep);
        let driving = server.clone();
        runtime.spawn(async move { driving.drive().await });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let listening = server.clone();
        runtime.spawn(async move { listening.listen(listener).await });
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        fs::write(folder.path().join("kube"), sim::kubeconfig(address, "demo")).unwrap();
        let bench = Self { folder, server, _runtime: runtime };
        bench.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cp1", "labels": {
            "node-role.kubernetes.io/control-plane": ""}}}));
        for (node, zone) in [("w1", "a"), ("w2", "b")] {
            bench.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {
                "pool": "general", "topology.kubernetes.io/zone": zone}},
                "status": {"nodeInfo": {"kubeletVersion": "v1.35.4"}}}));
        }
        bench.repository();
        bench
    }

    fn create(&self, object: Value) {
        self.server.with(|cluster, now| cluster.create(object, now).map(drop)).unwrap();
    }

    /// A bare repository `repo.git`, and a work tree `fleet` beside it with the same files.
    fn repository(&self) {
        let fleet = self.path("fleet");
        fs::create_dir_all(fleet.join("desired-state/demo")).unwrap();
        fs::create_dir_all(fleet.join("policies")).unwrap();
        fs::write(fleet.join("desired-state/demo/cluster.yaml"), CLUSTER).unwrap();
        fs::write(fleet.join("policies/window.yaml"), world::ALWAYS).unwrap();
        let mut options = git2::RepositoryInitOptions::new();
        let repo = git2::Repository::init_opts(&fleet, options.initial_head("trunk")).unwrap();
        let mut index = repo.index().unwrap();
        index.add_all(["."], git2::IndexAddOption::DEFAULT, None).unwrap();
        let tree = repo.find_tree(index.write_tree().unwrap()).unwrap();
        let who = git2::Signature::now("Ada Example", "ada@example.com").unwrap();
        repo.commit(Some("HEAD"), &who, &who, "demo: v1.36.3", &tree, &[]).unwrap();
        git2::build::RepoBuilder::new()
            .bare(true)
            .clone(&fleet.display().to_string(), &self.path("repo.git"))
            .unwrap();
    }

    /// Commits one file onto the branch of the bare repository.
    fn commit(&self, path: impl git2::IntoCString, text: &str) {
        let repo = git2::Repository::open(self.path("repo.git")).unwrap();
        let parent = repo.head().unwrap().peel_to_commit().unwrap();
        let mut update = git2::build::TreeUpdateBuilder::new();
        update.upsert(path, repo.blob(text.as_bytes()).unwrap(), git2::FileMode::Blob);
        let tree = repo.find_tree(update.create_updated(&repo, &parent.tree().unwrap()).unwrap()).unwrap();
        let who = git2::Signature::now("Ada Example", "ada@example.com").unwrap();
        repo.commit(Some("HEAD"), &who, &who, "a change", &tree, &[&parent]).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
        command.args(split(arguments)).current_dir(self.folder.path()).env_clear();
        command.env("HOME", self.folder.path()).env("USER", "ada");
        command
    }

    /// Runs a command to its end: its exit code, what it said, and what it said on the side.
    fn run(&self, arguments: &str) -> Said {
        let done = self.command(arguments).stdin(Stdio::null()).output().unwrap();
        Said::of(&done, self.folder.path())
    }
}

/// Words separated by spaces; single quotes hold some together.
fn split(arguments: &str) -> Vec<String> {
    let parts = arguments.split('\'').enumerate();
    parts
        .flat_map(|(number, part)| match number % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(done: &Output, folder: &Path) -> Self {
        let text = |bytes: &[u8]| normal(&String::from_utf8_lossy(bytes), folder);
        Self { code: done.status.code().unwrap_or(-1), out: text(&done.stdout), err: text(&done.stderr) }
    }

    /// The exit code, and every one of these lines somewhere on stdout.
    fn check(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        for part in parts {
            assert!(self.out.contains(part), "`{part}` is not in:\n{}\nstderr:\n{}", self.out, self.err);
        }
        self
    }

    fn complains(&self, part: &str) {
        assert_eq!(self.code, 1, "{}{}", self.out, self.err);
        assert!(self.err.contains(part), "`{part}` is not in:\n{}", self.err);
    }
}

/// Times, ids and the folder's name differ each time.
fn normal(text: &str, folder: &Path) -> String {
    let text = text.replace(&format!("{}/", folder.display()), "");
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        let hex = word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
        out.push_str(if hex { "COMMIT" } else { &word });
        word.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    times(&out)
}

/// `2026-11-23 12:00 UTC` as `TIME`.
fn times(text: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in text.split(' ') {
        let dated =
            word.len() >= 10 && word.as_bytes()[4] == b'-' && word[..4].bytes().all(|b| b.is_ascii_digit());
        match words.last() {
            _ if dated => words.push("TIME"),
            Some(&"TIME") if word.len() == 5 && word.contains(':') => {}
            _ => words.push(word),
        }
    }
    words.join(" ").replace("TIME UTC", "TIME")
}

const PLACES: &str = "--repo repo.git --kubeconfig kube";

#[test]
fn one_upgrade_as_people_see_it() {
    let bench = Bench::new();
    let run = |line: &str| bench.run(&line.replace("PLACES", PLACES));

    files_are_checked(&bench);
    run("plan PLACES --show-scripts")
        .check(2, &["1 hop, 2 nodes", "general      2 nodes  at most 2 at once", "kubeadm upgrade node"]);
    run("plan PLACES --show-scripts -o json")
        .check(2, &["\"title\": \"v1.36.3: kubelet of a worker\",\n      \"text\": \"#!/bin/sh"]);
    run("why --repo repo.git").check(
        3,
        &[
            "no daemon has accepted the newest commit yet",
            "git and the record alone (no kubeconfig is named)",
        ],
    );
    run("why PLACES").check(
        3,
        &[
            "demo: no daemon has accepted the newest commit yet; git asks for v1.36.3 (commit COMMIT)",
            "passes  plan      cluster/demo",
        ],
    );

    stopped_and_resumed(&bench);
    let done = run("daemon PLACES --until-idle");
    done.check(0, &[]);
    for part in ["before=", "started w1", "started w2", "ended converged"] {
        assert!(done.err.contains(part), "`{part}` is not in:\n{}", done.err);
    }
    run("status --repo repo.git").check(0, &["demo: as desired", "last run   COMMIT-1 converged TIME"]);
    run("history --repo repo.git").check(0, &["CLUSTER  RUN", "converged  2      0          0"]);
    run("why PLACES").check(0, &["demo: as desired; git asks for v1.36.3 (commit COMMIT)"]);
    run("why demo --repo repo.git -o json").check(0, &["\"standing\": \"asDesired\"", "\"looked\": false"]);
    run("plan PLACES").check(0, &["demo  v1.36.3  nothing to do"]);
    let runs: Value =
        serde_json::from_slice(&bench.command("history --repo repo.git -o json").output().unwrap().stdout)
            .unwrap();
    let story = run(&format!("history --repo repo.git --run {}", runs[0]["run"].as_str().unwrap()));
    story.check(0, &["demo: w1 upgraded to v1.36.3"]);
    run("history --repo repo.git --run x").complains("there is no run x; the runs are: COMMIT-1");

    // With nothing to do every gate is there all the same.
    let why = run("why PLACES");
    for gate in Gate::ALL {
        let gate = json!(gate);
        let row = format!("passes  {:<8}  ", gate.as_str().unwrap());
        assert!(why.out.contains(&row), "`{row}` is not in:\n{}", why.out);
    }
    why.check(0, &["passes  budget    cluster/demo                      nothing objects"]);
    let dead = "status --repo repo.git --kubeconfig kube";
    run(dead).check(0, &["daemon     no daemon holds the lease"]);
    bench.commit("desired-state/demo/cluster.yaml", &CLUSTER.replace("v1.36.3", "v1.36.4"));
    run("status --repo repo.git").check(
        3,
        &[NOT_TAKEN_UP, "newest     commit COMMIT asks for v1.36.4: no daemon has accepted it yet"],
    );
    bench.commit("desired-state/demo/cluster.yaml", "nonsense\n");
    run("status --repo repo.git").check(4, &["demo: the newest commit is not valid"]);
    for places in [PLACES, "--repo repo.git"] {
        run(&format!("why {places}"))
            .check(4, &["demo: the newest commit COMMIT is refused; v1.36.3 stays in force (commit COMMIT)"]);
        let page = bench.command(&format!("why {places} -o json")).output().unwrap().stdout;
        let page: Value = serde_json::from_slice(&page).unwrap();
        assert_eq!(page["refused"], page["newest"]);
        assert_ne!(page["accepted"], page["newest"]);
    }
    bench.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w9", "annotations": {
        "windlass.dev/hold": "disk"}}}));
    run(dead).check(4, &["people     1 node is held or cordoned by people: w9 (held: disk)"]);
}

/// What reads no cluster: the files on the disk, or those of a repository.
fn files_are_checked(bench: &Bench) {
    let run = |line: &str| bench.run(line);
    for line in ["validate fleet", "validate fleet --rev trunk"] {
        run(line).check(0, &["1 cluster, 1 policy: valid"]);
    }
    run("validate --repo repo.git").check(0, &["1 cluster, 1 policy: valid"]);
    run("validate fleet --repo repo.git").complains("cannot be used with");
    for line in
        ["windows --repo fleet --rev trunk", "windows demo --repo repo.git", "windows demo --path fleet"]
    {
        run(line).check(0, &["demo     always  always  never   UTC   always"]);
    }
    run("windows demos --repo repo.git")
        .complains("the desired state has no cluster demos (did you mean demo?)");
    run("windows fleet --repo repo.git").complains("for a folder write `--repo fleet`");
    let mut inside = bench.command("validate demo");
    let done = inside.current_dir(bench.path("fleet")).output().unwrap();
    Said::of(&done, bench.folder.path())
        .complains("demo is a cluster, and `windlass validate` takes a folder");
}

fn stopped_and_resumed(bench: &Bench) {
    let run = |line: &str| bench.run(&line.replace("PLACES", PLACES));
    // Stopping is idempotent and needs no daemon; what follows changes nothing.
    for _ in 0..2 {
        run("stop demo --reason 'a look around' --kubeconfig kube")
            .check(0, &["demo is stopped: a look around"]);
    }
    let stopped = run("daemon PLACES --until-idle");
    stopped.check(3, &[]);
    assert!(stopped.err.contains("stopped by ada@"), "{}", stopped.err);
    run("status --repo repo.git").check(3, &["demo: stopped, until `windlass resume`"]);
    for line in ["why PLACES", "why demo --repo repo.git"] {
        run(line).check(
            3,
            &[
                "demo: stopped, until `windlass resume`; git asks for",
                "denies  stop ",
                "TIME  when a person acts  stopped",
            ],
        );
    }
    run("resume demo --reason done --kubeconfig kube")
        .check(0, &["demo is no longer stopped: done", "A running daemon goes on at once"]);
    run("resume demo --reason done --kubeconfig kube")
        .check(0, &["the resume is sent to demo: done", "demo was not stopped."]);
}

#[test]
fn a_record_in_its_own_repository_needs_no_other_branch() {
    let bench = Bench::new();
    git2::Repository::init_bare(bench.path("record.git")).unwrap();
    for places in
        ["--repo record.git", "--repo repo.git --record-repo record.git", "--record-repo record.git"]
    {
        let compares = places.contains("repo.git");
        let told = if compares { NOT_TAKEN_UP } else { "no cluster has a record yet" };
        bench.run(&format!("status {places}")).check(3, &[told]);
        bench
            .run(&format!("history {places}"))
            .check(3, &["there is no record on branch windlass/status of record.git yet"]);
    }
    bench.run("stop demo --reason 'a look around' --kubeconfig kube").check(0, &[]);
    bench.run(&format!("daemon {PLACES} --record-repo record.git --until-idle")).check(3, &[]);
    let clone = bench.path("clone").display().to_string();
    git2::Repository::clone(&bench.path("record.git").display().to_string(), clone).unwrap();
    for places in ["--repo record.git", "--repo repo.git --record-repo record.git", "--repo clone"] {
        bench.run(&format!("status {places}")).check(3, &["demo: stopped, until `windlass resume`"]);
        bench.run(&format!("history {places}")).check(0, &["no run is recorded"]);
    }
    bench.run("status --repo repo.git").check(3, &[NOT_TAKEN_UP]);
    bench.run("status --repo repo.git --record-branch nope").complains("the repository has no branch nope");
    bench.run("status --repo repo.git --path nope").complains("check --branch and --path");
    bench.run("history --repo repo.git --record-branch nope").complains("the repository has no branch nope");
    bench.run("history --repo repo.git --branch nope").complains("has no branch \"nope\"; it has trunk");
    bench.run("status --repo repo.git --record-repo gone").complains("opening the repository at gone");
}

#[test]
fn a_proxy_in_the_environment_does_not_count() {
    let bench = Bench::new();
    let mut plan = bench.command(&format!("plan {PLACES}"));
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
        plan.env(name, "http://127.0.0.1:1");
    }
    Said::of(&plan.output().unwrap(), bench.folder.path()).check(2, &["1 hop, 2 nodes"]);
}

#[test]
fn mistakes_are_told_with_their_remedy() {
    let bench = Bench::new();
    for (line, told) in [
        ("why dem --repo repo.git", "the repository has no cluster dem (did you mean demo?); it has demo"),
        ("plan prod PLACES", "the repository has no cluster prod; it has demo"),
        ("status prod --repo repo.git", "the record has no cluster prod; it has none yet"),
        ("plan --repo repo.git", "no kubeconfig is named: pass --kubeconfig, or set KUBECONFIG"),
        ("plan PLACES --rev nowhere", "looking for the revision nowhere: there is no commit"),
        (
            "plan PLACES --context kind",
            "kubeconfig kube has no context `kind` for this cluster; it has: demo. Name the context like the cluster, \
             map it under `contexts` in the settings file, or give a command `--context NAME`",
        ),
        (
            "stop prod --reason x --kubeconfig kube",
            "kubeconfig kube has no context `prod` for this cluster; it has: demo",
        ),
        ("stop demo --reason ' ' --kubeconfig kube", "--reason is empty"),
        ("status --repo gone", "opening the repository at gone"),
        ("daemon --kubeconfig kube", "no repository is named: pass --repo"),
        ("daemon --repo repo.git --until-idle", "no kubeconfig is named: pass --kubeconfig"),
        ("daemon PLACES --branch main --until-idle", "has no branch \"main\"; it has trunk"),
        (
            "daemon PLACES --path elsewhere --until-idle",
            "there is no cluster below elsewhere/desired-state/ on branch trunk",
        ),
        ("daemon PLACES --poll soon", "--poll `soon` is no length of time"),
        ("daemon PLACES --config gone.yaml", "--config gone.yaml cannot be read"),
        ("windows", "there is no valid cluster below desired-state/ (1 problem)"),
        (
            "windows repo.git",
            "the desired state has no cluster repo.git; it has none yet; for a folder write `--repo",
        ),
        ("bogus", "unrecognized subcommand"),
    ] {
        let said = bench.run(&line.replace("PLACES", PLACES));
        assert!(
            said.code == 1 && said.err.contains(told),
            "{line}\n[{}] {}{}",
            said.code,
            said.out,
            said.err
        );
    }
    bench.commit(b"desired-state/l\xe4nder/cluster.yaml".as_slice(), CLUSTER);
    bench.run("validate repo.git --rev trunk").check(1, &["desired-state/l\u{fffd}nder: the folder's name"]);
    bench.run("--version").check(0, &["windlass "]);
    bench.run("daemon --help").check(0, &["poll, cache, image, logFormat,"]);
    bench.run("demo --help").check(0, &["Examples:\n  windlass demo\n"]);
    bench
        .run("--help")
        .check(0, &["daemon    Follow a repository", "Exit codes: 0 done or as desired, 1 an error"]);
}

#[test]
fn a_change_to_a_policy_is_planned_for_every_cluster() {
    let bench = Bench::new();
    let run = |line: &str| bench.run(&line.replace("PLACES", PLACES));
    run("plan --all PLACES").check(2, &["demo  v1.35.4 → v1.36.3", "1 hop, 2 nodes"]);
    bench.commit("desired-state/other/cluster.yaml", &CLUSTER.replace("name: demo", "name: other"));
    run("plan PLACES").complains("describes several clusters; name some of demo, other, or pass --all");
    run("plan demo third PLACES").complains("no cluster third");
    run("plan --all --context demo PLACES").complains("cannot be used with");
    run("plan demo other --context demo PLACES").complains("names the context of one cluster");
    // The kubeconfig has no context for the second cluster: the first one has its plan all the same.
    let both = run("plan --all PLACES");
    both.check(1, &["demo  v1.35.4 → v1.36.3", "other  no plan could be made\n  ", "has no context `other`"]);
    run("plan other demo PLACES -o markdown")
        .check(1, &["### `other`: no plan could be made\n\n    ", "### `demo`"]);
    let plans: Value = serde_json::from_slice(
        &bench.command(&format!("plan --all {PLACES} -o json")).output().unwrap().stdout,
    )
    .unwrap();
    assert_eq!((&plans[0]["plan"]["cluster"], &plans[1]["cluster"]), (&json!("demo"), &json!("other")));
    assert!(plans[1]["error"].as_str().unwrap().contains("has no context `other`"), "{plans:#}");
}

#[test]
fn why_says_when_a_closed_window_opens() {
    let bench = Bench::new();
    let day = (Clock::machine().now() + SignedDuration::from_hours(72)).strftime("%a");
    bench.commit(
        "policies/window.yaml",
        &format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: MaintenanceWindow\nmetadata: {{name: nights}}\n\
             spec: {{clusters: {{}}, timeZone: UTC, opens: [{{days: [{day}], at: \"22:00\", for: 2h}}]}}\n"
        ),
    );
    for places in [PLACES, "--repo repo.git"] {
        let said = bench.run(&format!("why {places}"));
        said.check(
            3,
            &["waits   window ", "window/nights", "nights opens at", "Everything could pass at TIME."],
        );
    }
    let said = bench.run(&format!("daemon {PLACES} --until-idle"));
    said.check(3, &[]);
    bench.run("status --repo repo.git").check(3, &["demo: waiting", "no maintenance window is open"]);
    bench.run("why --repo repo.git").check(3, &["demo: waiting", "waits   window   window/nights  TIME"]);
}

/// A daemon on a settings file, with a cluster that it cannot reach beside one that it can.
#[test]
fn a_daemon_serves_the_others_and_ends_in_order() {
    let bench = Bench::new();
    bench.commit("desired-state/lost/cluster.yaml", &CLUSTER.replace("name: demo", "name: lost"));
    fs::write(bench.path("windlass.yaml"), "repo: ./repo.git\nkubeconfig: kube\ncache: cache\npoll: 5m\n")
        .unwrap();
    let mut daemon = bench.command("daemon --config windlass.yaml").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut expected = vec!["cannot be served yet; trying again: kubeconfig", "started w1"];
    while !expected.is_empty() {
        let line = lines.next().expect("the daemon goes on");
        expected.retain(|part| !line.contains(part));
    }
    // A push is seen without a poll: the repository is local.
    bench.commit("desired-state/demo/cluster.yaml", "nonsense\n");
    assert!(lines.by_ref().any(|line| line.contains("refused commit")));
    let killed = Command::new("kill").arg("-TERM").arg(daemon.id().to_string()).status().unwrap();
    assert!(killed.success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(daemon.wait().unwrap().code(), Some(0), "{rest:#?}");
    assert!(rest.iter().any(|line| line.contains("shutting down; no new work will start")), "{rest:#?}");
    bench.run("status demo --repo repo.git").check(4, &["refused", "desired    v1.36.3"]);
}

#[test]
fn a_plan_leaves_out_what_waits_for_nodes_that_people_keep_out() {
    let bench = Bench::new();
    for (node, more) in [
        ("w3", json!({"metadata": {"annotations": {"windlass.dev/hold": "its disk"}}})),
        ("w4", json!({"spec": {"unschedulable": true}})),
    ] {
        let mut object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {"pool": "general"}},
            "status": {"nodeInfo": {"kubeletVersion": "v1.35.4"}}});
        json_patch::merge(&mut object, &more);
        bench.create(object);
    }
    bench.run("plan --repo fleet --kubeconfig kube").check(
        2,
        &[
            "0 of 4 nodes",
            "held",
            "foreignCordon",
            "at most 2 of its 4 nodes may be out at once; out already: w3 and w4",
        ],
    );
}

/// A marker in every secret of a kubeconfig: what is printed, logged at any level and recorded has none of them.
#[test]
fn no_secret_of_a_kubeconfig_is_printed_logged_or_recorded() {
    const MARKER: &str = "hunter2hunter2";
    const EXEC: &str = "apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never";
    let bench = Bench::new();
    let kube = fs::read_to_string(bench.path("kube")).unwrap();
    let server = kube.split_whitespace().map(|word| word.trim_matches(|c| "\"'{},".contains(c)));
    let server = server.into_iter().find_map(|word| word.strip_prefix("http://")).unwrap();
    // Over a plain line no credentials would be sent.
    let encrypted = crate::encrypted::encrypted(server);
    let granted = "echo '{\\\"apiVersion\\\":\\\"client.authentication.k8s.io/v1\\\",\\\"status\\\":{\\\"token\\\":\\\"'$S'\\\"}}'";
    let exec = |script: &str| {
        format!(
            "exec: {{{EXEC}, command: /bin/sh, args: ['-c', \"{script}\", {MARKER}], env: [{{name: S, value: {MARKER}}}]}}"
        )
    };
    fs::write(bench.path("token"), MARKER).unwrap();
    let users = [
        format!("token: {MARKER}"),
        "tokenFile: token".to_owned(),
        format!("username: ada, password: {MARKER}"),
        exec(granted),
        exec("echo $S $0 >&2; exit 1"),
        exec("echo $S"),
        format!("token: \"{MARKER}\\n\""),
        format!("token: [{MARKER}]"),
        format!("client-certificate-data: {MARKER}, client-key-data: {MARKER}"),
        format!("auth-provider: {{name: oidc, config: {{client-secret: {MARKER}}}}}"),
    ];
    let mut shown = String::new();
    for (user, cluster) in users
        .iter()
        .map(|user| (user.as_str(), format!("server: '{encrypted}', insecure-skip-tls-verify: true")))
        .chain([("", format!("server: 'https://127.0.0.1:1', proxy-url: 'http://u:{MARKER}@127.0.0.1:1'"))])
    {
        let text = format!(
            "clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
             contexts: [{{name: demo, context: {{cluster: k, user: u}}}}]\n"
        );
        fs::write(bench.path("secrets"), text).unwrap();
        let mut command = bench.command("plan --repo fleet --kubeconfig secrets");
        let done = command.env("RUST_LOG", "trace").stdin(Stdio::null()).output().unwrap();
        for part in [done.stdout, done.stderr] {
            let part = String::from_utf8_lossy(&part).into_owned();
            let line = part.lines().find(|line| line.contains(MARKER));
            assert_eq!(line, None, "{user} / {cluster}");
            shown.push_str(&part);
        }
    }
    assert!(shown.contains("ended with exit status: 1, and said: (hidden) (hidden)"), "{shown}");
    // A whole upgrade with a token, its log at the finest level, and everything that it wrote to the repository.
    let cluster = format!("server: '{encrypted}', insecure-skip-tls-verify: true");
    fs::write(
        bench.path("secrets"),
        format!(
            "clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{token: {MARKER}}}}}]\n\
             contexts: [{{name: demo, context: {{cluster: k, user: u}}}}]\n"
        ),
    )
    .unwrap();
    let mut daemon = bench.command("daemon --repo repo.git --kubeconfig secrets --until-idle");
    let done = daemon.env("RUST_LOG", "trace").stdin(Stdio::null()).output().unwrap();
    let log = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{}", log.lines().last().unwrap_or_default());
    assert!(log.contains("started w1") && !log.contains(MARKER));
    let record =
        Command::new("git").args(["log", "-p", "--all"]).current_dir(bench.path("repo.git")).output();
    let record = String::from_utf8_lossy(&record.unwrap().stdout).into_owned();
    assert!(record.contains("w1") && !record.contains(MARKER));
}
