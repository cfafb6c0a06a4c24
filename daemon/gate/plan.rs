//! The plan gate: whether the plan has blockers, and whether it still is what the desired state asks for.

use super::{Moment, Question, World};
use crate::diff::{Membership, membership};
use crate::model::addon::{AddonMove, AddonSource, AddonWork, ImageMove, image_version, numbers};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::desired::Desired;
use crate::model::helm::HelmMove;
use crate::model::live::Node;
use crate::model::plan::{Plan, StageKind};
use crate::model::work::{Component, Scope};
use crate::provider::{self, Mover};
use crate::record::Run;

/// More nodes than a person reads of one kind.
const MOST_NAMED: usize = 20;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let mut answers = match (question.moment, question.plan) {
        (Moment::StartRun, Some(plan)) => blockers(plan),
        (Moment::GoOn, Some(plan)) if question.step.is_none() && question.run().is_none() => {
            nodes_without_pool(question.world, plan)
        }
        (Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn, _) => Vec::new(),
    };
    let of_step =
        superseded(question).into_iter().chain(pool_changed(question)).chain(of_doubtful_run(question));
    let of_step = of_step.chain(outgrown(question)).chain(other_addon(question));
    answers.extend(of_step.map(|reason| Answer::deny(Gate::Plan, reason)));
    let has_steps = question.plan.is_some_and(|plan| !plan.is_empty());
    if answers.is_empty() && question.step.is_none() && has_steps {
        answers.push(Answer::allow(Gate::Plan, question.object(), "the plan can be carried out"));
    }
    answers
}

/// Why no run can begin with this plan. An unknown version is a wait: static pods report none while a kubelet restarts
/// them, and do again within a minute. A person has to act on every other blocker.
pub fn blockers(plan: &Plan) -> Vec<Answer> {
    let answer = |blocker: &Reason| match blocker.key {
        Key::VersionUnknown | Key::AddonRolling => Answer::wait(Gate::Health, blocker.clone()),
        _ => Answer::deny(Gate::Plan, blocker.clone()),
    };
    plan.blockers.iter().map(answer).collect()
}

/// Nodes that are in no pool keep a cluster from being as desired for as long as their versions are old.
fn nodes_without_pool(world: &World<'_>, plan: &Plan) -> Vec<Answer> {
    let objects = world.census.left_alone().map(|node| format!("node/{node}")).take(MOST_NAMED);
    let risk = |object: String| {
        let mut risks = plan.risks.iter();
        let left = |key: Key| matches!(key, Key::NodeInNoPool | Key::NodeNotMovable);
        risks.find(|risk| left(risk.key) && risk.object == object)
    };
    objects.filter_map(risk).map(|risk| Answer::deny(Gate::Plan, risk.clone())).collect()
}

/// True if the run ends for a newer commit that asks this cluster for something else, because its plan does not follow
/// from its own commit, or because a control plane node joined that its plan does not have. For a newer commit, a hop
/// whose control plane is changed already is finished first.
pub fn gives_way(world: &World<'_>, run: &Run) -> bool {
    run.doubt.is_some()
        || (world.state.supersedes(&run.plan) && !run.hop_unfinished())
        || joined(world, run).is_some()
}

/// A control plane node that joined after the plan was made, with an older version than the plan brings the others to.
///
/// cp4 joins with the old version while the kubelets of cp1 to cp3 wait for their turn. No kubelet may be newer than any
/// API server, and the plan has no step for cp4: a new plan has.
pub fn joined(world: &World<'_>, run: &Run) -> Option<Reason> {
    let (live, desired) = (world.live?, world.desired()?);
    let provider = provider::capabilities(desired.cluster.control_plane.provider);
    if matches!(provider.mover(Component::ControlPlane), Mover::SomebodyElse) {
        return None;
    }
    // Hops that are not begun are for a new plan anyway.
    let to = &run.plan.stages.get(run.open_stage()?)?.to;
    let mut behind = live.api_servers().into_iter().filter_map(|(name, runs)| {
        let node = live.nodes.get(&name)?;
        runs.filter(|runs| runs.is_before(to)).map(|runs| (node, runs))
    });
    let of_hop =
        || run.plan.stages.iter().filter(|stage| stage.kind == StageKind::ControlPlane && stage.to == *to);
    let planned = |node: &Node| {
        let mut steps = of_hop().flat_map(|stage| &stage.steps).filter_map(|step| step.id.node.as_ref());
        steps.any(|planned| planned.name == *node.name && planned.uid == *node.uid)
    };
    let (node, runs) = behind.find(|(node, _)| !planned(node))?;
    let text = format!("this control plane node joined with {runs} after the plan was made");
    Some(Reason::new(Key::PlanStale, format!("node/{}", node.name), text))
}

