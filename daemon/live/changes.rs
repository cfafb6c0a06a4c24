//! What would change of an object, field by field.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::manifest::{FieldChange, ObjectRef};
use crate::model::names::{ADDON_VERSION, MANIFEST};

/// The most changed fields of one object that are kept, and the longest value.
const MOST_CHANGES: usize = 200;
const LONGEST_VALUE: usize = 4096;

/// The fields that would change, in the order of their paths. What the API server counts itself is left out, and values of
/// Secrets are not told.
pub(super) fn changes(object: &ObjectRef, live: &Value, asked: &Value) -> Vec<FieldChange> {
    let (before, after) = (flat(live), flat(asked));
    let mut fields: Vec<&String> = before.keys().chain(after.keys()).collect();
    fields.sort_unstable();
    fields.dedup();
    let value = |of: &BTreeMap<String, String>, field: &str| of.get(field).map(|text| cut(text));
    let secret =
        |field: &str| object.is_secret() && ["data", "stringData"].iter().any(|map| field.starts_with(map));
    let change = |field: &String| {
        if before.get(field) == after.get(field) {
            return None;
        }
        let (from, to) = (value(&before, field), value(&after, field));
        let masked = |value: Option<String>| value.map(|_| "(a secret value)".to_owned());
        let (from, to) = if secret(field) { (masked(from), masked(to)) } else { (from, to) };
        Some(FieldChange { field: field.clone(), from, to })
    };
    fields.into_iter().filter_map(change).take(MOST_CHANGES).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Fields of `metadata` that the API server writes, and those that say what was applied and when.
const COUNTED: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "uid",
    "selfLink",
    "deletionTimestamp",
];
const NOTES: [&str; 4] = [
    MANIFEST,
    ADDON_VERSION,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
];

/// Every value by its path.
fn flat(value: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        match key.as_str() {
            "status" => {}
            "metadata" => {
                let mut metadata = value.as_object().cloned().unwrap_or_default();
                metadata.retain(|key, _| !COUNTED.contains(&key.as_str()));
                if let Some(Value::Object(notes)) = metadata.get_mut("annotations") {
                    notes.retain(|key, _| !NOTES.contains(&key.as_str()));
                }
                flatten("metadata", &Value::Object(metadata), &mut all);
            }
            _ => flatten(key, value, &mut all),
        }
    }
    all
}

fn flatten(path: &str, value: &Value, all: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path =
                    if key.contains(['.', '/']) { format!("{path}[{key}]") } else { format!("{path}.{key}") };
                flatten(&path, value, all);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                let name = named(items).then(|| item.get("name").and_then(Value::as_str)).flatten();
                let name = name.map_or_else(|| index.to_string(), str::to_owned);
                flatten(&format!("{path}[{name}]"), item, all);
            }
        }
        Value::String(text) => drop(all.insert(path.to_owned(), text.clone())),
        Value::Object(Map { .. }) | Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {
            all.insert(path.to_owned(), value.to_string());
        }
    }
}

/// True if every item has a name of its own.
fn named(items: &[Value]) -> bool {
    let mut names: Vec<&str> = items.iter().filter_map(|item| item.get("name")?.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.len() == items.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str) -> ObjectRef {
        ObjectRef {
            api_version: "v1".into(),
            kind: kind.into(),
            namespace: Some("a".into()),
            name: "b".into(),
        }
    }

    #[test]
    fn changes_are_told_by_field_and_what_the_server_counts_is_not() {
        let before = json!({"metadata": {"name": "b", "generation": 1, "annotations": {MANIFEST: "x", "a/b": "1"}},
            "spec": {"containers": [{"name": "one", "image": "a:1"}, {"name": "two", "image": "b:1"}], "args": ["x", "y"]},
            "status": {"ready": 1}});
        let after = json!({"metadata": {"name": "b", "generation": 2, "annotations": {MANIFEST: "y", "a/b": "2"}},
            "spec": {"containers": [{"name": "two", "image": "b:2"}, {"name": "one", "image": "a:1"}], "args": ["x"]}});
        let told: Vec<String> = changes(&object("Pod"), &before, &after)
            .into_iter()
            .map(|change| format!("{} {:?} {:?}", change.field, change.from, change.to))
            .collect();
        let expected = [
            r#"metadata.annotations[a/b] Some("1") Some("2")"#,
            r#"spec.args[1] Some("y") None"#,
            r#"spec.containers[two].image Some("b:1") Some("b:2")"#,
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn values_of_a_secret_are_not_told() {
        let (before, after) =
            (json!({"data": {"pin": "MTIz"}}), json!({"data": {"pin": "NDU2", "new": "Nzg5"}}));
        let told = changes(&object("Secret"), &before, &after);
        let text = format!("{told:?}");
        assert_eq!(told.len(), 2);
        assert!(!["MTIz", "NDU2", "Nzg5"].iter().any(|value| text.contains(value)), "{text}");
        assert_eq!(changes(&object("ConfigMap"), &before, &after)[1].to.as_deref(), Some("NDU2"));
    }
}
