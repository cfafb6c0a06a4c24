//! Recognises files of development versions from before the journal's format was fixed. They are refused with a
//! message that says so: the step ids of that time were texts that would have to be parsed.

use serde_json::Value;

use super::yaml::untyped;

/// The kinds of entries from before entries were grouped.
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
/// A key that every step of such a plan had.
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
