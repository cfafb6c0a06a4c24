//! Every entry as one sentence, for commit messages and for `windlass history`. It tells what the entry says
//! and nothing that another one would have to be read for.

use super::text::{
    count, first_line, flat, minute, one_line, outcome, phase, plural, reason, reasons, said, shorten,
};
use crate::model::decision::{Answer, Verdict};
use crate::model::entry::{Entry, RunOutcome, StepPhase, What};

/// Objections that one sentence names.
const NAMED: usize = 3;
/// Several reasons of several lines may meet in one sentence.
const CHARS: usize = 1_500;

pub fn sentence(entry: &Entry) -> String {
    shorten(&flat(&told(entry)), CHARS)
}

fn told(entry: &Entry) -> String {
    match &entry.what {
        What::ClusterMet { uid } => {
            format!(
                "met the cluster for the first time; its kube-system namespace has the UID {}",
                one_line(uid)
            )
        }
        What::Accepted { commit, version } => {
            format!("accepted commit {}, which asks for Kubernetes {version}", commit.short())
        }
        What::Refused { commit, problems } => refused(commit.short(), problems),
        What::Waiting { answers } => waiting(answers),
        What::RunStarted { commit, from, to, digest, nodes } => format!(
            "started run {} from {from} to {to} over {}, as commit {} asks (plan {})",
            one_line(entry.run.as_deref().unwrap_or("without a name")),
            plural(*nodes, "node"),
            commit.short(),
            short_digest(digest),
        ),
        What::RollbackPoint { id } => format!("rollback point {} is in place", one_line(id)),
        // A hop's control plane is one unit: its intents are written ahead, and its nodes go one at a time.
        What::StepStarted { step, node, .. } if step.starts_with("controlPlane/") => {
            format!("will take {} in hand in its turn", thing(step, node))
        }
        What::StepStarted { step, node, pods: 0, .. } => format!("takes {} in hand", thing(step, node)),
        What::StepStarted { step, node, pods, baseline, .. } => format!(
            "takes {} in hand: {} of {} are on it",
            thing(step, node),
            plural(*pods, "pod"),
            plural(count(baseline.len()), "owner"),
        ),
        What::StepMoved { step, node, phase } => moved(&thing(step, node), *phase),
        What::StepDone { step, node, version, evicted: 0 } => {
            format!("{} upgraded to {version}", thing(step, node))
        }
        What::StepDone { step, node, version, evicted } => {
            format!("{} upgraded to {version}, {} evicted", thing(step, node), plural(*evicted, "pod"))
        }
        What::StepSetAside { step, node, touched: true, reasons: why } => {
            format!("set {} aside, changed and left cordoned: {}", thing(step, node), reasons(why))
        }
        What::StepSetAside { step, node, touched: false, reasons: why } => {
            format!("set {} aside, untouched: {}", thing(step, node), reasons(why))
        }
        What::StepFailed { step, node, reasons: why } => {
            format!("{} failed: {}", thing(step, node), reasons(why))
        }
        What::StepGone { step, node } => format!("{} is gone or was replaced", thing(step, node)),
        What::Halted { reasons: why } => format!("halted: {}", reasons(why)),
        What::Resumed { by, reason, .. } => format!("resumed by {}", said(by, reason)),
        What::Stopped { by, reason } => format!("stopped by {}", said(by, reason)),
        What::StopEnded => "the stop has ended".to_owned(),
        What::RunEnded { outcome: how, reasons: why } => ended(entry.run.as_deref(), *how, why),
    }
}

/// The step that an entry is about, and its node.
pub(super) fn step_of(what: &What) -> Option<(&str, &str)> {
    match what {
        What::StepStarted { step, node, .. }
        | What::StepMoved { step, node, .. }
        | What::StepDone { step, node, .. }
        | What::StepSetAside { step, node, .. }
        | What::StepFailed { step, node, .. }
        | What::StepGone { step, node } => Some((step, node)),
        What::ClusterMet { .. }
        | What::Accepted { .. }
        | What::Refused { .. }
        | What::Waiting { .. }
        | What::RunStarted { .. }
        | What::RollbackPoint { .. }
        | What::Halted { .. }
        | What::Resumed { .. }
        | What::Stopped { .. }
        | What::StopEnded
        | What::RunEnded { .. } => None,
    }
}

