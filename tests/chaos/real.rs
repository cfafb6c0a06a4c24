//! Runs over the faulty line in front of a real API server, with the real daemon as a process. `tests/real/chaos.sh` brings the
//! server up and says where; without it there is nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{
    DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use windlass::clock::Clock;
use windlass::git::{self, Author, Credentials, Repository};
use windlass::model::names::{COMPONENT, NAMESPACE, NODE, TARGET};
use windlass::record::{self, Record};

use super::judge::{Evidence, Version};
use super::schedule::{Act, Extent, Schedule, WORKERS};
use super::{FREEZE, apps, ledger};
use crate::world::line::{Line, Sent};
use crate::world::{ALWAYS, CLUSTER, cluster_yaml, commit};

const EXTENT: Extent =
    Extent { length: SignedDuration::from_secs(70), longest: SignedDuration::from_secs(35) };
/// How long the end may take once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(170);
const OLD: &str = "v1.35.4";
const GOAL: &str = "v1.36.3";

/// The kinds of the history, and where they are.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("nodes", "", "v1", "Node"),
    ("pods", "", "v1", "Pod"),
    ("jobs", "batch", "v1", "Job"),
    ("leases", "coordination.k8s.io", "v1", "Lease"),
    ("poddisruptionbudgets", "policy", "v1", "PodDisruptionBudget"),
];

/// The API server, as its administrator reaches it.
#[derive(Clone)]
struct Server {
    admin: kube::Client,
}

