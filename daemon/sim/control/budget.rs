//! The disruption controller: what a budget expects, desires and allows.

use super::pod::set_condition;
use crate::sim::audit::Breach;
use crate::sim::cluster::Cluster;
use crate::sim::json::{self, count, int, set};
use crate::sim::object::{Key, Object};
use crate::sim::queue::Task;
use crate::sim::resource::Kind;
use crate::sim::store::Store;
use crate::sim::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long an accepted eviction is believed before its pod is counted again.
const DISRUPTION_TIMEOUT: SignedDuration = SignedDuration::from_secs(120);

/// What the arithmetic of a budget comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Sum {
    pub expected: usize,
    pub desired: usize,
}

/// The budgets that count a pod.
pub(in crate::sim) fn matching<'a>(
    store: &'a Store,
    pod: &Object,
) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
    store.budgets_of(pod).into_iter().filter(|budget| !budget.deleting)
}

pub(in crate::sim) fn controller_of<'a>(store: &'a Store, object: &Object) -> Option<&'a Arc<Object>> {
    let owner = object.controller()?;
    let kind = Kind::named(&owner.api_version, &owner.kind)?;
    let namespace = if kind.resource().namespaced { object.key.namespace.as_ref() } else { "" };
    store.get(kind, &Key::new(namespace, &owner.name)).filter(|found| found.uid == owner.uid)
}

/// The budgets that the loss of a healthy pod has broken.
pub(in crate::sim) fn broken_by(store: &Store, lost: &Object, at: Timestamp) -> Vec<Breach> {
    let mut broken = Vec::new();
    for budget in matching(store, lost) {
        let pods = matched(store, budget);
        let Ok(sum) = sum(store, budget, &pods) else { continue };
        let healthy = pods.iter().filter(|pod| pod.healthy()).count();
        if healthy < sum.desired {
            broken.push(Breach {
                at,
                namespace: budget.key.namespace.to_string(),
                budget: budget.key.name.to_string(),
                pod: lost.key.name.to_string(),
                healthy,
                desired: sum.desired,
            });
        }
    }
    broken
}

fn matched<'a>(store: &'a Store, budget: &'a Object) -> Vec<&'a Arc<Object>> {
    budget.selector().map(|selector| store.selected(&budget.key.namespace, selector)).unwrap_or_default()
}

/// Expected and desired counts, or why they cannot be known.
pub(in crate::sim) fn sum(store: &Store, budget: &Object, pods: &[&Arc<Object>]) -> Result<Sum, String> {
    let spec = |field| json::at(budget.tree(), &["spec", field]).filter(|value| !value.is_null());
    if let Some(limit) = spec("maxUnavailable") {
        let expected = expected_scale(store, pods)?;
        let out = scaled(limit, expected);
        return Ok(Sum { expected, desired: expected.saturating_sub(out) });
    }
    let Some(limit) = spec("minAvailable") else { return Ok(Sum { expected: pods.len(), desired: 0 }) };
    if limit.is_number() {
        return Ok(Sum { expected: pods.len(), desired: scaled(limit, 0) });
    }
    let expected = expected_scale(store, pods)?;
    Ok(Sum { expected, desired: scaled(limit, expected) })
}

/// A number, or a percentage of a whole; parts count as one more.
pub(super) fn scaled(limit: &Value, whole: usize) -> usize {
    match limit {
        Value::String(text) => {
            let percent = text.trim_end_matches('%').parse::<usize>().unwrap_or_default();
            (percent * whole).div_ceil(100)
        }
        other => other.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_default(),
    }
}

fn expected_scale(store: &Store, pods: &[&Arc<Object>]) -> Result<usize, String> {
    let mut scales = BTreeMap::new();
    for pod in pods {
        let Some(owner) = pod.controller() else { continue };
        if scales.contains_key(&owner.uid) {
            continue;
        }
        let (uid, scale) = controller_scale(store, pod, owner)?;
        scales.insert(uid, scale);
    }
    Ok(scales.values().sum())
}

