//! The taint of nodes that wait for their upgrade. Of two nodes on which an evicted pod fits, the scheduler usually
//! takes one without it, so a pod seldom lands on a node that is drained next. The taint moves nothing that runs, and no step waits for it.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use crate::gate::{self, Books, Moment, Question, World};
use crate::model::decision::{Decision, Gate};
use crate::model::effect::{Effect, EffectKey, NodePatch};
use crate::model::entry::{RunEvent, What};
use crate::model::live::{Id, Live, Looked, Node, Ready};
use crate::model::plan::{PoolLimits, Stage, StageKind};
use crate::model::time::later;
use crate::model::work::{Scope, Step};
use crate::record::Run;
use crate::verify::pods;
use crate::work::Turn;

/// How often the nodes are looked through.
const SPACING: SignedDuration = SignedDuration::from_secs(1);
/// How many taints are set or taken back each time. Five thousand nodes take two minutes, and the API server hardly notices.
const AT_ONCE: usize = 50;

/// How often a patch may be refused before the node is left as it is.
const MOST_TRIES: u32 = 5;

/// Gives the taint to nodes that wait for their upgrade, once the first of their pool are upgraded, and takes it back from all
/// others. The patch that claims a node takes it back too.
pub(super) fn taint(world: &World<'_>, books: &Books<'_>, live: &Live) -> Turn {
    let run = world.record.run.as_ref();
    let stage = run.and_then(open_stage);
    let nothing =
        live.outdated.is_empty() && stage.is_none() && run.is_none_or(|run| run.tainting.is_empty());
    if nothing {
        return Turn::default();
    }
    let due = live.overlay.looked.get(&Looked::Taints).map(|last| later(*last, SPACING));
    if let Some(due) = due.filter(|due| *due > world.now) {
        return Turn { wake_at: Some(due), ..Turn::default() };
    }
    let mut nodes = Tainter { world, live, run, waiting: BTreeSet::new(), turn: Turn::default() };
    if let Some((run, (index, stage))) = run.zip(stage) {
        for (pool, limits) in &run.plan.pools {
            match may_begin(world, books, run, (index, stage), pool) {
                Some(true) if limits.prefer_upgraded => nodes.give(run, index, pool, limits),
                Some(_) => {}
                None => return Turn::default(),
            }
        }
    }
    nodes.take_back();
    nodes.done()
}

/// The stage of workers that is under way, with its number.
fn open_stage(run: &Run) -> Option<(usize, &Stage)> {
    let index = run.open_stage()?;
    let stage = run.plan.stages.get(index).filter(|stage| stage.kind == StageKind::Workers)?;
    let prefers =
        run.open_scopes(index).any(|scope| run.plan.limits(scope).is_some_and(|of| of.prefer_upgraded));
    prefers.then_some((index, stage))
}

/// Whether steps of a pool may begin as far as the pool goes, and the first of them are done; `None` while that is not known.
fn may_begin(
    world: &World<'_>,
    books: &Books<'_>,
    run: &Run,
    (index, stage): (usize, &Stage),
    pool: &str,
) -> Option<bool> {
    let scope = Scope::Pool(pool.to_owned());
    let Some(step) = run.first_waiting(index, &scope) else { return Some(false) };
    let (plan, stage, step) = (Some(&run.plan), Some(stage), Some(step));
    let may = gate::ask(&Question { moment: Moment::TakeOut, world, plan, stage, step, books });
    if passing(&may) {
        return None;
    }
    let closed = may.objections().any(|answer| !answer.gate.is_about_nodes() || answer.gate == Gate::Canary);
    let counts = run.stage_counts(index, &scope);
    let canaries = run.plan.limits(&scope).map_or(0, |limits| limits.canary as usize);
    let canaries_done = counts.is_some_and(|of| of.done() >= canaries.min(of.steps));
    let any_done = counts.is_some_and(|of| of.done() > 0) || run.returned().any(|(id, ..)| id.scope == scope);
    Some(!closed && canaries_done && any_done && !gate::gives_way(world, run))
}

/// True if a gate objects that says nothing of policies or the run: it passes again, and the taints stay as they are.
fn passing(may: &Decision) -> bool {
    let gates = [Gate::Identity, Gate::Stop, Gate::Lease, Gate::Watch, Gate::Clock, Gate::Record];
    gates.into_iter().any(|gate| may.objects(gate))
}

