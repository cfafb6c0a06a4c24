//! What one part of a pass answers, as a value. Nothing of it has happened yet: the pass merges all turns, and the loop
//! writes entries before it sends the effects that they release.

use jiff::{SignedDuration, Timestamp};

use super::state::State;
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::effect::{Effect, NodePatch};
use crate::model::entry::{InterruptionEvent, StepEvent, StepPhase, What};
use crate::model::live::{Live, Node, Probe};
use crate::model::time::{earliest, later};
use crate::model::work::StepId;

/// How often a question is asked again while its answer is needed.
pub const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// A control plane node that was restarted, and an API that is being replaced, are back within this.
const SOON: SignedDuration = SignedDuration::from_mins(20);

#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Turn {
    /// Where the step stood; nothing for a part of a pass that is no step.
    pub state: Option<State>,
    pub entries: Vec<What>,
    /// Each with the entry that releases it.
    pub effects: Vec<(Effect, u64)>,
    /// Each with how old its last answer may be.
    pub probes: Vec<(Probe, SignedDuration)>,
    pub answers: Vec<Answer>,
    pub wake_at: Option<Timestamp>,
    /// It goes on by itself: no person, gate or provider has to move first.
    pub moves: bool,
    /// Only the holder of the lease may go on with it.
    pub wants_lease: bool,
    /// The step on its way back that was looked at: how long it has been counts against it.
    pub watched: Option<StepId>,
}

impl Turn {
    /// A turn of a step that only the holder of the lease may take further.
    pub(super) fn of(state: State) -> Self {
        Self { state: Some(state), wants_lease: true, ..Self::default() }
    }

    pub(super) fn moving(mut self) -> Self {
        self.moves = true;
        self
    }

    pub(super) fn event(mut self, step: &StepId, event: StepEvent) -> Self {
        self.entries.push(What::Step(step.clone(), event));
        self
    }

    pub(super) fn reached(self, step: &StepId, phase: StepPhase) -> Self {
        self.event(step, StepEvent::Moved { phase })
    }

    pub(super) fn set_aside(self, step: &StepId, touched: bool, reasons: Vec<Reason>) -> Self {
        self.event(step, StepEvent::SetAside { touched, reasons })
    }

    /// The step failed for good, and the run halts.
    pub(super) fn failed(self, step: &StepId, reasons: Vec<Reason>) -> Self {
        self.event(step, StepEvent::Failed { reasons: reasons.clone() }).halted(reasons)
    }

    pub(super) fn halted(mut self, reasons: Vec<Reason>) -> Self {
        self.entries.push(What::Interruption(InterruptionEvent::Halted { reasons }));
        self
    }

    pub(super) fn effect(mut self, effect: Effect, after: u64) -> Self {
        self.effects.push((effect, after));
        self
    }

    pub(super) fn patch(self, node: &Node, patch: NodePatch, after: u64) -> Self {
        let (name, resource_version) = (node.name.to_string(), node.resource_version.clone());
        self.effect(Effect::Node { name, resource_version, patch }, after)
    }

    pub(super) fn answers(mut self, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.answers.extend(answers);
        self
    }

    pub(super) fn waits(self, gate: Gate, reason: Reason) -> Self {
        self.answers([Answer::wait(gate, reason)])
    }

    pub(super) fn denies(self, gate: Gate, reason: Reason) -> Self {
        self.answers([Answer::deny(gate, reason)])
    }

    /// Asks a question if its last answer is older than `every`.
    pub(super) fn probe(mut self, probe: Probe, every: SignedDuration) -> Self {
        self.probes.push((probe, every));
        self
    }

    /// Asks a question whose answer the step needs now.
    pub(super) fn probe_often(self, probe: Probe) -> Self {
        self.probe(probe, LOOK_AGAIN)
    }

    pub(super) fn wakes(mut self, at: Timestamp) -> Self {
        self.wake_at = earliest(self.wake_at, Some(at));
        self
    }

    /// What an objection means for whether a step goes on by itself: what is a matter of health passes soon, or a person
    /// has to do something; the rest has a time of its own, or none.
    pub fn passes_soon(&mut self, answer: &Answer, live: &Live, now: Timestamp) {
        let health = matches!(answer.gate, Gate::Health | Gate::Order) && answer.verdict == Verdict::Wait;
        match answer.next {
            Some(next) => {
                self.wake_at = earliest(self.wake_at, Some(next));
                self.moves |= health;
            }
            None if health => {
                let since = waiting_since(live, answer.reason.key, &answer.reason.object, now);
                self.moves |= !self.expired(since, SOON, now);
            }
            None => {}
        }
    }

    /// Whether `limit` has passed since `from`; if not, the pass looks again when it has.
    pub(super) fn expired(&mut self, from: Timestamp, limit: SignedDuration, now: Timestamp) -> bool {
        let at = later(from, limit);
        if at > now {
            self.wake_at = earliest(self.wake_at, Some(at));
        }
        at <= now
    }
}

/// Since when this wait has been there without a break; now if it is new.
pub(super) fn waiting_since(live: &Live, key: Key, object: &str, now: Timestamp) -> Timestamp {
    live.overlay.waits.get(&(key, object.to_owned())).copied().unwrap_or(now)
}
