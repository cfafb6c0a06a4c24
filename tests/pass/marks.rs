//! What a case says of a world beyond what plans are made from: claims, Jobs, the lease, people's notes, and what was
//! done and no watch has shown yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use windlass::model::claim::{Claim, Reported};
use windlass::model::decision::Key;
use windlass::model::effect::EffectKey;
use windlass::model::entry::StepPhase;
use windlass::model::live::{
    Attachment, Backoff, CallFailure, ClaimState, Ending, Job, JobState, Live, Lock, Node, Note, NoteState,
    Owner, OwnerKind, Phase, Pod, Probe, Progress, Published, Ready, Refusal, RefusalKind, RolloutNote,
    Seldom, Uid, VolumeClaim,
};
use windlass::model::names;
use windlass::model::plan::{NodeRef, Scope, Step, StepId, WorkKind};
use windlass::provider::{self, Order, Role};
use windlass::record::{Record, Run, StepRecord};

use super::case::{Case, length};
use super::scene::{HOLDER, ages};
use super::story::{self, CLUSTER_UID, EPOCH, RESUME_UID, STOP_REASON};
use crate::worlds::{Marks, plain_pod};

/// The time at which a case happens, and what was written down until then.
struct Then<'a> {
    case: &'a Case,
    record: &'a Record,
    now: Timestamp,
}

pub fn put(live: &mut Live, case: &Case, record: &Record, marks: Marks) {
    let then = Then { case, record, now: case.now };
    then.around(live);
    for (node, mark) in marks.nodes {
        then.node(live, &node, &mark);
    }
    for (uid, mark) in marks.pods {
        then.pod(live, &Uid::from(uid), &mark);
    }
    let claimed = live.nodes.values().filter(|node| node.claim.is_some()).map(|node| node.name.clone());
    live.claimed = claimed.collect();
}

