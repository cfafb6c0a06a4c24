//! A whole world in one builder: a simulated cluster, a real git repository, a clock that only the test moves.

#[path = "world/fixtures.rs"]
pub mod fixtures;
#[path = "world/helm.rs"]
pub mod helm;
#[path = "world/line.rs"]
pub mod line;
#[path = "world/pace.rs"]
pub mod pace;
#[path = "world/process.rs"]
pub mod process;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use windlass::clock::Clock;
use windlass::cluster::{ClusterApi, HelmProgram};
use windlass::execute::{Edges, Fence, Open, Watcher, When};
use windlass::git::{self, Author, Credentials, Repository};
use windlass::model::names::OUTDATED;
use windlass::model::state::Identity;
use windlass::record::{self, Record};
use windlass::serve::wanted::Known;
use windlass::serve::{End, Keeper, Links, LoopSettings, Opened, ServedUids, Watching, drive, open_now};
use windlass::sim;
use windlass::view::cluster::View;

pub const CLUSTER: &str = "demo";

/// Monday noon; no policy of the tests cares unless it says so.
pub fn noon() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

pub struct World {
    pub server: sim::Server,
    pub clock: Clock,
    pub folder: TempDir,
    /// Where the daemon finds the repository, if not by its path.
    pub url: Option<String>,
    /// How slow the host of the repository is with pushes.
    pub pace: pace::Pace,
    /// How often the repository is asked whether it has moved.
    pub poll: SignedDuration,
    /// What lies between the processes and the API server, if something does.
    pub line: Option<line::Line>,
    /// The program that moves releases.
    pub helm: Arc<helm::FakeHelm>,
    /// What watches beside the loops of the processes.
    pub watcher: Option<Arc<dyn Watcher>>,
    processes: u32,
    /// What each process shows, or showed last.
    views: Vec<watch::Receiver<View>>,
    driver: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.driver.abort();
        if !std::thread::panicking() {
            self.assert_no_pass_was_withheld();
        }
    }
}

/// What our upgrade Jobs do to a simulated node, as data: the simulator knows nothing of us.
pub fn rules() -> Vec<sim::UpgradeRule> {
    let rule = |component: &str, effect| sim::UpgradeRule {
        pod_selector: BTreeMap::from([("windlass.dev/component".to_owned(), component.to_owned())]),
        version_label: "windlass.dev/target-version".to_owned(),
        effect,
    };
    vec![rule("kubelet", sim::Effect::Kubelet), rule("control-plane", sim::Effect::ControlPlane)]
}

impl World {
    /// An empty cluster at v1.35.4 and an empty repository. Needs a paused runtime.
    pub fn new() -> Self {
        Self::at("v1.35.4")
    }

    /// An empty cluster at another version.
    pub fn at(version: &str) -> Self {
        let version = version.to_owned();
        Self::with(sim::Settings { version, rules: rules(), ..sim::Settings::default() })
    }

