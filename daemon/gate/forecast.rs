//! What is known of a plan before it runs, for a reviewer: which nodes the gates would leave out and why, what the
//! calendar says now, and about how long it takes. It decides nothing; the gates are asked again in the run.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{Books, Gate, Moment, Question, World, ask};
use crate::model::decision::{Answer, Key, Reason, Verdict};
use crate::model::desired::Limit;
use crate::model::live::Ready;
use crate::model::plan::{LowerBound, Plan, Stage, StageKind};
use crate::model::text::list;
use crate::model::work::{Scope, Step};
use crate::provider;
use crate::verify::bound::{PROOF, lower_bound};

/// About how long one worker takes: its drain, its packages and ten seconds of health. Budgets that block a drain and
/// pods with long grace periods make it longer.
const WORKER: SignedDuration = SignedDuration::from_mins(5);

/// What an addon takes, about.
const ADDON: SignedDuration = SignedDuration::from_mins(2);

/// What the checks of what kubeadm moves take, about.
const CHECK: SignedDuration = SignedDuration::from_mins(1);

/// More nodes than a person reads.
const MOST_NAMED: usize = 5;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// The nodes of the plan that no gate would let go, and why.
    pub left_out: BTreeMap<String, Vec<Answer>>,
    /// What windows and freezes say now.
    pub calendar: Vec<Answer>,
    /// An estimate, without waits for windows and budgets.
    pub length: SignedDuration,
    /// The least time for the workers, and what sets it.
    pub lower_bound: Option<LowerBound>,
}

pub fn forecast(world: &World<'_>, plan: &Plan) -> Forecast {
    let books = Books::of(world.census, None);
    let mut forecast = Forecast::default();
    for stage in &plan.stages {
        for step in &stage.steps {
            let (plan, stage, step) = (Some(plan), Some(stage), Some(step));
            let question =
                Question { plan, stage, step, ..Question::general(Moment::StartRun, world, &books) };
            let answers = ask(&question).answers;
            if let Some(node) = question.step.and_then(|step| step.node()) {
                let own = answers.iter().filter(|answer| is_of_node(answer));
                own.for_each(|answer| forecast.leave_out(node, answer));
            }
            for answer in
                answers.into_iter().filter(|answer| matches!(answer.gate, Gate::Window | Gate::Freeze))
            {
                if !forecast.calendar.contains(&answer) {
                    forecast.calendar.push(answer);
                }
            }
        }
    }
    forecast.lower_bound = world.live.and_then(|live| lower_bound(plan, live, PROOF));
    forecast.leave_out_what_waits(world, plan);
    for stage in &plan.stages {
        forecast.length = forecast.length.saturating_add(length(world, plan, stage, &forecast.left_out));
    }
    forecast
}

impl Forecast {
    /// Leaves out the nodes that go only when others do. A control plane node that stays keeps its hop from beginning,
    /// and nodes that people keep out fill the limits of their pools.
    fn leave_out_what_waits(&mut self, world: &World<'_>, plan: &Plan) {
        let nodes = |stages: &[Stage]| -> Vec<String> {
            let steps = stages.iter().flat_map(|stage| &stage.steps);
            steps.filter_map(|step| step.node().map(str::to_owned)).collect()
        };
        let stays = |stage: &Stage| {
            let mut steps = stage.steps.iter().filter(|_| stage.kind.is_control_plane());
            steps.find_map(|step| self.left_out.get(step.node()?)?.first().cloned())
        };
        let stays = plan.stages.iter().find_map(|stage| Some((stage.hop, stays(stage)?)));
        if let Some((hop, answer)) = stays {
            let first = plan.stages.iter().position(|stage| stage.hop == hop).unwrap_or_default();
            for node in nodes(plan.stages.get(first..).unwrap_or_default()) {
                self.left_out.entry(node).or_insert_with(|| vec![answer.clone()]);
            }
        }
        for (pool, limits) in &plan.pools {
            let Some(answer) = filled(world, plan, pool, limits.max_unavailable) else { continue };
            let scope = Scope::Pool(pool.clone());
            let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
            for node in steps.filter(|step| step.id.scope == scope).filter_map(Step::node) {
                if !world.census.is_out(pool, node) {
                    self.leave_out(node, &answer);
                }
            }
        }
    }

