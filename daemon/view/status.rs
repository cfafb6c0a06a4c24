//! Where each cluster stands: the public status of its record, and beside it what the record cannot say of itself. The
//! page shows it as lines, with what a reader has to know first on top.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Page;
use super::beside::{Acting, KeptNode, Newest, Overdue};
use super::fleet::fleet;
use super::ink::{Ink, Tone};
use super::standing::{self, ClusterStanding, Exit, worst};
use crate::model::group::{grouped, objects_words};
use crate::model::state::DesiredState;
use crate::model::text::{about, first_line, length, list, minute, one_line, plural, said};
use crate::record::text::{cause, causes, outcome, phase, reason, stage, way};
use crate::record::{self, AddonStatus, NodeState, NodeStatus, Record, RunStatus, Status, WaitingFor};

/// How many problems of a refused commit, and how many reasons, are shown; JSON has all.
const LINES: usize = 10;

/// The clusters in the order of their names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct StatusPage {
    pub clusters: Vec<StatusRow>,
    /// Why the desired branch was not read; `None` if it was.
    #[serde(skip)]
    unread: Option<String>,
    /// True if the text shows each of several clusters in full, and not as one line of a table.
    #[serde(skip)]
    long: bool,
}

/// A cluster as its `status.yaml` has it, and what the record cannot say of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusRow {
    #[serde(flatten)]
    pub status: Status,
    /// The newest commit on the desired branch; `None` if that was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
    /// How long ago the last entry was written; `None` without an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_age_seconds: Option<i64>,
    /// What a daemon would have recorded by now; `None` if nothing is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Overdue>,
    /// Whether a daemon is alive; `None` if the cluster was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon: Option<Acting>,
    /// The nodes that people hold or have cordoned; `None` if the cluster was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_nodes: Option<Vec<KeptNode>>,
}

/// What is known beside the records.
#[derive(Clone, Debug)]
pub struct BesideRecords {
    /// The desired state by cluster, or why the desired branch was not read.
    pub wanted: Result<BTreeMap<String, DesiredState>, String>,
    /// What the lease of each cluster says; empty if no cluster was asked.
    pub acting: BTreeMap<String, Acting>,
    /// The nodes of each cluster that people hold or have cordoned; empty if no cluster was asked.
    pub kept: BTreeMap<String, Vec<KeptNode>>,
}

impl StatusPage {
    /// Every cluster that has a record or is in the desired state.
    pub fn of(records: &BTreeMap<String, Record>, known: &BesideRecords, now: Timestamp) -> Self {
        let unread = known.wanted.as_ref().err().cloned();
        let wanted = known.wanted.as_ref().ok();
        let names = records.keys().chain(wanted.into_iter().flat_map(BTreeMap::keys));
        let none = Record::default();
        let row = |name: &String| {
            let record = records.get(name).unwrap_or(&none);
            let status = record::status(name, record);
            StatusRow {
                // A cluster that was taken out of git has no daemon any more.
                overdue: record
                    .last_at
                    .filter(|_| wanted.is_none_or(|wanted| wanted.contains_key(name)))
                    .and_then(|last| Overdue::of(&status, last, now)),
                status,
                newest: wanted
                    .and_then(|wanted| wanted.get(name))
                    .map(|state| Newest::of(state, record, now)),
                record_age_seconds: record.last_at.map(|at| now.duration_since(at).as_secs().max(0)),
                daemon: known.acting.get(name).cloned(),
                kept_nodes: known.kept.get(name).cloned(),
            }
        };
        let clusters = names.collect::<BTreeSet<_>>().into_iter().map(row).collect();
        Self { clusters, unread, long: false }
    }

    /// The same page; `long` is true if its text shows each of several clusters in full.
    #[must_use]
    pub fn in_full(self, long: bool) -> Self {
        Self { long, ..self }
    }

    /// The worst of the clusters. A page without a cluster is not "as desired": nothing is known.
    pub fn exit(&self) -> Exit {
        worst(self.clusters.iter().flat_map(StatusRow::standings))
    }

    /// True if the pages differ only by the time at which they were made.
    pub fn same_news(&self, other: &Self) -> bool {
        let undated = |page: &Self| {
            let row = |row: &StatusRow| StatusRow { record_age_seconds: None, ..row.clone() };
            (page.unread.clone(), page.clusters.iter().map(row).collect::<Vec<_>>())
        };
        undated(self) == undated(other)
    }
}

impl StatusRow {
    pub(super) fn standings(&self) -> Vec<ClusterStanding> {
        let newest = self.newest.iter().flat_map(Newest::standings);
        let daemon = self.daemon.as_ref().and_then(Acting::cluster_standing);
        let overdue = self.overdue.as_ref().map(|_| ClusterStanding::NeedsAPerson);
        ClusterStanding::all_of(&self.status).into_iter().chain(newest).chain(overdue).chain(daemon).collect()
    }

