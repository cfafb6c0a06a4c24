//! `windlass history`: the runs that have ended, or every entry of one run as a sentence. Pure rendering of what
//! the record holds; loading it belongs to the caller.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::status::Output;
use crate::model::entry::Entry;
use crate::record::text::{length, minute, outcome, second};
use crate::record::{EndedRun, Record, sentence};

/// Show the runs that have ended, or with --run everything that one of them did.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The cluster to show; all of them if none is named.
    #[arg(value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Tell one run, entry by entry.
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// How to show it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("there is no run {run}; the runs are: {known}")]
    UnknownRun { run: String, known: String },
    #[error("writing the history as JSON")]
    Json(#[source] serde_json::Error),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    cluster: &'a str,
    run: &'a str,
    commit: &'a str,
    from: String,
    to: String,
    started: Timestamp,
    ended: Option<Timestamp>,
    /// `inProgress` for the run that has not ended.
    outcome: &'static str,
    steps_done: u32,
    set_aside: u32,
    failed: u32,
    digest: &'a str,
}

#[derive(Serialize)]
struct Told<'a> {
    cluster: &'a str,
    sentence: String,
    entry: &'a Entry,
}

/// The table of runs, newest first; the one in progress is among them.
pub fn render_runs(records: &BTreeMap<String, Record>, output: Output) -> Result<String, HistoryError> {
    let mut rows: Vec<Row<'_>> = records.iter().flat_map(|(cluster, record)| rows(cluster, record)).collect();
    rows.sort_by(|a, b| (b.started, a.cluster).cmp(&(a.started, b.cluster)));
    match output {
        Output::Json => json(&rows),
        Output::Text if rows.is_empty() => Ok("no run is recorded\n".to_owned()),
        Output::Text => Ok(table(&rows)),
    }
}

/// Every entry of one run, of whichever of these clusters has it.
///
/// Entries between runs are not part of any; those that were written while the run was in progress are told too,
/// because a stop or a refused commit is part of its story.
pub fn render_run(
    journals: &BTreeMap<String, Vec<Entry>>,
    run: &str,
    output: Output,
) -> Result<String, HistoryError> {
    let told: Vec<Told<'_>> =
        journals.iter().flat_map(|(cluster, entries)| story(cluster, entries, run)).collect();
    if told.is_empty() {
        return Err(HistoryError::UnknownRun { run: run.to_owned(), known: known(journals) });
    }
    match output {
        Output::Json => json(&told),
        Output::Text => Ok(told.iter().fold(String::new(), |mut page, told| {
            let entry = told.entry;
            let _ =
                writeln!(page, "{}  {:>6}  {}: {}", second(entry.at), entry.seq, told.cluster, told.sentence);
            page
        })),
    }
}

fn rows<'a>(cluster: &'a str, record: &'a Record) -> Vec<Row<'a>> {
    let ended = record.ended.iter().map(|run| ended_row(cluster, run));
    let current = record.run.iter().map(|run| {
        let counts = crate::record::status(cluster, record).run.map(|run| run.counts).unwrap_or_default();
        let done = run.steps.values().filter(|step| step.end == Some(crate::record::StepEnd::Done)).count();
        Row {
            cluster,
            run: &run.id,
            commit: &run.commit.0,
            from: run.from.to_string(),
            to: run.to.to_string(),
            started: run.started,
            ended: None,
            outcome: "inProgress",
            steps_done: crate::record::text::count(done),
            set_aside: counts.set_aside,
            failed: counts.failed,
            digest: &run.digest,
        }
    });
    ended.chain(current).collect()
}

fn ended_row<'a>(cluster: &'a str, run: &'a EndedRun) -> Row<'a> {
    Row {
        cluster,
        run: &run.run,
        commit: &run.commit.0,
        from: run.from.to_string(),
        to: run.to.to_string(),
        started: run.started,
        ended: Some(run.ended),
        outcome: outcome(run.outcome),
        steps_done: run.steps_done,
        set_aside: run.set_aside,
        failed: run.failed,
        digest: &run.digest,
    }
}

fn table(rows: &[Row<'_>]) -> String {
    let heads = ["CLUSTER", "RUN", "FROM", "TO", "STARTED", "TOOK", "OUTCOME", "DONE", "ASIDE", "FAILED"];
    let mut cells: Vec<Vec<String>> = vec![heads.iter().map(|head| (*head).to_owned()).collect()];
    for row in rows {
        let took =
            row.ended.map_or_else(|| "–".to_owned(), |ended| length(ended.duration_since(row.started)));
        let outcome = if row.ended.is_none() { "in progress" } else { row.outcome };
        cells.push(vec![
            row.cluster.to_owned(),
            row.run.to_owned(),
            row.from.clone(),
            row.to.clone(),
            minute(row.started),
            took,
            outcome.to_owned(),
            row.steps_done.to_string(),
            row.set_aside.to_string(),
            row.failed.to_string(),
        ]);
    }
    columns(&cells)
}

fn columns(cells: &[Vec<String>]) -> String {
    let width = |column: usize| {
        cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut page = String::new();
    for row in cells {
        let padded: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column)))
            .collect();
        let _ = writeln!(page, "{}", padded.join("  ").trim_end());
    }
    page
}

/// From the entry that starts the run to the one that ends it.
fn story<'a>(cluster: &'a str, entries: &'a [Entry], run: &str) -> Vec<Told<'a>> {
    let of_run = |entry: &Entry| entry.run.as_deref() == Some(run);
    let (Some(first), Some(last)) = (entries.iter().position(of_run), entries.iter().rposition(of_run))
    else {
        return Vec::new();
    };
    let span = entries.get(first..=last).unwrap_or_default();
    span.iter().map(|entry| Told { cluster, sentence: sentence(entry), entry }).collect()
}

fn known(journals: &BTreeMap<String, Vec<Entry>>) -> String {
    let mut runs: Vec<&str> = journals.values().flatten().filter_map(|entry| entry.run.as_deref()).collect();
    runs.dedup();
    if runs.is_empty() { "none".to_owned() } else { runs.join(", ") }
}

fn json<T: Serialize>(value: &T) -> Result<String, HistoryError> {
    let mut text = serde_json::to_string_pretty(value).map_err(HistoryError::Json)?;
    text.push('\n');
    Ok(text)
}
