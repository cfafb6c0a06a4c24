//! At least one answer of each gate, for pages: also of gates that a pass did not ask, and without a look at the
//! cluster.

use super::census::Books;
use super::{Moment, Question, World, ask};
use crate::model::decision::{Answer, Gate};

/// The answers of a pass, and an answer for each gate that gave none: the calendar's present one, or that the gate
/// allows.
pub fn of_every_gate(mut answers: Vec<Answer>, world: &World<'_>) -> Vec<Answer> {
    let spoke = |answers: &[Answer], gate: Gate| answers.iter().any(|answer| answer.gate == gate);
    let calendar = of_calendar(world).into_iter().filter(|answer| !spoke(&answers, answer.gate));
    let calendar: Vec<Answer> = calendar.collect();
    answers.extend(calendar);
    for gate in Gate::ALL {
        if !spoke(&answers, gate) {
            answers.push(Answer::allow(gate, world.object(), "nothing objects"));
        }
    }
    answers
}

/// The answers without a look at the cluster: gates that need no cluster answer for now; for the others, what the
/// record says last.
pub fn without_cluster(world: &World<'_>) -> Vec<Answer> {
    let books = Books::default();
    let mut answers = ask(&Question::general(Moment::GoOn, world, &books)).answers;
    answers.extend(of_calendar(world));
    for waiting in &world.record.waiting {
        let spoke = answers.iter().any(|answer| answer.gate == waiting.value.gate);
        if !spoke || !waiting.value.gate.needs_no_cluster() {
            answers.push(waiting.value.clone());
        }
    }
    answers
}

/// The present answers of windows and freezes to the next move.
fn of_calendar(world: &World<'_>) -> Vec<Answer> {
    let books = Books::default();
    let decision = ask(&Question::general(Moment::TakeOut, world, &books));
    decision.answers.into_iter().filter(|answer| matches!(answer.gate, Gate::Window | Gate::Freeze)).collect()
}
