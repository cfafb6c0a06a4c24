//! From what runs to what is asked for: hops, stages, steps, risks, and why it cannot be done as it stands.
//! It knows nothing of windows, limits in use or time; the gates ask those of each step when its turn comes.

mod check;
mod digest;
mod node;
mod order;
mod patches;
mod refuse;
mod risk;

use std::collections::BTreeMap;

use crate::diff::{CONTROL_PLANE, Membership, membership};
use crate::model::desired::{Cluster, Desired, Drain, DrainWhen, ForeignCordon, Limit, Pool, Provider};
use crate::model::live::{Live, Node};
use crate::model::plan::{Component, DrainLimits, Plan, PoolLimits};
use crate::model::version::Version;

pub use check::check;
pub use digest::asked;

/// Of control plane nodes, which no pool describes: one at a time, with the defaults of a pool's drain.
/// Without deleting emptyDir data a control plane could never be emptied; what it costs is listed as a risk.
const CONTROL_PLANE_LIMITS: PoolLimits = PoolLimits {
    max_unavailable: Limit::Count(1),
    max_unavailable_per_zone: None,
    canary: 0,
    soak_seconds: 0,
    foreign_cordon: ForeignCordon::Skip,
    drain: DrainLimits {
        when: DrainWhen::Minor,
        timeout_seconds: 30 * 60,
        delete_empty_dir_data: true,
        jobs_seconds: 2 * 60 * 60,
        implicit_budgets: true,
    },
};

/// The moves from the live cluster to the desired one. `scripts` is the digest of what the providers would
/// run on the nodes; it is part of what a reviewer approves.
pub fn plan(desired: &Desired, live: &Live, scripts: &str) -> Plan {
    let world = World::of(&desired.cluster, live);
    let mut blockers = refuse::at_start(&world);
    let (loads, risks) = risk::survey(&world);
    let (hops, stages) = if blockers.is_empty() { order::stages(&world, &loads) } else { Default::default() };
    blockers.extend(refuse::before_stages(&world, &stages));
    let mut plan = Plan {
        cluster: desired.cluster.name.clone(),
        commit: desired.commit.clone(),
        from: world.oldest_server().unwrap_or_else(|| desired.cluster.version.clone()),
        to: desired.cluster.version.clone(),
        hops,
        stages,
        pools: limits(&desired.cluster),
        max_unavailable: desired.cluster.max_unavailable,
        kubeadm: desired.cluster.control_plane.kubeadm.clone(),
        risks,
        blockers: risk::first_of_each(blockers.into_iter().collect()),
        digest: String::new(),
        asked: asked(&desired.cluster),
    };
    plan.digest = digest::of(&plan, &desired.cluster, scripts);
    plan
}

/// What a plan takes to run before its first step: the version of every component that it moves. Where the
/// live cluster says otherwise and the step is not done either, the world has moved under the plan.
pub fn assumed_start(plan: &Plan) -> BTreeMap<(Component, &str), &Version> {
    let mut start = BTreeMap::new();
    for step in plan.steps() {
        start.entry((step.component, step.node.as_str())).or_insert(&step.from);
    }
    start
}

/// What a run would hold itself to for each pool, as the cluster's file has it now.
fn limits(cluster: &Cluster) -> BTreeMap<String, PoolLimits> {
    let of_pool = |pool: &Pool| PoolLimits {
        max_unavailable: pool.max_unavailable,
        max_unavailable_per_zone: pool.max_unavailable_per_zone,
        canary: pool.canary,
        soak_seconds: pool.soak.as_secs(),
        foreign_cordon: pool.foreign_cordon,
        drain: drain_limits(&pool.drain),
    };
    let pools = cluster.pools.iter().map(|pool| (pool.name.clone(), of_pool(pool)));
    pools.chain([(CONTROL_PLANE.to_owned(), CONTROL_PLANE_LIMITS)]).collect()
}

fn drain_limits(drain: &Drain) -> DrainLimits {
    DrainLimits {
        when: drain.when,
        timeout_seconds: drain.timeout.as_secs(),
        delete_empty_dir_data: drain.delete_empty_dir_data,
        jobs_seconds: drain.jobs.as_secs(),
        implicit_budgets: drain.implicit_budgets,
    }
}

/// What the planner asks of the two sides, looked up once.
struct World<'a> {
    cluster: &'a Cluster,
    live: &'a Live,
    /// In the order of their names.
    nodes: Vec<Member<'a>>,
    /// What the servers of each control plane node run; of a hosted control plane, what its front door says.
    servers: BTreeMap<String, Option<Version>>,
}

struct Member<'a> {
    node: &'a Node,
    membership: Membership<'a>,
}

impl<'a> World<'a> {
    fn of(cluster: &'a Cluster, live: &'a Live) -> Self {
        let nodes =
            live.nodes.values().map(|node| Member { node, membership: membership(cluster, node) }).collect();
        let api_servers =
            || live.api_servers().into_iter().map(|(name, version)| (name.to_string(), version)).collect();
        let servers = match cluster.control_plane.provider {
            // All servers of a node count, the controllers too: an interrupted kubeadm leaves them behind.
            Provider::Kubeadm => live
                .control_plane()
                .map(|node| (node.name.to_string(), live.runs(Component::Servers, &node.name)))
                .collect(),
            Provider::External => api_servers(),
        };
        Self { cluster, live, nodes, servers }
    }

    /// The version asked for.
    fn target(&self) -> &'a Version {
        &self.cluster.version
    }

    fn oldest_server(&self) -> Option<Version> {
        self.servers.values().flatten().min().cloned()
    }

    /// The newest API server counts by itself: on a node half way its controllers are older.
    fn newest_server(&self) -> Option<Version> {
        let api_servers = self.live.api_servers();
        self.servers.values().chain(api_servers.values()).flatten().max().cloned()
    }

    /// Nodes that are ours to move.
    fn managed(&self) -> impl Iterator<Item = &Member<'a>> {
        self.nodes.iter().filter(|member| member.membership.scope().is_some())
    }
}

impl<'a> Member<'a> {
    fn name(&self) -> &'a str {
        &self.node.name
    }

    fn pool(&self) -> Option<&'a Pool> {
        match &self.membership {
            Membership::Pool(pool) => Some(pool),
            Membership::ControlPlane | Membership::Nowhere | Membership::Several(_) => None,
        }
    }
}

/// Whether an API server of this version would leave the kubelet behind.
fn too_old(kubelet: &Version, server: &Version) -> bool {
    server.minors_ahead_of(kubelet) > max_behind(kubelet)
}

/// How many minors behind the newest API server a kubelet may be.
fn max_behind(kubelet: &Version) -> i32 {
    if kubelet.minors_ahead_of(&Version::new(1, 25, 0)) < 0 { 2 } else { 3 }
}
