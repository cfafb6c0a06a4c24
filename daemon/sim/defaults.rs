//! What a real API server fills in, and the few things it checks that matter here.

use super::json::{self, list, set, set_absent, text};
use super::resource::{Kind, Resource};
use super::settings::Settings;
use super::status::{Refusal, Served};
use super::time;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Fills in a new object. A status that the creator sent is dropped where the kind has a status of its own.
pub(super) fn on_create(kind: Kind, tree: &mut Value, settings: &Settings, now: Timestamp) {
    if kind.resource().has_status() && kind != Kind::Node {
        json::remove(tree, &["status"]);
    }
    match kind {
        Kind::Namespace => {
            set(tree, &["status", "phase"], "Active");
            set(tree, &["spec", "finalizers"], json!(["kubernetes"]));
            let name = text(tree, &["metadata", "name"]).to_owned();
            set_absent(tree, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
        }
        Kind::Node => node_defaults(tree, settings, now),
        Kind::Pod => {
            pod_spec(json::slot(tree, &["spec"]));
            pod_tolerations(tree);
            set(tree, &["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
        }
        Kind::Job => job(tree),
        Kind::PersistentVolumeClaim => set(tree, &["status", "phase"], "Pending"),
        Kind::PersistentVolume => set(tree, &["status", "phase"], "Available"),
        Kind::PodDisruptionBudget => set(
            tree,
            &["status"],
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}),
        ),
        Kind::Deployment | Kind::DaemonSet | Kind::StatefulSet | Kind::ReplicaSet => {
            set(tree, &["status"], json!({}));
        }
        _ => {}
    }
    on_update(kind, tree);
}

/// Fills in what any version of an object has.
pub(super) fn on_update(kind: Kind, tree: &mut Value) {
    match kind {
        Kind::Deployment => {
            set_absent(tree, &["spec", "replicas"], 1);
            set_absent(tree, &["spec", "progressDeadlineSeconds"], 600);
            set_absent(tree, &["spec", "revisionHistoryLimit"], 10);
            set_absent(tree, &["spec", "strategy", "type"], "RollingUpdate");
            if text(tree, &["spec", "strategy", "type"]) == "RollingUpdate" {
                set_absent(tree, &["spec", "strategy", "rollingUpdate", "maxSurge"], "25%");
                set_absent(tree, &["spec", "strategy", "rollingUpdate", "maxUnavailable"], "25%");
            }
        }
        Kind::ReplicaSet => set_absent(tree, &["spec", "replicas"], 1),
        Kind::StatefulSet => {
            set_absent(tree, &["spec", "replicas"], 1);
            set_absent(tree, &["spec", "podManagementPolicy"], "OrderedReady");
            set_absent(tree, &["spec", "updateStrategy", "type"], "RollingUpdate");
            set_absent(tree, &["spec", "revisionHistoryLimit"], 10);
        }
        Kind::DaemonSet => {
            set_absent(tree, &["spec", "updateStrategy", "type"], "RollingUpdate");
            if text(tree, &["spec", "updateStrategy", "type"]) == "RollingUpdate" {
                set_absent(
                    tree,
                    &["spec", "updateStrategy", "rollingUpdate"],
                    json!({"maxUnavailable": 1, "maxSurge": 0}),
                );
            }
            set_absent(tree, &["spec", "revisionHistoryLimit"], 10);
        }
        Kind::Service => set_absent(tree, &["spec", "type"], "ClusterIP"),
        _ => {}
    }
    if matches!(kind, Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet | Kind::Job) {
        pod_spec(json::slot(tree, &["spec", "template", "spec"]));
    }
}

fn pod_spec(spec: &mut Value) {
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
    ] {
        set_absent(spec, &[field], value);
    }
    let containers = spec.get_mut("containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        set_absent(container, &["resources"], json!({}));
        set_absent(container, &["terminationMessagePath"], "/dev/termination-log");
        set_absent(container, &["terminationMessagePolicy"], "File");
        let image = text(container, &["image"]);
        let floats =
            image.ends_with(":latest") || !image.rsplit('/').next().unwrap_or_default().contains([':', '@']);
        set_absent(container, &["imagePullPolicy"], if floats { "Always" } else { "IfNotPresent" });
    }
}

/// The two tolerations that admission adds to every pod.
fn pod_tolerations(tree: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = list(tree, &["spec", "tolerations"]).iter().any(|toleration| {
            let (named, effect) = (text(toleration, &["key"]), text(toleration, &["effect"]));
            (named == key || named.is_empty()) && matches!(effect, "" | "NoExecute")
        });
        if !tolerated && let Some(tolerations) = json::list_mut(tree, &["spec", "tolerations"]) {
            tolerations.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
            );
        }
    }
    set_absent(tree, &["spec", "serviceAccountName"], "default");
    set_absent(tree, &["spec", "enableServiceLinks"], true);
    set_absent(tree, &["spec", "priority"], 0);
    set_absent(tree, &["spec", "preemptionPolicy"], "PreemptLowerPriority");
    let account = text(tree, &["spec", "serviceAccountName"]).to_owned();
    set_absent(tree, &["spec", "serviceAccount"], account);
}

