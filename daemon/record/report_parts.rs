//! The tables and lists of the report. Their rows are bounded; rows that are left out are counted in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::log::{InterruptionKind, RunLog, Waited};
use super::sentence::thing;
use super::status_types::NodeCounts;
use super::text::{count, length, one_line, plural, reason, second, stage};
use super::{Run, StepEnd, StepRecord};
use crate::model::decision::{Key, Reason};
use crate::model::entry::StepPhase;
use crate::model::plan::{Scope, Stage, Step};

/// Rows of the node table. A larger run shows the abnormal and the slowest nodes; the journal has the others.
const NODE_ROWS: usize = 1_000;
/// Rows of the tables of waits; the totals count all waits.
const WAIT_ROWS: usize = 50;

pub(super) fn hops(run: &Run) -> String {
    let hops: Vec<String> = run.plan.hops.iter().map(|hop| format!("{} → {}", hop.from, hop.to)).collect();
    if hops.is_empty() { "none: the control plane was not changed".to_owned() } else { hops.join(", ") }
}

pub(super) fn node_counts(counts: NodeCounts) -> String {
    format!(
        "{} in the plan: {} done, {} not started, {} set aside, {} failed, {} gone, {} still in progress",
        counts.total,
        counts.done,
        counts.pending,
        counts.set_aside,
        counts.failed,
        counts.gone,
        counts.in_progress
    )
}

pub(super) fn reason_list(page: &mut String, reasons: &[Reason]) {
    for each in reasons {
        let _ = writeln!(page, "* {} (`{}`)", cell(&reason(each)), each.key.as_str());
    }
}

pub(super) fn stages(page: &mut String, run: &Run) {
    if run.plan.stages.is_empty() {
        page.push_str("The plan has no stages.\n");
        return;
    }
    page.push_str("| hop | stage | to | done | began | ended | took |\n|---|---|---|---|---|---|---|\n");
    for (index, hop) in run.plan.hops.iter().enumerate() {
        let stages: Vec<&Stage> = run.plan.stages.iter().filter(|stage| stage.hop == index).collect();
        if let [_, _, ..] = stages.as_slice() {
            let name = format!("{} → {}", hop.from, hop.to);
            span_row(page, index + 1, &name, &hop.to.to_string(), run, &stages);
        }
        for each in stages {
            span_row(page, index + 1, stage(each.kind), &each.to.to_string(), run, &[each]);
        }
    }
    for each in run.plan.stages.iter().filter(|each| each.hop >= run.plan.hops.len()) {
        span_row(page, each.hop + 1, stage(each.kind), &each.to.to_string(), run, &[each]);
    }
}

fn span_row(page: &mut String, hop: usize, name: &str, to: &str, run: &Run, stages: &[&Stage]) {
    let steps: Vec<&Step> = stages.iter().flat_map(|stage| &stage.steps).collect();
    let records: Vec<&StepRecord> = steps.iter().filter_map(|step| run.steps.get(&step.id)).collect();
    let done = records.iter().filter(|record| record.end == Some(StepEnd::Done)).count();
    let began = records.iter().filter_map(|record| record.began()).min();
    let ended = records.iter().filter_map(|record| record.ended).max();
    let _ = writeln!(
        page,
        "| {hop} | {name} | {to} | {done} of {} | {} | {} | {} |",
        steps.len(),
        began.map_or_else(dash, second),
        ended.map_or_else(dash, second),
        between(began, ended).map_or_else(dash, length)
    );
}

pub(super) fn nodes(page: &mut String, run: &Run) {
    let mut rows: Vec<(&Step, &StepRecord)> = recorded(run).collect();
    let unrecorded = run.plan.steps().count() - rows.len();
    let left_out = rows.len().saturating_sub(NODE_ROWS);
    if left_out > 0 {
        rows.sort_by_key(|(_, record)| {
            let normal = record.end == Some(StepEnd::Done);
            (normal, std::cmp::Reverse(whole(record).unwrap_or_default()))
        });
        rows.truncate(NODE_ROWS);
    }
    page.push_str(
        "| node | pool | result | from | to | pods | evicted | drain | upgrade | return | workloads recovered | in all |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (step, record) in rows {
        node_row(page, step, record);
    }
    if left_out > 0 {
        let _ = writeln!(
            page,
            "\nThe table has the steps that did not end well and the slowest of the others; {} more are in the journal.",
            plural(count(left_out), "step")
        );
    }
    if unrecorded > 0 {
        let _ = writeln!(
            page,
            "\nWithout an entry in the journal: {}. They were not started, or nothing was left to do.",
            plural(count(unrecorded), "step")
        );
    }
}

