//! The status branch: a fold over its journal gives the record, and the record gives the files and messages of the
//! next commit. The status has no state beside the journal.

mod config_map;
mod evidence;
mod files;
mod hop;
mod layout;
mod log;
mod message;
mod older;
mod plan_file;
mod read;
mod report;
mod report_parts;
mod rollback;
mod run;
mod sentence;
mod status;
mod status_types;
mod steps;
mod tally;
#[cfg(test)]
mod tests;
pub mod text;
mod waiting;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::CommitId;
use crate::model::decision::{Answer, Key, Reason};
use crate::model::entry::{
    Authored, ClusterEvent, CommitEvent, DriftedObject, Entry, InterruptionEvent, RunEvent, RunOutcome,
    StepEvent, What,
};
use crate::model::manifest::ObjectRef;
use crate::model::plan::Plan;
use crate::model::version::Version;
use crate::model::work::StepId;

pub use config_map::{CONFIG_MAP_BYTES, ShownText, config_map_text};
pub use evidence::evidence_file;
pub use files::{WriteError, advance, files};
pub use message::message;
pub use read::{ReadError, journal, read};
pub use rollback::{LiveVersions, RollbackPoint, rollback_file, rollback_point, tag};
pub use run::{GoingBack, Run, StepEnd, StepRecord};
pub use sentence::sentence;
pub use status::{read_status, status};
pub use status_types::*;
pub use steps::StageCounts;
pub use waiting::{Alike, Waiting};
pub use yaml::YamlError;

use log::{InterruptionKind, RunLog};
use steps::StepIndex;

/// Everything that a pass needs and the live cluster does not show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The number of the next entry.
    pub next_seq: u64,
    /// The time of the last entry. The next entry never gets an earlier one.
    pub last_at: Option<Timestamp>,
    /// The epoch of the lease under which the last entry was written.
    pub last_epoch: u64,
    pub cluster_uid: Option<String>,
    pub accepted: Option<(CommitId, Version)>,
    pub accepted_at: Option<Timestamp>,
    /// Who wrote the accepted commit.
    pub accepted_by: Option<Authored>,
    /// The last accepted commit with another version than that of the accepted one.
    pub accepted_before: Option<(CommitId, Version)>,
    pub refused: Option<(CommitId, Vec<String>)>,
    /// Why a person stopped the work, and since when; `None` while it is not stopped.
    pub stopped: Option<Since<String>>,
    pub stopped_by: Option<String>,
    pub halted: Option<Since<Vec<Reason>>>,
    /// UID of the note that ended the last halt.
    pub resumed_by: Option<String>,
    /// The present waits, each with the time since which it has been given without a break.
    pub waiting: Vec<Since<Answer>>,
    /// When they were recorded last.
    pub waiting_at: Option<Timestamp>,
    /// What somebody has changed by hand in the objects of addons.
    pub drifted: Vec<Since<DriftedObject>>,
    /// When that was recorded last.
    pub drifted_at: Option<Timestamp>,
    /// The run in progress.
    pub run: Option<Run>,
    /// Ended runs, oldest first.
    pub ended: Vec<EndedRun>,
    /// How many runs each commit has started; the next run's id counts on from it.
    pub runs_of_commit: BTreeMap<String, u32>,
    /// The objects that runs have applied, by addon: after a whole step those of its plan, before that also those of the last
    /// whole one.
    pub addon_objects: AddonObjects,
    /// Of each addon by manifests what was applied whole last, and by which commit.
    pub addon_applied: BTreeMap<String, AppliedAddon>,
    pub rollback_points: Vec<String>,
    /// The desired commit of each rollback point, if it has one.
    pub rollback_commits: BTreeMap<String, CommitId>,
    pub shown: ShownText,
}

/// The objects of each addon.
pub type AddonObjects = BTreeMap<String, Arc<BTreeSet<ObjectRef>>>;

/// What runs have applied of an addon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedAddon {
    pub commit: CommitId,
    pub digest: String,
}

/// A value, and since when it has been so.
#[derive(Clone, Debug, PartialEq)]
pub struct Since<T> {
    pub value: T,
    pub since: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EndedRun {
    pub run: String,
    pub commit: CommitId,
    pub from: Version,
    pub to: Version,
    pub digest: String,
    pub started: Timestamp,
    pub ended: Timestamp,
    pub outcome: RunOutcome,
    pub reasons: Vec<Reason>,
    pub steps_done: u32,
    pub set_aside: u32,
    pub failed: u32,
    /// How often it halted.
    pub halts: u32,
    pub rollback_point: Option<String>,
}

impl Record {
    /// The id of the run that this commit would start now.
    pub fn next_run(&self, commit: &CommitId) -> String {
        let ordinal = self.runs_of_commit.get(&commit.0).copied().unwrap_or(0) + 1;
        format!("{}-{ordinal}", commit.short())
    }