    pub fn with(settings: sim::Settings) -> Self {
        let clock = Clock::starting_at(noon(), 1);
        let (now, sleep) = clock.functions();
        let server = sim::Server::new(sim::Cluster::new(settings, noon()), now, sleep);
        let driving = server.clone();
        let driver = tokio::spawn(async move { driving.drive().await });
        let folder = quick_folder();
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).initial_head("main");
        git2::Repository::init_opts(folder.path().join("origin.git"), &options).unwrap();
        Self {
            helm: helm::FakeHelm::new(server.clone(), clock.clone()),
            server,
            clock,
            folder,
            url: None,
            pace: pace::Pace::default(),
            poll: SignedDuration::from_secs(5),
            line: None,
            watcher: None,
            processes: 0,
            views: Vec::new(),
            driver,
        }
    }

    pub fn repo(&self) -> PathBuf {
        self.folder.path().join("origin.git")
    }

    pub fn create(&self, object: Value) -> &Self {
        self.server.with(|cluster, now| cluster.create(object, now).map(drop)).unwrap();
        self
    }

    pub fn control_plane(&self, count: u32) -> &Self {
        for n in 1..=count {
            self.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("cp{n}"), "labels": {
                "node-role.kubernetes.io/control-plane": "", "topology.kubernetes.io/zone": format!("z{n}")}},
                "spec": {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}}));
        }
        self
    }

    pub fn workers(&self, pool: &str, count: u32) -> &Self {
        for n in 1..=count {
            self.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("{pool}{n}"), "labels": {
                "pool": pool, "topology.kubernetes.io/zone": format!("z{}", n % 3 + 1)}}}));
        }
        self
    }

    pub fn deployment(&self, name: &str, replicas: u32) -> &Self {
        self.create(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "app:1"}]}}}}))
    }

    pub fn budget(&self, name: &str, spec: Value) -> &Self {
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"app": name}});
        self.create(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": "default"}, "spec": spec}))
    }

    /// Lets the cluster live for a while.
    pub async fn pass(&self, length: SignedDuration) {
        self.clock.sleep(length).await;
    }

    /// Commits files onto main; `None` removes one.
    pub fn commit(&self, files: &[(&str, Option<&str>)], message: &str) -> String {
        commit(&self.repo(), self.clock.now(), files, message)
    }

    /// The usual desired state at one version, with an always open window.
    pub fn desire(&self, version: &str) -> String {
        self.desire_with(version, "")
    }

    /// The same, with more keys under `spec`.
    pub fn desire_with(&self, version: &str, more: &str) -> String {
        self.desire_within(ALWAYS, &cluster_yaml(version, more))
    }

    /// A desired state of the test's own, and the window in which it may come true.
    pub fn desire_within(&self, window: &str, cluster: &str) -> String {
        self.commit(
            &[("desired-state/demo/cluster.yaml", Some(cluster)), ("policies/window.yaml", Some(window))],
            "demo",
        )
    }

    /// Runs one process until nothing goes on by itself.
    pub async fn run(&mut self) -> End {
        self.run_fenced(Arc::new(Open)).await
    }

    pub async fn run_fenced(&mut self, fence: Arc<dyn Fence>) -> End {
        self.process(fence, true, watch::channel(false).1).await
    }

    /// One process from its start to its end, as the daemon wires it.
    pub async fn process(
        &mut self,
        fence: Arc<dyn Fence>,
        until_idle: bool,
        ending: watch::Receiver<bool>,
    ) -> End {
        let end = self.prepare(fence, until_idle, ending, watch::Sender::new(View::new(CLUSTER))).await;
        self.assert_no_pass_was_withheld();
        end
    }

    /// The same, to be spawned beside a test that acts meanwhile.
    pub fn prepare(
        &mut self,
        fence: Arc<dyn Fence>,
        until_idle: bool,
        ending: watch::Receiver<bool>,
        view: watch::Sender<View>,
    ) -> impl Future<Output = End> + Send + use<> {
        let before = (1..=self.processes).map(|number| format!("process-{number}")).collect();
        self.processes += 1;
        let me = Identity {
            cluster: CLUSTER.to_owned(),
            holder: format!("process-{}", self.processes),
            predecessors: before,
            twin: None,
        };
        let Opened { repository, tip, mut records } = open_now(self.repository("cache"), "", None).unwrap();
        let record = records.remove(CLUSTER).map(Result::unwrap).unwrap_or_default();
        let accepted =
            record.accepted.iter().map(|(commit, _)| (CLUSTER.to_owned(), commit.0.clone())).collect();
        let work = record.run.iter().map(|_| CLUSTER.to_owned()).collect();
        let known = Known::new(accepted).with_work(work);
        let watching = Watching { path: String::new(), poll: self.poll };
        self.views.push(view.subscribe());
        let (keeper, wires) = Keeper::new(repository, self.clock.clone(), watching, tip, known);
        let edges = Edges::new(self.cluster(), self.clock.clone());
        let edges = self.watcher.iter().cloned().fold(edges, Edges::with_watcher);
        let journal = pace::journal(wires.journal, self.pace, self.clock.clone());
        let links = Links { wanted: wires.wanted, journal, ending };
        let settings = LoopSettings { me, until_idle, served: ServedUids::default(), view };
        async move {
            let keeper = tokio::spawn(keeper.run());
            let end = drive(edges, fence, links, settings, record).await;
            // A killed process takes its writer along; here the writer is let finish the call in hand.
            keeper.await.unwrap();
            end
        }
    }

    pub fn cluster(&self) -> ClusterApi {
        let direct = || kube::Client::new(self.server.router(), "default");
        let cluster = ClusterApi::over(self.line.as_ref().map_or_else(direct, line::Line::client));
        cluster.with_helm(Arc::clone(&self.helm) as Arc<dyn HelmProgram>)
    }

    /// The repository as a process with a cache folder of this name finds it.
    pub fn repository(&self, cache: &str) -> git::Settings {
        git::Settings {
            url: self.url.clone().unwrap_or_else(|| self.repo().display().to_string()),
            branch: "main".to_owned(),
            record_url: None,
            record_branch: "windlass/status".to_owned(),
            cache: self.folder.path().join(cache),
            credentials: Credentials::default(),
            author: Author { name: "windlass".to_owned(), email: "windlass@example.com".to_owned() },
            timeout: std::time::Duration::from_secs(10),
        }
    }

    pub fn open(&self, cache: &str) -> (Repository, Record, Option<git::CommitHash>) {
        let mut repository = Repository::open(self.repository(cache)).unwrap();
        let tips = repository.fetch().unwrap();
        let files = tips.record.map(|tip| repository.read_record(&tip, CLUSTER).unwrap()).unwrap_or_default();
        let record = record::read(CLUSTER, &files).unwrap();
        (repository, record, tips.record)
    }

    pub fn record(&self) -> Record {
        self.open("look").1
    }

    /// The status branch's files.
    pub fn record_files(&self) -> BTreeMap<String, String> {
        let (repository, _, tip) = self.open("look");
        tip.map(|tip| repository.read_record(&tip, CLUSTER).unwrap()).unwrap_or_default()
    }

    /// Subjects of the status branch, oldest first.
    pub fn log(&self) -> Vec<String> {
        let (repository, _, tip) = self.open("look");
        let log = tip.map(|tip| repository.log(&tip, 10_000).unwrap()).unwrap_or_default();
        log.iter().rev().map(|commit| commit.subject().to_owned()).collect()
    }

    /// Every node: version, schedulable, whether it has a claim or the taint of nodes that wait.
    pub fn nodes(&self) -> Vec<(String, String, bool, bool)> {
        self.list("/api/v1/nodes")
            .iter()
            .map(|node| {
                let text = |pointer: &str| {
                    node.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
                };
                let schedulable = node.pointer("/spec/unschedulable").and_then(Value::as_bool) != Some(true);
                let claimed = node.pointer("/metadata/annotations/windlass.dev~1claim").is_some();
                let taints = node.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten();
                let ours = claimed || taints.into_iter().any(|taint| taint["key"] == OUTDATED);
                (text("/metadata/name"), text("/status/nodeInfo/kubeletVersion"), schedulable, ours)
            })
            .collect()
    }

    pub fn list(&self, path: &str) -> Vec<Value> {
        let request = http::Request::get(path).body(bytes::Bytes::new()).unwrap();
        let answer = self.server.with(|cluster, now| cluster.handle(request, now));
        let sim::Body::Full(body) = answer.body else { panic!("a list is no stream") };
        let list: Value = serde_json::from_slice(&body).unwrap();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Applies a `ConfigMap` by server-side apply as another manager, over whatever others have.
    pub fn apply_as(&self, manager: &str, object: &Value) {
        let text = |key: &str| object["metadata"][key].as_str().unwrap();
        let path = format!(
            "/api/v1/namespaces/{}/configmaps/{}?fieldManager={manager}&force=true",
            text("namespace"),
            text("name")
        );
        let request = http::Request::patch(path).header("content-type", "application/apply-patch+yaml");
        let request = request.body(bytes::Bytes::from(object.to_string())).unwrap();
        let answer = self.server.with(|cluster, now| cluster.handle(request, now));
        assert!(answer.status.is_success(), "{}", answer.status);
    }

    /// Everything that must be true of the cluster whatever happened: budgets kept, evictions guarded.
    pub fn assert_invariants(&self) {
        self.server.with(|cluster, _| {
            assert_eq!(cluster.breaches(), [], "no budget is ever breached");
            let mut accepted = BTreeMap::new();
            for (entry, eviction) in cluster.audit().evictions() {
                assert_eq!(
                    eviction.expected_uid.as_ref(),
                    Some(&eviction.uid),
                    "evicted with its UID: {entry:?}"
                );
                *accepted.entry(eviction.uid.clone()).or_insert(0) += u32::from(eviction.accepted);
            }
            assert!(accepted.values().all(|count| *count <= 1), "no pod is evicted twice: {accepted:?}");
            let deleted =
                cluster.audit().writes().find(|entry| entry.verb == "delete" && entry.resource == "pods");
            assert_eq!(deleted, None, "no pod is ever deleted");
        });
    }

    /// The independent check had nothing against any pass of any process.
    fn assert_no_pass_was_withheld(&self) {
        for view in &self.views {
            assert_eq!(view.borrow().withheld, None, "{:#?}", self.log());
        }
    }

    pub fn assert_converged(&self, version: &str) {
        for (name, runs, schedulable, claimed) in self.nodes() {
            assert_eq!((runs.as_str(), schedulable, claimed), (version, true, false), "node {name}");
        }
    }
}

