//! The sums over a run: the state of each node over all of its steps, how far each stage is, and the pace.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::status_types::{
    AddonStatus, ControlPlaneState, ControlPlaneStatus, NodeCounts, NodeState, NodeStatus, StageStatus,
};
use super::text::count;
use super::{Run, StepEnd, StepRecord};
use crate::model::entry::StepPhase;
use crate::model::plan::{Stage, StageKind, Step};

/// How many reasons of one node the status has; the journal has all.
const REASONS_OF_NODE: usize = 3;

/// How far the steps of one stage have come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StageProgress {
    pub steps: u32,
    pub done: u32,
    pub ended: u32,
    pub begun: u32,
}

pub(super) fn progress(run: &Run, stage: &Stage) -> StageProgress {
    let mut progress = StageProgress::default();
    for step in &stage.steps {
        progress.steps += 1;
        let Some(record) = run.steps.get(&step.id) else { continue };
        progress.begun += 1;
        progress.ended += u32::from(record.end.is_some());
        progress.done += u32::from(record.end == Some(StepEnd::Done));
    }
    progress
}

/// The first stage with a step that has not ended.
pub(super) fn current_stage(run: &Run) -> Option<StageStatus> {
    let stages = run.plan.stages.iter().map(|stage| (stage, progress(run, stage)));
    let (index, (stage, progress)) =
        stages.enumerate().find(|(_, (_, progress))| progress.ended < progress.steps)?;
    Some(StageStatus {
        kind: stage.kind,
        number: count(index + 1),
        of: count(run.plan.stages.len()),
        hop: count(stage.hop + 1),
        to: stage.to.clone(),
        steps: progress.steps,
        steps_done: progress.done,
    })
}

pub(super) fn control_plane(run: &Run) -> ControlPlaneStatus {
    let moves = |stage: &&Stage| matches!(stage.kind, StageKind::AwaitControlPlane | StageKind::ControlPlane);
    let mut whole = StageProgress::default();
    let mut failed = false;
    for stage in run.plan.stages.iter().filter(moves) {
        let progress = progress(run, stage);
        whole.steps += progress.steps;
        whole.done += progress.done;
        whole.begun += progress.begun;
        failed |= stage
            .steps
            .iter()
            .filter_map(|step| run.steps.get(&step.id))
            .any(|record| matches!(record.end, Some(StepEnd::Failed(_))));
    }
    let state = if whole.steps == 0 {
        ControlPlaneState::Stable
    } else if failed {
        ControlPlaneState::Failed
    } else if whole.steps == whole.done {
        ControlPlaneState::Done
    } else if whole.begun == 0 {
        ControlPlaneState::Pending
    } else {
        ControlPlaneState::InProgress
    };
    ControlPlaneStatus { state, steps: whole.steps, steps_done: whole.done }
}

/// Every node of the run once, in the order in which the plan first names it.
pub(super) fn node_statuses(run: &Run) -> Vec<NodeStatus> {
    let mut place: BTreeMap<&str, usize> = BTreeMap::new();
    let mut steps: Vec<Vec<&Step>> = Vec::new();
    for step in run.plan.steps() {
        let Some(node) = step.node() else { continue };
        let index = *place.entry(node).or_insert(steps.len());
        match steps.get_mut(index) {
            Some(known) => known.push(step),
            None => steps.push(vec![step]),
        }
    }
    steps.iter().filter_map(|steps| node(run, steps)).collect()
}

/// Every addon of the run, in the order of the plan.
pub(super) fn addon_statuses(run: &Run) -> Vec<AddonStatus> {
    let status = |step: &Step| {
        let mv = step.work.addon()?;
        let record = run.steps.get(&step.id);
        Some(AddonStatus {
            name: mv.name.clone(),
            kind: mv.kind(),
            from: mv.from.clone(),
            to: mv.to.clone(),
            state: record.map_or(NodeState::Pending, state),
            since: record.and_then(since),
            reasons: record.map(reasons_of_step).unwrap_or_default(),
        })
    };
    run.plan.steps().filter_map(status).collect()
}