/// What came of an entry, for its trailer; nothing for entries that are no outcome.
pub(super) fn outcome_of(what: &What) -> Option<&'static str> {
    match what {
        What::StepStarted { .. } => Some(phase(StepPhase::Started)),
        What::StepMoved { phase: reached, .. } => Some(phase(*reached)),
        What::StepDone { .. } => Some("done"),
        What::StepSetAside { .. } => Some("setAside"),
        What::StepFailed { .. } => Some("failed"),
        What::StepGone { .. } => Some("gone"),
        What::Refused { .. } => Some("refused"),
        What::Halted { .. } => Some("halted"),
        What::Stopped { .. } => Some("stopped"),
        What::RunEnded { outcome: how, .. } => Some(outcome(*how)),
        What::ClusterMet { .. }
        | What::Accepted { .. }
        | What::Waiting { .. }
        | What::RunStarted { .. }
        | What::RollbackPoint { .. }
        | What::Resumed { .. }
        | What::StopEnded => None,
    }
}

/// What a step moves, as people call it.
pub(super) fn thing(step: &str, node: &str) -> String {
    match (one_line(node), step.ends_with("/servers")) {
        (node, _) if node.is_empty() => "the hosted control plane".to_owned(),
        (node, true) => format!("the control plane of {node}"),
        (node, false) => node,
    }
}

fn refused(commit: &str, problems: &[String]) -> String {
    let first = problems.first().map_or_else(String::new, |problem| format!(": {}", first_line(problem)));
    let more = problems.len().saturating_sub(1);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    format!("refused commit {commit}{first}{more}; the last accepted commit stays in force")
}

fn moved(thing: &str, phase: StepPhase) -> String {
    match phase {
        StepPhase::Started => format!("{thing} is in hand"),
        StepPhase::Claimed => format!("{thing} is claimed"),
        StepPhase::Drained => format!("{thing} is drained"),
        StepPhase::Upgrading => format!("{thing} is being upgraded"),
        StepPhase::Upgraded => format!("{thing} reports the new version"),
        StepPhase::Returned => {
            format!("{thing} is back in service; the owners of its pods may still recover")
        }
    }
}

fn waiting(answers: &[Answer]) -> String {
    let objections: Vec<&Answer> = answers.iter().filter(|answer| answer.verdict != Verdict::Allow).collect();
    let named: Vec<String> = objections.iter().take(NAMED).map(|answer| objection(answer)).collect();
    match objections.len() {
        0 => "waits for nothing any more".to_owned(),
        all if all > NAMED => format!("waits: {}; and {} more", named.join("; "), all - NAMED),
        _ => format!("waits: {}", named.join("; ")),
    }
}

fn objection(answer: &Answer) -> String {
    match answer.next {
        Some(next) => format!("{}, until {} at the earliest", reason(&answer.reason), minute(next)),
        None => reason(&answer.reason),
    }
}

fn ended(run: Option<&str>, how: RunOutcome, why: &[crate::model::decision::Reason]) -> String {
    let run = one_line(run.unwrap_or("without a name"));
    let plain = match how {
        RunOutcome::Converged => "everything in its plan runs the target",
        RunOutcome::Incomplete => "nodes were held or set aside",
        RunOutcome::Superseded => "a newer commit took its place",
        RunOutcome::Cancelled => "its commit was taken back before the control plane moved",
    };
    if why.is_empty() {
        return format!("run {run} ended {}: {plain}", outcome(how));
    }
    format!("run {run} ended {}: {plain}; {}", outcome(how), reasons(why))
}

/// Enough of a digest to tell two apart, without the name of the algorithm.
fn short_digest(digest: &str) -> &str {
    let digits = digest.split_once(':').map_or(digest, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}