    /// True if a run of this id is in this record.
    pub fn knows_run(&self, id: &str) -> bool {
        self.run.as_ref().is_some_and(|run| run.id == id) || self.ended.iter().any(|ended| ended.run == id)
    }

    /// Adds one entry. `plan` is the frozen plan that a `RunEvent::Started` refers to.
    pub fn apply(&mut self, entry: &Entry, plan: Option<&Plan>) {
        self.shown = ShownText::default();
        self.next_seq = entry.seq + 1;
        self.last_at = Some(entry.at);
        self.last_epoch = entry.epoch;
        match &entry.what {
            What::Cluster(ClusterEvent::Met { uid }) => self.cluster_uid = Some(uid.clone()),
            What::Cluster(ClusterEvent::Waiting { answers }) => self.wait(answers, entry.at),
            What::Cluster(ClusterEvent::Drifted { objects }) => self.note_drift(objects, entry.at),
            What::Commit(CommitEvent::Accepted { commit, version, by }) => {
                self.accept(commit, version, entry.at);
                self.accepted_by.clone_from(by);
            }
            What::Commit(CommitEvent::Refused { commit, problems }) => {
                self.refused = Some((commit.clone(), problems.clone()));
            }
            What::Run(event) => self.apply_run(event, entry, plan),
            What::Step(id, event) => {
                self.note_objects(id, event);
                if let Some(run) = &mut self.run {
                    run.apply_step(id, event, entry.seq, entry.at);
                }
            }
            What::Interruption(event) => self.interrupt(event, entry.at),
        }
    }

    fn apply_run(&mut self, event: &RunEvent, entry: &Entry, plan: Option<&Plan>) {
        match event {
            RunEvent::Started { commit, from, to, digest, .. } => {
                *self.runs_of_commit.entry(commit.0.clone()).or_default() += 1;
                self.run = plan.zip(entry.run.as_ref()).map(|(plan, id)| Run {
                    id: id.clone(),
                    commit: commit.clone(),
                    from: from.clone(),
                    to: to.clone(),
                    digest: digest.clone(),
                    started: entry.at,
                    epoch: entry.epoch,
                    plan: plan.clone(),
                    doubt: None,
                    rollback_point: None,
                    steps: BTreeMap::new(),
                    owner_sizes: BTreeMap::new(),
                    owing: BTreeSet::new(),
                    tainting: BTreeMap::new(),
                    next: BTreeMap::new(),
                    ahead: BTreeMap::new(),
                    landed: BTreeMap::new(),
                    landed_at: None,
                    // A newer version that was asked for and given up again never ran.
                    before: self.accepted_before.clone().filter(|(_, asked)| asked.is_before(to)),
                    log: self.log_from(commit, entry.at),
                    index: StepIndex::of(plan),
                });
            }
            RunEvent::RollbackPoint { id } => {
                self.rollback_points.push(id.clone());
                if let Some(run) = &mut self.run {
                    run.rollback_point = Some(id.clone());
                    if let Some((commit, _)) = &run.before {
                        self.rollback_commits.insert(id.clone(), commit.clone());
                    }
                }
            }
            RunEvent::Tainting { pool } => {
                if let Some(run) = &mut self.run {
                    run.tainting.insert(pool.clone(), entry.seq);
                }
            }
            RunEvent::Untainted { pool } => {
                if let Some(run) = &mut self.run {
                    run.tainting.remove(pool);
                }
            }
            RunEvent::Next { steps } => {
                if let Some(run) = &mut self.run {
                    run.next.extend(steps.iter().map(|id| (id.clone(), entry.seq)));
                }
            }
            RunEvent::Ahead { pool } => {
                if let Some(run) = &mut self.run {
                    run.ahead.insert(pool.clone(), entry.seq);
                }
            }
            RunEvent::Landed { pods } => {
                if let Some(run) = &mut self.run {
                    run.landed.extend(pods.iter().map(|pod| (pod.uid.clone(), pod.there.clone())));
                    run.landed_at = Some(entry.at);
                }
            }
            RunEvent::Ended { outcome, reasons } => self.end_run(entry.at, *outcome, reasons),
        }
    }

    /// Keeps which objects an addon may have in the cluster. What is deleted is decided by the objects themselves.
    fn note_objects(&mut self, id: &StepId, event: &StepEvent) {
        let step = self.run.as_ref().and_then(|run| run.find(id)).map(|(_, step)| step);
        let Some(mv) = step.and_then(|step| step.work.addon()) else { return };
        let Some(of) = mv.manifests() else { return };
        let all = Arc::make_mut(self.addon_objects.entry(mv.name.clone()).or_default());
        match event {
            StepEvent::Started { .. } => all.extend(of.objects.iter().cloned()),
            StepEvent::Done { .. } => {
                *all = of.objects.iter().cloned().collect();
                if let Some(run) = &self.run {
                    let applied = AppliedAddon { commit: run.commit.clone(), digest: of.digest.clone() };
                    self.addon_applied.insert(mv.name.clone(), applied);
                }
            }
            StepEvent::Moved { .. }
            | StepEvent::SetAside { .. }
            | StepEvent::GoesBack { .. }
            | StepEvent::Failed { .. }
            | StepEvent::Gone => {}
        }
    }

