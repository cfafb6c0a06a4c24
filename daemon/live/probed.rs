//! Folds the answers to probes into the picture.

use std::collections::{BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::convert;
use super::fold::Folder;
use super::{NodeRead, ProbeAnswer};
use crate::model::addon::EarlierAddon;
use crate::model::effect::{EffectKey, LongState};
use crate::model::live::{Id, Lock, Probe, Published, Uid};
use crate::model::time::later;
use crate::model::version::Version;

/// How many looks at the API endpoint in a row have to find the same version, and over what time at least, until it
/// counts as that of every API server behind it. Managed control planes are replaced one API server at a time, within
/// ten minutes or so.
const AGREEING: u32 = 2;
const AGREE_FOR: SignedDuration = SignedDuration::from_mins(2);

/// For how long a deletion is kept: longer than an answer to a probe can be on its way.
const KEPT: SignedDuration = SignedDuration::from_mins(2);
/// More deletions than a cluster sees in the second that an answer is on its way.
const MOST_KEPT: usize = 4096;

/// What watches have shown to be deleted of late. The answer to a probe that was asked before may still have it.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    /// When a list of nodes, pods, Jobs or Deployments ended last. It may have dropped any of them.
    pub(super) listed: Option<Timestamp>,
    of: VecDeque<(Timestamp, Uid)>,
}

impl Deletions {
    pub(super) fn add(&mut self, meta: &ObjectMeta, now: Timestamp) {
        let is_old = |(at, _): &(Timestamp, Uid)| later(*at, KEPT) < now;
        while self.of.len() >= MOST_KEPT || self.of.front().is_some_and(is_old) {
            self.of.pop_front();
        }
        self.of.extend(meta.uid.as_deref().map(|uid| (now, Uid::from(uid))));
    }

    /// True if the object was deleted of late: no object gets the UID of one before it.
    pub(super) fn has(&self, meta: &ObjectMeta) -> bool {
        let uid = meta.uid.as_deref().map(Uid::from);
        self.of.iter().any(|(_, deleted)| Some(deleted) == uid.as_ref())
    }

    fn since(&self, asked: Timestamp) -> BTreeSet<Uid> {
        self.of.iter().rev().take_while(|(at, _)| *at >= asked).map(|(_, uid)| uid.clone()).collect()
    }
}

impl Folder {
    pub(super) fn probed(&mut self, probe: Probe, answer: ProbeAnswer, asked: Timestamp, now: Timestamp) {
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
            (Probe::Node(name), ProbeAnswer::Node(read)) => self.read_node(name, &read, asked, now),
            (Probe::Long(name), ProbeAnswer::Long(state)) => self.long(name, state),
            (Probe::Workload(of), ProbeAnswer::Workload(object)) => {
                self.read_addon_workload(of, object.as_ref(), asked, now);
            }
            (Probe::Manifests(question), ProbeAnswer::Manifests(answer)) => {
                self.read_manifests(question, answer, asked, now);
            }
            (Probe::Evidence(question), ProbeAnswer::Evidence(answer)) => {
                self.read_evidence(question, answer, now);
            }
            (Probe::Earlier(of), ProbeAnswer::Earlier(found)) => {
                let earlier = EarlierAddon { commit: of.commit.clone(), found };
                self.live.earlier_addons.insert(of.addon.clone(), earlier);
            }
            (Probe::Right(of), ProbeAnswer::Right(missing)) => {
                if self.live.addon_rights.insert(of.clone(), missing.clone()) != Some(missing) {
                    self.live.nodes_generation += 1;
                }
            }
            (Probe::Api, ProbeAnswer::Nothing(_)) => self.api(false, None, now),
            (Probe::Workload(of), ProbeAnswer::WorkloadUnread(why)) => self.addon_unread(of, why),
            (
                _,
                ProbeAnswer::Nothing(_)
                | ProbeAnswer::Heartbeat(_)
                | ProbeAnswer::Long(_)
                | ProbeAnswer::Workload(_)
                | ProbeAnswer::WorkloadUnread(_)
                | ProbeAnswer::Right(_)
                | ProbeAnswer::Manifests(_)
                | ProbeAnswer::Evidence(_)
                | ProbeAnswer::Earlier(_)
                | ProbeAnswer::Node(..),
            ) => {}
        }
        let key = EffectKey::Probe(probe);
        self.live.overlay.in_flight.remove(&key);
        if let EffectKey::Probe(probe) = key {
            self.live.probed.insert(probe, asked);
            self.forget_evidence(now);
        }
    }

    /// Takes in one node with its pods and upgrade Jobs as etcd has them: what a watch has not shown yet is seen, and
    /// what is gone goes.
    fn read_node(&mut self, name: &str, read: &NodeRead, asked: Timestamp, now: Timestamp) {
        // What the answer has may have been deleted meanwhile, and no watch would say so a second time.
        if self.deletions.listed.is_some_and(|listed| listed >= asked) {
            return;
        }
        let id = self.shared.id(name);
        let known = self.live.nodes.get(&id);
        let older = read.node.as_ref().zip(known).is_some_and(|(node, known)| {
            let revision = |text: Option<&str>| convert::revision(text.unwrap_or_default());
            node.metadata.uid.as_deref() == Some(&*known.uid)
                && revision(node.metadata.resource_version.as_deref())
                    < revision(Some(&known.resource_version))
        });
        // etcd was restored from a backup. Until a list has shown that, the picture is not what the read was to confirm.
        if older && self.listings.nodes.is_none() {
            return;
        }
        let deleted = self.deletions.since(asked);
        let there =
            |meta: &ObjectMeta| !meta.uid.as_deref().is_some_and(|uid| deleted.contains(&Uid::from(uid)));
        match &read.node {
            Some(node) if there(&node.metadata) => self.put_node(node, now),
            Some(_) => {}
            None => self.drop_node(&id),
        }
        // What is newer than the list came after it.
        let pods: BTreeSet<Uid> =
            read.pods.items.iter().filter_map(|pod| pod.metadata.uid.as_deref()).map(Uid::from).collect();
        let of_node = self.live.pods_on(&id).filter(|pod| pod.resource_version <= read.pods.at());
        let gone: Vec<Uid> = of_node.map(|pod| &pod.uid).filter(|uid| !pods.contains(uid)).cloned().collect();
        for uid in &gone {
            self.drop_pod(uid);
        }
        let jobs: BTreeSet<&str> =
            read.jobs.items.iter().filter_map(|job| job.metadata.name.as_deref()).collect();
        let of_node = self.live.jobs.on(name);
        let of_node = of_node.filter(|(_, job)| convert::revision(&job.resource_version) <= read.jobs.at());
        let names = of_node.map(|(job, _)| job.as_str());
        let gone: Vec<Id> = names.filter(|job| !jobs.contains(job)).map(Id::from).collect();
        for job in &gone {
            self.drop_job(job);
        }
        read.pods.items.iter().filter(|pod| there(&pod.metadata)).for_each(|pod| self.put_pod(pod, now));
        read.jobs.items.iter().filter(|job| there(&job.metadata)).for_each(|job| self.put_job(job, now));
        self.live.reads.insert(id, asked);
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
        self.live.lock_deleted = match &lock {
            Some(_) => None,
            None => self.live.lock.take().or(self.live.lock_deleted.take()),
        };
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
