//! No run is under way: is there something to do, and may it begin?

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::calendar::{calendar, fits};
use super::choose::{count, left_between};
use super::lock;
use super::pass::Pass;
use super::workers::{MOST_EXPLAINED, gate_of, person};
use crate::gate::MoveKind;
use crate::model::decision::{Gate, Key, Reason, Verdict};
use crate::model::desired::{Desired, Mode};
use crate::model::entry::What;
use crate::model::live::Probe;
use crate::model::plan::{Plan, StageKind};
use crate::model::version::Version;

/// No run is under way: is there something to do, and may it begin?
pub(super) fn begin(pass: &mut Pass<'_>, desired: &Desired) {
    pass.probe(Probe::Api, SignedDuration::from_secs(60));
    let Some(fresh) = pass.input.fresh else { return };
    outside(pass, desired, fresh);
    let object = format!("cluster/{}", pass.input.me.cluster);
    for blocker in &fresh.blockers {
        pass.denies(Gate::Plan, blocker.clone());
    }
    if !fresh.blockers.is_empty() || fresh.is_empty() {
        return;
    }
    pass.passes(Gate::Plan, &object, "the plan is sound");
    let kind = if fresh.crosses_minor() { MoveKind::Minor } else { MoveKind::Patch };
    let decision = calendar(pass, desired).may_take_out(kind, pass.input.now);
    let passes = left_between(pass, &fresh.to)
        || (decision.verdict() == Verdict::Allow && fits(pass, desired, fresh, 0, kind));
    for answer in decision.answers {
        if let Some(next) = answer.next {
            pass.wake(next);
        }
        pass.answer(answer);
    }
    let blocked = pass.input.record.halted.is_some()
        || pass.input.live.stop.is_some()
        || !pass.input.wanted.problems.is_empty()
        || desired.cluster.mode == Mode::Observe;
    if !passes || blocked || !any_takes_part(pass, desired, fresh) {
        return;
    }
    pass.wants_lock = true;
    pass.moving = true;
    if lock::held(pass).is_none() {
        return;
    }
    let run = pass.input.record.next_run(&desired.commit);
    pass.record(What::RunStarted {
        commit: desired.commit.clone(),
        from: oldest(fresh),
        to: fresh.to.clone(),
        digest: fresh.digest.clone(),
        nodes: count(fresh.steps().map(|step| &step.node).collect::<BTreeSet<_>>().len()),
    });
    pass.record(What::RollbackPoint { id: run });
    pass.tick.frozen = Some(fresh.clone());
}

/// Whether any step of a plan could be taken up if it had its turn; a run of nothing but held nodes is no run.
fn any_takes_part(pass: &mut Pass<'_>, desired: &Desired, fresh: &Plan) -> bool {
    let Some(stage) = fresh.stages.iter().find(|stage| !stage.steps.is_empty()) else { return false };
    if stage.kind != StageKind::Workers {
        return true;
    }
    let mut explained = 0;
    let mut any = false;
    for step in &stage.steps {
        let Some(limits) = fresh.pools.get(&step.pool) else { continue };
        match person(pass, desired, step, limits) {
            None => any = true,
            Some(reason) if explained < MOST_EXPLAINED => {
                explained += 1;
                pass.denies(gate_of(reason.key), reason);
            }
            Some(_) => {}
        }
    }
    any
}

/// Nodes that no pool selects keep a cluster from being as desired.
fn outside(pass: &mut Pass<'_>, desired: &Desired, fresh: &Plan) {
    let stray = fresh.risks.iter().filter(|risk| risk.key == Key::NodeInNoPool).take(MOST_EXPLAINED);
    let behind = |risk: &&Reason| {
        let node = risk.object.strip_prefix("node/").and_then(|name| pass.input.live.nodes.get(name));
        node.is_some_and(|node| node.kubelet.as_ref() != Some(&desired.cluster.version))
    };
    let stray: Vec<Reason> = stray.filter(behind).cloned().collect();
    for reason in stray {
        pass.denies(Gate::Plan, reason);
    }
}

/// The oldest version that a plan moves: where only workers move, theirs, not their servers'.
fn oldest(fresh: &Plan) -> Version {
    let from = fresh.steps().map(|step| &step.from).chain([&fresh.from]);
    from.min().unwrap_or(&fresh.from).clone()
}
