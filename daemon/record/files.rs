//! The files that one commit adds to the status branch. Equal records and entries give equal bytes.

use std::collections::BTreeMap;

use super::yaml::{self, YamlError};
use super::{Record, Run, layout, plan_file, report, rollback, status};
use crate::model::entry::{Entry, RunEvent, What};
use crate::model::plan::Plan;

/// Why no commit can be made of these entries: the record could not be read back from it.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("writing {path}")]
    Unwritable { path: String, source: YamlError },
    #[error("entry {seq} starts a run, and its plan is not there to be frozen")]
    NoPlan { seq: u64 },
    #[error("entry {seq} starts or ends a run and does not say which")]
    NamelessRun { seq: u64 },
    #[error("entry {seq} ends run {run}, which is not there to be reported on")]
    NoRun { seq: u64, run: String },
}

/// Applies entries in order. Returns the run as it was just before it ended, if one of them ends it.
pub fn advance(record: &mut Record, entries: &[Entry], plan: Option<&Plan>) -> Option<Run> {
    let mut ended = None;
    for entry in entries {
        if matches!(entry.what, What::Run(RunEvent::Ended { .. })) {
            ended = record.run.clone().or(ended);
        }
        record.apply(entry, plan);
    }
    ended
}

/// The files of one commit: the entries, the status after them, and the files that single entries need.
///
/// `after` is the record with the entries applied; `plan` is the plan that a `RunEvent::Started` among them freezes;
/// `ended` is the run just before a `RunEvent::Ended` among them, as [`advance`] returns it.
pub fn files(
    cluster: &str,
    entries: &[Entry],
    after: &Record,
    plan: Option<&Plan>,
    ended: Option<&Run>,
) -> Result<BTreeMap<String, Vec<u8>>, WriteError> {
    let mut files = Files::default();
    for entry in entries {
        let seq = entry.seq;
        files.yaml(layout::entry_path(cluster, entry.run.as_deref(), seq), entry)?;
        let event = match &entry.what {
            What::Run(event) => event,
            What::Cluster(_) | What::Commit(_) | What::Step(..) | What::Interruption(_) => continue,
        };
        match event {
            RunEvent::Started { .. } => {
                let run = entry.run.as_deref().ok_or(WriteError::NamelessRun { seq })?;
                let plan = plan_file::write_plan(plan.ok_or(WriteError::NoPlan { seq })?);
                files.written(layout::plan_path(cluster, run), plan)?;
            }
            RunEvent::RollbackPoint { id } => {
                if let Some(run) = after.run.as_ref().or(ended) {
                    let point = rollback::from_plan(id, run, entry.at);
                    files.yaml(layout::rollback_point_path(cluster, id), &point)?;
                }
            }
            RunEvent::Tainting { .. }
            | RunEvent::Untainted { .. }
            | RunEvent::Next { .. }
            | RunEvent::Ahead { .. }
            | RunEvent::Landed { .. } => {}
            RunEvent::Ended { outcome, reasons } => {
                let id = entry.run.as_deref().ok_or(WriteError::NamelessRun { seq })?;
                let run = ended
                    .filter(|run| run.id == id)
                    .ok_or_else(|| WriteError::NoRun { seq, run: id.to_owned() })?;
                let report = report::report(cluster, run, *outcome, reasons, entry.at);
                files.text(layout::report_path(cluster, id), report);
            }
        }
    }
    files.yaml(layout::status_path(cluster), &status::status(cluster, after))?;
    Ok(files.0)
}

#[derive(Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn text(&mut self, path: String, text: String) {
        self.0.insert(path, text.into_bytes());
    }

    fn yaml<T: serde::Serialize>(&mut self, path: String, value: &T) -> Result<(), WriteError> {
        self.written(path, yaml::write(value))
    }

    fn written(&mut self, path: String, text: Result<String, YamlError>) -> Result<(), WriteError> {
        match text {
            Ok(text) => {
                self.text(path, text);
                Ok(())
            }
            Err(source) => Err(WriteError::Unwritable { path, source }),
        }
    }
}
