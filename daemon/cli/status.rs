//! `windlass status`: where each cluster stands, read from the repository alone. Pure rendering: loading the
//! record, the loop of `--watch` and the exit belong to the caller.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::ValueEnum;

use crate::record::text::{
    about, first_line, list, minute, one_line, outcome, phase, plural, reason, reasons, said, stage,
};
use crate::record::{NodeState, NodeStatus, Phase, RunStatus, Status};

/// Show where each cluster stands, from the record in the repository.
///
/// Exits with 0 when every cluster shown is as desired, with 3 when one is not there yet (running, waiting,
/// stopped), and with 4 when one needs a person (halted, or the newest commit is refused).
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The cluster to show; all of them if none is named.
    #[arg(value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Stay, and draw again whenever the record changes.
    #[arg(long, conflicts_with = "output")]
    pub watch: bool,
    /// How to show it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For machines; all times in UTC.
    Json,
}

/// Everything is as desired.
pub const EXIT_AS_DESIRED: u8 = 0;
/// Not there yet, and no failure: running, waiting, or stopped by a person.
pub const EXIT_NOT_YET: u8 = 3;
/// Halted, or the newest commit is refused.
pub const EXIT_NEEDS_A_PERSON: u8 = 4;

/// Problems of a refused commit and reasons that are shown; `-o json` has more.
const LINES: usize = 10;

/// The exit code that one status stands for; of several clusters the highest counts.
pub fn exit_code(status: &Status) -> u8 {
    if status.halted.is_some() || status.refused.is_some() {
        return EXIT_NEEDS_A_PERSON;
    }
    match status.phase {
        Phase::AsDesired => EXIT_AS_DESIRED,
        Phase::Halted | Phase::Refused => EXIT_NEEDS_A_PERSON,
        Phase::Stopped | Phase::Running | Phase::Waiting | Phase::Idle => EXIT_NOT_YET,
    }
}

/// The exit code of a whole page. A page without a cluster is not "as desired": nothing is known.
pub fn exit_code_of(statuses: &BTreeMap<String, Status>) -> u8 {
    statuses.values().map(exit_code).max().unwrap_or(EXIT_NOT_YET)
}

/// Whether `--watch` has something new to draw.
pub fn changed(before: &BTreeMap<String, Status>, now: &BTreeMap<String, Status>) -> bool {
    before != now
}

/// The page, for one cluster as for many.
pub fn render(statuses: &BTreeMap<String, Status>, output: Output) -> Result<String, serde_json::Error> {
    match output {
        Output::Text if statuses.is_empty() => Ok("no cluster has a record yet\n".to_owned()),
        Output::Text => Ok(statuses.values().map(text).collect::<Vec<_>>().join("\n")),
        Output::Json => {
            let all: Vec<&Status> = statuses.values().collect();
            Ok(serde_json::to_string_pretty(&all)? + "\n")
        }
    }
}

fn text(status: &Status) -> String {
    let mut page = format!("{}: {}\n", status.cluster, headline(status));
    let mut line = |key: &str, value: String| {
        let _ = writeln!(page, "  {key:<10} {value}");
    };
    if let Some(accepted) = &status.accepted {
        let at = accepted.at.map_or_else(String::new, |at| format!(", accepted {}", minute(at)));
        line("desired", format!("{} (commit {}{at})", accepted.version, accepted.commit.short()));
    }
    if let Some(refused) = &status.refused {
        line("refused", format!("commit {}; the accepted one stays in force", refused.commit.short()));
        for problem in refused.problems.iter().take(LINES) {
            line("", format!("- {}", first_line(problem)));
        }
        let more = refused.problems.len().saturating_sub(LINES) + refused.problems_left_out as usize;
        (more > 0).then(|| line("", format!("- and {more} more")));
    }
    if let Some(stopped) = &status.stopped {
        line(
            "stopped",
            format!(
                "since {}: {}",
                minute(stopped.since),
                said(stopped.by.as_deref().unwrap_or_default(), &stopped.reason)
            ),
        );
    }
    if let Some(halted) = &status.halted {
        line("halted", format!("since {}: {}", minute(halted.since), reasons(&halted.reasons)));
    }
    if let Some(run) = &status.run {
        run_lines(&mut line, run);
    }
    waiting(&mut line, status);
    for (index, point) in status.rollback_points.iter().take(1).enumerate() {
        let commit = point.commit.as_ref().map_or("no commit to go back to", |commit| commit.short());
        line(if index == 0 { "rollback" } else { "" }, format!("{} ({commit}; no snapshot)", point.id));
    }
    if let (None, Some(last)) = (&status.run, status.last_runs.first()) {
        let how = outcome(last.outcome);
        line("last run", format!("{} {how} {}, {} to {}", last.id, minute(last.ended), last.from, last.to));
    }
    if let Some(journal) = &status.journal {
        line("recorded", format!("entry {}, {}", journal.seq, minute(journal.at)));
    }
    page
}