    fn leave_out(&mut self, node: &str, answer: &Answer) {
        let answers = self.left_out.entry(node.to_owned()).or_default();
        if !answers.contains(answer) {
            answers.push(answer.clone());
        }
    }
}

/// Why no other node of a pool goes: people keep as many of its nodes out as its limit or that of the cluster allows, or
/// they are not Ready.
fn filled(world: &World<'_>, plan: &Plan, pool: &str, limit: Limit) -> Option<Answer> {
    let live = world.live?;
    let stuck = |pool: &str| -> Vec<&str> {
        let nodes = world.census.out_of(pool).filter_map(|name| live.nodes.get(name));
        let theirs = nodes.filter(|node| {
            node.hold.is_some()
                || node.is_cordoned_by_others()
                || (node.ready != Ready::True && node.claim.is_none())
        });
        theirs.map(|node| &*node.name).collect()
    };
    let books = Books::of(world.census, None);
    let (of_pool, of_all) = (stuck(pool), plan.pools.keys().flat_map(|pool| stuck(pool)).collect::<Vec<_>>());
    let (total, all) = (books.pool(pool).0, books.cluster().0);
    let (key, object, most, out) = match &plan.max_unavailable {
        _ if of_pool.len() >= limit.of(total) => {
            let most = format!("at most {limit} of its {total} nodes");
            (Key::LimitReached, format!("pool/{pool}"), most, of_pool)
        }
        Some(limit) if of_all.len() >= limit.of(all) => (
            Key::ClusterLimitReached,
            world.object(),
            format!("at most {limit} nodes of the cluster"),
            of_all,
        ),
        Some(_) | None => return None,
    };
    let text = format!("{most} may be out at once; out already: {}", list(&out, MOST_NAMED));
    Some(Answer::wait(Gate::Limit, Reason::new(key, object, text)))
}

/// True if the node itself is not taken out, whatever the others do.
fn is_of_node(answer: &Answer) -> bool {
    answer.verdict == Verdict::Deny && matches!(answer.gate, Gate::Hold | Gate::Budget | Gate::Health)
}

/// About how long one stage takes, without the nodes that are left out.
fn length(
    world: &World<'_>,
    plan: &Plan,
    stage: &Stage,
    left_out: &BTreeMap<String, Vec<Answer>>,
) -> SignedDuration {
    let goes = |step: &&Step| step.node().is_none_or(|node| !left_out.contains_key(node));
    let times = |length: SignedDuration, count: usize| length * i32::try_from(count).unwrap_or(i32::MAX);
    match stage.kind {
        StageKind::AwaitControlPlane => SignedDuration::ZERO,
        // Side by side.
        StageKind::Checks => CHECK,
        StageKind::AddonsBeforeControlPlane
        | StageKind::AddonsAfterControlPlane
        | StageKind::AddonsAfterNodes => times(ADDON, stage.steps.len()),
        StageKind::ControlPlane | StageKind::ControlPlaneKubelets => {
            let provider = world.desired().map(|desired| desired.cluster.control_plane.provider);
            let step = provider.map(|provider| provider::capabilities(provider).control_plane_step);
            times(step.unwrap_or_default(), stage.steps.iter().filter(goes).count())
        }
        // Pools run side by side, so the slowest counts.
        StageKind::Workers => {
            let of_pool = plan.pools.iter().map(|(pool, limits)| {
                let scope = Scope::Pool(pool.clone());
                let steps = stage.steps.iter().filter(|step| step.id.scope == scope).filter(goes);
                let (canaries, others): (Vec<_>, Vec<_>) =
                    steps.partition(|step| step.node_move().is_some_and(|mv| mv.canary));
                let at_once = limits.max_unavailable.of(canaries.len() + others.len()).max(1);
                let rounds = canaries.len().div_ceil(at_once) + others.len().div_ceil(at_once);
                let soak = if canaries.is_empty() { 0 } else { limits.soak_seconds };
                times(WORKER, rounds).saturating_add(SignedDuration::from_secs(soak))
            });
            of_pool.max().unwrap_or_default()
        }
    }
}