impl Then<'_> {
    fn since(&self, age: &str) -> Timestamp {
        self.now - length(age)
    }

    fn around(&self, live: &mut Live) {
        let around = &self.case.around;
        live.cluster_uid = Some(if around.other_cluster { "uid-other" } else { CLUSTER_UID }.to_owned());
        for probe in [Probe::ClusterUid, Probe::Api, Probe::Published] {
            live.probed.insert(probe, self.now);
        }
        let workloads: Vec<_> = live.addon_workloads.keys().cloned().collect();
        live.probed.extend(workloads.into_iter().map(|of| (Probe::Workload(of), self.now)));
        let readyz = around.readyz.as_deref().unwrap_or("1h");
        live.api.last_seen = Some(self.now).filter(|_| readyz != "unseen");
        live.api.ready_since = (!matches!(readyz, "down" | "unseen")).then(|| self.since(readyz));
        if around.api_now.is_some() {
            live.api.version.clone_from(&around.api_now);
        }
        self.lease(live);
        let note = |age: &String, uid: &str, reason: &str| Note {
            uid: uid.to_owned(),
            reason: reason.to_owned(),
            by: "anna".to_owned(),
            created: self.since(age),
        };
        live.stop = around.stop.as_ref().map(|age| note(age, "uid-stop", STOP_REASON));
        live.resume = around.resume.as_ref().map(|age| note(age, RESUME_UID, "repaired"));
        for (volume, node) in &around.volumes {
            let attachment = Attachment { node: node.as_str().into(), volume: Some(volume.as_str().into()) };
            live.attachments.insert(format!("csi-{volume}").as_str().into(), attachment);
        }
        live.published = published(self.record, around.published.as_deref());
        for kind in &around.unseen {
            live.unseen.insert(kind.clone().leak(), CallFailure::Other("no answer within 10 s".to_owned()));
        }
        for kind in &around.forbidden {
            let right = CallFailure::RightMissing(format!("user windlass may not list {kind}"));
            live.unseen.insert(kind.clone().leak(), right);
        }
        // As after the read before a change, where a case does not say `unread`.
        let names: Vec<_> = live.nodes.keys().cloned().collect();
        live.reads = names.into_iter().map(|name| (name, self.now)).collect();
        self.overlay(live);
    }

    fn overlay(&self, live: &mut Live) {
        let (around, overlay) = (&self.case.around, &mut live.overlay);
        for (wait, since) in ages(&around.waits, self.now) {
            let (key, object) = wait.split_once(' ').unwrap();
            let key: Key = serde_json::from_value(key.into()).unwrap();
            overlay.waits.insert((key, self.object(object)), since);
        }
        for (step, since) in ages(&around.watched, self.now) {
            let run = self.record.run.as_ref().unwrap();
            overlay.watched.insert(story::find(&run.plan, step).id.clone(), since);
        }
        for object in &around.in_flight {
            overlay.in_flight.insert(key(object), self.now + SignedDuration::from_secs(20));
        }
        for object in &around.backoff_right {
            let why = CallFailure::RightMissing("user windlass may not patch deployments.apps".to_owned());
            let until = self.now + SignedDuration::from_secs(5);
            overlay.backoff.insert(key(object), Backoff { until, tries: 3, why });
        }
        for (object, tries) in &around.backoff {
            let until = self.now + SignedDuration::from_secs(5);
            let backoff =
                Backoff { until, tries: *tries, why: CallFailure::Other("409 Conflict".to_owned()) };
            overlay.backoff.insert(key(object), backoff);
        }
    }

    /// `job/JOB(w1)` stands for the Job of the step that has w1.
    fn object(&self, object: &str) -> String {
        let Some(node) = object.strip_prefix("job/JOB(").and_then(|rest| rest.strip_suffix(')')) else {
            return object.to_owned();
        };
        let run = self.record.run.as_ref().unwrap();
        let (step, record) = of_node(run, node).unwrap();
        format!("job/{}", job_name(run, step, record))
    }

    fn lease(&self, live: &mut Live) {
        let words = self.case.around.lease.as_deref().unwrap_or("ours");
        let (word, age) = words.split_once(':').unwrap_or((words, "2s"));
        let (holder, transitions, age) = match word {
            "ours" => (HOLDER, EPOCH, age),
            "theirs" | "deleted" => ("host-b-7", EPOCH + 1, age),
            // Held by another process that has not been heard of for too long.
            "silent" => ("host-b-7", EPOCH - 1, "10m"),
            "left" => ("", EPOCH - 1, age),
            "free" => {
                live.probed.insert(Probe::Lock, self.now);
                return;
            }
            "unseen" => return,
            _ => panic!("`{words}` says nothing of a lease"),
        };
        live.probed.insert(Probe::Lock, self.now);
        let lock = Lock {
            holder: holder.to_owned(),
            transitions,
            resource_version: "7".to_owned(),
            renewed: "2026-12-02T21:59:58Z".to_owned(),
            seen: self.since(age),
            seconds: 30,
            heard: None,
        };
        let seen = if word == "deleted" { &mut live.lock_deleted } else { &mut live.lock };
        *seen = Some(lock);
    }

    fn node(&self, live: &mut Live, name: &str, mark: &str) {
        let (word, detail) = mark.split_once(':').unwrap_or((mark, ""));
        match word {
            "heartbeat" => {
                let beat = if detail == "same" { FIRST_BEAT } else { "2026-12-02T21:59:59.000000Z" };
                live.leases.insert(name.into(), beat.to_owned());
                live.probed.insert(Probe::Heartbeat(name.to_owned()), self.now);
                return;
            }
            "job" => return self.job(live, name, detail),
            "oldJob" => return old_job(live, name, detail, self.now),
            "startedFor" => {
                return change_server(live, "kube-apiserver", name, |pod| {
                    let server = pod.seldom.as_mut().unwrap().server.as_mut().unwrap();
                    server.started = Some(self.since(detail));
                });
            }
            "unread" => {
                live.reads.remove(name);
                return;
            }
            "etcdDown" => return change_server(live, "etcd", name, |pod| pod.ready = false),
            _ => {}
        }
        let node = live.nodes.get_mut(name).unwrap();
        match word {
            "replaced" => node.uid = format!("uid-{name}-2").into(),
            "claimed" => self.claim(node, detail),
            "uncordoned" => node.unschedulable = false,
            "readyFor" => node.ready_since = self.since(detail),
            "kubeletFor" => node.kubelet_since = self.since(detail),
            "networkDown" => node.network_unavailable = Some(Timestamp::UNIX_EPOCH),
            "noAnswer" => node.ready = Ready::Unknown,
            _ => {
                let Some(ClaimState::Ours(claim)) = &mut node.claim else {
                    panic!("{name} has no claim for `{mark}`")
                };
                match word {
                    "wasCordoned" => claim.was_unschedulable = true,
                    "blocked" => claim.blocked_since = Some(self.since(detail)),
                    "reported" => {
                        let heartbeat = FIRST_BEAT.to_owned();
                        claim.reported = Some(Reported { at: self.since(detail), heartbeat });
                    }
                    _ => panic!("`{mark}` says nothing of a node"),
                }
            }
        }
    }

    /// The claim of the step that has the node, or had it last.
    fn claim(&self, node: &mut Node, of: &str) {
        if of == "garbage" {
            node.claim = Some(ClaimState::Unreadable("expected value at line 1 column 1".to_owned()));
            return;
        }
        let run = self.record.run.as_ref();
        let found = run.and_then(|run| of_node(run, &node.name));
        let at = found.and_then(|(_, record)| record.at.get(&StepPhase::Claimed).copied());
        let (run_id, digest) = match (of, run) {
            ("before", _) => {
                let before = self.record.ended.last().unwrap();
                (before.run.clone(), before.digest.clone())
            }
            ("gone-run", _) | (_, None) => ("0ddba110ddba-1".to_owned(), "sha256:0".to_owned()),
            (_, Some(run)) => (run.id.clone(), run.digest.clone()),
        };
        let step = found.map_or_else(|| some_step(node), |(step, _)| step.id.clone()).to_string();
        let cordoned = found.is_none_or(|(step, _)| step.drains());
        let epoch = match of {
            "older" => EPOCH - 1,
            "later" => EPOCH + 2,
            _ => EPOCH,
        };
        node.unschedulable |= cordoned;
        node.claim = Some(ClaimState::Ours(Claim {
            node_uid: node.uid.to_string(),
            run: run_id,
            step,
            plan_digest: digest,
            epoch,
            was_unschedulable: false,
            scale_down_was_disabled: false,
            cordoned,
            at: at.unwrap_or(self.now - SignedDuration::from_secs(30)),
            blocked_since: None,
            reported: None,
            others: BTreeMap::new(),
        }));
    }

    /// The Job of the step that has the node, or had it last: its state, and its age.
    fn job(&self, live: &mut Live, node: &str, words: &str) {
        let run = self.record.run.as_ref().unwrap();
        let (step, record) = of_node(run, node).unwrap();
        let name = job_name(run, step, record);
        let mut words = words.split(':');
        let state = match words.next().unwrap() {
            "suspended" => JobState::Suspended,
            "waiting" => JobState::Waiting("its image cannot be pulled".to_owned()),
            "running" => JobState::Running,
            "complete" => JobState::Complete,
            "failed" => JobState::Failed("exit code 1".to_owned()),
            "refused" => {
                let (until, tries) = (self.now + SignedDuration::from_secs(5), 3);
                let why = CallFailure::Other("403 Forbidden: exceeded quota".to_owned());
                live.overlay.backoff.insert(EffectKey::Job(name), Backoff { until, tries, why });
                return;
            }
            other => panic!("`{other}` says nothing of a Job"),
        };
        let (mut age, mut exit_code, mut made_anew) = ("5m", None, false);
        let mut begun = state != JobState::Suspended;
        for word in words {
            match word {
                "refused" => exit_code = Some(provider::REFUSED),
                "broken" => exit_code = Some(1),
                "anew" => made_anew = true,
                "begun" => begun = true,
                length => age = length,
            }
        }
        let (_, mv) = step.work.node_move().unwrap();
        let job = Job {
            uid: format!("uid-{name}"),
            resource_version: "1".to_owned(),
            node: node.to_owned(),
            run: run.id.clone(),
            component: step.component().unwrap().as_str().to_owned(),
            target: mv.to.to_string(),
            suspended: state == JobState::Suspended,
            begun,
            made_anew,
            state,
            created: self.since(age),
        };
        if let Some(exit_code) = exit_code {
            live.pods.put(pod_of(&job, &name, exit_code));
        }
        live.jobs.insert(name, job);
    }

    fn pod(&self, live: &mut Live, uid: &Uid, mark: &str) {
        let mut pod: Pod = live.pods.get(uid).unwrap().clone();
        let (word, detail) = mark.split_once(':').unwrap_or((mark, ""));
        match word {
            "going" => pod.deleting = Some((self.now + SignedDuration::from_secs(20)).into()),
            "stuck" => pod.deleting = Some((self.now - SignedDuration::from_mins(2)).into()),
            "late" => (pod.created, pod.arrived) = (self.now.into(), self.now.into()),
            "created" => pod.created = self.since(detail).into(),
            "pending" => (pod.phase, pod.ready) = (Phase::Pending, false),
            // The claim and its volume have the same name.
            "volume" | "sharedVolume" => {
                pod.seldom = Seldom { claims: [detail.into()].into(), ..Seldom::default() }.kept();
                let claim = VolumeClaim { volume: detail.into(), shared: word == "sharedVolume" };
                live.claims.insert((pod.namespace.clone(), detail.into()), claim);
            }
            "moving" | "over" | "timedOut" | "takenBack" => return self.rollout(live, &pod, word, detail),
            "essential" => {
                let owner = pod.owner.clone().unwrap().uid.clone();
                live.workloads.get_mut(&owner).unwrap().essential = true;
            }
            "evicted" => drop(live.overlay.evicted.insert(uid.clone(), self.now)),
            "evicting" => {
                let until = self.now + SignedDuration::from_secs(20);
                live.overlay.in_flight.insert(EffectKey::Eviction(uid.clone()), until);
            }
            "refused" => {
                let until = self.now + SignedDuration::from_secs(10);
                let (kind, message) = refusal(detail);
                let refusal = Refusal { kind, message: message.to_owned(), until, tries: 2 };
                live.overlay.refused.insert(uid.clone(), refusal);
            }
            _ => panic!("`{mark}` says nothing of a pod"),
        }
        live.pods.put(pod);
    }
}

