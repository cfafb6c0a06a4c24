//! Folds the answers to Windlass's own writes into the picture: the next pass sees them before a watch shows them.

use jiff::{SignedDuration, Timestamp};

use super::WriteAnswer;
use super::fold::Folder;
use crate::model::effect::{EffectKey, LongState};
use crate::model::live::{
    Backoff, CallFailure, LeftAhead, Lock, Probe, Published, Refusal, RefusalKind, Uid,
};
use crate::model::time::later;

/// An API server gives a request a minute (`--request-timeout`), also after its client has gone.
const UNANSWERED: SignedDuration = SignedDuration::from_secs(60);

impl Folder {
    pub(super) fn done(&mut self, key: &EffectKey, answer: WriteAnswer, now: Timestamp) {
        self.live.overlay.in_flight.remove(key);
        match answer {
            WriteAnswer::Done => self.succeeded(key, now),
            WriteAnswer::Node(node) => {
                if !self.deletions.has(&node.metadata) {
                    self.put_node(&node, now);
                }
                self.succeeded(key, now);
            }
            WriteAnswer::Job(job) => {
                if !self.deletions.has(&job.metadata) {
                    self.put_job(&job, now);
                }
                self.succeeded(key, now);
                // The picture has it already, so no watch has to show it first.
                self.live.overlay.in_flight.remove(key);
            }
            WriteAnswer::Deployment(deployment) => {
                if !self.deletions.has(&deployment.metadata) {
                    self.put_deployment(&deployment, now);
                }
                self.succeeded(key, now);
            }
            WriteAnswer::Workload(of, object) => {
                self.put_addon_workload(&of, Some(&object), now);
                self.addons_written.insert(of, now);
                self.succeeded(key, now);
            }
            WriteAnswer::Applied(object, value) => {
                self.applied(&object, &value, now);
                self.succeeded(key, now);
            }
            WriteAnswer::Deleted(object) => {
                self.deleted_object(&object, now);
                self.succeeded(key, now);
            }
            WriteAnswer::Lock(lock) => {
                self.live.lock = lock.map(|lock| Lock { seen: now, ..lock });
                self.live.lock_deleted = None;
                self.succeeded(key, now);
            }
            WriteAnswer::Published { text, of } => {
                self.live.published = Some(Published { text, of: Some(of) });
                self.live.overlay.published = Some(now);
                self.succeeded(key, now);
            }
            // The watch will show what changed. Asking again before that would meet the same old picture.
            WriteAnswer::Stale(why) => {
                // No watch covers the lease and the workloads of addons, so only another probe shows them.
                if *key == EffectKey::Lease {
                    self.live.probed.remove(&Probe::Lock);
                }
                self.live.probed.retain(|probe, _| match probe {
                    Probe::Workload(of) => EffectKey::workload(of) != *key,
                    _ => true,
                });
                self.look_again_at(key);
                self.back_off(key, CallFailure::Other(why), now, SignedDuration::from_millis(100));
            }
            WriteAnswer::Missing => {
                self.look_again_at(key);
                self.not_there(key, now);
            }
            WriteAnswer::Refused(kind, message, until) => self.refused(key, kind, message, until, now),
            WriteAnswer::Failed(why) => {
                self.look_again_at(key);
                self.back_off(key, why, now, SignedDuration::from_secs(2));
            }
        }
    }

    /// The object of a write is gone, and a watch may not have shown that yet.
    fn not_there(&mut self, key: &EffectKey, now: Timestamp) {
        match key {
            EffectKey::Eviction(uid) => return self.drop_pod(uid),
            EffectKey::Job(name) if self.live.jobs.contains(name) => self.drop_job(&name.as_str().into()),
            EffectKey::Node(name) if self.live.nodes.contains_key(name.as_str()) => {
                self.drop_node(&name.as_str().into());
            }
            _ => {
                let why = CallFailure::Other("it is not there".to_owned());
                return self.back_off(key, why, now, SignedDuration::from_secs(2));
            }
        }
        // What failed before failed for an object that is no more.
        self.live.overlay.backoff.remove(key);
    }

    /// Keeps a pod that was evicted from a node that no step has claimed, until it is told where its owner's new pod is.
    fn left_ahead(&mut self, uid: &Uid, now: Timestamp) {
        let live = &mut self.live;
        let Some(pod) = live.pods.get(uid) else { return };
        let node =
            pod.node.as_ref().and_then(|node| live.nodes.get(node)).filter(|node| node.claim.is_none());
        let Some((owner, node)) = pod.owner.as_ref().zip(node) else { return };
        let (owner, from) = (live.top_owner(owner), node.name.clone());
        let left = LeftAhead { pod: format!("{}/{}", pod.namespace, pod.name), owner, from, at: now };
        live.overlay.ahead.insert(uid.clone(), left);
    }

    fn succeeded(&mut self, key: &EffectKey, now: Timestamp) {
        if let EffectKey::Eviction(uid) = key {
            self.left_ahead(uid, now);
        }
        let overlay = &mut self.live.overlay;
        overlay.backoff.remove(key);
        if let Some(within) = key.rules().shown_within {
            overlay.in_flight.insert(key.clone(), now.saturating_add(within).unwrap_or(now));
        }
        match key {
            EffectKey::Eviction(uid) => {
                overlay.refused.remove(uid);
                overlay.evicted.insert(uid.clone(), now);
            }
            // The lease lies in this namespace and can be created now.
            EffectKey::Namespace => drop(overlay.backoff.remove(&EffectKey::Lease)),
            EffectKey::Long(name) => self.long(name, LongState::Running),
            EffectKey::Release(_) => self.look_again_at(key),
            EffectKey::Node(_)
            | EffectKey::Deployment(_)
            | EffectKey::Workload(_)
            | EffectKey::Object(_)
            | EffectKey::Job(_)
            | EffectKey::Lease
            | EffectKey::StatusMap
            | EffectKey::ResumeNote
            | EffectKey::Probe(_) => {}
        }
    }

    fn back_off(&mut self, key: &EffectKey, why: CallFailure, now: Timestamp, first: SignedDuration) {
        let tries = self.live.overlay.backoff.get(key).map_or(0, |before| before.tries) + 1;
        let until = after(now, first, tries);
        self.live.overlay.backoff.insert(key.clone(), Backoff { until, tries, why });
    }

    fn refused(
        &mut self,
        key: &EffectKey,
        kind: RefusalKind,
        message: String,
        until: Option<Timestamp>,
        now: Timestamp,
    ) {
        let Some(uid) = key.evicted() else {
            return self.back_off(key, CallFailure::Other(message), now, SignedDuration::from_secs(2));
        };
        if kind == RefusalKind::Unclear {
            self.live.overlay.unanswered.insert(uid.clone(), later(now, UNANSWERED));
        }
        let tries = self.live.overlay.refused.get(uid).map_or(0, |before| before.tries) + 1;
        let until = until.unwrap_or_else(|| after(now, SignedDuration::from_secs(5), tries));
        self.live.overlay.refused.insert(uid.clone(), Refusal { kind, message, until, tries });
    }
}

/// The wait before the next try: `first`, doubled with every try, at most half a minute.
fn after(now: Timestamp, first: SignedDuration, tries: u32) -> Timestamp {
    const LONGEST: SignedDuration = SignedDuration::from_secs(30);
    let factor = 1_i32 << tries.saturating_sub(1).min(6);
    now.saturating_add(first.saturating_mul(factor).min(LONGEST)).unwrap_or(Timestamp::MAX)
}
