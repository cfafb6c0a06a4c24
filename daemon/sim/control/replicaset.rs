//! `ReplicaSets`: as many pods as asked for.

use super::pod;
use crate::sim::cluster::Cluster;
use crate::sim::json::{count, int, set};
use crate::sim::object::{Key, Object};
use crate::sim::resource::Kind;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

impl Cluster {
    pub(super) fn sync_replica_set(&mut self, key: &Key, at: Timestamp) {
        let Some(set) = self.store.get(Kind::ReplicaSet, key).filter(|set| !set.deleting).cloned() else {
            return;
        };
        let wanted = count(set.tree(), &["spec", "replicas"], 1);
        let mut pods = self.active_pods(&set);
        let template = set.tree().get("spec").and_then(|spec| spec.get("template")).unwrap_or(&Value::Null);
        for _ in pods.len()..wanted {
            let tree = pod::from_template(template, &set, &format!("{}-", key.name));
            if self.spawn(tree, &key.namespace, at).is_none() {
                break;
            }
        }
        pods.sort_by_key(|pod| worth(pod));
        let surplus = pods.len().saturating_sub(wanted);
        for pod in pods.iter().take(surplus) {
            self.delete_pod(pod, None, at);
        }
        let pods = self.active_pods(&set);
        let ready = pods.iter().filter(|pod| pod.healthy()).count();
        self.edit(Kind::ReplicaSet, key, at, |tree| {
            let generation = int(tree, &["metadata", "generation"]).unwrap_or_default();
            set_counts(
                tree,
                generation,
                &[
                    ("replicas", pods.len()),
                    ("fullyLabeledReplicas", pods.len()),
                    ("readyReplicas", ready),
                    ("availableReplicas", ready),
                ],
            );
        });
    }

    /// The pods of a controller that run, or will.
    pub(super) fn active_pods(&self, owner: &Object) -> Vec<Arc<Object>> {
        let pods = self.store.owned_by(&owner.uid, Kind::Pod);
        pods.filter(|pod| !pod.deleting && pod.pod().is_some_and(|facts| !facts.finished()))
            .cloned()
            .collect()
    }
}

/// The pods that matter least go first: without a node, not ready, then the youngest.
fn worth(pod: &Object) -> (bool, bool, std::cmp::Reverse<u64>) {
    let placed = pod.pod().is_some_and(|facts| !facts.node.is_empty());
    (placed, pod.healthy(), std::cmp::Reverse(pod.version))
}

pub(super) fn set_counts(tree: &mut Value, generation: i64, counts: &[(&str, usize)]) {
    set(tree, &["status", "observedGeneration"], generation);
    for (field, number) in counts {
        set(tree, &["status", field], json!(number));
    }
}