    /// The same for the headline. That the lease could not be read is told in a line of its own.
    fn told(&self) -> Vec<ClusterStanding> {
        self.standings().into_iter().filter(|standing| *standing != ClusterStanding::Looking).collect()
    }
}

impl Page for StatusPage {
    fn draw(&self, ink: Ink) -> String {
        if self.clusters.is_empty() {
            return "no cluster has a record yet\n".to_owned();
        }
        let mut page = if self.clusters.len() > 1 && !self.long {
            fleet(&self.clusters, ink)
        } else {
            self.clusters.iter().map(|row| cluster(row, ink)).collect::<Vec<_>>().join("\n")
        };
        if let Some(why) = &self.unread {
            let why = one_line(why);
            let told = format!("The desired branch was not read ({why}): this is what the record says.");
            let _ = writeln!(page, "\n{}", ink.paint(Tone::Wait, &told));
        }
        page
    }
}

/// Lines of a key and a value. A line without a key continues the one above.
struct Lines {
    page: String,
    ink: Ink,
}

impl Lines {
    fn add(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.page, "  {key:<10} {value}");
    }

    /// A line that a reader must not miss.
    fn add_in(&mut self, tone: Tone, key: &str, value: impl std::fmt::Display) {
        let key = self.ink.paint(tone, &format!("{key:<10}"));
        let _ = writeln!(self.page, "  {key} {value}");
    }
}

fn cluster(row: &StatusRow, ink: Ink) -> String {
    let status = &row.status;
    let headline = ink.paint(Tone::from(worst(row.standings())), &standing_words(row));
    let mut lines = Lines { page: format!("{}: {headline}\n", status.cluster), ink };
    commits(&mut lines, status);
    if let Some(newest) = row.newest.as_ref().and_then(Newest::words) {
        lines.add("newest", newest);
    }
    interruptions(&mut lines, status);
    if let Some(run) = &status.run {
        progress(&mut lines, status, run);
    }
    if let Some(blocker) = status.blocker() {
        lines.add("done by", format_args!("not while {} blocks", one_line(&blocker.object)));
    }
    waiting(&mut lines, status);
    drifted(&mut lines, status);
    if let Some(kept) = row.kept_nodes.as_ref().filter(|kept| !kept.is_empty()) {
        lines.add("people", KeptNode::words(kept));
    }
    if let Some((point, run)) = status.rollback_points.first().zip(status.run.as_ref()) {
        let to = match (&point.commit, run.past_return) {
            _ if run.from == run.to => "commit the versions that its addons had".to_owned(),
            (None, _) => "no earlier commit is known".to_owned(),
            (Some(_), Some(past)) => format!("not possible: {}", past.words()),
            (Some(commit), None) => {
                format!("to commit {}, only until the control plane moves", commit.short())
            }
        };
        lines.add("go back", format_args!("{to}; no etcd snapshot (rollback point {})", point.id));
    }
    if let (None, Some(last)) = (&status.run, status.last_runs.first()) {
        let how = outcome(last.outcome);
        let when = minute(last.ended);
        lines.add("last run", format_args!("{} {how} {when}, {}", last.id, way(&last.from, &last.to)));
    }
    if let Some(journal) = &status.journal {
        let age = row.record_age_seconds.map(|age| length(SignedDuration::from_secs(age)));
        let age = age.map_or_else(String::new, |age| format!(" ({age} ago)"));
        lines.add("recorded", format_args!("entry {}, {}{age}", journal.seq, minute(journal.at)));
    }
    if let Some(overdue) = &row.overdue {
        lines.add_in(Tone::Bad, "overdue", overdue.words());
    }
    if let Some(daemon) = &row.daemon {
        lines.add("daemon", daemon.words());
    }
    lines.page
}

fn standing_words(row: &StatusRow) -> String {
    let status = &row.status;
    let refusal = if status.refused.is_some() {
        "the newest commit is refused"
    } else {
        "the newest commit is not valid"
    };
    let standing = standing::headline(&row.told(), status.run.is_some(), Some(refusal));
    match &status.run {
        Some(run) => {
            let (counts, way) = (&run.counts, way(&run.from, &run.to));
            if counts.total == 0 && !run.addons.is_empty() {
                let done = run.addons.iter().filter(|addon| addon.state == NodeState::Done).count();
                return format!("{standing} ({way}, {done} of {} done)", run.addons.len());
            }
            format!("{standing} ({way}, {} of {} nodes done)", counts.done, counts.total)
        }
        None => standing,
    }
}

