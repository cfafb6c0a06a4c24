//! After every entry, the indexes of a run give the same answers as a walk over its steps.

use super::{Journal, at, components, control_plane_kubelet, plan, worker};
use crate::model::entry::{StepEvent, StepPhase};
use crate::model::plan::{Scope, StageKind, StepId};
use crate::record::{Run, StepEnd, StepRecord};

const FIRST: &str = "v1.36.3";
const SECOND: &str = "v1.37.1";

fn names<'a>(steps: impl Iterator<Item = &'a StepId>) -> Vec<&'a str> {
    steps.filter_map(StepId::node_name).collect()
}

fn in_progress(run: &Run) -> Vec<&str> {
    names(run.in_progress().map(|(id, _)| id))
}

fn not_started(run: &Run, stage: usize) -> Vec<&str> {
    names(run.not_started(stage).map(|step| &step.id))
}

#[test]
fn steps_are_found_with_their_stage() {
    let journal = Journal::started();
    let (stage, step) = journal.run().find(&control_plane_kubelet("cp2", SECOND)).unwrap();
    assert_eq!((stage.kind, stage.hop), (StageKind::ControlPlaneKubelets, 1));
    assert_eq!((step.node(), step.to().to_string()), (Some("cp2"), SECOND.to_owned()));
    assert!(journal.run().find(&worker("w9")).is_none());
    let mut replaced = worker("w1");
    replaced.node.as_mut().unwrap().uid = "another".to_owned();
    assert!(journal.run().find(&replaced).is_none(), "a node that came back under its name is another node");
}

#[test]
fn steps_in_progress_come_in_the_order_of_the_plan() {
    let mut journal = Journal::started();
    assert!(in_progress(journal.run()).is_empty());
    for id in [worker("w2"), worker("db1"), control_plane_kubelet("cp1", FIRST), components("cp2", FIRST)] {
        journal.begin(&id);
    }
    assert_eq!(in_progress(journal.run()), ["cp2", "cp1", "db1", "w2"]);
    journal.finish(&components("cp2", FIRST)).set_aside(&worker("db1"), false);
    assert_eq!(in_progress(journal.run()), ["cp1", "w2"]);
    journal.begin(&worker("db1"));
    assert_eq!(in_progress(journal.run()), ["cp1", "db1", "w2"]);
}

#[test]
fn what_was_set_aside_or_failed_can_be_started_again() {
    let mut journal = Journal::started();
    assert_eq!(not_started(journal.run(), 4), ["w1", "db1", "w2", "w3"]);
    journal.begin(&worker("w1")).begin(&worker("w2")).begin(&worker("w3"));
    assert_eq!(not_started(journal.run(), 4), ["db1"]);
    journal.set_aside(&worker("w1"), false).step(&worker("w2"), StepEvent::Failed { reasons: Vec::new() });
    // It ends without having begun.
    journal.set_aside(&worker("db1"), false).finish(&worker("w3"));
    assert_eq!(not_started(journal.run(), 4), ["w1", "db1", "w2"]);
    journal.step(&worker("w2"), StepEvent::Gone).begin(&worker("w1"));
    assert_eq!(not_started(journal.run(), 4), ["db1"]);
    assert!(not_started(journal.run(), 9).is_empty());
}

#[test]
fn the_open_stage_is_the_first_that_is_not_through() {
    let mut journal = Journal::started();
    assert_eq!(journal.run().open_stage(), Some(0));
    journal.begin(&components("cp1", FIRST)).finish(&components("cp1", FIRST));
    journal.begin(&components("cp2", FIRST));
    assert_eq!(journal.run().open_stage(), Some(0), "cp2 is in progress");
    journal.step(&components("cp2", FIRST), StepEvent::Gone);
    assert_eq!(journal.run().open_stage(), Some(1), "a node that is gone keeps nothing open");
    let stages: Vec<Vec<StepId>> =
        plan().stages.iter().map(|stage| stage.steps.iter().map(|step| step.id.clone()).collect()).collect();
    for (number, ids) in stages.iter().enumerate().skip(1) {
        assert_eq!(journal.run().open_stage(), Some(number));
        for id in ids {
            journal.finish(id);
        }
    }
    assert_eq!(journal.run().open_stage(), None);
    journal.set_aside(&worker("w3"), false);
    assert_eq!(journal.run().open_stage(), Some(4));
}

#[test]
fn the_first_intent_stays_what_it_was() {
    let mut journal = Journal::started();
    assert_eq!(journal.run().first_intent(), None);
    journal.set_aside(&worker("w2"), false);
    assert_eq!(journal.run().first_intent(), None, "it ended and never began");
    journal.begin(&worker("w1")).begin(&worker("w2"));
    assert_eq!(journal.run().first_intent(), Some(at(2)));
    journal.set_aside(&worker("w1"), false).begin(&worker("w1"));
    assert_eq!(journal.run().first_intent(), Some(at(2)));
}

