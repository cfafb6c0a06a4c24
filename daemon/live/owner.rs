//! Whose an object is: who wrote it last, which program puts it back, and whether Windlass may delete it.

use serde_json::Value;

use super::manifest::There;
use super::release::gone_from_chart;
use crate::model::live::CallFailure;
use crate::model::manifest::{FoundObject, GoneObject, ManifestsQuestion, ObjectRef};
use crate::model::names::{ADDON, MANAGER, PRUNE};

/// A label or an annotation.
pub(super) fn mark<'a>(object: &'a Value, map: &str, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get(map)?.get(key)?.as_str()
}

/// Who changed the object last, other than by its status: `kubectl-edit at 2026-11-27T03:00:00Z`.
pub(super) fn changed_by(live: &Value, ours: &str) -> String {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text =
        |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let others = entries
        .into_iter()
        .flatten()
        .filter(|entry| text(entry, "subresource").is_empty() && text(entry, "manager") != ours);
    let newest = others.max_by_key(|entry| text(entry, "time"));
    newest.map_or_else(
        || "somebody changed it".to_owned(),
        |entry| format!("changed by {} at {}", text(entry, "manager"), text(entry, "time")),
    )
}

/// How an object shows that another program applies it again and again: a label or annotation, and the program's manager.
const OWNERS: [(&str, &str, &str, &str); 5] = [
    ("labels", "argocd.argoproj.io/instance", "Argo CD", "argocd-controller"),
    ("annotations", "argocd.argoproj.io/tracking-id", "Argo CD", "argocd-controller"),
    ("labels", "kustomize.toolkit.fluxcd.io/name", "Flux", "kustomize-controller"),
    ("labels", "helm.toolkit.fluxcd.io/name", "Flux", "helm-controller"),
    ("annotations", "meta.helm.sh/release-name", "a release of Helm", "helm"),
];

/// The program that would put the object back, unless people take its fields over.
pub(super) fn other_program(live: &Value, asked: &Value, take_over: &[String]) -> Option<String> {
    let taken = |manager: &str| take_over.iter().any(|name| name == manager);
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let others = || entries.into_iter().flatten().filter_map(|entry| entry.get("manager")?.as_str());
    OWNERS.iter().find_map(|(map, key, program, manager)| {
        // The label of a vendored manifest is that of the file, not of a program.
        let marked = mark(live, map, key).filter(|_| mark(asked, map, key).is_none());
        let manages = others().any(|name| name == *manager);
        let how = marked.map(|value| format!("{program} owns it: it has {key}={value}"));
        let how = how.or_else(|| manages.then(|| format!("{program} owns it: {manager} manages its fields")));
        how.filter(|_| !taken(manager))
    })
}

/// Why others that need the object cannot be applied yet.
pub(super) fn not_usable(object: &ObjectRef, live: &Value) -> Option<String> {
    if object.is_namespace() {
        let ends = live.pointer("/status/phase").and_then(Value::as_str) == Some("Terminating");
        return ends.then(|| format!("{object} is being deleted"));
    }
    if !object.is_definition() {
        return None;
    }
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
    let established = conditions.into_iter().flatten().any(|condition| {
        condition.get("type").and_then(Value::as_str) == Some("Established")
            && condition.get("status").and_then(Value::as_str) == Some("True")
    });
    (!established).then(|| format!("{object} is not Established"))
}

pub(super) fn gone_object(
    question: &ManifestsQuestion,
    object: &ObjectRef,
    found: Result<Option<There>, CallFailure>,
) -> GoneObject {
    if question.release.is_some() {
        return gone_from_chart(found);
    }
    let label = question.label.as_str();
    let (address, live) = match found {
        Ok(None) => return GoneObject::Absent,
        Err(why) => return GoneObject::Unread(why),
        Ok(Some(found)) => found,
    };
    let text = |path: &str| live.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let applied = entries.into_iter().flatten().any(|entry| {
        entry.get("manager").and_then(Value::as_str) == Some(MANAGER)
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
    });
    let ours = mark(&live, "labels", ADDON) == Some(label) && applied;
    let may_go = !object.is_kept() || mark(&live, "annotations", PRUNE) == Some("true");
    if !ours || !may_go {
        GoneObject::Kept
    } else if !text("/metadata/deletionTimestamp").is_empty() {
        GoneObject::Leaving
    } else {
        let found =
            FoundObject { uid: text("/metadata/uid"), resource_version: text("/metadata/resourceVersion") };
        GoneObject::Ours(address, found)
    }
}
