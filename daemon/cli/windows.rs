//! `windlass windows`: the policies of a folder or of a commit, as a calendar.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::source::{Revision, unknown};
use super::{Output, validate};
use crate::config::Environment;
use crate::desired::{self, Loaded};
use crate::model::CommitId;
use crate::model::desired::Policies;
use crate::model::text::plural;
use crate::view::ink::Ink;
use crate::view::windows::WindowsPage;

/// Show when each cluster may be disrupted next, what is frozen, and what looks wrong
///
/// Reads the files on disk; with --repo, --rev, --branch or --config those of a commit.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass windows
  windlass windows prod-eu --repo https://git.example.com/fleet.git
  windlass windows --from 2026-12-20 --days 30
  windlass windows --rev my-branch")]
pub struct Args {
    /// The cluster to show [default: all of them]
    #[arg(value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// The first moment to show: RFC 3339, or a date, which means its midnight in UTC [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_from)]
    pub from: Option<Timestamp>,
    /// How many days to show, 1 to 400
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=400))]
    pub days: u16,
    /// The format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(flatten)]
    revision: Revision,
}

pub fn run(
    args: &Args,
    environment: &Environment,
    now: Timestamp,
    ink: Ink,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let here = Path::new(".");
    let loaded: Loaded = if let Some(source) = args.revision.source(here, environment)? {
        source.load(args.revision.rev.as_deref())?
    } else {
        let files = validate::work_tree(&args.revision.folder(here))?;
        desired::load(&CommitId("work tree".to_owned()), &files)
    };
    let (named, clusters) = (args.cluster.as_deref(), &loaded.clusters);
    if let Some(cluster) = named.filter(|cluster| !clusters.contains_key(*cluster)) {
        let folder = Path::new(cluster).is_dir();
        let hint = if folder { format!("; for a folder write `--repo {cluster}`") } else { String::new() };
        bail!("{}{hint}", unknown("the desired state", cluster, clusters.keys().map(String::as_str)));
    }
    let shown = clusters.iter().filter(|(name, _)| named.is_none_or(|named| named == *name));
    let valid: Vec<(String, BTreeMap<String, String>)> = shown
        .filter_map(|(name, desired)| Some((name.clone(), desired.as_ref().ok()?.cluster.labels.clone())))
        .collect();
    let problems = plural(loaded.problems.len(), "problem");
    if valid.is_empty() {
        let what = named.unwrap_or("cluster");
        bail!("there is no valid {what} below desired-state/ ({problems}); `windlass validate` shows them");
    }
    super::write(&page(args, &loaded.policies, &valid, now)?, args.output, ink, out)?;
    if !loaded.problems.is_empty() {
        tracing::warn!("files that are not valid were left out ({problems}); `windlass validate` shows them");
    }
    Ok(0)
}

/// The page; `now` is used if `--from` is missing.
pub fn page(
    args: &Args,
    policies: &Policies,
    clusters: &[(String, BTreeMap<String, String>)],
    now: Timestamp,
) -> anyhow::Result<WindowsPage> {
    let from = args.from.unwrap_or(now);
    let page = WindowsPage::of(policies, clusters, from, args.days);
    page.with_context(|| format!("--from {from} leaves no room for --days"))
}

/// Reads `--from`; clap puts the flag and the value before the message.
fn parse_from(text: &str) -> Result<Timestamp, String> {
    let midnight = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let is_date = text.len() == "2026-12-24".len();
    let read = if is_date { midnight() } else { text.parse().ok() };
    read.ok_or_else(|| "expected RFC 3339, as 2026-12-24T22:00:00Z, or a date, as 2026-12-24".to_owned())
}
