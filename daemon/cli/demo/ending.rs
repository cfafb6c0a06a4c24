//! The last page: what git has recorded, what the simulated cluster counted, and where to look closer.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

use super::page::DemoPage;
use super::world;
use crate::git::{self, CommitInfo, DEFAULT_RECORD_BRANCH, Repository};
use crate::model::text::plural;
use crate::record::RunStatus;
use crate::sim::{Audit, Server};
use crate::view::ink::Tone;

/// How many commits are shown; the others are counted.
const COMMITS: usize = 10;
/// How many lines of the report are shown: its table.
const REPORT_LINES: usize = 12;
/// How many workloads one line names.
const NAMED: usize = 4;

/// What the record's branch has at the end.
pub(super) struct Recorded {
    commits: Vec<CommitInfo>,
    all: usize,
    /// Path and text of the report.
    report: Option<(String, String)>,
}

impl Recorded {
    pub(super) fn has_report(&self) -> bool {
        self.report.is_some()
    }
}

/// More commits than a demo makes.
const MOST: usize = 10_000;

/// Reads the record's branch; blocking.
pub(super) fn recorded(settings: git::Settings, cluster: &str, run: &str) -> anyhow::Result<Recorded> {
    let mut repository = Repository::open(settings)?;
    let tip = repository.fetch()?.record.context("the record's branch is not there")?;
    let commits = repository.log(&tip, MOST)?;
    let folder = format!("{cluster}/runs/{run}");
    let files = repository.read_record(&tip, &folder)?;
    let report = files.into_iter().find(|(path, _)| path.ends_with("/report.md"));
    Ok(Recorded { all: commits.len(), commits: commits.into_iter().take(COMMITS).collect(), report })
}

/// The run in progress from the published status; blocking.
pub(super) fn run_now(settings: git::Settings, cluster: &str) -> anyhow::Result<Option<RunStatus>> {
    let mut repository = Repository::open(settings)?;
    let Some(tip) = repository.fetch()?.record else { return Ok(None) };
    let path = format!("{cluster}/status.yaml");
    let files = repository.read_record(&tip, cluster)?;
    let Some(text) = files.get(&path) else { return Ok(None) };
    let status = crate::record::read_status(text).with_context(|| format!("reading {path}"))?;
    Ok(status.run)
}

/// Shows what git has recorded. `repository` is where the rest is, if it is kept.
pub(super) fn record(
    page: &mut DemoPage<'_>,
    repository: Option<&Path>,
    recorded: &Recorded,
) -> anyhow::Result<()> {
    page.title(&format!("git log --oneline {DEFAULT_RECORD_BRANCH}"))?;
    for commit in &recorded.commits {
        let id: String = commit.id.to_string().chars().take(7).collect();
        page.note(Tone::Plain, &format!("{id} {}", commit.subject()))?;
    }
    let more = recorded.all.saturating_sub(recorded.commits.len());
    if more > 0 {
        page.note(Tone::Quiet, &format!("and {} before", plural(more, "commit")))?;
    }
    if let Some((path, text)) = &recorded.report {
        page.title(&format!("the report, {DEFAULT_RECORD_BRANCH}:{path}"))?;
        for line in text.lines().take(REPORT_LINES).filter(|line| !line.is_empty()) {
            page.note(Tone::Plain, line)?;
        }
        let more = text.lines().count().saturating_sub(REPORT_LINES);
        let show = repository
            .map(|place| format!(": git -C {} show {DEFAULT_RECORD_BRANCH}:{path}", place.display()));
        page.note(Tone::Quiet, &format!("and {} more lines{}", more, show.unwrap_or_default()))?;
    }
    Ok(())
}

/// What the simulated cluster counted at its API, to compare with what the daemon says.
pub(super) struct Counts {
    evicted: usize,
    refused: usize,
    /// The most accepted evictions of one pod.
    most: usize,
    breaches: usize,
    lowest: Vec<String>,
}

pub(super) fn counts(server: &Server) -> Counts {
    server.with(|cluster, _| {
        let audit: &Audit = cluster.audit();
        let mut accepted: BTreeMap<&str, usize> = BTreeMap::new();
        let mut refused = 0;
        for (_, eviction) in audit.evictions().filter(|(_, eviction)| !eviction.dry_run) {
            if eviction.accepted {
                *accepted.entry(&eviction.uid).or_default() += 1;
            } else {
                refused += 1;
            }
        }
        let serving = world::workloads_of(cluster);
        let counts = |low: &&crate::sim::LowWater| serving.iter().any(|one| one.name == full_name(low));
        let mut low: Vec<_> = audit.low_water.values().filter(counts).collect();
        low.sort_by_key(|low| (low.ready * 100 / low.replicas.max(1), full_name(low)));
        Counts {
            evicted: accepted.values().sum(),
            refused,
            most: accepted.values().copied().max().unwrap_or_default(),
            breaches: audit.breaches.len(),
            lowest: low
                .iter()
                .take(NAMED)
                .map(|low| format!("{} {}/{}", full_name(low), low.ready, low.replicas))
                .collect(),
        }
    })
}

fn full_name(low: &crate::sim::LowWater) -> String {
    format!("{}/{}", low.namespace, low.name)
}

/// The result, in three lines.
pub(super) fn result(
    page: &mut DemoPage<'_>,
    outcome: &str,
    good: bool,
    counts: &Counts,
) -> anyhow::Result<()> {
    page.title("result")?;
    let tone = if good { Tone::Good } else { Tone::Bad };
    page.note(tone, outcome)?;
    let each = match counts.most {
        0 => String::new(),
        1 => ", no pod more than once".to_owned(),
        most => format!(", one of them {most} times"),
    };
    let pods = plural(counts.evicted, "pod");
    let refused = plural(counts.refused, "eviction");
    page.note(Tone::Plain, &format!("{pods} moved by eviction{each}; {refused} refused by the API server"))?;
    let (tone, breaches) = match counts.breaches {
        0 => (Tone::Good, "0 breaches of disruption budgets".to_owned()),
        1 => (Tone::Bad, "1 breach of a disruption budget".to_owned()),
        more => (Tone::Bad, format!("{more} breaches of disruption budgets")),
    };
    page.note(tone, &breaches)?;
    if !counts.lowest.is_empty() {
        page.note(Tone::Plain, &format!("fewest pods Ready at once: {}", counts.lowest.join(", ")))?;
    }
    Ok(())
}
