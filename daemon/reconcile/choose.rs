//! Which steps of a run are taken up next: stage by stage, and only while every gate passes.

use std::collections::{BTreeMap, BTreeSet};

use super::calendar::{allowed, fits, kind_of};
use super::claim::elsewhere;
use super::drain;
use super::lock;
use super::pass::Pass;
use super::workers::{gate_of, rested, workers};
use crate::model::decision::{Gate, Key, Reason};
use crate::model::desired::{Desired, Mode};
use crate::model::entry::{Baseline, RunOutcome, What};
use crate::model::live::{Live, OwnerKind};
use crate::model::plan::{Component, DrainLimits, Stage, StageKind, Step};
use crate::model::version::Version;
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
    let stopped = pass.input.record.halted.is_some()
        || pass.input.live.stop.is_some()
        || desired.cluster.mode == Mode::Observe;
    // A broken commit begins nothing new; a control plane that was begun is finished all the same.
    let begun = stage.kind != StageKind::Workers && hop_begun(pass, run, stage.hop);
    let broken = !begun && !pass.input.wanted.problems.is_empty();
    match stage.kind {
        StageKind::AwaitServers => begin_all(pass, run, &stage.steps.iter().collect::<Vec<_>>()),
        // Nothing is begun; that the calendar would let it is told all the same.
        _ if stopped || broken => drop(allowed(pass, desired, run, kind_of(&run.plan))),
        StageKind::Servers | StageKind::ControlPlaneKubelets => control_plane(pass, desired, run, stage),
        StageKind::Workers => {
            if let Some(reason) = outgrown(pass, desired, run, stage) {
                let (outcome, reasons) = (RunOutcome::Superseded, vec![reason]);
                return pass.record(What::RunEnded { outcome, reasons });
            }
            workers(pass, desired, run, stage);
            beyond(pass, desired, run, index);
        }
    }
}

/// Why nothing of a plan can go on any more: every node that is left belongs to another pool by now.
fn outgrown(pass: &Pass<'_>, desired: &Desired, run: &Run, stage: &Stage) -> Option<Reason> {
    if run.in_hand().next().is_some() {
        return None;
    }
    let mut last = None;
    for step in stage.steps.iter().filter(|step| !taken_up(run, step)) {
        let node = pass.input.live.nodes.get(step.node.as_str())?;
        let moved = elsewhere(desired, node, &step.pool).filter(|reason| reason.key == Key::PlanStale)?;
        last = Some(moved);
    }
    last
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
    desired.commit != run.commit && plan::asked(&desired.cluster) != run.plan.asked
}

/// Whether any server or kubelet of the control plane has been changed, or is being changed, in this hop.
pub(super) fn hop_touched(run: &Run, hop: usize) -> bool {
    hop_steps(run, hop).any(StepRecord::is_touched)
}

/// Whether a hop has to be finished whatever the calendar says: it was begun by this run, or by one before it.
pub(super) fn hop_begun(pass: &Pass<'_>, run: &Run, hop: usize) -> bool {
    hop_touched(run, hop) || (hop == 0 && left_between(pass, &run.to))
}

/// Whether a run that gave way to a newer commit has left the control plane on its way to this version.
pub(super) fn left_between(pass: &Pass<'_>, to: &Version) -> bool {
    let mut ended = pass.input.record.ended.iter().rev();
    let last = ended.find(|run| run.outcome != RunOutcome::Cancelled);
    let ours = last.is_some_and(|run| run.outcome == RunOutcome::Superseded && run.to == *to);
    let servers = pass.input.live.api_servers();
    ours && servers.values().flatten().collect::<BTreeSet<_>>().len() > 1
}

fn hop_steps(run: &Run, hop: usize) -> impl Iterator<Item = &StepRecord> {
    let of_hop = move |stage: &&Stage| stage.hop == hop && stage.kind != StageKind::Workers;
    let stages = run.plan.stages.iter().filter(of_hop);
    stages.flat_map(|stage| &stage.steps).filter_map(|step| run.steps.get(&step.id))
}

/// A hop of which one control plane node was touched, and not all are done.
fn control_plane_unfinished(run: &Run) -> bool {
    let unfinished = |hop| hop_touched(run, hop) && hop_steps(run, hop).any(|rec| rec.end.is_none());
    (0..run.plan.hops.len()).any(unfinished)
}

/// A newer commit asks for something else: what is in hand ends, nothing is begun.
fn give_way(pass: &mut Pass<'_>, desired: &Desired, run: &Run) {
    let object = format!("cluster/{}", pass.input.me.cluster);
    // What somebody else is waited for is in nobody's hand.
    if run.in_hand().any(|(_, rec)| !rec.node.is_empty()) {
        let text =
            format!("commit {} takes its place once what is in hand has ended", desired.commit.short());
        return pass.waits(Gate::Plan, Reason::new(Key::PlanStale, object, text));
    }
    let begun = run.steps.values().any(|rec| rec.is_touched() || rec.end == Some(StepEnd::Done));
    let outcome = if begun { RunOutcome::Superseded } else { RunOutcome::Cancelled };
    let text = format!("commit {} asks for {}", desired.commit.short(), desired.cluster.version);
    pass.record(What::RunEnded { outcome, reasons: vec![Reason::new(Key::PlanStale, object, text)] });
}

/// The control plane of a hop is one unit: all its intents at once, so that once begun it needs neither window nor git.
fn control_plane(pass: &mut Pass<'_>, desired: &Desired, run: &Run, stage: &Stage) {
    let unit =
        run.plan.stages.iter().filter(|other| other.hop == stage.hop && other.kind != StageKind::Workers);
    let mut open: Vec<&Step> =
        unit.flat_map(|stage| &stage.steps).filter(|step| !taken_up(run, step)).collect();
    open.retain(|step| rested(pass, run, step));
    if open.is_empty() {
        return;
    }
    let kind = kind_of(&run.plan);
    let may = hop_begun(pass, run, stage.hop)
        || (allowed(pass, desired, run, kind) && fits(pass, desired, &run.plan, stage.hop, kind));
    if !may {
        return;
    }
    let objection = open.iter().find_map(|step| against_unit(pass, run, step));
    match objection {
        Some(reason) => pass.denies(gate_of(reason.key), reason),
        None => begin_all(pass, run, &open),
    }
}

/// What about one node keeps the whole control plane from being begun: half of it done is worse than none.
fn against_unit(pass: &Pass<'_>, run: &Run, step: &Step) -> Option<Reason> {
    let live = pass.input.live;
    let node = live.nodes.get(step.node.as_str())?;
    let object = || format!("node/{}", step.node);
    if let Some(why) = &node.hold {
        let text = format!("a person holds it, and with it the control plane: {why}");
        return Some(Reason::new(Key::Held, object(), text));
    }
    if node.unschedulable && node.claim.is_none() {
        let text = "somebody else has cordoned it, and with it holds the control plane";
        return Some(Reason::new(Key::ForeignCordon, object(), text));
    }
    let limits = run.plan.pools.get(&step.pool).filter(|_| step.drain)?;
    let first = drain::structural(live, &step.node, &limits.drain).into_iter().next()?;
    let text = format!("it would keep {} from being emptied: {}", step.node, first.text);
    Some(Reason::new(first.key, first.object, text))
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