impl Then<'_> {
    /// The rollout that moves a pod: which step began it, and how far it is.
    fn rollout(&self, live: &mut Live, pod: &Pod, word: &str, detail: &str) {
        let uid = live.top_owner(pod.owner.as_ref().unwrap());
        let mut workload = live.workloads[&uid].clone();
        let rollout = workload.rollout.as_mut().unwrap();
        match word {
            "moving" => {
                let (age, node) = detail.split_once(':').unwrap_or((detail, pod.node.as_deref().unwrap()));
                let run = self.record.run.as_ref();
                let (step, record) = run.and_then(|run| of_node(run, node)).unwrap();
                let begun = RolloutNote {
                    run: run.unwrap().id.clone(),
                    step: step.id.to_string(),
                    attempt: record.attempt,
                    epoch: EPOCH,
                    at: self.since(age),
                    before: None,
                };
                rollout.moved = Some(begun.value().as_str().into());
                rollout.progress = Progress::Going;
                rollout.note = Some(Box::new(NoteState::Ours(begun)));
            }
            "over" => rollout.progress = Progress::Complete,
            "timedOut" => {
                rollout.progress = Progress::Failed("ReplicaSet \"cart-2\" has timed out progressing".into());
            }
            _ => rollout.moved = None,
        }
        live.put_workload(uid, workload);
    }
}

