//! The simulated cluster of the demo: its machines and workloads. They are ordinary Kubernetes objects, created in
//! the simulation as a client would, over a time that has passed when the demo begins.

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::workloads::{self, DemoWorkload, Placement};
use crate::model::names;
use crate::model::version::Version;
use crate::sim::{Cluster, Effect, Kind, Settings, Timings, UpgradeRule};

/// How long the cluster has been there when the demonstration begins.
const AGE: SignedDuration = SignedDuration::from_hours(26);
/// How long before the demo begins the nightly Job starts.
const JOB_AGE: SignedDuration = SignedDuration::from_mins(2);
const ZONES: &[&str] = &["eu-1a", "eu-1b", "eu-1c"];
/// Machines by the beginning of their name, their number, and the pool in their label.
const MACHINES: &[(&str, usize, Option<&str>)] =
    &[("cp", 3, None), ("general", 5, Some("general")), ("batch", 3, Some("batch"))];

/// A cluster at a version, with everything on it running and Ready at `origin`.
pub(super) fn at(version: &Version, origin: Timestamp) -> anyhow::Result<Cluster> {
    let born = origin.checked_sub(AGE).context("the cluster's age")?;
    let mut cluster = Cluster::new(settings(version), born);
    let mut add = |tree: Value, at: Timestamp| {
        let name = tree.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let added = cluster.create(tree, at).map(drop);
        added.map_err(|refusal| anyhow::anyhow!("the simulated cluster refuses {name}: {}", refusal.message))
    };
    for namespace in workloads::NAMESPACES {
        add(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}), born)?;
    }
    for (number, node) in machines(version).into_iter().enumerate() {
        // Machines do not all join in the same instant.
        let joined = born + SignedDuration::from_secs(20) * i32::try_from(number).unwrap_or_default();
        add(node, joined)?;
    }
    let installed = born + SignedDuration::from_mins(10);
    for workload in workloads::all(version) {
        workload.objects().into_iter().try_for_each(|tree| add(tree, installed))?;
    }
    let started = origin.checked_sub(JOB_AGE).context("the Job's age")?;
    cluster.run_until(started);
    cluster.create(workloads::nightly_job(), started).map_err(|refusal| {
        anyhow::anyhow!("the simulated cluster refuses the nightly Job: {}", refusal.message)
    })?;
    cluster.run_until(origin);
    // The requests that built the cluster are not counted.
    cluster.audit_mut().reset();
    Ok(cluster)
}

fn settings(version: &Version) -> Settings {
    let rule = |component: &str, effect| UpgradeRule {
        pod_selector: [(names::COMPONENT.to_owned(), component.to_owned())].into(),
        version_label: names::TARGET.to_owned(),
        effect,
    };
    let secs = SignedDuration::from_secs;
    Settings {
        seed: 36,
        version: version.to_string(),
        timings: Timings {
            pod_start: secs(6),
            pod_termination: secs(8),
            job_run: secs(24),
            kubelet_restart: secs(10),
            static_pod_restart: secs(7),
            volume_detach: secs(5),
            ..Timings::default()
        },
        rules: vec![rule("control-plane", Effect::ControlPlane), rule("kubelet", Effect::Kubelet)],
        brings: workloads::brought(),
        ..Settings::default()
    }
}

fn machines(version: &Version) -> Vec<Value> {
    let mut machines = Vec::new();
    for (prefix, count, pool) in MACHINES {
        for number in 1..=*count {
            let zone = ZONES.get((number - 1) % ZONES.len()).copied().unwrap_or_default();
            machines.push(machine(&format!("{prefix}-{number}"), zone, *pool, machines.len(), version));
        }
    }
    machines
}

fn machine(name: &str, zone: &str, pool: Option<&str>, place: usize, version: &Version) -> Value {
    let mut labels = json!({"topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "eu-1"});
    let mut taints = json!([]);
    if let Some(labels) = labels.as_object_mut() {
        match pool {
            Some(pool) => labels.insert("pool".to_owned(), pool.into()),
            None => labels.insert("node-role.kubernetes.io/control-plane".to_owned(), "".into()),
        };
    }
    match pool {
        None => taints = json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]),
        Some("batch") => taints = json!([{"key": "workload", "value": "batch", "effect": "NoSchedule"}]),
        Some(_) => {}
    }
    let address = format!("10.0.{}.{}", place % ZONES.len(), 10 + place);
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
        "status": {
            "nodeInfo": {"kubeletVersion": version.to_string()},
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        },
    })
}

