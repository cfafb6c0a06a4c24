//! Which steps of a run are taken up next: stage by stage, and only while every gate passes.

use std::collections::BTreeMap;

use super::calendar::{allowed, fits, kind_of};
use super::drain;
use super::lock;
use super::pass::Pass;
use super::workers::workers;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::desired::Desired;
use crate::model::entry::{Baseline, RunOutcome, StepPhase, What};
use crate::model::live::{Live, OwnerKind};
use crate::model::plan::{Component, DrainLimits, Stage, StageKind, Step};
use crate::plan;
use crate::record::{Run, StepEnd, StepRecord};
use crate::verify;

/// Goes on with a run: takes up what may be taken up, or ends it.
pub(super) fn go_on(pass: &mut Pass<'_>, desired: &Desired, run: &Run) {
    if superseded(desired, run) && !control_plane_unfinished(run) {
        return give_way(pass, desired, run);
    }
    let open = run.plan.stages.iter().enumerate().find(|(_, stage)| !passed(run, stage));
    let Some((index, stage)) = open else {
        return pass.record(What::RunEnded { outcome: RunOutcome::Converged, reasons: Vec::new() });
    };
    let stopped = pass.input.record.halted.is_some() || pass.input.live.stop.is_some();
    // A broken commit begins nothing new; a control plane that was begun is finished all the same.
    let begun = stage.kind != StageKind::Workers && hop_started(run, stage.hop);
    let broken = !begun && !pass.input.wanted.problems.is_empty();
    match stage.kind {
        StageKind::AwaitServers => begin_all(pass, run, &stage.steps.iter().collect::<Vec<_>>()),
        // Nothing is begun; that the calendar would let it is told all the same.
        _ if stopped || broken => drop(allowed(pass, desired, run, kind_of(&run.plan))),
        StageKind::Servers | StageKind::ControlPlaneKubelets => control_plane(pass, desired, run, stage),
        StageKind::Workers => {
            workers(pass, desired, run, stage);
            beyond(pass, desired, run, index);
        }
    }
}

/// What was set aside does not keep later hops waiting as long as the skew allows them.
fn beyond(pass: &mut Pass<'_>, desired: &Desired, run: &Run, index: usize) {
    let Some(stage) = run.plan.stages.get(index) else { return };
    let Some(next) = run.plan.stages.get(index + 1) else { return };
    let only_aside = stage.steps.iter().all(|step| {
        let end = run.steps.get(&step.id).and_then(|rec| rec.end.as_ref());
        matches!(end, Some(StepEnd::Done | StepEnd::Gone | StepEnd::SetAside { touched: false, .. }))
    });
    if !only_aside || next.kind == StageKind::Workers {
        return;
    }
    let too_old = pass
        .input
        .live
        .nodes
        .values()
        .find(|node| node.kubelet.as_ref().is_none_or(|kubelet| next.to.minors_ahead_of(kubelet) > 3));
    match too_old {
        Some(node) => {
            let text = format!("its kubelet would be more than three minors behind {}", next.to);
            let reason = Reason::new(Key::SkewTooLarge, format!("node/{}", node.name), text);
            pass.denies(Gate::Order, reason);
        }
        None => control_plane(pass, desired, run, next),
    }
}

fn passed(run: &Run, stage: &Stage) -> bool {
    stage.steps.iter().all(|step| {
        matches!(
            run.steps.get(&step.id).and_then(|rec| rec.end.as_ref()),
            Some(StepEnd::Done | StepEnd::Gone)
        )
    })
}

/// Whether the desired state has moved on from what this run was begun for.
pub(super) fn superseded(desired: &Desired, run: &Run) -> bool {
    desired.commit != run.commit
        && (desired.cluster.version != run.to
            || plan::limits(&desired.cluster) != run.plan.pools
            || desired.cluster.max_unavailable != run.plan.max_unavailable)
}

/// Whether any server or kubelet of the control plane has been changed, or is being changed, by this run.
pub(super) fn control_plane_touched(run: &Run) -> bool {
    control_plane_steps(run).any(|rec| rec.phase >= StepPhase::Upgrading)
}

fn control_plane_steps(run: &Run) -> impl Iterator<Item = &StepRecord> {
    let stages = run.plan.stages.iter().filter(|stage| stage.kind != StageKind::Workers);
    stages.flat_map(|stage| &stage.steps).filter_map(|step| run.steps.get(&step.id))
}

/// A hop of which one control plane node was touched, and not all are done.
fn control_plane_unfinished(run: &Run) -> bool {
    control_plane_touched(run) && control_plane_steps(run).any(|rec| rec.end.is_none())
}

