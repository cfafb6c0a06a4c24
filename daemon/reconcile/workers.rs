//! Workers of every pool: canaries first, then within every limit. What is not taken up is explained.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::calendar::{allowed, kind_of};
use super::choose::{begin_all, taken_up};
use super::claim::elsewhere;
use super::drain;
use super::lock::epoch_to_be;
use super::orphans::later_claim;
use super::pass::{Pass, later};
use super::step::unmet;
use crate::diff::{self, Membership};
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::desired::{Desired, ForeignCordon};
use crate::model::live::{ClaimState, Node, Ready};
use crate::model::plan::{PoolLimits, Stage, Step};
use crate::record::{Run, StepEnd};

/// A node whose drain was blocked is tried afresh after this.
const REST: SignedDuration = SignedDuration::from_hours(1);

/// More explanations of the same kind than anybody reads.
pub(super) const MOST_EXPLAINED: usize = 20;

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
pub(super) fn workers(pass: &mut Pass<'_>, desired: &Desired, run: &Run, stage: &Stage) {
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
        let Some(limits) = run.plan.pools.get(pool) else { continue };
        let out = pools.entry(pool.to_owned()).or_default();
        let fit = candidates(pass, desired, run, limits, &steps);
        if may {
            let room = canary_room(pass, run, stage, pool, limits);
            take_within(pass, limits, out, pool, &fit, room, &mut chosen);
        }
    }
    let chosen = within_cluster(pass, run, &pools, chosen);
    begin_all(pass, run, &chosen);
}

/// Steps that could be taken up now, each other one explained.
fn candidates<'s>(
    pass: &mut Pass<'_>,
    desired: &Desired,
    run: &Run,
    limits: &PoolLimits,
    steps: &[&'s Step],
) -> Vec<&'s Step> {
    let mut fit = Vec::new();
    let mut explained = 0;
    for step in steps {
        if !rested(pass, run, step) {
            continue;
        }
        match person(pass, desired, step, limits) {
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
pub(super) fn rested(pass: &mut Pass<'_>, run: &Run, step: &Step) -> bool {
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

pub(super) fn gate_of(key: Key) -> Gate {
    match key {
        Key::Held | Key::ForeignCordon | Key::ForeignClaim => Gate::Hold,
        Key::NodeNotReady | Key::NodeGone => Gate::Health,
        Key::ServersMixed => Gate::Order,
        Key::NodeInNoPool | Key::NodeInTwoPools | Key::PlanStale => Gate::Plan,
        _ => Gate::Budget,
    }
}

/// What about a node only a person can change, if anything.
pub(super) fn person(pass: &Pass<'_>, desired: &Desired, step: &Step, limits: &PoolLimits) -> Option<Reason> {
    let live = pass.input.live;
    let object = format!("node/{}", step.node);
    let node = live.nodes.get(step.node.as_str()).filter(|node| *node.uid == *step.node_uid)?;
    if let Some(why) = &node.hold {
        return Some(Reason::new(Key::Held, object, format!("a person holds it: {why}")));
    }
    if let Some(reason) = elsewhere(desired, node, &step.pool) {
        return Some(reason);
    }
    match &node.claim {
        Some(ClaimState::Unreadable(_)) => {
            return Some(Reason::new(Key::ForeignClaim, object, "its claim cannot be read".to_owned()));
        }
        // Taken in hand it would only wait there, and keep others from their turn.
        Some(ClaimState::Ours(claim)) if epoch_to_be(pass).is_some_and(|ours| ours < claim.epoch) => {
            return Some(later_claim(&step.node, claim));
        }
        None if node.unschedulable && limits.foreign_cordon == ForeignCordon::Skip => {
            let text = "somebody else has cordoned it; it is upgraded after they uncordon it";
            return Some(Reason::new(Key::ForeignCordon, object, text));
        }
        Some(ClaimState::Ours(_)) | None => {}
    }
    if node.to_be_deleted {
        let text = "an autoscaler has marked it for removal";
        return Some(Reason::new(Key::Held, object, text));
    }
    if let Some(reason) = unmet(step, live) {
        return Some(reason);
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
fn canary_room(
    pass: &mut Pass<'_>,
    run: &Run,
    stage: &Stage,
    pool: &str,
    limits: &PoolLimits,
) -> Option<usize> {
    let wanted = (limits.canary as usize).min(stage.steps.iter().filter(|step| step.pool == pool).count());
    let records =
        stage.steps.iter().filter(|step| step.pool == pool).filter_map(|step| run.steps.get(&step.id));
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
    let until = through.map(|at| later(at, soak)).filter(|until| *until > pass.input.now)?;
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
    let mut full = None;
    for step in fit {
        if room == 0 {
            break;
        }
        let already_out = out.nodes.contains(&step.node);
        let zone = out.by_zone.get(&step.zone).copied().unwrap_or(0);
        let zone_full = limits.max_unavailable_per_zone.is_some_and(|most| zone >= most as usize);
        if !already_out && out.nodes.len() >= most {
            let text = format!(
                "{} of {} of its nodes may be out at once, and are",
                limits.max_unavailable, out.total
            );
            full.get_or_insert_with(|| Reason::new(Key::LimitReached, format!("pool/{pool}"), text));
            // Further on there may be one that is out already, and costs nobody anything more.
            continue;
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
    if let Some(reason) = full {
        pass.waits(Gate::Limit, reason);
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
    let is_new =
        |step: &&Step| pass.input.live.nodes.get(step.node.as_str()).is_some_and(|node| !is_out(node));
    let new = chosen.iter().filter(|step| is_new(step)).count();
    let before = pools.values().map(|out| out.nodes.len()).sum::<usize>().saturating_sub(new);
    let mut room = most.saturating_sub(before);
    let full = new > room;
    // What is out already needs no room.
    let fit = |step: &&Step| {
        let new = is_new(step);
        let fits = !new || room > 0;
        room = room.saturating_sub(usize::from(new));
        fits
    };
    let chosen = chosen.into_iter().filter(fit).collect();
    if full {
        let object = format!("cluster/{}", pass.input.me.cluster);
        let text = format!("{limit} nodes may be out at once over all pools, and are");
        pass.waits(Gate::Limit, Reason::new(Key::ClusterLimitReached, object, text));
    }
    chosen
}
