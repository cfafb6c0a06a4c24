//! Takes one step in progress further: from what the gates answer to what is written, done and probed. One file per
//! kind of work; each returns a [`Turn`] and writes nothing itself. The live cluster and the step's facts decide
//! where a step stands; the record is read only for what the cluster does not show.

mod addon;
mod await_control_plane;
mod back;
mod check;
mod control_plane;
mod drain;
mod earlier;
mod hand;
mod helm;
mod job;
mod kubelet;
mod manifests;
mod node;
mod objects;
mod orphans;
mod rollout;
mod settled;
mod state;
mod sweep;
mod turn;

use crate::model::addon::AddonWork;
use crate::model::decision::Decision;
use crate::model::work::Work;

pub use hand::Hand;
pub use orphans::{bears_our_claim, return_orphans};
pub use rollout::{bears_our_note, end_rollouts};
pub use state::State;
pub use sweep::sweep;
pub use turn::{LOOK_AGAIN, Turn};

/// Where a step stands.
pub fn standing(hand: &Hand<'_>) -> State {
    match &hand.step.work {
        Work::ControlPlane(mv) | Work::Kubelet(mv) => state::state(hand, mv),
        Work::AwaitControlPlane { .. } | Work::Check(_) => State::Awaiting,
        Work::Addon(mv) => match &mv.change {
            AddonWork::Image(of) => addon::image_state(hand, of),
            AddonWork::Manifests(of) => manifests::objects_state(hand, mv, of),
            AddonWork::Helm(of) => helm::release_state(hand, mv, of),
        },
    }
}

/// Takes one step as far as it goes now from where it stands. `may` has the gates' answers at the state's
/// [`State::moment`].
pub fn advance(hand: &Hand<'_>, state: State, may: &Decision) -> Turn {
    match &hand.step.work {
        Work::ControlPlane(mv) => control_plane::advance(hand, mv, state, may),
        Work::Kubelet(mv) => kubelet::advance(hand, mv, state, may),
        Work::AwaitControlPlane { to, .. } => await_control_plane::advance(hand, to),
        Work::Check(of) => check::look_at_installed(hand, of, may),
        Work::Addon(mv) => match &mv.change {
            AddonWork::Image(of) => addon::advance(hand, (mv, of), state, may),
            AddonWork::Manifests(of) => manifests::apply(hand, (mv, of), state, may),
            AddonWork::Helm(of) => helm::upgrade(hand, (mv, of), state, may),
        },
    }
}