/// How many objects the cluster has.
pub(super) struct ClusterSize {
    pub(super) control_plane: usize,
    pub(super) workers: usize,
    pub(super) zones: usize,
    pub(super) pods: usize,
    pub(super) ready: usize,
    pub(super) workloads: usize,
    pub(super) budgets: usize,
}

pub(super) fn count(cluster: &Cluster) -> ClusterSize {
    let nodes = || cluster.objects(Kind::Node, "");
    let servers = nodes().filter(|node| text_at(node.tree(), "/metadata/labels/pool").is_empty()).count();
    ClusterSize {
        control_plane: servers,
        workers: nodes().count() - servers,
        zones: ZONES.len(),
        pods: cluster.objects(Kind::Pod, "").count(),
        ready: cluster.objects(Kind::Pod, "").filter(|pod| is_ready(pod.tree())).count(),
        workloads: workloads_of(cluster).len(),
        budgets: cluster.objects(Kind::PodDisruptionBudget, "").count(),
    }
}

/// A workload that a rollout or a drain can leave short of pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Serving {
    pub(super) name: String,
    pub(super) ready: u64,
    pub(super) wanted: u64,
}

/// Everything with replicas, and how many of its pods are Ready.
pub(super) fn workloads_of(cluster: &Cluster) -> Vec<Serving> {
    let kinds = [Kind::Deployment, Kind::StatefulSet];
    let number = |tree: &Value, path: &str| tree.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let mut all: Vec<Serving> = kinds
        .into_iter()
        .flat_map(|kind| cluster.objects(kind, ""))
        .map(|found| Serving {
            name: format!("{}/{}", found.key.namespace, found.key.name),
            ready: number(found.tree(), "/status/readyReplicas"),
            wanted: number(found.tree(), "/spec/replicas"),
        })
        .collect();
    all.sort();
    all
}

fn is_ready(tree: &Value) -> bool {
    let conditions = tree.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| text_at(condition, "/type") == "Ready" && text_at(condition, "/status") == "True")
}

fn text_at<'a>(tree: &'a Value, path: &str) -> &'a str {
    tree.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

impl DemoWorkload {
    /// The objects that a person would apply for it.
    fn objects(&self) -> Vec<Value> {
        let labels = json!({"app.kubernetes.io/name": self.name});
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": self.kind.name(),
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": self.pod()},
            },
        });
        let mut put = |path: &str, key: &str, value: Value| {
            if let Some(place) = object.pointer_mut(path).and_then(Value::as_object_mut) {
                place.insert(key.to_owned(), value);
            }
        };
        if let Some(replicas) = self.replicas {
            put("/spec", "replicas", replicas.into());
        }
        if let Some(seconds) = self.slow_start {
            put("/spec/template/metadata", "annotations", json!({"sim/start-seconds": seconds.to_string()}));
        }
        if let Some(size) = self.volume {
            let claim = json!({
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
            });
            put("/spec", "serviceName", self.name.into());
            put("/spec", "volumeClaimTemplates", json!([claim]));
        }
        let mut objects = vec![object];
        objects.extend(self.budget.as_ref().map(|budget| {
            json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": {"selector": {"matchLabels": labels}, budget.0: budget.1},
            })
        }));
        objects
    }

    fn pod(&self) -> Value {
        let mut pod = json!({
            "containers": [{
                "name": self.name, "image": self.image,
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            }],
        });
        let Some(spec) = pod.as_object_mut() else { return pod };
        match self.placement {
            Placement::General => {}
            Placement::Batch => {
                let toleration = json!([{"key": "workload", "operator": "Equal", "value": "batch", "effect": "NoSchedule"}]);
                spec.insert("nodeSelector".to_owned(), json!({"pool": "batch"}));
                spec.insert("tolerations".to_owned(), toleration);
            }
            Placement::ControlPlane => {
                let toleration =
                    json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]);
                spec.insert("nodeSelector".to_owned(), json!({"node-role.kubernetes.io/control-plane": ""}));
                spec.insert("tolerations".to_owned(), toleration);
            }
            Placement::Everywhere => {
                spec.insert("hostNetwork".to_owned(), true.into());
                spec.insert("tolerations".to_owned(), json!([{"operator": "Exists"}]));
                spec.insert("priorityClassName".to_owned(), "system-node-critical".into());
            }
        }
        if self.scratch {
            spec.insert("volumes".to_owned(), json!([{"name": "scratch", "emptyDir": {}}]));
        }
        pod
    }
}
