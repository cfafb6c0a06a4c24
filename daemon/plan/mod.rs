//! Plans the way from the live cluster to the desired state: hops, stages, steps, risks and blockers. It knows no
//! windows, no time, and not how many nodes are out; the gates check those for each step.

mod addons;
mod check;
mod compatible;
mod helm;
mod installed;
mod manifests;
mod means;
mod node;
mod order;
mod patches;
mod paths;
mod place;
mod refuse;
mod risk;
mod rolled;
mod seal;
mod skew;
mod vouch;

use std::collections::BTreeMap;

use crate::diff::{Membership, control_plane_versions, membership};
use crate::model::desired::{
    Cluster, Desired, Drain, DrainWhen, ForeignCordon, Limit, OnBlocked, OnNotRecovered, Pool,
};
use crate::model::live::{Live, Node};
use crate::model::plan::{DrainLimits, Plan, PoolLimits, Scope};
use crate::model::version::Version;
use crate::provider::{self, Capabilities, capabilities};

pub use check::check;
pub use seal::{SealError, asked, seal};
pub use vouch::misfit;

/// For control plane nodes, which no pool describes: one at a time, with a pool's default drain. Without deleting
/// emptyDir data, some control plane nodes could never be drained; the plan lists the loss as a risk.
const CONTROL_PLANE_LIMITS: PoolLimits = PoolLimits {
    max_unavailable: Limit::Count(1),
    max_unavailable_per_zone: None,
    canary: 0,
    soak_seconds: 0,
    foreign_cordon: ForeignCordon::Skip,
    prefer_upgraded: false,
    drain: DrainLimits {
        when: DrainWhen::Minor,
        timeout_seconds: 30 * 60,
        delete_empty_dir_data: true,
        jobs_seconds: 2 * 60 * 60,
        implicit_budgets: true,
        recovery_seconds: 30 * 60,
        max_recovering: Limit::Percent(25),
        ahead: false,
        on_not_recovered: OnNotRecovered::Halt,
        on_blocked: OnBlocked::SetAside,
    },
};

/// The plan that a person reviews and a run freezes: planned, sealed together with the scripts that it would run, and
/// with the findings of the independent check among its blockers.
///
/// # Errors
///
/// The plan cannot be sealed.
pub fn proposal(desired: &Desired, live: &Live) -> Result<Plan, SealError> {
    let draft = plan(desired, live);
    let scripts = provider::scripts(&desired.cluster, &draft.stages);
    let mut plan = seal(draft, &desired.cluster, &scripts)?;
    let objections = check(&plan, desired, live);
    plan.blockers.extend(objections);
    Ok(plan)
}

/// The steps from the live cluster to the desired state, without digests: [`seal`] adds them, and it needs the
/// scripts that follow from these stages.
pub fn plan(desired: &Desired, live: &Live) -> Plan {
    let inventory = Inventory::of(&desired.cluster, live);
    let mut blockers = refuse::at_start(&inventory);
    let (loads, risks) = risk::survey(&inventory);
    let addons = addons::look_at_addons(&inventory);
    let route =
        if blockers.is_empty() { order::route(&inventory, &loads) } else { order::no_route(&inventory) };
    let schedule = compatible::schedule(&inventory, &addons, &route.timeline);
    let (hops, stages) =
        if blockers.is_empty() { route.with_addons(schedule.steps) } else { Default::default() };
    blockers.extend(refuse::before_stages(&inventory, &stages));
    blockers.extend(installed::phases_not_skippable(&inventory, &stages));
    blockers.extend(installed::not_readable(&inventory, &stages));
    let left = installed::moved_by_nobody(&inventory, &addons, &stages);
    blockers.extend(addons.blockers.into_iter().chain(schedule.blockers));
    if !stages.is_empty() {
        blockers.extend(addons.unfinished);
    }
    let risks = risks
        .into_iter()
        .chain(means::risks(&desired.cluster, &hops, &stages))
        .chain(addons.risks)
        .chain(schedule.risks)
        .chain(left);
    let risks = risks.collect();
    Plan {
        cluster: desired.cluster.name.clone(),
        commit: desired.commit.clone(),
        from: inventory.oldest_control_plane().unwrap_or_else(|| desired.cluster.version.clone()),
        to: desired.cluster.version.clone(),
        hops,
        stages,
        pools: limits(&desired.cluster),
        max_unavailable: desired.cluster.max_unavailable,
        kubeadm: desired.cluster.control_plane.kubeadm.clone(),
        risks: risk::first_of_each(risks),
        blockers: risk::first_of_each(blockers.into_iter().collect()),
        lower_bound: None,
        digest: String::new(),
        asked: String::new(),
    }
}

/// The limits of each pool, as the cluster's file has them now.
fn limits(cluster: &Cluster) -> BTreeMap<String, PoolLimits> {
    let of_pool = |pool: &Pool| PoolLimits {
        max_unavailable: pool.max_unavailable,
        max_unavailable_per_zone: pool.max_unavailable_per_zone,
        canary: pool.canary,
        soak_seconds: pool.soak.as_secs(),
        foreign_cordon: pool.foreign_cordon,
        prefer_upgraded: pool.prefer_upgraded,
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
        recovery_seconds: drain.recovery.as_secs(),
        max_recovering: drain.max_recovering,
        ahead: drain.ahead,
        on_not_recovered: drain.on_not_recovered,
        on_blocked: drain.on_blocked,
    }
}

/// What the planner reads of the desired and the live state, looked up once.
struct Inventory<'a> {
    cluster: &'a Cluster,
    live: &'a Live,
    /// In the order of their names.
    nodes: Vec<Member<'a>>,
    /// The control plane version of each control plane node; for a hosted control plane, that of the API endpoint.
    control_plane: BTreeMap<String, Option<Version>>,
}

struct Member<'a> {
    node: &'a Node,
    membership: Membership<'a>,
}

impl<'a> Inventory<'a> {
    fn of(cluster: &'a Cluster, live: &'a Live) -> Self {
        let nodes =
            live.nodes.values().map(|node| Member { node, membership: membership(cluster, node) }).collect();
        Self { cluster, live, nodes, control_plane: control_plane_versions(cluster, live) }
    }

    /// The capabilities of the control plane's provider.
    fn provider(&self) -> &'static Capabilities {
        capabilities(self.cluster.control_plane.provider)
    }

    /// The desired version.
    fn target(&self) -> &'a Version {
        &self.cluster.version
    }

    /// The oldest version that a control plane node runs.
    fn oldest_control_plane(&self) -> Option<Version> {
        Version::oldest(self.control_plane.values().flatten()).cloned()
    }

    /// The newest API server. It is looked up separately, because on a node in the middle of an upgrade the
    /// controllers are older than the API server.
    fn newest_api_server(&self) -> Option<Version> {
        let api_servers = self.live.api_servers();
        Version::newest(self.control_plane.values().chain(api_servers.values()).flatten()).cloned()
    }

    /// Nodes in the scope of a pool or of the control plane.
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
            Membership::ControlPlane
            | Membership::Nowhere
            | Membership::Several(_)
            | Membership::Beyond(_) => None,
        }
    }
}
