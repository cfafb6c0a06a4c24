//! Folds one thing seen into the picture of the cluster.

use std::collections::BTreeMap;

use crate::model::addon::WorkloadRef;
use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job as KubeJob;
use k8s_openapi::api::core::v1::{self, ConfigMap, PersistentVolumeClaim};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::VolumeAttachment;

use super::convert;
use super::kinds::{Kind, Listings};
use super::probed::Deletions;
use super::shared::Shared;
use super::volume;
use super::workload;
use super::{Seen, budget};
use crate::model::live::{Id, Live, Node, Pod, Ready, Uid, Workload};
use crate::model::manifest::ObjectRef;
use crate::model::version::Version;

/// The picture of one cluster, and the state that keeps it up to date.
#[derive(Debug, Default)]
pub struct Folder {
    pub live: Live,
    pub(super) shared: Shared,
    pub(super) listings: Listings,
    pub(super) listed: BTreeSet<Kind>,
    /// When the answer to the last write of each addon's workload came.
    pub(super) addons_written: BTreeMap<WorkloadRef, Timestamp>,
    /// When the answer to the last write of each object of an addon came, until a look that began later.
    pub(super) objects_written: BTreeMap<ObjectRef, Timestamp>,
    pub(super) deletions: Deletions,
}

impl Folder {
    /// Folds one thing that was seen at `now` into the picture.
    pub fn fold(&mut self, seen: Seen, now: Timestamp) {
        self.live.begun.get_or_insert(now);
        match seen {
            Seen::Watched(watched) => self.watched(watched, now),
            Seen::Unseen { kind, .. } | Seen::Heard(kind) if kind.is_optional() => {}
            Seen::Unseen { kind, why } => drop(self.live.unseen.insert(kind.name(), why)),
            Seen::Heard(kind) => {
                self.live.unseen.remove(kind.name());
                self.live.heard.insert(kind.name(), now);
            }
            Seen::Probed { probe, answer, asked } => self.probed(probe, answer, asked, now),
            Seen::Done(key, answer) => self.done(&key, answer, now),
        }
    }

    pub(super) fn put_node(&mut self, object: &v1::Node, now: Timestamp) {
        let Some(mut node) = convert::node(object, &mut self.shared, now) else { return };
        let before = self.live.nodes.get(&node.name);
        if let Some(before) = before.filter(|before| before.uid == node.uid) {
            // The daemon cordons and claims w1, and the answer brings w1 at resourceVersion 120. Only then the watch
            // delivers the event of version 119. Taken in, it would remove the cordon and the claim from the picture
            // until the watch catches up, and a pass in between would decide without them.
            let older =
                convert::revision(&before.resource_version) > convert::revision(&node.resource_version);
            // After etcd was restored, revisions begin anew below, and a list is how that shows.
            if older && self.listings.nodes.is_none() {
                return;
            }
            if node.network_unavailable.is_some() {
                node.network_unavailable = before.network_unavailable.or(Some(now));
            }
            if before.kubelet == node.kubelet {
                node.kubelet_since = before.kubelet_since;
            }
            if before.unschedulable && node.unschedulable {
                node.unschedulable_since = before.unschedulable_since;
            }
            if before.ready == Ready::True && node.ready == Ready::True {
                node.ready_since = node.ready_since.max(before.ready_since).min(now);
            }
        }
        if before.is_none_or(|before| concerns_plans(before, &node)) {
            self.live.nodes_generation += 1;
        }
        if node.claim.is_some() {
            self.live.claimed.insert(node.name.clone());
        } else {
            self.live.claimed.remove(&node.name);
        }
        if node.is_outdated() {
            self.live.outdated.insert(node.name.clone());
        } else {
            self.live.outdated.remove(&node.name);
        }
        self.live.nodes.insert(node.name.clone(), node);
    }

