//! The run in progress as the journal has it: its frozen plan, and how far each step has come.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::log::RunLog;
use super::status_types::PastReturn;
use super::steps::{Mark, StepIndex};
use crate::model::CommitId;
use crate::model::claim::AsFound;
use crate::model::decision::Reason;
use crate::model::desired::OnNotRecovered;
use crate::model::entry::{Baseline, LandedPlace, StepEvent, StepPhase};
use crate::model::plan::{Plan, StepId, WorkKind};
use crate::model::version::Version;

#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// `<short commit>-<ordinal>`.
    pub id: String,
    pub commit: CommitId,
    pub from: Version,
    pub to: Version,
    pub digest: String,
    pub started: Timestamp,
    pub epoch: u64,
    /// The frozen plan, read from the run's `plan.yaml`.
    pub plan: Plan,
    /// Why the plan is not carried out: it does not follow from the commit. Whoever reads the record compares them; the
    /// journal does not have it.
    pub doubt: Option<String>,
    pub rollback_point: Option<String>,
    /// The steps that have an entry in the journal.
    pub steps: BTreeMap<StepId, StepRecord>,
    /// The last accepted commit with another version, to which a rollback would go back.
    pub before: Option<(CommitId, Version)>,
    /// The Ready pods that each owner had before a node was taken out in this run, by its UID: the most that were seen.
    pub owner_sizes: BTreeMap<String, u32>,
    /// Steps that are done although owners of their evicted pods had not recovered in time, and which keep further nodes
    /// from being taken out until those have.
    pub owing: BTreeSet<StepId>,
    /// Pools whose nodes get our taint while they wait for their upgrade, each with the number of the entry that says so.
    pub tainting: BTreeMap<String, u64>,
    /// Steps that have not begun and whose intents are written ahead, each with the number of that entry.
    pub next: BTreeMap<StepId, u64>,
    /// Pools of which pods may leave nodes that wait, each with the number of the entry that says so.
    pub ahead: BTreeMap<String, u64>,
    /// The pods that left a node before its turn, by UID, and what is in their place.
    pub landed: BTreeMap<String, Option<LandedPlace>>,
    /// When that was recorded last.
    pub landed_at: Option<Timestamp>,
    /// What the report of the run needs beyond its steps.
    pub log: RunLog,
    pub(super) index: StepIndex,
}

/// How far one step has come, as recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    pub phase: StepPhase,
    /// When each phase was recorded.
    pub at: BTreeMap<StepPhase, Timestamp>,
    pub pods: u32,
    pub baseline: BTreeMap<String, Baseline>,
    pub end: Option<StepEnd>,
    /// The number of the entry that says that it began.
    pub begun: u64,
    /// The number of the entry with its intent, which releases its effects: that entry, or one before it that names the steps
    /// that come next.
    pub intent: u64,
    pub ended: Option<Timestamp>,
    pub evicted: u32,
    /// How many pods the drains of earlier attempts moved.
    pub evicted_before: u32,
    /// How often the step has begun. Each attempt has a Job of its own.
    pub attempt: u32,
    /// True if an earlier attempt changed the node, or may have.
    pub touched: bool,
    /// How the node was found, once it was claimed.
    pub found: Option<AsFound>,
    /// Set while the step takes back what it changed.
    pub goes_back: Option<GoingBack>,
}

/// A step that failed and takes back what it changed.
#[derive(Clone, Debug, PartialEq)]
pub struct GoingBack {
    /// Why it failed.
    pub reasons: Vec<Reason>,
    /// The number of the entry that says so, which releases the effects of the way back.
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StepEnd {
    Done,
    SetAside { touched: bool, reasons: Vec<Reason> },
    Failed(Vec<Reason>),
    Gone,
}

impl Run {
    /// True if it moves neither a control plane nor a kubelet.
    pub fn moves_addons_alone(&self) -> bool {
        self.plan.steps().all(|step| step.work.addon().is_some())
    }

    /// Why an earlier commit no longer takes the run back; `None` while one does.
    pub fn past_return(&self) -> Option<PastReturn> {
        if self.moves_addons_alone() {
            return None;
        }
        let moves = |id: &StepId| matches!(id.kind, WorkKind::ControlPlane | WorkKind::AwaitControlPlane);
        let mut steps = self.plan.steps().map(|step| &step.id).filter(|id| moves(id)).peekable();
        if steps.peek().is_none() {
            return Some(PastReturn::ControlPlaneAtTarget);
        }
        let mut begun = steps.filter_map(|id| self.steps.get(id));
        let changed = begun.any(|step| step.is_touched() || step.end == Some(StepEnd::Done));
        changed.then_some(PastReturn::ControlPlaneMoved)
    }

    /// Steps whose node is back in service, while owners of its evicted pods may still recover, and whether their time for
    /// that is over.
    pub fn returned(&self) -> impl Iterator<Item = (&StepId, &StepRecord, bool)> {
        let recovering = self.in_progress().filter(|(_, step)| step.phase == StepPhase::Returned);
        let owing = self.owing.iter().filter_map(|id| self.steps.get_key_value(id));
        recovering.map(|(id, step)| (id, step, false)).chain(owing.map(|(id, step)| (id, step, true)))
    }

