//! What a change sets off: which controllers will look at which object, and when.

use super::audit::LowWater;
use super::cluster::Cluster;
use super::control::budget;
use super::json::count;
use super::object::{Key, Object};
use super::queue::Task;
use super::resource::Kind;
use super::store::Change;
use super::time;
use jiff::Timestamp;
use std::sync::Arc;

impl Cluster {
    pub(super) fn react(&mut self, change: &Change) {
        let object = &change.new;
        let soon = time::after(change.at, self.settings.timings.controller);
        if change.deleted && self.store.dependents(&object.uid).next().is_some() {
            self.later(Task::Orphans(object.kind, object.key.clone(), Arc::clone(&object.uid)), soon);
        }
        if !self.settings.controllers {
            return;
        }
        let key = object.key.clone();
        match object.kind {
            Kind::Pod => self.react_to_pod(change),
            Kind::Node => self.react_to_node(change),
            Kind::PodDisruptionBudget if !change.deleted => {
                self.later(Task::Budget(key), time::after(change.at, self.settings.timings.budget));
            }
            Kind::Namespace if change.old.is_none() => {
                let account = serde_json::json!({"metadata": {"name": "default"}});
                self.spawn_kind(Kind::ServiceAccount, account, &key.name, change.at);
            }
            Kind::PersistentVolumeClaim if !change.deleted => self.later(Task::Claim(key), change.at),
            _ => {}
        }
        self.wake_owner(object, soon);
        if let Some(task) = workload(object.kind, &object.key).filter(|_| !change.deleted) {
            self.later(task, soon);
        }
    }

    /// The controller of an object looks at what became of it.
    fn wake_owner(&mut self, object: &Object, due: Timestamp) {
        let Some(owner) = object.controller() else { return };
        let key = Key { namespace: Arc::clone(&object.key.namespace), name: owner.name.as_ref().into() };
        let kind = Kind::named(&owner.api_version, &owner.kind);
        if let Some(task) = kind.and_then(|kind| workload(kind, &key)) {
            self.later(task, due);
        }
    }

    fn react_to_pod(&mut self, change: &Change) {
        let (pod, at) = (&change.new, change.at);
        let Some(facts) = pod.pod() else { return };
        let was = change.old.as_deref();
        let was_bound = was.and_then(Object::pod).is_some_and(|facts| !facts.node.is_empty());
        let pending = facts.phase == super::object::Phase::Pending && !change.deleted && !pod.deleting;
        if pending && facts.node.is_empty() && was.is_none() {
            self.later(Task::Schedule(pod.key.clone()), time::after(at, self.settings.timings.scheduler));
        }
        if pending && !facts.node.is_empty() && !was_bound {
            self.unplaced.remove(&pod.key);
            self.attach_volumes(pod, at);
            let wait = super::control::pod::own_seconds(pod, "sim/start-seconds")
                .unwrap_or(self.settings.timings.pod_start);
            self.later(Task::PodStart(pod.key.clone(), Arc::clone(&pod.uid)), time::after(at, wait));
        }
        if change.deleted || facts.finished() {
            self.unplaced.remove(&pod.key);
            self.release_volumes(pod, at);
            self.retry_unplaced(at);
        }
        self.count_job_pod(change);
        self.note_health(change);
    }

    pub(super) fn retry_unplaced(&mut self, at: Timestamp) {
        if !self.unplaced.is_empty() {
            self.later(Task::ScheduleAll, time::after(at, self.settings.timings.scheduler));
        }
    }

    /// Budgets look again, and the low-water mark of the owner may sink.
    fn note_health(&mut self, change: &Change) {
        let pod = &change.new;
        let before = change.old.as_ref().is_some_and(|old| old.healthy());
        let after = pod.healthy() && !change.deleted;
        if before == after && change.old.is_some() && !change.deleted {
            return;
        }
        let due = time::after(change.at, self.settings.timings.budget);
        let budgets: Vec<_> = budget::matching(&self.store, pod).map(|budget| budget.key.clone()).collect();
        for key in budgets {
            self.later(Task::Budget(key), due);
        }
        if before && !after {
            self.sink(pod, change.at);
        }
    }

    fn sink(&mut self, pod: &Object, at: Timestamp) {
        let Some(top) = self.top_owner(pod) else { return };
        let ready = match top.kind {
            Kind::Deployment => {
                self.store.owned_by(&top.uid, Kind::ReplicaSet).map(|set| self.store.ready_of(&set.uid)).sum()
            }
            _ => self.store.ready_of(&top.uid),
        };
        let mark = self.audit.low_water.entry(top.uid.to_string()).or_insert_with(|| LowWater {
            kind: top.kind.resource().name.to_owned(),
            namespace: top.key.namespace.to_string(),
            name: top.key.name.to_string(),
            ready: usize::MAX,
            replicas: 0,
            at,
        });
        if ready < mark.ready {
            mark.ready = ready;
            mark.at = at;
            mark.replicas = match top.kind {
                Kind::DaemonSet => count(top.tree(), &["status", "desiredNumberScheduled"], 0),
                _ => count(top.tree(), &["spec", "replicas"], 1),
            };
        }
    }

    /// A pod's Deployment, or its `ReplicaSet`, `StatefulSet` or `DaemonSet` where that stands alone.
    fn top_owner(&self, pod: &Object) -> Option<Arc<Object>> {
        let owner = self.controller_of(pod)?;
        match owner.kind {
            Kind::ReplicaSet => self.controller_of(&owner).or(Some(owner)),
            Kind::StatefulSet | Kind::DaemonSet => Some(owner),
            _ => None,
        }
    }

    pub(super) fn controller_of(&self, object: &Object) -> Option<Arc<Object>> {
        budget::controller_of(&self.store, object).cloned()
    }

    fn react_to_node(&mut self, change: &Change) {
        let (node, at) = (&change.new, change.at);
        let name: Box<str> = node.key.name.as_ref().into();
        if change.deleted {
            self.forget_node(&name, at);
            return;
        }
        let reborn = change.old.as_ref().is_none_or(|old| old.uid != node.uid);
        if reborn {
            self.meet_node(&name, at);
        }
        let soon = time::after(at, self.settings.timings.controller);
        self.later(Task::NodeTaints(name.clone()), soon);
        if reborn || change.old.as_deref().is_some_and(|old| placement_differs(old, node)) {
            self.later(Task::DaemonNode(name), soon);
            self.retry_unplaced(at);
        }
    }
}

/// Whether a node changed in what decides which pods it gets.
fn placement_differs(old: &Object, new: &Object) -> bool {
    let taints = |object: &Object| -> Vec<(Box<str>, Box<str>)> {
        let facts = object.node().map(|node| &node.taints);
        facts.into_iter().flatten().map(|taint| (taint.key.clone(), taint.effect.clone())).collect()
    };
    let ready =
        |object: &Object| object.node().map(|node| (node.ready, node.unschedulable, node.pods, node.cpu));
    old.labels != new.labels || ready(old) != ready(new) || taints(old) != taints(new)
}

fn workload(kind: Kind, key: &Key) -> Option<Task> {
    let key = key.clone();
    Some(match kind {
        Kind::Deployment => Task::Deployment(key),
        Kind::ReplicaSet => Task::ReplicaSet(key),
        Kind::StatefulSet => Task::StatefulSet(key),
        Kind::DaemonSet => Task::DaemonSet(key),
        Kind::Job => Task::Job(key),
        _ => return None,
    })
}
