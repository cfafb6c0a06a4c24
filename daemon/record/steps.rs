//! Which steps of a run are in progress, which are done and which have not started. The index is updated with every
//! entry of the journal, so a question needs no walk over a plan of thousands of steps.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::run::{Run, StepEnd, StepRecord};
use super::waiting::{Waiting, WaitingGroups, put};
use crate::model::plan::{Plan, Scope, Stage, Step, StepId};
use crate::model::time::earliest;

/// Where a step is in its frozen plan: its stage, and its position in that stage. Positions sort in the plan's order.
type Position = (usize, usize);

/// The steps of a frozen plan, indexed by their state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StepIndex {
    positions: BTreeMap<StepId, Position>,
    /// By the text of the step's id, which is what claims on nodes have.
    texts: BTreeMap<String, Position>,
    not_started: BTreeSet<Position>,
    in_progress: BTreeMap<Position, StepTurn>,
    /// Steps whose node was changed, or may have been; see [`StepRecord::is_touched`].
    changed: BTreeSet<Position>,
    /// For each stage, its steps by scope.
    scopes: Vec<BTreeMap<Scope, OfScope>>,
    /// For each stage, its steps that are not started.
    waiting: Vec<WaitingGroups>,
    first_intent: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct OfScope {
    steps: usize,
    /// Steps that are not started, as [`Run::not_started`] has them.
    open: usize,
    in_progress: usize,
    /// Steps that are done, by the time at which they ended.
    done: BTreeSet<(Timestamp, usize)>,
}

/// The state of one step for the index, taken before and after an entry, so that no entry has to be undone.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    progress: StepProgress,
    changed: bool,
}

/// A step in progress, as far as every pass asks about it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct StepTurn {
    /// The number of the entry that says that it began.
    turn: u64,
    /// True until its node is back in service.
    out: bool,
}

#[derive(Clone, Copy)]
enum StepProgress {
    /// Never begun, set aside or failed: the step can be started, or started again.
    NotStarted,
    Begun(StepTurn),
    Done(Timestamp),
    Gone,
}

impl Mark {
    pub(super) fn of(record: Option<&StepRecord>) -> Self {
        let Some(record) = record else { return Self { progress: StepProgress::NotStarted, changed: false } };
        let progress = match record.end.as_ref().zip(record.ended) {
            None => StepProgress::Begun(StepTurn { turn: record.begun, out: record.is_out() }),
            Some((StepEnd::Done, at)) => StepProgress::Done(at),
            Some((StepEnd::SetAside { .. } | StepEnd::Failed(_), _)) => StepProgress::NotStarted,
            Some((StepEnd::Gone, _)) => StepProgress::Gone,
        };
        Self { progress, changed: record.is_touched() }
    }
}

impl StepIndex {
    /// The index of a plan of which no step has started.
    pub(super) fn of(plan: &Plan) -> Self {
        let mut positions = BTreeMap::new();
        let mut texts = BTreeMap::new();
        let mut scopes = Vec::with_capacity(plan.stages.len());
        for (number, stage) in plan.stages.iter().enumerate() {
            let mut of_stage: BTreeMap<Scope, OfScope> = BTreeMap::new();
            for (position, step) in stage.steps.iter().enumerate() {
                positions.insert(step.id.clone(), (number, position));
                texts.insert(step.id.to_string(), (number, position));
                let of_scope = of_stage.entry(step.id.scope.clone()).or_default();
                of_scope.steps += 1;
                of_scope.open += 1;
            }
            scopes.push(of_stage);
        }
        Self {
            not_started: positions.values().copied().collect(),
            in_progress: BTreeMap::new(),
            changed: BTreeSet::new(),
            waiting: plan.stages.iter().map(WaitingGroups::of).collect(),
            first_intent: None,
            positions,
            texts,
            scopes,
        }
    }

    pub(super) fn begun(&mut self, at: Timestamp) {
        self.first_intent = earliest(self.first_intent, Some(at));
    }

    /// Moves a step from its old place in the index to its new one.
    pub(super) fn update(&mut self, id: &StepId, before: Mark, after: Mark) {
        // A step that is not in the plan is not counted; reading a record refuses such a step.
        let Some(at) = self.positions.get(id).copied() else { return };
        self.set(at, &id.scope, before, false);
        self.set(at, &id.scope, after, true);
    }

