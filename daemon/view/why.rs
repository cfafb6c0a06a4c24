//! Why a cluster waits: the answers of all gates, objections first, with since when and until when. It asks no gate:
//! the answers are passed in, and the record has since when each has been given.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::Page;
use super::ink::{Ink, Tone};
use super::standing::{self, ClusterStanding, Exit, worst};
use super::table::{Row, painted};
use crate::model::CommitId;
use crate::model::decision::{Answer, Gate, Reason, Verdict};
use crate::model::desired::Desired;
use crate::model::text::{minute, one_line};
use crate::record::{Record, Since};

/// What the page is made from.
pub struct Facts<'a> {
    pub cluster: &'a str,
    /// The newest commit on the desired branch.
    pub newest: &'a CommitId,
    /// True if that commit may not come into force.
    pub refused: bool,
    /// The desired state in force; `None` if there is none.
    pub desired: Option<&'a Desired>,
    /// Everything that is true of the cluster at once.
    pub standings: Vec<ClusterStanding>,
    /// Why the cluster itself was not read; `None` if it was.
    pub unseen: Option<&'a str>,
    pub answers: Vec<Answer>,
    pub record: &'a Record,
}

/// The page of one cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyPage {
    pub cluster: String,
    pub standing: ClusterStanding,
    /// The run in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The newest commit on the desired branch.
    pub newest: CommitId,
    /// The commit that a daemon has accepted last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<CommitId>,
    /// The newest good commit.
    #[serde(skip)]
    asked: Option<CommitId>,
    /// The newest commit, if it may not come into force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<CommitId>,
    /// The version in the desired state in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// True if the cluster itself was read.
    pub looked: bool,
    /// Why it was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When all gates could allow; `None` while one objection has no known time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// Objections first, the strictest on top.
    pub answers: Vec<AnswerRow>,
    #[serde(skip)]
    standings: Vec<ClusterStanding>,
}

/// One gate's answer about one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerRow {
    pub gate: Gate,
    pub verdict: Verdict,
    pub reason: Reason,
    /// When it could pass; `None` if that is unknown, or if it passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// `None` for an answer that passes, and for one that the record does not have yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl WhyPage {
    pub fn of(facts: Facts<'_>) -> Self {
        let mut answers: Vec<AnswerRow> =
            facts.answers.into_iter().map(|answer| AnswerRow::of(answer, facts.record)).collect();
        answers.sort_by(|a, b| {
            let rank = |row: &AnswerRow| (std::cmp::Reverse(row.verdict), row.gate);
            rank(a).cmp(&rank(b)).then_with(|| a.reason.cmp(&b.reason))
        });
        // Once for each object, however many steps got the answer.
        answers.dedup();
        let next = answers.iter().filter(|row| row.objects()).map(|row| row.next);
        let next = next.collect::<Option<Vec<_>>>().and_then(|next| next.into_iter().max());
        Self {
            cluster: facts.cluster.to_owned(),
            standing: facts.standings.iter().copied().min().unwrap_or(ClusterStanding::Looking),
            run: facts.record.run.as_ref().map(|run| run.id.clone()),
            newest: facts.newest.clone(),
            accepted: facts.record.accepted.as_ref().map(|(commit, _)| commit.clone()),
            asked: facts.desired.map(|desired| desired.commit.clone()),
            refused: facts.refused.then(|| facts.newest.clone()),
            version: facts.desired.map(|desired| desired.cluster.version.to_string()),
            looked: facts.unseen.is_none(),
            note: facts.unseen.map(str::to_owned),
            next,
            answers,
            standings: facts.standings,
        }
    }

    pub fn exit(&self) -> Exit {
        worst(self.standings.iter().copied())
    }

    fn headline(&self) -> String {
        let refusal =
            self.refused.as_ref().map(|commit| format!("the newest commit {} is refused", commit.short()));
        let standing = standing::headline(&self.standings, self.run.is_some(), refusal.as_deref());
        let free = !self.answers.iter().any(AnswerRow::objects);
        let standing = match (self.standing, refusal) {
            (ClusterStanding::Moving, None) if free && self.run.is_none() => {
                "ready to run, nothing objects".to_owned()
            }
            (ClusterStanding::Moving, None) if free => format!("{standing}, nothing objects"),
            (ClusterStanding::Refused, _) | (_, None) => standing,
            (_, Some(refusal)) => format!("{standing}; {refusal}"),
        };
        let asked = match (&self.version, &self.asked) {
            (Some(version), Some(commit)) if self.refused.is_some() => {
                format!("{version} stays in force (commit {})", commit.short())
            }
            (Some(version), Some(commit)) => format!("git asks for {version} (commit {})", commit.short()),
            (_, _) => "no version is in force".to_owned(),
        };
        format!("{standing}; {asked}")
    }
}