/// In memory where the system has such a place: the record syncs every write, and disks of test machines are slow.
fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Commits files onto main of a repository; `None` removes one.
pub fn commit(path: &Path, now: Timestamp, files: &[(&str, Option<&str>)], message: &str) -> String {
    let repo = git2::Repository::open(path).unwrap();
    let parent = repo.find_reference("refs/heads/main").ok().map(|found| found.peel_to_commit().unwrap());
    let mut index = git2::Index::new().unwrap();
    if let Some(parent) = &parent {
        index.read_tree(&parent.tree().unwrap()).unwrap();
    }
    for (path, text) in files {
        match text {
            Some(text) => {
                let id = repo.blob(text.as_bytes()).unwrap();
                index.add(&entry(path, id)).unwrap();
            }
            // It may not have been there.
            None => drop(index.remove(Path::new(path), 0)),
        }
    }
    let tree = repo.find_tree(index.write_tree_to(&repo).unwrap()).unwrap();
    let time = git2::Time::new(now.as_second(), 0);
    let who = git2::Signature::new("Ada Example", "ada@example.com", &time).unwrap();
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    repo.commit(Some("refs/heads/main"), &who, &who, message, &tree, &parents).unwrap().to_string()
}

fn entry(path: &str, id: git2::Oid) -> git2::IndexEntry {
    let zero = git2::IndexTime::new(0, 0);
    git2::IndexEntry {
        ctime: zero,
        mtime: zero,
        dev: 0,
        ino: 0,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_vec(),
    }
}

