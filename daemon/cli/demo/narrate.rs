//! Turns what happens in a run into the lines that a spectator reads. Pure: it is given what happened and when, and
//! returns lines.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::page::Line;
use super::world::Serving;
use crate::model::decision::{Answer, Key, Verdict};
use crate::model::entry::{
    ClusterEvent, CommitEvent, Entry, InterruptionEvent, RunEvent, StepEvent, StepPhase, What,
};
use crate::model::text::{length, plural};
use crate::model::work::{Scope, StepId, WorkKind};
use crate::record::text::reason;
use crate::record::{self, RunStatus};
use crate::view::ink::Tone;

/// A workload that is short of pods for less than this gets no line when it has all of them again.
const SHORT: SignedDuration = SignedDuration::from_secs(30);
/// The end of a wait is reported if the wait lasted at least this long.
const LONG_WAIT: SignedDuration = SignedDuration::from_secs(45);
/// How many workloads one line names.
const NAMED: usize = 4;

/// Waits that end within moments, or that other lines show better.
const UNTOLD: &[Key] = &[
    Key::Terminating,
    Key::Upgrading,
    Key::OldKubelet,
    Key::JobNotStarted,
    Key::DrainBlocked,
    Key::OwnersRecovering,
    Key::NoRenewal,
    Key::Settling,
    Key::NodeNotReady,
    Key::DaemonSetNotReady,
    Key::ApiNotSteady,
    Key::AddonRolling,
    Key::VolumesAttached,
];

/// Waits whose end is reported too.
const ENDS: &[(Key, &str)] = &[
    (Key::BudgetBlocks, "allows evictions again after"),
    (Key::JobRunning, "has ended after"),
    (Key::Soaking, "has soaked; the rest of the pool waited"),
];

/// What has been reported so far.
#[derive(Default)]
pub(super) struct Narrator {
    part: Option<Part>,
    /// How many pods had to move when the intent of a step was written.
    expected: BTreeMap<StepId, u32>,
    /// Since when each node has been claimed.
    claimed: BTreeMap<StepId, Timestamp>,
    /// How many nodes were done at the last progress line.
    through: u32,
    waits: BTreeMap<(Key, String), (Timestamp, Answer)>,
    /// Waits that were reported once; a limit that is met again is no news.
    known: BTreeSet<(Key, String)>,
    /// Workloads that were reported to be short of pods since all were Ready.
    short: BTreeSet<String>,
    short_since: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    ControlPlane,
    ControlPlaneKubelets,
    Checks,
    Addons,
    Workers,
}

impl Narrator {
    /// Takes in an entry of the journal.
    pub(super) fn entry(&mut self, entry: &Entry) -> Vec<Line> {
        let at = entry.at;
        let told = |who: &str, tone: Tone| vec![line(at, who, tone, record::sentence(entry))];
        match &entry.what {
            What::Step(id, event) => match event {
                StepEvent::Started { pods, .. } => {
                    self.expected.insert(id.clone(), *pods);
                    Vec::new()
                }
                StepEvent::Moved { phase, .. } => self.moved(at, id, *phase),
                StepEvent::Done { version, .. } => self.done(at, id, version),
                StepEvent::SetAside { .. }
                | StepEvent::GoesBack { .. }
                | StepEvent::Failed { .. }
                | StepEvent::Gone => told("daemon", Tone::Bad),
            },
            What::Run(RunEvent::Started { from, to, digest, nodes, .. }) => {
                self.through = 0;
                let digest: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
                let text = format!("{from} to {to}, {}; its plan {digest} is frozen", plural(*nodes, "node"));
                let run = entry.run.as_deref().unwrap_or_default();
                vec![line(at, "run", Tone::Plain, format!("{run} begins: {text}"))]
            }
            What::Run(RunEvent::Ended { .. }) => told("run", Tone::Good),
            What::Cluster(ClusterEvent::Waiting { answers }) => self.waiting(at, answers),
            What::Run(
                RunEvent::RollbackPoint { .. }
                | RunEvent::Tainting { .. }
                | RunEvent::Untainted { .. }
                | RunEvent::Ahead { .. }
                | RunEvent::Landed { .. }
                | RunEvent::Next { .. },
            )
            | What::Cluster(ClusterEvent::Met { .. } | ClusterEvent::Drifted { .. })
            | What::Interruption(InterruptionEvent::Resumed { .. } | InterruptionEvent::StopEnded) => {
                told("daemon", Tone::Plain)
            }
            What::Commit(CommitEvent::Accepted { .. }) => told("daemon", Tone::Good),
            What::Commit(CommitEvent::Refused { .. }) => told("daemon", Tone::Bad),
            What::Interruption(InterruptionEvent::Halted { .. } | InterruptionEvent::Stopped { .. }) => {
                told("daemon", Tone::Bad)
            }
        }
    }