fn node_row(page: &mut String, step: &Step, record: &StepRecord) {
    let at = |phase: StepPhase| record.at.get(&phase).copied();
    let took =
        |from: Option<Timestamp>, until: Option<Timestamp>| between(from, until).map_or_else(dash, length);
    let drain = took(at(StepPhase::Claimed), at(StepPhase::Drained));
    let upgrade = took(at(StepPhase::Upgrading), at(StepPhase::Upgraded));
    let back = took(at(StepPhase::Upgraded), at(StepPhase::Returned));
    let recovered = took(at(StepPhase::Returned), record.ended);
    let canary = if step.node_move().is_some_and(|mv| mv.canary) { ", canary" } else { "" };
    let _ = writeln!(
        page,
        "| {} | {}{canary} | {} | {} | {} | {} | {} | {drain} | {upgrade} | {back} | {recovered} | {} |",
        cell(&thing(&step.id)),
        cell(step.id.scope.name()),
        result(record),
        cell(&step.work.addon().map_or_else(|| step.from().to_string(), |mv| mv.from.clone())),
        cell(&step.id.to),
        record.pods,
        record.evicted_in_all(),
        whole(record).map_or_else(dash, length)
    );
}

pub(super) fn left_behind(page: &mut String, run: &Run) {
    let now = recorded(run).filter_map(|(step, record)| {
        Some(format!("* **{}** {}", cell(&thing(&step.id)), ending(record.end.as_ref()?)?))
    });
    let before = run.log.attempts.iter().filter_map(|attempt| {
        Some(format!(
            "* **{}** {} at {}, and was started again",
            cell(&thing(&attempt.step)),
            ending(&attempt.end)?,
            second(attempt.ended)
        ))
    });
    let lines: Vec<String> = now.chain(before).collect();
    if lines.is_empty() {
        page.push_str("None.\n");
    }
    for line in lines.iter().take(NODE_ROWS) {
        let _ = writeln!(page, "{line}");
    }
    let more = count(lines.len().saturating_sub(NODE_ROWS)).saturating_add(run.log.attempts_left_out);
    if more > 0 {
        let _ = writeln!(page, "* and {more} more, in the journal");
    }
}

/// How a step ended; `None` if it ended well.
fn ending(end: &StepEnd) -> Option<String> {
    let (how, reasons) = match end {
        StepEnd::Done => return None,
        StepEnd::Gone => return Some("was deleted, or replaced by another node of its name".to_owned()),
        StepEnd::SetAside { touched: true, reasons } => ("set aside, changed and left cordoned", reasons),
        StepEnd::SetAside { touched: false, reasons } => ("set aside, unchanged", reasons),
        StepEnd::Failed(reasons) => ("failed", reasons),
    };
    let why = |each: &Reason| format!("{} (`{}`)", cell(&reason(each)), each.key.as_str());
    Some(format!("{how}: {}", reasons.iter().map(why).collect::<Vec<_>>().join("; ")))
}

pub(super) fn waits(page: &mut String, log: &RunLog) {
    if log.totals.is_empty() {
        page.push_str("Nothing.\n");
        return;
    }
    page.push_str("| reason | times | in all |\n|---|---|---|\n");
    for (key, total) in &log.totals {
        let _ = writeln!(page, "| `{}` | {} | {} |", key.as_str(), total.times, length(total.length));
    }
    page.push_str("\nWaits of several objects overlap: they do not add up to the length of the run.\n\n");
    wait_table(page, &longest(log, |_| true));
}