fn job(tree: &mut Value) {
    let uid = text(tree, &["metadata", "uid"]).to_owned();
    let name = text(tree, &["metadata", "name"]).to_owned();
    set_absent(tree, &["spec", "completions"], 1);
    set_absent(tree, &["spec", "parallelism"], 1);
    set_absent(tree, &["spec", "backoffLimit"], 6);
    set_absent(tree, &["spec", "completionMode"], "NonIndexed");
    set_absent(tree, &["spec", "suspend"], false);
    set_absent(tree, &["spec", "manualSelector"], false);
    set_absent(tree, &["spec", "podReplacementPolicy"], "TerminatingOrFailed");
    set_absent(tree, &["status"], json!({}));
    if json::flag(tree, &["spec", "manualSelector"]) {
        return;
    }
    set(tree, &["spec", "selector", "matchLabels", "batch.kubernetes.io/controller-uid"], uid.clone());
    for prefix in ["", "batch.kubernetes.io/"] {
        let labels = |key: &str| format!("{prefix}{key}");
        set(tree, &["spec", "template", "metadata", "labels", &labels("controller-uid")], uid.clone());
        set(tree, &["spec", "template", "metadata", "labels", &labels("job-name")], name.clone());
    }
    if let Some(labels) = json::at(tree, &["spec", "template", "metadata", "labels"]).cloned() {
        set_absent(tree, &["metadata", "labels"], labels);
    }
}

/// A node that says nothing about itself is a healthy machine of the cluster's version.
fn node_defaults(tree: &mut Value, settings: &Settings, now: Timestamp) {
    let name = text(tree, &["metadata", "name"]).to_owned();
    set_absent(tree, &["metadata", "labels", "kubernetes.io/hostname"], name.clone());
    set_absent(tree, &["metadata", "labels", "kubernetes.io/os"], "linux");
    set_absent(tree, &["metadata", "labels", "kubernetes.io/arch"], "amd64");
    set_absent(tree, &["spec"], json!({}));
    let room = json!({"cpu": "16", "memory": "64Gi", "pods": settings.pods_per_node.to_string(), "ephemeral-storage": "100Gi"});
    set_absent(tree, &["status", "capacity"], room.clone());
    set_absent(tree, &["status", "allocatable"], room);
    set_absent(tree, &["status", "nodeInfo", "kubeletVersion"], settings.version.clone());
    let version = text(tree, &["status", "nodeInfo", "kubeletVersion"]).to_owned();
    for (field, value) in [
        ("kubeProxyVersion", version.as_str()),
        ("osImage", "Debian GNU/Linux 12 (bookworm)"),
        ("kernelVersion", "6.1.0-31-amd64"),
        ("containerRuntimeVersion", "containerd://2.1.4"),
        ("operatingSystem", "linux"),
        ("architecture", "amd64"),
        ("machineID", name.as_str()),
        ("systemUUID", name.as_str()),
        ("bootID", name.as_str()),
    ] {
        set_absent(tree, &["status", "nodeInfo", field], value);
    }
    set_absent(tree, &["status", "addresses"], json!([{"type": "Hostname", "address": name}]));
    if list(tree, &["status", "conditions"]).is_empty() {
        let at = time::seconds(now);
        let row = |kind: &str, status: &str, reason: &str, message: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": message,
                   "lastHeartbeatTime": at, "lastTransitionTime": at})
        };
        let conditions = json!([
            row(
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available"
            ),
            row("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            row("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            row("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ]);
        set(tree, &["status", "conditions"], conditions);
    }
}

/// The checks that a real API server makes and that a client's mistake would meet first.
pub(super) fn validate(resource: &Resource, name: &str, tree: &Value) -> Served<()> {
    let plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.:".contains(letter);
    let rbac = resource.group == "rbac.authorization.k8s.io";
    if !rbac && (name.len() > 253 || !name.chars().all(plain) || name.starts_with('-') || name.ends_with('-'))
    {
        let why = format!(
            "Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
             '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
             validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        );
        return Err(Refusal::invalid(resource, name, "metadata.name", &why));
    }
    for (_, value) in json::pairs(tree, &["metadata", "labels"]) {
        if value.len() > 63 {
            let why = format!("Invalid value: {value:?}: must be no more than 63 bytes");
            return Err(Refusal::invalid(resource, name, "metadata.labels", &why));
        }
    }
    let containers = match resource.kind {
        Kind::Pod => list(tree, &["spec", "containers"]),
        Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet | Kind::Job => {
            list(tree, &["spec", "template", "spec", "containers"])
        }
        _ => return Ok(()),
    };
    if containers.is_empty() {
        let field =
            if resource.kind == Kind::Pod { "spec.containers" } else { "spec.template.spec.containers" };
        return Err(Refusal::invalid(resource, name, field, "Required value"));
    }
    selector_fits(resource, name, tree)
}

fn selector_fits(resource: &Resource, name: &str, tree: &Value) -> Served<()> {
    if matches!(resource.kind, Kind::Pod | Kind::Job) {
        return Ok(());
    }
    let labels = json::at(tree, &["spec", "template", "metadata", "labels"]);
    let selector = super::selector::Labels::from_json(json::at(tree, &["spec", "selector"]));
    if selector.is_some_and(|selector| selector.matches_map(labels)) {
        return Ok(());
    }
    let shown = labels.cloned().unwrap_or(Value::Null);
    let why = format!("Invalid value: {shown}: `selector` does not match template `labels`");
    Err(Refusal::invalid(resource, name, "spec.template.metadata.labels", &why))
}
