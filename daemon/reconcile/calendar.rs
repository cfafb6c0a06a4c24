//! What the calendar says to a step, and what a close leaves of the work in hand.

use jiff::{SignedDuration, Timestamp};

use super::pass::Pass;
use crate::gate::{AtNow, Calendar, MoveKind, Standing, work_in_hand};
use crate::model::decision::{Gate, Key, Reason, Verdict};
use crate::model::desired::Desired;
use crate::model::plan::{Plan, StageKind, Step};
use crate::record::{Run, StepRecord};

/// How long a control plane node takes for its servers, and for its kubelet, until a forecast knows better.
/// `kubeadm upgrade apply` takes about three minutes on a small machine.
const CONTROL_PLANE_STEP: SignedDuration = SignedDuration::from_mins(5);

/// Whether what is left of the opening is long enough for the control plane of one hop.
pub(super) fn fits(pass: &mut Pass<'_>, desired: &Desired, plan: &Plan, hop: usize, kind: MoveKind) -> bool {
    let needed = needed(plan, hop);
    let left = calendar(pass, desired).left(kind, pass.input.now);
    let fits = needed.is_zero() || left.is_none_or(|left| left >= needed);
    // A closed window has an answer of its own.
    if !fits && (left.is_some_and(|left| !left.is_zero()) || pass.input.record.run.is_some()) {
        let text = format!(
            "the control plane of one hop takes about {} min and is not begun unless the opening is long enough",
            needed.as_mins()
        );
        let reason = Reason::new(Key::WindowTooShort, format!("cluster/{}", pass.input.me.cluster), text);
        pass.waits(Gate::Window, reason);
    }
    fits
}

/// The same, asked once more before the first change: what is a step short by now may still begin.
pub(super) fn still_fits(pass: &Pass<'_>, desired: &Desired, plan: &Plan, hop: usize) -> bool {
    let needed = needed(plan, hop) - CONTROL_PLANE_STEP;
    calendar(pass, desired).left(kind_of(plan), pass.input.now).is_none_or(|left| left >= needed)
}

fn needed(plan: &Plan, hop: usize) -> SignedDuration {
    let stages = plan.stages.iter().filter(|stage| stage.hop == hop && stage.kind != StageKind::Workers);
    let steps = stages.map(|stage| stage.steps.len()).sum::<usize>();
    CONTROL_PLANE_STEP * i32::try_from(steps).unwrap_or(i32::MAX)
}

pub(super) fn kind_of(plan: &Plan) -> MoveKind {
    if plan.crosses_minor() { MoveKind::Minor } else { MoveKind::Patch }
}

/// Whether the calendar lets a step begin; its answers are kept either way.
pub(super) fn allowed(pass: &mut Pass<'_>, desired: &Desired, run: &Run, kind: MoveKind) -> bool {
    let (now, began) = (pass.input.now, began(run));
    let calendar = calendar(pass, desired);
    let standing = calendar.standing(kind, now);
    let decision = calendar.may_take_out(kind, now);
    let frozen = decision.objections().any(|answer| answer.gate == Gate::Freeze);
    let passes = decision.verdict() == Verdict::Allow
        || (!frozen && work_in_hand(&standing, began, now) == AtNow::TakeOut);
    if let Standing::Open { closes: Some(at), .. } = standing {
        pass.wake(at);
    }
    for answer in decision.answers {
        if let Some(next) = answer.next {
            pass.wake(next);
        }
        if !passes || answer.verdict == Verdict::Allow {
            pass.answer(answer);
        }
    }
    passes
}

fn began(run: &Run) -> Option<Timestamp> {
    run.steps.values().filter_map(StepRecord::started).min()
}

pub(super) fn calendar<'a>(pass: &Pass<'_>, desired: &'a Desired) -> Calendar<'a> {
    Calendar::of(&desired.policies, &desired.cluster.labels, &pass.input.me.cluster)
}

impl Pass<'_> {
    /// What a close, if there was one, leaves of the work on this step.
    pub(super) fn at_now(&mut self, desired: &Desired, run: &Run, step: &Step) -> AtNow {
        let kind = if step.from.same_minor(&step.to) { MoveKind::Patch } else { MoveKind::Minor };
        let standing = calendar(self, desired).standing(kind, self.input.now);
        if let Standing::Closed { hard_limit_at: Some(at), .. } = standing
            && at > self.input.now
        {
            self.wake(at);
        }
        work_in_hand(&standing, began(run), self.input.now)
    }

    pub(super) fn answer_calendar(&mut self, desired: &Desired, step: &Step) {
        let kind = if step.from.same_minor(&step.to) { MoveKind::Patch } else { MoveKind::Minor };
        let decision = calendar(self, desired).may_take_out(kind, self.input.now);
        for answer in decision.answers {
            if let Some(next) = answer.next {
                self.wake(next);
            }
            self.answer(answer);
        }
    }
}
