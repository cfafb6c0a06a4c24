//! Deployments: one `ReplicaSet` per template, and a rolling update between them.

use super::pod;
use super::replicaset::set_counts;
use crate::sim::cluster::Cluster;
use crate::sim::json::{self, at as value_at, count, find_condition, int, set, text};
use crate::sim::object::{Key, Object};
use crate::sim::queue::Task;
use crate::sim::resource::Kind;
use crate::sim::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// A `ReplicaSet` as its Deployment sees it.
struct Part {
    key: Key,
    wanted: usize,
    ready: usize,
    current: bool,
}

impl Cluster {
    pub(super) fn sync_deployment(&mut self, key: &Key, at: Timestamp) {
        let Some(owner) = self.store.get(Kind::Deployment, key).filter(|found| !found.deleting).cloned()
        else {
            return;
        };
        let wanted = count(owner.tree(), &["spec", "replicas"], 1);
        if json::flag(owner.tree(), &["spec", "paused"]) {
            return self.report_deployment(&owner, wanted, at);
        }
        let mut parts = self.parts(&owner);
        if !parts.iter().any(|part| part.current) {
            self.add_replica_set(&owner, at);
            parts = self.parts(&owner);
        }
        for (key, replicas) in plan(owner.tree(), &parts, wanted) {
            self.edit(Kind::ReplicaSet, &key, at, |tree| set(tree, &["spec", "replicas"], replicas));
        }
        self.report_deployment(&owner, wanted, at);
    }

    fn parts(&self, owner: &Object) -> Vec<Part> {
        let revision = pod::revision(pod::template(owner));
        let sets = self.store.owned_by(&owner.uid, Kind::ReplicaSet).filter(|set| !set.deleting);
        sets.map(|set| {
            let wanted = count(set.tree(), &["spec", "replicas"], 1);
            Part {
                key: set.key.clone(),
                wanted,
                // Pods that are already too many are as good as gone.
                ready: self.store.ready_of(&set.uid).min(wanted),
                current: pod::revision(pod::template(set)) == revision,
            }
        })
        .collect()
    }

