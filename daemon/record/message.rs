//! Commit messages of the status branch. The subjects alone read as an audit log; the trailers are for programs.
//! Every text from outside is one bounded line, so it cannot end the message early or forge a trailer.

use std::fmt::Write as _;

use super::sentence::{outcome_of, sentence, start, step_of, thing};
use super::tally;
use super::text::{cause, count, flat, list, one_line, outcome, plural, reason, shorten, way};
use super::{EndedRun, Record};
use crate::model::CommitId;
use crate::model::decision::Reason;
use crate::model::entry::{ClusterEvent, CommitEvent, Entry, InterruptionEvent, RunEvent, StepEvent, What};
use crate::model::plan::StepId;
use crate::model::version::Version;

/// The longest subject. GitHub cuts at 72 characters; ours start with the cluster's name and may be longer.
const SUBJECT_CHARS: usize = 110;
/// How many sentences a body has, and how many steps its trailers name. The journal files have all of a larger batch.
const SENTENCES: usize = 100;
const STEPS: usize = 50;
/// How many nodes a subject names.
const NAMED: usize = 3;

pub fn message(cluster: &str, entries: &[Entry], after: &Record) -> String {
    let mut text = shorten(&flat(&format!("{cluster}: {}", subject(entries, after))), SUBJECT_CHARS);
    text.push_str("\n\n");
    for entry in entries.iter().take(SENTENCES) {
        let _ = writeln!(text, "- {}", sentence(entry));
    }
    if entries.len() > SENTENCES {
        let _ = writeln!(text, "- and {} more, in the journal", entries.len() - SENTENCES);
    }
    text.push_str("\n[skip ci]\n\n");
    trailers(&mut text, cluster, entries, after);
    text
}

/// How important an entry is for its commit; the subject is about the most important one.
fn weight(what: &What) -> u8 {
    match what {
        What::Cluster(ClusterEvent::Waiting { .. } | ClusterEvent::Drifted { .. }) => 0,
        What::Run(RunEvent::Next { .. }) => 1,
        What::Step(_, StepEvent::Moved { .. }) => 2,
        What::Step(_, StepEvent::Started { .. }) => 3,
        What::Cluster(ClusterEvent::Met { .. }) => 4,
        What::Interruption(InterruptionEvent::StopEnded) => 5,
        What::Interruption(InterruptionEvent::Resumed { .. }) => 6,
        What::Commit(CommitEvent::Accepted { .. }) => 7,
        What::Run(
            RunEvent::RollbackPoint { .. }
            | RunEvent::Tainting { .. }
            | RunEvent::Untainted { .. }
            | RunEvent::Ahead { .. }
            | RunEvent::Landed { .. },
        ) => 8,
        What::Step(_, StepEvent::Gone) => 9,
        What::Step(_, StepEvent::Done { .. }) => 10,
        What::Step(_, StepEvent::SetAside { .. }) => 11,
        What::Run(RunEvent::Started { .. }) => 12,
        What::Commit(CommitEvent::Refused { .. }) => 13,
        What::Run(RunEvent::Ended { .. }) => 14,
        What::Step(_, StepEvent::Failed { .. } | StepEvent::GoesBack { .. }) => 15,
        What::Interruption(InterruptionEvent::Halted { .. }) => 16,
        What::Interruption(InterruptionEvent::Stopped { .. }) => 17,
    }
}

fn subject(entries: &[Entry], after: &Record) -> String {
    let Some(first) = entries.iter().rev().max_by_key(|entry| weight(&entry.what)) else {
        return "nothing new".to_owned();
    };
    let alike: Vec<&Entry> =
        entries.iter().filter(|entry| weight(&entry.what) == weight(&first.what)).collect();
    match &first.what {
        What::Cluster(ClusterEvent::Met { .. }) => "first contact".to_owned(),
        What::Commit(CommitEvent::Accepted { commit, version, .. }) => {
            format!("commit {} accepted, now desired: {version}", commit.short())
        }
        What::Commit(CommitEvent::Refused { commit, problems }) => {
            format!("commit {} refused, {}", commit.short(), plural(count(problems.len()), "problem"))
        }
        What::Run(RunEvent::Started { from, to, nodes, .. }) => format!(
            "run {} started, {}{}",
            one_line(first.run.as_deref().unwrap_or_default()),
            way(from, to),
            if from == to { String::new() } else { format!(" on {}", plural(*nodes, "node")) }
        ),
        What::Run(RunEvent::Ended { .. }) => run_ended(first, after),
        What::Step(id, event) => {
            step_subject(id, event, &alike, after).unwrap_or_else(|| several(first, alike.len()))
        }
        What::Cluster(ClusterEvent::Waiting { .. } | ClusterEvent::Drifted { .. })
        | What::Run(
            RunEvent::RollbackPoint { .. }
            | RunEvent::Tainting { .. }
            | RunEvent::Untainted { .. }
            | RunEvent::Ahead { .. }
            | RunEvent::Landed { .. }
            | RunEvent::Next { .. },
        )
        | What::Interruption(_) => several(first, alike.len()),
    }
}

