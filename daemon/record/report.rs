//! The report after a run, `report.md`: what was done, how long each part took, what it waited for, and what was not
//! measured. It is made once, from the run as it was just before it ended.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::report_parts as parts;
use super::text::{length, outcome, second, way};
use super::{Run, tally};
use crate::model::decision::Reason;
use crate::model::entry::RunOutcome;

/// What a report of this version does not cover, so that a reader does not take silence for success.
const NOT_MEASURED: &[&str] = &[
    "**Downtime of applications.** No probe watched them during the run. That no disruption budget was breached \
     is enforced; that no request failed is not known.",
    "**Error rates and other baselines.** No metric was compared with its value before the run.",
    "**Smoke tests and user journeys.** None were run.",
    "**Data.** No snapshot of etcd was taken or restored, and no database or volume was checked.",
    "**Host packages other than Kubernetes.** They were not looked at.",
];

pub fn report(cluster: &str, run: &Run, how: RunOutcome, why: &[Reason], ended: Timestamp) -> String {
    let log = run.log.ended(ended);
    let mut page = String::new();
    let _ = writeln!(page, "# {cluster}: {}, {}\n", way(&run.from, &run.to), outcome(how));
    summary(&mut page, run, how, ended);
    if !why.is_empty() {
        page.push_str("\nWhy it ended:\n\n");
        parts::reason_list(&mut page, why);
    }
    page.push_str("\n## Hops and stages\n\n");
    parts::stages(&mut page, run);
    page.push_str("\n## Nodes\n\n");
    parts::nodes(&mut page, run);
    page.push_str("\n## Set aside, failed or gone\n\n");
    parts::left_behind(&mut page, run);
    page.push_str("\n## What was waited for\n\n");
    parts::waits(&mut page, &log);
    page.push_str("\n## Drains that were blocked\n\n");
    parts::blocked_drains(&mut page, &log);
    page.push_str("\n## Halts and stops\n\n");
    parts::interruptions(&mut page, &log, ended);
    page.push_str("\n## Statistics\n\n");
    parts::statistics(&mut page, run, &log, ended);
    page.push_str("\n## Going back\n\n");
    going_back(&mut page, cluster, run);
    page.push_str("\n## What was not measured\n\n");
    for gap in NOT_MEASURED {
        let _ = writeln!(page, "* {gap}");
    }
    page
}

fn summary(page: &mut String, run: &Run, how: RunOutcome, ended: Timestamp) {
    let counts = tally::counts(&tally::node_statuses(run));
    page.push_str("| | |\n|---|---|\n");
    let mut row = |key: &str, value: String| {
        let _ = writeln!(page, "| {key} | {value} |");
    };
    row("Run", format!("`{}`", run.id));
    row("Outcome", outcome(how).to_owned());
    row("Requested by", requested(run));
    if let Some(accepted) = run.log.accepted {
        row(
            "Accepted",
            format!(
                "{}, {} before the start",
                second(accepted),
                length(run.started.duration_since(accepted))
            ),
        );
    }
    row("Started", second(run.started));
    row("Ended", second(ended));
    row("Took", length(ended.duration_since(run.started)));
    row("Hops", parts::hops(run));
    row("Nodes", parts::node_counts(counts));
    row("Plan", format!("`{}`", run.digest));
    row("Leader epoch at the start", run.epoch.to_string());
}

/// The commit, and who wrote it: the reader of a record in a repository of its own does not have the commit.
fn requested(run: &Run) -> String {
    match &run.log.by {
        Some(by) => format!(
            "commit `{}` by {}, {}: {}",
            run.commit,
            parts::cell(&by.author),
            second(by.at),
            parts::cell(&by.subject)
        ),
        None => format!("commit `{}`; `git show` names its author", run.commit),
    }
}

fn going_back(page: &mut String, cluster: &str, run: &Run) {
    let Some(point) = &run.rollback_point else {
        page.push_str("No rollback point was made.\n");
        return;
    };
    if run.moves_addons_alone() {
        let _ = writeln!(
            page,
            "Rollback point `{point}` has the images from before the run. To go back, commit the versions that they had."
        );
        return;
    }
    let _ = match &run.before {
        Some((commit, version)) => writeln!(
            page,
            "Rollback point `{point}`, tag `windlass/{cluster}/rollback/{point}`: commit `{}`, which asked for \
             {version}. There is no snapshot: to go back, commit again what this commit asked for. Once the control \
             plane is changed, Windlass downgrades nothing.",
            commit.short()
        ),
        None => writeln!(
            page,
            "Rollback point `{point}` holds the versions from before the run. No commit that asked for another version \
             was accepted before, and there is no snapshot."
        ),
    };
}