    fn add_replica_set(&mut self, owner: &Arc<Object>, at: Timestamp) {
        let hash = pod::revision(pod::template(owner));
        let mut template = pod::template(owner).clone();
        let mut selector =
            value_at(owner.tree(), &["spec", "selector"]).cloned().unwrap_or_else(|| json!({}));
        set(&mut template, &["metadata", "labels", "pod-template-hash"], hash.clone());
        set(&mut selector, &["matchLabels", "pod-template-hash"], hash.clone());
        let labels = value_at(&template, &["metadata", "labels"]).cloned().unwrap_or_default();
        let tree = json!({
            "metadata": {
                "name": format!("{}-{hash}", owner.key.name), "labels": labels,
                "ownerReferences": [pod::owner_reference(owner)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        });
        self.spawn_kind(Kind::ReplicaSet, tree, &owner.key.namespace, at);
    }

    fn report_deployment(&mut self, owner: &Object, wanted: usize, at: Timestamp) {
        let sets: Vec<_> = self.store.owned_by(&owner.uid, Kind::ReplicaSet).cloned().collect();
        let revision = pod::revision(pod::template(owner));
        let pods = |set: &Arc<Object>| count(set.tree(), &["status", "replicas"], 0);
        let total: usize = sets.iter().map(pods).sum();
        let updated: usize =
            sets.iter().filter(|set| pod::revision(pod::template(set)) == revision).map(pods).sum();
        let ready: usize = sets.iter().map(|set| self.store.ready_of(&set.uid)).sum();
        let (_, out) = limits(owner.tree(), wanted);
        let enough = ready >= wanted.saturating_sub(out);
        let done = updated == wanted && total == wanted && ready == wanted;
        let further = came_further(owner.tree(), updated, total, ready);
        let progress = progressing(owner, done, further, at);
        if let Some(due) = progress.due {
            self.later(Task::Deployment(owner.key.clone()), due);
        }
        self.edit(Kind::Deployment, &owner.key, at, |tree| {
            let generation = int(tree, &["metadata", "generation"]).unwrap_or_default();
            set_counts(
                tree,
                generation,
                &[
                    ("replicas", total),
                    ("updatedReplicas", updated),
                    ("readyReplicas", ready),
                    ("availableReplicas", ready),
                    ("unavailableReplicas", wanted.max(total).saturating_sub(ready)),
                ],
            );
            let (status, reason) = if enough {
                ("True", "MinimumReplicasAvailable")
            } else {
                ("False", "MinimumReplicasUnavailable")
            };
            pod::set_condition(tree, json!({"type": "Available", "status": status, "reason": reason}), at);
            pod::set_condition(tree, progress.condition, at);
        });
    }
}

/// Whether a rollout has come further since its status was written.
fn came_further(before: &Value, updated: usize, total: usize, ready: usize) -> bool {
    let was = |field| count(before, &["status", field], 0);
    let old = total.saturating_sub(updated);
    let was_old = was("replicas").saturating_sub(was("updatedReplicas"));
    let seen = int(before, &["status", "observedGeneration"]) == int(before, &["metadata", "generation"]);
    !seen || updated > was("updatedReplicas") || old < was_old || ready > was("availableReplicas")
}

/// The condition that says whether a rollout goes on, and when it would have taken too long.
struct Progressing {
    condition: Value,
    due: Option<Timestamp>,
}

fn progressing(owner: &Object, done: bool, further: bool, at: Timestamp) -> Progressing {
    let before = find_condition(owner.tree(), "Progressing");
    let updated = before.map(|old| text(old, &["lastUpdateTime"])).and_then(time::parse_time);
    let updated = updated.filter(|_| !further).unwrap_or(at);
    let deadline = int(owner.tree(), &["spec", "progressDeadlineSeconds"]).unwrap_or(600);
    let due = time::after(updated, SignedDuration::from_secs(deadline));
    let (status, reason, message) = match (done, due <= at) {
        (true, _) => ("True", "NewReplicaSetAvailable", "has successfully progressed."),
        (false, false) => ("True", "ReplicaSetUpdated", "is progressing."),
        (false, true) => ("False", "ProgressDeadlineExceeded", "has timed out progressing."),
    };
    let hash = pod::revision(pod::template(owner));
    let message = format!("ReplicaSet \"{}-{hash}\" {message}", owner.key.name);
    let condition = json!({
        "type": "Progressing", "status": status, "reason": reason, "message": message,
        "lastUpdateTime": time::seconds(updated),
    });
    Progressing { condition, due: (!done && due > at).then_some(due) }
}

/// Pods that may be added above, and missing below, the wanted number.
fn limits(tree: &Value, wanted: usize) -> (usize, usize) {
    if text(tree, &["spec", "strategy", "type"]) == "Recreate" {
        return (0, wanted);
    }
    let limit = |field| {
        value_at(tree, &["spec", "strategy", "rollingUpdate", field]).cloned().unwrap_or_else(|| json!("25%"))
    };
    let surge = super::budget::scaled(&limit("maxSurge"), wanted);
    let out = match limit("maxUnavailable") {
        // Unlike a budget, a rollout rounds down.
        Value::String(percent) => {
            percent.trim_end_matches('%').parse::<usize>().unwrap_or_default() * wanted / 100
        }
        other => super::budget::scaled(&other, wanted),
    };
    (surge, if surge == 0 { out.max(1) } else { out })
}

/// How many replicas each `ReplicaSet` should have next.
fn plan(tree: &Value, parts: &[Part], wanted: usize) -> Vec<(Key, usize)> {
    let Some(new) = parts.iter().find(|part| part.current) else { return Vec::new() };
    let old: Vec<_> = parts.iter().filter(|part| !part.current && part.wanted > 0).collect();
    if old.is_empty() {
        return vec![(new.key.clone(), wanted)];
    }
    if text(tree, &["spec", "strategy", "type"]) == "Recreate" {
        return old.iter().map(|part| (part.key.clone(), 0)).collect();
    }
    let (surge, out) = limits(tree, wanted);
    let total: usize = parts.iter().map(|part| part.wanted).sum();
    let room = (wanted + surge).saturating_sub(total);
    let mut changes = vec![(new.key.clone(), wanted.min(new.wanted + room).max(new.wanted.min(wanted)))];
    // Pods of the new template that are not Ready yet may not cost any of the old one.
    let least = wanted.saturating_sub(out);
    let mut broken_may_go = total.saturating_sub(least + new.wanted.saturating_sub(new.ready));
    if broken_may_go == 0 {
        return changes;
    }
    let ready: usize = parts.iter().map(|part| part.ready).sum();
    let mut healthy_may_go = ready.saturating_sub(least);
    for part in old {
        let broken = broken_may_go.min(part.wanted.saturating_sub(part.ready));
        broken_may_go -= broken;
        let healthy = healthy_may_go.min(part.ready);
        healthy_may_go -= healthy;
        changes.push((part.key.clone(), part.wanted.saturating_sub(broken + healthy)));
    }
    changes
}
