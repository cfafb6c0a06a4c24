//! Reads the files of one cluster back into its record and checks all of them. Windlass does not act on a record that
//! it does not understand completely, because a step that it missed would be carried out twice.

use std::collections::BTreeMap;

use super::layout::{self, PathMeaning};
use super::sentence::step_of;
use super::yaml::{self, YamlError};
use super::{Record, Run};
use super::{older, plan_file};
use crate::model::entry::{Entry, RunEvent, What};
use crate::model::plan::Plan;

/// How many threads parse entries. A year of a large cluster is some 20,000 files of 30 µs each, read at every start.
const READERS: usize = 4;
/// The fewest files that are worth a thread.
const SHARE: usize = 500;

/// Why a record cannot be used. Each error names the file; a person has to look at it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("reading {path}")]
    Unreadable { path: String, source: YamlError },
    #[error(
        "{path} was written by a development version of Windlass, before the format was fixed: delete the status \
         branch to begin a new record, or use that version"
    )]
    OlderFormat { path: String },
    #[error("{path} is not part of a record: only the daemon writes below this folder")]
    Stray { path: String },
    #[error("{path} does not lie below the folder of cluster {cluster}")]
    Elsewhere { path: String, cluster: String },
    #[error("{path} holds entry {seq} of {owner}, which belongs into {expected}")]
    Misplaced { path: String, seq: u64, owner: String, expected: String },
    #[error("entry {missing} is missing from the journal: the next one that is there is {path}")]
    Gap { missing: u64, path: String },
    #[error("entry {seq} is there twice: {path} and {other}")]
    Twice { seq: u64, path: String, other: String },
    #[error("{path} starts run {run}, whose frozen plan {plan} is missing")]
    NoPlan { path: String, run: String, plan: String },
    #[error("{plan} has the digest {found}, but {path} started its run with {expected}")]
    OtherPlan { path: String, plan: String, found: String, expected: String },
    #[error("{path} starts a run and does not say which")]
    NamelessRun { path: String },
    #[error("{path} belongs to run {run}, which is not in progress there")]
    NotInProgress { path: String, run: String },
    #[error("{path} tells of step {step}, which is not in {plan}")]
    UnknownStep { path: String, step: String, plan: String },
}

/// The record from all files below the cluster's folder of the status branch; paths are relative to the top of the
/// branch.
///
/// Without any file the record is empty: the status branch may be deleted at any time.
pub fn read(cluster: &str, files: &BTreeMap<String, String>) -> Result<Record, ReadError> {
    let mut record = Record::default();
    for (path, entry) in entries(cluster, files)? {
        let plan = plan_of(cluster, files, path, &entry)?;
        require_in_progress(cluster, path, &entry, record.run.as_ref())?;
        record.apply(&entry, plan.as_ref());
    }
    Ok(record)
}

/// Every entry of a cluster in order, for pages that show the whole journal.
pub fn journal(cluster: &str, files: &BTreeMap<String, String>) -> Result<Vec<Entry>, ReadError> {
    Ok(entries(cluster, files)?.into_iter().map(|(_, entry)| entry).collect())
}

type FiledEntry<'a> = (&'a str, Entry);

fn entries<'a>(cluster: &str, files: &'a BTreeMap<String, String>) -> Result<Vec<FiledEntry<'a>>, ReadError> {
    let mut texts: Vec<(&str, &str)> = Vec::new();
    for (path, text) in files {
        match layout::meaning_of(cluster, path) {
            PathMeaning::Entry => texts.push((path, text)),
            PathMeaning::Plan { .. } | PathMeaning::Page => {}
            PathMeaning::Stray => return Err(ReadError::Stray { path: path.clone() }),
            PathMeaning::Elsewhere => {
                return Err(ReadError::Elsewhere { path: path.clone(), cluster: cluster.to_owned() });
            }
        }
    }
    in_order(parse(cluster, &texts)?)
}

