//! The journal is the record: read back it is what it was in memory, at every commit, and nothing is lost on the way.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use windlass::model::decision::{Gate, Key, Verdict};
use windlass::model::entry::{ClusterEvent, CommitEvent, InterruptionEvent, RunEvent, RunOutcome, What};
use windlass::model::plan::Component;
use windlass::record::{self, ClusterPhase, Record, status};
use windlass::view::standing::{ClusterStanding, Exit, worst};
use windlass::view::status::{BesideRecords, StatusPage};

use super::story::{CLUSTER, NEW, OLD, Story, commit, done, eventful, plan, reason, started, v, wait};

#[test]
fn after_every_commit_the_branch_reads_back_as_the_record() {
    let whole = eventful();
    let mut branch = BTreeMap::new();
    let mut replayed = Record::default();
    let mut entries = whole.entries.iter();
    for commit in &whole.commits {
        let files = commit.files.iter();
        branch.extend(files.map(|(path, bytes)| (path.clone(), String::from_utf8(bytes.clone()).unwrap())));
        let read = record::read(CLUSTER, &branch).unwrap();
        while replayed.next_seq < read.next_seq {
            replayed.apply(entries.next().unwrap(), Some(&whole.plan));
        }
        assert_eq!(read, replayed);
        assert_eq!(record::read_status(&branch["prod-eu/status.yaml"]).unwrap(), status(CLUSTER, &read));
    }
    assert_eq!(record::journal(CLUSTER, &branch).unwrap(), whole.entries);
    assert_eq!(replayed, whole.record);
}

#[test]
fn a_file_of_the_journal_is_written_once_and_never_changed() {
    let whole = eventful();
    let mut seen = BTreeMap::new();
    for (path, bytes) in whole.commits.iter().flat_map(|commit| &commit.files) {
        if let Some(before) = seen.insert(path, bytes) {
            assert!(path.ends_with("/status.yaml") || before == bytes, "{path} was changed");
        }
    }
}

#[test]
fn the_status_file_reads_back() {
    let story = eventful();
    let read = record::read_status(story.file("prod-eu/status.yaml")).unwrap();
    assert_eq!(read, status(CLUSTER, &story.record));
    let unknown = story.file("prod-eu/status.yaml").replace("phase:", "fase:");
    assert!(record::read_status(&unknown).is_err());
}

#[test]
fn no_journal_is_an_empty_record() {
    assert_eq!(record::read(CLUSTER, &BTreeMap::new()).unwrap(), Record::default());
}

#[test]
fn since_survives_what_other_waits_do() {
    let mut story = Story::new(plan(1));
    let window = wait(Gate::Window, Key::WindowClosed, "window/nights", "closed", None);
    let held = wait(Gate::Hold, Key::Held, "node/w1", "held", None);
    story.accepted().say([What::Cluster(ClusterEvent::Waiting { answers: vec![window.clone()] })]);
    let first = story.now;
    story
        .pass(5, 0)
        .say([What::Cluster(ClusterEvent::Waiting { answers: vec![held.clone(), window.clone()] })]);
    assert_eq!(since(&story.record), [("node/w1", story.now), ("window/nights", first)]);
    story.pass(5, 0).say([What::Cluster(ClusterEvent::Waiting { answers: vec![held.clone()] })]);
    story.pass(5, 0).say([What::Cluster(ClusterEvent::Waiting { answers: vec![window, held] })]);
    let waits = since(&story.record);
    assert_eq!(waits[0], ("window/nights", story.now), "a wait that was interrupted begins again");
    assert!(waits[1].1 < story.now);
}

fn since(record: &Record) -> Vec<(&str, jiff::Timestamp)> {
    record.waiting.iter().map(|wait| (wait.value.reason.object.as_str(), wait.since)).collect()
}

