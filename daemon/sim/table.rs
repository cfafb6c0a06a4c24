//! Tables: what `kubectl get` prints, computed by the server.

use super::json::{self, condition, flag, int, list, text};
use super::object::Object;
use super::resource::Kind;
use super::time::age;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Columns of a kind besides name and age: title, and whether only `-o wide` shows it.
fn columns(kind: Kind) -> &'static [(&'static str, bool)] {
    match kind {
        Kind::Node => &[
            ("Status", false),
            ("Roles", false),
            ("Age", false),
            ("Version", false),
            ("Internal-IP", true),
            ("External-IP", true),
            ("OS-Image", true),
            ("Kernel-Version", true),
            ("Container-Runtime", true),
        ],
        Kind::Pod => &[
            ("Ready", false),
            ("Status", false),
            ("Restarts", false),
            ("Age", false),
            ("IP", true),
            ("Node", true),
            ("Nominated Node", true),
            ("Readiness Gates", true),
        ],
        Kind::Deployment => &[("Ready", false), ("Up-to-date", false), ("Available", false), ("Age", false)],
        Kind::StatefulSet => &[("Ready", false), ("Age", false)],
        Kind::ReplicaSet => &[("Desired", false), ("Current", false), ("Ready", false), ("Age", false)],
        Kind::DaemonSet => &[
            ("Desired", false),
            ("Current", false),
            ("Ready", false),
            ("Up-to-date", false),
            ("Available", false),
            ("Node Selector", false),
            ("Age", false),
        ],
        Kind::Job => &[("Status", false), ("Completions", false), ("Age", false)],
        Kind::PodDisruptionBudget => &[
            ("Min Available", false),
            ("Max Unavailable", false),
            ("Allowed Disruptions", false),
            ("Age", false),
        ],
        Kind::Namespace => &[("Status", false), ("Age", false)],
        Kind::Lease => &[("Holder", false), ("Age", false)],
        Kind::ConfigMap => &[("Data", false), ("Age", false)],
        Kind::CoreEvent | Kind::Event => {
            &[("Last Seen", false), ("Type", false), ("Reason", false), ("Object", false), ("Message", false)]
        }
        Kind::VolumeAttachment => {
            &[("Attacher", false), ("PV", false), ("Node", false), ("Attached", false), ("Age", false)]
        }
        _ => &[("Age", false)],
    }
}

pub(super) fn render<'a>(
    kind: Kind,
    objects: impl Iterator<Item = &'a Object>,
    version: &str,
    with_columns: bool,
    now: Timestamp,
) -> Value {
    let rows: Vec<_> = objects
        .map(|object| json!({"cells": cells(kind, object, now), "object": super::answer::metadata(object)}))
        .collect();
    let definition = |name: &str, wide: bool| {
        let format = if name == "Name" { "name" } else { "" };
        json!({"name": name, "type": "string", "format": format, "description": name, "priority": i32::from(wide)})
    };
    let mut definitions = vec![definition("Name", false)];
    definitions.extend(columns(kind).iter().map(|(name, wide)| definition(name, *wide)));
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version},
        "columnDefinitions": if with_columns { definitions } else { Vec::new() }, "rows": rows,
    })
}

fn cells(kind: Kind, object: &Object, now: Timestamp) -> Vec<Value> {
    let tree = object.tree();
    let mut cells = vec![Value::from(object.key.name.as_ref())];
    let old = Value::from(age(text(tree, &["metadata", "creationTimestamp"]), now));
    let number = |path: &[&str]| Value::from(int(tree, path).unwrap_or_default());
    match kind {
        Kind::Node => cells.extend(node(object, old)),
        Kind::Pod => cells.extend(pod(object, old)),
        Kind::Deployment => cells.extend([
            ratio(tree, "readyReplicas", &["spec", "replicas"]),
            number(&["status", "updatedReplicas"]),
            number(&["status", "availableReplicas"]),
            old,
        ]),
        Kind::StatefulSet => cells.extend([ratio(tree, "readyReplicas", &["spec", "replicas"]), old]),
        Kind::ReplicaSet => cells.extend([
            number(&["spec", "replicas"]),
            number(&["status", "replicas"]),
            number(&["status", "readyReplicas"]),
            old,
        ]),
        Kind::DaemonSet => cells.extend([
            number(&["status", "desiredNumberScheduled"]),
            number(&["status", "currentNumberScheduled"]),
            number(&["status", "numberReady"]),
            number(&["status", "updatedNumberScheduled"]),
            number(&["status", "numberAvailable"]),
            selector(tree),
            old,
        ]),
        Kind::Job => {
            cells.extend([job_status(tree), ratio(tree, "succeeded", &["spec", "completions"]), old]);
        }
        Kind::PodDisruptionBudget => cells.extend([
            plain(tree, &["spec", "minAvailable"]),
            plain(tree, &["spec", "maxUnavailable"]),
            number(&["status", "disruptionsAllowed"]),
            old,
        ]),
        Kind::Namespace => cells.extend([text(tree, &["status", "phase"]).into(), old]),
        Kind::Lease => cells.extend([text(tree, &["spec", "holderIdentity"]).into(), old]),
        Kind::ConfigMap => {
            cells.extend([
                Value::from(tree.get("data").and_then(Value::as_object).map_or(0, serde_json::Map::len)),
                old,
            ]);
        }
        Kind::CoreEvent | Kind::Event => cells.extend(event(tree, old, now)),
        Kind::VolumeAttachment => cells.extend([
            text(tree, &["spec", "attacher"]).into(),
            text(tree, &["spec", "source", "persistentVolumeName"]).into(),
            text(tree, &["spec", "nodeName"]).into(),
            flag(tree, &["status", "attached"]).to_string().into(),
            old,
        ]),
        _ => cells.push(old),
    }
    cells
}