fn commits(lines: &mut Lines, status: &Status) {
    if let Some(accepted) = &status.accepted {
        let at = accepted.at.map_or_else(String::new, |at| format!(", accepted {}", minute(at)));
        let by = accepted.by.as_ref().map_or_else(String::new, |by| format!(" by {}", one_line(&by.author)));
        let commit = accepted.commit.short();
        lines.add("desired", format_args!("{} (commit {commit}{by}{at})", accepted.version));
    }
    let Some(refused) = &status.refused else { return };
    lines.add_in(
        Tone::Bad,
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
        lines.add_in(Tone::Wait, "stopped", format_args!("since {}: {who}", minute(stopped.since)));
    }
    if let Some(halted) = &status.halted {
        let addons = status.halting_addons().map(|addon| format!("the addon {}", one_line(&addon.name)));
        let failed: Vec<String> = status.halted_by().map(|node| node.node.clone()).chain(addons).collect();
        let failed =
            if failed.is_empty() { String::new() } else { format!("{} failed: ", list(&failed, LINES)) };
        let why = causes(&halted.reasons);
        lines.add_in(Tone::Bad, "halted", format_args!("since {}: {failed}{why}", minute(halted.since)));
    }
}

fn progress(lines: &mut Lines, status: &Status, run: &RunStatus) {
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
    // The line of the halt has the nodes that failed for its reasons.
    let told: Vec<&NodeStatus> = status.halted_by().collect();
    let others = run.nodes.iter().filter(|node| !told.contains(node));
    others.filter_map(node).for_each(|node| lines.add("", node));
    let addons = run.addons.iter().filter(|addon| !status.halting_addons().any(|told| told == *addon));
    for (index, addon) in addons.enumerate() {
        lines.add(if index == 0 { "addons" } else { "" }, addon_words(addon));
    }
    if let Some(at) = run.estimated_completion {
        lines.add("done by", format_args!("about {} at this pace", minute(at)));
    }
}

fn addon_words(addon: &AddonStatus) -> String {
    let [name, from, to] = [&addon.name, &addon.from, &addon.to].map(|text| one_line(text));
    let since = addon.since.map_or_else(String::new, |since| format!(" since {}", minute(since)));
    let why = addon.reasons.iter().map(reason).collect::<Vec<_>>();
    let why = if why.is_empty() { String::new() } else { format!(": {}", list(&why, LINES)) };
    let word = match addon.state {
        NodeState::Pending => return format!("{name} {from} to {to}, pending"),
        NodeState::Done => return format!("{name} {from} to {to}, done"),
        NodeState::InProgress => "rolling out",
        NodeState::SetAside => "set aside",
        NodeState::Failed | NodeState::Gone => "failed",
    };
    format!("{name} {from} to {to}, {word}{since}{why}")
}

/// The line of a node that a reader has to know of; `None` for others, which are only counted.
fn node(node: &NodeStatus) -> Option<String> {
    let name = one_line(&node.node);
    let since = node.since.map_or_else(String::new, |since| format!(" since {}", minute(since)));
    let words = if node.state == NodeState::Failed { cause } else { reason };
    let why = node.reasons.iter().map(words).collect::<Vec<_>>();
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
    // Thirteen nodes that run a newer version are one line.
    let said = |wait: &WaitingFor| (wait.key, wait.text.clone(), wait.next);
    let others = status.waiting.iter().filter(|wait| !status.tells(wait));
    let groups = grouped(others, said, |wait| wait.object.as_str());
    for (index, (wait, objects)) in groups.iter().take(LINES).enumerate() {
        let next =
            wait.next.map_or_else(String::new, |next| format!(", until {} at the earliest", minute(next)));
        let what = match objects.as_slice() {
            [only] => about(&wait.text, only),
            many => format!("{} ({})", one_line(&wait.text), objects_words(many)),
        };
        let (key, since) = (wait.key.as_str(), minute(wait.since));
        let person = if wait.needs_a_person() {
            lines.ink.paint(Tone::Bad, "; a person has to act")
        } else {
            String::new()
        };
        let head = if index == 0 { "waits for" } else { "" };
        lines.add(head, format_args!("{key}: {what} since {since}{next}{person}"));
    }
    let more = groups.len().saturating_sub(LINES) + status.waiting_left_out as usize;
    if more > 0 {
        lines.add("", format_args!("and {}", plural(more, "more reason")));
    }
}

/// What people have changed by hand in the objects of addons.
fn drifted(lines: &mut Lines, status: &Status) {
    for (index, of) in status.drifted.iter().take(LINES).enumerate() {
        let head = if index == 0 { "drift" } else { "" };
        let [addon, object, text] = [&of.addon, &of.object, &of.text].map(|text| one_line(text));
        let since = minute(of.since);
        lines.add(head, format_args!("{object} of the addon {addon} {text} (recorded {since})"));
    }
    let more = status.drifted.len().saturating_sub(LINES);
    if more > 0 {
        lines.add("", format_args!("and {}", plural(more, "more object")));
    }
}
