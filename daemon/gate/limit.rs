//! The limit gate: how many nodes may be out at once in a pool, in a zone and in the cluster, for whatever cause. A
//! node that is out already takes no further room. Control plane nodes are in no pool; they go one at a time.

use super::census::Books;
use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::desired::{ForeignCordon, Limit};
use crate::model::live::Node;
use crate::model::plan::{Plan, PoolLimits};
use crate::model::text::list;
use crate::model::work::{Scope, Step};
use crate::record::Run;

/// How many nodes that are out already are named.
const MOST_NAMED: usize = 5;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let (Some(plan), Some(step)) = (question.plan, question.step) else { return Vec::new() };
    let (Scope::Pool(pool), Some(mv), Some(limits)) = (&step.id.scope, step.node_move(), question.limits())
    else {
        return Vec::new();
    };
    // At the claim, the step's own node is among those that count as out.
    let itself = match question.moment {
        Moment::TakeOut if !question.books.counts(&mv.node.name) => 0,
        Moment::Claim if !question.world.census.is_out(pool, &mv.node.name) => 1,
        Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn => {
            return Vec::new();
        }
    };
    let reached = Reached::of(plan, limits, (pool, &mv.zone), question.books, itself);
    let mut answers = Vec::new();
    if reached.pool {
        let (total, _) = question.books.pool(pool);
        let others = out_for_others(question, pool);
        // Where people's cordons alone fill the limit, no node of this run makes room.
        let cordoned = others.iter().filter(|node| is_cordoned_by_others(question, node)).count();
        let by_people = limits.foreign_cordon == ForeignCordon::Skip
            && cordoned >= limits.max_unavailable.of(total).max(1);
        let most = format!("at most {} of its {total} nodes may be out at once", limits.max_unavailable);
        let text = if others.is_empty() {
            format!("{most}, and that many are out")
        } else {
            format!("{most}; out already, with no step in progress: {}", list(&others, MOST_NAMED))
        };
        let reason = Reason::new(Key::LimitReached, format!("pool/{pool}"), text);
        answers.push(if by_people {
            Answer::deny(Gate::Limit, reason)
        } else {
            Answer::wait(Gate::Limit, reason)
        });
    }
    if reached.zone {
        let text = format!("zone {} has as many nodes of pool {pool} out as its limit allows", mv.zone);
        let reason = Reason::new(Key::ZoneLimitReached, format!("zone/{}", mv.zone), text);
        answers.push(Answer::wait(Gate::Limit, reason));
    }
    if let Some(limit) = plan.max_unavailable.filter(|_| reached.cluster) {
        let text = format!("at most {limit} nodes of the cluster may be out at once, and that many are out");
        let reason = Reason::new(Key::ClusterLimitReached, question.world.object(), text);
        answers.push(Answer::wait(Gate::Limit, reason));
    }
    answers
}

fn is_cordoned_by_others(question: &Question<'_>, node: &str) -> bool {
    let node = question.live().and_then(|live| live.nodes.get(node));
    node.is_some_and(Node::is_cordoned_by_others)
}

/// The nodes of a pool that are out and that this run has not taken out.
fn out_for_others<'a>(question: &Question<'a>, pool: &str) -> Vec<&'a str> {
    let ours = question.run().into_iter().flat_map(Run::steps_out);
    let of_pool = ours.filter(|step| matches!(&step.id.scope, Scope::Pool(of) if of == pool));
    let ours: Vec<&str> = of_pool.filter_map(Step::node).collect();
    question.world.census.out_of(pool).map(|node| &**node).filter(|node| !ours.contains(node)).collect()
}

/// Which limits leave no room for a node of a pool and a zone.
struct Reached {
    pool: bool,
    zone: bool,
    cluster: bool,
}

impl Reached {
    /// `itself` is 1 for a node that is among those counted as out, else 0.
    fn of(
        plan: &Plan,
        limits: &PoolLimits,
        (pool, zone): (&str, &str),
        books: &Books<'_>,
        itself: usize,
    ) -> Self {
        let full =
            |(total, out): (usize, usize), limit: &Limit| out.saturating_sub(itself) >= limit.of(total);
        let of_zone = books.out_in_zone(pool, zone).saturating_sub(itself);
        Self {
            pool: full(books.pool(pool), &limits.max_unavailable),
            zone: limits.max_unavailable_per_zone.is_some_and(|most| of_zone >= most as usize),
            cluster: plan.max_unavailable.as_ref().is_some_and(|limit| full(books.cluster(), limit)),
        }
    }
}

/// Which limit has no room for another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Full {
    No,
    /// No room for another node of this pool in this zone.
    Zone,
    /// No room for another node of this pool.
    Pool,
}

/// Which limit would keep any other node of the same pool and zone from being taken out.
pub fn full(plan: &Plan, step: &Step, books: &Books<'_>) -> Full {
    let (Scope::Pool(pool), Some(mv)) = (&step.id.scope, step.node_move()) else { return Full::No };
    let Some(limits) = plan.pools.get(pool) else { return Full::Pool };
    let reached = Reached::of(plan, limits, (pool, &mv.zone), books, 0);
    match reached {
        Reached { pool: true, .. } | Reached { cluster: true, .. } => Full::Pool,
        Reached { zone: true, .. } => Full::Zone,
        Reached { pool: false, zone: false, cluster: false } => Full::No,
    }
}
