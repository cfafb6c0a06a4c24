//! `StatefulSets`: one pod per ordinal, in order, each only after its predecessor of the same name is gone.

use super::pod;
use super::replicaset::set_counts;
use crate::sim::cluster::Cluster;
use crate::sim::json::{self, count, int, list, set, text};
use crate::sim::object::{Key, Object};
use crate::sim::resource::Kind;
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;

const REVISION: &str = "controller-revision-hash";

impl Cluster {
    pub(super) fn sync_stateful_set(&mut self, key: &Key, at: Timestamp) {
        let Some(owner) = self.store.get(Kind::StatefulSet, key).filter(|found| !found.deleting).cloned()
        else {
            return;
        };
        let wanted = count(owner.tree(), &["spec", "replicas"], 1);
        let revision = pod::revision(pod::template(&owner));
        if self.fill(&owner, wanted, &revision, at) {
            self.shrink(&owner, wanted, &revision, at);
        }
        let pods: Vec<_> = self.store.owned_by(&owner.uid, Kind::Pod).cloned().collect();
        let ready = pods.iter().filter(|pod| pod.healthy()).count();
        let updated = pods.iter().filter(|pod| pod.label(REVISION) == Some(&revision)).count();
        self.edit(Kind::StatefulSet, key, at, |tree| {
            let generation = int(tree, &["metadata", "generation"]).unwrap_or_default();
            let current = if updated == wanted { updated } else { pods.len() - updated };
            set_counts(
                tree,
                generation,
                &[
                    ("replicas", pods.len()),
                    ("readyReplicas", ready),
                    ("availableReplicas", ready),
                    ("updatedReplicas", updated),
                    ("currentReplicas", current),
                ],
            );
            set(tree, &["status", "updateRevision"], format!("{}-{revision}", key.name));
            if updated == wanted {
                set(tree, &["status", "currentRevision"], format!("{}-{revision}", key.name));
            }
        });
    }

    /// Creates the ordinals that are missing. True once all are there, Ready and staying.
    fn fill(&mut self, owner: &Arc<Object>, wanted: usize, revision: &str, at: Timestamp) -> bool {
        let ordered = text(owner.tree(), &["spec", "podManagementPolicy"]) != "Parallel";
        let mut complete = true;
        for ordinal in 0..wanted {
            let key = ordinal_key(owner, ordinal);
            match self.store.get(Kind::Pod, &key).cloned() {
                Some(found)
                    if found.pod().is_some_and(crate::sim::object::PodFacts::finished) && !found.deleting =>
                {
                    self.delete_pod(&found, None, at);
                    complete = false;
                }
                Some(found) if found.healthy() => {}
                Some(_) => complete = false,
                None => {
                    self.add_ordinal(owner, &key, ordinal, revision, at);
                    complete = false;
                }
            }
            if ordered && !complete {
                return false;
            }
        }
        complete
    }

    fn add_ordinal(&mut self, owner: &Arc<Object>, key: &Key, ordinal: usize, revision: &str, at: Timestamp) {
        let mut tree = pod::from_template(pod::template(owner), owner, &key.name);
        set(&mut tree, &["metadata", "labels", "statefulset.kubernetes.io/pod-name"], &*key.name);
        set(&mut tree, &["metadata", "labels", "apps.kubernetes.io/pod-index"], ordinal.to_string());
        set(&mut tree, &["metadata", "labels", REVISION], revision);
        set(&mut tree, &["spec", "hostname"], &*key.name);
        for claim in list(owner.tree(), &["spec", "volumeClaimTemplates"]) {
            let volume = text(claim, &["metadata", "name"]);
            let name = format!("{volume}-{}", key.name);
            if let Some(volumes) = json::list_mut(&mut tree, &["spec", "volumes"]) {
                volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": name.as_str()}}));
            }
            let mut claim = claim.clone();
            set(&mut claim, &["metadata", "name"], name);
            self.spawn_kind(Kind::PersistentVolumeClaim, claim, &key.namespace, at);
        }
        self.spawn(tree, &key.namespace, at);
    }

    /// Takes away the highest ordinal that is too many, or else the highest of an old revision: one at a time.
    fn shrink(&mut self, owner: &Object, wanted: usize, revision: &str, at: Timestamp) {
        let mut pods: Vec<_> = self.store.owned_by(&owner.uid, Kind::Pod).cloned().collect();
        pods.sort_by_key(|pod| std::cmp::Reverse(ordinal(pod)));
        if pods.iter().any(|pod| pod.deleting) {
            return;
        }
        let surplus = pods.iter().find(|pod| ordinal(pod).is_some_and(|ordinal| ordinal >= wanted));
        let rolls = text(owner.tree(), &["spec", "updateStrategy", "type"]) != "OnDelete";
        let old = pods.iter().find(|pod| rolls && pod.label(REVISION).is_some_and(|label| label != revision));
        if let Some(pod) = surplus.or(old) {
            self.delete_pod(pod, None, at);
        }
    }
}

fn ordinal_key(owner: &Object, ordinal: usize) -> Key {
    Key { namespace: Arc::clone(&owner.key.namespace), name: format!("{}-{ordinal}", owner.key.name).into() }
}

fn ordinal(pod: &Object) -> Option<usize> {
    pod.key.name.rsplit_once('-').and_then(|(_, number)| number.parse().ok())
}
