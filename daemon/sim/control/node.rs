//! Nodes and their kubelets: leases, conditions, taints, silence and what follows from it.

use super::pod;
use crate::sim::cluster::Cluster;
use crate::sim::json::{self, condition, list, set, text};
use crate::sim::object::{Key, Object};
use crate::sim::queue::Task;
use crate::sim::resource::Kind;
use crate::sim::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const LEASES: &str = "kube-node-lease";
/// How long pods of a node that no longer exists stay in the store.
const POD_GC: SignedDuration = SignedDuration::from_secs(20);

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// What keeps a node's lease fresh. Renewals are not events: they are worked out when somebody looks.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Kubelet {
    /// Renewals happen at whole periods after this.
    anchor: Timestamp,
    /// Since when the kubelet does nothing at all.
    pub silent: Option<Timestamp>,
}

impl Kubelet {
    fn renewed(&self, every: SignedDuration, now: Timestamp) -> Timestamp {
        let until = self.silent.map_or(now, |silent| silent.min(now));
        let periods = until.duration_since(self.anchor).as_millis() / every.as_millis().max(1);
        let periods = i32::try_from(periods.max(0)).unwrap_or(i32::MAX);
        time::after(self.anchor, every.checked_mul(periods).unwrap_or(SignedDuration::ZERO))
    }

    fn is_renewing(&self) -> bool {
        self.silent.is_none()
    }
}

impl Cluster {
    /// Whether the node's kubelet does its work.
    pub(in crate::sim) fn kubelet_works(&self, node: &str) -> bool {
        self.kubelets.get(node).is_some_and(|kubelet| kubelet.silent.is_none())
    }

    /// A node has registered.
    pub(in crate::sim) fn meet_node(&mut self, name: &str, at: Timestamp) {
        let kubelet = Kubelet { anchor: at, silent: None };
        self.kubelets.insert(name.into(), kubelet);
        let key = Key::new(LEASES, name);
        if self.store.get(Kind::Lease, &key).is_none() {
            let uid = self.store.get(Kind::Node, &Key::new("", name)).map(|node| node.uid.to_string());
            let lease = json!({
                "metadata": {"name": name, "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid.unwrap_or_default()},
                ]},
                "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": time::micros(at)},
            });
            self.spawn_kind(Kind::Lease, lease, LEASES, at);
        }
    }

    pub(in crate::sim) fn forget_node(&mut self, name: &str, at: Timestamp) {
        self.kubelets.remove(name);
        self.erase(Kind::Lease, &Key::new(LEASES, name), at);
        self.later(Task::NodeGone(name.into()), time::after(at, POD_GC));
    }

    /// The pods of a node that is gone go too.
    pub(super) fn collect_pods_of(&mut self, name: &str, at: Timestamp) {
        if self.store.get(Kind::Node, &Key::new("", name)).is_some() {
            return;
        }
        let pods: Vec<_> = self.store.pods_on(name).map(|pod| pod.key.clone()).collect();
        for key in pods {
            self.erase(Kind::Pod, &key, at);
        }
    }

    /// Writes down the renewals that have happened, for those leases that are being looked at. Answers with the time of
    /// the next one.
    pub(in crate::sim) fn renew_leases(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: Option<&str>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if kind != Kind::Lease || !matches!(namespace, "" | LEASES) {
            return None;
        }
        let every = self.settings.timings.lease_renewal;
        let looked_at = |node: &str| name.is_none_or(|name| name == node);
        let due: Vec<_> = self
            .kubelets
            .iter()
            .filter(|(node, _)| looked_at(node))
            .map(|(node, kubelet)| (node.clone(), kubelet.renewed(every, now), kubelet.is_renewing()))
            .collect();
        let mut next = None;
        for (node, renewed, renewing) in due {
            let key = Key::new(LEASES, &node);
            self.edit(Kind::Lease, &key, renewed, |tree| {
                set(tree, &["spec", "renewTime"], time::micros(renewed));
            });
            if renewing {
                let following = time::after(renewed, every);
                next = Some(next.map_or(following, |earlier: Timestamp| earlier.min(following)));
            }
        }
        next
    }

    /// The kubelet falls silent: a crash, a power cut, a broken upgrade.
    pub fn kill_node(&mut self, name: &str, now: Timestamp) {
        self.run_until(now);
        self.silence(name, now);
    }

    pub(super) fn silence(&mut self, name: &str, at: Timestamp) {
        let every = self.settings.timings.lease_renewal;
        let Some(kubelet) = self.kubelets.get_mut(name) else { return };
        kubelet.silent.get_or_insert(at);
        let due = time::after(kubelet.renewed(every, at), self.settings.timings.node_grace);
        self.later(Task::NodeMonitor(name.into()), due.max(at));
    }

    /// The kubelet works again, as it was.
    pub fn revive_node(&mut self, name: &str, now: Timestamp) {
        self.run_until(now);
        self.kubelet_ready(name, now);
    }

    /// The controller manager judges a node that has been silent for long.
    pub(super) fn monitor_node(&mut self, name: &str, at: Timestamp) {
        let (every, grace) = (self.settings.timings.lease_renewal, self.settings.timings.node_grace);
        let Some(kubelet) = self.kubelets.get(name).filter(|kubelet| !kubelet.is_renewing()) else { return };
        let due = time::after(kubelet.renewed(every, at), grace);
        if at < due {
            self.later(Task::NodeMonitor(name.into()), due);
            return;
        }
        self.edit(Kind::Node, &Key::new("", name), at, |tree| {
            for kind in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
                let beat =
                    json::find_condition(tree, kind).map(|old| text(old, &["lastHeartbeatTime"]).to_owned());
                let condition = json!({
                    "type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
                    "message": "Kubelet stopped posting node status.", "lastHeartbeatTime": beat,
                });
                pod::set_condition(tree, condition, at);
            }
        });
        let pods: Vec<_> =
            self.store.pods_on(name).filter(|pod| pod.healthy()).map(|pod| pod.key.clone()).collect();
        for key in pods {
            self.edit(Kind::Pod, &key, at, |tree| {
                pod::set_condition(tree, json!({"type": "Ready", "status": "False"}), at);
            });
        }
        self.later(
            Task::NodeEvict(name.into()),
            time::after(at, self.settings.timings.unreachable_toleration),
        );
    }

    pub(super) fn evict_unreachable(&mut self, name: &str, at: Timestamp) {
        let key = Key::new("", name);
        let away =
            self.store.get(Kind::Node, &key).is_some_and(|node| condition(node.tree(), "Ready") == "Unknown");
        if !away {
            return;
        }
        let pods: Vec<_> = self.store.pods_on(name).filter(|pod| !stays(pod)).cloned().collect();
        for pod in pods {
            self.delete_pod(&pod, None, at);
        }
    }

    /// The first good word of a kubelet after silence: it is Ready, its lease is fresh, its pods go on.
    pub(super) fn kubelet_ready(&mut self, name: &str, at: Timestamp) {
        let Some(kubelet) = self.kubelets.get_mut(name) else { return };
        *kubelet = Kubelet { anchor: at, silent: None };
        self.renew_leases(Kind::Lease, LEASES, Some(name), at);
        self.edit(Kind::Node, &Key::new("", name), at, |tree| report(tree, true, at));
        let pods: Vec<_> = self.store.pods_on(name).cloned().collect();
        for pod in pods {
            self.resume_pod(&pod, at);
        }
    }

    /// Keeps the taints that mirror a node's state.
    pub(super) fn sync_taints(&mut self, name: &str, at: Timestamp) {
        let key = Key::new("", name);
        let Some(node) = self.store.get(Kind::Node, &key) else { return };
        let ready = condition(node.tree(), "Ready").to_owned();
        let cordoned = node.node().is_some_and(|facts| facts.unschedulable);
        self.edit(Kind::Node, &key, at, |tree| {
            mirror(tree, UNSCHEDULABLE, "NoSchedule", cordoned, at);
            for effect in ["NoSchedule", "NoExecute"] {
                mirror(tree, NOT_READY, effect, ready == "False", at);
                mirror(tree, UNREACHABLE, effect, ready == "Unknown", at);
            }
        });
    }
}

