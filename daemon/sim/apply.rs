//! Server-side apply: who owns which field, what conflicts, and what goes when its owner no longer mentions it.
//!
//! Simplified: only managers that apply are recorded (plain updates own nothing, so applying over them never
//! conflicts), and lists are merged by the one key that strategic merge uses for them.

use super::json::{self, list, text};
use super::patch::merge_key;
use super::status::{Refusal, Served};
use super::time;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Who applies, to what, and how firmly.
#[derive(Clone, Copy, Debug)]
pub(super) struct By<'a> {
    pub manager: &'a str,
    pub subresource: &'a str,
    pub force: bool,
    pub at: Timestamp,
}

/// Reads the applied configuration. JSON is YAML; other YAML is refused.
pub(super) fn read_config(body: &[u8]) -> Served<Value> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::bad_request(format!(
            "error decoding YAML: the simulated API server reads apply patches as JSON: {error}"
        ))
    })
}

/// The live object with the configuration applied to it.
pub(super) fn merge(live: &Value, config: &Value, by: By<'_>) -> Served<Value> {
    let fields = owned(config, true);
    let (mine, others) = managers(live, by);
    let mut conflicts = Vec::new();
    for other in &others {
        let mut paths = Vec::new();
        conflicting(config, live, other.get("fieldsV1").unwrap_or(&Value::Null), "", &mut paths);
        conflicts.extend(paths.into_iter().map(|path| (text(other, &["manager"]), path)));
    }
    if !conflicts.is_empty() && !by.force {
        return Err(conflict(&conflicts));
    }
    let mut tree = live.clone();
    if let Some(mine) = &mine {
        let kept: Vec<_> = others.iter().filter_map(|other| other.get("fieldsV1")).chain([&fields]).collect();
        drop_unmentioned(&mut tree, mine, &kept);
    }
    overlay(&mut tree, config);
    record(&mut tree, config, &fields, &others, by);
    Ok(tree)
}

/// My earlier fields, and the other managers' entries.
fn managers(live: &Value, by: By<'_>) -> (Option<Value>, Vec<Value>) {
    let (mine, others): (Vec<_>, Vec<_>) =
        list(live, &["metadata", "managedFields"]).iter().cloned().partition(|entry| {
            text(entry, &["manager"]) == by.manager && text(entry, &["subresource"]) == by.subresource
        });
    (mine.into_iter().next().and_then(|entry| entry.get("fieldsV1").cloned()), others)
}

/// The fields that a configuration mentions, as `FieldsV1`.
fn owned(config: &Value, top: bool) -> Value {
    let mut fields = Map::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        if top && matches!(key.as_str(), "apiVersion" | "kind") {
            continue;
        }
        let mut child = owned_value(key, value);
        if top && key == "metadata" {
            for name in [
                "f:name",
                "f:namespace",
                "f:resourceVersion",
                "f:uid",
                "f:creationTimestamp",
                "f:managedFields",
            ] {
                json::remove(&mut child, &[name]);
            }
            if child == json!({}) {
                continue;
            }
        }
        fields.insert(format!("f:{key}"), child);
    }
    Value::Object(fields)
}

fn owned_value(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(map) if !map.is_empty() => owned(value, false),
        Value::Array(items) => match merge_key(key, items) {
            Some(name) => {
                Value::Object(items.iter().map(|item| (item_name(item, name), owned(item, false))).collect())
            }
            None => json!({}),
        },
        _ => json!({}),
    }
}

fn item_name(item: &Value, key: &str) -> String {
    format!("k:{}", json!({key: item.get(key).cloned().unwrap_or(Value::Null)}))
}

/// The item of a keyed list that a `k:{…}` name means.
fn item<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let keys: Value = serde_json::from_str(name.strip_prefix("k:")?).ok()?;
    value.as_array()?.iter().find(|item| has_keys(item, &keys))
}

fn has_keys(item: &Value, keys: &Value) -> bool {
    keys.as_object().into_iter().flatten().all(|(key, value)| item.get(key) == Some(value))
}

fn child<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match name.strip_prefix("f:") {
        Some(key) => value.get(key),
        None => item(value, name),
    }
}

fn conflicting(config: &Value, live: &Value, theirs: &Value, path: &str, found: &mut Vec<String>) {
    for (name, rest) in theirs.as_object().into_iter().flatten() {
        let Some(wanted) = child(config, name) else { continue };
        let path = match name.strip_prefix("f:") {
            Some(key) => format!("{path}.{key}"),
            None => format!("{path}[{}]", shown_key(name)),
        };
        let there = child(live, name).unwrap_or(&Value::Null);
        if rest.as_object().is_none_or(Map::is_empty) {
            if wanted != there {
                found.push(path);
            }
        } else {
            conflicting(wanted, there, rest, &path, found);
        }
    }
}