impl Server {
    fn api(&self, group: &str, version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.admin.clone(), &resource),
            namespace => Api::namespaced_with(self.admin.clone(), namespace, &resource),
        }
    }

    fn nodes(&self) -> Api<DynamicObject> {
        self.api("", "v1", "Node", "")
    }

    fn notes(&self) -> Api<DynamicObject> {
        self.api("", "v1", "ConfigMap", "kube-system")
    }

    async fn create(&self, object: Value) {
        let text = |field: &str| object[field].as_str().unwrap().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let api = self.api(group, version, &kind, &namespace);
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{kind}: {error}"),
        }
    }

    async fn old_node(&self, name: &str) {
        let status = json!({"capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "nodeInfo": {"kubeletVersion": OLD, "architecture": "amd64", "operatingSystem": "linux", "bootID": "",
                "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "osImage": "",
                "systemUUID": ""}});
        self.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "pool": "w"}}, "status": status}))
            .await;
    }

    async fn merge(&self, node: &str, patch: Value, status: bool) {
        let (api, params, patch) = (self.nodes(), PatchParams::default(), Patch::Merge(patch));
        let done = if status {
            api.patch_status(node, &params, &patch).await
        } else {
            api.patch(node, &params, &patch).await
        };
        // A node may have been deleted meanwhile.
        if let Err(error) = done {
            println!("      patching {node}: {error}");
        }
    }

    async fn note(&self, name: &str) {
        self.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "kube-system"},
            "data": {"reason": "the seed says so", "by": "ada"}}))
            .await;
    }

    async fn take_note(&self, name: &str) {
        drop(self.notes().delete(name, &DeleteParams::default()).await);
    }

    /// What the daemon and the runs before left behind goes, and four old workers with their pods come.
    async fn prepare(&self) {
        for name in ["windlass-stop", "windlass-resume", "upgrade-status"] {
            self.take_note(name).await;
        }
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::background() };
        let all = ListParams::default();
        drop(self.api("batch", "v1", "Job", NAMESPACE).delete_collection(&at_once, &all).await);
        drop(
            self.api("coordination.k8s.io", "v1", "Lease", NAMESPACE).delete_collection(&at_once, &all).await,
        );
        drop(self.nodes().delete_collection(&at_once, &all).await);
        for app in apps() {
            let mut app = app;
            app["metadata"]["namespace"] = json!("default");
            self.create(app).await;
        }
        for node in WORKERS {
            self.old_node(node).await;
        }
        for namespace in ["default", NAMESPACE] {
            drop(self.api("", "v1", "Pod", namespace).delete_collection(&at_once, &all).await);
        }
        let began = Instant::now();
        while !self.is_whole().await {
            assert!(began.elapsed() < Duration::from_secs(60), "the workloads do not come up");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn is_whole(&self) -> bool {
        let budgets =
            self.api("policy", "v1", "PodDisruptionBudget", "").list(&ListParams::default()).await.unwrap();
        let pods = self.api("", "v1", "Pod", "default").list(&ListParams::default()).await.unwrap();
        let whole = |budget: &DynamicObject| {
            let status = &budget.data["status"];
            status["expectedPods"].as_i64() > Some(0) && status["currentHealthy"] == status["expectedPods"]
        };
        let ready = |pod: &DynamicObject| {
            let conditions = pod.data["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|row| row["type"] == "Ready" && row["status"] == "True")
        };
        budgets.items.iter().all(whole) && pods.items.len() > 10 && pods.items.iter().all(ready)
    }
}

/// Everything that the API server stores of some kinds, from now on; and kubelets that change when their Job is done.
struct History {
    versions: Arc<Mutex<Vec<Version>>>,
    tasks: tokio::task::JoinSet<()>,
}

impl History {
    fn new(server: &Server) -> Self {
        let mut this = Self { versions: Arc::default(), tasks: tokio::task::JoinSet::new() };
        for (name, group, version, kind) in KINDS {
            let namespace = if *name == "leases" { NAMESPACE } else { "" };
            let api = server.api(group, version, kind, namespace);
            let (versions, server) = (Arc::clone(&this.versions), server.clone());
            this.tasks.spawn(async move {
                loop {
                    if let Err(error) = follow(name, &api, &versions, &server).await {
                        println!("      the judge's watch of {name}: {error}");
                    }
                }
            });
        }
        this
    }
}

async fn follow(
    kind: &'static str,
    api: &Api<DynamicObject>,
    versions: &Mutex<Vec<Version>>,
    server: &Server,
) -> Result<(), kube::Error> {
    let list = api.list(&ListParams::default()).await?;
    let mut from = list.metadata.resource_version.unwrap_or_default();
    let take = |object: &DynamicObject, deleted: bool| {
        let at = Clock::Wall.now();
        let (name, uid) = (object.metadata.name.clone().unwrap(), object.metadata.uid.clone().unwrap());
        let object = serde_json::to_value(object).unwrap();
        versions.lock().unwrap().push(Version { at, kind, name, uid, object, deleted });
    };
    list.items.iter().for_each(|object| take(object, false));
    let mut changed = BTreeSet::new();
    loop {
        let mut stream = api.watch(&WatchParams::default().timeout(290), &from).await?.boxed();
        while let Some(event) = stream.next().await {
            let (object, deleted) = match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            };
            from = object.metadata.resource_version.clone().unwrap_or_default();
            take(&object, deleted);
            let label = |key: &str| {
                object.metadata.labels.as_ref().and_then(|all| all.get(key)).cloned().unwrap_or_default()
            };
            let done =
                kind == "jobs" && object.data["status"]["succeeded"] == 1 && label(COMPONENT) == "kubelet";
            if done && changed.insert(object.metadata.uid.clone()) {
                let (server, node, target) = (server.clone(), label(NODE), label(TARGET));
                tokio::spawn(async move {
                    // A kubelet takes a moment to come up and say so.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    server
                        .merge(&node, json!({"status": {"nodeInfo": {"kubeletVersion": target}}}), true)
                        .await;
                });
            }
        }
    }
}

/// The line on a loopback port, for a client that speaks plain HTTP.
async fn listen(line: Line) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(move |request: Request<Body>| {
        let line = line.clone();
        async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await else { return broken() };
            let request = Request::from_parts(parts, body.to_bytes());
            line.pass(request).await.unwrap_or_else(|_| broken())
        }
    });
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (format!("http://{address}"), serving)
}

/// An answer that ends before it has begun.
fn broken() -> Response<Body> {
    let items = [Err::<bytes::Bytes, _>("the connection was reset")];
    Response::new(Body::from_stream(futures::stream::iter(items)))
}

struct Run {
    server: Server,
    folder: PathBuf,
    daemon: Option<Child>,
    acts: Vec<(Timestamp, Act)>,
    tips: BTreeSet<git2::Oid>,
    out: u32,
    comments: u32,
}

impl Run {
    fn repo(&self) -> PathBuf {
        self.folder.join("repository.git")
    }

    fn desire(&mut self, version: &str) {
        self.comments += 1;
        let pool = format!(
            "  nodePools:\n    - {{name: w, selector: {{matchLabels: {{pool: w}}}}, provider: kubeadm, canary: 1, soak: 5s, maxUnavailable: {}}}\n# {}\n",
            self.out, self.comments
        );
        let cluster = cluster_yaml(version, &pool)
            .replace("controlPlane: {provider: kubeadm,", "controlPlane: {provider: external,");
        let files: &[(&str, Option<&str>)] =
            &[("desired-state/demo/cluster.yaml", Some(&cluster)), ("policies/window.yaml", Some(ALWAYS))];
        commit(&self.repo(), Clock::Wall.now(), files, "demo");
    }

