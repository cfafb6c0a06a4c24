//! The two faces of an Event: `v1`, as it is stored, and `events.k8s.io/v1`.

use super::json::{remove, set};
use serde_json::Value;

const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("source", "deprecatedSource"),
    ("reportingComponent", "reportingController"),
];

pub(super) fn modern(core: &Value) -> Value {
    renamed(core, "events.k8s.io/v1", |(core, modern)| (core, modern))
}

pub(super) fn core(modern: &Value) -> Value {
    renamed(modern, "v1", |(core, modern)| (modern, core))
}

fn renamed(
    event: &Value,
    api_version: &str,
    order: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Value {
    let mut event = event.clone();
    for row in RENAMED {
        let (from, to) = order(*row);
        if let Some(value) = remove(&mut event, &[from]) {
            set(&mut event, &[to], value);
        }
    }
    set(&mut event, &["apiVersion"], api_version);
    set(&mut event, &["kind"], "Event");
    event
}
