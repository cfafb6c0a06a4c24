//! A simulated cluster with objects as large as real ones, which has been there for an hour.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use windlass::clock::Clock;
use windlass::sim::{Cluster, Kind, Settings};

use crate::world::rules;

/// Of them each node has one of every `DaemonSet`.
pub const PODS_PER_NODE: usize = 30;
const DAEMON_SETS: [&str; 3] = ["kube-proxy", "cilium", "node-exporter"];
const REPLICAS: usize = 20;
const AGE: SignedDuration = SignedDuration::from_hours(1);
/// By then everything runs.
const SETTLED: SignedDuration = SignedDuration::from_mins(20);

/// One control plane node at the newest version, and workers whose kubelets run another.
pub fn cluster(nodes: usize, kubelets: &str) -> Cluster {
    let born = Clock::machine().now() - AGE;
    let mut cluster = Cluster::new(Settings { rules: rules(), ..Settings::default() }, born);
    let mut add = |tree: Value| drop(cluster.create(tree, born).unwrap());
    add(
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cp1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}}),
    );
    for number in 0..nodes {
        add(node(number));
    }
    for name in DAEMON_SETS {
        add(daemon_set(name));
    }
    let deployments = nodes * (PODS_PER_NODE - DAEMON_SETS.len()) / REPLICAS;
    for number in 0..deployments {
        let space = format!("team-{}", number / 50);
        if number % 50 == 0 {
            add(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}));
        }
        add(deployment(number, &space));
        if number % 2 == 0 {
            add(budget(number, &space));
        }
    }
    cluster.run_until(born + SETTLED);
    grow(&mut cluster, kubelets, born + SETTLED);
    cluster.run_until(Clock::machine().now());
    cluster.audit_mut().reset();
    cluster
}

/// Gives every object what a real API server keeps beside what its owner wrote.
fn grow(cluster: &mut Cluster, kubelets: &str, at: Timestamp) {
    for kind in [Kind::Pod, Kind::ReplicaSet, Kind::Deployment, Kind::DaemonSet, Kind::Node] {
        let keys: Vec<_> = cluster.objects(kind, "").map(|object| object.key.clone()).collect();
        for key in keys {
            cluster.change(kind, &key.namespace, &key.name, at, |tree| {
                let managers = managers(tree, at);
                tree["metadata"]["managedFields"] = managers;
                if kind == Kind::Node && &*key.name != "cp1" {
                    tree["status"]["nodeInfo"]["kubeletVersion"] = json!(kubelets);
                    tree["status"]["images"] = images();
                }
            });
        }
    }
}

/// Which manager wrote which field, as an API server writes it down.
fn managers(tree: &Value, at: Timestamp) -> Value {
    let part = |names: &[&str]| -> Map<String, Value> {
        let there = names.iter().filter_map(|name| Some((format!("f:{name}"), fields(tree.get(*name)?))));
        there.collect()
    };
    let entry = |manager: &str, fields: Map<String, Value>, of: Option<&str>| {
        json!({"manager": manager, "operation": "Update", "apiVersion": "v1", "time": at.to_string(),
            "fieldsType": "FieldsV1", "fieldsV1": fields, "subresource": of})
    };
    json!([
        entry("kube-controller-manager", part(&["metadata", "spec"]), None),
        entry("kubelet", part(&["status"]), Some("status"))
    ])
}

fn fields(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (format!("f:{key}"), fields(value))).collect(),
        Value::Array(items) if items.iter().all(|item| item.get("name").is_some()) => {
            items.iter().map(|item| (format!("k:{{\"name\":{}}}", item["name"]), fields(item))).collect()
        }
        _ => json!({}),
    }
}

fn node(number: usize) -> Value {
    let name = format!("worker-{number:05}");
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {
        "pool": "w", "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": format!("eu-central-1{}", ["a", "b", "c"][number % 3]),
        "topology.kubernetes.io/region": "eu-central-1", "node.kubernetes.io/instance-type": "m6i.2xlarge"}}})
}

/// A kubelet reports at most fifty images.
fn images() -> Value {
    let image = |number: usize| {
        json!({"names": [format!("registry.example.com/team/service-{number}@sha256:{number:064x}"),
            format!("registry.example.com/team/service-{number}:1.4.2")], "sizeBytes": 104_857_600 + number})
    };
    (0..50).map(image).collect()
}

fn daemon_set(name: &str) -> Value {
    let labels = json!({"k8s-app": name});
    let mut template = template(&labels);
    template["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": labels}, "template": template}})
}

fn deployment(number: usize, space: &str) -> Value {
    let name = format!("checkout-{number}");
    let labels = json!({"app": name, "team": space, "tier": "backend"});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": space},
        "spec": {"replicas": REPLICAS, "selector": {"matchLabels": {"app": name}}, "template": template(&labels)}})
}

fn budget(number: usize, space: &str) -> Value {
    let name = format!("checkout-{number}");
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": space},
        "spec": {"maxUnavailable": "10%", "selector": {"matchLabels": {"app": name}}}})
}

fn template(labels: &Value) -> Value {
    let variable = |number: usize| json!({"name": format!("CHECKOUT_SETTING_{number}"), "value": format!("value-{number}")});
    let env: Vec<_> = (0..12).map(variable).collect();
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10,
        "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3});
    json!({
        "metadata": {"labels": labels, "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090",
            "checksum/config": "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184"}},
        "spec": {
            "serviceAccountName": "default", "priority": 0, "preemptionPolicy": "PreemptLowerPriority", "enableServiceLinks": true,
            "securityContext": {"runAsNonRoot": true, "fsGroup": 2000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app", "image": "registry.example.com/team/checkout:1.4.2", "imagePullPolicy": "IfNotPresent",
                "args": ["--listen=:8080", "--log=json"], "env": env,
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}, {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}],
                "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "64Mi"}},
                "livenessProbe": probe, "readinessProbe": probe,
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "volumeMounts": [{"name": "config", "mountPath": "/etc/checkout", "readOnly": true},
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}]}],
            "volumes": [{"name": "config", "configMap": {"name": "checkout", "defaultMode": 420}}, {"name": "tmp", "emptyDir": {}},
                {"name": "kube-api-access", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}}]},
    })
}