fn headline(status: &Status) -> String {
    let word = match status.phase {
        Phase::Idle => "idle, no commit has been accepted yet",
        Phase::AsDesired => "as desired",
        Phase::Waiting => "waiting",
        Phase::Running => "running",
        Phase::Halted => "halted, until a new commit or `windlass resume`",
        Phase::Stopped => "stopped, until `windlass resume`",
        Phase::Refused => "the newest commit is refused",
    };
    match &status.run {
        Some(run) => {
            format!("{word} ({} to {}, {} of {} nodes)", run.from, run.to, run.counts.done, run.counts.total)
        }
        None => word.to_owned(),
    }
}

fn run_lines(line: &mut impl FnMut(&str, String), run: &RunStatus) {
    line("run", format!("{}, started {}", run.id, minute(run.started)));
    if let Some(now) = &run.stage {
        line(
            "stage",
            format!(
                "{} of {}: {} to {}, {} of {} done",
                now.number,
                now.of,
                stage(now.kind),
                now.to,
                now.steps_done,
                now.steps
            ),
        );
    }
    let c = &run.counts;
    line(
        "nodes",
        format!(
            "{} done, {} in hand, {} pending, {} set aside, {} failed, {} gone",
            c.done, c.in_hand, c.pending, c.set_aside, c.failed, c.gone
        ),
    );
    run.nodes.iter().filter_map(node).for_each(|node| line("", node));
    if let Some(at) = run.estimated_completion {
        line("about", format!("{} it would be through, at its pace so far", minute(at)));
    }
}

/// Nodes that a reader has to know of; the others are in the counts.
fn node(node: &NodeStatus) -> Option<String> {
    let name = one_line(&node.node);
    let since = node.since.map_or_else(String::new, |since| format!(" since {}", minute(since)));
    let why = node.reasons.iter().map(reason).collect::<Vec<_>>();
    let why = if why.is_empty() { String::new() } else { format!(": {}", list(&why, LINES)) };
    match (node.state, node.phase) {
        (NodeState::Pending | NodeState::Done, _) => None,
        (NodeState::InHand, Some(reached)) => Some(format!("{name} in hand, {}{since}", phase(reached))),
        (NodeState::InHand, None) => Some(format!("{name} in hand{since}")),
        (NodeState::SetAside, _) => Some(format!("{name} set aside{since}{why}")),
        (NodeState::Failed, _) => Some(format!("{name} failed{since}{why}")),
        (NodeState::Gone, _) => Some(format!("{name} gone{since}")),
    }
}

fn waiting(line: &mut impl FnMut(&str, String), status: &Status) {
    for (index, wait) in status.waiting.iter().take(LINES).enumerate() {
        let next =
            wait.next.map_or_else(String::new, |next| format!(", until {} at the earliest", minute(next)));
        let key = if index == 0 { "waits for" } else { "" };
        line(
            key,
            format!(
                "{}: {} since {}{next}",
                wait.key.as_str(),
                about(&wait.text, &wait.object),
                minute(wait.since)
            ),
        );
    }
    let more = status.waiting.len().saturating_sub(LINES) + status.waiting_left_out as usize;
    if more > 0 {
        line("", format!("and {}", plural(crate::record::text::count(more), "more reason")));
    }
}
