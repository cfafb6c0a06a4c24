//! The answers of all gates as a page: what objects first, aligned, with since when and until when.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::decision::{Answer, Verdict};
use crate::reconcile::Wanted;
use crate::record::text::{minute, one_line};

/// One gate's answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) answer: Answer,
    /// Nothing for one that passes, and for one that the record does not know yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
}

/// Everything there is to say; the shape is what `-o json` prints.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    cluster: String,
    standing: &'static str,
    /// The newest commit on the desired branch.
    newest: String,
    /// The commit that is in force, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<String>,
    /// The newest commit, where it may not come into force.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// The version that the commit in force asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Whether the cluster itself was looked at.
    looked: bool,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    /// When everything could pass; nothing while one objection has no time of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Timestamp>,
    answers: Vec<Row>,
}

impl Page {
    pub(super) fn new(
        cluster: &str,
        wanted: &Wanted,
        standing: &'static str,
        looked: bool,
        mut answers: Vec<Row>,
    ) -> Self {
        // Once for each object; the strictest on top, then in the order of the gates.
        answers.sort_by(|a, b| {
            let rank = |row: &Row| (std::cmp::Reverse(row.answer.verdict), row.answer.gate);
            rank(a).cmp(&rank(b)).then_with(|| a.answer.reason.cmp(&b.answer.reason))
        });
        answers.dedup_by(|a, b| a.answer == b.answer);
        let objections = answers.iter().filter(|row| row.answer.verdict != Verdict::Allow);
        let next = objections.map(|row| row.answer.next).collect::<Option<Vec<_>>>();
        Self {
            cluster: cluster.to_owned(),
            standing,
            newest: wanted.newest.0.clone(),
            accepted: wanted.desired.as_ref().map(|desired| desired.commit.0.clone()),
            refused: (!wanted.problems.is_empty()).then(|| wanted.newest.0.clone()),
            version: wanted.desired.as_ref().map(|desired| desired.cluster.version.to_string()),
            looked,
            note: None,
            next: next.and_then(|next| next.into_iter().max()),
            answers,
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self.standing {
            "asDesired" => super::status::EXIT_AS_DESIRED,
            "halted" | "refused" => super::status::EXIT_NEEDS_A_PERSON,
            _ => super::status::EXIT_NOT_YET,
        }
    }

    pub(super) fn text(&self) -> String {
        let mut page = String::new();
        let _ = writeln!(page, "{}: {}, {}", self.cluster, self.headline(), self.asked_for());
        if !self.looked {
            let why = self.note.as_deref().unwrap_or_default();
            let _ = writeln!(
                page,
                "answered from git and the record alone ({}); --kubeconfig asks the cluster too",
                one_line(why)
            );
        }
        let heads = ["ANSWER", "GATE", "OBJECT", "SINCE", "COULD PASS", "WHY"].map(str::to_owned).to_vec();
        let cells: Vec<Vec<String>> = std::iter::once(heads).chain(self.answers.iter().map(cells)).collect();
        let _ = write!(page, "\n{}", columns(&cells));
        if let Some(next) = self.next {
            let _ = writeln!(page, "\nEverything could pass at {}.", minute(next));
        }
        page
    }

    /// The version with the commit that asks for it, and the newest commit where that is refused.
    fn asked_for(&self) -> String {
        let short = |commit: &str| commit.chars().take(12).collect::<String>();
        let asked = match (&self.version, &self.accepted) {
            (Some(version), Some(commit)) => format!("{version} is asked for (commit {})", short(commit)),
            (_, _) => "no version is in force".to_owned(),
        };
        match &self.refused {
            Some(commit) => format!("{asked}; the newest commit {} is refused", short(commit)),
            None => asked,
        }
    }

    fn headline(&self) -> &'static str {
        let objects = self.answers.iter().any(|row| row.answer.verdict != Verdict::Allow);
        match (self.standing, objects) {
            ("asDesired", _) => "as desired",
            ("moving", false) => "on its way, nothing objects",
            ("moving", true) => "on its way",
            ("waiting", _) => "waiting",
            ("notTakenUp", _) => "no daemon has taken this commit up yet",
            ("halted", _) => "halted",
            ("refused", _) => "refused",
            (_, _) => "not seen whole yet",
        }
    }
}

fn cells(row: &Row) -> Vec<String> {
    let answer = &row.answer;
    let objects = answer.verdict != Verdict::Allow;
    let word = match answer.verdict {
        Verdict::Allow => "passes",
        Verdict::Wait => "waits",
        Verdict::Deny => "denies",
    };
    let gate = serde_json::to_value(answer.gate).ok().and_then(|gate| gate.as_str().map(str::to_owned));
    let time = |at: Option<Timestamp>, none: &str| {
        at.map_or_else(|| if objects { none.to_owned() } else { String::new() }, minute)
    };
    vec![
        word.to_owned(),
        gate.unwrap_or_default(),
        one_line(&answer.reason.object),
        time(row.since, "just now"),
        time(answer.next, if answer.verdict == Verdict::Deny { "a person decides" } else { "not known" }),
        one_line(&answer.reason.text),
    ]
}

fn columns(cells: &[Vec<String>]) -> String {
    let width = |column: usize| {
        cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut page = String::new();
    for row in cells {
        let padded =
            row.iter().enumerate().map(|(column, cell)| format!("{cell:<width$}", width = width(column)));
        let _ = writeln!(page, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    page
}
