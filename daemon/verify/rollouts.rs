//! Which pods leave a node by a rollout of their Deployment and not by an eviction. A rollout asks no budget: it is for
//! Deployments whose owners asked for it, and only where the rollout takes no pod away before the next one is there.

use super::ledger::structural_objection;
use crate::model::live::{Live, Pod};
use crate::model::plan::DrainLimits;
use crate::model::rollout::{Obstacle, Rolled};

/// How a pod that a drain has to move leaves its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    Eviction,
    Rollout(Rolled<'a>),
    /// By an eviction, although it is one of those whose owner asked for a rollout; why.
    Unable(Rolled<'a>, Obstacle<'a>),
}

/// How this pod leaves its node. Only a pod whose eviction would be in order otherwise may be asked about.
pub fn way<'a>(live: &'a Live, pod: &'a Pod, limits: &DrainLimits) -> Way<'a> {
    let Some(rolled) = live.rolled(pod, limits.on_blocked) else { return Way::Eviction };
    let begun = rolled.rollout.note.is_some();
    let only = rolled.workload.replicas == 1 && pod.ready;
    if !begun && !only && structural_objection(live, pod).is_none() {
        return Way::Eviction;
    }
    // A rollout that was begun is waited for. After a restart its volume claims may not be listed yet, and an eviction then would
    // take the old pod away before the new one is there.
    let holds = |obstacle: &Obstacle<'_>| !begun || *obstacle == Obstacle::NoteUnreadable;
    match rolled.obstacle(live, pod).filter(holds) {
        Some(obstacle) => Way::Unable(rolled, obstacle),
        None => Way::Rollout(rolled),
    }
}