/// The same for a step that waits until every API server is new. The control plane components of the other nodes go on.
fn outgrown(question: &Question<'_>) -> Option<Reason> {
    let stage = question.stage.filter(|stage| stage.kind != StageKind::ControlPlane)?;
    match question.moment {
        Moment::Claim | Moment::Change if stage.kind != StageKind::AwaitControlPlane => {
            joined(question.world, question.run()?)
        }
        Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn => None,
    }
}

/// Why nothing of the run's plan is carried out; `None` if it follows from the commit that the run names.
pub fn not_vouched(run: &Run, object: String) -> Option<Reason> {
    let doubt = run.doubt.as_ref()?;
    let text =
        format!("the plan of run {} does not follow from commit {}: {doubt}", run.id, run.commit.short());
    Some(Reason::new(Key::PlanNotVouched, object, text))
}

/// The same for a step that has not changed its node. A node that is changed already goes on to its end.
fn of_doubtful_run(question: &Question<'_>) -> Option<Reason> {
    question.step?;
    match question.moment {
        Moment::StartRun | Moment::GoOn => None,
        Moment::TakeOut | Moment::Claim | Moment::Change => not_vouched(question.run()?, question.object()),
    }
}

/// Why what the frozen plan has for an addon is not what the file asks for now. Where the file names no repository, it is that of
/// the image which runs, and the plan alone does not prove which one did.
fn other_addon(question: &Question<'_>) -> Option<Reason> {
    let mv = question.step?.work.addon()?;
    match (question.moment, &mv.change) {
        (Moment::TakeOut | Moment::Claim | Moment::Change, _)
        | (Moment::GoOn, AddonWork::Manifests(_) | AddonWork::Helm(_)) => {}
        (Moment::StartRun | Moment::GoOn, _) => return None,
    }
    let addon = question.desired()?.cluster.addons.iter().find(|addon| addon.name == mv.name)?;
    let to = &mv.to;
    let text = match (&addon.source, &mv.change) {
        (AddonSource::Image(of), AddonWork::Image(mv)) => {
            let read = question.live()?.addon_workloads.get(&mv.workload)?.as_ref()?;
            let runs = read.images.get(&mv.container)?;
            if !addon.has_version(to) {
                let text = format!("the plan of its run moves it to {to}, and its file has no such version");
                return Some(Reason::new(Key::PlanNotVouched, question.object(), text));
            }
            let asked = of.asked(to, &runs.image);
            if asked == mv.image {
                return off_path(question, mv, &runs.image).filter(|_| !addon.via.is_empty());
            }
            format!(
                "the plan of its run gives it the image {}, and its file, with the image {} that runs, asks for {asked}",
                mv.image, runs.image
            )
        }
        (AddonSource::Manifests(of), AddonWork::Manifests(mv)) if mv.follows_from(of) => return None,
        (AddonSource::Helm(of), AddonWork::Helm(change)) if change.follows_from_chart(of, to) => {
            return release_off_path(question, mv, change).filter(|_| !addon.via.is_empty());
        }
        (AddonSource::Image(_) | AddonSource::Manifests(_) | AddonSource::Helm(_), _) => {
            "the plan of its run has another content than its files".to_owned()
        }
    };
    Some(Reason::new(Key::PlanNotVouched, question.object(), text))
}

