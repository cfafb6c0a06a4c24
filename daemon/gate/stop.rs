//! The stop gate: from `windlass stop` until the stop ends nothing begins, and nothing is written to nodes, pods and
//! Jobs.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::record::text;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let (record, object) = (question.world.record, || question.world.object());
    let said = if let Some(live) = question.live() {
        live.stop.as_ref().map(|stop| text::said(&stop.by, &stop.reason))
    } else {
        let by = record.stopped_by.as_deref().unwrap_or_default();
        record.stopped.as_ref().map(|stopped| text::said(by, &stopped.value))
    };
    match (said, question.step, question.moment) {
        (Some(said), _, _) => {
            let reason = Reason::new(Key::Stopped, object(), format!("stopped by {said}"));
            vec![Answer::deny(Gate::Stop, reason)]
        }
        (None, None, Moment::GoOn) => vec![Answer::allow(Gate::Stop, object(), "there is no stop")],
        (None, _, Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn) => {
            Vec::new()
        }
    }
}
