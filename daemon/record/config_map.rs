//! The text of the `ConfigMap` `kube-system/upgrade-status`: the status for people who only have kubectl. It is
//! bounded and has no clock: it changes only when the record does.

use std::fmt::Write as _;
use std::sync::OnceLock;

use super::Record;
use super::status::{status, stopped_since};
use super::status_types::{
    AcceptedCommit, AddonStatus, ClusterPhase, ControlPlaneState, ControlPlaneStatus, LastRun, NodeState,
    NodeStatus, RunStatus, Status, StoppedSince, WaitingFor,
};
use super::text::{about, cause, minute, one_line, outcome, phase, plural, reason, said, shorten, stage};
use crate::model::entry::RunOutcome;
use crate::model::group::{grouped, objects_words};
use crate::model::version::Version;

/// A sixteenth of what the API server accepts, so that watching it stays cheap.
pub const CONFIG_MAP_BYTES: usize = 64 * 1024;
/// How many objections are shown; `windlass status` shows all.
const WAITS: usize = 10;
/// The longest line: a name of 253 characters and a reason.
const LINE_CHARS: usize = 500;
/// Where each part of the text must end, so that many nodes leave room for the waits and for the end of the text.
const NODES_END: usize = 24 * 1024;
const TIMELINE_END: usize = 44 * 1024;
const WAITS_END: usize = 60 * 1024;

/// The text for one record, written when somebody asks for it first and kept until the next entry.
#[derive(Clone, Debug, Default)]
pub struct ShownText(OnceLock<String>);

/// It follows from the rest of its record, so it makes no two records differ.
impl PartialEq for ShownText {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Record {
    /// The text that the `ConfigMap` of this record has.
    pub fn shown_text(&self, cluster: &str) -> &str {
        self.shown.0.get_or_init(|| config_map_text(&status(cluster, self)))
    }

    /// True if a text that the `ConfigMap` had tells of the stop that is in force. Without a stop there is none to
    /// tell of.
    pub fn stop_is_told(&self, text: &str) -> bool {
        stopped_since(self).is_none_or(|stopped| text.contains(&stop_line(&stopped)))
    }
}

pub fn config_map_text(status: &Status) -> String {
    let mut page = BoundedText { text: String::new(), limit: TIMELINE_END, left_out: 0 };
    page.put("Cluster Upgrade Status:");
    match &status.run {
        Some(run) => put_run(&mut page, status, run),
        None => at_rest(&mut page, status),
    }
    page.limit = WAITS_END;
    put_waits(&mut page, status);
    page.end(status)
}

fn put_run(page: &mut BoundedText, status: &Status, run: &RunStatus) {
    let held = matches!(
        status.phase,
        ClusterPhase::Stopped | ClusterPhase::Halted | ClusterPhase::Waiting | ClusterPhase::Refused
    );
    let state = match run.control_plane.state {
        ControlPlaneState::Stable => None,
        ControlPlaneState::Pending => Some("pending"),
        ControlPlaneState::InProgress if held => Some("in-progress, held"),
        ControlPlaneState::InProgress => Some("in-progress"),
        ControlPlaneState::Failed => Some("failed"),
        ControlPlaneState::Done => Some("complete"),
    };
    match state {
        Some(state) => {
            // The run's `from` may be the version of its oldest worker.
            let from = run.hops.first().map_or(&run.from, |hop| &hop.from);
            page.put(&format!(
                "- Control Plane: {} → {} ({state})",
                bare_version(from),
                bare_version(&run.to)
            ));
        }
        None => page.put(&format!("- Control Plane: {} (stable)", bare_version(&run.to))),
    }
    page.limit = NODES_END;
    run.addons.iter().for_each(|addon| page.put(&addon_line(addon, status.stopped.is_some())));
    run.nodes.iter().for_each(|node| page.put(&node_line(node, status.stopped.is_some())));
    page.limit = TIMELINE_END;
    if run.nodes_left_out > 0 {
        page.put(&format!("- {}", counted(run)));
    }
    page.put("");
    timeline(page, run, status.stopped.is_some());
}

fn addon_line(addon: &AddonStatus, stopped: bool) -> String {
    let word = match addon.state {
        NodeState::Pending => "pending",
        NodeState::InProgress if stopped => "in-progress, held",
        NodeState::InProgress => "in-progress",
        NodeState::Done => "complete",
        NodeState::SetAside => "set aside",
        NodeState::Failed | NodeState::Gone => "failed",
    };
    let [name, from, to] = [&addon.name, &addon.from, &addon.to].map(|text| one_line(text));
    let why = addon.reasons.first().map_or_else(String::new, |first| format!(": {}", cause(first)));
    format!("- addon {name}: {from} → {to} ({word}{why})")
}

fn node_line(node: &NodeStatus, stopped: bool) -> String {
    let name = one_line(&node.node);
    let word = match node.state {
        NodeState::Pending => "pending",
        NodeState::InProgress if stopped => "in-progress, held",
        NodeState::InProgress => "in-progress",
        NodeState::Done => return format!("- {name}: {} (complete)", bare_version(&node.to)),
        NodeState::SetAside => "set aside",
        NodeState::Failed => "failed",
        NodeState::Gone => "gone",
    };
    let why = |first| if node.state == NodeState::Failed { cause(first) } else { reason(first) };
    let why = node.reasons.first().map_or_else(String::new, |first| format!(": {}", why(first)));
    format!("- {name}: {} → {} ({word}{why})", bare_version(&node.from), bare_version(&node.to))
}

/// The counts of a large run, whose nodes are not listed one by one.
fn counted(run: &RunStatus) -> String {
    let counts = &run.counts;
    format!(
        "{} in all: {} complete, {} in progress, {} pending, {} set aside, {} failed, {} gone",
        plural(counts.total, "node"),
        counts.done,
        counts.in_progress,
        counts.pending,
        counts.set_aside,
        counts.failed,
        counts.gone
    )
}

fn timeline(page: &mut BoundedText, run: &RunStatus, stopped: bool) {
    page.put("Timeline:");
    page.put(&format!("- Start: {}", minute(run.started)));
    let mark = control_plane_mark(&run.control_plane, stopped);
    // One step upgrades them together; the requested `upgrade-status` layout has a line for each.
    for component in ["API Server", "Controller Manager", "Scheduler"] {
        page.put(&format!("- {component}: {mark}"));
    }
    if let Some(stage_now) = &run.stage {
        page.put(&format!(
            "- Stage {} of {}: {} to {}, {} of {} done",
            stage_now.number,
            stage_now.of,
            stage(stage_now.kind),
            bare_version(&stage_now.to),
            stage_now.steps_done,
            stage_now.steps
        ));
    }
    run.nodes
        .iter()
        .for_each(|node| page.put(&format!("- {}: {}", one_line(&node.node), node_mark(node, stopped))));
}

/// The word for work that has begun and has not ended.
fn going_on(stopped: bool) -> &'static str {
    if stopped { "Stopped" } else { "In Progress" }
}

