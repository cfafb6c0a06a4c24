//! Total accessors over JSON values: absent and mistyped fields read as empty, and nothing here can panic.

use serde_json::{Map, Value};

/// The value at a path of object keys.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |here, key| here.get(*key))
}

/// The text at a path, empty where there is none.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn int(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path).and_then(Value::as_i64)
}

pub(super) fn count(value: &Value, path: &[&str], absent: usize) -> usize {
    int(value, path).map_or(absent, |number| usize::try_from(number).unwrap_or_default())
}

pub(super) fn flag(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or_default()
}

pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn is_set(value: &Value, path: &[&str]) -> bool {
    at(value, path).is_some_and(|found| !found.is_null())
}

/// The place at a path; objects are made on the way.
pub(super) fn slot<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Value {
    let mut here = value;
    for key in path {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        here = match here {
            Value::Object(map) => map.entry((*key).to_owned()).or_insert(Value::Null),
            other => other,
        };
    }
    here
}

pub(super) fn set(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    *slot(value, path) = new.into();
}

pub(super) fn set_absent(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    if !is_set(value, path) {
        set(value, path, new);
    }
}

pub(super) fn remove(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut here = value;
    for key in parents {
        here = here.get_mut(*key)?;
    }
    here.as_object_mut()?.remove(*last)
}

/// The list at a path; made where there is none.
pub(super) fn list_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Vec<Value>> {
    let place = slot(value, path);
    if place.is_null() {
        *place = Value::Array(Vec::new());
    }
    place.as_array_mut()
}

/// An object's map of text to text, such as labels.
pub(super) fn pairs<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    at(value, path)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, item)| item.as_str().map(|item| (key.as_str(), item)))
}

/// The status of a condition, empty where the object has none of that type.
pub(super) fn condition<'a>(value: &'a Value, kind: &str) -> &'a str {
    find_condition(value, kind).map(|found| text(found, &["status"])).unwrap_or_default()
}

pub(super) fn find_condition<'a>(value: &'a Value, kind: &str) -> Option<&'a Value> {
    list(value, &["status", "conditions"]).iter().find(|condition| text(condition, &["type"]) == kind)
}
