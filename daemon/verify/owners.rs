//! The owners of the pods of one node: how many Ready pods they had before the drain, and whether they have as many
//! again.

use std::collections::BTreeMap;

use crate::model::decision::{Key, Reason};
use crate::model::entry::Baseline;
use crate::model::live::{Id, Live, OwnerKind};
use crate::model::plan::DrainLimits;
use crate::model::work::{Component, NodeMove};
use crate::verify::pods;

/// The Ready pods of the owners of a node's pods before the node is touched, and how many pods a drain evicts.
/// `drain` has the drain settings if the node is drained.
pub fn baseline(
    live: &Live,
    component: Component,
    mv: &NodeMove,
    drain: Option<&DrainLimits>,
) -> (u32, BTreeMap<String, Baseline>) {
    let node = mv.node.name.as_str();
    let mut owners = BTreeMap::new();
    let mut moving = 0;
    if let Some(limits) = drain {
        for pod in pods::to_evict(live, node, limits) {
            moving += 1;
            let Some(owner) = pod.owner.as_ref().filter(|owner| owner.kind != OwnerKind::Job) else {
                continue;
            };
            let top = live.top_owner(owner);
            owners.entry(top.to_string()).or_insert_with(|| {
                let (watched, ready) = (live.workloads.contains_key(&top), ready_pods(live, &top));
                let name = if watched { live.owner_name(&top) } else { pod.owner_name() };
                Baseline { name, ready, watched }
            });
        }
    }
    if component == Component::Kubelet {
        for pod in live.pods_on(node).filter(|pod| pod.ready) {
            let Some(set) = pod.owner.as_ref().filter(|owner| owner.kind == OwnerKind::DaemonSet) else {
                continue;
            };
            let before = Baseline { name: live.owner_name(&set.uid), ready: 1, watched: true };
            owners.insert(set.uid.to_string(), before);
        }
    }
    (moving, owners)
}

/// Owners of evicted pods that have fewer Ready pods than before. An owner that was scaled down or removed meanwhile
/// is not waited for.
pub fn recovering(live: &Live, baseline: &BTreeMap<String, Baseline>) -> Vec<Reason> {
    let short = baseline.iter().filter_map(|(uid, before)| {
        let uid = Id::from(uid.as_str());
        let wanted = match live.workloads.get(&uid) {
            Some(workload) if workload.kind == OwnerKind::DaemonSet => return None,
            Some(workload) => before.ready.min(workload.replicas),
            // A controller of a kind that is watched, and that was removed; of any other only its pods are known, and
            // what does not come back is missing.
            None if before.watched => return None,
            None => before.ready,
        };
        let ready = ready_pods(live, &uid);
        (ready < wanted).then(|| {
            Reason::new(
                Key::OwnersRecovering,
                before.name.clone(),
                format!("fewer than {wanted} of its pods are Ready again"),
            )
        })
    });
    short.collect()
}

/// The Ready pods of an owner; of a Deployment, those of all its `ReplicaSets`.
pub fn ready_pods(live: &Live, owner: &Id) -> u32 {
    let ready = live.pods_under(owner).filter(|pod| pod.ready && pod.deleting.is_none()).count();
    u32::try_from(ready).unwrap_or(u32::MAX)
}
