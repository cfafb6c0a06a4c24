//! Waiting for a control plane that somebody else moves: nothing is taken out, nothing is written to the cluster.

use jiff::SignedDuration;

use super::hand::Hand;
use super::state::State;
use super::turn::Turn;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::entry::StepEvent;
use crate::model::live::Probe;
use crate::model::version::Version;
use crate::model::work::Standing;

/// A hosted control plane takes many minutes: its version is asked for this often.
const LOOK: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn advance(hand: &Hand<'_>, to: &Version) -> Turn {
    let turn = Turn { state: Some(State::Awaiting), ..Turn::default() }.probe(Probe::Api, LOOK);
    match hand.step.standing(|fact| hand.live.truth(fact)) {
        Standing::Done => turn.event(&hand.step.id, StepEvent::Done { version: to.to_string(), evicted: 0 }),
        Standing::Ready | Standing::Broken(_) | Standing::Unknown(_) => {
            let text = format!("the hosted control plane does not run {to} yet");
            turn.waits(Gate::Health, Reason::new(Key::ExternalProvider, "api", text))
        }
    }
}