#[test]
fn stages_are_counted_by_scope() {
    let mut journal = Journal::started();
    let general = Scope::Pool("general".to_owned());
    let counts = |journal: &Journal, scope: &Scope| {
        let counts = journal.run().stage_counts(4, scope).unwrap();
        (counts.steps, counts.in_progress, counts.done(), counts.done_at(0), counts.done_at(1))
    };
    assert_eq!(counts(&journal, &general), (3, 0, 0, None, None));
    journal.begin(&worker("w1")).begin(&worker("w2")).begin(&worker("db1"));
    journal.finish(&worker("w2"));
    assert_eq!(counts(&journal, &general), (3, 1, 1, Some(at(4)), None));
    assert_eq!(counts(&journal, &Scope::Pool("db".to_owned())), (1, 1, 0, None, None));
    journal.finish(&worker("w1"));
    assert_eq!(counts(&journal, &general), (3, 0, 2, Some(at(4)), Some(at(5))));
    // A second end counts once, at its own time.
    journal.finish(&worker("w2"));
    assert_eq!(counts(&journal, &general), (3, 0, 2, Some(at(5)), Some(at(6))));
    journal.begin(&worker("w2"));
    assert_eq!(counts(&journal, &general), (3, 1, 1, Some(at(5)), None));
    assert!(journal.run().stage_counts(0, &general).is_none());
    assert!(journal.run().stage_counts(9, &general).is_none());
}

/// Compares every index with a walk over all steps while a small generator writes thousands of entries.
#[test]
fn the_indexes_agree_with_a_walk() {
    let ids: Vec<StepId> = plan().steps().map(|step| step.id.clone()).collect();
    let mut journal = Journal::started();
    let mut random = 7_usize;
    for _ in 0..3_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (id, kind) = (&ids[(random >> 33) % ids.len()], (random >> 20) % 7);
        match kind {
            0 | 1 => journal.begin(id),
            2 => journal.reach(id, StepPhase::Upgrading),
            3 => journal.finish(id),
            4 => journal.set_aside(id, random & 1 == 0),
            5 => journal.step(id, StepEvent::Failed { reasons: Vec::new() }),
            _ => journal.step(id, StepEvent::Gone),
        };
        agrees(journal.run());
    }
}

fn agrees(run: &Run) {
    let end = |id: &StepId| run.steps.get(id).map(|record| record.end.clone());
    let begun: Vec<&StepId> =
        run.plan.steps().map(|step| &step.id).filter(|id| end(id) == Some(None)).collect();
    assert_eq!(run.in_progress().map(|(id, _)| id).collect::<Vec<_>>(), begun);
    let over = |id: &StepId| matches!(end(id), Some(Some(StepEnd::Done | StepEnd::Gone)));
    let open = run.plan.stages.iter().position(|stage| stage.steps.iter().any(|step| !over(&step.id)));
    assert_eq!(run.open_stage(), open);
    for (number, stage) in run.plan.stages.iter().enumerate() {
        let ids = stage.steps.iter().map(|step| &step.id);
        let left: Vec<&StepId> = ids.filter(|id| !over(id) && end(id) != Some(None)).collect();
        assert_eq!(run.not_started(number).map(|step| &step.id).collect::<Vec<_>>(), left);
        for scope in stage.steps.iter().map(|step| &step.id.scope) {
            counted(run, number, scope);
        }
    }
    for hop in 0..run.plan.hops.len() {
        let stages = run.plan.stages.iter().filter(|stage| stage.hop == hop && stage.kind.is_control_plane());
        let mut records = stages.flat_map(|stage| &stage.steps).filter_map(|step| run.steps.get(&step.id));
        assert_eq!(run.hop_changed(hop), records.any(StepRecord::is_touched));
    }
}

fn counted(run: &Run, stage: usize, scope: &Scope) {
    let counts = run.stage_counts(stage, scope).unwrap();
    let steps = run.plan.stages[stage].steps.iter().filter(|step| step.id.scope == *scope);
    let records: Vec<_> = steps.clone().filter_map(|step| run.steps.get(&step.id)).collect();
    let done = records.iter().filter(|record| record.end == Some(StepEnd::Done));
    let mut ends: Vec<_> = done.filter_map(|record| record.ended).collect();
    ends.sort();
    assert_eq!(counts.steps, steps.count());
    assert_eq!(counts.in_progress, records.iter().filter(|record| record.end.is_none()).count());
    assert_eq!((0..counts.done()).filter_map(|nth| counts.done_at(nth)).collect::<Vec<_>>(), ends);
}
