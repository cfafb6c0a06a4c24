//! Checks effects of every kind: the lease, the stop, the entry that releases them; and the effects on Jobs.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::Value;

use super::{Check, claim_of};
use crate::model::claim::Claim;
use crate::model::effect::{Effect, LeaseMove};
use crate::model::entry::StepPhase;
use crate::model::live::{ClaimState, Job, JobState, Lock, Node, OwnerKind, Pod};
use crate::model::names;
use crate::model::time::later;
use crate::model::work::Step;
use crate::record::{StepEnd, StepRecord};

/// A lease holder that renewed within this time is alive, whatever length the lease itself has.
const ALIVE: SignedDuration = SignedDuration::from_secs(30);
/// A node, its pods and its Jobs were read from etcd within this before they begin to be changed.
const READ: SignedDuration = SignedDuration::from_secs(10);

impl Check<'_> {
    pub(super) fn effects(&mut self) {
        let mut keys = BTreeSet::new();
        for (effect, after) in &self.tick.effects {
            let object = effect.object();
            self.require(keys.insert(effect.key()), &object, "two effects are about the same object");
            self.allowed_at_all(effect, *after, &object);
            match effect {
                Effect::Node { name, resource_version, patch, taints } => {
                    self.node_patch(name, resource_version, (patch, taints.as_deref()), *after);
                }
                Effect::Rollout { .. } => self.rollout(effect, *after),
                Effect::SetImage { .. } => self.set_image(effect, *after),
                Effect::Apply { .. } => self.apply_object(effect, *after),
                Effect::DeleteObject { .. } => self.delete_object(effect, *after),
                Effect::Helm(_) => self.helm(effect, *after),
                Effect::CreateJob { name, manifest } => self.create_job(name, manifest, *after),
                Effect::SuspendJob { name, uid, suspend, .. } => {
                    self.suspend_job(name, uid, *suspend, *after);
                }
                Effect::DeleteJob { name, uid, .. } => self.delete_job(name, uid),
                Effect::Lease { lease, .. } => self.lease(lease),
                // Checked together, below.
                Effect::Evict { .. }
                | Effect::CreateNamespace(_)
                | Effect::Publish { .. }
                | Effect::ForgetResume { .. }
                | Effect::BeginLong { .. } => {}
            }
        }
        self.evictions();
        self.one_control_plane_node_at_a_time();
    }

    fn allowed_at_all(&mut self, effect: &Effect, after: u64, object: &str) {
        let (live, record) = (self.live(), self.record());
        if let Effect::Lease { lease: LeaseMove::Release { .. }, .. } = effect {
            return;
        }
        let tells = matches!(effect, Effect::Publish { .. }) && record.stopped.is_some();
        let stopped = live.stop.is_some() && !tells;
        self.require(!stopped, object, "something is done while the cluster is stopped");
        self.require(live.complete, object, "something is done before everything was seen");
        let known = record.cluster_uid.as_ref();
        let same = known.is_none_or(|known| live.cluster_uid.as_ref() == Some(known));
        self.require(same && self.input.me.twin.is_none(), object, "something is done to another cluster");
        self.require(!needs_lease(effect) || self.epoch().is_some(), object, "it is done without the lease");
        let written = after < record.next_seq || after == 0;
        self.require(written, object, "it is released by an entry that is not written yet");
    }

    /// A Job is created only for a claimed node whose step is recorded as upgrading. The manifest names node and
    /// step.
    fn create_job(&mut self, name: &str, manifest: &Value, after: u64) {
        let object = format!("job/{name}");
        let text = |path: &str| manifest.pointer(path).and_then(Value::as_str);
        let annotation = format!("/metadata/annotations/{}", names::STEP.replace('/', "~1"));
        let wanted = text(&annotation).unwrap_or_default();
        let Some(of) = self.in_progress_as(wanted) else {
            return self.note(object, "it is created for no step in progress");
        };
        let node_name = of.step.node().unwrap_or_default();
        self.require(
            of.progress.intent == after,
            &object,
            "it is released by another entry than the intent of its step",
        );
        self.require(
            text("/spec/template/spec/nodeName") == Some(node_name),
            &object,
            "it runs on another node than that of its step",
        );
        self.require(!self.live().jobs.contains(name), &object, "it exists");
        let suspended = manifest.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true);
        self.require(suspended, &object, "it is not suspended when it is created");
        self.work_may_begin(&object, node_name, of.step, of.progress);
    }

    /// A suspended Job begins only for the step of its run that has its node, and under all that holds for its creation.
    /// A Job that has not begun is suspended only to be withdrawn.
    fn suspend_job(&mut self, name: &str, uid: &str, suspend: bool, after: u64) {
        let object = format!("job/{name}");
        let Some(job) = self.live().jobs.get(name).filter(|job| job.uid == uid) else {
            return self.note(object, "there is no such Job");
        };
        if suspend {
            self.require(
                self.live().job_state(job) != JobState::Running,
                &object,
                "it is suspended while it runs",
            );
            return self.is_withdrawn(job, &object);
        }
        let run = self.run().filter(|run| run.id == job.run);
        let of = run.into_iter().flat_map(|run| {
            let open = run.steps.iter().filter(|(_, progress)| progress.end.is_none());
            open.filter_map(|(id, progress)| Some((run.find(id)?.1, progress)))
        });
        let mut of = of.filter(|(step, _)| {
            step.node() == Some(&job.node)
                && step.component().is_some_and(|component| component.as_str() == job.component)
        });
        let Some((step, progress)) = of.next() else {
            return self.note(object, "it begins for no step in progress");
        };
        self.require(
            progress.intent == after,
            &object,
            "it is released by another entry than the intent of its step",
        );
        self.require(progress.phase < StepPhase::Upgrading || !job.begun, &object, "it begins a second time");
        self.work_may_begin(&object, &job.node, step, progress);
    }

    /// What has to be true of a node right before its Job is created, and once more before it begins.
    fn work_may_begin(&mut self, object: &str, node_name: &str, step: &Step, progress: &StepRecord) {
        let Some(run) = self.run() else { return };
        let object = object.to_owned();
        let ready = if step.drains() { StepPhase::Drained } else { StepPhase::Claimed };
        self.require(progress.phase >= ready, &object, "its work may begin before its node was drained");
        let Some(node) = self.live().nodes.get(node_name) else {
            return self.note(object, "its node is not there");
        };
        let Some(claim) = claim_of(node, run, &step.id) else {
            return self.note(object, "its node does not bear the claim of its step");
        };
        if progress.phase < StepPhase::Upgrading {
            let halted = self.record().halted.is_some();
            self.require(!halted, &object, "its work may begin while the run is halted");
            let now = self.input.now;
            let claimed = progress.at.get(&StepPhase::Claimed).filter(|claimed| **claimed <= now);
            let read = self
                .live()
                .reads
                .get(&node.name)
                .is_some_and(|at| later(*at, READ) > now && claimed.is_none_or(|claimed| at >= claimed));
            self.require(read, &object, "its work may begin before its node and pods were read once more");
            let cordoned = node.unschedulable || !claim.cordoned;
            self.require(cordoned, &object, "its work may begin while its node is not cordoned");
            self.emptied(node, claim, step, &object);
        }
        self.require(node.hold.is_none(), &object, "a person holds its node");
        self.control_plane_skew(step, &object, false);
        self.kubelet_skew(step, &object, false);
    }

    /// Of the pods that were on a node before its cordon, only those are left that no drain waits for.
    pub(super) fn emptied(&mut self, node: &Node, claim: &Claim, step: &Step, object: &str) {
        if !step.drains() {
            return;
        }
        let live = self.live();
        let stays = |pod: &Pod| {
            let of_daemon_set = pod.owner.as_ref().is_some_and(|owner| owner.kind == OwnerKind::DaemonSet);
            pod.mirror || pod.is_ours() || of_daemon_set || pod.finished()
        };
        let left = live.pods_on(&node.name).filter(|pod| pod.created.time() <= claim.at && !stays(pod));
        let left = left.count();
        self.require(left == 0, object, "pods that were there before the cordon are left on its node");
    }

    /// A Job is deleted only if nothing of it runs and its node is unchanged.
    fn delete_job(&mut self, name: &str, uid: &str) {
        let object = format!("job/{name}");
        let Some(job) = self.live().jobs.get(name).filter(|job| job.uid == uid) else {
            return self.note(object, "there is no such Job");
        };
        let state = self.live().job_state(job);
        self.require(state != JobState::Running, &object, "it is deleted while it runs");
        let pending = matches!(state, JobState::Waiting(_));
        self.require(!pending, &object, "it is deleted while its pod may start");
        if self.run().is_some_and(|run| run.id != job.run) {
            let claim = self.live().nodes.get(job.node.as_str()).and_then(|node| node.claim.as_ref());
            let kept = match claim {
                Some(ClaimState::Ours(claim)) => claim.run == job.run && state != JobState::Suspended,
                Some(ClaimState::Unreadable(_)) => true,
                None => false,
            };
            return self.require(!kept, &object, "it is deleted, and its node has the claim of its run");
        }
        if state == JobState::Suspended {
            let run = self.run().filter(|run| run.id == job.run);
            let mut steps = run.into_iter().flat_map(|run| &run.steps);
            let in_progress =
                steps.any(|(id, progress)| progress.end.is_none() && id.node_name() == Some(&job.node));
            return self.require(!in_progress, &object, "it is deleted, and a step in progress has its node");
        }
        self.is_withdrawn(job, &object);
    }

    fn is_withdrawn(&mut self, job: &Job, object: &str) {
        let run = self.run().filter(|run| run.id == job.run);
        let mut steps = run.into_iter().flat_map(|run| &run.steps);
        let holds = steps.any(|(id, progress)| {
            let untouched = matches!(progress.end, Some(StepEnd::SetAside { touched: false, .. }));
            untouched && id.node_name() == Some(&job.node)
        });
        self.require(holds, object, "it is withdrawn, and its step was not set aside untouched");
    }

    fn lease(&mut self, lease: &LeaseMove) {
        let object = "lease/windlass";
        let (lock, me) = (self.live().lock.as_ref(), self.input.me);
        match (lease, lock) {
            (LeaseMove::Create { transitions, .. }, None) => {
                let deleted = self.live().lock_deleted.as_ref();
                let above = deleted.map_or(0, |lock| lock.transitions).max(self.record().last_epoch);
                self.require(*transitions > above, object, "its epoch is not above those of the record");
                let alive = deleted.is_some_and(|lock| self.is_of_another_alive(lock));
                self.require(!alive, object, "it is created while the holder of the one before may act");
            }
            (LeaseMove::Create { .. }, Some(_)) => self.note(object, "it is created and exists"),
            (LeaseMove::Hold { .. } | LeaseMove::Release { .. }, None) => {
                self.note(object, "it is not there");
            }
            (LeaseMove::Release { holder, .. }, Some(lock)) => {
                self.require(
                    lock.holder == *holder && *holder == me.holder,
                    object,
                    "it is given back by another than its holder",
                );
            }
            (LeaseMove::Hold { holder, transitions, .. }, Some(lock)) => {
                self.require(*holder == me.holder, object, "it is taken for another process");
                let ours = lock.holder == me.holder;
                let above = lock.transitions.max(self.record().last_epoch);
                let follows = if ours { *transitions == lock.transitions } else { *transitions > above };
                self.require(follows, object, "its epoch does not follow from the one before");
                self.require(
                    !self.is_of_another_alive(lock),
                    object,
                    "it is taken from a process that is alive",
                );
            }
        }
    }

    fn is_of_another_alive(&self, lock: &Lock) -> bool {
        let me = self.input.me;
        let gone = lock.holder.is_empty() || me.predecessors.contains(&lock.holder);
        lock.holder != me.holder && !gone && later(lock.seen, ALIVE) > self.input.now
    }
}

/// True if only the holder of the lease may carry it out.
fn needs_lease(effect: &Effect) -> bool {
    match effect {
        Effect::Node { .. }
        | Effect::Evict { .. }
        | Effect::Rollout { .. }
        | Effect::SetImage { .. }
        | Effect::Apply { .. }
        | Effect::DeleteObject { .. }
        | Effect::Helm(_)
        | Effect::CreateJob { .. }
        | Effect::SuspendJob { .. }
        | Effect::DeleteJob { .. }
        | Effect::Publish { .. }
        | Effect::ForgetResume { .. }
        | Effect::BeginLong { .. } => true,
        Effect::Lease { .. } | Effect::CreateNamespace(_) => false,
    }
}