#[test]
fn the_phase_is_the_first_that_applies() {
    let mut story = Story::new(plan(1));
    let check = |story: &Story, phase, exit: Exit| {
        let status = status(CLUSTER, &story.record);
        assert_eq!((status.phase, worst(ClusterStanding::all_of(&status))), (phase, exit));
    };
    check(&story, ClusterPhase::Idle, Exit::NotYet);
    check(story.accepted(), ClusterPhase::AsDesired, Exit::Done);
    check(story.window_closed(), ClusterPhase::Waiting, Exit::NotYet);
    check(story.run_started(), ClusterPhase::Running, Exit::NotYet);
    check(story.window_closed(), ClusterPhase::Waiting, Exit::NotYet);
    let intent = started("w1", Component::Kubelet);
    check(story.say([intent]), ClusterPhase::Running, Exit::NotYet);
    let refused =
        What::Commit(CommitEvent::Refused { commit: commit("ffff"), problems: vec!["broken".into()] });
    check(story.say([refused]), ClusterPhase::Running, Exit::NeedsAPerson);
    let why = vec![reason(Key::NodeNotReady, "node/w1", "w1 is not Ready")];
    check(
        story.say([What::Interruption(InterruptionEvent::Halted { reasons: why })]),
        ClusterPhase::Halted,
        Exit::NeedsAPerson,
    );
    check(
        story.say([What::Interruption(InterruptionEvent::Stopped { by: "anna".into(), reason: "x".into() })]),
        ClusterPhase::Stopped,
        Exit::NeedsAPerson,
    );
    check(
        story.say([
            What::Interruption(InterruptionEvent::StopEnded),
            What::Interruption(InterruptionEvent::Resumed {
                by: "anna".into(),
                reason: String::new(),
                note: None,
            }),
        ]),
        ClusterPhase::Running,
        Exit::NeedsAPerson,
    );
    let (outcome, none) =
        (done("w1", Component::Kubelet), What::Cluster(ClusterEvent::Waiting { answers: Vec::new() }));
    check(story.say([outcome, none]), ClusterPhase::Refused, Exit::NeedsAPerson);
    story.say([What::Commit(CommitEvent::Accepted { commit: commit(NEW), version: v("v1.36.3"), by: None })]);
    check(story.ended(RunOutcome::Converged, Vec::new()), ClusterPhase::AsDesired, Exit::Done);
}

#[test]
fn an_answer_that_allows_is_no_wait() {
    let mut story = Story::new(plan(1));
    let mut open = wait(Gate::Window, Key::WindowOpen, "window/nights", "open", None);
    open.verdict = Verdict::Allow;
    story.accepted().say([What::Cluster(ClusterEvent::Waiting { answers: vec![open] })]);
    let status = status(CLUSTER, &story.record);
    assert_eq!((status.phase, status.waiting), (ClusterPhase::AsDesired, Vec::new()));
}

#[test]
fn the_commit_to_go_back_to_asked_for_another_version() {
    let mut story = Story::new(plan(1));
    story.accepted();
    story.say([What::Commit(CommitEvent::Accepted {
        commit: commit("aaaa"),
        version: v("v1.36.3"),
        by: None,
    })]);
    assert_eq!(story.record.accepted_before, Some((commit(OLD), v("v1.35.6"))));
    story.run_started();
    let status = status(CLUSTER, &story.record);
    assert_eq!(status.rollback_points[0].commit, Some(commit(OLD)));
}

/// v1.38.1 is asked for and given up again before anything of it runs.
#[test]
fn a_commit_with_a_newer_version_is_none_to_go_back_to() {
    let mut story = Story::new(plan(1));
    story.accepted();
    for (id, version) in [("aaaa", "v1.38.1"), ("bbbb", "v1.36.3")] {
        story.say([What::Commit(CommitEvent::Accepted {
            commit: commit(id),
            version: v(version),
            by: None,
        })]);
    }
    story.run_started();
    assert_eq!(status(CLUSTER, &story.record).rollback_points[0].commit, None);
}

#[test]
fn a_run_and_its_successor_may_share_a_commit() {
    let mut story = eventful();
    let first = story.record.run.as_ref().unwrap().id.clone();
    story.pass(1, 0);
    let plan = story.plan.clone();
    story.say([
        What::Run(RunEvent::Ended { outcome: RunOutcome::Superseded, reasons: Vec::new() }),
        What::Run(RunEvent::Started {
            commit: plan.commit,
            from: plan.from,
            to: plan.to,
            digest: plan.digest,
            nodes: 5,
            why: None,
        }),
    ]);
    assert!(story.branch.contains_key(&format!("prod-eu/runs/{first}/report.md")));
    assert!(story.branch.contains_key("prod-eu/runs/4be81d90a6c2-2/plan.yaml"));
    assert_eq!(record::read(CLUSTER, &story.branch).unwrap(), story.record);
}

#[test]
fn the_page_is_drawn_again_only_on_change() {
    let mut story = eventful();
    let page = |story: &Story, minutes| {
        let known =
            BesideRecords { wanted: Ok(BTreeMap::new()), acting: BTreeMap::new(), kept: BTreeMap::new() };
        let now = story.record.last_at.unwrap() + SignedDuration::from_mins(minutes);
        StatusPage::of(&BTreeMap::from([(CLUSTER.to_owned(), story.record.clone())]), &known, now)
    };
    let before = page(&story, 1);
    assert!(before.same_news(&page(&story, 2)), "only older");
    story.pass(1, 0).say([What::Interruption(InterruptionEvent::StopEnded)]);
    assert!(!before.same_news(&page(&story, 1)));
}