struct Tainter<'a> {
    world: &'a World<'a>,
    live: &'a Live,
    run: Option<&'a Run>,
    /// Nodes that wait for their upgrade and are to have the taint.
    waiting: BTreeSet<&'a Id>,
    turn: Turn,
}

impl<'a> Tainter<'a> {
    /// Gives the taint to the nodes of a pool that wait. An entry says so before the first of them gets it.
    fn give(&mut self, run: &'a Run, index: usize, pool: &str, limits: &PoolLimits) {
        let released = run.tainting.get(pool).copied();
        let before = self.waiting.len();
        for step in run.waiting_of(index, &Scope::Pool(pool.to_owned())) {
            let Some(node) = self.waits(run, step, pool).filter(|node| {
                node.is_outdated() || pods::structural(self.live, &node.name, &limits.drain).is_empty()
            }) else {
                continue;
            };
            self.waiting.insert(&node.name);
            if let (Some(seq), false) = (released, node.is_outdated()) {
                self.effect(Effect::taint(node), seq);
            }
        }
        if released.is_none() && self.waiting.len() > before {
            self.turn.entries.push(What::Run(RunEvent::Tainting { pool: pool.to_owned() }));
        }
    }

    /// The node of a step that has never begun, if nothing but its turn keeps it from being upgraded.
    fn waits(&self, run: &Run, step: &Step, pool: &str) -> Option<&'a Node> {
        let of = step.id.node.as_ref().filter(|_| !run.steps.contains_key(&step.id))?;
        let node = self.live.nodes.get(of.name.as_str()).filter(|node| *node.uid == *of.uid)?;
        let free = node.hold.is_none()
            && !self.is_refused(node)
            && node.claim.is_none()
            && !node.unschedulable
            && !node.to_be_deleted;
        // A node that is not Ready for a moment keeps the taint that it has.
        let drained = step.drains() && (node.ready == Ready::True || node.is_outdated());
        (free && drained && self.world.census.is_in(pool, &node.name)).then_some(node)
    }

    /// Takes the taint back from nodes that do not wait any more. A node that a person holds is not touched; one that waits for
    /// its claim loses it with that.
    fn take_back(&mut self) {
        let begins = |name: &Id| {
            let mut steps = self.run.into_iter().flat_map(Run::in_progress);
            steps.any(|(id, step)| id.node_name() == Some(name) && step.is_out())
        };
        let nodes = self.live.outdated.iter().filter(|name| !self.waiting.contains(name));
        let nodes = nodes.filter_map(|name| self.live.nodes.get(name)).filter(|node| node.hold.is_none());
        let nodes: Vec<&Node> = nodes.filter(|node| !self.is_refused(node)).collect();
        for pool in self.run.iter().flat_map(|run| run.tainting.keys()) {
            let mut waiting =
                self.waiting.iter().map(|name| &***name).chain(nodes.iter().map(|node| &*node.name));
            if !waiting.any(|name| self.world.census.is_in(pool, name)) {
                self.turn.entries.push(What::Run(RunEvent::Untainted { pool: pool.clone() }));
            }
        }
        // What was written when the taints were given is on the remote long since, so it releases this also while the git host
        // is away.
        let given = self.run.and_then(|run| run.tainting.values().min().copied());
        let seq = given.unwrap_or(self.world.record.next_seq.saturating_sub(1));
        let left: Vec<&Node> = nodes.into_iter().filter(|node| !begins(&node.name)).collect();
        for node in left {
            self.effect(Effect::node(node, NodePatch::Taints), seq);
        }
    }

    /// True if the API server has refused to patch the node several times, as an admission policy does. A taint that is only a
    /// hint keeps no run from its end.
    fn is_refused(&self, node: &Node) -> bool {
        let backoff = self.live.overlay.backoff.get(&EffectKey::Node(node.name.to_string()));
        backoff.is_some_and(|backoff| backoff.tries > MOST_TRIES)
    }

    fn effect(&mut self, effect: Effect, seq: u64) {
        if self.turn.effects.len() < AT_ONCE {
            self.turn.effects.push((effect, seq));
        } else {
            self.turn.wake_at = Some(later(self.world.now, SPACING));
        }
    }

    fn done(self) -> Turn {
        let writes = !self.turn.effects.is_empty() || !self.turn.entries.is_empty();
        if writes && self.world.tenure.held.is_none() {
            return Turn { wants_lease: true, moves: true, ..Turn::default() };
        }
        let looked = Some(Looked::Taints).filter(|_| self.turn.entries.is_empty());
        Turn { looked, wants_lease: writes, moves: writes, ..self.turn }
    }
}
