//! A real API server as its administrator reaches it: nodes, workloads and notes, and everything that it stores.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use jiff::SignedDuration;
use kube::Api;
use kube::api::{
    DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use windlass::clock::Clock;
use windlass::model::names::{COMPONENT, NAMESPACE, NODE, TARGET};

use super::judge::Version;
use super::schedule::WORKERS;
use super::{NOTES, apps, tell};
use crate::world::process::{MINUTE, SECOND};

/// What the workers run at first.
pub const OLD: &str = "v1.35.4";

/// The kinds of the history, and where they are.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("nodes", "", "v1", "Node"),
    ("pods", "", "v1", "Pod"),
    ("jobs", "batch", "v1", "Job"),
    ("leases", "coordination.k8s.io", "v1", "Lease"),
    ("daemonsets", "apps", "v1", "DaemonSet"),
    ("configmaps", "", "v1", "ConfigMap"),
    ("poddisruptionbudgets", "policy", "v1", "PodDisruptionBudget"),
];

/// The API server, as its administrator reaches it.
#[derive(Clone)]
pub struct Server {
    pub admin: kube::Client,
}

impl Server {
    pub fn api(&self, group: &str, version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match namespace {
            "" => Api::all_with(self.admin.clone(), &resource),
            namespace => Api::namespaced_with(self.admin.clone(), namespace, &resource),
        }
    }

    pub fn nodes(&self) -> Api<DynamicObject> {
        self.api("", "v1", "Node", "")
    }

    pub fn notes(&self) -> Api<DynamicObject> {
        self.api("", "v1", "ConfigMap", "kube-system")
    }

    pub async fn config_maps(&self) -> Vec<Value> {
        let list = self.api("", "v1", "ConfigMap", "default").list(&ListParams::default()).await.unwrap();
        list.items.iter().map(|object| json!(object)).collect()
    }

    pub fn addons(&self) -> Api<DynamicObject> {
        self.api("apps", "v1", "DaemonSet", "default")
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

    pub async fn old_node(&self, name: &str) {
        let status = json!({"capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
            "nodeInfo": {"kubeletVersion": OLD, "architecture": "amd64", "operatingSystem": "linux", "bootID": "",
                "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "osImage": "",
                "systemUUID": ""}});
        self.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "pool": "w"}}, "spec": {"taints": [{"key": "spot", "effect": "PreferNoSchedule"}]}, "status": status}))
            .await;
    }

    pub async fn merge(&self, node: &str, patch: Value, status: bool) {
        let (api, params, patch) = (self.nodes(), PatchParams::default(), Patch::Merge(patch));
        let done = if status {
            api.patch_status(node, &params, &patch).await
        } else {
            api.patch(node, &params, &patch).await
        };
        // A node may have been deleted meanwhile.
        if let Err(error) = done {
            tell(&format!("      patching {node}: {error}"));
        }
    }

    pub async fn note(&self, name: &str) {
        self.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "kube-system"},
            "data": {"reason": "the seed says so", "by": "ada"}}))
            .await;
    }

    pub async fn take_note(&self, name: &str) {
        drop(self.notes().delete(name, &DeleteParams::default()).await);
    }

    /// What the daemon and the runs before left behind goes, and four old workers with their pods come.
    pub async fn prepare(&self) {
        for name in ["windlass-stop", "windlass-resume", "upgrade-status"] {
            self.take_note(name).await;
        }
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::background() };
        let all = ListParams::default();
        drop(self.api("batch", "v1", "Job", NAMESPACE).delete_collection(&at_once, &all).await);
        drop(
            self.api("coordination.k8s.io", "v1", "Lease", NAMESPACE).delete_collection(&at_once, &all).await,
        );
        // The one of the run before has its last image.
        drop(self.addons().delete_collection(&at_once, &all).await);
        for name in NOTES {
            drop(self.api("", "v1", "ConfigMap", "default").delete(name, &DeleteParams::default()).await);
        }
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
        let began = Clock::machine().now();
        while !self.is_whole().await {
            assert!(Clock::machine().now().duration_since(began) < MINUTE, "the workloads do not come up");
            Clock::machine().sleep(SignedDuration::from_millis(500)).await;
        }
    }

    /// Renews the leases of all nodes that are not dead. KWOK does so too, but not always for a node whose name was there before.
    async fn keep_nodes_alive(&self) {
        let leases = self.api("coordination.k8s.io", "v1", "Lease", "kube-node-lease");
        loop {
            let alive = ListParams::default().labels("!dead");
            let nodes = self.nodes().list(&alive).await.map(|list| list.items).unwrap_or_default();
            for name in nodes.iter().filter_map(|node| node.metadata.name.as_ref()) {
                let renewed = json!({"spec": {"renewTime": format!("{:.6}", Clock::machine().now())}});
                // A lease that is not there yet is made by KWOK.
                drop(leases.patch(name, &PatchParams::default(), &Patch::Merge(renewed)).await);
            }
            Clock::machine().sleep(SECOND * 4).await;
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

/// Everything that the API server stores of some kinds, from now on; and kubelets that live, and change when their Job is done.
pub struct History {
    pub versions: Arc<Mutex<Vec<Version>>>,
    tasks: tokio::task::JoinSet<()>,
}

impl History {
    pub fn new(server: &Server) -> Self {
        let mut this = Self { versions: Arc::default(), tasks: tokio::task::JoinSet::new() };
        let alive = server.clone();
        this.tasks.spawn(async move { alive.keep_nodes_alive().await });
        for (name, group, version, kind) in KINDS {
            let namespace = if *name == "leases" { NAMESPACE } else { "" };
            let api = server.api(group, version, kind, namespace);
            let (versions, server) = (Arc::clone(&this.versions), server.clone());
            this.tasks.spawn(async move {
                loop {
                    if let Err(error) = follow(name, &api, &versions, &server).await {
                        tell(&format!("      the judge's watch of {name}: {error}"));
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
        let at = Clock::machine().now();
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
                    Clock::machine().sleep(SECOND * 1).await;
                    server
                        .merge(&node, json!({"status": {"nodeInfo": {"kubeletVersion": target}}}), true)
                        .await;
                });
            }
        }
    }
}
