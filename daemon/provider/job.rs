//! The Job that reaches one host, and the namespace that lets it: complete objects, equal for equal orders.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Order;
use super::script::{launcher, script, unit};
use crate::model::plan::Component;

/// Where our Jobs run; it carries the Pod Security level that they need.
pub const NAMESPACE: &str = "windlass-system";

/// Four static pods with five minutes each in kubeadm, its image pulls, and a wait for the API.
pub const DEADLINE_SERVERS: i64 = 30 * 60;
/// Packages over a slow line; the rest takes seconds.
pub const DEADLINE_KUBELET: i64 = 15 * 60;

const RUN: &str = "windlass.dev/run";
const NODE: &str = "windlass.dev/node";
const COMPONENT: &str = "windlass.dev/component";
const TARGET: &str = "windlass.dev/target-version";
const STEP: &str = "windlass.dev/step";
const CLUSTER: &str = "windlass.dev/cluster";

/// The API server's bound on a label's value, and on the name of a Job whose pods bear it.
const LABEL_LENGTH: usize = 63;

/// The container leaves its own namespaces for the host's and starts there what the launcher's text says. The termination
/// message is opened before, because the host has no such file.
const ENTER: &str = r#"exec 3>>/dev/termination-log; exec nsenter -t 1 -m -u -i -n -p -- /bin/sh -c "$1" "$2" "$2" "$3" "$4""#;

/// The namespace of the Jobs.
pub fn namespace() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": {
                "app.kubernetes.io/managed-by": "windlass",
                "pod-security.kubernetes.io/enforce": "privileged",
                "pod-security.kubernetes.io/audit": "privileged",
                "pod-security.kubernetes.io/warn": "privileged",
            },
        },
    })
}

/// The Job that carries an order out, complete.
///
/// It is not what the step is judged by: it may fail while the work on the host goes on, because the kubelet that runs it is
/// what is replaced, and it may be complete while its status cannot be posted.
pub fn job(order: &Order) -> Value {
    let (labels, annotations) = marks(order);
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(order),
            "namespace": NAMESPACE,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            // One pod, once: whether to try again is decided by looking at the node, and is another Job.
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            // It bounds the watching. The unit on the host is bounded by itself.
            "activeDeadlineSeconds": deadline(order.role.component()),
            "template": {
                "metadata": { "labels": labels, "annotations": annotations },
                "spec": pod(order),
            },
        },
    })
}

/// Names the Job of one attempt: the same attempt is the same Job, whoever creates it and after whatever crash.
pub fn job_name(order: &Order) -> String {
    let step = order.step;
    let component = order.role.component().as_str();
    let identity = format!(
        "{}/{}/{}/{component}/{}/{}",
        order.cluster, order.run, step.node_uid, step.to, order.attempt
    );
    // The readable part is for people, the hash for uniqueness: 18 + 7 + 12 + 12 + 10 and four dashes are 63.
    let name = [
        legal(&step.node, 18),
        component.to_owned(),
        legal(&step.to.to_string(), 12),
        hash(&identity),
        order.attempt.to_string(),
    ];
    name.join("-")
}

/// A label's value, and the full text where the label could not hold it; that goes into an annotation of the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelValue {
    pub label: String,
    pub full: Option<String>,
}

/// Makes any text a legal label value: `+` becomes `-` as vendors write it, what is too long or illegal otherwise is hashed.
pub fn label_value(text: &str) -> LabelValue {
    let plain = text.replace('+', "-");
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: char| c.is_ascii_alphanumeric();
    let legal = plain.len() <= LABEL_LENGTH
        && plain.chars().all(inner)
        && plain.starts_with(edge)
        && plain.ends_with(edge);
    let label = if legal { plain } else { hash(text) };
    let full = (label != text).then(|| text.to_owned());
    LabelValue { label, full }
}

/// What Job and pod are found and read by.
fn marks(order: &Order) -> (Map<String, Value>, Map<String, Value>) {
    let target = order.step.to.to_string();
    let mut labels = Map::new();
    let mut annotations = Map::new();
    labels.insert("app.kubernetes.io/managed-by".into(), "windlass".into());
    for (key, text) in [
        (RUN, order.run),
        (NODE, &order.step.node),
        (COMPONENT, order.role.component().as_str()),
        (TARGET, &target),
    ] {
        let value = label_value(text);
        labels.insert(key.into(), value.label.into());
        if let Some(full) = value.full {
            annotations.insert(key.into(), full.into());
        }
    }
    annotations.insert(CLUSTER.into(), order.cluster.into());
    annotations.insert(STEP.into(), order.step.id.as_str().into());
    (labels, annotations)
}

fn pod(order: &Order) -> Value {
    json!({
        // Past the scheduler: the node is cordoned, and no other will do.
        "nodeName": order.step.node,
        "tolerations": [{ "operator": "Exists" }],
        "priorityClassName": "system-node-critical",
        "restartPolicy": "Never",
        "hostPID": true,
        // It needs no pod network, which may be what is broken on this node.
        "hostNetwork": true,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        // Nothing of the work is in the container: it can go at once.
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "upgrade",
            "image": order.kubeadm.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh", "-c", ENTER, "windlass"],
            "args": [launcher(), unit(order.role, &order.step.to), job_name(order), script(order)],
            "securityContext": { "privileged": true, "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false },
            "resources": {
                "requests": { "cpu": "10m", "memory": "16Mi" },
                "limits": { "memory": "128Mi" },
            },
            "terminationMessagePath": "/dev/termination-log",
            // Where the way to the host itself fails, the log is all there is.
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }],
    })
}

fn deadline(component: Component) -> i64 {
    match component {
        Component::Servers => DEADLINE_SERVERS,
        Component::Kubelet => DEADLINE_KUBELET,
    }
}

/// The first twelve hexadecimal digits of SHA-256: a name, not a proof, and enough for 100,000 nodes.
fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// As much of a text as a DNS label can show.
fn legal(text: &str, length: usize) -> String {
    let shown: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(length)
        .collect();
    let trimmed = shown.trim_matches('-');
    if trimmed.is_empty() { "node".to_owned() } else { trimmed.to_owned() }
}
