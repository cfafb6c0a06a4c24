//! The Job that reaches one host, and the namespace for it: complete objects, equal for equal orders. All providers
//! that work with Jobs share it; the script on the host is the provider's.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::{Order, Role, Script};
use crate::model::label_value::{hash, label_value};
use crate::model::names::{CLUSTER, COMPONENT, MADE_ANEW, NAMESPACE, NODE, RUN, STEP, TARGET};
use crate::model::version::Version;

/// The exit code of a script that refused before it changed anything on its host; see [`nothing_was_changed`].
pub const REFUSED: i32 = 10;

/// The container enters the host's namespaces and starts the launcher there. The termination message is opened
/// before, because the host has no such file.
const ENTER: &str = r#"exec 3>>/dev/termination-log; exec nsenter -t 1 -m -u -i -n -p -- /bin/sh -c "$1" "$2" "$2" "$3" "$4""#;

/// The launcher: it starts a script on the host and follows it.
const LAUNCH: &str = include_str!("host/launch.sh");

/// The namespace of the Jobs, with the Pod Security level that they need.
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

/// True if a failed Job left its host as it found it: the script looked, refused, and said why. What an earlier
/// attempt changed is another question.
///
/// `exit_code` is that of the Job's container; `None` if it is unknown because the container was killed, its pod is
/// gone, or it never started. Then something may have been changed.
pub fn nothing_was_changed(exit_code: Option<i32>) -> bool {
    exit_code == Some(REFUSED)
}

pub(super) fn launch_script(image: Option<&str>) -> Script {
    let title = match image {
        Some(image) => format!("the way to the host, by a Job of the image {image}"),
        None => "the way to the host, by a Job whose image is not named yet".to_owned(),
    };
    Script { title, text: LAUNCH.to_owned() }
}

/// How long a Job stays after its end: while it is there, a node that it left half upgraded is not given back.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The whole Job. `script` runs on the host; the Job watches it for as long as `deadline`.
pub(super) fn job(order: &Order, script: &str, deadline: SignedDuration) -> Value {
    let (labels, annotations) = marks(order);
    let mut of_job = annotations.clone();
    if order.anew {
        of_job.insert(MADE_ANEW.into(), "true".into());
    }
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(order),
            "namespace": NAMESPACE,
            "labels": labels,
            "annotations": of_job,
        },
        "spec": {
            // One pod, once. Whether to try again is decided by looking at the node, and is another Job.
            "backoffLimit": 0,
            // It begins by a second write, which the API server refuses if anybody has changed the Job meanwhile. A
            // process that was frozen before it sent the first one does no harm when it wakes up.
            "suspend": true,
            "completions": 1,
            "ttlSecondsAfterFinished": KEPT.as_secs(),
            "parallelism": 1,
            // It bounds the watching; the unit on the host has its own time limit.
            "activeDeadlineSeconds": deadline.as_secs(),
            "template": {
                "metadata": { "labels": labels, "annotations": annotations },
                "spec": pod(order, script),
            },
        },
    })
}

/// The name of the Job of one attempt. The same attempt gets the same name, from every process and after every crash.
pub fn job_name(order: &Order) -> String {
    let Order { cluster, run, node_move, attempt, .. } = order;
    let component = order.role.component().as_str();
    let to = node_move.to.to_string();
    let identity = format!("{cluster}/{run}/{}/{component}/{to}/{attempt}", node_move.node.uid);
    // The readable part is for people, the hash makes the name unique. Node and component have 25 characters
    // together; with 12 of the version, 12 of the hash, 10 of the attempt and four dashes that makes 63.
    let name = [
        legal(&node_move.node.name, 25_usize.saturating_sub(component.len())),
        component.to_owned(),
        legal(&to, 12),
        hash(&identity),
        attempt.to_string(),
    ];
    name.join("-")
}

/// The labels and annotations by which Job and pod are found and read.
fn marks(order: &Order) -> (Map<String, Value>, Map<String, Value>) {
    let target = order.node_move.to.to_string();
    let mut labels = Map::new();
    let mut annotations = Map::new();
    labels.insert("app.kubernetes.io/managed-by".into(), "windlass".into());
    for (key, text) in [
        (RUN, order.run),
        (NODE, &order.node_move.node.name),
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
    annotations.insert(STEP.into(), order.step.to_string().into());
    (labels, annotations)
}

fn pod(order: &Order, script: &str) -> Value {
    json!({
        // Bypasses the scheduler: the node is cordoned, and no other node will do.
        "nodeName": order.node_move.node.name,
        "tolerations": [{ "operator": "Exists" }],
        "priorityClassName": "system-node-critical",
        "restartPolicy": "Never",
        "hostPID": true,
        // It needs no pod network, which may be broken on this node.
        "hostNetwork": true,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        // No part of the work is in the container, so it can end at once.
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "upgrade",
            "image": order.kubeadm.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh", "-c", ENTER, "windlass"],
            "args": [LAUNCH, unit(order.role, &order.node_move.to), job_name(order), script],
            "securityContext": { "privileged": true, "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false },
            "resources": {
                "requests": { "cpu": "10m", "memory": "16Mi" },
                "limits": { "memory": "128Mi" },
            },
            "terminationMessagePath": "/dev/termination-log",
            // If the container does not even reach the host, only its log has the reason.
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }],
    })
}

/// The transient unit on the host. Run and attempt are not in its name: a second Job for the same work finds the unit
/// of the first.
fn unit(role: Role, to: &Version) -> String {
    format!("windlass-{}-{}", role.component().as_str(), to.to_string().replace('+', "-"))
}

/// The part of a text that a DNS label can show.
fn legal(text: &str, length: usize) -> String {
    let shown: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(length)
        .collect();
    let trimmed = shown.trim_matches('-');
    if trimmed.is_empty() { "node".to_owned() } else { trimmed.to_owned() }
}
