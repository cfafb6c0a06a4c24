//! Fields that a real API server refuses to change.

use super::json;
use super::resource::{Kind, Resource};
use super::status::{Refusal, Served};
use serde_json::Value;

const IMMUTABLE: &str = "field is immutable";

pub(super) fn check_immutable(resource: &Resource, name: &str, was: &Value, tree: &Value) -> Served<()> {
    let same = |path: &[&str]| json::at(was, path) == json::at(tree, path);
    let fixed: &[&[&str]] = match resource.kind {
        Kind::Job => &[&["spec", "template"], &["spec", "selector"], &["spec", "completions"]],
        Kind::Deployment | Kind::ReplicaSet | Kind::DaemonSet => &[&["spec", "selector"]],
        Kind::StatefulSet => {
            &[&["spec", "selector"], &["spec", "serviceName"], &["spec", "volumeClaimTemplates"]]
        }
        Kind::Pod => return check_pod(resource, name, was, tree),
        _ => &[],
    };
    match fixed.iter().find(|path| !same(path)) {
        Some(path) => {
            let value = json::at(tree, path).unwrap_or(&Value::Null);
            let why = format!("Invalid value: {value}: {IMMUTABLE}");
            Err(Refusal::invalid(resource, name, &path.join("."), &why))
        }
        None => Ok(()),
    }
}

/// Of a pod's spec only images, tolerations and the deadline may change.
fn check_pod(resource: &Resource, name: &str, was: &Value, tree: &Value) -> Served<()> {
    if without_free_fields(was) == without_free_fields(tree) {
        return Ok(());
    }
    let why = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
               `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
               existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
               previously negative)";
    Err(Refusal::invalid(resource, name, "spec", why))
}

fn without_free_fields(tree: &Value) -> Value {
    let mut spec = tree.get("spec").cloned().unwrap_or(Value::Null);
    for field in ["tolerations", "activeDeadlineSeconds"] {
        json::remove(&mut spec, &[field]);
    }
    for field in ["containers", "initContainers"] {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            json::remove(container, &["image"]);
        }
    }
    spec
}