    fn set(&mut self, at: Position, scope: &Scope, mark: Mark, present: bool) {
        match mark.progress {
            StepProgress::NotStarted => {
                put(&mut self.not_started, at, present);
                if let Some(waiting) = self.waiting.get_mut(at.0) {
                    waiting.set(at.1, present);
                }
                if let Some(of_scope) = self.scope(at.0, scope) {
                    of_scope.open = by_one(of_scope.open, present);
                }
            }
            StepProgress::Begun(begun) => {
                if present {
                    self.in_progress.insert(at, begun);
                } else {
                    self.in_progress.remove(&at);
                }
                if let Some(of_scope) = self.scope(at.0, scope) {
                    of_scope.in_progress = by_one(of_scope.in_progress, present);
                }
            }
            StepProgress::Done(ended) => {
                if let Some(of_scope) = self.scope(at.0, scope) {
                    put(&mut of_scope.done, (ended, at.1), present);
                }
            }
            StepProgress::Gone => {}
        }
        if mark.changed {
            put(&mut self.changed, at, present);
        }
    }

    fn scope(&mut self, stage: usize, scope: &Scope) -> Option<&mut OfScope> {
        self.scopes.get_mut(stage)?.get_mut(scope)
    }

    pub(super) fn any_changed(&self, stage: usize) -> bool {
        within_stage(&self.changed, stage).next().is_some()
    }

    pub(super) fn any_in_progress(&self, stage: usize) -> bool {
        self.in_progress.range((stage, 0)..(stage + 1, 0)).next().is_some()
    }
}

fn by_one(count: usize, more: bool) -> usize {
    if more { count + 1 } else { count.saturating_sub(1) }
}

fn within_stage(set: &BTreeSet<Position>, stage: usize) -> impl Iterator<Item = &Position> {
    set.range((stage, 0)..=(stage, usize::MAX))
}

/// How far the steps of one scope have come in one stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageCounts<'a> {
    /// All steps of the scope in this stage, in whatever state.
    pub steps: usize,
    /// Steps that have begun and not ended.
    pub in_progress: usize,
    done: &'a BTreeSet<(Timestamp, usize)>,
}

impl StageCounts<'_> {
    /// How many steps are done.
    pub fn done(&self) -> usize {
        self.done.len()
    }

    /// When the `nth` step to be done ended, counted from zero; `None` while fewer are done.
    pub fn done_at(&self, nth: usize) -> Option<Timestamp> {
        self.done.iter().nth(nth).map(|(at, _)| *at)
    }
}

impl Run {
    /// Steps that have begun and not ended, in the plan's order.
    pub fn in_progress(&self) -> impl Iterator<Item = (&StepId, &StepRecord)> {
        let steps = self.index.in_progress.keys().filter_map(|at| self.at(*at));
        steps.filter_map(|step| self.steps.get_key_value(&step.id))
    }

    /// The same steps as the plan has them, with their stages.
    pub fn steps_in_progress(&self) -> impl Iterator<Item = (&Stage, &Step)> {
        self.index.in_progress.keys().filter_map(|(stage, position)| {
            let stage = self.plan.stages.get(*stage)?;
            Some((stage, stage.steps.get(*position)?))
        })
    }

    /// The same steps in the order in which they are taken further: of the control plane as the plan has them, of workers
    /// those that began first. What budgets allow goes to them, so that their nodes are soon empty and make room.
    pub fn steps_by_turn(&self) -> Vec<(&Stage, &Step)> {
        let turn = |(stage, position): &Position, begun: &StepTurn| {
            let stage = self.plan.stages.get(*stage)?;
            let turn = if stage.kind.is_control_plane() { None } else { Some(begun.turn) };
            Some((turn, stage, stage.steps.get(*position)?))
        };
        let mut steps: Vec<_> =
            self.index.in_progress.iter().filter_map(|(at, begun)| turn(at, begun)).collect();
        steps.sort_by_key(|(turn, ..)| *turn);
        steps.into_iter().map(|(_, stage, step)| (stage, step)).collect()
    }