/// The subject of a commit about steps; `None` if the sentence of the first of them is good enough.
fn step_subject(id: &StepId, event: &StepEvent, alike: &[&Entry], after: &Record) -> Option<String> {
    let things = things(alike);
    let because = |reasons: &[Reason]| reasons.first().map(reason).unwrap_or_default();
    match event {
        StepEvent::Started { .. } => Some(format!("{} {things}", start(id))),
        StepEvent::Done { version, .. } => {
            Some(format!("{things} upgraded to {version}{}", share_of_stage(id, after)))
        }
        StepEvent::SetAside { reasons, .. } if alike.len() == 1 => {
            Some(format!("{things} set aside: {}", because(reasons)))
        }
        StepEvent::SetAside { .. } => Some(format!("{things} set aside")),
        StepEvent::Failed { reasons } => {
            Some(format!("{things} failed: {}", reasons.first().map(cause).unwrap_or_default()))
        }
        StepEvent::GoesBack { reasons } => {
            Some(format!("{things} failed and goes back: {}", reasons.first().map(cause).unwrap_or_default()))
        }
        StepEvent::Moved { .. } | StepEvent::Gone => None,
    }
}

fn several(first: &Entry, alike: usize) -> String {
    let plain = sentence(first);
    if alike > 1 { format!("{plain}, and {} more", alike - 1) } else { plain }
}

fn things(entries: &[&Entry]) -> String {
    let things: Vec<String> = entries.iter().filter_map(|entry| step_of(&entry.what)).map(thing).collect();
    list(&things, NAMED)
}

/// ` (4 of 8)`: how many steps of the same stage are done.
fn share_of_stage(step: &StepId, after: &Record) -> String {
    let found = after.run.as_ref().and_then(|run| Some((run, run.find(step)?.0)));
    found.map_or_else(String::new, |(run, stage)| {
        let progress = tally::progress(run, stage);
        format!(" ({} of {})", progress.done, progress.steps)
    })
}

fn run_ended(entry: &Entry, after: &Record) -> String {
    let run = entry.run.as_deref().unwrap_or_default();
    match ended_run(run, after) {
        Some(ended) => format!(
            "run {} {}, {}{}",
            one_line(run),
            outcome(ended.outcome),
            way(&ended.from, &ended.to),
            left_behind_counts(ended)
        ),
        None => sentence(entry),
    }
}

fn left_behind_counts(ended: &EndedRun) -> String {
    match (ended.set_aside, ended.failed) {
        (0, 0) => String::new(),
        (aside, 0) => format!(", {aside} set aside"),
        (0, failed) => format!(", {failed} failed"),
        (aside, failed) => format!(", {aside} set aside, {failed} failed"),
    }
}

fn ended_run<'a>(run: &str, after: &'a Record) -> Option<&'a EndedRun> {
    after.ended.iter().rev().find(|ended| ended.run == run)
}

fn trailers(text: &mut String, cluster: &str, entries: &[Entry], after: &Record) {
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{key}: {}", one_line(value));
        }
    };
    put("Cluster", Some(cluster));
    let run = entries.iter().rev().find_map(|entry| entry.run.as_deref());
    put("Run", run);
    let (steps, others): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().partition(|entry| step_of(&entry.what).is_some());
    for entry in steps.into_iter().take(STEPS).chain(others.into_iter().take(STEPS)) {
        put("Step", step_of(&entry.what).map(StepId::to_string).as_deref());
        put("Outcome", outcome_of(&entry.what));
    }
    put("Desired-Commit", desired_commit(entries, run, after).map(|commit| commit.0.as_str()));
    put("Plan-Digest", digest(run, after));
    put("Epoch", entries.last().map(|entry| entry.epoch.to_string()).as_deref());
}

/// The desired commit of a status commit: the one that an entry names, or that of its run, or the one in force.
fn desired_commit<'a>(entries: &'a [Entry], run: Option<&str>, after: &'a Record) -> Option<&'a CommitId> {
    let named = entries.iter().rev().find_map(|entry| match &entry.what {
        What::Commit(CommitEvent::Accepted { commit, .. } | CommitEvent::Refused { commit, .. })
        | What::Run(RunEvent::Started { commit, .. }) => Some(commit),
        What::Run(
            RunEvent::RollbackPoint { .. }
            | RunEvent::Tainting { .. }
            | RunEvent::Untainted { .. }
            | RunEvent::Ahead { .. }
            | RunEvent::Landed { .. }
            | RunEvent::Next { .. }
            | RunEvent::Ended { .. },
        )
        | What::Cluster(_)
        | What::Step(..)
        | What::Interruption(_) => None,
    });
    let current = || after.run.as_ref().filter(|current| run == Some(&current.id)).map(|run| &run.commit);
    let ended = || run.and_then(|run| ended_run(run, after)).map(|ended| &ended.commit);
    let accepted = || after.accepted.as_ref().map(|(commit, _): &(CommitId, Version)| commit);
    named.or_else(current).or_else(ended).or_else(accepted)
}

fn digest<'a>(run: Option<&str>, after: &'a Record) -> Option<&'a str> {
    let run = run?;
    let current =
        after.run.as_ref().filter(|current| current.id == run).map(|current| current.digest.as_str());
    current.or_else(|| ended_run(run, after).map(|ended| ended.digest.as_str()))
}