fn shown_key(name: &str) -> String {
    let keys: Value =
        name.strip_prefix("k:").and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
    let parts: Vec<_> =
        keys.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    parts.join(",")
}

fn conflict(conflicts: &[(&str, String)]) -> Refusal {
    let many = conflicts.len();
    let (manager, first) = conflicts.first().map_or(("", ""), |(manager, path)| (*manager, path.as_str()));
    let message = if many == 1 {
        format!("Apply failed with 1 conflict: conflict with {manager:?}: {first}")
    } else {
        let lines: Vec<_> = conflicts.iter().map(|(_, path)| format!("- {path}")).collect();
        format!("Apply failed with {many} conflicts: conflicts with {manager:?}:\n{}", lines.join("\n"))
    };
    let refusal = Refusal::new(StatusCode::CONFLICT, "Conflict", message);
    conflicts.iter().fold(refusal, |refusal, (manager, path)| {
        refusal.cause("FieldManagerConflict", &format!("conflict with {manager:?}"), Some(path))
    })
}

/// Removes what I owned before and nobody mentions now.
fn drop_unmentioned(tree: &mut Value, mine: &Value, kept: &[&Value]) {
    for (name, rest) in mine.as_object().into_iter().flatten() {
        let still: Vec<_> = kept.iter().filter_map(|fields| fields.get(name)).collect();
        if still.is_empty() {
            remove_child(tree, name);
        } else if let Some(child) = child_mut(tree, name) {
            drop_unmentioned(child, rest, &still);
        }
    }
}

fn remove_child(tree: &mut Value, name: &str) {
    if let Some(key) = name.strip_prefix("f:") {
        json::remove(tree, &[key]);
    } else if let (Some(keys), Some(items)) = (name.strip_prefix("k:"), tree.as_array_mut()) {
        let keys: Value = serde_json::from_str(keys).unwrap_or(Value::Null);
        items.retain(|item| !has_keys(item, &keys));
    }
}

fn child_mut<'a>(tree: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    if let Some(key) = name.strip_prefix("f:") {
        return tree.get_mut(key);
    }
    let keys: Value = serde_json::from_str(name.strip_prefix("k:")?).ok()?;
    tree.as_array_mut()?.iter_mut().find(|item| has_keys(item, &keys))
}

fn overlay(tree: &mut Value, config: &Value) {
    let Value::Object(config) = config else {
        *tree = config.clone();
        return;
    };
    if !tree.is_object() {
        *tree = json!({});
    }
    for (key, value) in config {
        let place = json::slot(tree, &[key]);
        match value {
            Value::Array(items) => overlay_list(place, key, items),
            Value::Null => *place = Value::Null,
            _ => overlay(place, value),
        }
    }
}

fn overlay_list(place: &mut Value, field: &str, items: &[Value]) {
    let Some(key) = merge_key(field, items) else {
        *place = Value::Array(items.to_vec());
        return;
    };
    if !place.is_array() {
        *place = json!([]);
    }
    let Some(list) = place.as_array_mut() else { return };
    for item in items {
        match list.iter_mut().find(|entry| entry.get(key) == item.get(key)) {
            Some(entry) => overlay(entry, item),
            None => list.push(item.clone()),
        }
    }
}

fn record(tree: &mut Value, config: &Value, fields: &Value, others: &[Value], by: By<'_>) {
    let mut entry = json!({
        "manager": by.manager, "operation": "Apply", "apiVersion": text(config, &["apiVersion"]),
        "time": time::seconds(by.at), "fieldsType": "FieldsV1", "fieldsV1": fields,
    });
    if !by.subresource.is_empty() {
        json::set(&mut entry, &["subresource"], by.subresource);
    }
    let same =
        list(tree, &["metadata", "managedFields"]).iter().find(|old| same_but_time(old, &entry)).cloned();
    let mut entries = others.to_vec();
    entries.push(same.unwrap_or(entry));
    json::set(tree, &["metadata", "managedFields"], entries);
}

/// Applying the same again writes nothing, so the time of an entry is when it last changed.
fn same_but_time(old: &Value, new: &Value) -> bool {
    let timeless = |entry: &Value| {
        let mut entry = entry.clone();
        json::remove(&mut entry, &["time"]);
        entry
    };
    timeless(old) == timeless(new)
}
