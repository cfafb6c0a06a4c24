//! Every entry as one sentence, for commit messages and for `windlass history`. It uses only what the entry itself
//! has.

use super::text::{
    causes, count, first_line, flat, list, minute, one_line, outcome, phase, plural, reason, reasons, said,
    shorten,
};
use crate::model::decision::{Answer, Reason, Verdict};
use crate::model::entry::{
    ClusterEvent, CommitEvent, DriftedObject, Entry, InterruptionEvent, LandedPod, RunEvent, RunOutcome,
    StepEvent, StepPhase, What,
};
use crate::model::names::OUTDATED;
use crate::model::plan::{Scope, StepId, WorkKind};

/// How many objections one sentence names.
const NAMED: usize = 3;
/// How many owners of pods one sentence names.
const MOST_OWNERS: usize = 5;
/// The longest sentence: several reasons of several lines may be in one.
const CHARS: usize = 1_500;

pub fn sentence(entry: &Entry) -> String {
    let told = match &entry.what {
        What::Cluster(event) => cluster(event),
        What::Commit(event) => commit(event),
        What::Run(event) => run(entry.run.as_deref(), event),
        What::Step(id, event) => step_sentence(id, event),
        What::Interruption(event) => interruption(event),
    };
    shorten(&flat(&told), CHARS)
}

fn cluster(event: &ClusterEvent) -> String {
    match event {
        ClusterEvent::Met { uid } => {
            format!("first contact with the cluster; its kube-system namespace has the UID {}", one_line(uid))
        }
        ClusterEvent::Waiting { answers } => waiting(answers),
        ClusterEvent::Drifted { objects } => drifted(objects),
    }
}

fn drifted(objects: &[DriftedObject]) -> String {
    if objects.is_empty() {
        return "all objects of addons are as they were applied again".to_owned();
    }
    let told = |of: &DriftedObject| {
        let [addon, object, text] = [&of.addon, &of.object, &of.text].map(|text| one_line(text));
        format!("{object} of the addon {addon} {text}")
    };
    list(&objects.iter().map(told).collect::<Vec<_>>(), NAMED)
}

fn commit(event: &CommitEvent) -> String {
    match event {
        CommitEvent::Accepted { commit, version, by } => {
            let by = by.as_ref().map_or_else(String::new, |by| format!(" by {}", one_line(&by.author)));
            format!("accepted commit {}{by}, which asks for Kubernetes {version}", commit.short())
        }
        CommitEvent::Refused { commit, problems } => refused(commit.short(), problems),
    }
}

fn run(run: Option<&str>, event: &RunEvent) -> String {
    match event {
        RunEvent::Started { commit, from, to, digest, nodes, why } => format!(
            "started run {} {}, {} (plan {})",
            one_line(run.unwrap_or("without a name")),
            if from == to {
                format!("of addons at {to}")
            } else {
                format!("from {from} to {to} on {}", plural(*nodes, "node"))
            },
            why.as_ref().map_or_else(|| format!("as commit {} asks", commit.short()), |why| one_line(why)),
            short_digest(digest),
        ),
        RunEvent::RollbackPoint { id } => format!("recorded rollback point {}", one_line(id)),
        RunEvent::Tainting { pool } => {
            format!("nodes of pool {} that wait for their upgrade get the taint {OUTDATED}", one_line(pool))
        }
        RunEvent::Untainted { pool } => {
            format!("took the taint {OUTDATED} from the nodes of pool {}", one_line(pool))
        }
        RunEvent::Next { steps } => {
            let names: Vec<String> = steps.iter().filter_map(StepId::node_name).map(one_line).collect();
            let verb = if names.len() == 1 { "comes" } else { "come" };
            format!("{} {verb} next", list(&names, NAMED))
        }
        RunEvent::Ahead { pool } => {
            format!(
                "pods of the slowest budgets may leave nodes of pool {} before the nodes' turn",
                one_line(pool)
            )
        }
        RunEvent::Landed { pods } => landed(pods),
        RunEvent::Ended { outcome: how, reasons: why } => ended(run, *how, why),
    }
}

