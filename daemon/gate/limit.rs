//! The limit gate: how many nodes may be out at once in a pool, in a zone and in the cluster, for whatever cause. A
//! node that is out already takes no further room. Control plane nodes are in no pool; they go one at a time.

use super::census::Books;
use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::plan::Plan;
use crate::model::work::{Scope, Step};

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
    let books = question.books;
    let mut reasons = Vec::new();
    let (total, out) = books.pool(pool);
    if out.saturating_sub(itself) >= limits.max_unavailable.of(total) {
        let text = format!("{} of {total} of its nodes may be out at once, and are", limits.max_unavailable);
        reasons.push(Reason::new(Key::LimitReached, format!("pool/{pool}"), text));
    }
    let of_zone = books.out_in_zone(pool, &mv.zone).saturating_sub(itself);
    if limits.max_unavailable_per_zone.is_some_and(|most| of_zone >= most as usize) {
        let text = format!("as many nodes of pool {pool} as may be out in this zone are out");
        reasons.push(Reason::new(Key::ZoneLimitReached, format!("zone/{}", mv.zone), text));
    }
    reasons.extend(cluster(question, plan, itself));
    reasons.into_iter().map(|reason| Answer::wait(Gate::Limit, reason)).collect()
}

fn cluster(question: &Question<'_>, plan: &Plan, itself: usize) -> Option<Reason> {
    let limit = plan.max_unavailable?;
    let (total, out) = question.books.cluster();
    (out.saturating_sub(itself) >= limit.of(total)).then(|| {
        let text = format!("{limit} nodes may be out at once over all pools, and are");
        Reason::new(Key::ClusterLimitReached, question.world.object(), text)
    })
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
pub fn full(plan: &Plan, step: &Step, books: &Books) -> Full {
    let (Scope::Pool(pool), Some(mv)) = (&step.id.scope, step.node_move()) else { return Full::No };
    let Some(limits) = plan.pools.get(pool) else { return Full::Pool };
    let (total, out) = books.pool(pool);
    let (of_all, out_of_all) = books.cluster();
    let of_zone = books.out_in_zone(pool, &mv.zone);
    if out >= limits.max_unavailable.of(total)
        || plan.max_unavailable.is_some_and(|limit| out_of_all >= limit.of(of_all))
    {
        Full::Pool
    } else if limits.max_unavailable_per_zone.is_some_and(|most| of_zone >= most as usize) {
        Full::Zone
    } else {
        Full::No
    }
}
