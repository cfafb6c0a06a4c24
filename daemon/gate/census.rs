//! How many nodes each pool and zone has, and which of them are out. The census changes only with nodes and pools;
//! the books add the steps in progress and those chosen in this pass.

use std::collections::{BTreeMap, BTreeSet};

use crate::diff::{Beyond, Membership, membership};
use crate::model::desired::Cluster;
use crate::model::live::{Id, Live, Node, Ready};
use crate::model::version::Version;
use crate::model::work::{Scope, Step};
use crate::record::Run;

/// The nodes of each pool, and which of them are out for whatever cause.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Census {
    pools: BTreeMap<String, PoolCensus>,
    /// Nodes that no pool selects or moves, and that do not run the desired version. Windlass does not touch them.
    left_alone: BTreeSet<Id>,
    /// The oldest and the newest version that any kubelet reports.
    oldest_kubelet: Option<Version>,
    newest_kubelet: Option<Version>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct PoolCensus {
    total: usize,
    /// Each node that is out, with its zone.
    out: BTreeMap<Id, Id>,
}

impl Census {
    pub fn of(cluster: &Cluster, live: &Live) -> Self {
        let mut census = Self::default();
        for node in live.nodes.values() {
            let older =
                |oldest: &Version| node.kubelet.as_ref().is_some_and(|kubelet| kubelet.is_before(oldest));
            if census.oldest_kubelet.as_ref().is_none_or(older) {
                census.oldest_kubelet.clone_from(&node.kubelet);
            }
            let newer =
                |newest: &Version| node.kubelet.as_ref().is_some_and(|kubelet| newest.is_before(kubelet));
            if census.newest_kubelet.as_ref().is_none_or(newer) {
                census.newest_kubelet.clone_from(&node.kubelet);
            }
            let pool = match membership(cluster, node) {
                Membership::Pool(pool) => pool,
                Membership::Nowhere | Membership::Beyond(Beyond::System(_)) => {
                    if node.kubelet.as_ref().is_none_or(|runs| !runs.is_as(&cluster.version)) {
                        census.left_alone.insert(node.name.clone());
                    }
                    continue;
                }
                Membership::ControlPlane
                | Membership::Several(_)
                | Membership::Beyond(Beyond::VirtualKubelet) => continue,
            };
            let of_pool = census.pools.entry(pool.name.clone()).or_default();
            of_pool.total += 1;
            if is_out(node) {
                of_pool.out.insert(node.name.clone(), node.zone.clone());
            }
        }
        census
    }

    /// True if the node is out already.
    pub fn is_out(&self, pool: &str, node: &str) -> bool {
        self.pools.get(pool).is_some_and(|pool| pool.out.contains_key(node))
    }

    /// The oldest version that any kubelet of the cluster reports; `None` if none reports one.
    pub fn oldest_kubelet(&self) -> Option<&Version> {
        self.oldest_kubelet.as_ref()
    }

    /// The newest version that any kubelet of the cluster reports; `None` if none reports one.
    pub fn newest_kubelet(&self) -> Option<&Version> {
        self.newest_kubelet.as_ref()
    }

    /// Names of the nodes of a pool that are out already.
    pub fn out_of(&self, pool: &str) -> impl Iterator<Item = &Id> {
        self.pools.get(pool).into_iter().flat_map(|pool| pool.out.keys())
    }

    /// Nodes that no pool selects or moves, and that do not run the desired version.
    pub fn left_alone(&self) -> impl Iterator<Item = &Id> {
        self.left_alone.iter()
    }
}

fn is_out(node: &Node) -> bool {
    node.ready != Ready::True || node.unschedulable || node.hold.is_some()
}

/// The nodes that count as out in this pass: those that are out, those in progress, and those chosen in this pass.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pools: BTreeMap<String, PoolCount>,
    /// Every counted node, once.
    nodes: BTreeSet<String>,
    /// How many steps were chosen in this pass, by pool.
    chosen: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, Default)]
struct PoolCount {
    total: usize,
    out: usize,
    by_zone: BTreeMap<String, usize>,
}

impl Books {
    pub fn of(census: &Census, run: Option<&Run>) -> Self {
        let mut books = Self::default();
        for (name, pool) in &census.pools {
            books.pools.insert(name.clone(), PoolCount { total: pool.total, ..PoolCount::default() });
            for (node, zone) in &pool.out {
                books.count(name, node, zone);
            }
        }
        for (id, _) in run.iter().flat_map(|run| run.in_progress()) {
            let step = run.and_then(|run| run.find(id)).map(|(_, step)| step);
            if let (Scope::Pool(pool), Some(mv)) = (&id.scope, step.and_then(Step::node_move)) {
                books.count(pool, &mv.node.name, &mv.zone);
            }
        }
        books
    }

    fn count(&mut self, pool: &str, node: &str, zone: &str) {
        if !self.nodes.insert(node.to_owned()) {
            return;
        }
        let count = self.pools.entry(pool.to_owned()).or_default();
        count.out += 1;
        *count.by_zone.entry(zone.to_owned()).or_default() += 1;
    }

    /// Counts the node of a step that was chosen.
    pub fn choose(&mut self, step: &Step) {
        let (Scope::Pool(pool), Some(mv)) = (&step.id.scope, step.node_move()) else { return };
        self.count(pool, &mv.node.name, &mv.zone);
        *self.chosen.entry(pool.clone()).or_default() += 1;
    }

    pub(super) fn chosen(&self, pool: &str) -> usize {
        self.chosen.get(pool).copied().unwrap_or(0)
    }

    pub(super) fn counts(&self, node: &str) -> bool {
        self.nodes.contains(node)
    }

    /// How many nodes the pool has, and how many of them are out.
    pub(super) fn pool(&self, pool: &str) -> (usize, usize) {
        self.pools.get(pool).map_or((0, 0), |count| (count.total, count.out))
    }

    pub(super) fn out_in_zone(&self, pool: &str, zone: &str) -> usize {
        self.pools.get(pool).and_then(|count| count.by_zone.get(zone)).copied().unwrap_or(0)
    }

    /// How many nodes all pools have, and how many of them are out.
    pub(super) fn cluster(&self) -> (usize, usize) {
        self.pools.values().fold((0, 0), |(total, out), count| (total + count.total, out + count.out))
    }
}
