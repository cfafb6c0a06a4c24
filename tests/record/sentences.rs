//! Every kind of entry reads as a sentence, and no text from outside leaves its line.

use std::collections::BTreeMap;

use windlass::model::decision::{Gate, Key};
use windlass::model::entry::{
    ClusterEvent, CommitEvent, DriftedObject, Entry, InterruptionEvent, RunEvent, RunOutcome, StepEvent,
    StepPhase, What,
};
use windlass::model::installed::{InstalledAddon, InstalledCheck};
use windlass::model::plan::{Component, Scope, Step, StepId, Work};
use windlass::record::{self, sentence};

use super::golden::golden;
use super::story::{
    CLUSTER, NEW, commit, done, eventful, failed, moved, plan, reason, set_aside, started, step, v, wait,
};

/// The step that waits for a control plane without nodes.
fn hosted() -> StepId {
    let work = Work::AwaitControlPlane { from: v("v1.35.6"), to: v("v1.36.3") };
    Step::new(Scope::ControlPlane, work, Vec::new(), Vec::new()).id
}

/// The check of what kubeadm moves with the control plane.
fn checked() -> StepId {
    let (from, to) = (v("v1.35.6"), v("v1.36.3"));
    let of = InstalledAddon::CoreDns;
    let check =
        InstalledCheck { workload: of.workload(), container: of.name().into(), from, to, version: None };
    Step::new(Scope::Check(of.name().into()), Work::Check(check), Vec::new(), Vec::new()).id
}

fn drifted() -> DriftedObject {
    DriftedObject {
        addon: "web".into(),
        object: "configmap/web/app".into(),
        text: "is not as applied: changed by kubectl-edit (Update) at 2026-11-25T21:00:00Z".into(),
    }
}

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
    let outcomes = [RunOutcome::Converged, RunOutcome::Superseded, RunOutcome::Cancelled];
    let closed = wait(
        Gate::Window,
        Key::WindowClosed,
        "window/nights",
        "the window is closed",
        Some("2026-11-25T21:00:00Z"),
    );
    let mut all = vec![
        What::Cluster(ClusterEvent::Met { uid: "5f0c7a52".into() }),
        What::Commit(CommitEvent::Accepted { commit: commit(NEW), version: v("v1.36.3"), by: None }),
        What::Commit(CommitEvent::Refused {
            commit: commit(NEW),
            problems: vec!["a.yaml:1:2 no".into(), "b.yaml:3:4 no".into()],
        }),
        What::Commit(CommitEvent::Refused { commit: commit(NEW), problems: Vec::new() }),
        What::Cluster(ClusterEvent::Waiting { answers: Vec::new() }),
        What::Cluster(ClusterEvent::Waiting { answers: vec![closed.clone()] }),
        What::Cluster(ClusterEvent::Waiting { answers: vec![closed; 5] }),
        What::Cluster(ClusterEvent::Drifted { objects: vec![drifted()] }),
        What::Cluster(ClusterEvent::Drifted { objects: Vec::new() }),
        What::Run(RunEvent::Started {
            commit: commit(NEW),
            from: v("v1.35.6"),
            to: v("v1.36.3"),
            digest: plan(1).digest,
            nodes: 1,
            why: None,
        }),
        What::Run(RunEvent::RollbackPoint { id: "4be81d90a6c2-1".into() }),
        started("w1", Component::Kubelet),
        started("cp1", Component::ControlPlane),
        done("w1", Component::Kubelet),
        done("cp1", Component::ControlPlane),
        What::Step(hosted(), StepEvent::Started { pods: 0, baseline: BTreeMap::new() }),
        What::Step(hosted(), StepEvent::Done { version: "v1.36.3".into(), evicted: 0, owes: Vec::new() }),
        What::Step(checked(), StepEvent::Started { pods: 0, baseline: BTreeMap::new() }),
        What::Step(checked(), StepEvent::Done { version: "v1.14.2".into(), evicted: 0, owes: Vec::new() }),
        What::Step(checked(), StepEvent::Failed { reasons: why() }),
        set_aside("w1", true),
        set_aside("w1", false),
        failed("w1"),
        What::Step(step("w1", Component::Kubelet, "v1.35.6", "v1.36.3").id, StepEvent::Gone),
        What::Interruption(InterruptionEvent::Halted { reasons: why() }),
        What::Interruption(InterruptionEvent::Halted { reasons: Vec::new() }),
        What::Interruption(InterruptionEvent::Resumed {
            by: "anna".into(),
            reason: "fixed".into(),
            note: None,
        }),
        What::Interruption(InterruptionEvent::Stopped { by: "anna".into(), reason: String::new() }),
        What::Interruption(InterruptionEvent::StopEnded),
    ];
    all.extend(phases.map(|phase| moved("w1", Component::Kubelet, phase)));
    all.extend(outcomes.map(|outcome| What::Run(RunEvent::Ended { outcome, reasons: why() })));
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
        What::Interruption(InterruptionEvent::Stopped { by: evil.clone(), reason: evil.clone() }),
        What::Commit(CommitEvent::Refused { commit: commit(NEW), problems: vec![evil.clone()] }),
        What::Interruption(InterruptionEvent::Halted { reasons: vec![reason(Key::JobFailed, &evil, &evil)] }),
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
