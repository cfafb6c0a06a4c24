//! Controllers, scheduler and kubelets: each looks at the store, does one thing, and is woken again by what it did.

pub(super) mod budget;
mod daemonset;
mod deployment;
mod job;
pub(super) mod node;
pub(super) mod pod;
mod replicaset;
mod scheduler;
mod statefulset;
mod upgrade;
mod volume;

use super::cluster::Cluster;
use super::queue::Task;
use jiff::Timestamp;

impl Cluster {
    pub(super) fn perform(&mut self, task: Task, at: Timestamp) {
        match task {
            Task::Deployment(key) => self.sync_deployment(&key, at),
            Task::ReplicaSet(key) => self.sync_replica_set(&key, at),
            Task::StatefulSet(key) => self.sync_stateful_set(&key, at),
            Task::DaemonSet(key) => self.sync_daemon_set(&key, at),
            Task::DaemonNode(name) => self.sync_daemon_node(&name, at),
            Task::Job(key) => self.sync_job(&key, at),
            Task::Budget(key) => self.sync_budget(&key, at),
            Task::Schedule(key) => self.schedule(&key, at),
            Task::ScheduleAll => self.schedule_all(at),
            Task::Claim(key) => self.bind_claim(&key, at),
            Task::PodStart(key, uid) => self.start_pod(&key, &uid, at),
            Task::PodGone(key, uid) => self.finish_termination(&key, &uid, at),
            Task::PodFinish(key, uid) => self.finish_job_pod(&key, &uid, at),
            Task::NodeTaints(name) => self.sync_taints(&name, at),
            Task::NodeMonitor(name) => self.monitor_node(&name, at),
            Task::NodeGone(name) => self.collect_pods_of(&name, at),
            Task::NodeEvict(name) => self.evict_unreachable(&name, at),
            Task::KubeletStart(name, version) => self.start_kubelet(&name, &version, at),
            Task::KubeletReady(name) => self.kubelet_ready(&name, at),
            Task::StaticPod(name, version, place) => self.replace_static_pod(&name, &version, place, at),
            Task::StaticPodReady(key, uid) => self.static_pod_ready(&key, &uid, at),
            Task::Detach(key) => self.detach(&key, at),
            Task::Orphans(kind, key, uid) => self.collect_garbage(kind, &key, &uid, at),
            Task::Namespace(name) => self.sync_namespace(&name, at),
        }
    }
}