/// A newer commit asks for something else: what is in hand ends, nothing is begun.
fn give_way(pass: &mut Pass<'_>, desired: &Desired, run: &Run) {
    let object = format!("cluster/{}", pass.input.me.cluster);
    if run.in_hand().next().is_some() {
        let text =
            format!("commit {} takes its place once what is in hand has ended", desired.commit.short());
        return pass.waits(Gate::Plan, Reason::new(Key::PlanStale, object, text));
    }
    let begun =
        run.steps.values().any(|rec| rec.phase >= StepPhase::Upgrading || rec.end == Some(StepEnd::Done));
    let outcome = if begun { RunOutcome::Superseded } else { RunOutcome::Cancelled };
    let text = format!("commit {} asks for {}", desired.commit.short(), desired.cluster.version);
    pass.record(What::RunEnded { outcome, reasons: vec![Reason::new(Key::PlanStale, object, text)] });
}

fn hop_started(run: &Run, hop: usize) -> bool {
    let stages = run.plan.stages.iter().filter(|stage| stage.hop == hop && stage.kind != StageKind::Workers);
    stages.flat_map(|stage| &stage.steps).any(|step| run.steps.contains_key(&step.id))
}

/// The control plane of a hop is one unit: all its intents at once, so that once begun it needs neither window nor git.
fn control_plane(pass: &mut Pass<'_>, desired: &Desired, run: &Run, stage: &Stage) {
    let unit =
        run.plan.stages.iter().filter(|other| other.hop == stage.hop && other.kind != StageKind::Workers);
    let open: Vec<&Step> = unit.flat_map(|stage| &stage.steps).filter(|step| !taken_up(run, step)).collect();
    if open.is_empty() {
        return;
    }
    let kind = kind_of(&run.plan);
    let may = hop_started(run, stage.hop)
        || (allowed(pass, desired, run, kind) && fits(pass, desired, &run.plan, stage.hop, kind));
    if !may {
        return;
    }
    for step in &open {
        let node = pass.input.live.nodes.get(step.node.as_str());
        if let Some(why) = node.and_then(|node| node.hold.as_ref()) {
            let text = format!("a person holds it, and with it the control plane: {why}");
            return pass.denies(Gate::Hold, Reason::new(Key::Held, format!("node/{}", step.node), text));
        }
    }
    begin_all(pass, run, &open);
}

/// Steps that are not being worked on and are not done.
pub(super) fn taken_up(run: &Run, step: &Step) -> bool {
    run.steps.get(&step.id).is_some_and(|rec| match &rec.end {
        None | Some(StepEnd::Done | StepEnd::Gone) => true,
        // A person went on after it, or its time has come again; `rested` asks which.
        Some(StepEnd::SetAside { .. } | StepEnd::Failed(_)) => false,
    })
}

/// Writes the intents. What already is as it should be is recorded as done without being touched.
pub(super) fn begin_all(pass: &mut Pass<'_>, run: &Run, steps: &[&Step]) {
    let live = pass.input.live;
    let open: Vec<&&Step> = steps.iter().filter(|step| !taken_up(run, step)).collect();
    if open.is_empty() || pass.input.record.halted.is_some() || pass.input.live.stop.is_some() {
        return;
    }
    let awaits = open.iter().all(|step| step.node.is_empty());
    pass.wants_lock = !awaits;
    if !awaits && lock::held(pass).is_none() {
        pass.moving = true;
        return;
    }
    for step in open {
        let node = live.nodes.get(step.node.as_str());
        let (id, name) = (step.id.clone(), step.node.clone());
        let there = step.node.is_empty() || node.is_some_and(|node| *node.uid == *step.node_uid);
        let done = live.runs(step.component, &step.node).is_some_and(|version| version >= step.to)
            && node.is_some_and(|node| node.claim.is_none());
        if !there {
            pass.record(What::StepGone { step: id, node: name });
        } else if done {
            pass.record(What::StepDone { step: id, node: name, version: step.to.clone(), evicted: 0 });
        } else {
            let drain = run.plan.pools.get(&step.pool).map(|limits| &limits.drain).filter(|_| step.drain);
            let (pods, baseline) = baseline(live, step, drain);
            let node_uid = step.node_uid.clone();
            pass.record(What::StepStarted { step: id, node: name, node_uid, pods, baseline });
        }
    }
}

/// How Ready the owners of a node's pods are before it is touched.
fn baseline(live: &Live, step: &Step, drain: Option<&DrainLimits>) -> (u32, BTreeMap<String, Baseline>) {
    let mut owners = BTreeMap::new();
    let mut pods = 0;
    if let Some(limits) = drain {
        for pod in drain::to_evict(live, &step.node, limits) {
            pods += 1;
            let Some(owner) = pod.owner.as_ref().filter(|owner| owner.kind != OwnerKind::Job) else {
                continue;
            };
            let top = live.top_owner(owner);
            owners.entry(top.to_string()).or_insert_with(|| Baseline {
                name: live.owner_name(&top),
                ready: verify::ready_pods(live, &top),
            });
        }
    }
    if step.component == Component::Kubelet {
        for pod in live.pods_on(&step.node).filter(|pod| pod.ready) {
            let Some(set) = pod.owner.as_ref().filter(|owner| owner.kind == OwnerKind::DaemonSet) else {
                continue;
            };
            let before = Baseline { name: live.owner_name(&set.uid), ready: 1 };
            owners.insert(set.uid.to_string(), before);
        }
    }
    (pods, owners)
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
