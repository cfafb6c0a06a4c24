//! `DaemonSets`: one pod on every node that will have it, cordoned or not.

use super::pod;
use super::replicaset::set_counts;
use super::scheduler::{node_affinity_fits, tolerates};
use crate::sim::cluster::Cluster;
use crate::sim::json::{self, at as value_at, int, list, set};
use crate::sim::object::{Key, Object};
use crate::sim::resource::Kind;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const REVISION: &str = "controller-revision-hash";

/// What a `DaemonSet`'s pods put up with, whatever their template says.
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ("node.kubernetes.io/network-unavailable", "NoSchedule"),
];

impl Cluster {
    pub(super) fn sync_daemon_set(&mut self, key: &Key, at: Timestamp) {
        let Some(owner) = self.store.get(Kind::DaemonSet, key).filter(|found| !found.deleting).cloned()
        else {
            return;
        };
        let template = template_of(&owner);
        let revision = pod::revision(value_at(owner.tree(), &["spec", "template"]).unwrap_or(&Value::Null));
        let mut by_node: BTreeMap<Box<str>, Arc<Object>> = BTreeMap::new();
        for pod in self.store.owned_by(&owner.uid, Kind::Pod) {
            if let Some(facts) = pod.pod() {
                by_node.insert(facts.node.clone(), Arc::clone(pod));
            }
        }
        let nodes: Vec<_> = self.store.range(Kind::Node, "", None).cloned().collect();
        let mut desired = 0;
        for node in &nodes {
            let wanted = fits(&template, node);
            desired += usize::from(wanted);
            self.settle(&owner, &template, &revision, node, by_node.get(&*node.key.name), wanted, at);
        }
        self.roll(&owner, &revision, by_node.values(), at);
        self.report_daemon_set(&owner, desired, &revision, at);
    }

    /// The pods of all `DaemonSets` on one node.
    pub(super) fn sync_daemon_node(&mut self, name: &str, at: Timestamp) {
        self.ensure_static_pods(name, at);
        let Some(node) = self.store.get(Kind::Node, &Key::new("", name)).cloned() else { return };
        let sets: Vec<_> =
            self.store.range(Kind::DaemonSet, "", None).filter(|set| !set.deleting).cloned().collect();
        for owner in sets {
            let template = template_of(&owner);
            let revision =
                pod::revision(value_at(owner.tree(), &["spec", "template"]).unwrap_or(&Value::Null));
            let found = self
                .store
                .pods_on(name)
                .find(|pod| pod.controller().is_some_and(|by| by.uid == owner.uid))
                .cloned();
            let wanted = fits(&template, &node);
            self.settle(&owner, &template, &revision, &node, found.as_ref(), wanted, at);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one DaemonSet on one node, told in full")]
    fn settle(
        &mut self,
        owner: &Object,
        template: &Value,
        revision: &str,
        node: &Object,
        found: Option<&Arc<Object>>,
        wanted: bool,
        at: Timestamp,
    ) {
        match (wanted, found) {
            (true, None) => {
                let mut tree = pod::from_template(template, owner, &format!("{}-", owner.key.name));
                set(&mut tree, &["spec", "nodeName"], &*node.key.name);
                set(&mut tree, &["metadata", "labels", REVISION], revision);
                self.spawn(tree, &owner.key.namespace, at);
            }
            (true, Some(pod))
                if pod.pod().is_some_and(super::super::object::PodFacts::finished) && !pod.deleting =>
            {
                self.delete_pod(pod, None, at);
            }
            (false, Some(pod)) if !pod.deleting && evicts(template, node) => {
                self.delete_pod(pod, None, at);
            }
            _ => {}
        }
    }

    /// Replaces pods of an old template, as many at once as may be unavailable.
    fn roll<'a>(
        &mut self,
        owner: &Object,
        revision: &str,
        pods: impl Iterator<Item = &'a Arc<Object>>,
        at: Timestamp,
    ) {
        if json::text(owner.tree(), &["spec", "updateStrategy", "type"]) == "OnDelete" {
            return;
        }
        let pods: Vec<_> = pods.collect();
        let limit = value_at(owner.tree(), &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"]);
        let limit = super::budget::scaled(limit.unwrap_or(&json!(1)), pods.len()).max(1);
        let out = pods.iter().filter(|pod| !pod.healthy()).count();
        let old = pods.iter().filter(|pod| pod.label(REVISION).is_some_and(|label| label != revision));
        let (well, unwell): (Vec<&&Arc<Object>>, Vec<&&Arc<Object>>) = old.partition(|pod| pod.healthy());
        // A pod that is out already takes nothing further out.
        let unwell = unwell.into_iter().filter(|pod| !pod.deleting);
        for pod in unwell.chain(well.into_iter().take(limit.saturating_sub(out))) {
            self.delete_pod(pod, None, at);
        }
    }

    fn report_daemon_set(&mut self, owner: &Object, desired: usize, revision: &str, at: Timestamp) {
        let pods: Vec<_> = self.store.owned_by(&owner.uid, Kind::Pod).cloned().collect();
        let ready = pods.iter().filter(|pod| pod.pod().is_some_and(|facts| facts.ready)).count();
        let updated =
            pods.iter().filter(|pod| pod.label(REVISION).is_none_or(|label| label == revision)).count();
        self.edit(Kind::DaemonSet, &owner.key, at, |tree| {
            let generation = int(tree, &["metadata", "generation"]).unwrap_or_default();
            set_counts(
                tree,
                generation,
                &[
                    ("desiredNumberScheduled", desired),
                    ("currentNumberScheduled", pods.len().min(desired)),
                    ("numberMisscheduled", pods.len().saturating_sub(desired)),
                    ("numberReady", ready),
                    ("numberAvailable", ready),
                    ("numberUnavailable", desired.saturating_sub(ready)),
                    ("updatedNumberScheduled", updated),
                ],
            );
        });
    }
}

/// The template with what the controller adds to it.
fn template_of(owner: &Object) -> Value {
    let mut template = value_at(owner.tree(), &["spec", "template"]).cloned().unwrap_or(Value::Null);
    if let Some(tolerations) = json::list_mut(&mut template, &["spec", "tolerations"]) {
        for (key, effect) in TOLERATED {
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": effect}));
        }
    }
    template
}

fn fits(template: &Value, node: &Object) -> bool {
    let spec = template.get("spec").unwrap_or(&Value::Null);
    node_affinity_fits(spec, node)
        && tolerates(list(spec, &["tolerations"]), node, &["NoSchedule", "NoExecute"])
}

/// A pod that no longer fits goes, unless it only could not be scheduled again.
fn evicts(template: &Value, node: &Object) -> bool {
    let spec = template.get("spec").unwrap_or(&Value::Null);
    !node_affinity_fits(spec, node) || !tolerates(list(spec, &["tolerations"]), node, &["NoExecute"])
}
