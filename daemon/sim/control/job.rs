//! Jobs: pods until enough have succeeded, or too many have failed, or the deadline has passed.

use super::pod;
use crate::sim::cluster::Cluster;
use crate::sim::json::{self, condition, count, int, list, set, text};
use crate::sim::object::{Key, Object, Phase};
use crate::sim::queue::Task;
use crate::sim::resource::Kind;
use crate::sim::store::Change;
use crate::sim::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

impl Cluster {
    pub(super) fn sync_job(&mut self, key: &Key, at: Timestamp) {
        let Some(job) = self.store.get(Kind::Job, key).filter(|job| !job.deleting).cloned() else { return };
        let tree = job.tree();
        if is_over(tree) {
            return;
        }
        if json::flag(tree, &["spec", "suspend"]) {
            for pod in self.active_pods(&job) {
                self.delete_pod(&pod, None, at);
            }
            return self.report_job(&job, at);
        }
        let started = self.start_of(&job, at);
        let active = self.active_pods(&job);
        let (succeeded, failed) =
            (count(tree, &["status", "succeeded"], 0), count(tree, &["status", "failed"], 0));
        let completions = count(tree, &["spec", "completions"], 1);
        let limit = int(tree, &["spec", "activeDeadlineSeconds"]).map(SignedDuration::from_secs);
        let deadline = limit.map(|limit| time::after(started, limit));
        if succeeded >= completions {
            return self.end_job(
                &job,
                "Complete",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
                at,
            );
        }
        if failed > count(tree, &["spec", "backoffLimit"], 6) {
            let why = "Job has reached the specified backoff limit";
            return self.end_job(&job, "Failed", "BackoffLimitExceeded", why, at);
        }
        if deadline.is_some_and(|deadline| deadline <= at) {
            let why = "Job was active longer than specified deadline";
            return self.end_job(&job, "Failed", "DeadlineExceeded", why, at);
        }
        if let Some(deadline) = deadline {
            self.later(Task::Job(key.clone()), deadline);
        }
        let parallel = count(tree, &["spec", "parallelism"], 1).min(completions - succeeded);
        for _ in active.len()..parallel {
            let template = json::at(tree, &["spec", "template"]).unwrap_or(&Value::Null);
            let tree = pod::from_template(template, &job, &format!("{}-", key.name));
            if self.spawn(tree, &key.namespace, at).is_none() {
                break;
            }
        }
        self.report_job(&job, at);
    }

    fn start_of(&mut self, job: &Object, at: Timestamp) -> Timestamp {
        let stated = time::parse_time(text(job.tree(), &["status", "startTime"]));
        if stated.is_none() {
            self.edit(Kind::Job, &job.key, at, |tree| set(tree, &["status", "startTime"], time::seconds(at)));
        }
        stated.unwrap_or(at)
    }

    fn report_job(&mut self, job: &Object, at: Timestamp) {
        let active = self.active_pods(job);
        let ready = active.iter().filter(|pod| pod.healthy()).count();
        self.edit(Kind::Job, &job.key, at, |tree| {
            set(tree, &["status", "active"], active.len());
            set(tree, &["status", "ready"], ready);
            json::set_absent(tree, &["status", "uncountedTerminatedPods"], json!({}));
        });
    }

    fn end_job(&mut self, job: &Object, kind: &str, reason: &str, message: &str, at: Timestamp) {
        for pod in self.active_pods(job) {
            self.delete_pod(&pod, None, at);
        }
        let first = if kind == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
        self.edit(Kind::Job, &job.key, at, |tree| {
            json::remove(tree, &["status", "active"]);
            set(tree, &["status", "ready"], 0);
            for kind in [first, kind] {
                let condition = json!({
                    "type": kind, "status": "True", "reason": reason, "message": message,
                    "lastProbeTime": time::seconds(at),
                });
                pod::set_condition(tree, condition, at);
            }
            if kind == "Complete" {
                set(tree, &["status", "completionTime"], time::seconds(at));
            }
        });
    }

    /// Counts the end of a Job's pod, however it came.
    pub(in crate::sim) fn count_job_pod(&mut self, change: &Change) {
        let (Some(old), Some(now)) = (change.old.as_deref().and_then(Object::pod), change.new.pod()) else {
            return;
        };
        if old.finished() {
            return;
        }
        let field = match now.phase {
            Phase::Succeeded => "succeeded",
            Phase::Failed => "failed",
            Phase::Pending | Phase::Running | Phase::Unknown if change.deleted => "failed",
            Phase::Pending | Phase::Running | Phase::Unknown => return,
        };
        let Some(job) = self.controller_of(&change.new).filter(|owner| owner.kind == Kind::Job) else {
            return;
        };
        if is_over(job.tree()) {
            return;
        }
        self.edit(Kind::Job, &job.key, change.at, |tree| {
            let before = count(tree, &["status", field], 0);
            set(tree, &["status", field], before + 1);
        });
    }

    /// A Job's pod has run its course, and what it did to its node shows from now on.
    pub(super) fn finish_job_pod(&mut self, key: &Key, uid: &str, at: Timestamp) {
        let Some(pod) =
            self.store.get(Kind::Pod, key).filter(|pod| &*pod.uid == uid && !pod.deleting).cloned()
        else {
            return;
        };
        let Some(facts) = pod.pod().filter(|facts| facts.phase == Phase::Running) else { return };
        if !self.kubelet_works(&facts.node) {
            return;
        }
        let upgrade = self.upgrade_of(&pod);
        let asked = text(pod.tree(), &["metadata", "annotations", "sim/fail"]) == "true";
        let broken = asked || (upgrade.is_some() && self.faults.failing_jobs.contains(&*facts.node));
        let killed = upgrade.as_ref().is_some_and(|found| self.kills_job(found));
        self.edit(Kind::Pod, key, at, |tree| {
            if broken || killed {
                pod::stop(tree, Phase::Failed, "Error", if killed { 137 } else { 1 }, at);
            } else {
                pod::stop(tree, Phase::Succeeded, "Completed", 0, at);
            }
        });
        if let Some(upgrade) = upgrade.filter(|_| !broken) {
            self.begin_upgrade(&facts.node, upgrade, at);
        }
    }

    /// Pods of a kubelet that is back go on where they were.
    pub(super) fn resume_pod(&mut self, pod: &Arc<Object>, at: Timestamp) {
        let Some(facts) = pod.pod() else { return };
        let (key, uid) = (pod.key.clone(), Arc::clone(&pod.uid));
        if pod.deleting {
            let due = time::after(at, self.settings.timings.pod_termination);
            self.later(Task::PodGone(key, uid), due);
            return;
        }
        match facts.phase {
            Phase::Pending => {
                self.later(Task::PodStart(key, uid), time::after(at, self.settings.timings.pod_start));
            }
            Phase::Running | Phase::Unknown => {
                if !facts.ready && is_serving(pod.tree()) {
                    self.edit(Kind::Pod, &key, at, |tree| pod::set_ready(tree, true, at));
                }
                self.plan_end(pod, at);
            }
            Phase::Succeeded | Phase::Failed => {}
        }
    }
}

fn is_serving(tree: &Value) -> bool {
    text(tree, &["metadata", "annotations", "sim/ready"]) != "false"
        && list(tree, &["status", "containerStatuses"])
            .iter()
            .all(|status| json::is_set(status, &["state", "running"]))
}

fn is_over(tree: &Value) -> bool {
    condition(tree, "Complete") == "True" || condition(tree, "Failed") == "True"
}
