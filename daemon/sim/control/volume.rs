//! Volumes: claims are bound at once; attachments follow the pods that use them, a little late.

use crate::sim::cluster::Cluster;
use crate::sim::json::{at as value_at, flag, list, set, text};
use crate::sim::object::{Key, Object};
use crate::sim::queue::Task;
use crate::sim::resource::Kind;
use crate::sim::{seed, time};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

const DRIVER: &str = "csi.example.com";

impl Cluster {
    /// Binds a claim to a new volume, unless it names one.
    pub(super) fn bind_claim(&mut self, key: &Key, at: Timestamp) {
        let Some(claim) = self.store.get(Kind::PersistentVolumeClaim, key).cloned() else { return };
        if text(claim.tree(), &["status", "phase"]) == "Bound" {
            return;
        }
        let stated = text(claim.tree(), &["spec", "volumeName"]);
        let volume = if stated.is_empty() { format!("pvc-{}", claim.uid) } else { stated.to_owned() };
        if self.store.get(Kind::PersistentVolume, &Key::new("", &volume)).is_none() {
            let modes = value_at(claim.tree(), &["spec", "accessModes"])
                .cloned()
                .unwrap_or_else(|| json!(["ReadWriteOnce"]));
            let size = value_at(claim.tree(), &["spec", "resources", "requests"])
                .cloned()
                .unwrap_or_else(|| json!({"storage": "1Gi"}));
            let tree = json!({
                "metadata": {"name": volume.as_str()},
                "spec": {
                    "accessModes": modes, "capacity": size, "persistentVolumeReclaimPolicy": "Delete",
                    "csi": {"driver": DRIVER, "volumeHandle": volume.as_str()},
                    "claimRef": {
                        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": &*key.namespace,
                        "name": &*key.name, "uid": &*claim.uid,
                    },
                },
            });
            self.spawn_kind(Kind::PersistentVolume, tree, "", at);
        }
        self.edit(Kind::PersistentVolume, &Key::new("", &volume), at, |tree| {
            set(tree, &["status", "phase"], "Bound");
        });
        self.edit(Kind::PersistentVolumeClaim, key, at, |tree| {
            set(tree, &["spec", "volumeName"], volume);
            set(tree, &["status", "phase"], "Bound");
        });
    }

    /// The volumes behind a pod's claims.
    fn volumes_of(&self, pod: &Object) -> Vec<Arc<Object>> {
        let claims = list(pod.tree(), &["spec", "volumes"]).iter();
        claims
            .map(|volume| text(volume, &["persistentVolumeClaim", "claimName"]))
            .filter(|name| !name.is_empty())
            .filter_map(|name| {
                self.store.get(Kind::PersistentVolumeClaim, &Key::new(&pod.key.namespace, name))
            })
            .filter_map(|claim| {
                let name = text(claim.tree(), &["spec", "volumeName"]);
                self.store.get(Kind::PersistentVolume, &Key::new("", name)).cloned()
            })
            .collect()
    }

    /// Where the volumes of a pod may be used: one list of node selector terms for each that cares.
    pub(super) fn volume_terms(&self, pod: &Object) -> Vec<Value> {
        let path = ["spec", "nodeAffinity", "required", "nodeSelectorTerms"];
        self.volumes_of(pod).iter().filter_map(|volume| value_at(volume.tree(), &path).cloned()).collect()
    }

    /// Whether a volume that only one node may use is still attached to another one.
    pub(super) fn volume_elsewhere(&self, pod: &Object, node: &str) -> bool {
        self.volumes_of(pod).iter().filter(|volume| is_exclusive(volume)).any(|volume| {
            self.store.range(Kind::VolumeAttachment, "", None).any(|attachment| {
                let tree = attachment.tree();
                text(tree, &["spec", "source", "persistentVolumeName"]) == &*volume.key.name
                    && text(tree, &["spec", "nodeName"]) != node
            })
        })
    }

    pub(in crate::sim) fn attach_volumes(&mut self, pod: &Object, at: Timestamp) {
        let Some(facts) = pod.pod() else { return };
        for volume in self.volumes_of(pod).iter().filter(|volume| is_attachable(volume)) {
            let key = attachment_key(volume, &facts.node);
            if self.store.get(Kind::VolumeAttachment, &key).is_none() {
                let tree = json!({
                    "metadata": {"name": &*key.name},
                    "spec": {
                        "attacher": text(volume.tree(), &["spec", "csi", "driver"]), "nodeName": &*facts.node,
                        "source": {"persistentVolumeName": &*volume.key.name},
                    },
                });
                self.spawn_kind(Kind::VolumeAttachment, tree, "", at);
                self.edit(Kind::VolumeAttachment, &key, at, |tree| set(tree, &["status", "attached"], true));
            }
            self.list_volumes(&facts.node, at);
        }
    }

    /// Volumes that a pod used are let go some time after it.
    pub(in crate::sim) fn release_volumes(&mut self, pod: &Object, at: Timestamp) {
        let Some(facts) = pod.pod() else { return };
        let due = time::after(at, self.settings.timings.volume_detach);
        for volume in self.volumes_of(pod) {
            self.later(Task::Detach(attachment_key(&volume, &facts.node)), due);
        }
    }

    pub(super) fn detach(&mut self, key: &Key, at: Timestamp) {
        let Some(attachment) = self.store.get(Kind::VolumeAttachment, key).cloned() else { return };
        let (node, volume) = {
            let tree = attachment.tree();
            (text(tree, &["spec", "nodeName"]), text(tree, &["spec", "source", "persistentVolumeName"]))
        };
        let used = self.store.pods_on(node).any(|pod| {
            pod.pod().is_some_and(|facts| !facts.finished())
                && self.volumes_of(pod).iter().any(|other| &*other.key.name == volume)
        });
        if !used {
            self.erase(Kind::VolumeAttachment, key, at);
            self.list_volumes(node, at);
        }
    }

    /// The node's own lists of volumes follow its attachments.
    fn list_volumes(&mut self, node: &str, at: Timestamp) {
        let attached = self.store.range(Kind::VolumeAttachment, "", None).map(|attachment| attachment.tree());
        let names: Vec<_> = attached
            .filter(|tree| text(tree, &["spec", "nodeName"]) == node && flag(tree, &["status", "attached"]))
            .map(|tree| {
                format!(
                    "kubernetes.io/csi/{DRIVER}^{}",
                    text(tree, &["spec", "source", "persistentVolumeName"])
                )
            })
            .collect();
        self.edit(Kind::Node, &Key::new("", node), at, |tree| {
            let rows: Vec<_> = names.iter().map(|name| json!({"name": name, "devicePath": ""})).collect();
            set(tree, &["status", "volumesAttached"], rows);
            set(tree, &["status", "volumesInUse"], names);
        });
    }
}

fn attachment_key(volume: &Object, node: &str) -> Key {
    Key::new("", &format!("csi-{}", seed::hash_name(&format!("{}/{node}", volume.key.name))))
}

fn is_attachable(volume: &Object) -> bool {
    value_at(volume.tree(), &["spec", "csi"]).is_some()
}

fn is_exclusive(volume: &Object) -> bool {
    let modes = list(volume.tree(), &["spec", "accessModes"]);
    modes.iter().all(|mode| matches!(mode.as_str(), Some("ReadWriteOnce" | "ReadWriteOncePod")))
}
