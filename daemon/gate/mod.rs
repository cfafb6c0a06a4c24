//! The gates: the only place that decides whether a step may be taken. One file per gate; every gate is asked every
//! time, every answer is kept, and the strictest wins. A gate reads desired state, live state, record, other
//! clusters' states and the time, and does not know how a step is carried out. Policies gate taking a node out; they
//! never keep a node from being returned.

mod budget;
mod calendar;
mod canary;
mod census;
mod clock;
mod commit;
mod debts;
mod every;
mod forecast;
mod freeze;
mod halt;
mod health;
mod hold;
mod identity;
mod image;
mod lease;
mod limit;
mod mode;
mod order;
mod plan;
mod question;
mod record;
mod recovery;
mod stop;
mod watch;
mod window;

use crate::model::decision::{Answer, Decision, Gate};

pub use calendar::{
    AtNow, Calendar, CalendarState, LOOK, Lint, LintKind, MoveKind, Span, Stretch, after_close, in_force,
    lints, local, openings, subtract, union, zone_name,
};
pub use census::{Books, Census};
pub use clock::{clock_differs, clock_is_off, difference};
pub use debts::owners_in_debt;
pub use every::{of_every_gate, without_cluster};
pub use forecast::{Forecast, forecast};
pub use identity::other_cluster;
pub use lease::{held_elsewhere, is_silent, lease_age, silent_holder};
pub use limit::{Full, full};
pub use plan::{blockers, gives_way, joined, left_pool, not_vouched};
pub use question::{Moment, Others, Question, Sources, World};
pub use watch::not_current;

/// The answers of one gate to a question; empty if it has no objection and nothing to report.
type AnswersOf = fn(&Question<'_>) -> Vec<Answer>;

/// All gates, in the order in which pages show them. A new gate is a file, a row here and a variant of [`Gate`].
const GATES: [(Gate, AnswersOf); 20] = [
    (Gate::Identity, identity::answers),
    (Gate::Mode, mode::answers),
    (Gate::Desired, commit::answers),
    (Gate::Plan, plan::answers),
    (Gate::Image, image::answers),
    (Gate::Window, window::answers),
    (Gate::Freeze, freeze::answers),
    (Gate::Stop, stop::answers),
    (Gate::Halt, halt::answers),
    (Gate::Hold, hold::answers),
    (Gate::Limit, limit::answers),
    (Gate::Budget, budget::answers),
    (Gate::Recovery, recovery::answers),
    (Gate::Canary, canary::answers),
    (Gate::Order, order::answers),
    (Gate::Lease, lease::answers),
    (Gate::Health, health::answers),
    (Gate::Watch, watch::answers),
    (Gate::Clock, clock::answers),
    (Gate::Record, record::answers),
];

/// Asks every gate one question. A gate that gives no answer allows.
pub fn ask(question: &Question<'_>) -> Decision {
    Decision { answers: GATES.iter().flat_map(|(_, answers)| answers(question)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gate_is_asked_once() {
        let asked: Vec<Gate> = GATES.iter().map(|(gate, _)| *gate).collect();
        assert_eq!(asked, Gate::ALL);
    }
}
