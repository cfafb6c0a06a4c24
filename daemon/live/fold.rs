//! The fold itself: one thing seen, one change of the picture.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use super::convert::{self, Interner};
use super::{Event, ProbeAnswer, Seen, budget};
use crate::model::live::{Id, Live, Note, Pod, Probe, Ready, Workload};

/// Kinds that are listed before anything is concluded.
const KINDS: usize = 11;

/// The picture of one cluster and what is needed to keep it.
#[derive(Debug, Default)]
pub struct Folder {
    pub live: Live,
    pub(super) names: Interner,
    /// By kind: what the list that is under way has named so far.
    listing: BTreeMap<&'static str, BTreeSet<Id>>,
    listed: BTreeSet<&'static str>,
}

impl Folder {
    /// Takes in one thing seen at `now`.
    pub fn fold(&mut self, seen: Seen, now: Timestamp) {
        match seen {
            Seen::Node(event) => self.watch("node", event, now, Self::put_node, Self::drop_node),
            Seen::Pod(event) => self.watch("pod", event, now, Self::put_pod, Self::drop_pod),
            Seen::Budget(event) => self.watch("budget", event, now, Self::put_budget, Self::drop_budget),
            Seen::Deployment(event) => {
                self.watch("deployment", event, now, Self::put_deployment, Self::drop_workload);
            }
            Seen::ReplicaSet(event) => {
                self.watch("replicaset", event, now, Self::put_replica_set, Self::drop_workload);
            }
            Seen::StatefulSet(event) => {
                self.watch("statefulset", event, now, Self::put_stateful_set, Self::drop_workload);
            }
            Seen::DaemonSet(event) => {
                self.watch("daemonset", event, now, Self::put_daemon_set, Self::drop_workload);
            }
            Seen::Job(event) => self.watch("job", event, now, Self::put_job, Self::drop_job),
            Seen::Attachment(event) => {
                self.watch("attachment", event, now, Self::put_attachment, Self::drop_attachment);
            }
            Seen::Stop(event) => self.watch(
                "stop",
                event,
                now,
                |s, map, _| s.live.stop = Some(note(map)),
                |s, _| s.live.stop = None,
            ),
            Seen::Resume(event) => {
                self.watch(
                    "resume",
                    event,
                    now,
                    |s, map, _| s.live.resume = Some(note(map)),
                    |s, _| s.live.resume = None,
                );
            }
            Seen::Unseen { kind, why } => drop(self.live.unseen.insert(kind, why)),
            Seen::Probed(probe, answer) => self.probed(probe, answer, now),
            Seen::Done(deed, answer) => self.done(&deed, answer, now),
        }
    }

    /// One event of one kind; a list that ends drops what it did not name.
    fn watch<K: convert::Named + k8s_openapi::Resource>(
        &mut self,
        kind: &'static str,
        event: Event<Box<K>>,
        now: Timestamp,
        put: impl Fn(&mut Self, &K, Timestamp),
        drop: impl Fn(&mut Self, &Id),
    ) {
        if !self.live.unseen.is_empty() && matches!(event, Event::End) {
            self.live.unseen.remove(K::URL_PATH_SEGMENT);
        }
        match event {
            Event::Begin => {
                self.listing.insert(kind, BTreeSet::new());
            }
            Event::Listed(object) => {
                let key = self.names.id(&object.key());
                if let Some(named) = self.listing.get_mut(kind) {
                    named.insert(key);
                }
                put(self, &object, now);
            }
            Event::End => {
                let named = self.listing.remove(kind).unwrap_or_default();
                for gone in self.keys(kind).into_iter().filter(|key| !named.contains(key)) {
                    drop(self, &gone);
                }
                self.listed.insert(kind);
                self.live.complete = self.listed.len() == KINDS;
            }
            Event::Applied(object) => put(self, &object, now),
            Event::Deleted(object) => {
                let key = self.names.id(&object.key());
                drop(self, &key);
            }
        }
    }

