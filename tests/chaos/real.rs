//! Runs over the faulty line in front of a real API server, with the real daemon as a process. `tests/real/chaos.sh` brings the
//! server up and says where; without it there is nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, DynamicObject, ListParams};
use serde_json::json;
use windlass::clock::Clock;
use windlass::git::{self, Author, Credentials, Repository};
use windlass::model::names::OUTDATED;
use windlass::record::{self, Record};

use super::judge::Evidence;
use super::schedule::{Act, Extent, Schedule};
use super::server::{History, OLD, Server};
use super::{AGENT_IMAGES, DRAIN, FREEZE, addon, ledger, noted, notes, tell};
use crate::world::line::{Line, Sent};
use crate::world::process::SECOND;
use crate::world::{ALWAYS, CLUSTER, cluster_yaml, commit};

const EXTENT: Extent =
    Extent { length: SignedDuration::from_secs(70), longest: SignedDuration::from_secs(35) };
/// How long the end may take once nothing goes wrong any more.
const PATIENCE: SignedDuration = SignedDuration::from_secs(170);
const GOAL: &str = "v1.36.3";

fn since(began: Timestamp) -> SignedDuration {
    Clock::machine().now().duration_since(began)
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
            "  nodePools:\n    - {{name: w, selector: {{matchLabels: {{pool: w}}}}, provider: kubeadm, canary: 1, soak: 5s, maxUnavailable: {}, {DRAIN}}}\n{}# {}\n",
            self.out,
            addon(version == GOAL),
            self.comments
        );
        let cluster = cluster_yaml(version, &pool)
            .replace("controlPlane: {provider: kubeadm,", "controlPlane: {provider: external,");
        let [first, second] = notes(version == GOAL);
        let files: &[(&str, Option<&str>)] = &[
            ("desired-state/demo/cluster.yaml", Some(&cluster)),
            ("policies/window.yaml", Some(ALWAYS)),
            (first.0, first.1.as_deref()),
            (second.0, second.1.as_deref()),
        ];
        commit(&self.repo(), Clock::machine().now(), files, "demo");
    }

    fn start(&mut self) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.join("daemon.log")).unwrap();
        let mut command = Command::new(super::setting("WINDLASS", env!("CARGO_BIN_EXE_windlass")));
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
                Clock::machine().sleep(SignedDuration::from_millis(gap)).await;
                self.start();
            }
            Act::Stop => server.note("windlass-stop").await,
            Act::Resume => server.take_note("windlass-stop").await,
            Act::Cordon(node) => server.merge(node, json!({"spec": {"unschedulable": true}}), false).await,
            Act::Uncordon(node) => server.merge(node, json!({"spec": {"unschedulable": null}}), false).await,
            Act::Die(node) => {
                server.merge(node, json!({"metadata": {"labels": {"dead": "yes"}}}), false).await;
                let dead = json!([{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "dead",
                    "lastHeartbeatTime": null, "lastTransitionTime": Clock::machine().now().to_string()}]);
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
                Clock::machine().now(),
                &[("policies/freeze.yaml", Some(FREEZE))],
                "freeze",
            )),
            Act::Thaw => {
                drop(commit(&self.repo(), Clock::machine().now(), &[("policies/freeze.yaml", None)], "thaw"));
            }
        }
        self.acts.push((Clock::machine().now(), act));
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
            let mut taints = node.data["spec"]["taints"].as_array().into_iter().flatten();
            let waits = taints.any(|taint| taint["key"] == OUTDATED);
            node.data["status"]["nodeInfo"]["kubeletVersion"] == GOAL
                && !waits
                && node.data["spec"]["unschedulable"] != true
                && !claim
        };
        let addons = self.server.addons().list(&ListParams::default()).await.unwrap();
        let moved = |addon: &DynamicObject| {
            addon.data["spec"]["template"]["spec"]["containers"][0]["image"] == AGENT_IMAGES[1]
        };
        let noted = noted(&self.server.config_maps().await);
        addons.items.iter().all(moved)
            && noted
            && nodes.items.iter().all(in_service)
            && self.record().0.run.is_none()
    }

    /// Waits for the end, and ends what only a person may end. False if it does not come.
    async fn settle(&mut self) -> bool {
        let began = Clock::machine().now();
        let mut looks = 0;
        while since(began) < PATIENCE {
            if self.is_done().await {
                return true;
            }
            looks += 1;
            if looks % 10 == 0 && self.record().0.halted.is_some() {
                self.server.take_note("windlass-resume").await;
                self.server.note("windlass-resume").await;
            }
            Clock::machine().sleep(SECOND * 1).await;
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
    let line = Line::new(client(&work.join("daemon.kubeconfig")).await, Clock::machine());
    let (address, serving) = listen(line.clone()).await;
    std::fs::write(folder.join("kubeconfig"), kubeconfig(&address)).unwrap();
    let history = History::new(&server);
    let (acts, tips) = (Vec::new(), BTreeSet::new());
    let mut run = Run { server, folder: folder.to_owned(), daemon: None, acts, tips, out: 1, comments: 0 };
    run.desire(GOAL);
    let began = Clock::machine().now();
    schedule.faults_from(began).for_each(|fault| line.add(fault));
    run.start();
    for (at, act) in &schedule.acts {
        Clock::machine().sleep_until(began + *at).await;
        tell(&format!("  {} {act:?}", Clock::machine().now()));
        run.perform(*act).await;
    }
    Clock::machine().sleep_until(began + EXTENT.length).await;
    let mut findings = Vec::new();
    let writes = || line.log().into_iter().filter(Sent::is_write);
    if run.settle().await {
        Clock::machine().sleep(SECOND * 3).await;
        let rests = writes().count();
        Clock::machine().sleep(SECOND * 8).await;
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
    let work = PathBuf::from(super::setting("WINDLASS_CHAOS", ""));
    let mut failed = Vec::new();
    let mut table = Vec::new();
    for seed in super::seeds("1..5") {
        let schedule = Schedule::new(seed, EXTENT);
        tell(&schedule.to_string());
        let (began, folder) = (Clock::machine().now(), work.join(format!("seed-{seed}")));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("schedule"), schedule.to_string()).unwrap();
        let findings = findings_of(&schedule, &work, &folder).await;
        let result = if findings.is_empty() { "pass" } else { "FAIL" };
        tell(&findings.join("\n"));
        table.push(format!("seed {seed:5}  {result}  {:4} s", since(began).as_secs()));
        tell(&format!("{}\n", table[table.len() - 1]));
        if findings.is_empty() {
            std::fs::remove_dir_all(&folder).unwrap();
        } else {
            std::fs::write(folder.join("findings"), findings.join("\n")).unwrap();
            failed.push(seed);
        }
    }
    tell(&table.join("\n"));
    assert!(failed.is_empty(), "these seeds failed, and their folders are kept: {failed:?}");
}
