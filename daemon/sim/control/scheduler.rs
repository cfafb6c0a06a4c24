//! The scheduler: which nodes a pod may go to, and the least loaded of them.
//!
//! Simplified: required rules only, no preemption, no inter-pod affinity but required anti-affinity, and topology
//! spread only with `DoNotSchedule`.

use super::pod::set_condition;
use crate::sim::cluster::Cluster;
use crate::sim::json::{self, at as value_at, int, list, set, text};
use crate::sim::object::{Key, Object};
use crate::sim::resource::Kind;
use crate::sim::selector::{Labels, node_term_matches};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Whether nodeSelector and required node affinity let a pod onto a node.
pub(super) fn node_affinity_fits(spec: &Value, node: &Object) -> bool {
    let selected = json::pairs(spec, &["nodeSelector"]).all(|(key, value)| node.label(key) == Some(value));
    let path =
        ["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"];
    let terms = list(spec, &path);
    selected && (terms.is_empty() || terms.iter().any(|term| node_term_matches(term, node)))
}

/// Whether all of a node's taints of these effects are tolerated.
pub(super) fn tolerates(tolerations: &[Value], node: &Object, effects: &[&str]) -> bool {
    let taints = node.node().map(|facts| &facts.taints);
    taints.into_iter().flatten().filter(|taint| effects.contains(&&*taint.effect)).all(|taint| {
        tolerations.iter().any(|toleration| {
            let part = |name| text(toleration, &[name]);
            let any = part("operator") == "Exists";
            (part("key").is_empty() && any || part("key") == &*taint.key)
                && (any || part("value") == &*taint.value)
                && (part("effect").is_empty() || part("effect") == &*taint.effect)
        })
    })
}

/// Why no node would have a pod, counted.
type Reasons = BTreeMap<&'static str, usize>;

/// Rules of a pod that depend on where other pods are.
struct Neighbours {
    /// Topology key, and the values that are taken.
    taken: Vec<(String, BTreeSet<String>)>,
    /// Topology key, pods per value, and how uneven it may get.
    spread: Vec<(String, BTreeMap<String, usize>, usize)>,
}

impl Cluster {
    pub(super) fn schedule(&mut self, key: &Key, at: Timestamp) {
        let Some(pod) = self.store.get(Kind::Pod, key).cloned() else { return };
        let free = pod.pod().is_some_and(|facts| facts.node.is_empty() && !facts.finished());
        if !free || pod.deleting || text(pod.tree(), &["spec", "schedulerName"]) != "default-scheduler" {
            self.unplaced.remove(key);
            return;
        }
        match self.pick(&pod) {
            Ok(node) => self.bind(key, &node, at),
            Err(reasons) => {
                self.unplaced.insert(key.clone());
                self.report_unschedulable(key, &reasons, at);
            }
        }
    }

    pub(super) fn schedule_all(&mut self, at: Timestamp) {
        let waiting: Vec<_> = self.unplaced.iter().cloned().collect();
        for key in waiting {
            self.schedule(&key, at);
        }
    }

    pub(in crate::sim) fn bind(&mut self, key: &Key, node: &str, at: Timestamp) {
        self.edit(Kind::Pod, key, at, |tree| {
            set(tree, &["spec", "nodeName"], node);
            set_condition(tree, json!({"type": "PodScheduled", "status": "True"}), at);
        });
    }

    fn report_unschedulable(&mut self, key: &Key, reasons: &Reasons, at: Timestamp) {
        let nodes = self.store.len(Kind::Node);
        let parts: Vec<_> = reasons.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let message = format!("0/{nodes} nodes are available: {}.", parts.join(", "));
        self.edit(Kind::Pod, key, at, |tree| {
            let condition =
                json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
            set_condition(tree, condition, at);
        });
    }

    /// A node without a taint that new pods should avoid; of those the one with the fewest pods of the same owner, then the
    /// fewest pods, then the first by name. With the real scheduler's default weights
    /// such a taint counts for more than any other single score, but not for more than all of them.
    fn pick(&self, pod: &Arc<Object>) -> Result<Box<str>, Reasons> {
        let siblings = self.siblings(pod);
        let neighbours = self.neighbours(pod);
        let volumes = self.volume_terms(pod);
        let mut reasons = Reasons::new();
        let tolerations = list(pod.tree(), &["spec", "tolerations"]);
        let mut best: Option<((bool, usize, u64), Box<str>)> = None;
        for node in self.store.range(Kind::Node, "", None) {
            let refusal = self.refuses(pod, node, &volumes).or_else(|| neighbours.refuses(node));
            if let Some(why) = refusal {
                *reasons.entry(why).or_default() += 1;
                continue;
            }
            let name: Box<str> = node.key.name.as_ref().into();
            let unwanted = !tolerates(tolerations, node, &["PreferNoSchedule"]);
            let siblings = siblings.get(&name).copied().unwrap_or_default();
            let score = (unwanted, siblings, self.store.load_of(&name).pods);
            if best.as_ref().is_none_or(|(least, _)| score < *least) {
                best = Some((score, name));
            }
        }
        best.map(|(_, name)| name).ok_or(reasons)
    }

