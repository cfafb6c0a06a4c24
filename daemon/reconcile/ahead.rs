//! Pods that leave nodes before their turn, where a pool asks for it: those of the budgets that take longest. Such a budget lets
//! few pods go at a time, and what it allows while no node in drain has pods of it is lost. So its pods leave nodes that
//! wait, at the budget's own pace, and only while an upgraded node has room for them.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::gate::{self, Books, Moment, Question, World};
use crate::model::decision::Gate;
use crate::model::effect::Effect;
use crate::model::entry::{LandedPlace, LandedPod, RunEvent, What};
use crate::model::live::{LeftAhead, Live, Looked, Node, Phase, Pod, Ready};
use crate::model::plan::{PoolLimits, Stage, StageKind};
use crate::model::time::{earlier, later};
use crate::model::work::{Scope, Step};
use crate::record::Run;
use crate::verify::bound::slowest_budgets;
use crate::verify::ledger::Ledger;
use crate::verify::pods::{self, CLOCKS, Case};
use crate::verify::rollouts::{Way, way};
use crate::verify::room::Room;
use crate::work::Turn;

/// How often the nodes are looked through.
const SPACING: SignedDuration = SignedDuration::from_secs(1);
/// How many pods are asked to leave each time.
const AT_ONCE: usize = 10;
/// How often it is recorded where pods are that have left.
const TOLD: SignedDuration = SignedDuration::from_mins(1);
/// So many pods are told at once, without waiting for the minute.
const MANY: usize = 20;
/// How long a pod is waited for before it is told that nothing is in its place.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// Asks pods to leave nodes of the pools that ask for it. `ledger` has what the nodes in drain have left of the budgets.
pub(super) fn ahead<'a>(world: &World<'_>, books: &Books<'_>, live: &'a Live, ledger: &Ledger<'a>) -> Turn {
    let Some(run) = &world.record.run else { return Turn::default() };
    let open = run.open_stage().and_then(|index| Some((index, run.plan.stages.get(index)?)));
    let Some((index, stage)) = open.filter(|(_, stage)| stage.kind == StageKind::Workers) else {
        return Turn::default();
    };
    // Without the taint a pod would most often land on a node that waits, too.
    let asks =
        |(pool, limits): &(&String, &PoolLimits)| limits.drain.ahead && run.tainting.contains_key(*pool);
    let pools: Vec<_> = run.plan.pools.iter().filter(asks).collect();
    if pools.is_empty() || gate::gives_way(world, run) {
        return Turn::default();
    }
    let due = live.overlay.looked.get(&Looked::Ahead).map(|last| later(*last, SPACING));
    if let Some(due) = due.filter(|due| *due > world.now) {
        return Turn { wake_at: Some(due), ..Turn::default() };
    }
    let mut leaving = Leaving { world, live, run, ledger: ledger.clone(), turn: Turn::default() };
    for (pool, limits) in pools {
        if leaving.may(books, (index, stage), pool) {
            leaving.of_pool((index, stage), pool, limits);
        }
    }
    let writes = !leaving.turn.entries.is_empty() || !leaving.turn.effects.is_empty();
    if writes && world.tenure.held.is_none() {
        return Turn { wants_lease: true, moves: true, ..Turn::default() };
    }
    leaving.turn.looked = Some(Looked::Ahead).filter(|_| leaving.turn.entries.is_empty());
    leaving.turn
}

struct Leaving<'a, 'w> {
    world: &'w World<'w>,
    live: &'a Live,
    run: &'w Run,
    ledger: Ledger<'a>,
    turn: Turn,
}