impl Page for WhyPage {
    fn draw(&self, ink: Ink) -> String {
        let headline = ink.paint(Tone::from(self.exit()), &self.headline());
        let mut page = format!("{}: {headline}\n", self.cluster);
        if !self.looked {
            let why = one_line(self.note.as_deref().unwrap_or_default());
            let _ = writeln!(
                page,
                "from git and the record alone ({why}); with --kubeconfig the cluster is asked too"
            );
        }
        let heads = ["ANSWER", "GATE", "OBJECT", "SINCE", "COULD PASS", "WHY"];
        let rows = self.answers.iter().map(|answer| Row { cells: answer.words(), tones: answer.tones() });
        let _ = write!(page, "\n{}", painted(heads, rows.collect(), ink));
        if let Some(next) = self.next {
            let _ = writeln!(page, "\nEverything could pass at {}.", minute(next));
        }
        page
    }
}

impl AnswerRow {
    /// An answer, with the time in the record since which it has been given.
    fn of(answer: Answer, record: &Record) -> Self {
        let same = |old: &&Since<Answer>| {
            old.value.reason.key == answer.reason.key && old.value.reason.object == answer.reason.object
        };
        let recorded = record.waiting.iter().find(same).map(|old| old.since);
        let since = match (answer.verdict, answer.gate) {
            (Verdict::Allow, _) => None,
            (_, Gate::Stop) => recorded.or_else(|| record.stopped.as_ref().map(|stopped| stopped.since)),
            (_, Gate::Halt) => recorded.or_else(|| record.halted.as_ref().map(|halted| halted.since)),
            (Verdict::Wait | Verdict::Deny, _) => recorded,
        };
        let Answer { gate, verdict, reason, next } = answer;
        Self { gate, verdict, reason, next, since }
    }

    fn objects(&self) -> bool {
        self.verdict != Verdict::Allow
    }

    fn tones(&self) -> [Tone; 6] {
        let answer = match self.verdict {
            Verdict::Allow => Tone::Good,
            Verdict::Wait => Tone::Wait,
            Verdict::Deny => Tone::Bad,
        };
        [answer, Tone::Plain, Tone::Plain, Tone::Plain, Tone::Plain, Tone::Plain]
    }

    fn words(&self) -> [String; 6] {
        let (answer, no_since, no_next) = match self.verdict {
            Verdict::Allow => ("passes", "", ""),
            Verdict::Wait => ("waits", "not recorded yet", "not known"),
            Verdict::Deny => ("denies", "not recorded yet", "when a person acts"),
        };
        let time = |at: Option<Timestamp>, none: &str| at.map_or_else(|| none.to_owned(), minute);
        [
            answer.to_owned(),
            gate(self.gate),
            one_line(&self.reason.object),
            time(self.since, no_since),
            time(self.next, no_next),
            one_line(&self.reason.text),
        ]
    }
}

