//! What a plan says of pods that move by a rollout of their Deployment.

use crate::model::decision::{Key, Reason};
use crate::model::desired::OnBlocked;
use crate::model::live::{Live, Pod};

/// Whether a pod that cannot be evicted, or is the only one of its owner, moves by a rollout.
pub(super) enum ByRollout {
    NotAsked,
    Moves(Reason),
    /// Its owner asked for it; the name of the owner, and why it cannot.
    Cannot(String, String),
}

pub(super) fn by_rollout(live: &Live, pod: &Pod, on_blocked: OnBlocked) -> ByRollout {
    let Some(rolled) = live.rolled(pod, on_blocked) else { return ByRollout::NotAsked };
    if let Some(obstacle) = rolled.obstacle(live, pod) {
        return ByRollout::Cannot(rolled.object(), format!("cannot move by a rollout: {}", obstacle.told()));
    }
    let text = "moves by a rollout: a new pod is Ready on another node before the old one goes";
    ByRollout::Moves(Reason::new(Key::MovesByRollout, rolled.object(), text))
}