    fn start(&mut self) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.join("daemon.log")).unwrap();
        let mut command = Command::new(
            std::env::var("WINDLASS").unwrap_or_else(|_| env!("CARGO_BIN_EXE_windlass").to_owned()),
        );
        command
            .arg("daemon")
            .arg("--repo")
            .arg(self.repo())
            .arg("--kubeconfig")
            .arg(self.folder.join("kubeconfig"));
        command.arg("--cache").arg(self.folder.join("cache")).env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemon = Some(command.spawn().unwrap());
    }

    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended by itself, which the judge is told by its log.
            drop(daemon.kill());
            drop(daemon.wait());
        }
    }

    async fn perform(&mut self, act: Act) {
        let server = self.server.clone();
        match act {
            Act::Kill(gap) => {
                self.kill();
                tokio::time::sleep(Duration::from_millis(gap.unsigned_abs())).await;
                self.start();
            }
            Act::Stop => server.note("windlass-stop").await,
            Act::Resume => server.take_note("windlass-stop").await,
            Act::Cordon(node) => server.merge(node, json!({"spec": {"unschedulable": true}}), false).await,
            Act::Uncordon(node) => server.merge(node, json!({"spec": {"unschedulable": null}}), false).await,
            Act::Die(node) => {
                server.merge(node, json!({"metadata": {"labels": {"dead": "yes"}}}), false).await;
                let dead = json!([{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "dead",
                    "lastHeartbeatTime": null, "lastTransitionTime": Clock::Wall.now().to_string()}]);
                server.merge(node, json!({"status": {"conditions": dead}}), true).await;
            }
            Act::Revive(node) => {
                server.merge(node, json!({"metadata": {"labels": {"dead": null}}}), false).await;
                // Its pods come back with it, as new ones.
                let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
                let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                drop(server.api("", "v1", "Pod", "default").delete_collection(&at_once, &on_node).await);
            }
            Act::Join(node) => server.old_node(node).await,
            Act::Replace(node) => {
                let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                drop(server.nodes().delete(node, &at_once).await);
                server.old_node(node).await;
            }
            Act::Comment | Act::Forward => self.desire(GOAL),
            Act::Revert => self.desire(OLD),
            Act::Widen => {
                self.out = 2;
                self.desire(GOAL);
            }
            Act::Freeze => drop(commit(
                &self.repo(),
                Clock::Wall.now(),
                &[("policies/freeze.yaml", Some(FREEZE))],
                "freeze",
            )),
            Act::Thaw => {
                drop(commit(&self.repo(), Clock::Wall.now(), &[("policies/freeze.yaml", None)], "thaw"))
            }
        }
        self.acts.push((Clock::Wall.now(), act));
        self.tips.extend(ledger::tip(&self.repo()));
    }

    fn record(&self) -> (Record, BTreeMap<String, String>) {
        let settings = git::Settings {
            url: self.repo().display().to_string(),
            branch: "main".to_owned(),
            record_url: None,
            record_branch: "windlass/status".to_owned(),
            cache: self.folder.join("look"),
            credentials: Credentials::default(),
            author: Author { name: "judge".to_owned(), email: "judge@example.com".to_owned() },
            timeout: Duration::from_secs(10),
        };
        let mut repository = Repository::open(settings).unwrap();
        let tip = repository.fetch().unwrap().record;
        let files = tip.map(|tip| repository.read_record(&tip, CLUSTER).unwrap()).unwrap_or_default();
        (record::read(CLUSTER, &files).unwrap(), files)
    }

    async fn is_done(&self) -> bool {
        let nodes = self.server.nodes().list(&ListParams::default()).await.unwrap();
        let in_service = |node: &DynamicObject| {
            let claim =
                node.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("windlass.dev/claim"));
            node.data["status"]["nodeInfo"]["kubeletVersion"] == GOAL
                && node.data["spec"]["unschedulable"] != true
                && !claim
        };
        nodes.items.iter().all(in_service) && self.record().0.run.is_none()
    }

    /// Waits for the end, and ends what only a person may end. False if it does not come.
    async fn settle(&mut self) -> bool {
        let began = Instant::now();
        let mut looks = 0;
        while began.elapsed() < PATIENCE {
            if self.is_done().await {
                return true;
            }
            looks += 1;
            if looks % 10 == 0 && self.record().0.halted.is_some() {
                self.server.take_note("windlass-resume").await;
                self.server.note("windlass-resume").await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        false
    }
}

fn kubeconfig(server: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Config", "current-context": CLUSTER,
        "clusters": [{"name": CLUSTER, "cluster": {"server": server}}], "users": [{"name": CLUSTER, "user": {}}],
        "contexts": [{"name": CLUSTER, "context": {"cluster": CLUSTER, "user": CLUSTER}}]})
    .to_string()
}

