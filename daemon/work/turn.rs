//! The answer of one part of a pass, as a value. Nothing has happened yet: the pass merges all turns, and the loop
//! pushes the entries before it sends the effects that they release.

use jiff::{SignedDuration, Timestamp};

use super::state::State;
use crate::model::claim::Claim;
use crate::model::decision::{Answer, Decision, Gate, Key, Reason, Verdict};
use crate::model::effect::{Effect, NodePatch};
use crate::model::entry::{InterruptionEvent, StepEvent, StepPhase, What};
use crate::model::live::{Live, Looked, Node, Probe};
use crate::model::time::{earliest, later};
use crate::model::work::StepId;
use crate::verify::STABLE;

/// How often a probe is repeated while its answer is needed.
pub const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// How long a restarted control plane node, or an API server that is being replaced, may take to be back.
const SOON: SignedDuration = SignedDuration::from_mins(20);

#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Turn {
    /// Where the step stood; `None` for a part of a pass that is no step.
    pub state: Option<State>,
    pub entries: Vec<What>,
    /// Each with the number of the entry that releases it.
    pub effects: Vec<(Effect, u64)>,
    /// Each with the age that its last answer may have.
    pub probes: Vec<(Probe, SignedDuration)>,
    pub answers: Vec<Answer>,
    pub wake_at: Option<Timestamp>,
    /// True if it goes on without a person, a gate or a provider acting first.
    pub moves: bool,
    /// True if only the holder of the lease may go on with it.
    pub wants_lease: bool,
    /// The step that returns its node and was looked at in this turn. The loop counts how long that has been.
    pub watched: Option<StepId>,
    /// What waiting nodes were looked through for.
    pub looked: Option<Looked>,
}

impl Turn {
    /// The turn of a step that only the holder of the lease may take further.
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
        self.event(step, StepEvent::Moved { phase, found: None })
    }

    /// The node is claimed. The journal keeps how it was found.
    pub(super) fn claimed(self, step: &StepId, claim: &Claim) -> Self {
        self.event(step, StepEvent::Moved { phase: StepPhase::Claimed, found: Some(claim.found()) })
    }

    pub(super) fn set_aside(self, step: &StepId, touched: bool, reasons: Vec<Reason>) -> Self {
        self.event(step, StepEvent::SetAside { touched, reasons })
    }

    /// Where a gate keeps a step from its first change: the step given up untouched, or what the gates answer. `None` if every
    /// gate allows it.
    pub(super) fn kept_back(&self, step: &StepId, may: &Decision) -> Option<Self> {
        let returns: Vec<Reason> = may.returns().map(|answer| answer.reason.clone()).collect();
        if !returns.is_empty() {
            return Some(self.clone().set_aside(step, false, returns));
        }
        (!may.allows()).then(|| self.clone().answers(may.objections().cloned()))
    }

    /// The addon is done once it has been well for a while.
    pub(super) fn done_once_well(
        self,
        step: &StepId,
        version: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> Self {
        let well = later(since, STABLE);
        if well <= now {
            return self
                .event(step, StepEvent::Done { version: version.to_owned(), evicted: 0, owes: Vec::new() });
        }
        self.moving().wakes(well)
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

    /// A patch of a node that is claimed: from its claim on it no longer waits for its upgrade.
    pub(super) fn patch(self, node: &Node, patch: NodePatch, after: u64) -> Self {
        self.effect(Effect::node(node, patch), after)
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

    /// Asks a probe if its last answer is older than `every`.
    pub(super) fn probe(mut self, probe: Probe, every: SignedDuration) -> Self {
        self.probes.push((probe, every));
        self
    }

    /// Asks a probe whose answer the step needs now.
    pub(super) fn probe_often(self, probe: Probe) -> Self {
        self.probe(probe, LOOK_AGAIN)
    }

    pub(super) fn wakes(mut self, at: Timestamp) -> Self {
        self.wake_at = earliest(self.wake_at, Some(at));
        self
    }

    /// Notes whether the step goes on by itself despite an objection, and when to look again. A wait of the health or
    /// order gate counts as going on if it has a time, or until it has lasted for `SOON`; after that a person has to
    /// act.
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

    /// True if `limit` has passed since `from`. If not, the pass wakes when it has.
    pub(super) fn expired(&mut self, from: Timestamp, limit: SignedDuration, now: Timestamp) -> bool {
        let at = later(from, limit);
        if at > now {
            self.wake_at = earliest(self.wake_at, Some(at));
        }
        at <= now
    }
}

/// Since when this wait has been given without a break; `now` if it is new.
pub(super) fn waiting_since(live: &Live, key: Key, object: &str, now: Timestamp) -> Timestamp {
    live.overlay.waits.get(&(key, object.to_owned())).copied().unwrap_or(now)
}
