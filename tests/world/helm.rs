//! A program helm for the simulated cluster: it renders charts of plain text, keeps revisions in Secrets as the real one does, and
//! takes some seconds for an upgrade. What the real one does is shown by `tests/real/helm.sh`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::SignedDuration;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use windlass::clock::Clock;
use windlass::cluster::{HelmError, HelmOutput, HelmProgram, HelmRun};
use windlass::sim::{self, Kind};

/// How long an upgrade takes.
pub const TAKES: SignedDuration = SignedDuration::from_secs(3);

pub struct FakeHelm {
    server: sim::Server,
    clock: Clock,
    /// Every run that could change something, by its first three arguments.
    pub runs: Mutex<Vec<String>>,
    /// Every run that changes nothing: what it looks at, and for which Kubernetes.
    pub looks: Mutex<Vec<String>>,
    /// What a chart repository has: the files of the chart `web` by its version.
    charts: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

fn said(succeeded: bool, text: impl Into<String>) -> HelmOutput {
    let text = text.into();
    let (stdout, stderr) =
        if succeeded { (text, String::new()) } else { (String::new(), format!("Error: {text}")) };
    HelmOutput { succeeded, stdout, stderr }
}

fn option<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).map(String::as_str)
}

/// The files of a chart: a folder of the run, or an archive, which here is JSON.
fn chart_files(folder: &Path, chart: &str) -> BTreeMap<String, String> {
    if Path::new(chart).is_file() {
        return serde_json::from_slice(&std::fs::read(chart).unwrap()).unwrap();
    }
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let templates = std::fs::read_dir(folder.join(chart).join("templates")).unwrap();
    let templates = templates.map(|entry| entry.unwrap().path());
    let name = |path: &Path| format!("templates/{}", path.file_name().unwrap().display());
    let about = ("Chart.yaml".to_owned(), read(&folder.join(chart).join("Chart.yaml")));
    templates.map(|path| (name(&path), read(&path))).chain([about]).collect()
}

/// `chart`, `web-1.2.0.tgz`.
fn chart_name(chart: &str) -> &str {
    chart.rsplit('/').next().unwrap()
}

fn chart_version(files: &BTreeMap<String, String>) -> String {
    let about = &files["Chart.yaml"];
    about.lines().find_map(|line| line.strip_prefix("version: ")).unwrap().trim().to_owned()
}

/// The objects of a chart: each template with its values set in.
fn rendered(
    files: &BTreeMap<String, String>,
    folder: &Path,
    release: &str,
    values: Option<&str>,
    kubernetes: &str,
) -> String {
    let values = values.map(|path| std::fs::read_to_string(folder.join(path)).unwrap()).unwrap_or_default();
    let values: BTreeMap<&str, &str> = values
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(key, value)| (key, value.trim()))
        .collect();
    let text = |(path, text): (&String, &String)| {
        let mut text = text.replace("{{ .Release.Name }}", release);
        text = text.replace("{{ .Capabilities.KubeVersion.Version }}", kubernetes);
        for (key, value) in &values {
            text = text.replace(&format!("{{{{ .Values.{key} }}}}"), value);
        }
        format!("---\n# Source: web/{path}\n{text}")
    };
    files.iter().filter(|(path, _)| *path != "Chart.yaml").map(text).collect()
}

