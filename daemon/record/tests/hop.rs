//! When a hop counts as begun, as finished, and which of its nodes is the first.

use std::sync::Arc;

use super::{Journal, commit, components, control_plane_kubelet, plan, v, worker};
use crate::model::entry::{RunOutcome, StepEvent, StepPhase};
use crate::model::live::{Allocatable, Id, Labels, Live, Node, Ready};
use crate::model::plan::{StageKind, Step, StepId};
use crate::record::{EndedRun, Record};

const FIRST: &str = "v1.36.3";
const SECOND: &str = "v1.37.1";

fn step(id: &StepId) -> Step {
    plan().steps().find(|step| step.id == *id).unwrap().clone()
}

#[test]
fn a_hop_is_changed_once_one_of_its_control_plane_nodes_was() {
    let mut journal = Journal::started();
    journal.begin(&components("cp1", FIRST)).begin(&components("cp2", FIRST));
    journal.reach(&components("cp1", FIRST), StepPhase::Drained);
    assert!(!journal.run().hop_changed(0), "it is emptied, and not changed yet");
    journal.reach(&components("cp1", FIRST), StepPhase::Upgrading);
    assert!(journal.run().hop_changed(0) && !journal.run().hop_changed(1));
    // A worker does not belong to the control plane.
    journal.begin(&worker("w1")).reach(&worker("w1"), StepPhase::Upgrading);
    assert!(!journal.run().hop_changed(1));
    journal.begin(&control_plane_kubelet("cp1", SECOND));
    journal.reach(&control_plane_kubelet("cp1", SECOND), StepPhase::Upgrading);
    assert!(journal.run().hop_changed(1));
}

#[test]
fn a_node_that_was_returned_unchanged_leaves_the_hop_unchanged_when_it_is_begun_anew() {
    let mut journal = Journal::started();
    let id = components("cp1", FIRST);
    journal.begin(&id).reach(&id, StepPhase::Upgrading).set_aside(&id, false).begin(&id);
    assert!(!journal.run().hop_changed(0));
    journal.reach(&id, StepPhase::Upgrading).set_aside(&id, true).begin(&id);
    assert!(journal.run().hop_changed(0), "an earlier attempt has changed the node");
}

#[test]
fn a_hop_is_unfinished_while_it_is_changed_and_has_a_step_in_progress() {
    let mut journal = Journal::started();
    let (cp1, cp2) = (components("cp1", FIRST), components("cp2", FIRST));
    journal.begin(&cp1).begin(&cp2);
    assert!(!journal.run().hop_unfinished(), "nothing is changed");
    journal.reach(&cp1, StepPhase::Upgrading);
    assert!(journal.run().hop_unfinished());
    journal.finish(&cp1);
    assert!(journal.run().hop_unfinished(), "cp2 is still to follow");
    journal.finish(&cp2);
    assert!(!journal.run().hop_unfinished(), "what has no intent is not begun");
    journal.begin(&components("cp1", SECOND));
    assert!(!journal.run().hop_unfinished(), "the second hop is begun and not changed");
    journal.set_aside(&components("cp1", SECOND), false);
    journal.begin(&worker("w1")).reach(&worker("w1"), StepPhase::Upgrading);
    assert!(!journal.run().hop_unfinished(), "a worker is no control plane");
}

#[test]
fn the_first_of_a_hop_is_the_first_that_is_not_gone() {
    let mut journal = Journal::started();
    let (cp1, cp2) = (step(&components("cp1", FIRST)), step(&components("cp2", FIRST)));
    let first = |journal: &Journal, step: &Step| journal.run().first_of_hop(step);
    assert!(first(&journal, &cp1) && !first(&journal, &cp2));
    journal.begin(&cp1.id).finish(&cp1.id);
    assert!(first(&journal, &cp1) && !first(&journal, &cp2), "the first stays the first when it is done");
    assert!(first(&journal, &step(&components("cp1", SECOND))), "each hop has its own");
    assert!(first(&journal, &step(&control_plane_kubelet("cp1", FIRST))), "and each kind of stage");
    journal.step(&cp1.id, StepEvent::Gone);
    assert!(!first(&journal, &cp1) && first(&journal, &cp2));
    assert!(!first(&journal, &super::step("cp9", FIRST, StageKind::ControlPlane)));
}

fn ended(outcome: RunOutcome, to: &str) -> EndedRun {
    let mut journal = Journal::started();
    journal.end(outcome);
    EndedRun { to: v(to), commit: commit(), ..journal.record.ended.remove(0) }
}

/// A cluster whose control plane nodes run these versions.
fn live(versions: &[&str]) -> Live {
    let mut live = Live::default();
    for (number, version) in versions.iter().enumerate() {
        let name: Id = Arc::from(format!("cp{number}"));
        live.nodes.insert(Arc::clone(&name), control_plane_node(&name));
        super::api_server(&mut live, &name, &v(version));
    }
    live
}

fn control_plane_node(name: &Id) -> Node {
    Node {
        name: Arc::clone(name),
        uid: Arc::clone(name),
        resource_version: String::new(),
        labels: Labels::default(),
        zone: Arc::from(""),
        control_plane: true,
        kubelet: None,
        kubelet_since: super::at(0),
        ready: Ready::True,
        ready_since: super::at(0),
        unschedulable: false,
        unschedulable_since: super::at(0),
        claim: None,
        hold: None,
        taints: Vec::new(),
        allocatable: Allocatable::default(),
        to_be_deleted: false,
        scale_down_disabled: false,
        joined: jiff::Timestamp::UNIX_EPOCH,
        network_unavailable: None,
        virtual_kubelet: false,
    }
}

#[test]
fn a_superseded_run_may_leave_the_control_plane_between_two_versions() {
    use RunOutcome::{Cancelled, Converged, Superseded};
    let record = |ended: Vec<EndedRun>| Record { ended, ..Record::default() };
    let mixed = live(&["v1.36.3", "v1.35.6"]);
    let left = record(vec![ended(Superseded, FIRST)]);
    assert!(left.left_mid_hop(&mixed, &v(FIRST)));
    assert!(!left.left_mid_hop(&live(&["v1.36.3", "v1.36.3"]), &v(FIRST)), "it is whole");
    assert!(!left.left_mid_hop(&mixed, &v(SECOND)), "the run was on its way to another version");
    assert!(!record(Vec::new()).left_mid_hop(&mixed, &v(FIRST)), "no run of ours has begun it");
    let passed_over = record(vec![ended(Superseded, FIRST), ended(Cancelled, SECOND)]);
    assert!(passed_over.left_mid_hop(&mixed, &v(FIRST)), "a cancelled run has changed nothing");
    let converged = record(vec![ended(Superseded, FIRST), ended(Converged, FIRST)]);
    assert!(!converged.left_mid_hop(&mixed, &v(FIRST)));
}
