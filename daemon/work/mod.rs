//! One step in progress × what the gates say → what is to be written, done and looked up. One file per kind of work; it
//! returns a [`Turn`] and writes nowhere. Where a step stands is read from the world by the step's own facts; only what
//! the world does not show comes from the record.

mod await_control_plane;
mod control_plane;
mod drain;
mod hand;
mod job;
mod kubelet;
mod node;
mod orphans;
mod state;
mod turn;

use crate::model::decision::{Decision, Moment};
use crate::model::work::Work;

pub use hand::Hand;
pub use orphans::{bears_our_claim, return_orphans};
pub use state::State;
pub use turn::{LOOK_AGAIN, Turn};

/// At which moment the gates are asked about a step: that depends on where it stands.
pub fn moment(hand: &Hand<'_>) -> Moment {
    match &hand.step.work {
        Work::ControlPlane(mv) | Work::Kubelet(mv) => state::state(hand, mv).moment(),
        Work::AwaitControlPlane { .. } => Moment::GoOn,
    }
}

/// Takes one step as far as it goes now. `may` is what the gates answered at the step's [`moment`].
pub fn advance(hand: &Hand<'_>, may: &Decision) -> Turn {
    match &hand.step.work {
        Work::ControlPlane(mv) => control_plane::advance(hand, mv, may),
        Work::Kubelet(mv) => kubelet::advance(hand, mv, may),
        Work::AwaitControlPlane { to, .. } => await_control_plane::advance(hand, to),
    }
}