    fn siblings(&self, pod: &Object) -> BTreeMap<Box<str>, usize> {
        let mut counts = BTreeMap::new();
        let Some(owner) = pod.controller() else { return counts };
        for sibling in self.store.owned_by(&owner.uid, Kind::Pod) {
            if let Some(facts) = sibling.pod().filter(|facts| !facts.node.is_empty() && !facts.finished()) {
                *counts.entry(facts.node.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// Why this node cannot have this pod.
    fn refuses(&self, pod: &Object, node: &Object, volumes: &[Value]) -> Option<&'static str> {
        let (facts, wants) = (node.node()?, pod.pod()?);
        let spec = pod.tree().get("spec").unwrap_or(&Value::Null);
        let tolerations = list(spec, &["tolerations"]);
        let ignores_cordon = tolerations.iter().any(|toleration| {
            matches!(text(toleration, &["key"]), "node.kubernetes.io/unschedulable" | "")
                && text(toleration, &["operator"]) == "Exists"
        });
        if facts.unschedulable && !ignores_cordon {
            return Some("node(s) were unschedulable");
        }
        if !tolerates(tolerations, node, &["NoSchedule", "NoExecute"]) {
            return Some("node(s) had untolerated taint(s)");
        }
        if !node_affinity_fits(spec, node) {
            return Some("node(s) didn't match Pod's node affinity/selector");
        }
        if !volumes.iter().all(|terms| {
            terms.as_array().is_some_and(|terms| terms.iter().any(|term| node_term_matches(term, node)))
        }) {
            return Some("node(s) didn't match PersistentVolume's node affinity");
        }
        let load = self.store.load_of(&node.key.name);
        if load.pods >= facts.pods {
            return Some("Too many pods");
        }
        if wants.cpu > 0 && load.cpu + wants.cpu > facts.cpu {
            return Some("Insufficient cpu");
        }
        if wants.memory > 0 && load.memory + wants.memory > facts.memory {
            return Some("Insufficient memory");
        }
        (self.host_port_taken(spec, &node.key.name))
            .then_some("node(s) didn't have free ports for the requested pod ports")
    }

    fn host_port_taken(&self, spec: &Value, node: &str) -> bool {
        let wanted = host_ports(spec);
        !wanted.is_empty()
            && self.store.pods_on(node).filter(|pod| pod.pod().is_some_and(|facts| !facts.finished())).any(
                |pod| {
                    let taken = host_ports(pod.tree().get("spec").unwrap_or(&Value::Null));
                    wanted.iter().any(|port| taken.contains(port))
                },
            )
    }

    fn neighbours(&self, pod: &Object) -> Neighbours {
        let spec = pod.tree().get("spec").unwrap_or(&Value::Null);
        let required = ["affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
        let taken = list(spec, &required)
            .iter()
            .map(|term| {
                let key = text(term, &["topologyKey"]).to_owned();
                let counts = self.pods_per_value(pod, value_at(term, &["labelSelector"]), &key);
                (key, counts.into_iter().filter(|(_, count)| *count > 0).map(|(value, _)| value).collect())
            })
            .collect();
        let spread = list(spec, &["topologySpreadConstraints"])
            .iter()
            .filter(|rule| text(rule, &["whenUnsatisfiable"]) != "ScheduleAnyway")
            .map(|rule| {
                let key = text(rule, &["topologyKey"]).to_owned();
                let counts = self.pods_per_value(pod, value_at(rule, &["labelSelector"]), &key);
                (key, counts, json::count(rule, &["maxSkew"], 1))
            })
            .collect();
        Neighbours { taken, spread }
    }

    /// Selected pods per value of a node label; values without any count as zero.
    fn pods_per_value(&self, pod: &Object, selector: Option<&Value>, key: &str) -> BTreeMap<String, usize> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for node in self.store.range(Kind::Node, "", None) {
            if let Some(value) = node.label(key) {
                counts.entry(value.to_owned()).or_default();
            }
        }
        let Some(selector) = Labels::from_json(selector) else { return counts };
        for other in self.store.selected(&pod.key.namespace, &selector) {
            let Some(facts) = other.pod().filter(|facts| !facts.node.is_empty() && !facts.finished()) else {
                continue;
            };
            let node = self.store.get(Kind::Node, &Key::new("", &facts.node));
            if let Some(value) = node.and_then(|node| node.label(key)) {
                *counts.entry(value.to_owned()).or_default() += 1;
            }
        }
        counts
    }
}

impl Neighbours {
    fn refuses(&self, node: &Object) -> Option<&'static str> {
        let crowded = |(key, values): &(String, BTreeSet<String>)| {
            node.label(key).is_some_and(|value| values.contains(value))
        };
        if self.taken.iter().any(crowded) {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
        let uneven = |(key, counts, skew): &(String, BTreeMap<String, usize>, usize)| {
            let least = counts.values().min().copied().unwrap_or_default();
            node.label(key)
                .is_none_or(|value| counts.get(value).copied().unwrap_or_default() + 1 > least + skew)
        };
        self.spread.iter().any(uneven).then_some("node(s) didn't match pod topology spread constraints")
    }
}

fn host_ports(spec: &Value) -> Vec<i64> {
    let containers = list(spec, &["containers"]).iter();
    containers
        .flat_map(|container| list(container, &["ports"]))
        .filter_map(|port| int(port, &["hostPort"]))
        .collect()
}
