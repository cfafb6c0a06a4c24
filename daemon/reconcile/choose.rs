//! Which steps of a run begin next: stage by stage, and only steps that every gate allows.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::ahead;
use super::explain::Answers;
use super::intents::{intent, is_gone, takes_out};
use super::next::Candidates;
use super::passed::Passed;
use crate::gate::{self, Books, Full, Moment, Question, World};
use crate::model::decision::{Answer, Decision, Gate, Key, Reason};
use crate::model::desired::Desired;
use crate::model::entry::{RunEvent, RunOutcome, What};
use crate::model::live::{Live, Looked};
use crate::model::plan::{PoolLimits, Stage, StageKind};
use crate::model::time::later;
use crate::model::work::{NodeRef, Scope, Step, StepId, WorkKind};
use crate::record::{Run, StepEnd};
use crate::work::Turn;

/// After so many nodes that may not begin the others are asked about in the order of the plan.
const MOST_REFUSED: usize = 20;

/// How long after a comparison of which no node may begin the next one is made.
const COMPARE_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// How many intents of a pool are written ahead, as a multiple of how many of its nodes may be out at once. A push may take
/// seconds, and hosts allow few in a minute. More are written when a third of them has begun.
const NEXT: usize = 3;
/// The most intents of one pool that are written ahead, whatever its limit: with so many nodes out at once, each takes minutes.
const MOST_NEXT: usize = 150;

/// Takes the run further: begins the steps that may begin, or ends the run.
pub(super) fn choose<'a>(world: &'a World<'a>, books: Books<'a>, desired: &Desired, run: &'a Run) -> Turn {
    let Some(live) = world.live else { return Turn::default() };
    let turn = next(world, live, books, desired, run);
    // Before the run ends its taints are taken back.
    let ends = turn.entries.iter().any(|what| matches!(what, What::Run(RunEvent::Ended { .. })));
    if let Some(told) = ahead::landed(world, live, run, ends) {
        return Turn { entries: vec![told], ..Turn::default() };
    }
    if ends && !run.tainting.is_empty() {
        return Turn { moves: true, wants_lease: true, ..Turn::default() };
    }
    turn
}

fn next<'a>(world: &'a World<'a>, live: &'a Live, books: Books<'a>, desired: &Desired, run: &'a Run) -> Turn {
    if gate::gives_way(world, run) {
        return give_way(world, desired, run);
    }
    let Some((index, stage)) = run.open_stage().and_then(|index| Some((index, run.plan.stages.get(index)?)))
    else {
        return ends(RunOutcome::Converged, Vec::new());
    };
    let chooser =
        Chooser { world, live, run, stage, books, answers: Answers::default(), turn: Turn::default() };
    match stage.kind {
        StageKind::AddonsBeforeControlPlane
        | StageKind::AddonsAfterControlPlane
        | StageKind::AddonsAfterNodes => chooser.addon(index),
        StageKind::AwaitControlPlane | StageKind::Checks => {
            chooser.unit(&run.not_started(index).collect::<Vec<_>>())
        }
        StageKind::ControlPlane | StageKind::ControlPlaneKubelets => {
            let stages = run.plan.stages.iter().enumerate();
            let of_hop = stages.filter(|(_, other)| other.hop == stage.hop && other.kind.is_control_plane());
            chooser.unit(&of_hop.flat_map(|(index, _)| run.not_started(index)).collect::<Vec<_>>())
        }
        StageKind::Workers => match plan_outdated(world, live, run, index) {
            Some(reason) => ends(RunOutcome::Superseded, vec![reason]),
            None => chooser.workers(index),
        },
    }
}

fn ends(outcome: RunOutcome, reasons: Vec<Reason>) -> Turn {
    Turn { entries: vec![What::Run(RunEvent::Ended { outcome, reasons })], ..Turn::default() }
}

/// A newer commit asks for something else, or the plan does not follow from its commit: the steps in progress go on to
/// their end, and no other step begins.
fn give_way(world: &World<'_>, desired: &Desired, run: &Run) -> Turn {
    let doubt = gate::not_vouched(run, world.object()).or_else(|| gate::joined(world, run));
    // Waiting for an external provider's control plane does not keep the run from ending.
    if run.in_progress().any(|(id, _)| id.node.is_some()) {
        let text = || {
            format!("commit {} takes its place once its nodes in progress are done", desired.commit.short())
        };
        let reason = doubt.unwrap_or_else(|| Reason::new(Key::PlanStale, world.object(), text()));
        return Turn { answers: vec![Answer::wait(Gate::Plan, reason)], ..Turn::default() };
    }
    let begun = run.steps.values().any(|step| step.is_touched() || step.end == Some(StepEnd::Done));
    let outcome = if begun { RunOutcome::Superseded } else { RunOutcome::Cancelled };
    let text = || format!("commit {} asks for {}", desired.commit.short(), desired.cluster.version);
    ends(outcome, vec![doubt.unwrap_or_else(|| Reason::new(Key::PlanStale, world.object(), text()))])
}

