//! The three patch kinds that are pure functions of the object: JSON patch, merge patch, strategic merge patch.

use super::status::{Refusal, Served};
use http::StatusCode;
use serde_json::{Map, Value};

/// Applies RFC 6902 operations.
pub(super) fn json_patch(tree: &mut Value, body: &[u8]) -> Served<()> {
    let patch: json_patch::Patch = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
    json_patch::patch(tree, &patch.0).map_err(|_| {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            "the server rejected our request due to an error in our request",
        )
    })
}

/// Applies an RFC 7386 merge patch.
pub(super) fn merge_patch(tree: &mut Value, body: &[u8]) -> Served<()> {
    json_patch::merge(tree, &object(body)?);
    Ok(())
}

/// Applies a strategic merge patch, with the merge keys of the kinds that are served.
pub(super) fn strategic(tree: &mut Value, body: &[u8]) -> Served<()> {
    merge_value(tree, object(body)?);
    Ok(())
}

fn object(body: &[u8]) -> Served<Value> {
    let patch: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
    if patch.is_object() {
        Ok(patch)
    } else {
        Err(Refusal::bad_request("error decoding patch: not an object"))
    }
}

/// The key that makes two entries of a list the same one; none where the list is replaced as a whole.
pub(super) fn merge_key(field: &str, items: &[Value]) -> Option<&'static str> {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets"
        | "volumeClaimTemplates"
        | "resourceClaims" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "ports" if items.iter().any(|item| item.get("containerPort").is_some()) => Some("containerPort"),
        "ports" if items.iter().any(|item| item.get("port").is_some()) => Some("port"),
        "conditions" | "addresses" => Some("type"),
        "ownerReferences" => Some("uid"),
        "hostAliases" | "podIPs" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        _ => None,
    }
}

fn merge_value(target: &mut Value, patch: Value) {
    let Value::Object(mut patch) = patch else {
        *target = patch;
        return;
    };
    match patch.remove("$patch").as_ref().and_then(Value::as_str) {
        Some("replace") => {
            *target = Value::Object(patch);
            return;
        }
        Some("delete") => {
            *target = Value::Null;
            return;
        }
        _ => {}
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    retain_keys(target, &mut patch);
    for (key, value) in patch {
        merge_field(target, &key, value);
    }
}

fn retain_keys(target: &mut Map<String, Value>, patch: &mut Map<String, Value>) {
    if let Some(Value::Array(keep)) = patch.remove("$retainKeys") {
        target.retain(|key, _| keep.iter().any(|kept| kept.as_str() == Some(key)));
    }
}

fn merge_field(target: &mut Map<String, Value>, key: &str, value: Value) {
    if key.starts_with("$setElementOrder/") {
        return;
    }
    if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
        if let (Some(Value::Array(items)), Value::Array(gone)) = (target.get_mut(field), value) {
            items.retain(|item| !gone.contains(item));
        }
        return;
    }
    match value {
        Value::Null => {
            target.remove(key);
        }
        Value::Array(items) => merge_list(target, key, items),
        Value::Object(_) => {
            let mut place = target.remove(key).unwrap_or(Value::Null);
            merge_value(&mut place, value);
            if !place.is_null() {
                target.insert(key.to_owned(), place);
            }
        }
        plain => {
            target.insert(key.to_owned(), plain);
        }
    }
}

fn merge_list(target: &mut Map<String, Value>, field: &str, items: Vec<Value>) {
    let old = match target.remove(field) {
        Some(Value::Array(old)) => old,
        _ => Vec::new(),
    };
    let replaces = items.iter().any(|item| directive(item) == Some("replace"));
    let merged = if replaces {
        items.into_iter().filter(|item| directive(item).is_none()).collect()
    } else if matches!(field, "finalizers" | "podCIDRs") {
        union(old, items)
    } else if let Some(key) = merge_key(field, &items).or_else(|| merge_key(field, &old)) {
        merge_by_key(old, items, key)
    } else {
        items
    };
    target.insert(field.to_owned(), Value::Array(merged));
}

fn directive(item: &Value) -> Option<&str> {
    item.get("$patch").and_then(Value::as_str)
}

fn union(mut old: Vec<Value>, items: Vec<Value>) -> Vec<Value> {
    for item in items {
        if !old.contains(&item) {
            old.push(item);
        }
    }
    old
}

fn merge_by_key(mut list: Vec<Value>, items: Vec<Value>, key: &str) -> Vec<Value> {
    for item in items {
        let same = |entry: &Value| entry.get(key).is_some() && entry.get(key) == item.get(key);
        let place = list.iter().position(same);
        if directive(&item) == Some("delete") {
            if let Some(place) = place {
                list.remove(place);
            }
        } else if let Some(entry) = place.and_then(|place| list.get_mut(place)) {
            merge_value(entry, item);
        } else {
            let mut entry = Value::Null;
            merge_value(&mut entry, item);
            list.push(entry);
        }
    }
    list
}