/// A gate's name in JSON.
fn gate(gate: Gate) -> String {
    let word = serde_json::to_value(gate).ok();
    word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::desired::{File, load};
    use crate::model::decision::Key;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn desired() -> Desired {
        let file = "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nmetadata: {name: demo}\nspec:\n  \
            kubernetes: {version: v1.36.3}\n  controlPlane: {provider: external}\n";
        let path = "desired-state/demo/cluster.yaml".to_owned();
        let loaded = load(&commit("4be81d90a6c2"), &BTreeMap::from([(path, File::Text(file.to_owned()))]));
        loaded.clusters.into_values().next().unwrap().unwrap()
    }

    fn commit(start: &str) -> CommitId {
        CommitId(start.repeat(4))
    }

    fn answer(gate: Gate, verdict: Verdict, reason: Reason, next: Option<&str>) -> Answer {
        Answer { gate, verdict, reason, next: next.map(at) }
    }

    fn passes(gate: Gate) -> Answer {
        answer(gate, Verdict::Allow, Reason::new(Key::Passes, "cluster/demo", "nothing objects"), None)
    }

    fn closed() -> Answer {
        let reason = Reason::new(Key::WindowClosed, "window/nights", "no maintenance window is open");
        answer(Gate::Window, Verdict::Wait, reason, Some("2026-11-25T22:00:00Z"))
    }

    fn held(node: &str) -> Answer {
        let reason = Reason::new(Key::Held, format!("node/{node}"), "held:\na new disk");
        answer(Gate::Hold, Verdict::Deny, reason, None)
    }

    fn page(standings: &[ClusterStanding], refused: bool, answers: Vec<Answer>, record: &Record) -> WhyPage {
        let (newest, desired) = (commit("77aa00bb11cc"), desired());
        WhyPage::of(Facts {
            cluster: "demo",
            newest: &newest,
            refused,
            desired: Some(&desired),
            standings: standings.to_vec(),
            unseen: None,
            answers,
            record,
        })
    }

    #[test]
    fn what_objects_comes_first_and_once_with_since_when_and_until_when() {
        let since = at("2026-11-25T18:58:00Z");
        let record = Record { waiting: vec![Since { value: closed(), since }], ..Record::default() };
        let answers = vec![passes(Gate::Plan), closed(), held("w2"), held("w1"), closed()];
        let mut shown = page(&[ClusterStanding::Waiting], false, answers, &record);
        insta::assert_snapshot!(shown.text(), @"
        demo: waiting; git asks for v1.36.3 (commit 4be81d90a6c2)

        ANSWER  GATE    OBJECT         SINCE                 COULD PASS            WHY
        denies  hold    node/w1        not recorded yet      when a person acts    held: a new disk
        denies  hold    node/w2        not recorded yet      when a person acts    held: a new disk
        waits   window  window/nights  2026-11-25 18:58 UTC  2026-11-25 22:00 UTC  no maintenance window is open
        passes  plan    cluster/demo                                               nothing objects
        ");
        shown.answers.truncate(1);
        insta::assert_snapshot!(shown.json().unwrap(), @r#"
        {
          "cluster": "demo",
          "standing": "waiting",
          "newest": "77aa00bb11cc77aa00bb11cc77aa00bb11cc77aa00bb11cc",
          "version": "v1.36.3",
          "looked": true,
          "answers": [
            {
              "gate": "hold",
              "verdict": "deny",
              "reason": {
                "key": "held",
                "object": "node/w1",
                "text": "held: a new disk"
              }
            }
          ]
        }
        "#);
    }

    #[test]
    fn everything_could_pass_when_the_last_objection_could() {
        let mut later = closed();
        later.gate = Gate::Freeze;
        later.next = Some(at("2026-12-01T08:00:00Z"));
        let shown = page(&[ClusterStanding::Waiting], false, vec![closed(), later], &Record::default());
        assert_eq!(shown.next, Some(at("2026-12-01T08:00:00Z")));
        assert!(
            shown.text().ends_with("\nEverything could pass at 2026-12-01 08:00 UTC.\n"),
            "{}",
            shown.text()
        );
        let shown = page(&[ClusterStanding::Waiting], false, vec![closed(), held("w1")], &Record::default());
        assert_eq!(shown.next, None, "nobody knows when a person acts");
    }

    #[test]
    fn the_first_line_says_where_it_stands() {
        use ClusterStanding::{AsDesired, Halted, Moving, NotTakenUp, Refused, Stopped};
        let asked = "git asks for v1.36.3 (commit 4be81d90a6c2)";
        let stays = "v1.36.3 stays in force (commit 4be81d90a6c2)";
        for (standings, refused, answers, told, code) in [
            (vec![AsDesired], false, vec![], format!("as desired; {asked}"), 0),
            (vec![Moving], false, vec![], format!("ready to run, nothing objects; {asked}"), 3),
            (vec![Moving], false, vec![closed()], format!("running; {asked}"), 3),
            (vec![Moving, NotTakenUp], false, vec![], format!("{}; {asked}", NotTakenUp.headline()), 3),
            (vec![Moving, Stopped], false, vec![], format!("stopped, until `windlass resume`; {asked}"), 3),
            (vec![Moving, Halted], false, vec![], format!("{}; {asked}", Halted.headline()), 4),
            (vec![NotTakenUp, Halted], false, vec![], format!("{}; {asked}", Halted.headline()), 4),
            (vec![Refused], false, vec![], format!("refused; {asked}"), 4),
            (vec![Refused], true, vec![], format!("the newest commit 77aa00bb11cc is refused; {stays}"), 4),
            (
                vec![Moving, Refused],
                true,
                vec![held("w1")],
                format!("running; the newest commit 77aa00bb11cc is refused; {stays}"),
                4,
            ),
        ] {
            let shown = page(&standings, refused, answers, &Record::default());
            assert_eq!(shown.text().lines().next().unwrap(), format!("demo: {told}"));
            assert_eq!(shown.exit().code(), code, "{told}");
        }
    }

    #[test]
    fn a_page_that_did_not_see_the_cluster_says_so() {
        let newest = commit("77aa00bb11cc");
        let shown = WhyPage::of(Facts {
            cluster: "demo",
            newest: &newest,
            refused: true,
            desired: None,
            standings: vec![ClusterStanding::Refused],
            unseen: Some("no kubeconfig is named"),
            answers: Vec::new(),
            record: &Record::default(),
        });
        let head: Vec<_> = shown.text().lines().take(2).map(str::to_owned).collect();
        assert_eq!(
            head,
            [
                "demo: the newest commit 77aa00bb11cc is refused; no version is in force",
                "from git and the record alone (no kubeconfig is named); with --kubeconfig the cluster is asked too",
            ]
        );
    }
}