pub(super) fn blocked_drains(page: &mut String, log: &RunLog) {
    let mut blocked: BTreeMap<(Key, &str), (u32, SignedDuration)> = BTreeMap::new();
    for waited in log.waits.iter().filter(|waited| blocks_a_drain(waited.answer.reason.key)) {
        let reason = &waited.answer.reason;
        let (times, all) = blocked.entry((reason.key, &reason.object)).or_default();
        (*times, *all) = (*times + 1, all.saturating_add(waited.length()));
    }
    if blocked.is_empty() {
        return page.push_str("None.\n");
    }
    // The table above has each of them with its time and its message.
    let mut rows: Vec<_> = blocked.into_iter().collect();
    rows.sort_by_key(|(_, (_, all))| std::cmp::Reverse(*all));
    page.push_str("| object | reason | times | in all |\n|---|---|---|---|\n");
    for ((key, object), (times, all)) in rows.into_iter().take(WAIT_ROWS) {
        let _ = writeln!(page, "| {} | `{}` | {times} | {} |", cell(object), key.as_str(), length(all));
    }
}

/// The longest waits with a wanted key, in the order in which they began.
fn longest(log: &RunLog, want: fn(Key) -> bool) -> Vec<&Waited> {
    let mut waits: Vec<&Waited> = log.waits.iter().filter(|waited| want(waited.answer.reason.key)).collect();
    waits.sort_by_key(|waited| std::cmp::Reverse(waited.length()));
    waits.truncate(WAIT_ROWS);
    waits.sort_by(|a, b| (a.from, &a.answer.reason).cmp(&(b.from, &b.answer.reason)));
    waits
}

fn wait_table(page: &mut String, waits: &[&Waited]) {
    page.push_str("| from | for | reason | object | message |\n|---|---|---|---|---|\n");
    for waited in waits {
        let said = &waited.answer.reason;
        let _ = writeln!(
            page,
            "| {} | {} | `{}` | {} | {} |",
            second(waited.from),
            length(waited.length()),
            said.key.as_str(),
            cell(&said.object),
            cell(&said.text)
        );
    }
}

/// True if an eviction or the end of a drain waits for this reason.
fn blocks_a_drain(key: Key) -> bool {
    matches!(
        key,
        Key::BudgetBlocks
            | Key::BudgetUnhealthy
            | Key::BudgetNeverAllows
            | Key::SeveralBudgets
            | Key::OwnerNotReady
            | Key::Unmanaged
            | Key::LocalData
            | Key::OrphanOfDaemonSet
            | Key::JobRunning
            | Key::DoNotDisrupt
            | Key::GraceTooLong
            | Key::EvictionRefused
            | Key::StuckTerminating
            | Key::VolumesAttached
            | Key::LateArrival
            | Key::DrainBlocked
    )
}

pub(super) fn interruptions(page: &mut String, log: &RunLog, ended: Timestamp) {
    if log.interruptions.is_empty() {
        page.push_str("None.\n");
    }
    for interruption in &log.interruptions {
        let word = match interruption.kind {
            InterruptionKind::Halt => "Halted",
            InterruptionKind::Stop => "Stopped",
        };
        let lasted = interruption.until.unwrap_or(ended).duration_since(interruption.from);
        let end = match (interruption.until, &interruption.ended_by) {
            (None, _) => format!("still lasting when the run ended, {} later", length(lasted)),
            (Some(_), Some(by)) => format!("ended after {} by {}", length(lasted), cell(by)),
            (Some(_), None) => format!("ended after {}", length(lasted)),
        };
        let _ =
            writeln!(page, "* {word} at {}: {}; {end}", second(interruption.from), cell(&interruption.text));
    }
    if log.interruptions_left_out > 0 {
        let _ = writeln!(page, "* and {} more, in the journal", log.interruptions_left_out);
    }
}

/// From the first intent of a worker until the last worker was back in service.
fn workers(run: &Run) -> Option<SignedDuration> {
    let of_pools = || recorded(run).filter(|(step, _)| matches!(step.id.scope, Scope::Pool(_)));
    let first = of_pools().filter_map(|(_, record)| record.started()).min()?;
    let last = of_pools().filter_map(|(_, record)| record.at.get(&StepPhase::Returned)).max()?;
    Some(last.duration_since(first))
}

