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
/// What stays of a sentence behind a long name of an object.
const BEHIND_NAME_CHARS: usize = 30;

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
        because(row).unwrap_or_default(),
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
    let short = |text: &str| shorten(&one_line(text), BECAUSE_CHARS);
    let stopped = || {
        let stopped = status.stopped.as_ref()?;
        Some(short(&said(stopped.by.as_deref().unwrap_or_default(), &stopped.reason)))
    };
    let halted = || {
        let first = status.halted.as_ref()?.reasons.first()?;
        Some(with_object(&cause(first), &first.object))
    };
    let silent = || {
        let silent = |daemon: &&Acting| matches!(daemon, Acting::Silent { .. } | Acting::Unknown { .. });
        row.daemon.as_ref().filter(silent).map(|daemon| short(&daemon.words()))
    };
    let overdue = || row.overdue.as_ref().map(|overdue| short(&overdue.words()));
    let refused = || status.refused.as_ref()?.problems.first().map(|problem| short(&first_line(problem)));
    let newest = || {
        let news = |newest: &&Newest| newest.standing != NewestStanding::SameAsAccepted;
        row.newest.as_ref().filter(news).and_then(Newest::words).map(|words| short(&words))
    };
    let told = |wait: &WaitingFor| with_object(&about(&wait.text, &wait.object), &wait.object);
    let person = || status.waiting.iter().find(|wait| wait.needs_a_person()).map(told);
    let waits = || status.waiting.first().map(told);
    let first = stopped().or_else(halted).or_else(silent).or_else(refused).or_else(overdue);
    first.or_else(person).or_else(newest).or_else(waits)
}

/// A sentence that fits the column. One that is too long begins with its object, so that the name is never cut off.
fn with_object(text: &str, object: &str) -> String {
    let text = one_line(text);
    if text.chars().count() <= BECAUSE_CHARS || object.is_empty() {
        return shorten(&text, BECAUSE_CHARS);
    }
    let object = one_line(object);
    let text = text.strip_suffix(&format!(" ({object})")).unwrap_or(&text);
    let left = BECAUSE_CHARS.saturating_sub(object.chars().count() + 2);
    format!("{object}: {}", shorten(text, left.max(BEHIND_NAME_CHARS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_keeps_the_name_of_its_object() {
        assert_eq!(with_object("w1 is not Ready", "node/w1"), "w1 is not Ready");
        let long =
            "another user cordoned it; Windlass skips it until it is uncordoned, and the run stays open";
        assert_eq!(
            with_object(&about(long, "node/general-5"), "node/general-5"),
            "node/general-5: another user cordoned it; Windlass skips it until it is uncordo…"
        );
        let named = format!("pod/{}/{}", "n".repeat(63), "p".repeat(63));
        let told = with_object(&about(long, &named), &named);
        assert!(told.starts_with(&format!("{named}: another user")), "{told}");
    }
}