pub const ALWAYS: &str = "apiVersion: windlass.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: always}
spec: {clusters: {}, timeZone: UTC, opens: always}
";

/// The image of the upgrade Jobs, named so that it can never change.
pub const IMAGE: &str =
    "windlass:0.1.0@sha256:b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184";

pub fn cluster_yaml(version: &str, more: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1
kind: Cluster
metadata: {{name: demo, labels: {{ring: demo}}}}
spec:
  mode: act
  kubernetes: {{version: {version}}}
  controlPlane: {{provider: kubeadm, kubeadm: {{image: {IMAGE}}}}}
  etcd: {{unproven: the simulated cluster has nothing to lose}}
{}",
        if more.is_empty() { POOL } else { more }
    )
}

/// The same, only to be looked at.
pub fn observed_yaml(version: &str, more: &str) -> String {
    cluster_yaml(version, more).replace("mode: act", "mode: observe")
}

/// Workers of ours behind a control plane that its host moves.
pub fn hosted_yaml(version: &str) -> String {
    let pool = "  nodePools: [{name: w, selector: {matchLabels: {pool: w}}, provider: kubeadm, canary: 0}]\n";
    cluster_yaml(version, pool)
        .replace("controlPlane: {provider: kubeadm,", "controlPlane: {provider: external,")
}

pub const POOL: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 1}
";

/// Ends the process at one effect.
pub struct CrashAt {
    pub index: u64,
    pub when: When,
}

impl Fence for CrashAt {
    fn at(&self, index: u64, when: When) -> ControlFlow<()> {
        if (index, when) >= (self.index, self.when) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