/// The state of a node: the worst state of its steps. A node is done only when all of them are.
fn node(run: &Run, steps: &[&Step]) -> Option<NodeStatus> {
    let (first, last) = (steps.first()?, steps.last()?);
    let record = |step: &&Step| run.steps.get(&step.id).map(|record| (state(record), record));
    let worst = steps.iter().filter_map(record).max_by_key(|(state, _)| severity(*state));
    let all_done = steps.iter().all(|step| record(step).is_some_and(|(state, _)| state == NodeState::Done));
    let shown = worst.filter(|(state, _)| *state != NodeState::Done || all_done);
    let state = shown.map_or(NodeState::Pending, |(state, _)| state);
    let record = shown.map(|(_, record)| record);
    Some(NodeStatus {
        node: first.node()?.to_owned(),
        state,
        phase: record.filter(|_| state == NodeState::InProgress).map(|record| record.phase),
        from: first.from().clone(),
        to: last.to().clone(),
        since: record.and_then(since),
        reasons: record.map(reasons_of_step).unwrap_or_default(),
    })
}

fn state(record: &StepRecord) -> NodeState {
    match record.end {
        // Its intent is written, and it waits for its turn.
        None if record.phase == StepPhase::Started && record.goes_back.is_none() => NodeState::Pending,
        None => NodeState::InProgress,
        Some(StepEnd::Done) => NodeState::Done,
        Some(StepEnd::SetAside { .. }) => NodeState::SetAside,
        Some(StepEnd::Failed(_)) => NodeState::Failed,
        Some(StepEnd::Gone) => NodeState::Gone,
    }
}

/// How bad the state of a step is; a node has the worst of its steps. A step in progress hides what an earlier step
/// of the node came to, unless that failed.
fn severity(state: NodeState) -> u8 {
    match state {
        NodeState::Pending => 0,
        NodeState::Done => 1,
        NodeState::Gone => 2,
        NodeState::SetAside => 3,
        NodeState::InProgress => 4,
        NodeState::Failed => 5,
    }
}

fn since(record: &StepRecord) -> Option<Timestamp> {
    record.ended.or_else(|| record.at.get(&record.phase).copied())
}

fn reasons_of_step(record: &StepRecord) -> Vec<crate::model::decision::Reason> {
    match &record.end {
        Some(StepEnd::SetAside { reasons, .. } | StepEnd::Failed(reasons)) => {
            reasons.iter().take(REASONS_OF_NODE).cloned().collect()
        }
        None => {
            record.goes_back.iter().flat_map(|back| &back.reasons).take(REASONS_OF_NODE).cloned().collect()
        }
        Some(StepEnd::Done | StepEnd::Gone) => Vec::new(),
    }
}

pub(super) fn counts(nodes: &[NodeStatus]) -> NodeCounts {
    let mut counts = NodeCounts { total: count(nodes.len()), ..NodeCounts::default() };
    for node in nodes {
        let of_state = match node.state {
            NodeState::Pending => &mut counts.pending,
            NodeState::InProgress => &mut counts.in_progress,
            NodeState::Done => &mut counts.done,
            NodeState::SetAside => &mut counts.set_aside,
            NodeState::Failed => &mut counts.failed,
            NodeState::Gone => &mut counts.gone,
        };
        *of_state += 1;
    }
    counts
}

/// When the run would end if its remaining steps took as long as those of the same kind that are done.
///
/// Counted from the last entry and not from now, so the answer does not change between two entries. `None` while a
/// kind of step that is still to come has none that is done. Soaks to come are not included.
pub(super) fn estimated_completion(run: &Run, last: Timestamp) -> Option<Timestamp> {
    let mut kinds: BTreeMap<StageKind, Pace> = BTreeMap::new();
    for stage in &run.plan.stages {
        let pace = kinds.entry(stage.kind).or_default();
        stage.steps.iter().for_each(|step| pace.add(run.steps.get(&step.id)));
    }
    let mut left = SignedDuration::ZERO;
    for pace in kinds.values().filter(|pace| pace.left > 0) {
        left = left.checked_add(pace.interval()?.checked_mul(pace.left)?)?;
    }
    last.checked_add(left).ok().filter(|_| left > SignedDuration::ZERO)
}

#[derive(Default)]
struct Pace {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    done: i32,
    left: i32,
}

impl Pace {
    fn add(&mut self, step: Option<&StepRecord>) {
        let Some(step) = step else {
            self.left = self.left.saturating_add(1);
            return;
        };
        self.first = self.first.into_iter().chain(step.began()).min();
        match step.end {
            None => self.left = self.left.saturating_add(1),
            Some(StepEnd::Done) => {
                self.done = self.done.saturating_add(1);
                self.last = self.last.max(step.ended);
            }
            Some(StepEnd::SetAside { .. } | StepEnd::Failed(_) | StepEnd::Gone) => {}
        }
    }

    /// The mean time from one end of a step to the next, over all steps that run at the same time.
    fn interval(&self) -> Option<SignedDuration> {
        self.last?.duration_since(self.first?).checked_div(self.done)
    }
}
