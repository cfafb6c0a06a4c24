//! What is due when. Equal tasks are one task: the earlier due time wins.

use super::object::Key;
use super::resource::Kind;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something that a controller or a kubelet will do by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    Deployment(Key),
    ReplicaSet(Key),
    StatefulSet(Key),
    DaemonSet(Key),
    /// Gives a node the pods of all `DaemonSets`.
    DaemonNode(Box<str>),
    Job(Key),
    Budget(Key),
    Schedule(Key),
    /// Tries all pods again that found no node.
    ScheduleAll,
    Claim(Key),
    PodStart(Key, Arc<str>),
    PodGone(Key, Arc<str>),
    PodFinish(Key, Arc<str>),
    NodeTaints(Box<str>),
    NodeMonitor(Box<str>),
    NodeGone(Box<str>),
    /// Marks the pods of an unreachable node for deletion.
    NodeEvict(Box<str>),
    KubeletStart(Box<str>, Box<str>),
    KubeletReady(Box<str>),
    /// Replaces the static pod at this place of the node's list; the version is empty for a restart as it is.
    StaticPod(Box<str>, Box<str>, usize),
    StaticPodReady(Key, Arc<str>),
    Detach(Key),
    Orphans(Kind, Key, Arc<str>),
    Namespace(Box<str>),
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    by_time: BTreeMap<(Timestamp, u64), Task>,
    by_task: BTreeMap<Task, (Timestamp, u64)>,
    sequence: u64,
}

impl Queue {
    pub(super) fn add(&mut self, task: Task, due: Timestamp) {
        if let Some(place) = self.by_task.get(&task) {
            if place.0 <= due {
                return;
            }
            self.by_time.remove(place);
        }
        self.sequence += 1;
        self.by_time.insert((due, self.sequence), task.clone());
        self.by_task.insert(task, (due, self.sequence));
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.by_time.first_key_value().map(|((due, _), _)| *due)
    }

    /// The first task that is due by `now`, with its due time.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Task)> {
        let entry = self.by_time.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((due, _), task) = entry.remove_entry();
        self.by_task.remove(&task);
        Some((due, task))
    }
}