    pub(super) fn drop_node(&mut self, name: &Id) {
        if self.live.nodes.remove(name).is_some() {
            self.live.nodes_generation += 1;
        }
        self.live.leases.remove(name);
        self.live.claimed.remove(name);
        self.live.outdated.remove(name);
        self.live.reads.remove(name);
    }

    pub(super) fn put_pod(&mut self, object: &v1::Pod, now: Timestamp) {
        let Some(mut pod) = convert::pod(object, &mut self.shared, now) else { return };
        let before = self.live.pods.get(&pod.uid);
        if let Some(before) = before {
            if before.resource_version > pod.resource_version && self.listings.pods.is_none() {
                return;
            }
            if before.resource_version < pod.resource_version {
                // Whatever came of an eviction without an answer, this is what the pod is like after it.
                self.live.overlay.unanswered.remove(&pod.uid);
            }
            if before.node == pod.node {
                pod.arrived = before.arrived;
            }
            let known = before.seldom.as_ref().and_then(|seldom| seldom.restarted);
            if let Some(restart) = pod.seldom.as_mut().and_then(|seldom| seldom.restarted.as_mut()) {
                let same = known.filter(|known| known.started == restart.started);
                restart.seen = same.map_or(now, |known| known.seen);
            }
        }
        let server_moved = server_of(before) != server_of(Some(&pod));
        // A second list shows nearly all pods as they were.
        if before == Some(&pod) {
            return;
        }
        let news = before.is_none_or(|before| {
            let unchanged = Pod { resource_version: pod.resource_version, ..before.clone() };
            unchanged != pod
        });
        self.live.nodes_generation += u64::from(server_moved);
        self.live.pods_generation += u64::from(news);
        self.live.pods.put(pod);
    }

    pub(super) fn drop_pod(&mut self, uid: &Uid) {
        if let Some(pod) = self.live.pods.remove(uid) {
            self.live.nodes_generation += u64::from(pod.server().is_some());
            self.live.pods_generation += 1;
        }
        self.live.overlay.evicted.remove(uid);
        self.live.overlay.unanswered.remove(uid);
        self.live.overlay.refused.remove(uid);
    }

    pub(super) fn put_budget(&mut self, object: &PodDisruptionBudget, _: Timestamp) {
        let Some((key, budget)) = budget::convert(object, &mut self.shared) else { return };
        let before = self.live.budgets.get_mut(&key);
        if let Some(before) = before {
            if before.resource_version > budget.resource_version && self.listings.budgets.is_none() {
                return;
            }
            before.resource_version = budget.resource_version;
            if *before == budget {
                return;
            }
        }
        self.live.pods_generation += 1;
        self.live.budgets.insert(key, budget);
    }

    pub(super) fn drop_budget(&mut self, key: &(Id, Id)) {
        self.live.pods_generation += u64::from(self.live.budgets.remove(key).is_some());
    }

    pub(super) fn put_deployment(&mut self, object: &Deployment, _: Timestamp) {
        let Some((uid, deployment)) = workload::deployment(object, &mut self.shared) else { return };
        let before = self.live.workloads.get_mut(&uid).and_then(|before| before.rollout.as_mut());
        if let (Some(before), Some(rollout)) = (before, &deployment.rollout) {
            // The answer to our own write may be newer than what a watch shows.
            if before.resource_version > rollout.resource_version && self.listings.deployments.is_none() {
                return;
            }
            before.resource_version = rollout.resource_version;
        }
        self.put_workload(Some((uid, deployment)));
    }

    pub(super) fn put_replica_set(&mut self, object: &ReplicaSet, _: Timestamp) {
        let Some((uid, set)) = workload::replica_set(object, &mut self.shared) else { return };
        // Each Deployment keeps ten old `ReplicaSets`. One without pods tells nothing, and on a large cluster they
        // would be most of all controllers.
        let wants_none =
            set.replicas == 0 && object.status.as_ref().is_none_or(|status| status.replicas <= 0);
        if wants_none && self.live.pods.of(&uid).next().is_none() {
            return self.drop_workload(&uid);
        }
        self.put_workload(Some((uid, set)));
    }

