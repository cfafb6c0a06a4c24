//! What an upgrade Job does to its node, as told by the caller's rules; and the static pods of control plane nodes.

use super::{node, pod};
use crate::sim::cluster::Cluster;
use crate::sim::json::{self, list, set, text};
use crate::sim::object::{Key, Object};
use crate::sim::queue::Task;
use crate::sim::resource::Kind;
use crate::sim::settings::Effect;
use crate::sim::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// In the order in which kubeadm replaces them; etcd has a version of its own and is left alone.
const REPLACED: &[&str] = &["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
const ETCD_IMAGE: &str = "registry.k8s.io/etcd:3.6.11-0";
/// From a restarted kubelet's first word to its node being Ready.
const NOT_READY_FOR: SignedDuration = SignedDuration::from_secs(2);

/// An upgrade that a finished Job leaves behind on its node.
#[derive(Clone, Debug)]
pub(super) struct Upgrade {
    effect: Effect,
    version: Box<str>,
}

impl Cluster {
    /// The upgrade that a Job's pod stands for, if it is one.
    pub(super) fn upgrade_of(&self, pod: &Object) -> Option<Upgrade> {
        let chosen = |wanted: (&String, &String)| pod.label(wanted.0) == Some(wanted.1);
        let rule = self.settings.rules.iter().find(|rule| rule.pod_selector.iter().all(chosen))?;
        let version = pod.label(&rule.version_label)?;
        Some(Upgrade { effect: rule.effect, version: version.into() })
    }

    pub(super) fn kills_job(&self, upgrade: &Upgrade) -> bool {
        upgrade.effect == Effect::Kubelet && self.settings.timings.restart_kills_job
    }

    pub(super) fn begin_upgrade(&mut self, name: &str, upgrade: Upgrade, at: Timestamp) {
        match upgrade.effect {
            Effect::Kubelet => {
                self.silence(name, at);
                if !self.faults.never_return.remove(name) {
                    let due = time::after(at, self.settings.timings.kubelet_restart);
                    self.later(Task::KubeletStart(name.into(), upgrade.version), due);
                }
            }
            Effect::ControlPlane => self.later(Task::StaticPod(name.into(), upgrade.version, 0), at),
        }
    }

    /// The new kubelet says its first word.
    pub(super) fn start_kubelet(&mut self, name: &str, version: &str, at: Timestamp) {
        let key = Key::new("", name);
        let Some(found) = self.store.get(Kind::Node, &key).cloned() else { return };
        let old = text(found.tree(), &["status", "nodeInfo", "kubeletVersion"]).to_owned();
        let pause = self.settings.timings.restart_not_ready;
        self.edit(Kind::Node, &key, at, |tree| {
            set(tree, &["status", "nodeInfo", "kubeletVersion"], version);
            set(tree, &["status", "nodeInfo", "kubeProxyVersion"], version);
            node::report(tree, !pause, at);
        });
        let due = if pause { time::after(at, NOT_READY_FOR) } else { at };
        self.later(Task::KubeletReady(name.into()), due);
        if minor(&old) != minor(version) && found.label(CONTROL_PLANE).is_some() {
            self.later(Task::StaticPod(name.into(), "".into(), 0), due);
        }
    }

    /// Stops one static pod, starts its successor, and goes on to the next.
    pub(super) fn replace_static_pod(&mut self, name: &str, version: &str, place: usize, at: Timestamp) {
        let Some(component) = REPLACED.get(place) else { return self.bring(version, at) };
        let key = Key::new("kube-system", &format!("{component}-{name}"));
        let after = time::after(at, self.settings.timings.static_pod_restart);
        self.later(Task::StaticPod(name.into(), version.into(), place + 1), after);
        let Some(old) = self.store.get(Kind::Pod, &key).cloned() else { return };
        let image = list(old.tree(), &["spec", "containers"])
            .first()
            .map(|first| text(first, &["image"]))
            .unwrap_or_default();
        let image = match image.rsplit_once(':') {
            Some((repository, _)) if !version.is_empty() => format!("{repository}:{version}"),
            _ => image.to_owned(),
        };
        self.erase(Kind::Pod, &key, at);
        if *component == "kube-apiserver" && !self.settings.timings.api_outage.is_zero() {
            self.away_until = Some(time::after(at, self.settings.timings.api_outage));
            self.cut_watches();
        }
        self.add_static_pod(name, component, &image, false, at);
        if let Some(new) = self.store.get(Kind::Pod, &key) {
            let task = Task::StaticPodReady(key.clone(), Arc::clone(&new.uid));
            self.later(task, after);
        }
    }

    /// Changes what comes with the control plane, once no API server of another version is left.
    fn bring(&mut self, version: &str, at: Timestamp) {
        let pods = self.store.range(Kind::Pod, "kube-system", None);
        let servers = pods.filter(|pod| pod.label("component") == Some("kube-apiserver"));
        let image = |pod: &Arc<Object>| {
            let containers = list(pod.tree(), &["spec", "containers"]);
            containers.first().map(|first| text(first, &["image"]).to_owned()).unwrap_or_default()
        };
        let images: Vec<String> = servers.map(image).collect();
        if version.is_empty() || images.iter().any(|image| !image.ends_with(&format!(":{version}"))) {
            return;
        }
        for brings in self.settings.brings.clone() {
            let image = (brings.image)(version);
            self.edit(brings.kind, &Key::new("kube-system", &brings.name), at, |tree| {
                if let Some(of) = tree.pointer_mut("/spec/template/spec/containers/0/image") {
                    *of = image.into();
                }
            });
        }
    }

    pub(super) fn static_pod_ready(&mut self, key: &Key, uid: &str, at: Timestamp) {
        if self.store.get(Kind::Pod, key).is_some_and(|pod| &*pod.uid == uid) {
            self.edit(Kind::Pod, key, at, |tree| pod::set_ready(tree, true, at));
        }
    }

    /// Gives a control plane node its static pods, unless it came with some.
    pub(super) fn ensure_static_pods(&mut self, name: &str, at: Timestamp) {
        let Some(found) = self.store.get(Kind::Node, &Key::new("", name)).cloned() else { return };
        let mirrored = |pod: &Arc<Object>| json::is_set(pod.tree(), &["metadata", "annotations", MIRROR]);
        if found.label(CONTROL_PLANE).is_none() || self.store.pods_on(name).any(mirrored) {
            return;
        }
        let version = text(found.tree(), &["status", "nodeInfo", "kubeletVersion"]);
        self.add_static_pod(name, "etcd", ETCD_IMAGE, true, at);
        for component in REPLACED {
            self.add_static_pod(name, component, &format!("registry.k8s.io/{component}:{version}"), true, at);
        }
    }

    fn add_static_pod(&mut self, node: &str, component: &str, image: &str, ready: bool, at: Timestamp) {
        let uid = self
            .store
            .get(Kind::Node, &Key::new("", node))
            .map(|node| node.uid.to_string())
            .unwrap_or_default();
        let hash = crate::sim::seed::hash_name(&format!("{component}{image}{}", at.as_second()));
        let mut tree: Value = json!({
            "metadata": {
                "name": format!("{component}-{node}"),
                "labels": {"component": component, "tier": "control-plane"},
                "annotations": {
                    MIRROR: hash.as_str(), "kubernetes.io/config.hash": hash.as_str(),
                    "kubernetes.io/config.source": "file", "kubernetes.io/config.seen": time::micros(at),
                },
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid, "controller": true},
                ],
            },
            "spec": {
                "nodeName": node, "hostNetwork": true, "priorityClassName": "system-node-critical",
                "containers": [{"name": component, "image": image, "command": [component]}],
                "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
            },
        });
        set(&mut tree, &["metadata", "namespace"], "kube-system");
        if let Some(added) = self.spawn(tree, "kube-system", at) {
            self.edit(Kind::Pod, &added.key, at, |tree| pod::run(tree, ready, at));
        }
    }
}

fn minor(version: &str) -> Option<&str> {
    version.split('.').nth(1)
}