fn objects(text: &str) -> Vec<Value> {
    let documents = text.split("---\n").filter(|document| !document.trim().is_empty());
    documents.map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

impl FakeHelm {
    pub fn new(server: sim::Server, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            server,
            clock,
            runs: Mutex::default(),
            looks: Mutex::default(),
            charts: Mutex::default(),
        })
    }

    /// Puts a version of the chart `web` into the chart repository, with these templates.
    pub fn publish(&self, version: &str, templates: &[(&str, &str)]) {
        let about = format!("apiVersion: v2\nname: web\nversion: {version}\n");
        let templates =
            templates.iter().map(|(name, text)| (format!("templates/{name}"), (*text).to_owned()));
        let files = templates.chain([("Chart.yaml".to_owned(), about)]).collect();
        self.charts.lock().unwrap().insert(version.to_owned(), files);
    }

    /// The same of a chart that supports only the versions of Kubernetes that begin so.
    pub fn publish_for(&self, version: &str, kubernetes: &str, templates: &[(&str, &str)]) {
        self.publish(version, templates);
        let mut charts = self.charts.lock().unwrap();
        let about = charts.get_mut(version).unwrap().get_mut("Chart.yaml").unwrap();
        *about = format!("{about}kubeVersion: {kubernetes}\n");
    }

    /// What a person does by hand.
    pub async fn by_hand(&self, arguments: &[&str]) -> HelmOutput {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let run = HelmRun { arguments, folder: Path::new("."), limit: Duration::from_mins(1) };
        self.run(run).await.unwrap()
    }

    fn pull(&self, arguments: &[String], folder: &Path) -> HelmOutput {
        let (chart, version) = (&arguments[1], option(arguments, "--version").unwrap());
        let charts = self.charts.lock().unwrap();
        let Some(files) = charts.get(version).filter(|_| chart == "web") else {
            let from = option(arguments, "--repo").unwrap_or_default();
            return said(
                false,
                format!("chart \"{chart}\" version \"{version}\" not found in {from} repository"),
            );
        };
        let path =
            folder.join(option(arguments, "--destination").unwrap()).join(format!("web-{version}.tgz"));
        std::fs::write(path, serde_json::to_vec(files).unwrap()).unwrap();
        said(true, "")
    }

    /// As helm renders for an upgrade: for the version that the API server runs.
    async fn server_version(&self) -> String {
        let client = Client::new(self.server.router(), "default");
        client.apiserver_version().await.unwrap().git_version
    }

    fn revisions(&self, namespace: &str, release: &str) -> Vec<Value> {
        let mut all: Vec<Value> = self.server.with(|cluster, _| {
            cluster.objects(Kind::Secret, namespace).map(|object| object.tree().clone()).collect()
        });
        all.retain(|secret| secret["metadata"]["labels"]["name"] == release);
        all.sort_by_key(number);
        all
    }

    fn record(&self, namespace: &str, release: &str, revision: u64, labels: &Value, data: &Value) {
        let mut all = labels.clone();
        for (key, value) in [("owner", "helm"), ("name", release), ("version", &revision.to_string())] {
            all[key] = json!(value);
        }
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "metadata": {
            "name": format!("sh.helm.release.v1.{release}.v{revision}"), "namespace": namespace, "labels": all},
            "data": data});
        self.server.with(|cluster, now| cluster.create(secret, now).map(drop)).unwrap();
    }

    fn settle(&self, namespace: &str, release: &str, revision: u64, status: &str, description: &str) {
        let name = format!("sh.helm.release.v1.{release}.v{revision}");
        let set = |object: &mut Value, status: &str, description: Option<&str>| {
            object["metadata"]["labels"]["status"] = json!(status);
            if let Some(description) = description {
                object["data"]["description"] = json!(description);
            }
        };
        self.server.with(|cluster, now| {
            if status == "deployed" {
                for n in 1..revision {
                    let older = format!("sh.helm.release.v1.{release}.v{n}");
                    cluster.change(Kind::Secret, namespace, &older, now, |object| {
                        if object["metadata"]["labels"]["status"] == "deployed" {
                            set(object, "superseded", None);
                        }
                    });
                }
            }
            cluster
                .change(Kind::Secret, namespace, &name, now, |object| set(object, status, Some(description)));
        });
    }

    /// Sends the objects, and deletes those that the last revision had and these have not.
    async fn send(&self, namespace: &str, release: &str, text: &str, last: &str) -> Result<(), String> {
        let client = Client::new(self.server.router(), "default");
        let next = objects(text);
        for mut object in next.clone() {
            object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
            object["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!(release);
            object["metadata"]["annotations"]["meta.helm.sh/release-namespace"] = json!(namespace);
            let api = api_of(&client, namespace, &object);
            let params = PatchParams::apply("helm").force();
            let name = object["metadata"]["name"].as_str().unwrap();
            api.patch(name, &params, &Patch::Apply(&object)).await.map_err(|error| error.to_string())?;
        }
        for object in objects(last) {
            let same = |other: &Value| {
                other["kind"] == object["kind"] && other["metadata"]["name"] == object["metadata"]["name"]
            };
            if !next.iter().any(same) {
                let name = object["metadata"]["name"].as_str().unwrap();
                let _ = api_of(&client, namespace, &object)
                    .delete(name, &kube::api::DeleteParams::default())
                    .await;
            }
        }
        Ok(())
    }

    async fn upgrade(&self, arguments: &[String], folder: &Path) -> HelmOutput {
        let (release, namespace) = (arguments[1].as_str(), option(arguments, "--namespace").unwrap());
        let before = self.revisions(namespace, release);
        if before.last().is_some_and(|newest| status(newest).starts_with("pending-")) {
            return said(
                false,
                "UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
            );
        }
        let chart = chart_files(folder, &arguments[2]);
        let version = chart_version(&chart);
        let kubernetes = self.server_version().await;
        let text = rendered(&chart, folder, release, option(arguments, "--values"), &kubernetes);
        let revision = before.last().map_or(0, number) + 1;
        let pending = if before.is_empty() { "pending-install" } else { "pending-upgrade" };
        let mut labels = json!({"status": pending});
        for (key, value) in
            option(arguments, "--labels").unwrap().split(',').filter_map(|pair| pair.split_once('='))
        {
            labels[key] = json!(value);
        }
        let data =
            json!({"manifest": text, "chart": format!("web-{version}"), "description": "Preparing upgrade"});
        self.record(namespace, release, revision, &labels, &data);
        self.clock.sleep(TAKES).await;
        let last = before.iter().rev().find(|secret| status(secret) == "deployed");
        let last = last.map_or("", |secret| secret["data"]["manifest"].as_str().unwrap());
        if text.contains("helm: fails") {
            self.settle(
                namespace,
                release,
                revision,
                "failed",
                "Upgrade \"web\" failed: pre-upgrade hooks failed",
            );
            return said(false, "UPGRADE FAILED: pre-upgrade hooks failed");
        }
        match self.send(namespace, release, &text, last).await {
            Ok(()) => {
                self.settle(namespace, release, revision, "deployed", "Upgrade complete");
                said(true, "deployed")
            }
            Err(why) => {
                self.settle(namespace, release, revision, "failed", &format!("Upgrade failed: {why}"));
                said(false, why)
            }
        }
    }

    async fn rollback(&self, arguments: &[String]) -> HelmOutput {
        let (release, namespace) = (arguments[1].as_str(), option(arguments, "--namespace").unwrap());
        let before = self.revisions(namespace, release);
        let Some(target) = before.iter().find(|secret| number(secret).to_string() == arguments[2]) else {
            return said(false, format!("release has no {} version", arguments[2]));
        };
        let revision = before.last().map_or(0, number) + 1;
        let mut labels = target["metadata"]["labels"].clone();
        labels["status"] = json!("pending-rollback");
        let mut data = target["data"].clone();
        data["description"] = json!(format!("Rollback to {}", arguments[2]));
        self.record(namespace, release, revision, &labels, &data);
        self.clock.sleep(TAKES).await;
        let text = target["data"]["manifest"].as_str().unwrap();
        let last = before.last().unwrap()["data"]["manifest"].as_str().unwrap();
        match self.send(namespace, release, text, last).await {
            Ok(()) => {
                self.settle(
                    namespace,
                    release,
                    revision,
                    "deployed",
                    &format!("Rollback to {}", arguments[2]),
                );
                said(true, "Rollback was a success! Happy Helming!")
            }
            Err(why) => said(false, why),
        }
    }

    fn history(&self, namespace: &str, release: &str) -> String {
        let row = |secret: &Value| {
            json!({"revision": number(secret), "status": status(secret), "chart": secret["data"]["chart"],
                "description": secret["data"]["description"]})
        };
        Value::from(self.revisions(namespace, release).iter().map(row).collect::<Vec<_>>()).to_string()
    }
}