fn plain(tree: &Value, path: &[&str]) -> Value {
    match json::at(tree, path) {
        Some(Value::String(found)) => found.clone().into(),
        Some(found) if !found.is_null() => found.to_string().into(),
        _ => "N/A".into(),
    }
}

fn ratio(tree: &Value, part: &str, whole: &[&str]) -> Value {
    let part = int(tree, &["status", part]).unwrap_or_default();
    format!("{part}/{}", int(tree, whole).unwrap_or(1)).into()
}

fn selector(tree: &Value) -> Value {
    let pairs: Vec<_> = json::pairs(tree, &["spec", "template", "spec", "nodeSelector"])
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",").into() }
}

fn job_status(tree: &Value) -> Value {
    let states = [("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")];
    let state = states.iter().find(|(kind, _)| condition(tree, kind) == "True");
    state.map_or("Running", |(_, shown)| shown).into()
}

fn node(node: &Object, old: Value) -> Vec<Value> {
    let tree = node.tree();
    let mut status = vec![match condition(tree, "Ready") {
        "True" => "Ready",
        "" => "Unknown",
        _ => "NotReady",
    }];
    if flag(tree, &["spec", "unschedulable"]) {
        status.push("SchedulingDisabled");
    }
    let mut roles: Vec<_> =
        node.labels.iter().filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).collect();
    if roles.is_empty() {
        roles.push("<none>");
    }
    let info = |field: &str| Value::from(text(tree, &["status", "nodeInfo", field]));
    let address = |kind: &str| {
        let found =
            list(tree, &["status", "addresses"]).iter().find(|address| text(address, &["type"]) == kind);
        Value::from(found.map_or("<none>", |address| text(address, &["address"])))
    };
    vec![
        status.join(",").into(),
        roles.join(",").into(),
        old,
        info("kubeletVersion"),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn pod(pod: &Object, old: Value) -> Vec<Value> {
    let tree = pod.tree();
    let statuses = list(tree, &["status", "containerStatuses"]);
    let ready = statuses.iter().filter(|status| flag(status, &["ready"])).count();
    let restarts: i64 = statuses.iter().filter_map(|status| int(status, &["restartCount"])).sum();
    let all = list(tree, &["spec", "containers"]).len();
    let or_none = |text: &str| Value::from(if text.is_empty() { "<none>" } else { text });
    let phase = match text(tree, &["status", "phase"]) {
        _ if pod.deleting => "Terminating",
        "Succeeded" => "Completed",
        "Failed" => "Error",
        "Pending" if !text(tree, &["spec", "nodeName"]).is_empty() => "ContainerCreating",
        other => other,
    };
    let reason = text(tree, &["status", "reason"]);
    let shown = if reason.is_empty() || pod.deleting { phase } else { reason };
    vec![
        format!("{ready}/{all}").into(),
        shown.into(),
        restarts.to_string().into(),
        old,
        or_none(text(tree, &["status", "podIP"])),
        or_none(text(tree, &["spec", "nodeName"])),
        "<none>".into(),
        "<none>".into(),
    ]
}

fn event(tree: &Value, old: Value, now: Timestamp) -> Vec<Value> {
    let seen = match text(tree, &["lastTimestamp"]) {
        "" => old,
        last => age(last, now).into(),
    };
    let (kind, name) = (text(tree, &["involvedObject", "kind"]), text(tree, &["involvedObject", "name"]));
    vec![
        seen,
        text(tree, &["type"]).into(),
        text(tree, &["reason"]).into(),
        format!("{}/{name}", kind.to_lowercase()).into(),
        text(tree, &["message"]).into(),
    ]
}