/// The controller that counts, and its replicas: a `ReplicaSet`'s Deployment where it has one.
fn controller_scale(
    store: &Store,
    pod: &Object,
    owner: &crate::sim::object::Owner,
) -> Result<(Arc<str>, usize), String> {
    let missing = || format!("found no controllers for pod {:?}", &*pod.key.name);
    let found = controller_of(store, pod);
    match (&*owner.kind, found) {
        ("ReplicaSet", Some(set)) => {
            let top = controller_of(store, set).filter(|top| top.kind == Kind::Deployment).unwrap_or(set);
            Ok((Arc::clone(&top.uid), count(top.tree(), &["spec", "replicas"], 1)))
        }
        ("StatefulSet", Some(set)) => Ok((Arc::clone(&set.uid), count(set.tree(), &["spec", "replicas"], 1))),
        ("Job" | "DaemonSet", Some(found)) => {
            Err(format!("{} does not implement the scale subresource", found.kind.resource().qualified()))
        }
        _ => Err(missing()),
    }
}

/// The condition that says whether anything may be evicted now.
pub(in crate::sim) fn set_allowed_condition(tree: &mut Value, allowed: i64, at: Timestamp) {
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let generation = int(tree, &["status", "observedGeneration"]).unwrap_or_default();
    let condition = json!({
        "type": "DisruptionAllowed", "status": status, "reason": reason, "message": "", "observedGeneration": generation,
    });
    set_condition(tree, condition, at);
}

impl Cluster {
    pub(super) fn sync_budget(&mut self, key: &Key, at: Timestamp) {
        let Some(budget) = self.store.get(Kind::PodDisruptionBudget, key).cloned() else { return };
        let pods = matched(&self.store, &budget);
        let sum = sum(&self.store, &budget, &pods);
        let disrupted = still_disrupted(&budget, &pods, at);
        let counted = |pod: &&&Arc<Object>| pod.healthy() && !disrupted.contains_key(&*pod.key.name);
        let healthy = pods.iter().filter(counted).count();
        let pending = !disrupted.is_empty();
        self.edit(Kind::PodDisruptionBudget, key, at, |tree| match sum {
            Ok(sum) => write(tree, sum, healthy, disrupted, at),
            Err(why) => {
                set(tree, &["status", "disruptionsAllowed"], 0);
                let condition = json!({
                    "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": why,
                    "observedGeneration": int(tree, &["status", "observedGeneration"]).unwrap_or_default(),
                });
                set_condition(tree, condition, at);
            }
        });
        if pending {
            self.later(Task::Budget(key.clone()), time::after(at, DISRUPTION_TIMEOUT));
        }
    }
}

/// Evictions that were accepted and are not yet to be seen.
fn still_disrupted(budget: &Object, pods: &[&Arc<Object>], at: Timestamp) -> Map<String, Value> {
    let all = json::at(budget.tree(), &["status", "disruptedPods"]).and_then(Value::as_object);
    let fresh = |since: &Value| {
        let since = since.as_str().and_then(time::parse_time);
        since.is_some_and(|since| at.duration_since(since) < DISRUPTION_TIMEOUT)
    };
    let waits = |name: &str| pods.iter().any(|pod| &*pod.key.name == name && !pod.deleting);
    all.into_iter()
        .flatten()
        .filter(|(name, since)| fresh(since) && waits(name))
        .map(|(name, since)| (name.clone(), since.clone()))
        .collect()
}

fn write(tree: &mut Value, sum: Sum, healthy: usize, disrupted: Map<String, Value>, at: Timestamp) {
    let allowed = if sum.expected == 0 { 0 } else { healthy.saturating_sub(sum.desired) };
    let generation = int(tree, &["metadata", "generation"]).unwrap_or_default();
    set(tree, &["status", "observedGeneration"], generation);
    for (field, number) in [
        ("currentHealthy", healthy),
        ("desiredHealthy", sum.desired),
        ("expectedPods", sum.expected),
        ("disruptionsAllowed", allowed),
    ] {
        set(tree, &["status", field], number);
    }
    if disrupted.is_empty() {
        json::remove(tree, &["status", "disruptedPods"]);
    } else {
        set(tree, &["status", "disruptedPods"], disrupted);
    }
    set_allowed_condition(tree, i64::try_from(allowed).unwrap_or(i64::MAX), at);
}
