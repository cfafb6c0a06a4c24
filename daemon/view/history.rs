//! What was done: the runs of all clusters as a table, or every entry of one run as a sentence.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::Page;
use super::ink::{Ink, Tone};
use super::standing::Exit;
use super::table::{Row, painted};
use crate::model::CommitId;
use crate::model::entry::Entry;
use crate::model::text::{count, length, minute, second};
use crate::model::version::Version;
use crate::record::text::outcome;
use crate::record::{EndedRun, Record, Run, StepEnd, sentence, status};

/// The runs, newest first, those in progress included.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct RunsPage {
    pub runs: Vec<RunRow>,
    /// Where a record was looked for; `None` if there is one.
    #[serde(skip)]
    nowhere: Option<String>,
}

/// One run of one cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRow {
    pub cluster: String,
    pub run: String,
    pub commit: CommitId,
    pub from: Version,
    pub to: Version,
    pub started: Timestamp,
    /// `None` for a run in progress.
    pub ended: Option<Timestamp>,
    /// `inProgress` for a run that has not ended.
    pub outcome: &'static str,
    /// The control plane components and the kubelet of a control plane node are two steps.
    pub steps_done: u32,
    pub set_aside: u32,
    pub failed: u32,
    /// How often it halted.
    pub halts: u32,
    pub digest: String,
}

/// One run, entry by entry.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct StoryPage {
    pub entries: Vec<StoryEntry>,
}

/// One entry of a journal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoryEntry {
    pub cluster: String,
    pub sentence: String,
    /// The entry as the journal has it.
    pub entry: Entry,
}

#[derive(Debug, thiserror::Error)]
#[error("there is no run {run}; the runs are: {known}")]
pub struct UnknownRun {
    pub run: String,
    pub known: String,
}

impl RunsPage {
    pub fn of(records: &BTreeMap<String, Record>) -> Self {
        let all = records.iter().flat_map(|(cluster, record)| {
            let ended = record.ended.iter().map(|run| RunRow::ended(cluster, run));
            ended.chain(record.run.iter().map(|run| RunRow::in_progress(cluster, record, run)))
        });
        let mut runs: Vec<RunRow> = all.collect();
        runs.sort_by(|a, b| (b.started, &a.cluster).cmp(&(a.started, &b.cluster)));
        Self { runs, nowhere: None }
    }

    /// The page of a repository without a record at this place.
    pub fn nowhere(place: &str) -> Self {
        Self { runs: Vec::new(), nowhere: Some(place.to_owned()) }
    }

    /// Runs, or none: both are answers. Without a record nothing is known.
    pub fn exit(&self) -> Exit {
        if self.nowhere.is_some() { Exit::NotYet } else { Exit::Done }
    }
}

impl Page for RunsPage {
    fn draw(&self, ink: Ink) -> String {
        if let Some(place) = &self.nowhere {
            return format!("there is no record on {place} yet\n");
        }
        if self.runs.is_empty() {
            return "no run is recorded\n".to_owned();
        }
        let heads = [
            "CLUSTER",
            "RUN",
            "FROM",
            "TO",
            "STARTED",
            "TOOK",
            "OUTCOME",
            "STEPS",
            "SET ASIDE",
            "FAILED",
            "HALTS",
        ];
        let row = |run: &RunRow| Row { cells: run.words(), tones: run.tones() };
        painted(heads, self.runs.iter().map(row).collect(), ink)
    }
}

impl RunRow {
    fn ended(cluster: &str, run: &EndedRun) -> Self {
        Self {
            cluster: cluster.to_owned(),
            run: run.run.clone(),
            commit: run.commit.clone(),
            from: run.from.clone(),
            to: run.to.clone(),
            started: run.started,
            ended: Some(run.ended),
            outcome: outcome(run.outcome),
            steps_done: run.steps_done,
            set_aside: run.set_aside,
            failed: run.failed,
            halts: run.halts,
            digest: run.digest.clone(),
        }
    }

    fn in_progress(cluster: &str, record: &Record, run: &Run) -> Self {
        let counts = status(cluster, record).run.map(|run| run.counts).unwrap_or_default();
        let done = run.steps.values().filter(|step| step.end == Some(StepEnd::Done));
        Self {
            cluster: cluster.to_owned(),
            run: run.id.clone(),
            commit: run.commit.clone(),
            from: run.from.clone(),
            to: run.to.clone(),
            started: run.started,
            ended: None,
            outcome: "inProgress",
            steps_done: count(done.count()),
            set_aside: counts.set_aside,
            failed: counts.failed,
            halts: run.log.halts(),
            digest: run.digest.clone(),
        }
    }

    fn tones(&self) -> [Tone; 11] {
        let mut tones = [Tone::Plain; 11];
        tones[6] = match self.ended {
            None => Tone::Wait,
            Some(_) if self.failed > 0 => Tone::Bad,
            Some(_) => Tone::Good,
        };
        tones
    }

    fn words(&self) -> [String; 11] {
        let took = self.ended.map(|ended| length(ended.duration_since(self.started)));
        let outcome = if self.ended.is_none() { "in progress" } else { self.outcome };
        [
            self.cluster.clone(),
            self.run.clone(),
            self.from.to_string(),
            self.to.to_string(),
            minute(self.started),
            took.unwrap_or_else(|| "–".to_owned()),
            outcome.to_owned(),
            self.steps_done.to_string(),
            self.set_aside.to_string(),
            self.failed.to_string(),
            self.halts.to_string(),
        ]
    }
}

impl StoryPage {
    /// Every entry of one run, of the cluster that has this run.
    ///
    /// Entries between runs belong to none. Entries that were written while the run was in progress are included,
    /// because a stop or a refused commit is part of its history.
    pub fn of(journals: &BTreeMap<String, Vec<Entry>>, run: &str) -> Result<Self, UnknownRun> {
        let all = journals.iter().flat_map(|(cluster, entries)| {
            entries_of(entries, run).iter().map(|entry| StoryEntry {
                cluster: cluster.clone(),
                sentence: sentence(entry),
                entry: entry.clone(),
            })
        });
        let entries: Vec<StoryEntry> = all.collect();
        if entries.is_empty() {
            return Err(UnknownRun { run: run.to_owned(), known: known(journals) });
        }
        Ok(Self { entries })
    }
}

impl Page for StoryPage {
    fn draw(&self, _: Ink) -> String {
        self.entries.iter().fold(String::new(), |mut page, told| {
            let Entry { at, seq, .. } = &told.entry;
            let _ = writeln!(page, "{}  {seq:>6}  {}: {}", second(*at), told.cluster, told.sentence);
            page
        })
    }
}

/// From the entry that starts the run to the one that ends it.
fn entries_of<'a>(entries: &'a [Entry], run: &str) -> &'a [Entry] {
    let of_run = |entry: &Entry| entry.run.as_deref() == Some(run);
    match (entries.iter().position(of_run), entries.iter().rposition(of_run)) {
        (Some(first), Some(last)) => entries.get(first..=last).unwrap_or_default(),
        (_, _) => &[],
    }
}

fn known(journals: &BTreeMap<String, Vec<Entry>>) -> String {
    let mut runs: Vec<&str> = journals.values().flatten().filter_map(|entry| entry.run.as_deref()).collect();
    runs.dedup();
    if runs.is_empty() { "none".to_owned() } else { runs.join(", ") }
}
