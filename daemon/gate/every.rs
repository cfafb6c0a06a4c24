//! One answer of each gate at least, for pages: also where a pass had nothing to ask a gate about, and where the cluster
//! cannot be looked at.

use super::census::Books;
use super::{Moment, Question, World, ask};
use crate::model::decision::{Answer, Gate};

/// The answers of a pass, and of each gate that said nothing there what the calendar says now, or that it allows.
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

/// What git and the record say by themselves: the gates that need no cluster answer for now; of the others, what was
/// recorded last.
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

/// What windows and freezes say now to the next move.
fn of_calendar(world: &World<'_>) -> Vec<Answer> {
    let books = Books::default();
    let decision = ask(&Question::general(Moment::TakeOut, world, &books));
    decision.answers.into_iter().filter(|answer| matches!(answer.gate, Gate::Window | Gate::Freeze)).collect()
}
