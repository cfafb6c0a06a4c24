//! The owners of the pods of one node: how many Ready pods they had before the drain, and whether they have as many
//! again.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::decision::{Key, Reason};
use crate::model::entry::Baseline;
use crate::model::live::{Id, Live, OwnerKind, Pod};
use crate::model::plan::DrainLimits;
use crate::model::text::list;
use crate::model::time::{earlier, later};
use crate::model::work::{Component, NodeMove};
use crate::verify::pods::{self, CLOCKS};

/// More pods of one owner than a person reads.
const MOST_NAMED: usize = 3;

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

/// What the owners of the pods of one drain still miss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    /// The UID of the owner.
    pub owner: Id,
    pub name: String,
    /// How many Ready pods the owner is to have again.
    pub wanted: u32,
    pub missing: u32,
    /// Names of its pods that are there in the place of evicted ones and not Ready.
    pub unready: Vec<String>,
}

/// When the pods of a drain were moved, by the record: from the claim of its node to its return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Debt {
    /// `deployment/shop/cart (pods cart-7 and cart-9)`.
    pub fn told(&self) -> String {
        match self.unready.as_slice() {
            [] => self.name.clone(),
            [pod] => format!("{} (pod {pod})", self.name),
            pods => format!("{} (pods {})", self.name, list(pods, MOST_NAMED)),
        }
    }

    pub fn reason(&self) -> Reason {
        let text = format!("fewer than {} of its pods are Ready again", self.wanted);
        Reason::new(Key::OwnersRecovering, self.name.clone(), text)
    }
}

/// What the owners of evicted pods miss because of one drain. An owner that was scaled down or removed meanwhile misses
/// nothing.
///
/// While other nodes are drained, a large owner with a budget is always as many pods short as the budget allows. It would
/// never count as recovered, although each of its pods is Ready again within seconds. So only the pods that this drain set
/// off are counted: those that were created in its time and are not Ready, and those that were not created again at all.
pub fn debts(live: &Live, baseline: &BTreeMap<String, Baseline>, moved: Moved) -> Vec<Debt> {
    let debts = baseline.iter().filter_map(|(uid, before)| debt(live, Id::from(uid.as_str()), before, moved));
    debts.collect()
}

fn debt(live: &Live, owner: Id, before: &Baseline, moved: Moved) -> Option<Debt> {
    let wanted = match live.workloads.get(&owner) {
        Some(workload) if workload.kind == OwnerKind::DaemonSet => return None,
        Some(workload) => before.ready.min(workload.replicas),
        // A controller of a kind that is watched, and that was removed; of any other only its pods are known, and what
        // does not come back is missing.
        None if before.watched => return None,
        None => before.ready,
    };
    let short = wanted.checked_sub(ready_pods(live, &owner)).filter(|short| *short > 0)?;
    let (from, until) = (earlier(moved.from, CLOCKS), later(moved.until, CLOCKS));
    // A pod that still ends is replaced when it is gone, or is replaced already.
    let there = || live.pods_under(&owner).filter(|pod| !pod.finished());
    let of_drain = |pod: &&Pod| (from..=until).contains(&pod.created.time());
    let unready = there().filter(|pod| !pod.ready && pod.deleting.is_none()).filter(of_drain);
    let unready: Vec<String> = unready.map(|pod| pod.name.to_string()).collect();
    let made = count(there().count());
    // A task of a kind that is not watched ends with its pods: what has none is not waited for.
    if made == 0 && !before.watched {
        return None;
    }
    let not_made = wanted.saturating_sub(made);
    let missing = short.min(count(unready.len()).saturating_add(not_made));
    (missing > 0).then(|| Debt { owner, name: before.name.clone(), wanted, missing, unready })
}

/// The Ready pods of an owner; of a Deployment, those of all its `ReplicaSets`.
pub fn ready_pods(live: &Live, owner: &Id) -> u32 {
    count(live.pods_under(owner).filter(|pod| pod.ready && pod.deleting.is_none()).count())
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