/// Parses the entries on several threads. Which error is returned does not depend on which thread is faster.
fn parse<'a>(cluster: &str, texts: &[(&'a str, &'a str)]) -> Result<Vec<FiledEntry<'a>>, ReadError> {
    let share = texts.len().div_ceil(READERS).max(SHARE);
    let read = |texts: &[(&'a str, &'a str)]| -> Result<Vec<FiledEntry<'a>>, ReadError> {
        texts.iter().map(|(path, text)| Ok((*path, one(cluster, path, text)?))).collect()
    };
    if texts.len() <= share {
        return read(texts);
    }
    std::thread::scope(|scope| {
        let parts: Vec<_> = texts.chunks(share).map(|part| scope.spawn(move || read(part))).collect();
        let mut whole = Vec::with_capacity(texts.len());
        for part in parts {
            match part.join() {
                Ok(part) => whole.extend(part?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(whole)
    })
}

/// Sorts the entries by number. Refuses a missing number and a number that is there twice.
fn in_order(entries: Vec<FiledEntry<'_>>) -> Result<Vec<FiledEntry<'_>>, ReadError> {
    let mut found: BTreeMap<u64, FiledEntry<'_>> = BTreeMap::new();
    for (path, entry) in entries {
        let seq = entry.seq;
        if let Some((other, _)) = found.insert(seq, (path, entry)) {
            return Err(ReadError::Twice { seq, path: path.to_owned(), other: other.to_owned() });
        }
    }
    for (expected, (seq, (path, _))) in (0_u64..).zip(&found) {
        if expected != *seq {
            return Err(ReadError::Gap { missing: expected, path: (*path).to_owned() });
        }
    }
    Ok(found.into_values().collect())
}

fn one(cluster: &str, path: &str, text: &str) -> Result<Entry, ReadError> {
    let entry: Entry = yaml::typed(text).map_err(|source| {
        let path = path.to_owned();
        if older::is_entry(text) {
            ReadError::OlderFormat { path }
        } else {
            ReadError::Unreadable { path, source }
        }
    })?;
    let expected = layout::entry_path(cluster, entry.run.as_deref(), entry.seq);
    if expected == path {
        return Ok(entry);
    }
    let owner = entry.run.map_or_else(|| format!("cluster {cluster}"), |run| format!("run {run}"));
    Err(ReadError::Misplaced { path: path.to_owned(), seq: entry.seq, owner, expected })
}

/// The frozen plan of a run that starts here; its digest must be the one in the entry.
fn plan_of(
    cluster: &str,
    files: &BTreeMap<String, String>,
    path: &str,
    entry: &Entry,
) -> Result<Option<Plan>, ReadError> {
    let What::Run(RunEvent::Started { digest, .. }) = &entry.what else { return Ok(None) };
    let Some(run) = &entry.run else { return Err(ReadError::NamelessRun { path: path.to_owned() }) };
    let place = layout::plan_path(cluster, run);
    let Some(text) = files.get(&place) else {
        return Err(ReadError::NoPlan { path: path.to_owned(), run: run.clone(), plan: place });
    };
    let plan = plan_file::read_plan(text).map_err(|source| {
        let path = place.clone();
        if older::is_plan(text) {
            ReadError::OlderFormat { path }
        } else {
            ReadError::Unreadable { path, source }
        }
    })?;
    if plan.digest == *digest {
        return Ok(Some(plan));
    }
    Err(ReadError::OtherPlan {
        path: path.to_owned(),
        plan: place,
        found: plan.digest,
        expected: digest.clone(),
    })
}

/// Refuses an entry about a step of a run that is not in progress or has another plan: the fold would drop it
/// silently.
fn require_in_progress(
    cluster: &str,
    path: &str,
    entry: &Entry,
    current: Option<&Run>,
) -> Result<(), ReadError> {
    let next = match &entry.what {
        What::Run(RunEvent::Next { steps }) => steps.as_slice(),
        What::Run(_) | What::Step(..) | What::Cluster(_) | What::Commit(_) | What::Interruption(_) => &[],
    };
    let mut steps = step_of(&entry.what).into_iter().chain(next).peekable();
    if steps.peek().is_none() {
        return Ok(());
    }
    let path = path.to_owned();
    let Some(run) = current.filter(|run| entry.run.as_ref() == Some(&run.id)) else {
        let run = entry.run.clone().unwrap_or_else(|| "(none)".to_owned());
        return Err(ReadError::NotInProgress { path, run });
    };
    let Some(step) = steps.find(|step| run.find(step).is_none()) else { return Ok(()) };
    Err(ReadError::UnknownStep { path, step: step.to_string(), plan: layout::plan_path(cluster, &run.id) })
}