    /// Those of them whose nodes are not back in service.
    pub fn steps_out(&self) -> impl Iterator<Item = &Step> {
        let out = self.index.in_progress.iter().filter(|(_, begun)| begun.out);
        out.filter_map(|(at, _)| self.at(*at))
    }

    /// The step of this id and its stage; `None` if the plan has no such step.
    pub fn find(&self, id: &StepId) -> Option<(&Stage, &Step)> {
        let (stage, position) = *self.index.positions.get(id)?;
        let stage = self.plan.stages.get(stage)?;
        Some((stage, stage.steps.get(position)?))
    }

    /// The record of the step whose id has this text; `None` if it never began, or the plan has no such step.
    pub fn recorded_as(&self, text: &str) -> Option<&StepRecord> {
        let step = self.at(*self.index.texts.get(text)?)?;
        self.steps.get(&step.id)
    }

    /// The first stage with a step that is neither done nor gone, as an index into the plan's stages.
    pub fn open_stage(&self) -> Option<usize> {
        let stage = |steps: &BTreeSet<Position>| steps.first().map(|(stage, _)| *stage);
        let begun = self.index.in_progress.keys().next().map(|(stage, _)| *stage);
        stage(&self.index.not_started).into_iter().chain(begun).min()
    }

    /// Steps of a stage that are neither in progress, done nor gone, in the plan's order. Steps that were set aside
    /// or failed are among them, because they can be started again.
    pub fn not_started(&self, stage: usize) -> impl Iterator<Item = &Step> {
        within_stage(&self.index.not_started, stage).filter_map(|at| self.at(*at))
    }

    /// Those of one scope, in the plan's order.
    pub fn waiting_of(&self, stage: usize, scope: &Scope) -> Vec<&Step> {
        let waiting = self.index.waiting.get(stage).map(|waiting| waiting.of_scope(scope));
        waiting.into_iter().flatten().filter_map(|position| self.at((stage, position))).collect()
    }

    /// The first of those of one scope.
    pub fn first_waiting(&self, stage: usize, scope: &Scope) -> Option<&Step> {
        self.at((stage, self.index.waiting.get(stage)?.first_of(scope)?))
    }

    /// The same steps, in a walk that leaves out groups of them.
    pub fn waiting(&self, stage: usize) -> Option<Waiting<'_>> {
        Some(Waiting::over(self.plan.stages.get(stage)?, self.index.waiting.get(stage)?))
    }

    /// Those of these steps that are among [`Run::not_started`], in the order of the plan.
    pub fn not_started_among(&self, stage: usize, ids: impl Iterator<Item = StepId>) -> Vec<&Step> {
        let at = ids.filter_map(|id| self.index.positions.get(&id).copied());
        let at: BTreeSet<Position> =
            at.filter(|at| at.0 == stage && self.index.not_started.contains(at)).collect();
        at.into_iter().filter_map(|at| self.at(at)).collect()
    }

    /// The scopes of a stage with steps that are not started.
    pub fn open_scopes(&self, stage: usize) -> impl Iterator<Item = &Scope> {
        let scopes = self.index.scopes.get(stage).into_iter().flatten();
        scopes.filter(|(_, of_scope)| of_scope.open > 0).map(|(scope, _)| scope)
    }

    /// When the first intent was written; `None` before that.
    pub fn first_intent(&self) -> Option<Timestamp> {
        self.index.first_intent
    }

    /// How far the steps of one scope have come in one stage; `None` if the stage has no step of the scope.
    pub fn stage_counts(&self, stage: usize, scope: &Scope) -> Option<StageCounts<'_>> {
        let OfScope { steps, in_progress, done, open: _ } = self.index.scopes.get(stage)?.get(scope)?;
        Some(StageCounts { steps: *steps, in_progress: *in_progress, done })
    }

    /// How far the steps of a scope have come in a stage of this plan.
    pub fn counts_in(&self, stage: &Stage, scope: &Scope) -> Option<StageCounts<'_>> {
        let same = |other: &Stage| (other.hop, other.kind) == (stage.hop, stage.kind);
        self.stage_counts(self.plan.stages.iter().position(same)?, scope)
    }

    fn at(&self, (stage, position): Position) -> Option<&Step> {
        self.plan.stages.get(stage)?.steps.get(position)
    }
}