/// Why the step of an addon that goes through several versions would skip one: somebody has given it an older image than the one
/// from which the step starts.
fn off_path(question: &Question<'_>, mv: &ImageMove, runs: &str) -> Option<Reason> {
    if runs == mv.image_from || mv.images().contains(runs) {
        return None;
    }
    let number = |image: &str| numbers(image_version(image));
    // What kubeadm installs with a new control plane lies between the two.
    if let (Some(from), Some(runs), Some(to)) = (number(&mv.image_from), number(runs), number(&mv.image))
        && ((from <= runs && runs <= to) || (to <= runs && runs <= from))
    {
        return None;
    }
    let text = format!(
        "its step goes from the image {} to {}, and somebody has given it {runs} since the plan was made",
        mv.image_from, mv.image
    );
    Some(Reason::new(Key::AddonManager, question.object(), text))
}

/// The same for a release. Once helm was started for the step, it goes on.
fn release_off_path(question: &Question<'_>, mv: &AddonMove, change: &HelmMove) -> Option<Reason> {
    let read = question.live()?.addon_manifests.get(&mv.name)?;
    let (release, runs) = (read.release.as_ref()?, read.rendering()?.installed.as_str());
    if question.moment == Moment::GoOn || runs == mv.from || release.has(&change.objects.digest) {
        return None;
    }
    if let (Some(from), Some(runs), Some(to)) = (numbers(&mv.from), numbers(runs), numbers(&mv.to))
        && ((from <= runs && runs <= to) || (to <= runs && runs <= from))
    {
        return None;
    }
    let text = format!(
        "its step goes from {} to {}, and somebody has given {} the version {runs} since the plan was made",
        mv.from, mv.to, change.release
    );
    Some(Reason::new(Key::AddonManager, question.object(), text))
}

/// Why the run gives way: a newer commit asks this cluster for something else. A hop whose control plane is changed
/// already is finished first.
fn superseded(question: &Question<'_>) -> Option<Reason> {
    question.step?;
    let (run, desired) = (question.run()?, question.desired()?);
    let changed =
        question.is_control_plane() && question.stage.is_some_and(|stage| run.hop_changed(stage.hop));
    if changed || !question.world.state.supersedes(&run.plan) {
        return None;
    }
    let text = format!("commit {} asks for something else", desired.commit.short());
    Some(Reason::new(Key::PlanStale, question.object(), text))
}

/// Why the node no longer belongs to the pool that the plan has it in: labels and selectors change.
fn pool_changed(question: &Question<'_>) -> Option<Reason> {
    let Scope::Pool(pool) = &question.step?.id.scope else { return None };
    let node = question.node()?;
    // Nearly always true, and known without trying the selectors of all pools.
    if question.world.census.is_in(pool, &node.name) {
        return None;
    }
    left_pool(question.desired()?, node, pool)
}

/// Why a node does not belong to this pool; `None` if it does.
pub fn left_pool(desired: &Desired, node: &Node, pool: &str) -> Option<Reason> {
    let object = format!("node/{}", node.name);
    match membership(&desired.cluster, node) {
        Membership::Pool(found) if found.name == pool => None,
        Membership::Pool(found) => {
            let text = format!("it belongs to pool {} now, and the plan has it in pool {pool}", found.name);
            Some(Reason::new(Key::PoolChanged, object, text))
        }
        Membership::ControlPlane => {
            let text = format!("it is a control plane node now, and the plan has it in pool {pool}");
            Some(Reason::new(Key::PoolChanged, object, text))
        }
        Membership::Nowhere => {
            let text = "no pool selects it any more: it is not touched, and the run is not complete";
            Some(Reason::new(Key::NodeInNoPool, object, text))
        }
        Membership::Beyond(beyond) => Some(Reason::new(Key::NodeNotMovable, object, beyond.to_string())),
        Membership::Several(pools) => {
            let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
            let text = format!("the pools {} select it; a node belongs to one", names.join(" and "));
            Some(Reason::new(Key::NodeInTwoPools, object, text))
        }
    }
}