    /// The keys of everything of one kind that is in the picture.
    fn keys(&self, kind: &str) -> Vec<Id> {
        let live = &self.live;
        let workloads = |noun: &str| {
            let of_kind = live.workloads.iter().filter(|(_, workload)| workload.watched == noun);
            of_kind.map(|(uid, _)| uid.clone()).collect()
        };
        match kind {
            "node" => live.nodes.keys().cloned().collect(),
            "pod" => live.pods.keys().cloned().collect(),
            "budget" => {
                live.budgets.keys().map(|(space, name)| Id::from(format!("{space}/{name}"))).collect()
            }
            "job" => live.jobs.keys().map(|name| Id::from(name.as_str())).collect(),
            "attachment" => live.attachments.keys().cloned().collect(),
            "stop" => live.stop.iter().map(|_| Id::from("windlass-stop")).collect(),
            "resume" => live.resume.iter().map(|_| Id::from("windlass-resume")).collect(),
            workload => workloads(workload),
        }
    }

    pub(super) fn put_node(&mut self, object: &k8s_openapi::api::core::v1::Node, now: Timestamp) {
        let Some(mut node) = convert::node(object, &mut self.names, now) else { return };
        if let Some(before) = self.live.nodes.get(&node.name).filter(|before| before.uid == node.uid) {
            // A lagging watch must not undo what the answer to our own write has shown.
            if convert::revision(&before.resource_version) > convert::revision(&node.resource_version) {
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
        self.live.nodes.insert(node.name.clone(), node);
    }

    fn drop_node(&mut self, name: &Id) {
        self.live.nodes.remove(name);
        self.live.leases.remove(name);
    }

    fn put_pod(&mut self, object: &k8s_openapi::api::core::v1::Pod, now: Timestamp) {
        let Some(mut pod) = convert::pod(object, &mut self.names, now) else { return };
        if let Some(before) = self.live.pods.get(&pod.uid) {
            if before.resource_version > pod.resource_version {
                return;
            }
            if before.node == pod.node {
                pod.arrived = before.arrived;
            }
        }
        self.unlink(&pod.uid);
        self.link(&pod);
        self.live.pods.insert(pod.uid.clone(), pod);
    }

    fn link(&mut self, pod: &Pod) {
        if let Some(node) = &pod.node {
            self.live.pods_of_node.entry(node.clone()).or_default().insert(pod.uid.clone());
        }
        if let Some(owner) = &pod.owner {
            self.live.pods_of_owner.entry(owner.uid.clone()).or_default().insert(pod.uid.clone());
        }
    }

    fn unlink(&mut self, uid: &Id) {
        let Some(before) = self.live.pods.get(uid) else { return };
        for (index, key) in [
            (&mut self.live.pods_of_node, before.node.clone()),
            (&mut self.live.pods_of_owner, before.owner.as_ref().map(|owner| owner.uid.clone())),
        ] {
            let Some(key) = key else { continue };
            if let Some(uids) = index.get_mut(&key) {
                uids.remove(uid);
                if uids.is_empty() {
                    index.remove(&key);
                }
            }
        }
    }

    pub(super) fn drop_pod(&mut self, uid: &Id) {
        self.unlink(uid);
        self.live.pods.remove(uid);
        self.live.overlay.evicted.remove(uid);
        self.live.overlay.refused.remove(uid);
    }

    fn put_budget(&mut self, object: &k8s_openapi::api::policy::v1::PodDisruptionBudget, _: Timestamp) {
        let Some((key, budget)) = budget::convert(object, &mut self.names) else { return };
        if self.live.budgets.get(&key).is_none_or(|before| before.resource_version <= budget.resource_version)
        {
            self.live.budgets.insert(key, budget);
        }
    }

    fn drop_budget(&mut self, key: &Id) {
        let Some((space, name)) = key.split_once('/') else { return };
        let key = (self.names.id(space), self.names.id(name));
        self.live.budgets.remove(&key);
    }

    fn put_deployment(&mut self, object: &k8s_openapi::api::apps::v1::Deployment, _: Timestamp) {
        let workload = convert::deployment(object, &mut self.names);
        self.put_workload(workload);
    }

    fn put_replica_set(&mut self, object: &k8s_openapi::api::apps::v1::ReplicaSet, _: Timestamp) {
        let workload = convert::replica_set(object, &mut self.names);
        self.put_workload(workload);
    }

    fn put_stateful_set(&mut self, object: &k8s_openapi::api::apps::v1::StatefulSet, _: Timestamp) {
        let workload = convert::stateful_set(object, &mut self.names);
        self.put_workload(workload);
    }

    fn put_daemon_set(&mut self, object: &k8s_openapi::api::apps::v1::DaemonSet, _: Timestamp) {
        let workload = convert::daemon_set(object, &mut self.names);
        self.put_workload(workload);
    }

    fn put_workload(&mut self, workload: Option<(Id, Workload)>) {
        if let Some((uid, workload)) = workload {
            self.live.put_workload(uid, workload);
        }
    }

    fn drop_workload(&mut self, uid: &Id) {
        self.live.drop_workload(uid);
    }

    fn put_job(&mut self, object: &k8s_openapi::api::batch::v1::Job, _: Timestamp) {
        if let Some((name, job)) = convert::job(object) {
            self.live.jobs.insert(name, job);
        }
    }

    fn drop_job(&mut self, name: &Id) {
        self.live.jobs.remove(&**name);
    }

    fn put_attachment(&mut self, object: &k8s_openapi::api::storage::v1::VolumeAttachment, _: Timestamp) {
        if let Some((name, attachment)) = convert::attachment(object, &mut self.names) {
            self.live.attachments.insert(name, attachment);
        }
    }

    fn drop_attachment(&mut self, name: &Id) {
        self.live.attachments.remove(name);
    }

    fn probed(&mut self, probe: Probe, answer: ProbeAnswer, now: Timestamp) {
        match (&probe, answer) {
            (_, ProbeAnswer::ClusterUid(uid)) => self.live.cluster_uid = Some(uid),
            (_, ProbeAnswer::Api { ready, version }) => self.api(ready, version, now),
            (Probe::Heartbeat(node), ProbeAnswer::Heartbeat(renewed)) => {
                let node = self.names.id(node);
                self.live.leases.insert(node, renewed);
            }
            (_, ProbeAnswer::Lock(lock)) => self.lock(lock, now),
            (_, ProbeAnswer::Published(text)) => self.live.published = Some(text.unwrap_or_default()),
            (Probe::Api, ProbeAnswer::Nothing(_)) => self.api(false, None, now),
            (_, ProbeAnswer::Nothing(_) | ProbeAnswer::Heartbeat(_)) => {}
        }
        self.live.probed.insert(probe, now);
    }

    fn api(&mut self, ready: bool, version: Option<crate::model::version::Version>, now: Timestamp) {
        let api = &mut self.live.api;
        api.ready_since = ready.then(|| api.ready_since.unwrap_or(now));
        if version.is_some() {
            api.version = version;
        }
        api.last_seen = Some(now);
    }

    /// Keeps the time at which this very state of the lease was first seen: another's clock is never trusted.
    fn lock(&mut self, lock: Option<crate::model::live::Lock>, now: Timestamp) {
        self.live.lock = lock.map(|mut lock| {
            let same = self
                .live
                .lock
                .as_ref()
                .filter(|old| old.renewed == lock.renewed && old.holder == lock.holder);
            lock.seen = same.map_or(now, |old| old.seen);
            lock
        });
    }
}

fn note(map: &ConfigMap) -> Note {
    let field = |key: &str| {
        let text = map.data.as_ref().and_then(|data| data.get(key)).cloned().unwrap_or_default();
        // What people write ends up in commits and on terminals: one line, of a bearable length.
        text.chars().filter(|c| !c.is_control()).take(500).collect::<String>()
    };
    let meta = &map.metadata;
    Note {
        uid: meta.uid.clone().unwrap_or_default(),
        reason: field("reason"),
        by: field("by"),
        created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    }
}

/// Shared label sets: pods of one owner differ in few labels, and most not at all.
pub(super) type Labels = Arc<BTreeMap<Id, Id>>;
