//! A program helm for the simulated cluster: it renders charts of plain text, keeps revisions in Secrets as the real one does, and
//! takes some seconds for an upgrade. What the real one does is shown by `tests/real/helm.sh`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

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
    /// Every run that could change something, by its first two arguments.
    pub runs: Mutex<Vec<String>>,
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

/// The objects of a chart: each template with its values set in.
fn rendered(folder: &Path, release: &str, values: Option<&str>) -> String {
    let values = values.map(|path| std::fs::read_to_string(folder.join(path)).unwrap()).unwrap_or_default();
    let values: BTreeMap<&str, &str> = values
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(key, value)| (key, value.trim()))
        .collect();
    let templates = folder.join("chart/templates");
    let mut paths: Vec<_> =
        std::fs::read_dir(templates).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let text = |path: &std::path::PathBuf| {
        let mut text = std::fs::read_to_string(path).unwrap().replace("{{ .Release.Name }}", release);
        for (key, value) in &values {
            text = text.replace(&format!("{{{{ .Values.{key} }}}}"), value);
        }
        format!("---\n# Source: web/templates/{}\n{text}", path.file_name().unwrap().display())
    };
    paths.iter().map(text).collect()
}

fn objects(text: &str) -> Vec<Value> {
    let documents = text.split("---\n").filter(|document| !document.trim().is_empty());
    documents.map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

impl FakeHelm {
    pub fn new(server: sim::Server, clock: Clock) -> Arc<Self> {
        Arc::new(Self { server, clock, runs: Mutex::default() })
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
        let text = rendered(folder, release, option(arguments, "--values"));
        let chart = std::fs::read_to_string(folder.join("chart/Chart.yaml")).unwrap();
        let version =
            chart.lines().find_map(|line| line.strip_prefix("version: ")).unwrap().trim().to_owned();
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
            Ok(match arguments[0].as_str() {
                "version" => said(true, "v3.22.0"),
                "history" => said(true, self.history(namespace, &arguments[1])),
                "get" => {
                    let revision = option(arguments, "--revision").unwrap();
                    let all = self.revisions(namespace, &arguments[2]);
                    let found = all.iter().find(|secret| number(secret).to_string() == revision).unwrap();
                    said(true, found["data"]["manifest"].as_str().unwrap())
                }
                "template" => said(true, rendered(run.folder, &arguments[1], option(arguments, "--values"))),
                command @ ("upgrade" | "rollback") => {
                    self.runs.lock().unwrap().push(arguments[..3].join(" "));
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
