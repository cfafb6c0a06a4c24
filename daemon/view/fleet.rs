//! Where many clusters stand, as a table: one line for each cluster, the worst first. `windlass status CLUSTER` shows
//! the rest.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::beside::{Acting, Newest, NewestStanding};
use super::ink::{Ink, Tone};
use super::standing::{ClusterStanding, worst};
use super::status::StatusRow;
use super::table::{Row, painted};
use crate::model::text::{about, first_line, length, one_line, said, shorten};
use crate::record::WaitingFor;
use crate::record::text::cause;

/// The longest reason, so that a line fits a wide terminal.
const BECAUSE_CHARS: usize = 80;

const HEADS: [&str; 6] = ["CLUSTER", "STANDING", "DESIRED", "NODES", "RECORDED", "BECAUSE"];

pub(super) fn fleet(clusters: &[StatusRow], ink: Ink) -> String {
    let mut rows: Vec<&StatusRow> = clusters.iter().collect();
    // The names are in order already, and the sort keeps the order of equals.
    rows.sort_by_key(|row| {
        let standings = row.standings();
        (std::cmp::Reverse(worst(standings.iter().copied())), standings.into_iter().min())
    });
    let rows = rows.into_iter().map(|row| {
        let standing = Tone::from(worst(row.standings()));
        let tones = [Tone::Plain, standing, Tone::Plain, Tone::Plain, Tone::Plain, Tone::Plain];
        Row { cells: line(row), tones }
    });
    painted(HEADS, rows.collect(), ink)
}

fn line(row: &StatusRow) -> [String; 6] {
    let status = &row.status;
    let newest = || row.newest.as_ref().and_then(|newest| newest.version.clone());
    let desired = status.accepted.as_ref().map(|accepted| accepted.version.to_string()).or_else(newest);
    let nodes = status.run.as_ref().map(|run| format!("{} of {}", run.counts.done, run.counts.total));
    let ago = row.record_age_seconds.map(|age| format!("{} ago", length(SignedDuration::from_secs(age))));
    let unknown = || "-".to_owned();
    [
        status.cluster.clone(),
        standing(row),
        desired.unwrap_or_else(unknown),
        nodes.unwrap_or_else(unknown),
        ago.unwrap_or_else(unknown),
        shorten(&because(row).unwrap_or_default(), BECAUSE_CHARS),
    ]
}

/// Everything that is true of the cluster, without what the rest implies: `running, needs a person`.
fn standing(row: &StatusRow) -> String {
    let all: BTreeSet<ClusterStanding> = row.standings().into_iter().collect();
    let implied = |standing: &ClusterStanding| match standing {
        ClusterStanding::AsDesired | ClusterStanding::Idle => all.len() > 1,
        ClusterStanding::Waiting => all.contains(&ClusterStanding::NeedsAPerson),
        ClusterStanding::Stopped
        | ClusterStanding::NotTakenUp
        | ClusterStanding::Halted
        | ClusterStanding::Moving
        | ClusterStanding::Refused
        | ClusterStanding::NeedsAPerson
        | ClusterStanding::Looking => false,
    };
    let words: Vec<_> = all.iter().filter(|standing| !implied(standing)).map(|one| one.short()).collect();
    words.join(", ")
}

/// The first thing that a person who looks at the cluster has to know.
fn because(row: &StatusRow) -> Option<String> {
    let status = &row.status;
    let stopped = || {
        let stopped = status.stopped.as_ref()?;
        Some(said(stopped.by.as_deref().unwrap_or_default(), &stopped.reason))
    };
    let halted = || status.halted.as_ref()?.reasons.first().map(cause);
    let silent = || {
        let silent = |daemon: &&Acting| matches!(daemon, Acting::Silent { .. } | Acting::Unknown { .. });
        row.daemon.as_ref().filter(silent).map(Acting::words)
    };
    let refused = || status.refused.as_ref()?.problems.first().map(|problem| first_line(problem));
    let newest = || {
        let news = |newest: &&Newest| newest.standing != NewestStanding::SameAsAccepted;
        row.newest.as_ref().filter(news).and_then(Newest::words)
    };
    let waits = || {
        let person = status.waiting.iter().find(|wait| wait.needs_a_person());
        let wait: &WaitingFor = person.or(status.waiting.first())?;
        Some(about(&wait.text, &wait.object))
    };
    let text = stopped().or_else(halted).or_else(silent).or_else(refused).or_else(newest).or_else(waits)?;
    Some(one_line(&text))
}
