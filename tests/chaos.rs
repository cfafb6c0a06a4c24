//! The faulty line: upgrades over a line that breaks in every way, while people and machines act, all drawn from a seed.
//! A judge of its own says what was wrong with a run.

mod judge;
mod judge_tests;
mod ledger;
mod real;
mod schedule;
mod server;
mod simulated;

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use windlass::model::names::SURGE;

use crate::world::fixtures::workload;

const FREEZE: &str = "apiVersion: windlass.dev/v1alpha1
kind: Freeze
metadata: {name: sale}
spec: {clusters: {}, from: \"2026-11-01T00:00\", until: \"2030-12-30T00:00\", timeZone: UTC, reason: the sale}
";

#[expect(
    clippy::disallowed_methods,
    reason = "which seeds are run, and against what, is said by who starts the test"
)]
fn setting(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}

/// The seeds that were asked for, as in `1..200`; both ends count.
fn seeds(usual: &str) -> RangeInclusive<u64> {
    let seeds = setting("WINDLASS_SEEDS", usual);
    let (first, last) = seeds.split_once("..").unwrap_or((&seeds, &seeds));
    first.parse().unwrap()..=last.parse().unwrap()
}

#[expect(clippy::print_stdout, reason = "a schedule and its result are read while the next one runs")]
fn tell(words: &str) {
    println!("{words}");
}

/// How the pool is drained: pods of the slowest budgets leave before their nodes' turn.
const DRAIN: &str = "drain: {ahead: true}";

/// The apps with budgets: only pods of budgets leave ahead.
const BUDGETED: &[&str] = &["web", "cart"];

/// The Deployment whose pod leaves by a rollout, and is never evicted.
const SURGES: &str = "single";

/// The addon: a `DaemonSet` whose image moves with Kubernetes.
const AGENT: &str = "agent";

/// The images that are ever asked for.
const AGENT_IMAGES: &[&str] = &["agent:1", "agent:2"];

/// What a commit says of the addon where it asks for the old or for the new version of everything.
fn addon(new: bool) -> String {
    let version = if new { "2" } else { "1" };
    format!(
        "  addons:\n    - {{name: {AGENT}, version: \"{version}\", image: {{namespace: default, workload: daemonset/{AGENT}, container: c}}}}\n    \
         - {{name: notes, version: \"{version}\", manifests: addons/notes}}\n"
    )
}

/// The objects of the addon of manifests: one that always is there, and one that only the old state has.
const NOTES: [&str; 2] = ["notes-first", "notes-second"];

/// The files of the addon of manifests.
fn notes(new: bool) -> [(&'static str, Option<String>); 2] {
    let object = |name: &str| {
        let text = if new { "new" } else { "old" };
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{text: {text}}}\n"
        )
    };
    [
        ("desired-state/demo/addons/notes/first.yaml", Some(object(NOTES[0]))),
        ("desired-state/demo/addons/notes/second.yaml", (!new).then(|| object(NOTES[1]))),
    ]
}

/// True if these `ConfigMap`s are as the new state asks.
fn noted(objects: &[Value]) -> bool {
    let ours: Vec<&Value> = objects
        .iter()
        .filter(|object| NOTES.iter().any(|name| object["metadata"]["name"] == *name))
        .collect();
    ours.len() == 1 && ours[0]["data"]["text"] == "new"
}

/// What runs on the workers: apps with and without budgets, one that asks for rollouts, and pods that are slow to go.
fn apps() -> Vec<Value> {
    let none = json!({});
    let mut surges = workload("Deployment", SURGES, 1, &none, &none);
    surges["metadata"]["annotations"] = json!({SURGE: "true"});
    let app = |name, replicas| workload("Deployment", name, replicas, &none, &none);
    let budget = |name: &str, mut spec: Value| {
        spec["selector"] = json!({"matchLabels": {"app": name}});
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": "default"}, "spec": spec})
    };
    let mut agent = workload("DaemonSet", AGENT, 1, &none, &none);
    agent["spec"]["template"]["spec"]["containers"][0]["image"] = json!(AGENT_IMAGES[0]);
    agent["spec"].as_object_mut().unwrap().remove("replicas");
    vec![
        agent,
        app("web", 6),
        budget("web", json!({"maxUnavailable": 1})),
        app("cart", 4),
        budget("cart", json!({"minAvailable": 3})),
        app("free", 4),
        surges,
        workload("StatefulSet", "db", 3, &json!({"sim/stop-seconds": "15"}), &none),
    ]
}
