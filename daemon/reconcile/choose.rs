//! Which steps are taken up next: stage by stage, canaries first, within every limit, and only while every gate
//! passes. What is not taken up is explained.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::drain;
use super::lock;
use super::pass::{Pass, later};
use crate::diff::{self, Membership};
use crate::gate::{AtNow, Calendar, MoveKind, work_in_hand};
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::desired::{Desired, ForeignCordon, Mode};
use crate::model::entry::{Baseline, RunOutcome, StepPhase, What};
use crate::model::live::{ClaimState, Live, Node, OwnerKind, Probe, Ready};
use crate::model::plan::{Component, DrainLimits, Plan, PoolLimits, Stage, StageKind, Step};
use crate::plan;
use crate::record::{Run, StepEnd, StepRecord};
use crate::verify;

/// How long a control plane node takes for its servers, and for its kubelet, until a forecast knows better.
/// `kubeadm upgrade apply` takes about three minutes on a small machine.
const CONTROL_PLANE_STEP: SignedDuration = SignedDuration::from_mins(5);
/// A node whose drain was blocked is tried afresh after this.
const REST: SignedDuration = SignedDuration::from_hours(1);
/// More explanations of the same kind than anybody reads.
const MOST_EXPLAINED: usize = 20;

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
    let passes = decision.verdict() == Verdict::Allow && fits(pass, desired, fresh, 0, kind);
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
    if !passes || blocked || !any_takes_part(pass, fresh) {
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
        from: fresh.from.clone(),
        to: fresh.to.clone(),
        digest: fresh.digest.clone(),
        nodes: count(fresh.steps().map(|step| &step.node).collect::<BTreeSet<_>>().len()),
    });
    pass.record(What::RollbackPoint { id: run });
    pass.tick.frozen = Some(fresh.clone());
}