/// The Job of a run before this one.
fn old_job(live: &mut Live, node: &str, word: &str, now: Timestamp) {
    let state = match word {
        "suspended" => JobState::Suspended,
        "running" => JobState::Running,
        "complete" => JobState::Complete,
        "lost" => JobState::Failed("exit code unknown".to_owned()),
        other => panic!("`{other}` says nothing of a Job"),
    };
    let job = Job {
        uid: format!("uid-old-{node}"),
        resource_version: "1".to_owned(),
        node: node.to_owned(),
        run: "0ddba110ddba-1".to_owned(),
        component: "kubelet".to_owned(),
        target: "v1.35.4".to_owned(),
        suspended: state == JobState::Suspended,
        begun: state != JobState::Suspended,
        made_anew: false,
        state,
        created: now - SignedDuration::from_hours(24),
    };
    live.jobs.insert(format!("old-{node}"), job);
}

/// The pod of a Job that has ended.
fn pod_of(job: &Job, name: &str, exit_code: i32) -> Pod {
    let owner = Owner { kind: OwnerKind::Job, uid: job.uid.as_str().into(), name: name.into() };
    let labels = [(names::RUN.into(), job.run.as_str().into())];
    Pod {
        owner: Some(Arc::new(owner)),
        labels: Arc::new(labels.into_iter().collect()),
        phase: Phase::Failed,
        ready: false,
        seldom: Seldom {
            ending: Some(Ending { exit_code: Some(exit_code), said: None }),
            ..Seldom::default()
        }
        .kept(),
        ..plain_pod(names::NAMESPACE, name, &job.node)
    }
}

