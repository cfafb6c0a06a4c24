//! `windlass windows`: when each cluster may be disrupted next, what is frozen, and what is suspicious about it.
//! It shows what the policies say and nothing of what a cluster does; loading them is somebody else's.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::gate::{Calendar, Lint, Span, Stretch, in_force, lints, openings, subtract, zone_name};
use crate::model::desired::{Freeze, Policies};

/// Drain, upgrade and settling of one lightly loaded node; an opening that is shorter will hardly finish any.
const ONE_NODE: SignedDuration = SignedDuration::from_mins(15);

/// Show the next openings of the maintenance windows, the freezes that overlap them, and what looks wrong.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The repository with the clusters and policies.
    #[arg(value_name = "PATH", default_value = ".")]
    pub path: PathBuf,
    /// From when on: RFC 3339, or a date, which means its midnight in UTC [default: now].
    #[arg(long, value_name = "TIME", value_parser = parse_from)]
    pub from: Option<Timestamp>,
    /// How many days of beginnings to show, up to 400.
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=400))]
    pub days: u16,
    /// How to show them.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table, with the local times of each window's zone beside UTC.
    Text,
    /// For machines; all times in UTC.
    Json,
}

/// The whole answer; the shape is what `-o json` prints.
#[derive(Debug, Serialize)]
struct Answer {
    openings: Vec<Row>,
    lints: Vec<Finding>,
}

/// One opening of one cluster. It is shown whole, even where a freeze overlaps it or `--from` lies inside it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    window: String,
    cluster: String,
    /// Nothing for `opens: always`, which never began.
    opens: Option<Timestamp>,
    /// Nothing for `opens: always`, which never ends.
    closes: Option<Timestamp>,
    frozen_by: Vec<String>,
    #[serde(skip)]
    time_zone: TimeZone,
    #[serde(skip)]
    frozen: String,
}

#[derive(Debug, Serialize)]
struct Finding {
    lint: &'static str,
    object: String,
    text: String,
}

/// Prints the answer; `now` stands in for a missing `--from`.
pub fn run(
    args: &Args,
    policies: &Policies,
    clusters: &[(String, BTreeMap<String, String>)],
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let from = args.from.unwrap_or(now);
    let days = SignedDuration::from_hours(24 * i64::from(args.days));
    let until = from.checked_add(days).with_context(|| format!("--from {from} leaves no room for --days"))?;
    let answer = Answer {
        openings: rows(policies, clusters, from, until),
        lints: lints(policies, clusters, ONE_NODE, from).into_iter().map(Finding::from).collect(),
    };
    match args.output {
        Output::Text => write_text(&answer, args.days, out),
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, &answer).context("writing the openings")?;
            writeln!(out).context("writing the openings")
        }
    }
}

/// Reads `--from`; clap puts the flag and the value before the message.
fn parse_from(text: &str) -> Result<Timestamp, String> {
    let midnight = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let is_date = text.len() == "2026-12-24".len();
    let read = if is_date { midnight() } else { text.parse().ok() };
    read.ok_or_else(|| "expected RFC 3339, as 2026-12-24T22:00:00Z, or a date, as 2026-12-24".to_owned())
}

/// One row per cluster and opening: those without a beginning first, then by time, cluster and window.
fn rows(
    policies: &Policies,
    clusters: &[(String, BTreeMap<String, String>)],
    from: Timestamp,
    until: Timestamp,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (cluster, labels) in clusters {
        let calendar = Calendar::of(policies, labels, cluster);
        for window in calendar.windows() {
            let spans = openings(window, from, until);
            rows.extend(spans.iter().map(|span| row(span, cluster, &window.time_zone, &calendar, from)));
        }
    }
    rows.sort_by(|a, b| (a.opens, &a.cluster, &a.window).cmp(&(b.opens, &b.cluster, &b.window)));
    rows
}

fn row(span: &Span, cluster: &str, time_zone: &TimeZone, calendar: &Calendar<'_>, from: Timestamp) -> Row {
    // Of an opening without a beginning, what froze it in the past is of no interest.
    let stretch = span.stretch();
    let stretch = if span.is_always() { Stretch { from, ..stretch } } else { stretch };
    let overlapping: Vec<&Freeze> =
        calendar.freezes().filter(|freeze| in_force(freeze).overlaps(stretch)).collect();
    let bound = |at| (!span.is_always()).then_some(at);
    Row {
        window: span.window.clone(),
        cluster: cluster.to_owned(),
        opens: bound(span.opens),
        closes: bound(span.closes),
        frozen: how_frozen(span, &overlapping),
        frozen_by: overlapping.into_iter().map(|freeze| freeze.name.clone()).collect(),
        time_zone: time_zone.clone(),
    }
}

/// How much of an opening freezes take away, and which; empty where none does.
fn how_frozen(span: &Span, overlapping: &[&Freeze]) -> String {
    if overlapping.is_empty() {
        return String::new();
    }
    let frozen: Vec<_> = overlapping.iter().map(|freeze| in_force(freeze)).collect();
    let share = if subtract(&[span.stretch()], &frozen).is_empty() { "wholly" } else { "partly" };
    let name = |freeze: &&Freeze| {
        let passing = if freeze.except_patch { " (patch moves pass)" } else { "" };
        format!("{}{passing}", freeze.name)
    };
    format!("{share}: {}", overlapping.iter().map(name).collect::<Vec<_>>().join(", "))
}

fn write_text(answer: &Answer, days: u16, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table: Vec<Vec<String>> =
        vec![["CLUSTER", "WINDOW", "OPENS", "CLOSES", "ZONE", "UTC", "FROZEN"].map(str::to_owned).to_vec()];
    table.extend(answer.openings.iter().map(cells));
    if answer.openings.is_empty() {
        let plural = if days == 1 { "" } else { "s" };
        writeln!(out, "no opening in {days} day{plural}").context("writing the openings")?;
    } else {
        write_table(&table, out).context("writing the openings")?;
    }
    for (index, lint) in answer.lints.iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        writeln!(out, "{gap}lint: {}: {} [{}]", lint.object, lint.text, lint.lint)
            .context("writing the lints")?;
    }
    Ok(())
}

fn cells(row: &Row) -> Vec<String> {
    let (opens, closes, utc) = match (row.opens, row.closes) {
        (Some(opens), Some(closes)) => (
            shown(opens, &row.time_zone),
            shown(closes, &row.time_zone),
            format!("{} to {}", opens.strftime("%m-%d %H:%M"), closes.strftime("%m-%d %H:%M")),
        ),
        (_, _) => ("always".to_owned(), "never".to_owned(), "always".to_owned()),
    };
    vec![
        row.cluster.clone(),
        row.window.clone(),
        opens,
        closes,
        zone_name(&row.time_zone),
        utc,
        row.frozen.clone(),
    ]
}

/// With the offset, or the two 02:30 of the day on which clocks go back would look alike.
fn shown(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %:z").to_string()
}

fn write_table(table: &[Vec<String>], out: &mut dyn Write) -> std::io::Result<()> {
    let mut widths: Vec<usize> = Vec::new();
    for line in table {
        widths.resize(widths.len().max(line.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in table {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

impl From<Lint> for Finding {
    fn from(lint: Lint) -> Self {
        Self { lint: lint.kind.as_str(), object: lint.object, text: lint.text }
    }
}