/// Whether any step of a plan could be taken up if it had its turn; a run of nothing but held nodes is no run.
fn any_takes_part(pass: &mut Pass<'_>, fresh: &Plan) -> bool {
    let Some(stage) = fresh.stages.iter().find(|stage| !stage.steps.is_empty()) else { return false };
    if stage.kind != StageKind::Workers {
        return true;
    }
    let mut explained = 0;
    let mut any = false;
    for step in &stage.steps {
        let Some(limits) = fresh.pools.get(&step.pool) else { continue };
        match person(pass, step, limits) {
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
    let broken = !pass.input.wanted.problems.is_empty() && !(stage.kind != StageKind::Workers && hop_started(run, stage.hop));
    match stage.kind {
        StageKind::AwaitServers => begin_all(pass, run, &stage.steps.iter().collect::<Vec<_>>()),
        _ if stopped || broken => {}
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
    let too_old = pass.input.live.nodes.values().find(|node| {
        node.kubelet.as_ref().is_none_or(|kubelet| next.to.minors_ahead_of(kubelet) > 3)
    });
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
        matches!(run.steps.get(&step.id).and_then(|rec| rec.end.as_ref()), Some(StepEnd::Done | StepEnd::Gone))
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
        let text = format!("commit {} takes its place once what is in hand has ended", desired.commit.short());
        return pass.waits(Gate::Plan, Reason::new(Key::PlanStale, object, text));
    }
    let begun = run.steps.values().any(|rec| rec.phase >= StepPhase::Upgrading || rec.end == Some(StepEnd::Done));
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
    let unit = run.plan.stages.iter().filter(|other| other.hop == stage.hop && other.kind != StageKind::Workers);
    let open: Vec<&Step> = unit.flat_map(|stage| &stage.steps).filter(|step| !taken_up(run, step)).collect();
    if open.is_empty() {
        return;
    }
    let begun = hop_started(run, stage.hop);
    let kind = kind_of(&run.plan);
    if !begun && !(allowed(pass, desired, run, kind) && fits(pass, desired, &run.plan, stage.hop, kind)) {
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

/// Whether what is left of the opening is long enough for the control plane of one hop.
fn fits(pass: &mut Pass<'_>, desired: &Desired, plan: &Plan, hop: usize, kind: MoveKind) -> bool {
    let stages = plan.stages.iter().filter(|stage| stage.hop == hop && stage.kind != StageKind::Workers);
    let steps = stages.map(|stage| stage.steps.len()).sum::<usize>();
    let needed = CONTROL_PLANE_STEP * i32::try_from(steps).unwrap_or(i32::MAX);
    let left = calendar(pass, desired).left(kind, pass.input.now);
    let fits = steps == 0 || left.is_none_or(|left| left >= needed);
    // A closed window has an answer of its own.
    if !fits && left.is_some_and(|left| !left.is_zero()) {
        let text = format!(
            "the control plane of one hop takes about {} min and is not begun unless the opening is long enough",
            needed.as_mins()
        );
        let reason = Reason::new(Key::WindowTooShort, format!("cluster/{}", pass.input.me.cluster), text);
        pass.waits(Gate::Window, reason);
    }
    fits
}

fn kind_of(plan: &Plan) -> MoveKind {
    if plan.crosses_minor() { MoveKind::Minor } else { MoveKind::Patch }
}

/// Whether the calendar lets a step begin; its answers are kept either way.
fn allowed(pass: &mut Pass<'_>, desired: &Desired, run: &Run, kind: MoveKind) -> bool {
    let (now, began) = (pass.input.now, began(run));
    let calendar = calendar(pass, desired);
    let standing = calendar.standing(kind, now);
    let decision = calendar.may_take_out(kind, now);
    let frozen = decision.objections().any(|answer| answer.gate == Gate::Freeze);
    let passes = decision.verdict() == Verdict::Allow
        || (!frozen && work_in_hand(&standing, began, now) == AtNow::TakeOut);
    if let crate::gate::Standing::Open { closes: Some(at), .. } = standing {
        pass.wake(at);
    }
    for answer in decision.answers {
        if let Some(next) = answer.next {
            pass.wake(next);
        }
        if !passes || answer.verdict == Verdict::Allow {
            pass.answer(answer);
        }
    }
    passes
}

fn began(run: &Run) -> Option<jiff::Timestamp> {
    run.steps.values().filter_map(StepRecord::started).min()
}

fn calendar<'a>(pass: &Pass<'_>, desired: &'a Desired) -> Calendar<'a> {
    Calendar::of(&desired.policies, &desired.cluster.labels, &pass.input.me.cluster)
}

impl Pass<'_> {
    /// What a close, if there was one, leaves of the work on this step.
    pub(super) fn at_now(&mut self, desired: &Desired, run: &Run, step: &Step) -> AtNow {
        let kind = if step.from.same_minor(&step.to) { MoveKind::Patch } else { MoveKind::Minor };
        let standing = calendar(self, desired).standing(kind, self.input.now);
        if let crate::gate::Standing::Closed { hard_limit_at: Some(at), .. } = standing
            && at > self.input.now
        {
            self.wake(at);
        }
        work_in_hand(&standing, began(run), self.input.now)
    }

    pub(super) fn answer_calendar(&mut self, desired: &Desired, step: &Step) {
        let kind = if step.from.same_minor(&step.to) { MoveKind::Patch } else { MoveKind::Minor };
        let decision = calendar(self, desired).may_take_out(kind, self.input.now);
        for answer in decision.answers {
            if let Some(next) = answer.next {
                self.wake(next);
            }
            self.answer(answer);
        }
    }
}

/// How many nodes are out, for whatever cause.
#[derive(Default)]
struct Out {
    nodes: BTreeSet<String>,
    total: usize,
    by_zone: BTreeMap<String, usize>,
}

fn out_of_pools(pass: &Pass<'_>, desired: &Desired, run: &Run) -> BTreeMap<String, Out> {
    let in_hand: BTreeSet<&str> = run.in_hand().map(|(_, step)| step.node.as_str()).collect();
    let mut pools: BTreeMap<String, Out> = BTreeMap::new();
    for node in pass.input.live.nodes.values() {
        let Membership::Pool(pool) = diff::membership(&desired.cluster, node) else { continue };
        let out = pools.entry(pool.name.clone()).or_default();
        out.total += 1;
        if is_out(node) || in_hand.contains(&*node.name) {
            out.nodes.insert(node.name.to_string());
            *out.by_zone.entry(node.zone.to_string()).or_default() += 1;
        }
    }
    pools
}

fn is_out(node: &Node) -> bool {
    node.ready != Ready::True || node.unschedulable || node.hold.is_some()
}

/// Takes up workers of every pool: canaries first, then within the limits.
fn workers(pass: &mut Pass<'_>, desired: &Desired, run: &Run, stage: &Stage) {
    let mut pools = out_of_pools(pass, desired, run);
    let mut open: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in stage.steps.iter().filter(|step| !taken_up(run, step)) {
        open.entry(&step.pool).or_default().push(step);
    }
    if open.is_empty() {
        return;
    }
    let may = allowed(pass, desired, run, kind_of(&run.plan));
    let mut chosen: Vec<&Step> = Vec::new();
    for (pool, steps) in open {
        let (Some(limits), Some(out)) = (run.plan.pools.get(pool), pools.get_mut(pool)) else { continue };
        let fit = candidates(pass, run, limits, &steps);
        if may {
            let room = canary_room(pass, run, stage, pool, limits);
            take_within(pass, limits, out, pool, &fit, room, &mut chosen);
        }
    }
    let chosen = within_cluster(pass, run, &pools, chosen);
    begin_all(pass, run, &chosen);
}

/// Steps that are not being worked on and are not done.
fn taken_up(run: &Run, step: &Step) -> bool {
    match run.steps.get(&step.id).map(|rec| &rec.end) {
        None => false,
        Some(None | Some(StepEnd::Done | StepEnd::Gone)) => true,
        // A person went on after it, or its time has come again; `rested` asks which.
        Some(Some(StepEnd::SetAside { .. } | StepEnd::Failed(_))) => false,
    }
}

/// Steps that could be taken up now, each other one explained.
fn candidates<'s>(pass: &mut Pass<'_>, run: &Run, limits: &PoolLimits, steps: &[&'s Step]) -> Vec<&'s Step> {
    let mut fit = Vec::new();
    let mut explained = 0;
    for step in steps {
        if !rested(pass, run, step) {
            continue;
        }
        match person(pass, step, limits) {
            None => fit.push(*step),
            Some(reason) if explained < MOST_EXPLAINED => {
                explained += 1;
                pass.denies(gate_of(reason.key), reason);
            }
            Some(_) => {}
        }
    }
    // Nodes that a run before this one has already cordoned cost nobody anything more.
    fit.sort_by_key(|step| {
        let node = pass.input.live.nodes.get(step.node.as_str());
        node.is_none_or(|node| node.claim.is_none())
    });
    fit
}

/// Whether a step that was set aside may be tried again.
fn rested(pass: &mut Pass<'_>, run: &Run, step: &Step) -> bool {
    let Some(rec) = run.steps.get(&step.id) else { return true };
    let Some(StepEnd::SetAside { reasons, .. }) = &rec.end else { return true };
    let Some(first) = reasons.first() else { return true };
    let long = matches!(first.key, Key::DrainTimedOut | Key::JobRunning | Key::ExternalProvider);
    let since = rec.ended.unwrap_or(pass.input.now);
    if !long || pass.expired(since, REST) {
        return true;
    }
    let text = format!("it was set aside: {}", first.text);
    let reason = Reason::new(Key::SetAside, format!("node/{}", step.node), text);
    let next = Some(later(since, REST));
    pass.answer(Answer { gate: Gate::Budget, verdict: Verdict::Deny, reason, next });
    false
}

fn gate_of(key: Key) -> Gate {
    match key {
        Key::Held | Key::ForeignCordon | Key::ForeignClaim => Gate::Hold,
        Key::NodeNotReady | Key::NodeGone => Gate::Health,
        _ => Gate::Budget,
    }
}

/// What about a node only a person can change, if anything.
fn person(pass: &Pass<'_>, step: &Step, limits: &PoolLimits) -> Option<Reason> {
    let live = pass.input.live;
    let object = format!("node/{}", step.node);
    let node = live.nodes.get(step.node.as_str()).filter(|node| *node.uid == *step.node_uid)?;
    if let Some(why) = &node.hold {
        return Some(Reason::new(Key::Held, object, format!("a person holds it: {why}")));
    }
    match &node.claim {
        Some(ClaimState::Unreadable(_)) => {
            return Some(Reason::new(Key::ForeignClaim, object, "its claim cannot be read".to_owned()));
        }
        Some(ClaimState::Ours(_)) => {}
        None if node.unschedulable && limits.foreign_cordon == ForeignCordon::Skip => {
            let text = "somebody else has cordoned it; it is upgraded after they uncordon it";
            return Some(Reason::new(Key::ForeignCordon, object, text));
        }
        None => {}
    }
    if node.to_be_deleted {
        let text = "an autoscaler has marked it for removal";
        return Some(Reason::new(Key::Held, object, text));
    }
    if node.ready != Ready::True {
        let text = "it is not Ready; what it runs cannot be moved in an orderly way";
        return Some(Reason::new(Key::NodeNotReady, object, text));
    }
    let blockers = if step.drain { drain::structural(live, &step.node, &limits.drain) } else { Vec::new() };
    blockers.into_iter().next().map(|first| {
        let text = format!("it would keep {} from being emptied: {}", step.node, first.text);
        Reason::new(first.key, first.object, text)
    })
}

/// How many more nodes a pool may begin while its canaries are not through; nothing means no such bound.
fn canary_room(pass: &mut Pass<'_>, run: &Run, stage: &Stage, pool: &str, limits: &PoolLimits) -> Option<usize> {
    let wanted = (limits.canary as usize).min(stage.steps.iter().filter(|step| step.pool == pool).count());
    let records = stage.steps.iter().filter(|step| step.pool == pool).filter_map(|step| run.steps.get(&step.id));
    let (mut done, mut in_hand) = (Vec::new(), 0);
    for rec in records {
        match &rec.end {
            None => in_hand += 1,
            Some(StepEnd::Done) => done.extend(rec.ended),
            Some(StepEnd::Gone | StepEnd::SetAside { .. } | StepEnd::Failed(_)) => {}
        }
    }
    done.sort();
    let object = format!("pool/{pool}");
    if done.len() < wanted {
        if in_hand > 0 {
            pass.waits(Gate::Canary, Reason::new(Key::CanaryFirst, object, "its canary goes first"));
        }
        return Some(wanted.saturating_sub(done.len() + in_hand));
    }
    let through = wanted.checked_sub(1).and_then(|last| done.get(last).copied());
    let soak = SignedDuration::from_secs(limits.soak_seconds);
    let Some(until) = through.map(|at| later(at, soak)).filter(|until| *until > pass.input.now) else { return None };
    pass.wake(until);
    pass.moving = true;
    let reason = Reason::new(Key::Soaking, object, "its canary soaks before the rest follows");
    pass.answer(Answer { gate: Gate::Canary, verdict: Verdict::Wait, reason, next: Some(until) });
    Some(0)
}

fn take_within<'s>(
    pass: &mut Pass<'_>,
    limits: &PoolLimits,
    out: &mut Out,
    pool: &str,
    fit: &[&'s Step],
    room: Option<usize>,
    chosen: &mut Vec<&'s Step>,
) {
    let mut room = room.unwrap_or(usize::MAX);
    let most = limits.max_unavailable.of(out.total);
    for step in fit {
        if room == 0 {
            return;
        }
        let already_out = out.nodes.contains(&step.node);
        let zone = out.by_zone.get(&step.zone).copied().unwrap_or(0);
        let zone_full = limits.max_unavailable_per_zone.is_some_and(|most| zone >= most as usize);
        if !already_out && out.nodes.len() >= most {
            let text = format!("{} of {} of its nodes may be out at once, and are", limits.max_unavailable, out.total);
            return pass.waits(Gate::Limit, Reason::new(Key::LimitReached, format!("pool/{pool}"), text));
        }
        if !already_out && zone_full {
            let text = "as many of the pool's nodes as may be are out in this zone";
            pass.waits(Gate::Limit, Reason::new(Key::ZoneLimitReached, format!("zone/{}", step.zone), text));
            continue;
        }
        if !already_out {
            out.nodes.insert(step.node.clone());
            *out.by_zone.entry(step.zone.clone()).or_default() += 1;
        }
        room -= 1;
        chosen.push(step);
    }
}

/// The cluster's own limit over all pools, by the order of the pools.
fn within_cluster<'s>(
    pass: &mut Pass<'_>,
    run: &Run,
    pools: &BTreeMap<String, Out>,
    chosen: Vec<&'s Step>,
) -> Vec<&'s Step> {
    let Some(limit) = run.plan.max_unavailable else { return chosen };
    let most = limit.of(pools.values().map(|out| out.total).sum());
    let fresh = |step: &&&Step| pass.input.live.nodes.get(step.node.as_str()).is_some_and(|node| !is_out(node));
    let new = chosen.iter().filter(fresh).count();
    let before = pools.values().map(|out| out.nodes.len()).sum::<usize>().saturating_sub(new);
    let room = most.saturating_sub(before);
    if chosen.len() > room {
        let object = format!("cluster/{}", pass.input.me.cluster);
        let text = format!("{limit} nodes may be out at once over all pools, and are");
        pass.waits(Gate::Limit, Reason::new(Key::ClusterLimitReached, object, text));
    }
    chosen.into_iter().take(room).collect()
}

/// Writes the intents. What already is as it should be is recorded as done without being touched.
fn begin_all(pass: &mut Pass<'_>, run: &Run, steps: &[&Step]) {
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
            let Some(owner) = pod.owner.as_ref().filter(|owner| owner.kind != OwnerKind::Job) else { continue };
            let top = live.top_owner(owner);
            owners.entry(top.to_string()).or_insert_with(|| Baseline {
                name: live.owner_name(&top),
                ready: verify::ready_pods(live, &top),
            });
        }
    }
    if step.component == Component::Kubelet {
        for pod in live.pods_on(&step.node).filter(|pod| pod.ready) {
            let Some(set) = pod.owner.as_ref().filter(|owner| owner.kind == OwnerKind::DaemonSet) else { continue };
            let before = Baseline { name: live.owner_name(&set.uid), ready: 1 };
            owners.insert(set.uid.to_string(), before);
        }
    }
    (pods, owners)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