/// The heartbeat that a claim remembers.
const FIRST_BEAT: &str = "2026-12-02T21:50:00.000000Z";

fn refusal(word: &str) -> (RefusalKind, &'static str) {
    match word {
        "budget" => {
            (RefusalKind::Budget, "Cannot evict pod as it would violate the pod's disruption budget.")
        }
        "busy" => (RefusalKind::Busy, "Too many requests, please try again later."),
        "several" => (RefusalKind::SeveralBudgets, "This pod has more than one PodDisruptionBudget"),
        "webhook" => (RefusalKind::Denied, "admission webhook \"freeze.example.com\" denied the request"),
        "unclear" => (RefusalKind::Unclear, "no answer"),
        _ => panic!("`{word}` is no refusal"),
    }
}

/// Changes a static pod of a control plane node.
fn change_server(live: &mut Live, component: &str, node: &str, change: impl FnOnce(&mut Pod)) {
    let mut pod = live.pods.get(&Uid::from(format!("uid-kube-system-{component}-{node}"))).unwrap().clone();
    change(&mut pod);
    live.pods.put(pod);
}

/// The step of a run that has a node, or had it last.
fn of_node<'a>(run: &'a Run, node: &str) -> Option<(&'a Step, &'a StepRecord)> {
    let mut of_node: Vec<_> = run.steps.iter().filter(|(id, _)| id.node_name() == Some(node)).collect();
    // What is in progress comes first, the furthest of it before the others; then what ended last.
    of_node.sort_by_key(|(id, record)| {
        (record.end.is_some(), std::cmp::Reverse((record.phase, record.ended)), *id)
    });
    let (id, record) = of_node.first()?;
    Some((run.find(id)?.1, record))
}

/// A step of a run that nothing is known of.
fn some_step(node: &Node) -> StepId {
    let node = NodeRef { name: node.name.to_string(), uid: node.uid.to_string() };
    let scope = Scope::Pool("general".to_owned());
    StepId { scope, to: "v1.36.3".to_owned(), node: Some(node), kind: WorkKind::Kubelet }
}

pub fn job_name(run: &Run, step: &Step, record: &StepRecord) -> String {
    let (component, mv) = step.work.node_move().unwrap();
    provider::job_name(&Order {
        cluster: &run.plan.cluster,
        run: &run.id,
        step: &step.id,
        node_move: mv,
        role: Role::of(component, step.id.scope == Scope::ControlPlane, run.first_of_hop(step)),
        kubeadm: &run.plan.kubeadm,
        attempt: record.attempt,
        anew: false,
    })
}

/// `node/w1`, `lease`, `status`, `resume`, `job/NAME`, `deployment/shop/cart`.
fn key(object: &str) -> EffectKey {
    match object.split_once('/') {
        Some(("node", name)) => EffectKey::Node(name.to_owned()),
        Some(("job", name)) => EffectKey::Job(name.to_owned()),
        Some(("deployment", name)) => EffectKey::Deployment(name.to_owned()),
        None if object == "lease" => EffectKey::Lease,
        None if object == "status" => EffectKey::StatusMap,
        None if object == "resume" => EffectKey::ResumeNote,
        _ => panic!("`{object}` is no object of an effect"),
    }
}

fn published(record: &Record, word: Option<&str>) -> Option<Published> {
    match word {
        None => Some(Published { text: String::new(), of: Some(record.next_seq) }),
        Some("unread") => None,
        // And something that has changed since.
        Some("stopped") => Some(Published { text: format!("{}\n", record.shown_text("prod-eu")), of: None }),
        Some("old") => Some(Published { text: String::new(), of: None }),
        Some(other) => panic!("`{other}` says nothing of what is published"),
    }
}
