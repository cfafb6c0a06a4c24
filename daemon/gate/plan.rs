//! The plan gate: whether the plan has blockers, and whether it still is what the desired state asks for.

use super::{Moment, Question};
use crate::diff::{Membership, membership};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::desired::Desired;
use crate::model::live::Node;
use crate::model::work::Scope;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let mut reasons = match question.moment {
        Moment::StartRun => question.plan.map(|plan| plan.blockers.clone()).unwrap_or_default(),
        Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn => Vec::new(),
    };
    reasons.extend(superseded(question));
    reasons.extend(pool_changed(question));
    match (reasons.is_empty(), question.step, question.plan) {
        (true, None, Some(plan)) if !plan.is_empty() => {
            vec![Answer::allow(Gate::Plan, question.object(), "the plan can be carried out")]
        }
        _ => reasons.into_iter().map(|reason| Answer::deny(Gate::Plan, reason)).collect(),
    }
}

/// Why the run gives way: a newer commit asks this cluster for something else. A hop whose control plane is changed
/// already is finished first.
fn superseded(question: &Question<'_>) -> Option<Reason> {
    question.step?;
    let (run, desired) = (question.run()?, question.desired()?);
    let changed =
        question.is_control_plane() && question.stage.is_some_and(|stage| run.hop_changed(stage.hop));
    if changed || !question.world.state.supersedes(&run.plan) {
        return None;
    }
    let text = format!("commit {} asks for something else", desired.commit.short());
    Some(Reason::new(Key::PlanStale, question.object(), text))
}

/// Why the node no longer belongs to the pool that the plan has it in: labels and selectors change.
fn pool_changed(question: &Question<'_>) -> Option<Reason> {
    let Scope::Pool(pool) = &question.step?.id.scope else { return None };
    left_pool(question.desired()?, question.node()?, pool)
}

/// Why a node does not belong to this pool; `None` if it does.
pub fn left_pool(desired: &Desired, node: &Node, pool: &str) -> Option<Reason> {
    let object = format!("node/{}", node.name);
    match membership(&desired.cluster, node) {
        Membership::Pool(found) if found.name == pool => None,
        Membership::Pool(found) => {
            let text = format!("it belongs to pool {} now, and the plan has it in pool {pool}", found.name);
            Some(Reason::new(Key::PlanStale, object, text))
        }
        Membership::ControlPlane => {
            let text = format!("it is a control plane node now, and the plan has it in pool {pool}");
            Some(Reason::new(Key::PlanStale, object, text))
        }
        Membership::Nowhere => {
            let text = "no pool selects it any more: it is not touched, and the run is not complete";
            Some(Reason::new(Key::NodeInNoPool, object, text))
        }
        Membership::Several(pools) => {
            let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
            let text = format!("the pools {} select it; a node belongs to one", names.join(" and "));
            Some(Reason::new(Key::NodeInTwoPools, object, text))
        }
    }
}