/// Why no step of the plan can begin any more: every remaining node belongs to another pool now.
fn plan_outdated(world: &World<'_>, live: &Live, run: &Run, index: usize) -> Option<Reason> {
    if run.in_progress().next().is_some() {
        return None;
    }
    let mut last = None;
    for step in run.not_started(index) {
        let Scope::Pool(pool) = &step.id.scope else { return None };
        let node = step.node().and_then(|node| live.nodes.get(node))?;
        let moved = gate::left_pool(world.desired()?, node, pool);
        last = Some(moved.filter(|reason| reason.key == Key::PoolChanged)?);
    }
    last
}

struct Chooser<'a> {
    world: &'a World<'a>,
    live: &'a Live,
    run: &'a Run,
    stage: &'a Stage,
    books: Books<'a>,
    answers: Answers,
    turn: Turn,
}

impl<'a> Chooser<'a> {
    fn ask(&self, stage: &'a Stage, step: &'a Step) -> Decision {
        let (plan, stage, step) = (Some(&self.run.plan), Some(stage), Some(step));
        gate::ask(&Question {
            moment: Moment::TakeOut,
            world: self.world,
            plan,
            stage,
            step,
            books: &self.books,
        })
    }

    /// Reports the answers of a decision; a decision that allows has only the calendar's.
    fn tell(&mut self, decision: Decision) {
        // The lease keeps what was heard of the API endpoint until now.
        self.turn.wants_lease |= decision.waits_only_for(Key::NotAgreed);
        for answer in &decision.answers {
            self.turn.passes_soon(answer, self.live, self.world.now);
            // A soak ends by itself.
            self.turn.moves |= answer.gate == Gate::Canary && answer.next.is_some();
        }
        self.answers.add(decision.answers);
    }

    fn begin(&mut self, steps: &[&Step]) {
        if steps.is_empty() {
            return;
        }
        // Waiting for an external provider's control plane writes nothing to the cluster, so it needs no lease.
        if steps.iter().any(|step| step.id.kind != WorkKind::AwaitControlPlane) {
            self.turn.wants_lease = true;
            if self.world.tenure.held.is_none() {
                self.turn.moves = true;
                return;
            }
        }
        let intents = steps.iter().map(|step| intent(self.live, &self.run.plan, step));
        self.turn.entries.extend(intents);
    }

    /// The control plane of a hop is one unit. All its intents are written at once, so once begun it needs neither an
    /// open window nor a reachable git host. None is written while a gate objects to one of its nodes: half an
    /// upgraded control plane is worse than none.
    fn unit(mut self, open: &[&'a Step]) -> Turn {
        let mut all = true;
        for step in open {
            // A step of the control plane's unit may be in a later stage than the open one.
            let stage = self.run.find(&step.id).map_or(self.stage, |(stage, _)| stage);
            let decision = self.ask(stage, step);
            all &= decision.allows() || is_gone(self.live, step);
            self.tell(decision);
        }
        if all {
            self.begin(open);
        }
        self.done()
    }

    /// Addons move one at a time, in the order of the plan: each may be what the next one needs.
    fn addon(self, index: usize) -> Turn {
        if self.run.in_progress().next().is_some() {
            return self.done();
        }
        let next: Vec<&Step> = self.run.not_started(index).take(1).collect();
        self.unit(&next)
    }

    fn done(self) -> Turn {
        Turn { answers: self.answers.into_list(), ..self.turn }
    }

    /// Begins workers of every pool: canaries first, within the limits. Steps that do not begin get a reason.
    fn workers(mut self, index: usize) -> Turn {
        let mut passed = Passed::default();
        // The best nodes begin first. Of the others, nodes that are out already come first: they take no further room.
        let out = self.out(index);
        let first: BTreeSet<&StepId> = out.iter().map(|step| &step.id).collect();
        let mut chosen: Vec<&Step> = self.best(index, &first);
        let begun: BTreeSet<&StepId> = chosen.iter().map(|step| &step.id).collect();
        let mut waiting = self.run.waiting(index);
        let mut out = out.into_iter();
        loop {
            let (step, asked) = match out.next() {
                Some(step) => (step, passed.enough_said(step.id.scope.name(), step.move_kind())),
                None => match waiting.as_mut().and_then(|waiting| waiting.next(|alike| passed.by(alike))) {
                    Some(step) => (step, first.contains(&step.id)),
                    None => break,
                },
            };
            if asked || begun.contains(&step.id) {
                continue;
            }
            let decision = self.ask(self.stage, step);
            if decision.allows() || is_gone(self.live, step) {
                if takes_out(self.live, step) {
                    self.books.choose(step);
                }
                chosen.push(step);
                self.tell(decision);
                continue;
            }
            if passed.note(step, &decision, gate::full(&self.run.plan, step, &self.books)) {
                self.tell(decision);
            }
        }
        self.begin(&chosen);
        self.done()
    }

    /// The nodes that begin now in the pools with room, each the best of those that wait. The first waiting node of the plan
    /// tells whether any may begin: while none may, and while canaries go first, nothing is compared.
    fn best(&mut self, index: usize, out: &BTreeSet<&StepId>) -> Vec<&'a Step> {
        let mut chosen = Vec::new();
        let last = self.live.overlay.looked.get(&Looked::Next).map(|last| later(*last, COMPARE_AGAIN));
        if last.is_some_and(|due| due > self.world.now) {
            return chosen;
        }
        for scope in self.run.open_scopes(index) {
            let first = self.run.first_waiting(index, scope);
            let Some((first, limits)) = first.zip(self.run.plan.limits(scope)) else { continue };
            let counts = self.run.stage_counts(index, scope);
            let canaries = counts.is_some_and(|of| of.done() < of.steps.min(limits.canary as usize));
            if canaries || gate::full(&self.run.plan, first, &self.books) == Full::Pool {
                continue;
            }
            if self.ask(self.stage, first).objections().any(|answer| answer.gate.is_beyond_one_node()) {
                continue;
            }
            let mut waiting = self.run.waiting_of(index, scope);
            waiting.retain(|step| !out.contains(&step.id));
            let mut candidates = Candidates::of(
                self.live,
                self.run,
                scope.name(),
                limits,
                self.at_once(scope, limits),
                waiting,
            );
            let before = chosen.len();
            let mut refused = 0;
            while refused < MOST_REFUSED
                && gate::full(&self.run.plan, first, &self.books) != Full::Pool
                && let Some((step, needs)) = candidates.pop()
            {
                let decision = self.ask(self.stage, step);
                if !decision.allows() || !takes_out(self.live, step) {
                    refused += 1;
                    continue;
                }
                self.books.choose(step);
                candidates.choose(&needs);
                self.tell(decision);
                chosen.push(step);
            }
            self.name_next(scope, limits, &mut candidates);
            // All that were compared may not begin, as where their zones are full: it is not asked in each pass.
            if chosen.len() == before {
                self.turn.looked = Some(Looked::Next);
            }
        }
        chosen
    }