fn step_sentence(id: &StepId, event: &StepEvent) -> String {
    let thing = thing(id);
    match event {
        StepEvent::Started { pods, baseline } => started(id, *pods, baseline.len()),
        StepEvent::Moved { phase, .. } => moved(&thing, *phase),
        StepEvent::Done { version, .. } if id.kind == WorkKind::Check => {
            format!("{thing} passed: {version} is rolled out")
        }
        StepEvent::Done { version, evicted, owes } => {
            let pods = match evicted {
                0 => String::new(),
                pods => format!(", {} evicted", plural(*pods, "pod")),
            };
            let late = match owes.as_slice() {
                [] => String::new(),
                owes => format!("; not recovered in time: {}", list(owes, MOST_OWNERS)),
            };
            format!("{thing} upgraded to {version}{pods}{late}")
        }
        StepEvent::SetAside { touched: true, reasons: why } => {
            format!("set {thing} aside, changed and left cordoned: {}", reasons(why))
        }
        StepEvent::SetAside { touched: false, reasons: why } => {
            format!("set {thing} aside, unchanged: {}", reasons(why))
        }
        StepEvent::GoesBack { reasons: why } => {
            format!("{thing} failed and goes back to what it was: {}", causes(why))
        }
        StepEvent::Failed { reasons: why } => format!("{thing} failed: {}", causes(why)),
        StepEvent::Gone => format!("{thing} was deleted or replaced"),
    }
}

fn interruption(event: &InterruptionEvent) -> String {
    match event {
        InterruptionEvent::Halted { reasons: why } => format!("halted: {}", causes(why)),
        InterruptionEvent::Resumed { by, reason, .. } => format!("resumed by {}", said(by, reason)),
        InterruptionEvent::Stopped { by, reason } => format!("stopped by {}", said(by, reason)),
        InterruptionEvent::StopEnded => "the stop has ended".to_owned(),
    }
}

fn started(id: &StepId, pods: u32, workloads: usize) -> String {
    let start = format!("{} {}", start(id), thing(id));
    match id.kind {
        WorkKind::AwaitControlPlane => return format!("{start} to run {}", id.to),
        WorkKind::Check => return format!("{start}, which kubeadm moves with {}", id.to),
        WorkKind::ControlPlane | WorkKind::Kubelet | WorkKind::Addon => {}
    }
    match &id.scope {
        Scope::ControlPlane => format!("{start}: control plane nodes are upgraded one at a time"),
        Scope::Pool(_) | Scope::Addon(_) | Scope::Check(_) if pods == 0 => start,
        Scope::Pool(_) | Scope::Addon(_) | Scope::Check(_) => {
            let (pods, workloads) = (plural(pods, "pod"), plural(count(workloads), "workload"));
            format!("{start}: {pods} to evict, {workloads} to watch")
        }
    }
}

/// The words for a step whose intent is written. The intents of a hop's control plane are written together, but its
/// nodes are upgraded one at a time.
pub(super) fn start(id: &StepId) -> &'static str {
    match &id.scope {
        Scope::ControlPlane if id.kind.only_waits() => "waiting for",
        Scope::ControlPlane => "queued",
        Scope::Pool(_) | Scope::Addon(_) | Scope::Check(_) => "started",
    }
}

/// The step that an entry is about; `None` if it is about none.
pub(super) fn step_of(what: &What) -> Option<&StepId> {
    match what {
        What::Step(id, _) => Some(id),
        What::Cluster(_) | What::Commit(_) | What::Run(_) | What::Interruption(_) => None,
    }
}

/// The outcome in an entry, for the trailer; `None` for an entry that is no outcome.
pub(super) fn outcome_of(what: &What) -> Option<&'static str> {
    match what {
        What::Step(_, event) => Some(step_outcome(event)),
        What::Commit(CommitEvent::Refused { .. }) => Some("refused"),
        What::Run(RunEvent::Ended { outcome: how, .. }) => Some(outcome(*how)),
        What::Interruption(InterruptionEvent::Halted { .. }) => Some("halted"),
        What::Interruption(InterruptionEvent::Stopped { .. }) => Some("stopped"),
        What::Cluster(_)
        | What::Commit(CommitEvent::Accepted { .. })
        | What::Run(
            RunEvent::Started { .. }
            | RunEvent::RollbackPoint { .. }
            | RunEvent::Tainting { .. }
            | RunEvent::Untainted { .. }
            | RunEvent::Ahead { .. }
            | RunEvent::Landed { .. }
            | RunEvent::Next { .. },
        )
        | What::Interruption(InterruptionEvent::Resumed { .. } | InterruptionEvent::StopEnded) => None,
    }
}

