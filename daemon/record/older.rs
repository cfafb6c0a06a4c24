//! Tells files of development versions, from before the format of the journal was fixed. They are refused, and a
//! person is told why: a step's identity was a text then, which would have to be taken apart to be understood.

use serde_json::Value;

use super::yaml::untyped;

/// The kinds of entries, when they were not grouped.
const KINDS: [&str; 17] = [
    "clusterMet",
    "accepted",
    "refused",
    "waiting",
    "runStarted",
    "rollbackPoint",
    "stepStarted",
    "stepMoved",
    "stepDone",
    "stepSetAside",
    "stepFailed",
    "stepGone",
    "halted",
    "resumed",
    "stopped",
    "stopEnded",
    "runEnded",
];
/// A key that every step of a plan had.
const STEP: &str = "pool";

pub(super) fn is_entry(text: &str) -> bool {
    let Some(file) = untyped(text) else { return false };
    match file.get("what") {
        Some(Value::String(kind)) => KINDS.contains(&kind.as_str()),
        Some(Value::Object(kind)) => kind.keys().any(|kind| KINDS.contains(&kind.as_str())),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => false,
    }
}

pub(super) fn is_plan(text: &str) -> bool {
    let Some(file) = untyped(text) else { return false };
    list(&file, "stages").flat_map(|stage| list(stage, "steps")).any(|step| step.get(STEP).is_some())
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}