    fn moved(&mut self, at: Timestamp, step: &StepId, phase: StepPhase) -> Vec<Line> {
        let node = step.node_name().unwrap_or_default();
        if let (Scope::Addon(name), StepPhase::Upgrading) = (&step.scope, phase) {
            self.claimed.insert(step.clone(), at);
            let mut lines = self.part(at, step);
            lines.push(line(at, name, Tone::Plain, format!("gets {}; its pods are replaced", step.to)));
            return lines;
        }
        match phase {
            StepPhase::Claimed => {
                self.claimed.insert(step.clone(), at);
                let mut lines = self.part(at, step);
                lines.push(line(at, node, Tone::Plain, self.claim_words(step)));
                lines
            }
            StepPhase::Drained => {
                let took = self.took(step, at);
                // As the record has it: a drained node has lost the pods of its intent.
                let text = match self.expected.get(step).copied().unwrap_or_default() {
                    0 => "had nothing to move; its kubelet is upgraded".to_owned(),
                    pods => {
                        format!("empty after {took}, {} moved; its kubelet is upgraded", plural(pods, "pod"))
                    }
                };
                vec![line(at, node, Tone::Plain, text)]
            }
            StepPhase::Returned if step.kind == WorkKind::Kubelet => {
                let text = format!("upgraded, healthy and back in service after {}", self.took(step, at));
                vec![line(at, node, Tone::Good, text)]
            }
            StepPhase::Started | StepPhase::Upgrading | StepPhase::Upgraded | StepPhase::Returned => {
                Vec::new()
            }
        }
    }

    fn claim_words(&self, step: &StepId) -> String {
        match (self.part, self.expected.get(step)) {
            (Some(Part::ControlPlane), _) => {
                "claimed; kubeadm replaces its API server, controller manager and scheduler".to_owned()
            }
            (Some(Part::Workers), Some(pods)) => format!("cordoned; {} to move", plural(*pods, "pod")),
            // The intents of a control plane are written together; pods that were there then may have moved.
            (Some(Part::ControlPlaneKubelets | Part::Checks | Part::Addons | Part::Workers) | None, _) => {
                "cordoned".to_owned()
            }
        }
    }

    fn took(&self, step: &StepId, at: Timestamp) -> String {
        self.claimed.get(step).map_or_else(|| "no time".to_owned(), |since| length(at.duration_since(*since)))
    }

    /// The heading of a part of the run, if a step is the first of another part.
    fn part(&mut self, at: Timestamp, step: &StepId) -> Vec<Line> {
        let part = match &step.scope {
            Scope::ControlPlane if step.kind == WorkKind::Kubelet => Part::ControlPlaneKubelets,
            Scope::ControlPlane => Part::ControlPlane,
            Scope::Addon(_) => Part::Addons,
            Scope::Check(_) => Part::Checks,
            Scope::Pool(_) => Part::Workers,
        };
        if self.part == Some(part) {
            return Vec::new();
        }
        self.part = Some(part);
        let text = match part {
            Part::ControlPlane => "the control plane components, strictly one node at a time",
            Part::ControlPlaneKubelets => "the kubelets of the control plane, strictly one at a time",
            Part::Checks => "what kubeadm has moved with the control plane, to the end of its rollout",
            Part::Addons => "the addons, one at a time, each watched to the end of its rollout",
            Part::Workers => "the workers of all pools, each pool's canary first, within every limit",
        };
        vec![line(at, "stage", Tone::Title, text.to_owned())]
    }

    fn done(&mut self, at: Timestamp, step: &StepId, version: &str) -> Vec<Line> {
        if let Scope::Addon(name) = &step.scope {
            let text = format!("all of its pods run {version} after {}", self.took(step, at));
            return vec![line(at, name, Tone::Good, text)];
        }
        if step.kind != WorkKind::ControlPlane {
            return Vec::new();
        }
        let text = format!("its control plane runs {version} after {}", self.took(step, at));
        vec![line(at, step.node_name().unwrap_or_default(), Tone::Good, text)]
    }

    /// How far the run is according to its published status, and when it is expected to end.
    pub(super) fn progress(&mut self, at: Timestamp, run: &RunStatus) -> Vec<Line> {
        let (done, total) = (run.counts.done, run.counts.total);
        if done == self.through {
            return Vec::new();
        }
        self.through = done;
        let left = match run.estimated_completion.map(|end| end.duration_since(at)) {
            Some(left) if done < total && left > SignedDuration::from_secs(45) => {
                format!("; about {} min left", (left.as_secs() + 30) / 60)
            }
            Some(_) if done < total => "; less than a minute left".to_owned(),
            Some(_) | None => String::new(),
        };
        vec![line(at, "progress", Tone::Plain, format!("{done} of {} upgraded{left}", plural(total, "node")))]
    }