/// What a worker took from being empty to being back in service: the mean of this run, in seconds.
fn on_node(run: &Run) -> Option<i64> {
    let of_pools = recorded(run).filter(|(step, _)| matches!(step.id.scope, Scope::Pool(_)));
    let each: Vec<i64> = of_pools
        .filter_map(|(_, record)| {
            let at = |phase| record.at.get(&phase).copied();
            between(at(StepPhase::Drained), at(StepPhase::Returned)).map(|took| took.as_secs())
        })
        .collect();
    each.iter().sum::<i64>().checked_div(i64::try_from(each.len()).unwrap_or(i64::MAX))
}

pub(super) fn statistics(page: &mut String, run: &Run, log: &RunLog, ended: Timestamp) {
    let done = || recorded(run).filter(|(_, record)| record.end == Some(StepEnd::Done));
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(page, "* {name}: {value}");
    };
    fact("In all", length(ended.duration_since(run.started)));
    if let Some(bound) = &run.plan.lower_bound {
        let seen = on_node(run).and_then(|seconds| bound.with_on_node(seconds));
        let bound = seen.as_ref().unwrap_or(bound);
        let (least, each) = (
            length(SignedDuration::from_secs(bound.seconds)),
            length(SignedDuration::from_secs(bound.on_node_seconds)),
        );
        let reason = format!("{} ({})", cell(&bound.text), cell(&bound.object));
        let name = format!(
            "Workers, at the least, if pods need their grace periods and an empty node {each} to be back in service"
        );
        fact(&name, format!("{least}: {reason}"));
        fact("Workers", workers(run).map_or_else(dash, length));
    }
    let lengths: Vec<SignedDuration> = done().filter_map(|(_, record)| whole(record)).collect();
    let sum = lengths.iter().fold(SignedDuration::ZERO, |sum, each| sum.saturating_add(*each));
    let steps = i32::try_from(lengths.len()).unwrap_or(i32::MAX);
    fact("Steps done", count(lengths.len()).to_string());
    fact("Mean per step", sum.checked_div(steps).map_or_else(dash, length));
    let slowest =
        done().filter_map(|(step, record)| Some((whole(record)?, step))).max_by_key(|(took, _)| *took);
    if let Some((took, step)) = slowest {
        fact("Slowest step", format!("{}, {}", cell(&thing(&step.id)), length(took)));
    }
    let recovery = done().filter_map(|(step, record)| {
        Some((between(record.at.get(&StepPhase::Returned).copied(), record.ended)?, step))
    });
    if let Some((took, step)) = recovery.max_by_key(|(took, _)| *took) {
        fact("Slowest recovery of workloads", format!("{}, {}", cell(&thing(&step.id)), length(took)));
    }
    let evicted: u64 = recorded(run).map(|(_, record)| u64::from(record.evicted_in_all())).sum();
    fact("Pods evicted", evicted.to_string());
    let by_kind = log.interruptions.iter().fold(BTreeMap::new(), |mut kinds, each| {
        *kinds.entry(each.kind).or_insert(0_u32) += 1;
        kinds
    });
    let times = |kind| by_kind.get(&kind).copied().unwrap_or(0).to_string();
    fact("Halts", times(InterruptionKind::Halt));
    fact("Stops", times(InterruptionKind::Stop));
}

/// Steps with an entry, in the plan's order.
fn recorded(run: &Run) -> impl Iterator<Item = (&Step, &StepRecord)> {
    run.plan.steps().filter_map(|step| Some((step, run.steps.get(&step.id)?)))
}

fn result(record: &StepRecord) -> &'static str {
    match record.end {
        None => "in progress",
        Some(StepEnd::Done) => "done",
        Some(StepEnd::SetAside { .. }) => "set aside",
        Some(StepEnd::Failed(_)) => "failed",
        Some(StepEnd::Gone) => "gone",
    }
}

fn whole(record: &StepRecord) -> Option<SignedDuration> {
    between(record.began(), record.ended)
}

fn between(from: Option<Timestamp>, until: Option<Timestamp>) -> Option<SignedDuration> {
    Some(until?.duration_since(from?))
}

fn dash() -> String {
    "–".to_owned()
}

/// Text from outside in a table or list: one line that neither ends the cell nor becomes Markdown.
pub(super) fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            _ => out.push(c),
        }
    }
    out
}
