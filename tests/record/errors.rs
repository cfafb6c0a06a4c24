//! A record that is not understood whole is refused, and the refusal names the file.

use std::collections::BTreeMap;
use std::error::Error as _;

use windlass::model::entry::{RunEvent, RunOutcome, What};
use windlass::record::{self, WriteError};

use super::story::{CLUSTER, Story, eventful, plan, started};

const FIRST: &str = "prod-eu/journal/0/00000000.yaml";
const RUN: &str = "prod-eu/runs/4be81d90a6c2-1";

type Branch = BTreeMap<String, String>;

fn check(spoil: impl FnOnce(&mut Branch), message: &str, cause: Option<&str>) {
    let mut branch = eventful().branch;
    spoil(&mut branch);
    let error = record::read(CLUSTER, &branch).unwrap_err();
    assert_eq!(error.to_string(), message);
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(source.contains(cause.unwrap_or_default()), "{source}");
    assert_eq!(source.is_empty(), cause.is_none(), "{source}");
}

fn replace(branch: &mut Branch, path: &str, from: &str, to: &str) {
    let text = branch.get_mut(path).unwrap();
    assert!(text.contains(from), "{text}");
    *text = text.replacen(from, to, 1);
}

#[test]
fn what_does_not_parse() {
    let reading = format!("reading {FIRST}");
    check(|b| replace(b, FIRST, "met:", "mat:"), &reading, Some("mat"));
    check(|b| replace(b, FIRST, "epoch: 3", "epoch: three"), &reading, Some("three"));
    check(|b| replace(b, FIRST, "seq: 0", "seq: 0\nseq: 0"), &reading, Some("uplicate"));
    check(|b| b.insert(FIRST.into(), String::new()).map_or((), drop), &reading, Some(""));
}

#[test]
fn what_is_not_known() {
    let unknown = |key: &str| Some(format!("unknown field `{key}`"));
    let at_top = unknown("hurry");
    check(
        |b| replace(b, FIRST, "epoch: 3", "epoch: 3\nhurry: true"),
        &format!("reading {FIRST}"),
        at_top.as_deref(),
    );
    let deep = unknown("alias");
    check(
        |b| replace(b, FIRST, "      uid:", "      alias: x\n      uid:"),
        &format!("reading {FIRST}"),
        deep.as_deref(),
    );
    let plan = format!("{RUN}/plan.yaml");
    let of_plan = unknown("force");
    let reading = format!("reading {plan}");
    check(
        |b| replace(b, &plan, "        drain: false", "        drain: false\n        force: true"),
        &reading,
        of_plan.as_deref(),
    );
    let from_one = Some("hops are counted from one");
    check(
        |b| replace(b, &plan, "kind: controlPlane\n  hop: 1", "kind: controlPlane\n  hop: 0"),
        &reading,
        from_one,
    );
}

#[test]
fn what_is_missing() {
    let second = "prod-eu/journal/0/00000001.yaml";
    let gap =
        "entry 1 is missing from the journal: the next one that is there is prod-eu/journal/0/00000002.yaml";
    check(|b| drop(b.remove(second)), gap, None);
    let none =
        "entry 0 is missing from the journal: the next one that is there is prod-eu/journal/0/00000001.yaml";
    check(|b| drop(b.remove(FIRST)), none, None);
    let no_plan = format!(
        "{RUN}/journal/0/00000006.yaml starts run 4be81d90a6c2-1, whose frozen plan {RUN}/plan.yaml is missing"
    );
    let mut branch = eventful().branch;
    let starts = branch
        .iter()
        .find(|(_, text)| text.contains("digest:") && text.contains("started:"))
        .unwrap()
        .0
        .clone();
    branch.clear();
    let no_plan = no_plan.replace(&format!("{RUN}/journal/0/00000006.yaml"), &starts);
    check(|b| drop(b.remove(&format!("{RUN}/plan.yaml"))), &no_plan, None);
}

#[test]
fn what_is_somewhere_else() {
    let stray = "prod-eu/runs/4be81d90a6c2-1/notes.txt";
    let message = format!("{stray} is not part of a record: only the daemon writes below this folder");
    check(|b| drop(b.insert(stray.into(), "hello".into())), &message, None);
    let foreign = "prod-us/status.yaml does not lie below the folder of cluster prod-eu";
    check(|b| drop(b.insert("prod-us/status.yaml".into(), String::new())), foreign, None);
    let moved = "prod-eu/journal/0/00000099.yaml holds entry 0 of cluster prod-eu, which belongs into prod-eu/journal/0/00000000.yaml";
    check(
        |b| {
            let text = b.remove(FIRST).unwrap();
            b.insert("prod-eu/journal/0/00000099.yaml".into(), text);
        },
        moved,
        None,
    );
    let twice = "entry 0 is there twice: prod-eu/runs/x-1/journal/0/00000000.yaml and prod-eu/journal/0/00000000.yaml";
    check(
        |b| {
            let text = b[FIRST].replace("epoch: 3", "epoch: 3\nrun: x-1");
            b.insert("prod-eu/runs/x-1/journal/0/00000000.yaml".into(), text);
        },
        twice,
        None,
    );
}

#[test]
fn what_does_not_fit_together() {
    let plan = format!("{RUN}/plan.yaml");
    let starts = eventful()
        .branch
        .into_iter()
        .find(|(_, text)| text.contains("digest:") && text.contains("started:"))
        .unwrap()
        .0;
    let digest = "9c1185a5c5e9fc54612808977ee8f548b2258d31";
    let other = format!("{plan} has the digest forged, but {starts} started its run with {digest}");
    check(|b| replace(b, &plan, digest, "forged"), &other, None);
    let mut story = eventful();
    story.ended(RunOutcome::Superseded, Vec::new());
    let late = started("w3", windlass::model::plan::Component::Kubelet);
    story.say([late]);
    let error = record::read(CLUSTER, &story.branch).unwrap_err().to_string();
    assert!(error.ends_with("belongs to run (none), which is not in progress there"), "{error}");
}

#[test]
fn a_page_of_a_person_is_left_alone() {
    let mut story = eventful();
    story.branch.insert("prod-eu/README.md".into(), "what this is".into());
    assert_eq!(record::read(CLUSTER, &story.branch).unwrap(), story.record);
}

#[test]
fn a_commit_that_could_not_be_read_back_is_not_made() {
    let story = eventful();
    let last =
        story.entries.iter().find(|entry| matches!(entry.what, What::Run(RunEvent::Started { .. }))).unwrap();
    let without_plan = record::files(CLUSTER, std::slice::from_ref(last), &story.record, None, None);
    assert!(matches!(without_plan, Err(WriteError::NoPlan { .. })));
    let mut nameless = last.clone();
    nameless.run = None;
    let nameless = record::files(CLUSTER, &[nameless], &story.record, Some(&plan(1)), None);
    assert!(matches!(nameless, Err(WriteError::NamelessRun { .. })));
    let mut end = last.clone();
    end.what = What::Run(RunEvent::Ended { outcome: RunOutcome::Converged, reasons: Vec::new() });
    let unreported = record::files(CLUSTER, &[end], &Story::new(plan(1)).record, None, None);
    assert!(matches!(unreported, Err(WriteError::NoRun { .. })));
}
