//! Controllers of pods: what is kept of them, and the way from a pod to its top-level controller and back.

use super::addon_workload::{WorkloadKind, WorkloadRef};
use super::live::{Id, Live};
use super::pod::{Owner, OwnerKind, Pod};
use super::rollout::Rollout;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub kind: OwnerKind,
    pub namespace: Id,
    pub name: Id,
    pub replicas: u32,
    /// The Deployment that owns a `ReplicaSet`.
    pub parent: Option<Id>,
    /// True for a `DaemonSet` that provides networking, proxy or storage.
    pub essential: bool,
    /// Set for a Deployment.
    pub rollout: Option<Box<Rollout>>,
}

impl Live {
    /// The top-level controller: the Deployment that owns a `ReplicaSet`, otherwise the owner itself.
    pub fn top_owner(&self, owner: &Owner) -> Id {
        self.workloads
            .get(&owner.uid)
            .and_then(|workload| workload.parent.clone())
            .unwrap_or(owner.uid.clone())
    }

    /// `deployment/shop/cart`, or as much of that as is known.
    pub fn owner_name(&self, uid: &Id) -> String {
        self.workloads.get(uid).map_or_else(
            || format!("owner/{uid}"),
            |w| format!("{}/{}/{}", w.kind.noun(), w.namespace, w.name),
        )
    }

    /// The controller with this kind and name, with its UID.
    pub fn workload_of(&self, of: &WorkloadRef) -> Option<(&Id, &Workload)> {
        let kind = match of.kind {
            WorkloadKind::Deployment => OwnerKind::Deployment,
            WorkloadKind::DaemonSet => OwnerKind::DaemonSet,
            WorkloadKind::StatefulSet => OwnerKind::StatefulSet,
        };
        self.workloads.iter().find(|(_, workload)| {
            workload.kind == kind && *workload.name == *of.name && *workload.namespace == *of.namespace
        })
    }

    /// The pods of a top-level owner: for a Deployment those of all its `ReplicaSet`s.
    pub fn pods_under(&self, top: &Id) -> impl Iterator<Item = &Pod> {
        let first = (top.clone(), Id::default());
        let of_top = top.clone();
        let sets = self.sets_of.range(first..).take_while(move |(parent, _)| *parent == of_top);
        self.pods.of(top).chain(sets.flat_map(|(_, set)| self.pods.of(set)))
    }

    pub fn put_workload(&mut self, uid: Id, workload: Workload) {
        if let Some(parent) = &workload.parent {
            self.sets_of.insert((parent.clone(), uid.clone()));
        }
        if workload.rollout.as_ref().is_some_and(|rollout| rollout.note.is_some()) {
            self.moving.insert(uid.clone());
        } else {
            self.moving.remove(&uid);
        }
        if workload.rollout.as_ref().is_some_and(|rollout| rollout.surge == Some(true)) {
            self.surging.insert(uid.clone());
        } else {
            self.surging.remove(&uid);
        }
        self.workloads.insert(uid, workload);
    }

    pub fn drop_workload(&mut self, uid: &Id) {
        self.moving.remove(uid);
        self.surging.remove(uid);
        let parent = self.workloads.remove(uid).and_then(|workload| workload.parent);
        if let Some(parent) = parent {
            self.sets_of.remove(&(parent, uid.clone()));
        }
    }
}
