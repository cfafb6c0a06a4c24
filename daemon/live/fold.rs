//! Folds one thing seen into the picture of the cluster.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job as KubeJob;
use k8s_openapi::api::core::v1::{self, ConfigMap, PersistentVolumeClaim};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::VolumeAttachment;

use super::convert;
use super::kinds::{Kind, Listings};
use super::shared::Shared;
use super::workload;
use super::{ProbeAnswer, Seen, budget};
use crate::model::effect::{EffectKey, LongState};
use crate::model::live::{Id, Live, Lock, Node, Pod, Probe, Published, Ready, Uid, Workload};
use crate::model::version::Version;

/// How many looks at the API endpoint in a row have to find the same version, and over what time at least, until it
/// counts as that of every API server behind it. Managed control planes are replaced one API server at a time, within
/// ten minutes or so.
const AGREEING: u32 = 2;
const AGREE_FOR: SignedDuration = SignedDuration::from_mins(2);

/// The picture of one cluster, and the state that keeps it up to date.
#[derive(Debug, Default)]
pub struct Folder {
    pub live: Live,
    pub(super) shared: Shared,
    pub(super) listings: Listings,
    pub(super) listed: BTreeSet<Kind>,
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
        self.live.nodes.insert(node.name.clone(), node);
    }

    pub(super) fn drop_node(&mut self, name: &Id) {
        if self.live.nodes.remove(name).is_some() {
            self.live.nodes_generation += 1;
        }
        self.live.leases.remove(name);
        self.live.claimed.remove(name);
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
        let workload = workload::deployment(object, &mut self.shared);
        self.put_workload(workload);
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
        if let Some((name, attachment)) = convert::attachment(object, &mut self.shared) {
            self.live.attachments.insert(name, attachment);
        }
    }

    pub(super) fn put_claim(&mut self, object: &PersistentVolumeClaim, _: Timestamp) {
        if let Some((claim, volume)) = convert::volume_claim(object, &mut self.shared) {
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

    fn probed(&mut self, probe: Probe, answer: ProbeAnswer, asked: Timestamp, now: Timestamp) {
        match (&probe, answer) {
            (_, ProbeAnswer::ClusterUid(uid)) => self.live.cluster_uid = Some(uid),
            (_, ProbeAnswer::Api { ready, version, clock_ahead }) => {
                self.api(ready, version, now);
                self.live.api.clock_ahead = clock_ahead.or(self.live.api.clock_ahead);
            }
            (Probe::Heartbeat(node), ProbeAnswer::Heartbeat(renewed)) => {
                let node = self.shared.id(node);
                self.live.leases.insert(node, renewed);
            }
            (_, ProbeAnswer::Lock(lock)) => self.lock(lock, now),
            (_, ProbeAnswer::Published(text)) => {
                self.live.published = Some(Published { text: text.unwrap_or_default(), of: None });
            }
            (Probe::Node(name), ProbeAnswer::Node(node, pods)) => {
                self.read_node(name, node.as_deref(), &pods, asked, now);
            }
            (Probe::Long(name), ProbeAnswer::Long(state)) => self.long(name, state),
            (Probe::Api, ProbeAnswer::Nothing(_)) => self.api(false, None, now),
            (
                _,
                ProbeAnswer::Nothing(_)
                | ProbeAnswer::Heartbeat(_)
                | ProbeAnswer::Long(_)
                | ProbeAnswer::Node(..),
            ) => {}
        }
        let key = EffectKey::Probe(probe);
        self.live.overlay.in_flight.remove(&key);
        if let EffectKey::Probe(probe) = key {
            self.live.probed.insert(probe, asked);
        }
    }

    /// Takes in one node and its pods as etcd has them: what a watch has not shown yet is seen, and what is gone goes.
    fn read_node(
        &mut self,
        name: &str,
        node: Option<&v1::Node>,
        pods: &[v1::Pod],
        asked: Timestamp,
        now: Timestamp,
    ) {
        let name = self.shared.id(name);
        match node {
            Some(node) => self.put_node(node, now),
            None => self.drop_node(&name),
        }
        let there: BTreeSet<Uid> =
            pods.iter().filter_map(|pod| pod.metadata.uid.as_deref()).map(Uid::from).collect();
        let gone: Vec<Uid> =
            self.live.pods_on(&name).map(|pod| pod.uid.clone()).filter(|uid| !there.contains(uid)).collect();
        for uid in &gone {
            self.drop_pod(uid);
        }
        for pod in pods {
            self.put_pod(pod, now);
        }
        self.live.reads.insert(name, asked);
    }

    fn api(&mut self, ready: bool, version: Option<Version>, now: Timestamp) {
        let api = &mut self.live.api;
        api.ready_since = ready.then(|| api.ready_since.unwrap_or(now));
        if version.is_some() && version == api.version {
            api.same_looks = api.same_looks.saturating_add(1);
        } else if version.is_some() {
            api.changed = api.version.is_some();
            api.version = version;
            (api.version_since, api.same_looks) = (Some(now), 1);
            self.live.nodes_generation += 1;
        }
        api.last_seen = Some(now);
        self.agree(now);
    }

    /// Finds out whether the API endpoint has agreed with itself for long enough.
    ///
    /// A process that is killed every few seconds never hears it for two minutes. So the lease keeps since when its
    /// holders have heard one version only, and a process whose own looks all found that version goes on from there.
    fn agree(&mut self, now: Timestamp) {
        let api = &mut self.live.api;
        let told = self.live.lock.as_ref().and_then(|lock| lock.heard.as_ref());
        let earlier = told.filter(|told| {
            !api.changed
                && api.version.as_ref() == Some(&told.version)
                && api.version_since.is_some_and(|since| told.since < since)
        });
        if let Some(told) = earlier {
            api.version_since = Some(told.since);
            api.same_looks = api.same_looks.saturating_add(1);
        }
        api.agreed = api.same_looks >= AGREEING
            && api.version_since.is_some_and(|since| now.duration_since(since) >= AGREE_FOR);
    }

    /// Keeps the time, by our clock, at which this state of the lease was first seen. The holder's `renewTime` is
    /// only compared with itself: its clock may differ from ours.
    fn lock(&mut self, lock: Option<Lock>, now: Timestamp) {
        self.live.lock = lock.map(|mut lock| {
            let same = self
                .live
                .lock
                .as_ref()
                .filter(|old| old.renewed == lock.renewed && old.holder == lock.holder);
            lock.seen = same.map_or(now, |old| old.seen);
            lock
        });
        self.agree(now);
    }

    /// Takes in how far long work has come. While it runs, its key stays in flight without a deadline, so it never
    /// counts as lost.
    pub(super) fn long(&mut self, name: &str, state: LongState) {
        let key = EffectKey::Long(name.to_owned());
        let in_flight = &mut self.live.overlay.in_flight;
        let ran = self.live.long.get(name) == Some(&LongState::Running);
        match state {
            LongState::Running => in_flight.insert(key, Timestamp::MAX),
            LongState::Done | LongState::Failed(_) => in_flight.remove(&key),
            // It ran and is gone. If it never ran, the look may have come before a begin that is still in flight;
            // that begin has its own deadline.
            LongState::NotBegun if ran => in_flight.remove(&key),
            LongState::NotBegun => {}
        }
        self.live.long.insert(name.to_owned(), state);
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
