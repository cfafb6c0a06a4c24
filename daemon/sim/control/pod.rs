//! Pods: how they are made from a template, what their kubelet says of them, and how they start and stop.

use crate::sim::cluster::Cluster;
use crate::sim::json::{self, find_condition, list, set, text};
use crate::sim::object::{Key, Object, Phase};
use crate::sim::queue::Task;
use crate::sim::request::Place;
use crate::sim::resource::Kind;
use crate::sim::{seed, time};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// A pod's own timing, where an annotation gives one.
pub(in crate::sim) fn own_seconds(pod: &Object, annotation: &str) -> Option<SignedDuration> {
    let seconds: f64 = text(pod.tree(), &["metadata", "annotations", annotation]).parse().ok()?;
    SignedDuration::try_from_secs_f64(seconds).ok()
}

/// A pod as a controller writes it.
pub(super) fn from_template(template: &Value, owner: &Object, name: &str) -> Value {
    let mut metadata =
        template.get("metadata").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    if let Some(prefix) = name.strip_suffix('-') {
        set(&mut metadata, &["generateName"], format!("{prefix}-"));
    } else {
        set(&mut metadata, &["name"], name);
    }
    set(&mut metadata, &["ownerReferences"], json!([owner_reference(owner)]));
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
    })
}

pub(super) fn owner_reference(owner: &Object) -> Value {
    let resource = owner.kind.resource();
    json!({
        "apiVersion": resource.api_version(), "kind": resource.name, "name": &*owner.key.name, "uid": &*owner.uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// The template from which a workload makes its pods.
pub(super) fn template(workload: &Object) -> &Value {
    json::at(workload.tree(), &["spec", "template"]).unwrap_or(&Value::Null)
}

/// What tells one revision of a template from another.
pub(super) fn revision(template: &Value) -> String {
    let mut template = template.clone();
    json::remove(&mut template, &["metadata", "labels", "pod-template-hash"]);
    json::remove(&mut template, &["metadata", "creationTimestamp"]);
    // An API server keeps no empty annotations, so that a template is as before when its last annotation is removed.
    if json::pairs(&template, &["metadata", "annotations"]).next().is_none() {
        json::remove(&mut template, &["metadata", "annotations"]);
    }
    seed::hash_name(&template.to_string())
}

/// Sets a condition; its transition time moves only when its status does.
pub(in crate::sim) fn set_condition(tree: &mut Value, mut condition: Value, at: Timestamp) {
    let kind = text(&condition, &["type"]).to_owned();
    let same =
        find_condition(tree, &kind).filter(|old| text(old, &["status"]) == text(&condition, &["status"]));
    let since = same.map_or_else(|| time::seconds(at), |old| text(old, &["lastTransitionTime"]).to_owned());
    set(&mut condition, &["lastTransitionTime"], since);
    let Some(conditions) = json::list_mut(tree, &["status", "conditions"]) else { return };
    match conditions.iter_mut().find(|old| text(old, &["type"]) == kind) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

fn condition_row(kind: &str, status: bool) -> Value {
    json!({"type": kind, "status": if status { "True" } else { "False" }})
}

/// What the kubelet reports of a pod that runs.
pub(super) fn run(tree: &mut Value, ready: bool, at: Timestamp) {
    let uid = text(tree, &["metadata", "uid"]).to_owned();
    let statuses: Vec<_> = list(tree, &["spec", "containers"])
        .iter()
        .map(|container| {
            json!({
                "name": text(container, &["name"]), "image": text(container, &["image"]), "imageID": "",
                "containerID": format!("containerd://{}-{}", uid, at.as_second()),
                "ready": ready, "started": true, "restartCount": 0, "lastState": {},
                "state": {"running": {"startedAt": time::seconds(at)}},
            })
        })
        .collect();
    set(tree, &["status", "phase"], "Running");
    set(tree, &["status", "containerStatuses"], statuses);
    json::set_absent(tree, &["status", "startTime"], time::seconds(at));
    let address = address(&uid);
    set(tree, &["status", "podIP"], address.clone());
    set(tree, &["status", "podIPs"], json!([{"ip": address}]));
    for kind in ["PodReadyToStartContainers", "Initialized", "PodScheduled"] {
        set_condition(tree, condition_row(kind, true), at);
    }
    set_ready(tree, ready, at);
}

pub(super) fn set_ready(tree: &mut Value, ready: bool, at: Timestamp) {
    for kind in ["ContainersReady", "Ready"] {
        set_condition(tree, condition_row(kind, ready), at);
    }
    let statuses = json::at(tree, &["status", "containerStatuses"]).cloned();
    if let Some(Value::Array(mut statuses)) = statuses {
        for status in &mut statuses {
            set(status, &["ready"], ready);
        }
        set(tree, &["status", "containerStatuses"], statuses);
    }
}

/// What the kubelet reports of a pod whose containers have ended.
pub(in crate::sim) fn stop(tree: &mut Value, phase: Phase, reason: &str, code: i32, at: Timestamp) {
    set(tree, &["status", "phase"], phase.name());
    for kind in ["ContainersReady", "Ready"] {
        let mut condition = condition_row(kind, false);
        let why = if phase == Phase::Succeeded { "PodCompleted" } else { "PodFailed" };
        set(&mut condition, &["reason"], why);
        set_condition(tree, condition, at);
    }
    let Some(statuses) = json::list_mut(tree, &["status", "containerStatuses"]) else { return };
    for status in statuses {
        let started = text(status, &["state", "running", "startedAt"]).to_owned();
        set(status, &["ready"], false);
        set(status, &["started"], false);
        let ended = json!({
            "exitCode": code, "reason": reason, "startedAt": started, "finishedAt": time::seconds(at),
        });
        set(status, &["state"], json!({"terminated": ended}));
    }
}

fn address(uid: &str) -> String {
    let sum = uid.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    format!("10.{}.{}.{}", 64 + (sum >> 16) % 64, (sum >> 8) % 256, sum % 254 + 1)
}

impl Cluster {
    /// Creates a pod for a controller. A refusal leaves the controller to try again when something changes.
    pub(super) fn spawn(&mut self, pod: Value, namespace: &str, at: Timestamp) -> Option<Arc<Object>> {
        self.spawn_kind(Kind::Pod, pod, namespace, at)
    }

    pub(in crate::sim) fn spawn_kind(
        &mut self,
        kind: Kind,
        tree: Value,
        namespace: &str,
        at: Timestamp,
    ) -> Option<Arc<Object>> {
        let place = Place {
            resource: kind.resource(),
            namespace: namespace.to_owned(),
            name: String::new(),
            subresource: String::new(),
        };
        let (key, tree) = self.admitted(&place, tree, at).ok()?;
        Some(self.put(kind, key, tree, at))
    }

    /// The kubelet has pulled, mounted and started everything.
    pub(super) fn start_pod(&mut self, key: &Key, uid: &str, at: Timestamp) {
        let Some(pod) = self.store.get(Kind::Pod, key).filter(|pod| &*pod.uid == uid).cloned() else {
            return;
        };
        let Some(facts) = pod.pod() else { return };
        if pod.deleting || facts.phase != Phase::Pending || !self.kubelet_works(&facts.node) {
            return;
        }
        if self.volume_elsewhere(&pod, &facts.node) {
            let again = time::after(at, SignedDuration::from_secs(1));
            self.later(Task::PodStart(key.clone(), uid.into()), again);
            return;
        }
        let well = text(pod.tree(), &["metadata", "annotations", "sim/ready"]) != "false";
        let ready = well && !self.runs_a_broken_image(pod.tree());
        self.edit(Kind::Pod, key, at, |tree| run(tree, ready, at));
        self.plan_end(&pod, at);
    }

    fn runs_a_broken_image(&self, pod: &Value) -> bool {
        let broken = &self.settings.broken_images;
        let containers = json::list(pod, &["spec", "containers"]).iter();
        !broken.is_empty() && containers.map(|of| text(of, &["image"])).any(|image| broken.contains(image))
    }

    /// A Job's pod ends by itself.
    pub(super) fn plan_end(&mut self, pod: &Object, at: Timestamp) {
        if pod.controller().is_some_and(|owner| &*owner.kind == "Job") {
            let length = own_seconds(pod, "sim/run-seconds").unwrap_or(self.settings.timings.job_run);
            self.later(Task::PodFinish(pod.key.clone(), Arc::clone(&pod.uid)), time::after(at, length));
        }
    }
}