fn control_plane_mark(control_plane: &ControlPlaneStatus, stopped: bool) -> String {
    let (done, steps) = (control_plane.steps_done, control_plane.steps);
    match control_plane.state {
        ControlPlaneState::Stable => "✓ Stable (not part of this run)".to_owned(),
        ControlPlaneState::Done => "✓ Complete".to_owned(),
        ControlPlaneState::Pending => "⏳ Waiting".to_owned(),
        ControlPlaneState::InProgress => format!("⏳ {} ({done} of {steps})", going_on(stopped)),
        ControlPlaneState::Failed => format!("✗ Failed ({done} of {steps} complete)"),
    }
}

fn node_mark(node: &NodeStatus, stopped: bool) -> String {
    let since = node.since.map_or_else(String::new, |since| format!(", since {}", minute(since)));
    match (node.state, node.phase) {
        (NodeState::Pending, _) => "⏳ Waiting".to_owned(),
        (NodeState::InProgress, Some(reached)) => {
            format!("⏳ {} ({}{since})", going_on(stopped), phase(reached))
        }
        (NodeState::InProgress, None) => format!("⏳ {}", going_on(stopped)),
        (NodeState::Done, _) => "✓ Complete".to_owned(),
        (NodeState::SetAside, _) => format!("✗ Set Aside{since}"),
        (NodeState::Failed, _) => format!("✗ Failed{since}"),
        (NodeState::Gone, _) => format!("✗ Gone{since}"),
    }
}

fn at_rest(page: &mut BoundedText, status: &Status) {
    let last = status.last_runs.first();
    match &status.accepted {
        None => page.put("- Control Plane: no desired version has been accepted yet"),
        Some(accepted)
            if status.phase == ClusterPhase::AsDesired || last.is_some_and(|run| reached(run, accepted)) =>
        {
            page.put(&format!("- Control Plane: {} (stable)", bare_version(&accepted.version)));
        }
        Some(accepted) => {
            page.put(&format!("- Control Plane: {} desired (not started)", bare_version(&accepted.version)));
        }
    }
    if let Some(last) = last {
        page.put("");
        page.put("Timeline:");
        page.put(&format!("- Start: {}", minute(last.started)));
        page.put(&format!(
            "- End: {} ({} → {}, {}, {} set aside, {} failed)",
            minute(last.ended),
            bare_version(&last.from),
            bare_version(&last.to),
            outcome(last.outcome),
            last.set_aside,
            last.failed
        ));
    }
}

