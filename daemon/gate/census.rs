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
    /// How many kubelets report each version, by its text.
    kubelets: BTreeMap<String, (Version, usize)>,
    /// What each node was counted as.
    nodes: BTreeMap<Id, Counted>,
}

/// What one node is counted as.
#[derive(Clone, Debug, PartialEq)]
struct Counted {
    kubelet: Option<Version>,
    place: CountedAs,
}

#[derive(Clone, Debug, PartialEq)]
enum CountedAs {
    /// In this pool, and its zone if it is out.
    Pool(String, Option<Id>),
    LeftAlone,
    Nowhere,
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
        census.update(cluster, live, live.nodes.keys());
        census
    }

    /// Counts these nodes again; all others are as they were, and so is the cluster's file.
    pub fn update<'a>(&mut self, cluster: &Cluster, live: &Live, changed: impl IntoIterator<Item = &'a Id>) {
        for name in changed {
            let now = live.nodes.get(name).map(|node| Counted::of(cluster, node));
            if self.nodes.get(name) == now.as_ref() {
                continue;
            }
            if let Some(before) = self.nodes.remove(name) {
                self.count(name, &before, false);
            }
            if let Some(now) = now {
                self.count(name, &now, true);
                self.nodes.insert(name.clone(), now);
            }
        }
    }

    fn count(&mut self, name: &Id, counted: &Counted, present: bool) {
        if let Some(kubelet) = &counted.kubelet {
            let text = kubelet.to_string();
            let (_, count) = self.kubelets.entry(text.clone()).or_insert_with(|| (kubelet.clone(), 0));
            *count = changed_by_one(*count, present);
            if *count == 0 {
                self.kubelets.remove(&text);
            }
        }
        match &counted.place {
            CountedAs::Pool(pool, zone) => {
                let of_pool = self.pools.entry(pool.clone()).or_default();
                of_pool.total = changed_by_one(of_pool.total, present);
                match zone.as_ref().filter(|_| present) {
                    Some(zone) => drop(of_pool.out.insert(name.clone(), zone.clone())),
                    None => drop(of_pool.out.remove(name)),
                }
                if of_pool.total == 0 {
                    self.pools.remove(pool);
                }
            }
            CountedAs::LeftAlone if present => drop(self.left_alone.insert(name.clone())),
            CountedAs::LeftAlone => drop(self.left_alone.remove(name)),
            CountedAs::Nowhere => {}
        }
    }

    /// True if the node was counted in this pool.
    pub fn is_in(&self, pool: &str, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|of| matches!(&of.place, CountedAs::Pool(name, _) if name == pool))
    }

    /// True if the node is out already.
    pub fn is_out(&self, pool: &str, node: &str) -> bool {
        self.pools.get(pool).is_some_and(|pool| pool.out.contains_key(node))
    }

    /// The oldest version that any kubelet of the cluster reports; `None` if none reports one.
    pub fn oldest_kubelet(&self) -> Option<&Version> {
        Version::oldest(self.kubelets.values().map(|(version, _)| version))
    }

    /// The newest version that any kubelet of the cluster reports; `None` if none reports one.
    pub fn newest_kubelet(&self) -> Option<&Version> {
        Version::newest(self.kubelets.values().map(|(version, _)| version))
    }

    /// Names of the nodes of a pool that are out already.
    pub fn out_of(&self, pool: &str) -> impl Iterator<Item = &Id> {
        self.pools.get(pool).into_iter().flat_map(|pool| pool.out.keys())
    }

    /// Names of the nodes of a pool.
    pub fn of_pool(&self, pool: &str) -> impl Iterator<Item = &Id> {
        let of_pool = move |of: &Counted| matches!(&of.place, CountedAs::Pool(name, _) if name == pool);
        self.nodes.iter().filter(move |(_, of)| of_pool(of)).map(|(name, _)| name)
    }

    /// Nodes that no pool selects or moves, and that do not run the desired version.
    pub fn left_alone(&self) -> impl Iterator<Item = &Id> {
        self.left_alone.iter()
    }
}

impl Counted {
    fn of(cluster: &Cluster, node: &Node) -> Self {
        let as_desired = || node.kubelet.as_ref().is_some_and(|runs| runs.is_as(&cluster.version));
        let place = match membership(cluster, node) {
            Membership::Pool(pool) => {
                CountedAs::Pool(pool.name.clone(), is_out(node).then(|| node.zone.clone()))
            }
            Membership::Nowhere | Membership::Beyond(Beyond::System(_)) if !as_desired() => {
                CountedAs::LeftAlone
            }
            Membership::Nowhere
            | Membership::ControlPlane
            | Membership::Several(_)
            | Membership::Beyond(Beyond::System(_) | Beyond::VirtualKubelet) => CountedAs::Nowhere,
        };
        Self { kubelet: node.kubelet.clone(), place }
    }
}

fn changed_by_one(count: usize, present: bool) -> usize {
    if present { count + 1 } else { count.saturating_sub(1) }
}

fn is_out(node: &Node) -> bool {
    node.ready != Ready::True || node.unschedulable || node.hold.is_some()
}

/// The nodes that count as out in this pass: those that are out, those that a step in progress has not returned, and those
/// chosen in this pass.
#[derive(Clone, Debug, Default)]
pub struct Books<'a> {
    pools: BTreeMap<&'a str, PoolCount<'a>>,
    /// Every counted node, once.
    nodes: BTreeSet<&'a str>,
    /// How many steps were chosen in this pass, by pool.
    chosen: BTreeMap<&'a str, usize>,
}

#[derive(Clone, Debug, Default)]
struct PoolCount<'a> {
    total: usize,
    out: usize,
    by_zone: BTreeMap<&'a str, usize>,
}

impl<'a> Books<'a> {
    pub fn of(census: &'a Census, run: Option<&'a Run>) -> Self {
        let mut books = Self::default();
        for (name, pool) in &census.pools {
            books.pools.insert(name, PoolCount { total: pool.total, ..PoolCount::default() });
            for (node, zone) in &pool.out {
                books.count(name, node, zone);
            }
        }
        for step in run.into_iter().flat_map(Run::steps_out) {
            if let (Scope::Pool(pool), Some(mv)) = (&step.id.scope, step.node_move()) {
                books.count(pool, &mv.node.name, &mv.zone);
            }
        }
        books
    }

    fn count(&mut self, pool: &'a str, node: &'a str, zone: &'a str) {
        if self.nodes.insert(node) {
            let count = self.pools.entry(pool).or_default();
            count.out += 1;
            *count.by_zone.entry(zone).or_default() += 1;
        }
    }

    /// Counts the node of a step that was chosen.
    pub fn choose(&mut self, step: &'a Step) {
        let (Scope::Pool(pool), Some(mv)) = (&step.id.scope, step.node_move()) else { return };
        self.count(pool, &mv.node.name, &mv.zone);
        *self.chosen.entry(pool).or_default() += 1;
    }

    pub(super) fn chosen(&self, pool: &str) -> usize {
        self.chosen.get(pool).copied().unwrap_or(0)
    }

    pub fn counts(&self, node: &str) -> bool {
        self.nodes.contains(node)
    }

    /// How many nodes the pool has, and how many of them are out.
    pub fn pool(&self, pool: &str) -> (usize, usize) {
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