fn number(secret: &Value) -> u64 {
    secret["metadata"]["labels"]["version"].as_str().unwrap().parse().unwrap()
}

fn status(secret: &Value) -> &str {
    secret["metadata"]["labels"]["status"].as_str().unwrap()
}

fn api_of(client: &Client, namespace: &str, object: &Value) -> Api<DynamicObject> {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let (group, short) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource {
        group: group.to_owned(),
        version: short.to_owned(),
        api_version: version.to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}

impl HelmProgram for FakeHelm {
    fn run<'a>(&'a self, run: HelmRun<'a>) -> BoxFuture<'a, Result<HelmOutput, HelmError>> {
        Box::pin(async move {
            let arguments = run.arguments.as_slice();
            let namespace = option(arguments, "--namespace").unwrap_or_default();
            if !matches!(arguments[0].as_str(), "upgrade" | "rollback") {
                let of = arguments.get(2).map_or("", |chart| chart_name(chart));
                let kubernetes = option(arguments, "--kube-version");
                let kubernetes = kubernetes.map_or_else(String::new, |version| format!(" for {version}"));
                self.looks.lock().unwrap().push(format!("{} {of}{kubernetes}", arguments[0]));
            }
            Ok(match arguments[0].as_str() {
                "version" => said(true, "v3.22.0"),
                "history" => said(true, self.history(namespace, &arguments[1])),
                "get" => {
                    let revision = option(arguments, "--revision").unwrap();
                    let all = self.revisions(namespace, &arguments[2]);
                    let found = all.iter().find(|secret| number(secret).to_string() == revision).unwrap();
                    said(true, found["data"]["manifest"].as_str().unwrap())
                }
                "pull" => self.pull(arguments, run.folder),
                "show" => said(true, chart_files(run.folder, &arguments[2])["Chart.yaml"].as_str()),
                "template" => {
                    let (chart, values) =
                        (chart_files(run.folder, &arguments[2]), option(arguments, "--values"));
                    let kubernetes = option(arguments, "--kube-version").unwrap();
                    let supported =
                        chart["Chart.yaml"].lines().find_map(|line| line.strip_prefix("kubeVersion: "));
                    if let Some(supported) = supported.filter(|supported| !kubernetes.starts_with(supported))
                    {
                        return Ok(said(
                            false,
                            format!(
                                "chart requires kubeVersion: {supported} which is incompatible with Kubernetes {kubernetes}"
                            ),
                        ));
                    }
                    said(true, rendered(&chart, run.folder, &arguments[1], values, kubernetes))
                }
                command @ ("upgrade" | "rollback") => {
                    let of = format!("{command} {} {}", arguments[1], chart_name(&arguments[2]));
                    self.runs.lock().unwrap().push(of);
                    if command == "upgrade" {
                        self.upgrade(arguments, run.folder).await
                    } else {
                        self.rollback(arguments).await
                    }
                }
                other => panic!("helm {other}"),
            })
        })
    }
}
