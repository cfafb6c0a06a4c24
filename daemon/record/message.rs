//! Commit messages of the status branch: the subjects alone read as an audit log, the trailers are for machines.
//! Every text from outside is one bounded line, so that none can end the message early or forge a trailer.

use std::fmt::Write as _;

use super::sentence::{outcome_of, sentence, step_of, thing};
use super::tally;
use super::text::{flat, list, one_line, outcome, plural, reason, said, shorten};
use super::{EndedRun, Record};
use crate::model::CommitId;
use crate::model::entry::{Entry, What};
use crate::model::version::Version;

/// GitHub cuts a subject at 72 characters; ours start with a cluster's name and are allowed some more.
const SUBJECT_CHARS: usize = 110;
/// Sentences of one body, and steps among its trailers: a batch of a thousand is told by its journal files.
const SENTENCES: usize = 100;
const STEPS: usize = 50;
/// Nodes that a subject names.
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

/// How much an entry says about its commit; the subject tells of the weightiest.
fn weight(what: &What) -> u8 {
    match what {
        What::Waiting { .. } => 0,
        What::StepMoved { .. } => 1,
        What::StepStarted { .. } => 2,
        What::ClusterMet { .. } => 3,
        What::StopEnded => 4,
        What::Resumed { .. } => 5,
        What::Accepted { .. } => 6,
        What::RollbackPoint { .. } => 7,
        What::StepGone { .. } => 8,
        What::StepDone { .. } => 9,
        What::StepSetAside { .. } => 10,
        What::RunStarted { .. } => 11,
        What::Refused { .. } => 12,
        What::RunEnded { .. } => 13,
        What::StepFailed { .. } => 14,
        What::Halted { .. } => 15,
        What::Stopped { .. } => 16,
    }
}

fn subject(entries: &[Entry], after: &Record) -> String {
    let Some(first) = entries.iter().rev().max_by_key(|entry| weight(&entry.what)) else {
        return "nothing new".to_owned();
    };
    let alike: Vec<&Entry> =
        entries.iter().filter(|entry| weight(&entry.what) == weight(&first.what)).collect();
    match &first.what {
        What::StepStarted { .. } => format!("takes {} in hand", things(&alike)),
        What::StepDone { version, step, .. } => {
            format!("{} upgraded to {version}{}", things(&alike), of_stage(step, after))
        }
        What::StepSetAside { reasons, .. } if alike.len() == 1 => {
            format!("{} set aside: {}", things(&alike), reasons.first().map(reason).unwrap_or_default())
        }
        What::StepSetAside { .. } => format!("{} set aside", things(&alike)),
        What::StepFailed { reasons, .. } => {
            format!("{} failed: {}", things(&alike), reasons.first().map(reason).unwrap_or_default())
        }
        What::RunStarted { from, to, nodes, .. } => format!(
            "run {} started, {from} to {to} on {}",
            one_line(first.run.as_deref().unwrap_or_default()),
            plural(*nodes, "node")
        ),
        What::RunEnded { .. } => run_ended(first, after),
        What::Refused { commit, problems } => {
            format!(
                "commit {} refused, {}",
                commit.short(),
                plural(super::text::count(problems.len()), "problem")
            )
        }
        What::Accepted { commit, version } => format!("commit {} accepted, {version} wanted", commit.short()),
        What::Stopped { by, reason } => format!("stopped by {}", said(by, reason)),
        What::ClusterMet { .. } => "met for the first time".to_owned(),
        What::Waiting { .. }
        | What::StepMoved { .. }
        | What::RollbackPoint { .. }
        | What::StepGone { .. }
        | What::Halted { .. }
        | What::Resumed { .. }
        | What::StopEnded => several(first, alike.len()),
    }
}

fn several(first: &Entry, alike: usize) -> String {
    let plain = sentence(first);
    if alike > 1 { format!("{plain}, and {} more", alike - 1) } else { plain }
}

fn things(entries: &[&Entry]) -> String {
    let things: Vec<String> = entries
        .iter()
        .filter_map(|entry| step_of(&entry.what))
        .map(|(step, node)| thing(step, node))
        .collect();
    list(&things, NAMED)
}

/// ` (4 of 8)`: how many steps of the same stage are done.
fn of_stage(step: &str, after: &Record) -> String {
    let Some(run) = &after.run else { return String::new() };
    let stage = run.plan.stages.iter().find(|stage| stage.steps.iter().any(|each| each.id == step));
    stage.map_or_else(String::new, |stage| {
        let progress = tally::progress(run, stage);
        format!(" ({} of {})", progress.done, progress.steps)
    })
}

fn run_ended(entry: &Entry, after: &Record) -> String {
    let run = entry.run.as_deref().unwrap_or_default();
    match ended_run(run, after) {
        Some(ended) => format!(
            "run {} {}, {} to {}{}",
            one_line(run),
            outcome(ended.outcome),
            ended.from,
            ended.to,
            left_behind(ended)
        ),
        None => sentence(entry),
    }
}

fn left_behind(ended: &EndedRun) -> String {
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
        put("Step", step_of(&entry.what).map(|(step, _)| step));
        put("Outcome", outcome_of(&entry.what));
    }
    put("Desired-Commit", desired_commit(entries, run, after).map(|commit| commit.0.as_str()));
    put("Plan-Digest", digest(run, after));
    put("Epoch", entries.last().map(|entry| entry.epoch.to_string()).as_deref());
}

/// The commit that an entry names, or that its run works for, or that is in force.
fn desired_commit<'a>(entries: &'a [Entry], run: Option<&str>, after: &'a Record) -> Option<&'a CommitId> {
    let named = entries.iter().rev().find_map(|entry| match &entry.what {
        What::Accepted { commit, .. } | What::Refused { commit, .. } | What::RunStarted { commit, .. } => {
            Some(commit)
        }
        _ => None,
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
