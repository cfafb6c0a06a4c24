//! Waits for a control plane that an external provider moves. No node is taken out, and nothing but the lease is written
//! to the cluster.

use jiff::SignedDuration;

use super::hand::Hand;
use super::state::State;
use super::turn::Turn;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::entry::StepEvent;
use crate::model::live::Probe;
use crate::model::version::Version;
use crate::model::work::Standing;

/// How often the version of a hosted control plane is read; such an upgrade takes many minutes.
const LOOK: SignedDuration = SignedDuration::from_secs(30);

pub(super) fn advance(hand: &Hand<'_>, to: &Version) -> Turn {
    let mut turn = Turn { state: Some(State::Awaiting), ..Turn::default() }.probe(Probe::Api, LOOK);
    match hand.step.standing(|fact| hand.live.truth(fact)) {
        Standing::Done => turn
            .event(&hand.step.id, StepEvent::Done { version: to.to_string(), evicted: 0, owes: Vec::new() }),
        Standing::Ready | Standing::Broken(_) | Standing::Unknown(_) => {
            let agrees = hand.live.api.version.as_ref().is_some_and(|version| version.reaches(to));
            let text = if agrees && !hand.live.api.agreed {
                // The lease keeps what was heard until now.
                turn.wants_lease = true;
                format!(
                    "it has answered with {to} and has to do so for 2 min, each time over a new connection"
                )
            } else {
                format!("the hosted control plane does not run {to} yet")
            };
            turn.waits(Gate::Health, Reason::new(Key::ExternalProvider, "api", text))
        }
    }
}
