//! The run in progress as the journal tells it: its frozen plan, and how far each step has come.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::log::RunLog;
use crate::model::CommitId;
use crate::model::decision::Reason;
use crate::model::entry::{Baseline, Entry, StepPhase, What};
use crate::model::plan::Plan;
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
    /// Frozen with the run; read from its `plan.yaml`.
    pub plan: Plan,
    pub rollback_point: Option<String>,
    pub steps: BTreeMap<String, StepRecord>,
    /// The last accepted commit that asked for another version: what there is to go back to.
    pub before: Option<(CommitId, Version)>,
    /// For the report.
    pub log: RunLog,
}

/// How far one step has come, as recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    pub node: String,
    pub node_uid: String,
    pub phase: StepPhase,
    /// When each phase was recorded.
    pub at: BTreeMap<StepPhase, Timestamp>,
    pub pods: u32,
    pub baseline: BTreeMap<String, Baseline>,
    pub end: Option<StepEnd>,
    /// The entry that holds its intent: what is done for the step is released by it.
    pub intent: u64,
    pub ended: Option<Timestamp>,
    pub evicted: u32,
    /// How often it has been begun; another attempt is another Job.
    pub attempt: u32,
    /// An earlier attempt has changed the node, or may have.
    pub touched: bool,
}

impl StepRecord {
    /// Whether the node was changed, or may have been, in this attempt or in one before.
    pub fn is_touched(&self) -> bool {
        self.touched || self.phase >= StepPhase::Upgrading
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum StepEnd {
    Done,
    SetAside { touched: bool, reasons: Vec<Reason> },
    Failed(Vec<Reason>),
    Gone,
}

impl Run {
    pub(super) fn apply_step(&mut self, entry: &Entry) {
        match &entry.what {
            What::StepStarted { step, node, node_uid, pods, baseline } => {
                let before = self.steps.get(step);
                let returned = |end: &StepEnd| matches!(end, StepEnd::SetAside { touched: false, .. });
                let untouched = |before: &StepRecord| before.end.as_ref().is_some_and(returned);
                let fresh = StepRecord {
                    node_uid: node_uid.clone(),
                    at: BTreeMap::from([(StepPhase::Started, entry.at)]),
                    pods: *pods,
                    baseline: baseline.clone(),
                    attempt: before.map_or(0, |before| before.attempt) + 1,
                    touched: before.is_some_and(|before| before.is_touched() && !untouched(before)),
                    ..StepRecord::unbegun(node, entry.seq)
                };
                if let Some(before) = self.steps.insert(step.clone(), fresh) {
                    self.log.begun_anew(step, before);
                }
            }
            What::StepMoved { step, phase, .. } => {
                if let Some(step) = self.steps.get_mut(step) {
                    step.phase = *phase;
                    step.at.insert(*phase, entry.at);
                }
            }
            What::StepDone { step, node, evicted, .. } => {
                self.end_step(step, node, StepEnd::Done, entry);
                if let Some(step) = self.steps.get_mut(step) {
                    step.evicted = *evicted;
                }
            }
            What::StepSetAside { step, node, touched, reasons } => {
                self.end_step(
                    step,
                    node,
                    StepEnd::SetAside { touched: *touched, reasons: reasons.clone() },
                    entry,
                );
            }
            What::StepFailed { step, node, reasons } => {
                self.end_step(step, node, StepEnd::Failed(reasons.clone()), entry);
            }
            What::StepGone { step, node } => self.end_step(step, node, StepEnd::Gone, entry),
            What::ClusterMet { .. }
            | What::Accepted { .. }
            | What::Refused { .. }
            | What::Waiting { .. }
            | What::RunStarted { .. }
            | What::RollbackPoint { .. }
            | What::Halted { .. }
            | What::Resumed { .. }
            | What::Stopped { .. }
            | What::StopEnded
            | What::RunEnded { .. } => {}
        }
    }

    /// A step may end without having begun: a node that is blocked structurally is never taken in hand.
    fn end_step(&mut self, id: &str, node: &str, end: StepEnd, entry: &Entry) {
        let step = self.steps.entry(id.to_owned()).or_insert_with(|| StepRecord::unbegun(node, entry.seq));
        step.end = Some(end);
        step.ended = Some(entry.at);
    }

    /// Steps that are begun and not ended.
    pub fn in_hand(&self) -> impl Iterator<Item = (&String, &StepRecord)> {
        self.steps.iter().filter(|(_, step)| step.end.is_none())
    }
}

impl StepRecord {
    fn unbegun(node: &str, seq: u64) -> Self {
        Self {
            node: node.to_owned(),
            node_uid: String::new(),
            phase: StepPhase::Started,
            at: BTreeMap::new(),
            pods: 0,
            baseline: BTreeMap::new(),
            end: None,
            intent: seq,
            ended: None,
            evicted: 0,
            attempt: 0,
            touched: false,
        }
    }

    /// When it was taken in hand; nothing if it never was.
    pub fn started(&self) -> Option<Timestamp> {
        self.at.get(&StepPhase::Started).copied()
    }
}