    /// The recorded waits: those that are new, and those that ended after a long time.
    fn waiting(&mut self, at: Timestamp, answers: &[Answer]) -> Vec<Line> {
        let mut before = std::mem::take(&mut self.waits);
        let mut lines = Vec::new();
        for answer in answers.iter().filter(|answer| answer.verdict != Verdict::Allow) {
            let key = (answer.reason.key, answer.reason.object.clone());
            let since = before.remove(&key).map(|(since, _)| since);
            if since.is_none() && !UNTOLD.contains(&key.0) && self.known.insert(key.clone()) {
                lines.push(line(at, "waits", Tone::Wait, sentence(answer)));
            }
            self.waits.insert(key, (since.unwrap_or(at), answer.clone()));
        }
        for ((key, object), (since, _)) in before {
            let lasted = at.duration_since(since);
            let text = over(key, &object, lasted).filter(|_| lasted >= LONG_WAIT);
            lines.extend(text.map(|text| line(at, "waits", Tone::Good, text)));
        }
        lines
    }

    /// How the workloads stand: reported when another one is short of pods, and when none is any more.
    pub(super) fn pods(&mut self, at: Timestamp, all: &[Serving]) -> Vec<Line> {
        let short: Vec<&Serving> = all.iter().filter(|one| one.ready < one.wanted).collect();
        let (ready, wanted) = all.iter().fold((0, 0), |sum, one| (sum.0 + one.ready, sum.1 + one.wanted));
        if short.is_empty() {
            let since = self.short_since.take().unwrap_or(at);
            let worth = std::mem::take(&mut self.short).len() > 1 || at.duration_since(since) > SHORT;
            let text = format!("all {wanted} pods of {} workloads are Ready", all.len());
            return if worth { vec![line(at, "pods", Tone::Good, text)] } else { Vec::new() };
        }
        let since = *self.short_since.get_or_insert(at);
        // The pods of a drain leave within seconds and are reported together.
        let unknown = short.iter().any(|one| !self.short.contains(&one.name));
        if !unknown || at == since {
            return Vec::new();
        }
        self.short.extend(short.iter().map(|one| one.name.clone()));
        let mut names: Vec<String> = short
            .iter()
            .take(NAMED)
            .map(|one| format!("{} {}/{}", one.name, one.ready, one.wanted))
            .collect();
        if short.len() > NAMED {
            names.push(format!("{} more", short.len() - NAMED));
        }
        vec![line(
            at,
            "pods",
            Tone::Quiet,
            format!("{ready} of {wanted} Ready; being moved: {}", names.join(", ")),
        )]
    }
}

/// The end of a wait, if that is news.
fn over(key: Key, object: &str, lasted: SignedDuration) -> Option<String> {
    let (_, what) = ENDS.iter().find(|(ends, _)| *ends == key)?;
    Some(format!("{} {what} {}", spaced(object), length(lasted)))
}

fn sentence(answer: &Answer) -> String {
    let until = answer.next.map_or_else(String::new, |next| format!(", until {}", next.strftime("%H:%M:%S")));
    let object = spaced(&answer.reason.object);
    let text = reason(&answer.reason);
    let text = text.strip_suffix(&format!(" ({})", answer.reason.object)).unwrap_or(&text);
    format!("{object}: {text}{until}")
}

/// `budget/shop/search` as people say it.
fn spaced(object: &str) -> String {
    object.replacen('/', " ", 1)
}

pub(super) fn line(at: Timestamp, who: &str, tone: Tone, text: String) -> Line {
    Line { at, who: who.to_owned(), text, tone }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::work::NodeRef;

    #[test]
    fn a_drain_ends_with_the_pods_that_it_began_with() {
        for (pods, begun, drained) in [
            (7, "cordoned; 7 pods to move", "empty after 30s, 7 pods moved; its kubelet is upgraded"),
            (0, "cordoned; 0 pods to move", "had nothing to move; its kubelet is upgraded"),
        ] {
            let id = StepId {
                scope: Scope::Pool("general".into()),
                to: "v1.36.3".into(),
                node: Some(NodeRef { name: "w1".into(), uid: "uid-w1".into() }),
                kind: WorkKind::Kubelet,
            };
            let mut narrator = Narrator::default();
            let moved = |phase| StepEvent::Moved { phase, found: None };
            let started = StepEvent::Started { pods, baseline: BTreeMap::new() };
            let events = [(0, started), (0, moved(StepPhase::Claimed)), (30, moved(StepPhase::Drained))];
            let lines = events.into_iter().flat_map(|(seconds, event)| {
                let at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
                let what = What::Step(id.clone(), event);
                narrator.entry(&Entry { seq: 1, at, run: Some("r-1".into()), epoch: 1, what })
            });
            let told: Vec<String> = lines.filter(|line| line.who == "w1").map(|line| line.text).collect();
            assert_eq!(told, [begun, drained]);
        }
    }
}
