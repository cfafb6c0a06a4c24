//! From what runs to what is asked for: hops, stages, steps, risks, and why it cannot be done as it stands.
//! It knows nothing of windows, limits in use or time; the gates ask those of each step when its turn comes.

mod check;
mod node;
mod order;
mod patches;
mod refuse;
mod risk;
mod seal;

use std::collections::BTreeMap;

use crate::diff::{Membership, control_plane_versions, membership};
use crate::model::desired::{Cluster, Desired, Drain, DrainWhen, ForeignCordon, Limit, Pool};
use crate::model::live::{Live, Node};
use crate::model::plan::{DrainLimits, Plan, PoolLimits, Scope};
use crate::model::version::Version;
use crate::provider::{self, Capabilities, capabilities};

pub use check::check;
pub use seal::{SealError, asked, seal};

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

/// What there would be to do, as a reviewer sees it and as a run freezes it: planned once, sealed together with the
/// scripts that it would run, and with the objections of the independent check among its blockers.
///
/// # Errors
///
/// A plan that cannot be sealed.
pub fn proposal(desired: &Desired, live: &Live) -> Result<Plan, SealError> {
    let draft = plan(desired, live);
    let scripts = provider::scripts(&desired.cluster, &draft.stages);
    let mut plan = seal(draft, &desired.cluster, &scripts)?;
    let objections = check(&plan, desired, live);
    plan.blockers.extend(objections);
    Ok(plan)
}

/// The moves from the live cluster to the desired one, without the digests: those are for [`seal`], which needs the
/// scripts that follow from these stages.
pub fn plan(desired: &Desired, live: &Live) -> Plan {
    let world = World::of(&desired.cluster, live);
    let mut blockers = refuse::at_start(&world);
    let (loads, risks) = risk::survey(&world);
    let (hops, stages) = if blockers.is_empty() { order::stages(&world, &loads) } else { Default::default() };
    blockers.extend(refuse::before_stages(&world, &stages));
    Plan {
        cluster: desired.cluster.name.clone(),
        commit: desired.commit.clone(),
        from: world.oldest_control_plane().unwrap_or_else(|| desired.cluster.version.clone()),
        to: desired.cluster.version.clone(),
        hops,
        stages,
        pools: limits(&desired.cluster),
        max_unavailable: desired.cluster.max_unavailable,
        kubeadm: desired.cluster.control_plane.kubeadm.clone(),
        risks,
        blockers: risk::first_of_each(blockers.into_iter().collect()),
        digest: String::new(),
        asked: String::new(),
    }
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
    pools.chain([(Scope::CONTROL_PLANE.to_owned(), CONTROL_PLANE_LIMITS)]).collect()
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
    /// What the control plane runs on each control plane node; of a hosted one, what the API endpoint says.
    control_plane: BTreeMap<String, Option<Version>>,
}

struct Member<'a> {
    node: &'a Node,
    membership: Membership<'a>,
}

impl<'a> World<'a> {
    fn of(cluster: &'a Cluster, live: &'a Live) -> Self {
        let nodes =
            live.nodes.values().map(|node| Member { node, membership: membership(cluster, node) }).collect();
        Self { cluster, live, nodes, control_plane: control_plane_versions(cluster, live) }
    }

    /// What the provider of the control plane can do.
    fn provider(&self) -> &'static Capabilities {
        capabilities(self.cluster.control_plane.provider)
    }

    /// The version asked for.
    fn target(&self) -> &'a Version {
        &self.cluster.version
    }

    /// The oldest version that any control plane node runs.
    fn oldest_control_plane(&self) -> Option<Version> {
        self.control_plane.values().flatten().min().cloned()
    }

    /// The newest API server counts by itself: on a node half way its controllers are older.
    fn newest_api_server(&self) -> Option<Version> {
        let api_servers = self.live.api_servers();
        self.control_plane.values().chain(api_servers.values()).flatten().max().cloned()
    }

    /// Nodes that are ours to move.
    fn managed(&self) -> impl Iterator<Item = &Member<'a>> {
        self.nodes.iter().filter(|member| member.membership.scope_name().is_some())
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