    pub(super) fn put_stateful_set(&mut self, object: &StatefulSet, _: Timestamp) {
        let workload = workload::stateful_set(object, &mut self.shared);
        self.put_workload(workload);
    }

    pub(super) fn put_daemon_set(&mut self, object: &DaemonSet, _: Timestamp) {
        let workload = workload::daemon_set(object, &mut self.shared);
        self.put_workload(workload);
    }

    fn put_workload(&mut self, workload: Option<(Id, Workload)>) {
        let Some((uid, workload)) = workload else { return };
        if self.live.workloads.get(&uid) != Some(&workload) {
            self.live.pods_generation += 1;
            self.live.put_workload(uid, workload);
        }
    }

    pub(super) fn drop_workload(&mut self, uid: &Id) {
        self.live.pods_generation += u64::from(self.live.workloads.contains_key(uid));
        self.live.drop_workload(uid);
    }

    pub(super) fn put_job(&mut self, object: &KubeJob, _: Timestamp) {
        let Some((name, job)) = convert::job(object) else { return };
        let before = self.live.jobs.get(&name).filter(|before| before.uid == job.uid);
        // The answer to our own write may be newer than what a watch shows.
        let older = before.is_some_and(|before| {
            convert::revision(&before.resource_version) > convert::revision(&job.resource_version)
        });
        if older && self.listings.jobs.is_none() {
            return;
        }
        self.live.jobs.insert(name, job);
    }

    pub(super) fn drop_job(&mut self, name: &Id) {
        self.live.jobs.remove(name);
    }

    pub(super) fn put_attachment(&mut self, object: &VolumeAttachment, _: Timestamp) {
        if let Some((name, attachment)) = volume::attachment(object, &mut self.shared) {
            self.live.attachments.insert(name, attachment);
        }
    }

    pub(super) fn put_claim(&mut self, object: &PersistentVolumeClaim, _: Timestamp) {
        if let Some((claim, volume)) = volume::volume_claim(object, &mut self.shared) {
            self.live.claims.insert(claim, volume);
        }
    }

    pub(super) fn drop_claim(&mut self, claim: &(Id, Id)) {
        self.live.claims.remove(claim);
    }

    pub(super) fn drop_attachment(&mut self, name: &Id) {
        self.live.attachments.remove(name);
    }

    pub(super) fn put_stop(&mut self, map: &ConfigMap, _: Timestamp) {
        self.live.stop = Some(convert::note(map));
    }

    pub(super) fn drop_stop(&mut self, _: &Id) {
        self.live.stop = None;
    }

    pub(super) fn put_resume(&mut self, map: &ConfigMap, _: Timestamp) {
        self.live.resume = Some(convert::note(map));
    }

    pub(super) fn drop_resume(&mut self, _: &Id) {
        self.live.resume = None;
    }
}

/// True if the two states of a node differ in anything that a plan, a limit or a gate reads.
fn concerns_plans(before: &Node, after: &Node) -> bool {
    let facts = |node: &Node| {
        (node.ready, node.unschedulable, node.control_plane, node.to_be_deleted, node.virtual_kubelet)
    };
    facts(before) != facts(after)
        || before.uid != after.uid
        || before.kubelet != after.kubelet
        || before.zone != after.zone
        || before.labels != after.labels
        || before.hold != after.hold
        || before.claim != after.claim
}

/// What plans read of a static pod of the control plane; `None` for any other pod.
fn server_of(pod: Option<&Pod>) -> Option<(&Id, Option<&Version>, Option<&Id>, bool)> {
    let pod = pod?;
    let server = pod.server()?;
    let in_service = pod.ready && pod.deleting.is_none();
    Some((&server.component, server.version.as_ref(), pod.node.as_ref(), in_service))
}