    fn accept(&mut self, commit: &CommitId, version: &Version, at: Timestamp) {
        let before = self.accepted.replace((commit.clone(), version.clone()));
        if let Some((old, asked)) = before.filter(|(_, asked)| asked != version) {
            self.accepted_before = Some((old, asked));
        }
        self.accepted_at = Some(at);
        self.refused = None;
    }

    /// The log of a run of this commit that starts now.
    fn log_from(&self, commit: &CommitId, at: Timestamp) -> RunLog {
        let accepted =
            self.accepted_at.filter(|_| self.accepted.as_ref().is_some_and(|(id, _)| id == commit));
        let by = self.accepted_by.clone().filter(|_| accepted.is_some());
        RunLog::begin(accepted.map(|at| (at, by)), self.waiting.iter().map(|answer| &answer.value), at)
    }

    /// Replaces the waits. An answer that stays the same keeps its time, whatever the others do.
    fn wait(&mut self, answers: &[Answer], at: Timestamp) {
        self.waiting_at = Some(at);
        let before = std::mem::take(&mut self.waiting);
        let mut since: BTreeMap<(Key, &str), Timestamp> = BTreeMap::new();
        for old in &before {
            since.entry((old.value.reason.key, &old.value.reason.object)).or_insert(old.since);
        }
        let since = |answer: &Answer| {
            since.get(&(answer.reason.key, answer.reason.object.as_str())).copied().unwrap_or(at)
        };
        self.waiting = answers.iter().map(|a| Since { value: a.clone(), since: since(a) }).collect();
        if let Some(run) = &mut self.run {
            run.log.wait(answers.iter(), at);
        }
    }

    /// Replaces what has drifted. An object that is changed once more keeps its time.
    fn note_drift(&mut self, objects: &[DriftedObject], at: Timestamp) {
        self.drifted_at = Some(at);
        let before = std::mem::take(&mut self.drifted);
        let since = |object: &DriftedObject| {
            let same = before
                .iter()
                .find(|old| old.value.addon == object.addon && old.value.object == object.object);
            same.map_or(at, |old| old.since)
        };
        self.drifted = objects.iter().map(|of| Since { value: of.clone(), since: since(of) }).collect();
    }

    /// Takes in halts and stops and their ends, for the record and for the run's log.
    fn interrupt(&mut self, event: &InterruptionEvent, at: Timestamp) {
        if let (InterruptionEvent::Resumed { .. }, Some(run), Some(_)) = (event, &mut self.run, &self.halted)
        {
            // The person has looked at the owners that had not recovered, and not only ended a stop.
            run.owing.clear();
        }
        let mut unheard = RunLog::default();
        let log = self.run.as_mut().map_or(&mut unheard, |run| &mut run.log);
        match event {
            InterruptionEvent::Halted { reasons } => {
                self.halted = Some(Since { value: reasons.clone(), since: at });
                log.interrupt(InterruptionKind::Halt, text::causes(reasons), at);
            }
            InterruptionEvent::Resumed { by, reason, note } => {
                self.halted = None;
                self.resumed_by = note.clone().or(self.resumed_by.take());
                let said = text::said(by, reason);
                log.interruption_ended(InterruptionKind::Halt, Some(&said), at);
                log.stop_explained(&said, at);
            }
            InterruptionEvent::Stopped { by, reason } => {
                let since = self.stopped.as_ref().map_or(at, |stopped| stopped.since);
                if self.stopped.is_some() {
                    log.stop_reworded(&text::said(by, reason));
                } else {
                    log.interrupt(InterruptionKind::Stop, text::said(by, reason), at);
                }
                self.stopped = Some(Since { value: reason.clone(), since });
                self.stopped_by = Some(by.clone());
            }
            InterruptionEvent::StopEnded => {
                self.stopped = None;
                self.stopped_by = None;
                log.interruption_ended(InterruptionKind::Stop, None, at);
            }
        }
    }

    fn end_run(&mut self, at: Timestamp, outcome: RunOutcome, reasons: &[Reason]) {
        let Some(run) = self.run.take() else { return };
        let ended = |want: fn(&StepEnd) -> bool| {
            text::count(run.steps.values().filter(|step| step.end.as_ref().is_some_and(want)).count())
        };
        self.ended.push(EndedRun {
            halts: run.log.halts(),
            steps_done: ended(|end| matches!(end, StepEnd::Done)),
            set_aside: ended(|end| matches!(end, StepEnd::SetAside { .. })),
            failed: ended(|end| matches!(end, StepEnd::Failed(_))),
            run: run.id,
            commit: run.commit,
            from: run.from,
            to: run.to,
            digest: run.digest,
            started: run.started,
            ended: at,
            outcome,
            reasons: reasons.to_vec(),
            rollback_point: run.rollback_point,
        });
    }
}