    /// Adds what entry `seq` says of one step.
    pub(super) fn apply_step(&mut self, id: &StepId, event: &StepEvent, seq: u64, at: Timestamp) {
        let before = Mark::of(self.steps.get(id));
        match event {
            StepEvent::Started { pods, baseline } => self.begin_step(id, *pods, baseline, seq, at),
            StepEvent::Moved { phase, found } => {
                if let Some(step) = self.steps.get_mut(id) {
                    step.phase = *phase;
                    step.found = found.or(step.found);
                    step.at.insert(*phase, at);
                }
            }
            StepEvent::Done { evicted, owes, .. } => {
                self.end_step(id, StepEnd::Done, seq, at).evicted = *evicted;
                let limits = self.plan.limits(&id.scope).map(|limits| limits.drain.on_not_recovered);
                if !owes.is_empty() && limits == Some(OnNotRecovered::Wait) {
                    self.owing.insert(id.clone());
                }
            }
            StepEvent::GoesBack { reasons } => {
                if let Some(step) = self.steps.get_mut(id) {
                    step.goes_back = Some(GoingBack { reasons: reasons.clone(), seq });
                }
            }
            StepEvent::SetAside { touched, reasons } => {
                self.end_step(id, StepEnd::SetAside { touched: *touched, reasons: reasons.clone() }, seq, at);
            }
            StepEvent::Failed { reasons } => {
                self.end_step(id, StepEnd::Failed(reasons.clone()), seq, at);
            }
            StepEvent::Gone => {
                self.end_step(id, StepEnd::Gone, seq, at);
            }
        }
        self.index.update(id, before, Mark::of(self.steps.get(id)));
    }

    fn begin_step(
        &mut self,
        id: &StepId,
        pods: u32,
        baseline: &BTreeMap<String, Baseline>,
        seq: u64,
        at: Timestamp,
    ) {
        for (owner, before) in baseline {
            let size = self.owner_sizes.entry(owner.clone()).or_default();
            *size = before.ready.max(*size);
        }
        let intent = self.next.remove(id).unwrap_or(seq);
        let before = self.steps.get(id);
        let returned = |end: &StepEnd| matches!(end, StepEnd::SetAside { touched: false, .. });
        let untouched = |before: &StepRecord| before.end.as_ref().is_some_and(returned);
        let touched = before.is_some_and(|before| before.is_touched() && !untouched(before));
        let fresh = StepRecord {
            at: BTreeMap::from([(StepPhase::Started, at)]),
            pods,
            baseline: baseline.clone(),
            attempt: before.map_or(0, |before| before.attempt) + 1,
            touched,
            evicted_before: before.map_or(0, StepRecord::evicted_in_all),
            // A node that was changed keeps its claim, and what that says, until it is returned.
            found: before.filter(|_| touched).and_then(|before| before.found),
            intent,
            ..StepRecord::unbegun(seq)
        };
        if let Some(before) = self.steps.insert(id.clone(), fresh) {
            self.log.begun_anew(id, before);
        }
        self.index.begun(at);
    }

    /// Ends a step. It may not have begun: a node with a structural blocker is set aside at once.
    fn end_step(&mut self, id: &StepId, end: StepEnd, seq: u64, at: Timestamp) -> &mut StepRecord {
        self.next.remove(id);
        let step = self.steps.entry(id.clone()).or_insert_with(|| StepRecord::unbegun(seq));
        step.end = Some(end);
        step.ended = Some(at);
        step
    }
}

impl StepRecord {
    fn unbegun(seq: u64) -> Self {
        Self {
            phase: StepPhase::Started,
            at: BTreeMap::new(),
            pods: 0,
            baseline: BTreeMap::new(),
            end: None,
            begun: seq,
            intent: seq,
            ended: None,
            evicted: 0,
            evicted_before: 0,
            attempt: 0,
            touched: false,
            found: None,
            goes_back: None,
        }
    }

    /// How many pods the drains of all attempts moved. A drain that did not end is not counted.
    pub fn evicted_in_all(&self) -> u32 {
        let now = match self.end {
            Some(StepEnd::Done) => self.evicted,
            _ if self.at.contains_key(&StepPhase::Drained) => self.pods,
            _ => 0,
        };
        self.evicted_before.saturating_add(now)
    }

    /// When the present attempt was started; `None` if it never was.
    pub fn started(&self) -> Option<Timestamp> {
        self.at.get(&StepPhase::Started).copied()
    }

    /// When work on the present attempt began. All intents of a hop's control plane are written together, so a node
    /// may wait for its turn long after its intent; a step without a node begins with its intent.
    pub fn began(&self) -> Option<Timestamp> {
        self.at.get(&StepPhase::Claimed).copied().or(self.started())
    }

    /// When its pods were moved: from the claim of its node until the node was back; `None` while it is not.
    pub fn moved(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.began()?, *self.at.get(&StepPhase::Returned)?))
    }

    /// True while the node of a step in progress counts as out: until it is back in service.
    pub fn is_out(&self) -> bool {
        self.phase < StepPhase::Returned
    }

    /// True if the node was changed, or may have been, in this attempt or an earlier one.
    pub fn is_touched(&self) -> bool {
        self.touched || self.phase >= StepPhase::Upgrading
    }
}
