//! Every kind of entry reads as a sentence, and no text from outside leaves its line.

use windlass::model::decision::{Gate, Key};
use windlass::model::entry::{Entry, RunOutcome, StepPhase, What};
use windlass::model::plan::Component;
use windlass::record::{self, sentence, text};

use super::golden::golden;
use super::story::{
    CLUSTER, NEW, commit, done, eventful, failed, moved, plan, reason, set_aside, started, v, wait,
};

fn every_kind() -> Vec<What> {
    let why = || vec![reason(Key::NodeNotReady, "node/w1", "it is not Ready")];
    let phases = [
        StepPhase::Started,
        StepPhase::Claimed,
        StepPhase::Drained,
        StepPhase::Upgrading,
        StepPhase::Upgraded,
        StepPhase::Returned,
    ];
    let outcomes =
        [RunOutcome::Converged, RunOutcome::Incomplete, RunOutcome::Superseded, RunOutcome::Cancelled];
    let closed = wait(
        Gate::Window,
        Key::WindowClosed,
        "window/nights",
        "the window is closed",
        Some("2026-11-25T21:00:00Z"),
    );
    let gone = started("w1", Component::Kubelet);
    let What::StepStarted { step, node, .. } = gone else { unreachable!() };
    let mut all = vec![
        What::ClusterMet { uid: "5f0c7a52".into() },
        What::Accepted { commit: commit(NEW), version: v("v1.36.3") },
        What::Refused { commit: commit(NEW), problems: vec!["a.yaml:1:2 no".into(), "b.yaml:3:4 no".into()] },
        What::Refused { commit: commit(NEW), problems: Vec::new() },
        What::Waiting { answers: Vec::new() },
        What::Waiting { answers: vec![closed.clone()] },
        What::Waiting { answers: vec![closed; 5] },
        What::RunStarted {
            commit: commit(NEW),
            from: v("v1.35.6"),
            to: v("v1.36.3"),
            digest: plan(1).digest,
            nodes: 1,
        },
        What::RollbackPoint { id: "4be81d90a6c2-1".into() },
        started("w1", Component::Kubelet),
        started("cp1", Component::Servers),
        done("w1", Component::Kubelet),
        done("cp1", Component::Servers),
        What::StepDone {
            step: "controlPlane/v1.36.3/@/servers".into(),
            node: String::new(),
            version: v("v1.36.3"),
            evicted: 0,
        },
        set_aside("w1", true),
        set_aside("w1", false),
        failed("w1"),
        What::StepGone { step, node },
        What::Halted { reasons: why() },
        What::Halted { reasons: Vec::new() },
        What::Resumed { by: "anna".into(), reason: "fixed".into(), note: None },
        What::Stopped { by: "anna".into(), reason: String::new() },
        What::StopEnded,
    ];
    all.extend(phases.map(|phase| moved("w1", Component::Kubelet, phase)));
    all.extend(outcomes.map(|outcome| What::RunEnded { outcome, reasons: why() }));
    all
}

#[test]
fn every_kind_of_entry_is_a_sentence() {
    let story = eventful();
    let sentences: Vec<String> = every_kind()
        .into_iter()
        .map(|what| {
            sentence(&Entry { seq: 1, at: story.now, run: Some("4be81d90a6c2-1".into()), epoch: 1, what })
        })
        .collect();
    golden("sentences", &sentences.join("\n"));
}

#[test]
fn a_text_from_outside_forges_no_trailer() {
    let mut story = eventful();
    let evil = "calm\n\nRun: other-1\nOutcome: done\u{2028}x\r\n# Heading | cell `code` <b>".to_owned();
    story.say([
        What::Stopped { by: evil.clone(), reason: evil.clone() },
        What::Refused { commit: commit(NEW), problems: vec![evil.clone()] },
        What::Halted { reasons: vec![reason(Key::JobFailed, &evil, &evil)] },
    ]);
    let message = story.last_message();
    let (body, trailers) = message.trim_end().rsplit_once("\n\n").unwrap();
    assert!(!trailers.contains("other-1") && !body.contains("\nRun:"), "{message}");
    assert_eq!(
        message.lines().next().unwrap().chars().count().min(111),
        message.lines().next().unwrap().chars().count()
    );
    story.ended(RunOutcome::Superseded, vec![reason(Key::JobFailed, &evil, &evil)]);
    let report = story.branch.iter().find(|(path, _)| path.ends_with("report.md")).unwrap().1;
    assert!(!report.contains("\n# Heading") && !report.contains("<b>"), "{report}");
    assert_eq!(record::read(CLUSTER, &story.branch).unwrap(), story.record);
}

#[test]
fn a_commit_of_many_entries_stays_small() {
    let story = eventful();
    let entries: Vec<Entry> =
        (0..5_000).map(|seq| Entry { seq, at: story.now, run: None, epoch: 1, what: failed("w1") }).collect();
    let message = record::message(CLUSTER, &entries, &story.record);
    assert!(message.len() < 32 * 1024, "{}", message.len());
    assert!(message.contains("- and 4900 more, in the journal"));
    let several = record::message(CLUSTER, &[], &story.record);
    assert!(several.starts_with("prod-eu: nothing new\n"));
}

#[test]
fn lengths_lists_and_cuts() {
    let length = |seconds| text::length(jiff::SignedDuration::from_secs(seconds));
    let lengths = [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (250, "4m 10s"),
        (3_900, "1h 5m"),
        (97_200, "1d 3h"),
        (-5, "0s"),
    ];
    for (seconds, said) in lengths {
        assert_eq!(length(seconds), said);
    }
    assert_eq!(text::list(&["a", "b", "c"], 3), "a, b and c");
    assert_eq!(text::list(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    assert_eq!(text::list::<&str>(&[], 2), "");
    assert_eq!(text::shorten("äöü", 2), "ä…");
    assert_eq!(text::plural(1_u32, "pod"), "1 pod");
}