    /// How many nodes of a pool may be out at once.
    fn at_once(&self, scope: &Scope, limits: &PoolLimits) -> usize {
        let (total, _) = self.books.pool(scope.name());
        limits.max_unavailable.of(total).max(1)
    }

    /// Writes the intents of the best of the others ahead of their turn, if few are left of those before: the claim of a node
    /// then waits for no push. Which of them is taken out, and when, is decided when there is room.
    fn name_next(&mut self, scope: &Scope, limits: &PoolLimits, candidates: &mut Candidates<'a>) {
        let most = self.at_once(scope, limits).saturating_mul(NEXT).min(MOST_NEXT);
        let waits =
            |id: &&StepId| id.scope == *scope && !self.books.counts(id.node_name().unwrap_or_default());
        let mut count = self.run.next.keys().filter(waits).count();
        if count * 3 >= most * 2 || self.world.tenure.held.is_none() {
            return;
        }
        let mut steps = Vec::new();
        let mut refused = 0;
        while count < most
            && refused < MOST_REFUSED
            && let Some((step, _)) = candidates.pop()
        {
            // A step that was set aside or failed gets its intent when it is tried again.
            if self.run.next.contains_key(&step.id) || self.run.steps.contains_key(&step.id) {
                continue;
            }
            // There will be room when its turn comes.
            let no_room = |answer: &Answer| matches!(answer.gate, Gate::Limit | Gate::Recovery);
            if takes_out(self.live, step) && self.ask(self.stage, step).objections().all(no_room) {
                steps.push(step.id.clone());
                count += 1;
            } else {
                refused += 1;
            }
        }
        if !steps.is_empty() {
            self.turn.entries.push(What::Run(RunEvent::Next { steps }));
        }
    }

    /// The steps of a stage whose nodes are out already, in the order of the plan. They are found by the nodes that are
    /// out, which are few, and not by a walk over all steps.
    fn out(&self, index: usize) -> Vec<&'a Step> {
        let pools = self.run.open_scopes(index).filter(|scope| matches!(scope, Scope::Pool(_)));
        let to = self.stage.to.to_string();
        // Most nodes that are out are those that this stage moves at present.
        let of_stage = |id: &&StepId| id.kind == WorkKind::Kubelet && id.to == to;
        let in_progress = self.run.steps_in_progress().map(|(_, step)| &step.id).filter(of_stage);
        let in_progress: BTreeSet<(&Scope, &str, &str)> = in_progress
            .filter_map(|id| Some((&id.scope, id.node.as_ref()?)))
            .map(|(scope, node)| (scope, node.name.as_str(), node.uid.as_str()))
            .collect();
        let ids = pools.flat_map(|scope| {
            let nodes = self.world.census.out_of(scope.name()).filter_map(|name| self.live.nodes.get(name));
            let idle = nodes.filter(|node| !in_progress.contains(&(scope, &*node.name, &*node.uid)));
            idle.map(|node| StepId {
                scope: scope.clone(),
                to: to.clone(),
                node: Some(NodeRef { name: node.name.to_string(), uid: node.uid.to_string() }),
                kind: WorkKind::Kubelet,
            })
        });
        self.run.not_started_among(index, ids)
    }
}