fn step_outcome(event: &StepEvent) -> &'static str {
    match event {
        StepEvent::Started { .. } => phase(StepPhase::Started),
        StepEvent::Moved { phase: reached, .. } => phase(*reached),
        StepEvent::Done { .. } => "done",
        StepEvent::SetAside { .. } => "setAside",
        StepEvent::GoesBack { .. } => "goesBack",
        StepEvent::Failed { .. } => "failed",
        StepEvent::Gone => "gone",
    }
}

/// What a step moves, in words.
pub(super) fn thing(id: &StepId) -> String {
    let of = match &id.scope {
        Scope::Addon(name) | Scope::Check(name) => name,
        Scope::ControlPlane | Scope::Pool(_) => id.node_name().unwrap_or("the cluster"),
    };
    id.kind.moved_thing(&one_line(of))
}

fn refused(commit: &str, problems: &[String]) -> String {
    let first = problems.first().map_or_else(String::new, |problem| format!(": {}", first_line(problem)));
    let more = problems.len().saturating_sub(1);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    format!("refused commit {commit}{first}{more}; the last accepted commit stays in force")
}

fn moved(thing: &str, phase: StepPhase) -> String {
    match phase {
        StepPhase::Started => format!("{thing} is started"),
        StepPhase::Claimed => format!("{thing} is claimed"),
        StepPhase::Drained => format!("{thing} is drained"),
        StepPhase::Upgrading => format!("{thing} is being upgraded"),
        StepPhase::Upgraded => format!("{thing} reports the new version"),
        StepPhase::Returned => format!("{thing} is back in service; workloads may still be recovering"),
    }
}

fn landed(pods: &[LandedPod]) -> String {
    let told = pods.iter().map(|of| match &of.there {
        Some(there) => {
            let [pod, from, now, node] =
                [&of.pod, &of.from, &there.pod, &there.node].map(|word| one_line(word));
            format!("{pod} left {from}, and {now} on {node} is in its place")
        }
        None => format!("{} left {}, and nothing is in its place yet", one_line(&of.pod), one_line(&of.from)),
    });
    let told: Vec<String> = told.take(NAMED).collect();
    let more = pods.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    format!("before the turn of their nodes: {}{more}", told.join("; "))
}

fn waiting(answers: &[Answer]) -> String {
    let objections: Vec<&Answer> = answers.iter().filter(|answer| answer.verdict != Verdict::Allow).collect();
    let named: Vec<String> = objections.iter().take(NAMED).map(|answer| objection(answer)).collect();
    match objections.len() {
        0 => "no longer waiting".to_owned(),
        all if all > NAMED => format!("waiting: {}; and {} more", named.join("; "), all - NAMED),
        _ => format!("waiting: {}", named.join("; ")),
    }
}

fn objection(answer: &Answer) -> String {
    match answer.next {
        Some(next) => format!("{}, until {} at the earliest", reason(&answer.reason), minute(next)),
        None => reason(&answer.reason),
    }
}

fn ended(run: Option<&str>, how: RunOutcome, why: &[Reason]) -> String {
    let run = one_line(run.unwrap_or("without a name"));
    let plain = match how {
        RunOutcome::Converged => "everything in its plan runs the target version",
        RunOutcome::Superseded => "a new plan takes its place",
        RunOutcome::Cancelled => "its commit was taken back before the control plane was changed",
    };
    if why.is_empty() {
        return format!("run {run} ended {}: {plain}", outcome(how));
    }
    format!("run {run} ended {}: {plain}; {}", outcome(how), reasons(why))
}

/// Enough digits of a digest to tell two apart, without the name of the algorithm.
fn short_digest(digest: &str) -> &str {
    let digits = digest.split_once(':').map_or(digest, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}
