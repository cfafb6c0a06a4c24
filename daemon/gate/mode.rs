//! The mode gate: with `spec.mode: observe` no node is taken out; nodes that a run has already taken out are
//! finished.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::desired::Mode;
use crate::model::entry::StepPhase;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let Some(desired) = question.desired() else { return Vec::new() };
    let denies =
        |text: &str| vec![Answer::deny(Gate::Mode, Reason::new(Key::ObserveOnly, question.object(), text))];
    if desired.cluster.mode == Mode::Act {
        return general(question, "spec.mode is act");
    }
    let in_general = |text: &str| {
        let reason = Reason::new(Key::ObserveOnly, question.world.object(), text);
        vec![Answer::deny(Gate::Mode, reason)]
    };
    if question.only_waits() && question.moment != Moment::StartRun {
        return Vec::new();
    }
    match (question.moment, question.step) {
        (Moment::StartRun, _) => in_general("spec.mode is observe: nothing is written to the cluster"),
        (Moment::TakeOut, _) => {
            in_general("spec.mode is observe: no node is taken out, and nodes that are out are finished")
        }
        (Moment::Claim | Moment::Change | Moment::GoOn, Some(_)) => {
            let taken = question.record_of_step().is_some_and(|step| step.phase >= StepPhase::Claimed);
            let finished = if question.is_control_plane() { question.hop_begun() } else { taken };
            if finished {
                Vec::new()
            } else {
                let what =
                    if question.is_addon() { "the addon was changed" } else { "the node was taken out" };
                denies(&format!("spec.mode became observe before {what}"))
            }
        }
        (Moment::Claim | Moment::Change | Moment::GoOn, None) => {
            if question.run().is_some() {
                denies("spec.mode is observe: no node is taken out, and nodes that are out are finished")
            } else if question.plan.is_some_and(|plan| !plan.is_empty()) {
                denies("spec.mode is observe: nothing is written to the cluster")
            } else {
                general(question, "spec.mode is observe, and there is nothing to do")
            }
        }
    }
}

fn general(question: &Question<'_>, text: &str) -> Vec<Answer> {
    match question.step {
        Some(_) => Vec::new(),
        None => vec![Answer::allow(Gate::Mode, question.object(), text)],
    }
}