/// What the kubelet says of its node.
pub(super) fn report(tree: &mut Value, ready: bool, at: Timestamp) {
    let beat = time::seconds(at);
    for (kind, reason) in [
        ("MemoryPressure", "KubeletHasSufficientMemory"),
        ("DiskPressure", "KubeletHasNoDiskPressure"),
        ("PIDPressure", "KubeletHasSufficientPID"),
    ] {
        let row = json!({"type": kind, "status": "False", "reason": reason, "message": "", "lastHeartbeatTime": beat});
        pod::set_condition(tree, row, at);
    }
    let (status, reason, message) = if ready {
        ("True", "KubeletReady", "kubelet is posting ready status")
    } else {
        ("False", "KubeletNotReady", "container runtime status check may not have completed yet")
    };
    let row = json!({"type": "Ready", "status": status, "reason": reason, "message": message, "lastHeartbeatTime": beat});
    pod::set_condition(tree, row, at);
}

fn mirror(tree: &mut Value, key: &str, effect: &str, wanted: bool, at: Timestamp) {
    let is_it = |taint: &Value| text(taint, &["key"]) == key && text(taint, &["effect"]) == effect;
    let found = list(tree, &["spec", "taints"]).iter().any(is_it);
    if found == wanted {
        return;
    }
    let Some(taints) = json::list_mut(tree, &["spec", "taints"]) else { return };
    if wanted {
        taints.push(json!({"key": key, "effect": effect, "timeAdded": time::seconds(at)}));
    } else {
        taints.retain(|taint| !is_it(taint));
        if taints.is_empty() {
            json::remove(tree, &["spec", "taints"]);
        }
    }
}

/// A pod that tolerates an unreachable node for ever, or that is not the API's to move.
fn stays(pod: &Object) -> bool {
    let tree = pod.tree();
    json::is_set(tree, &["metadata", "annotations", "kubernetes.io/config.mirror"])
        || list(tree, &["spec", "tolerations"]).iter().any(|toleration| {
            matches!(text(toleration, &["key"]), UNREACHABLE | "")
                && matches!(text(toleration, &["effect"]), "NoExecute" | "")
                && !json::is_set(toleration, &["tolerationSeconds"])
        })
}
