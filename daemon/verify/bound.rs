//! The least time that the workers of a plan can take, whatever the order: what budgets, limits and the slowest node allow.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::limiters::{Capacity, LimitedBy, Limiter, Limiters, away};
use super::{STABLE, pods};
use crate::model::live::{Id, Live, Pod};
use crate::model::plan::{Least, LowerBound, Plan, PoolLimits, Stage, StageKind};
use crate::model::text::plural;
use crate::model::work::{Scope, Step};

/// What a node takes from being empty to being back in service where the work on it is not known.
pub const PROOF: SignedDuration = STABLE;

/// What one limiter has to let go in a stage.
struct Moving {
    capacity: Capacity,
    pods: i64,
    /// The shortest grace period of these pods, and the shortest time that one of them is away, in seconds.
    grace: i64,
    away: i64,
}

/// The least time for all stages of workers, and what sets it; `None` if no worker is drained. `on_node` is what a node takes
/// from being empty to being back in service: at the least its proof, [`PROOF`], and more where the work on it is known.
///
/// It takes for granted that pods need their whole grace periods to end, and that a pod that is made anew is Ready as soon as
/// the fastest of its kind was. Where pods end sooner a run may be faster.
pub fn lower_bound(plan: &Plan, live: &Live, on_node: SignedDuration) -> Option<LowerBound> {
    let stages = plan.stages.iter().filter(|stage| stage.kind == StageKind::Workers);
    LowerBound::new(stages.map(|stage| of_stage(plan, stage, live)).collect(), on_node.as_secs())
}

/// What limits a stage: the node or budget that takes longest, and the slots of each pool.
fn of_stage(plan: &Plan, stage: &Stage, live: &Live) -> Vec<Least> {
    let mut moving: BTreeMap<Limiter, Moving> = BTreeMap::new();
    let mut limiters = Limiters::default();
    let (mut longest, mut slots) = (Vec::new(), Vec::new());
    for (pool, limits) in &plan.pools {
        let steps: Vec<&Step> =
            stage.steps.iter().filter(|step| is_of(step, pool) && step.drains()).collect();
        let mut nodes: Vec<(&str, i64)> = Vec::with_capacity(steps.len());
        for node in steps.iter().filter_map(|step| step.node()) {
            nodes.push((node, moved(live, node, limits, &mut limiters, &mut moving)));
        }
        slots.extend(of_slots(live, pool, limits, (&steps, &nodes)));
        let slowest = nodes.iter().max_by_key(|(_, grace)| *grace);
        longest.extend(slowest.map(|(node, grace)| Least {
            seconds: *grace,
            nodes: 1,
            at_once: 1,
            object: format!("node/{node}"),
            text: "its slowest pod has to end, and it has to be well for a while".to_owned(),
        }));
    }
    let by = |limiter: &Limiter| limiters.get(*limiter).map(|(by, _)| *by);
    let by_name: BTreeMap<LimitedBy<'_>, &Moving> =
        moving.iter().filter_map(|(limiter, moving)| Some((by(limiter)?, moving))).collect();
    longest.extend(by_name.into_iter().map(|(by, moving)| moving.least(live, by)));
    longest.into_iter().max_by_key(|least| least.seconds).into_iter().chain(slots).collect()
}

/// The budgets that keep these nodes of a pool longer than its limit does.
pub fn slowest_budgets<'a>(
    live: &'a Live,
    nodes: &[&'a str],
    limits: &'a PoolLimits,
    of_pool: usize,
) -> BTreeSet<&'a (Id, Id)> {
    let mut limiters = Limiters::default();
    let mut moving = BTreeMap::new();
    let graces = nodes.iter().map(|node| moved(live, node, limits, &mut limiters, &mut moving));
    let sum: i64 = graces.map(|grace| grace + PROOF.as_secs()).sum();
    let slots = sum / at_once(limits, of_pool);
    let slow = moving.iter().filter(|(_, moving)| moving.seconds() + PROOF.as_secs() > slots);
    let slow = slow.filter_map(|(limiter, _)| limiters.get(*limiter));
    let budgets = slow.filter_map(|(by, _)| match by {
        LimitedBy::Budget(key) => Some(*key),
        LimitedBy::Owner(_) => None,
    });
    budgets.collect()
}

/// Adds the pods that have to leave a node to what each limiter has to let go. Returns the longest grace period among them.
fn moved<'a>(
    live: &'a Live,
    node: &str,
    limits: &'a PoolLimits,
    limiters: &mut Limiters<'a>,
    moving: &mut BTreeMap<Limiter, Moving>,
) -> i64 {
    let mut longest = 0;
    for pod in pods::to_evict(live, node, &limits.drain) {
        longest = longest.max(i64::from(pod.grace_seconds));
        let Some(limiter) = limiters.of(live, pod, &limits.drain) else { continue };
        let Some((_, capacity)) = limiters.get(limiter) else { continue };
        moving.entry(limiter).or_insert_with(|| Moving::none(*capacity)).add(pod);
    }
    longest
}

/// How many nodes of a pool may be out at once.
fn at_once(limits: &PoolLimits, of_pool: usize) -> i64 {
    i64::try_from(limits.max_unavailable.of(of_pool)).unwrap_or(i64::MAX).max(1)
}

fn is_of(step: &Step, pool: &str) -> bool {
    matches!(&step.id.scope, Scope::Pool(of) if of == pool)
}

/// At most so many nodes of a pool are out at once; canaries and their soak come before the others.
fn of_slots(
    live: &Live,
    pool: &str,
    limits: &PoolLimits,
    (steps, nodes): (&[&Step], &[(&str, i64)]),
) -> Option<Least> {
    // A share of all workers is at least the share of the pool's.
    let total = live.nodes.values().filter(|node| !node.control_plane).count();
    let at_once = at_once(limits, total);
    let graces: i64 = nodes.iter().map(|(_, grace)| grace).sum();
    let soaks = steps.iter().any(|step| step.node_move().is_some_and(|mv| mv.canary)) && steps.len() > 1;
    let soak = if soaks { limits.soak_seconds } else { 0 };
    (!nodes.is_empty()).then(|| Least {
        seconds: graces / at_once + soak,
        nodes: i64::try_from(nodes.len()).unwrap_or(i64::MAX),
        at_once,
        object: format!("pool/{pool}"),
        text: format!(
            "at most {} of its {} may be out at once",
            limits.max_unavailable,
            plural(nodes.len(), "node")
        ),
    })
}

impl Moving {
    fn none(capacity: Capacity) -> Self {
        Self { capacity, pods: 0, grace: i64::MAX, away: i64::MAX }
    }

    fn add(&mut self, pod: &Pod) {
        self.pods += 1;
        self.grace = self.grace.min(i64::from(pod.grace_seconds));
        self.away = self.away.min(away(pod));
    }

    /// All but the last pods have to be Ready elsewhere before the last ones go and end.
    fn seconds(&self) -> i64 {
        let at_once = self.capacity.at_once.max(1);
        let rounds = (self.pods + at_once - 1) / at_once;
        (rounds - 1).max(0) * self.away + self.grace
    }

    fn least(&self, live: &Live, by: LimitedBy<'_>) -> Least {
        let object = match by {
            LimitedBy::Budget((namespace, name)) => format!("budget/{namespace}/{name}"),
            LimitedBy::Owner(owner) => live.owner_name(owner),
        };
        let pods = plural(self.pods.max(0).unsigned_abs(), "pod");
        let text = format!("it lets {} of {pods} go at a time", self.capacity.at_once.max(1));
        Least { seconds: self.seconds(), nodes: 1, at_once: 1, object, text }
    }
}