/// True if the run converged, which means that it upgraded the control plane.
fn reached(run: &LastRun, accepted: &AcceptedCommit) -> bool {
    let converged = match run.outcome {
        RunOutcome::Converged => true,
        RunOutcome::Superseded | RunOutcome::Cancelled => false,
    };
    converged && run.to.is_as(&accepted.version)
}

fn put_waits(page: &mut BoundedText, status: &Status) {
    let mut lines: Vec<_> = status.stopped.iter().map(stop_line).collect();
    if let Some(halted) = &status.halted {
        lines.push(format!(
            "- halted since {}: {}",
            minute(halted.since),
            super::text::causes(&halted.reasons)
        ));
    }
    if let Some(refused) = &status.refused {
        let problems = refused.problems.len() + refused.problems_left_out as usize;
        lines.push(format!(
            "- commit {} is refused: {}",
            refused.commit.short(),
            plural(super::text::count(problems), "problem")
        ));
    }
    let told = |waiting: &&WaitingFor| !status.tells(waiting);
    // Thirteen nodes that run a newer version are one line.
    let same = |wait: &WaitingFor| (wait.key, wait.text.clone(), wait.next);
    let waits = grouped(status.waiting.iter().filter(told), same, |wait| wait.object.as_str());
    for (waiting, objects) in waits.iter().take(WAITS) {
        let next = waiting.next.map_or_else(String::new, |next| format!(", until {}", minute(next)));
        let what = match objects.as_slice() {
            [only] => about(&waiting.text, only),
            many => format!("{} ({})", one_line(&waiting.text), objects_words(many)),
        };
        lines.push(format!("- {what} since {}{next}", minute(waiting.since)));
    }
    let more = waits.len().saturating_sub(WAITS) + status.waiting_left_out as usize;
    if more > 0 {
        lines.push(format!("- and {more} more"));
    }
    if !lines.is_empty() {
        page.put("");
        page.put("Waiting:");
        for line in &lines {
            page.put(line);
        }
    }
}

/// What the text says of a stop.
fn stop_line(stopped: &StoppedSince) -> String {
    let by = said(stopped.by.as_deref().unwrap_or_default(), &stopped.reason);
    shorten(
        &format!("- stopped since {} until `windlass resume`, by {by}", minute(stopped.since)),
        LINE_CHARS,
    )
}

fn rollback(status: &Status) -> String {
    let point = status.rollback_points.first();
    if let Some(past) = status.run.as_ref().and_then(|run| run.past_return) {
        return format!("No ({}; no snapshot)", past.words());
    }
    match point.map(|point| point.commit.as_ref()) {
        None => "No".to_owned(),
        Some(None) => "No (no desired commit to go back to; no snapshot)".to_owned(),
        Some(Some(commit)) => format!("No (desired commit {} to go back to; no snapshot)", commit.short()),
    }
}

/// `1.36.3`: the requested `upgrade-status` layout has versions without the `v`.
fn bare_version(version: &Version) -> String {
    let text = version.to_string();
    text.strip_prefix('v').unwrap_or(&text).to_owned()
}

/// Lines up to the bound; lines that do not fit are counted.
struct BoundedText {
    text: String,
    limit: usize,
    left_out: u32,
}

impl BoundedText {
    fn put(&mut self, line: &str) {
        let line = shorten(line, LINE_CHARS);
        if self.text.len() + line.len() >= self.limit {
            self.left_out += 1;
        } else {
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    fn end(mut self, status: &Status) -> String {
        if self.left_out > 0 {
            let _ = writeln!(self.text, "({} left out)", plural(self.left_out, "line"));
        }
        let _ = writeln!(self.text, "\nRollback Available: {}", rollback(status));
        if let Some(at) = status.run.as_ref().and_then(|run| run.estimated_completion) {
            let _ = writeln!(self.text, "Estimated Completion: {}", minute(at));
        } else if let Some(blocker) = status.blocker() {
            let _ =
                writeln!(self.text, "Estimated Completion: not while {} blocks", one_line(&blocker.object));
        }
        self.text
    }
}
