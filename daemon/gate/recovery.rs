//! The recovery gate: what the owners of evicted pods still miss is a debt. A node that is back in service takes no room
//! within the limits any more, but while a debt lasts for too long, or the debts of a pool add up to too many pods, no
//! further node of the pool is taken out.

use super::debts::PoolDebts;
use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::live::{Live, OwnerKind, Pod};
use crate::model::plan::DrainLimits;
use crate::model::text::{list, written};
use crate::model::work::Scope;
use crate::verify::owners::Debt;

/// More owners than a person reads.
const MOST_NAMED: usize = 5;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match question.moment {
        Moment::TakeOut | Moment::Claim => {}
        Moment::StartRun | Moment::Change | Moment::GoOn => return Vec::new(),
    }
    let (Some(live), Some(limits)) = (question.live(), question.limits()) else { return Vec::new() };
    let Some(Scope::Pool(pool)) = question.step.map(|step| &step.id.scope) else { return Vec::new() };
    let Some(debts) = question.world.debts(live).get(pool.as_str()) else { return Vec::new() };
    let reasons = late(pool, &limits.drain, debts).into_iter().chain(too_many(question, live, pool, debts));
    reasons.map(|reason| Answer::wait(Gate::Recovery, reason)).collect()
}

fn late(pool: &str, limits: &DrainLimits, debts: &PoolDebts) -> Option<Reason> {
    let owners: Vec<String> = debts.late.values().map(Debt::told).collect();
    let text = || {
        format!(
            "owners of moved pods have not recovered within drain.recovery ({}): {}",
            written(limits.recovery()),
            list(&owners, MOST_NAMED)
        )
    };
    (!owners.is_empty()).then(|| Reason::new(Key::RecoveryOverdue, format!("pool/{pool}"), text()))
}

fn too_many(question: &Question<'_>, live: &Live, pool: &str, debts: &PoolDebts) -> Option<Reason> {
    let most = question.limits()?.drain.max_recovering;
    let missing: usize = debts.owners.values().map(|debt| debt.missing as usize).sum();
    // The pods are counted only until it is known that there are enough of them.
    let mut pods = 0;
    for node in question.world.census.of_pool(pool) {
        if missing <= most.of(pods) {
            return None;
        }
        pods += live.pods_on(node).filter(|pod| is_moved(pod)).count();
    }
    (missing > most.of(pods)).then(|| {
        let owners: Vec<String> = debts.owners.values().map(Debt::told).collect();
        let text = format!(
            "owners of moved pods miss more pods than drain.maxRecovering ({most}): {}",
            list(&owners, MOST_NAMED)
        );
        Reason::new(Key::TooManyRecovering, format!("pool/{pool}"), text)
    })
}

/// True if a drain would move the pod.
fn is_moved(pod: &Pod) -> bool {
    let stays =
        pod.owner.as_ref().is_some_and(|owner| matches!(owner.kind, OwnerKind::DaemonSet | OwnerKind::Node));
    !stays && !pod.mirror && !pod.finished()
}