impl<'a> Leaving<'a, '_> {
    /// True if a node of the pool could be taken out now, but for its own pods and for the limit.
    fn may(&self, books: &Books<'_>, (index, stage): (usize, &Stage), pool: &str) -> bool {
        let scope = Scope::Pool(pool.to_owned());
        let Some(step) = self.run.first_waiting(index, &scope) else { return false };
        let (plan, stage, step) = (Some(&self.run.plan), Some(stage), Some(step));
        let world = self.world;
        let may = gate::ask(&Question { moment: Moment::TakeOut, world, plan, stage, step, books });
        let mut objections = may.objections().filter(|answer| answer.gate != Gate::Limit);
        !objections.any(|answer| answer.gate.is_beyond_one_node())
    }

    fn of_pool(&mut self, (index, stage): (usize, &Stage), pool: &str, limits: &PoolLimits) {
        let scope = Scope::Pool(pool.to_owned());
        let steps = self.run.waiting_of(index, &scope);
        let live = self.live;
        let waiting: Vec<&Node> = steps.into_iter().filter_map(|step| self.waits(step)).collect();
        let nodes: Vec<&str> = waiting.iter().map(|node| &*node.name).collect();
        let slow = slowest_budgets(live, &nodes, limits, self.world.census.of_pool(pool).count());
        if slow.is_empty() {
            return;
        }
        let Some(seq) = self.run.ahead.get(pool).copied() else {
            return self.turn.entries.push(What::Run(RunEvent::Ahead { pool: pool.to_owned() }));
        };
        let mut room = self.room(stage, pool);
        let now = self.world.now;
        let asked = |pod: &Pod| {
            let refused = live.overlay.refused.get(&pod.uid).is_some_and(|of| of.until > now);
            refused || live.overlay.is_leaving(&pod.uid)
        };
        for pod in nodes.iter().flat_map(|node| live.pods_on(node)) {
            if self.turn.effects.len() >= AT_ONCE {
                return;
            }
            let goes = pod.ready && matches!(pods::case(live, pod, &limits.drain, None, now), Case::Goes);
            let of_slow = || matches!(live.budgets_of(pod).as_slice(), [(key, _)] if slow.contains(key));
            if !goes || asked(pod) || !of_slow() {
                continue;
            }
            let evicted = way(live, pod, &limits.drain) == Way::Eviction;
            let objection = || self.ledger.objection(pod, limits.drain.implicit_budgets);
            if evicted && objection().is_none() && room.take(pod) {
                self.ledger.take(pod);
                let effect = Effect::Evict {
                    namespace: pod.namespace.to_string(),
                    pod: pod.name.to_string(),
                    uid: pod.uid.to_string(),
                };
                self.turn.effects.push((effect, seq));
            }
        }
    }

    /// The node of a step that has never begun, if it bears our taint and nothing else keeps its pods.
    fn waits(&self, step: &Step) -> Option<&'a Node> {
        let of = step.id.node.as_ref().filter(|_| step.drains() && !self.run.steps.contains_key(&step.id))?;
        let node = self.live.nodes.get(of.name.as_str()).filter(|node| *node.uid == *of.uid)?;
        let free = node.is_outdated() && node.hold.is_none() && node.claim.is_none() && !node.unschedulable;
        (free && node.ready == Ready::True).then_some(node)
    }

    /// What upgraded nodes of the pool have left, beside the pods that are on their way.
    fn room(&self, stage: &Stage, pool: &str) -> Room {
        let upgraded = |node: &&Node| {
            let reached = node.kubelet.as_ref().is_some_and(|runs| runs.reaches(&stage.to));
            let free = !node.unschedulable && node.claim.is_none() && !node.is_outdated();
            reached && free && node.ready == Ready::True
        };
        let nodes = self.world.census.of_pool(pool).filter_map(|name| self.live.nodes.get(name));
        let mut room = Room::of(self.live, nodes.filter(upgraded));
        let unplaced =
            self.live.pods.values().filter(|pod| pod.node.is_none() && pod.phase == Phase::Pending);
        let leaving = self.live.overlay.leaving().filter_map(|uid| self.live.pods.get(uid));
        for pod in unplaced.chain(leaving) {
            room.take(pod);
        }
        room
    }
}

/// The entry about pods that have left and whose owners have new ones, once a minute; all that are left when the run `ends`.
pub(super) fn landed(world: &World<'_>, live: &Live, run: &Run, ends: bool) -> Option<What> {
    let left = &live.overlay.ahead;
    let due = run.landed_at.is_none_or(|last| later(last, TOLD) <= world.now);
    // While a person has stopped the work, nothing of a run is recorded.
    if left.is_empty() || live.stop.is_some() || !(due || ends || left.len() >= MANY) {
        return None;
    }
    let mut taken: BTreeSet<&str> =
        run.landed.values().flatten().map(|place: &LandedPlace| place.pod.as_str()).collect();
    let mut told = Vec::new();
    for (uid, of) in left.iter().filter(|(uid, _)| !run.landed.contains_key(&uid.to_string())) {
        let there = in_its_place(live, of, &mut taken);
        if there.is_some() || ends || later(of.at, PATIENCE) <= world.now {
            let (pod, from) = (of.pod.clone(), of.from.to_string());
            told.push(LandedPod { pod, uid: uid.to_string(), from, there });
        }
    }
    let worth = !told.is_empty() && (due || ends || told.len() >= MANY);
    worth.then_some(What::Run(RunEvent::Landed { pods: told }))
}

/// The first pod that its owner has made since and that nothing was told of.
fn in_its_place<'a>(live: &'a Live, of: &LeftAhead, taken: &mut BTreeSet<&'a str>) -> Option<LandedPlace> {
    let since = earlier(of.at, CLOCKS);
    let new = live.pods_under(&of.owner).filter(|pod| pod.created.time() >= since && !pod.finished());
    let mut new: Vec<(&Pod, &str)> = new.filter_map(|pod| Some((pod, pod.node.as_deref()?))).collect();
    new.retain(|(pod, node)| pod.deleting.is_none() && **node != *of.from && !taken.contains(&*pod.name));
    let (pod, node) = new.into_iter().min_by_key(|(pod, _)| pod.created)?;
    taken.insert(&pod.name);
    Some(LandedPlace { pod: pod.name.to_string(), node: node.to_owned() })
}