async fn client(kubeconfig: &Path) -> kube::Client {
    let file = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
        .await
        .unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

async fn findings_of(schedule: &Schedule, work: &Path, folder: &Path) -> Vec<String> {
    let server = Server { admin: client(&work.join("kubeconfig")).await };
    std::fs::create_dir_all(folder).unwrap();
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).initial_head("main");
    git2::Repository::init_opts(folder.join("repository.git"), &options).unwrap();
    server.prepare().await;
    let line = Line::new(client(&work.join("daemon.kubeconfig")).await, Clock::Wall);
    let (address, serving) = listen(line.clone()).await;
    std::fs::write(folder.join("kubeconfig"), kubeconfig(&address)).unwrap();
    let history = History::new(&server);
    let (acts, tips) = (Vec::new(), BTreeSet::new());
    let mut run = Run { server, folder: folder.to_owned(), daemon: None, acts, tips, out: 1, comments: 0 };
    run.desire(GOAL);
    let began = Clock::Wall.now();
    schedule.faults_from(began).for_each(|fault| line.add(fault));
    run.start();
    for (at, act) in &schedule.acts {
        Clock::Wall.sleep_until(began + *at).await;
        println!("  {} {act:?}", Clock::Wall.now());
        run.perform(*act).await;
    }
    Clock::Wall.sleep_until(began + EXTENT.length).await;
    let mut findings = Vec::new();
    let writes = || line.log().into_iter().filter(Sent::is_write);
    if run.settle().await {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let rests = writes().count();
        tokio::time::sleep(Duration::from_secs(8)).await;
        findings.extend(writes().skip(rests).map(|sent| format!("at rest: {sent:?}")));
    } else {
        let waiting = run.record().0.waiting;
        findings.push(format!("no end within {} s: {waiting:#?}", PATIENCE.as_secs()));
    }
    run.kill();
    run.tips.extend(ledger::tip(&run.repo()));
    findings.extend(ledger::findings(&run.repo(), CLUSTER, &run.record().1, &run.tips));
    let versions = history.versions.lock().unwrap().clone();
    let evidence = Evidence {
        history: versions,
        sent: line.log(),
        acts: run.acts.clone(),
        blur: SignedDuration::from_secs(1),
    };
    findings.extend(evidence.findings());
    std::fs::write(folder.join("line.log"), format!("{:#?}", evidence.sent)).unwrap();
    drop(history);
    serving.abort();
    findings
}

#[tokio::test]
#[ignore = "tests/real/chaos.sh brings up the API server that it needs"]
async fn seeds_before_a_real_api_server() {
    let work = PathBuf::from(std::env::var("WINDLASS_CHAOS").unwrap());
    let mut failed = Vec::new();
    let mut table = Vec::new();
    for seed in super::seeds("1..5") {
        let schedule = Schedule::new(seed, EXTENT);
        println!("{schedule}");
        let (began, folder) = (Instant::now(), work.join(format!("seed-{seed}")));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("schedule"), schedule.to_string()).unwrap();
        let findings = findings_of(&schedule, &work, &folder).await;
        let result = if findings.is_empty() { "pass" } else { "FAIL" };
        println!("{}", findings.join("\n"));
        table.push(format!("seed {seed:5}  {result}  {:4} s", began.elapsed().as_secs()));
        println!("{}\n", table[table.len() - 1]);
        if findings.is_empty() {
            std::fs::remove_dir_all(&folder).unwrap();
        } else {
            std::fs::write(folder.join("findings"), findings.join("\n")).unwrap();
            failed.push(seed);
        }
    }
    println!("{}", table.join("\n"));
    assert!(failed.is_empty(), "these seeds failed, and their folders are kept: {failed:?}");
}
