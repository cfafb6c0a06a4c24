//! Where each cluster stands, from its record alone. The data is the public status of the record; this page shows it
//! as lines, with what a reader has to know first on top.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::Page;
use super::standing::{ClusterStanding, Exit, worst};
use crate::model::text::{about, first_line, list, minute, one_line, plural, said};
use crate::record::text::{outcome, phase, reason, reasons, stage};
use crate::record::{self, NodeState, NodeStatus, Record, RunStatus, Status};

/// How many problems of a refused commit, and how many reasons, are shown; JSON has all.
const LINES: usize = 10;

/// The clusters in the order of their names, each as its `status.yaml` has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct StatusPage {
    pub clusters: Vec<Status>,
}

impl StatusPage {
    pub fn of(records: &BTreeMap<String, Record>) -> Self {
        let clusters = records.iter().map(|(name, record)| record::status(name, record));
        Self { clusters: clusters.collect() }
    }

    /// The worst of the clusters. A page without a cluster is not "as desired": nothing is known.
    pub fn exit(&self) -> Exit {
        worst(self.clusters.iter().flat_map(ClusterStanding::all_of))
    }
}

impl Page for StatusPage {
    fn text(&self) -> String {
        if self.clusters.is_empty() {
            return "no cluster has a record yet\n".to_owned();
        }
        self.clusters.iter().map(cluster).collect::<Vec<_>>().join("\n")
    }
}

/// Lines of a key and a value. A line without a key continues the one above.
struct Lines(String);

impl Lines {
    fn add(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "  {key:<10} {value}");
    }
}

fn cluster(status: &Status) -> String {
    let mut lines = Lines(format!("{}: {}\n", status.cluster, headline(status)));
    commits(&mut lines, status);
    interruptions(&mut lines, status);
    if let Some(run) = &status.run {
        progress(&mut lines, run);
    }
    waiting(&mut lines, status);
    if let Some(point) = status.rollback_points.first() {
        let to = point.commit.as_ref().map_or_else(
            || "no earlier commit is known".to_owned(),
            |commit| format!("to commit {}, only until the control plane moves", commit.short()),
        );
        lines.add("go back", format_args!("{to}; no etcd snapshot (rollback point {})", point.id));
    }
    if let (None, Some(last)) = (&status.run, status.last_runs.first()) {
        let how = outcome(last.outcome);
        let when = minute(last.ended);
        lines.add("last run", format_args!("{} {how} {when}, {} to {}", last.id, last.from, last.to));
    }
    if let Some(journal) = &status.journal {
        lines.add("recorded", format_args!("entry {}, {}", journal.seq, minute(journal.at)));
    }
    lines.0
}

fn headline(status: &Status) -> String {
    let standing = match (ClusterStanding::from(status.phase), &status.refused) {
        (ClusterStanding::Refused, Some(_)) => "the newest commit is refused",
        (standing, _) => standing.headline(),
    };
    match &status.run {
        Some(run) => {
            let counts = &run.counts;
            format!("{standing} ({} to {}, {} of {} nodes done)", run.from, run.to, counts.done, counts.total)
        }
        None => standing.to_owned(),
    }
}

fn commits(lines: &mut Lines, status: &Status) {
    if let Some(accepted) = &status.accepted {
        let at = accepted.at.map_or_else(String::new, |at| format!(", accepted {}", minute(at)));
        lines.add("desired", format_args!("{} (commit {}{at})", accepted.version, accepted.commit.short()));
    }
    let Some(refused) = &status.refused else { return };
    lines.add(
        "refused",
        format_args!("commit {}; the accepted commit stays in force", refused.commit.short()),
    );
    for problem in refused.problems.iter().take(LINES) {
        lines.add("", format_args!("- {}", first_line(problem)));
    }
    let more = refused.problems.len().saturating_sub(LINES) + refused.problems_left_out as usize;
    if more > 0 {
        lines.add("", format_args!("- and {more} more"));
    }
}

fn interruptions(lines: &mut Lines, status: &Status) {
    if let Some(stopped) = &status.stopped {
        let who = said(stopped.by.as_deref().unwrap_or_default(), &stopped.reason);
        lines.add("stopped", format_args!("since {}: {who}", minute(stopped.since)));
    }
    if let Some(halted) = &status.halted {
        lines.add("halted", format_args!("since {}: {}", minute(halted.since), reasons(&halted.reasons)));
    }
}

fn progress(lines: &mut Lines, run: &RunStatus) {
    lines.add("run", format_args!("{}, started {}", run.id, minute(run.started)));
    if let Some(now) = &run.stage {
        let what = stage(now.kind);
        let done = format!("{} of {} done", now.steps_done, now.steps);
        lines.add("stage", format_args!("{} of {}: {what} to {}, {done}", now.number, now.of, now.to));
    }
    let c = &run.counts;
    lines.add(
        "nodes",
        format_args!(
            "{} done, {} in progress, {} pending, {} set aside, {} failed, {} gone",
            c.done, c.in_progress, c.pending, c.set_aside, c.failed, c.gone
        ),
    );
    run.nodes.iter().filter_map(node).for_each(|node| lines.add("", node));
    if let Some(at) = run.estimated_completion {
        lines.add("done by", format_args!("about {} at this pace", minute(at)));
    }
}

/// The line of a node that a reader has to know of; `None` for others, which are only counted.
fn node(node: &NodeStatus) -> Option<String> {
    let name = one_line(&node.node);
    let since = node.since.map_or_else(String::new, |since| format!(" since {}", minute(since)));
    let why = node.reasons.iter().map(reason).collect::<Vec<_>>();
    let why = if why.is_empty() { String::new() } else { format!(": {}", list(&why, LINES)) };
    match (node.state, node.phase) {
        (NodeState::Pending | NodeState::Done, _) => None,
        (NodeState::InProgress, Some(reached)) => {
            Some(format!("{name} in progress, {}{since}", phase(reached)))
        }
        (NodeState::InProgress, None) => Some(format!("{name} in progress{since}")),
        (NodeState::SetAside, _) => Some(format!("{name} set aside{since}{why}")),
        (NodeState::Failed, _) => Some(format!("{name} failed{since}{why}")),
        (NodeState::Gone, _) => Some(format!("{name} gone{since}")),
    }
}

fn waiting(lines: &mut Lines, status: &Status) {
    for (index, wait) in status.waiting.iter().take(LINES).enumerate() {
        let next =
            wait.next.map_or_else(String::new, |next| format!(", until {} at the earliest", minute(next)));
        let (key, what) = (wait.key.as_str(), about(&wait.text, &wait.object));
        let since = minute(wait.since);
        let head = if index == 0 { "waits for" } else { "" };
        lines.add(head, format_args!("{key}: {what} since {since}{next}"));
    }
    let more = status.waiting.len().saturating_sub(LINES) + status.waiting_left_out as usize;
    if more > 0 {
        lines.add("", format_args!("and {}", plural(more, "more reason")));
    }
}
