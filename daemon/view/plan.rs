//! What a change would do, as `windlass plan` shows it. Programs read these types, whatever the planner's own look
//! like: one function makes them from a plan, and no other place decides names and words in the JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::addons::{AddonChange, addons_of};
pub use super::facts::{Component, Fact};
use super::standing::Exit;
use crate::diff;
use crate::gate;
use crate::model::CommitId;
use crate::model::decision::{Answer, Reason};
use crate::model::desired::{DrainWhen, ForeignCordon, Kubeadm, Limit, OnBlocked, OnNotRecovered, Provider};
use crate::model::plan::{self, LowerBound};
use crate::model::version::Version;

/// The page.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanPage {
    pub plan: Plan,
    /// Every component that does not run the desired version, whether the plan moves it or not.
    pub changes: Vec<Change>,
    /// How many nodes the plan touches, each counted once.
    pub nodes: usize,
    /// How many pods are evicted, counted each time their node is drained. An estimate: pods come and go.
    pub pods_to_move: u64,
    /// The addons that would move, in their order.
    pub addons: Vec<AddonChange>,
    /// What is known before the run; `None` if the gates were not asked.
    #[serde(flatten)]
    pub forecast: Option<PlanForecast>,
    /// The scripts that would run on the nodes; empty unless requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<Script>,
}

/// Which nodes would be left out, when the run could begin, and about how long it takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanForecast {
    /// The nodes of the plan that would not be taken out at present. The run stays open until they are.
    pub left_out: Vec<LeftOut>,
    /// What windows and freezes say now.
    pub calendar: Vec<Answer>,
    /// An estimate; it does not include waits for windows and for budgets.
    pub estimated_seconds: i64,
    /// The least time for the workers, and what sets it; missing if no worker is drained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower_bound: Option<LowerBound>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    pub node: String,
    pub reasons: Vec<Reason>,
}

impl PlanForecast {
    pub fn of(forecast: gate::Forecast) -> Self {
        let left_out = forecast.left_out.into_iter().map(|(node, answers)| LeftOut {
            node,
            reasons: answers.into_iter().map(|answer| answer.reason).collect(),
        });
        Self {
            left_out: left_out.collect(),
            calendar: forecast.calendar,
            estimated_seconds: forecast.length.as_secs(),
            lower_bound: forecast.lower_bound,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub cluster: String,
    pub commit: CommitId,
    /// The oldest API server version in the cluster.
    pub from: Version,
    pub to: Version,
    pub hops: Vec<Hop>,
    /// In the order in which they are worked through.
    pub stages: Vec<Stage>,
    pub pools: BTreeMap<String, Pool>,
    /// How many nodes may be unavailable at once over all pools; `None` if only the pools have limits.
    pub max_unavailable: Option<Limit>,
    pub kubeadm: Kubeadm,
    pub risks: Vec<Reason>,
    /// Why the plan cannot be carried out as it stands.
    pub blockers: Vec<Reason>,
    /// Digest of the intent: versions, hops, order, limits, scripts.
    pub digest: String,
    /// Digest of the cluster's file.
    pub asked: String,
}

/// One move of the control plane: to the next minor, or to another patch of the same minor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hop {
    pub from: Version,
    pub to: Version,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stage {
    pub kind: StageKind,
    /// Which of the hops it belongs to, counted from one.
    pub hop: usize,
    pub to: Version,
    /// In their order, canaries first.
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StageKind {
    /// A hosted control plane is waited for; the one step has no node.
    AwaitControlPlane,
    ControlPlane,
    ControlPlaneKubelets,
    /// What kubeadm moves with the control plane is waited for.
    Checks,
    Workers,
    AddonsBeforeControlPlane,
    AddonsAfterControlPlane,
    AddonsAfterNodes,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub id: String,
    /// `controlPlane`, or the name of the pool, addon or check.
    pub pool: String,
    /// Empty, like UID and zone, for a control plane without visible nodes.
    pub node: String,
    pub node_uid: String,
    pub zone: String,
    pub component: Component,
    /// `None` for a control plane that is only waited for.
    pub provider: Option<Provider>,
    pub from: String,
    pub to: String,
    /// True if the node is drained first.
    pub drain: bool,
    pub canary: bool,
    /// The facts that must hold before the step.
    pub expects: Vec<Fact>,
    /// The facts that hold after the step.
    pub achieves: Vec<Fact>,
}

/// The limits of one pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    pub max_unavailable: Limit,
    pub max_unavailable_per_zone: Option<u32>,
    pub canary: u32,
    pub soak_seconds: i64,
    pub foreign_cordon: ForeignCordon,
    pub prefer_upgraded: bool,
    pub drain: Drain,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    pub when: DrainWhen,
    pub timeout_seconds: i64,
    pub delete_empty_dir_data: bool,
    pub jobs_seconds: i64,
    pub implicit_budgets: bool,
    pub recovery_seconds: i64,
    pub max_recovering: Limit,
    pub ahead: bool,
    pub on_not_recovered: OnNotRecovered,
    pub on_blocked: OnBlocked,
}

/// One component of one node that does not run the desired version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `controlPlane`, or the pool's name; `None` for a node that no single pool selects.
    pub scope: Option<String>,
    pub component: Component,
    /// `None` while it is unknown.
    pub from: Option<Version>,
    pub to: Version,
    /// Empty for a control plane without visible nodes.
    pub node: String,
    /// How many pods a drain would evict from the node, counted now.
    pub pods: u32,
}

/// A script that would run on nodes, and a title that says on which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Script {
    pub title: String,
    pub text: String,
}

impl PlanPage {
    /// `changes` are the result of [`diff::diff`]; `scripts` are empty unless requested.
    pub fn of(plan: &plan::Plan, changes: &[diff::Change], scripts: Vec<Script>) -> Self {
        let addons = addons_of(plan);
        let plan = Plan::of(plan);
        let changes: Vec<Change> = changes.iter().map(Change::of).collect();
        let steps = || plan.stages.iter().flat_map(|stage| &stage.steps);
        let nodes: BTreeSet<&str> =
            steps().map(|step| step.node.as_str()).filter(|node| !node.is_empty()).collect();
        let (nodes, pods_to_move) = (nodes.len(), pods_of(&plan, &changes, &[]));
        Self { plan, changes, nodes, pods_to_move, addons, forecast: None, scripts }
    }

    /// The page with what the gates would say. The pods of nodes that are left out are not counted.
    #[must_use]
    pub fn foreseen(self, forecast: gate::Forecast) -> Self {
        let forecast = PlanForecast::of(forecast);
        let pods_to_move = pods_of(&self.plan, &self.changes, &forecast.left_out);
        Self { pods_to_move, forecast: Some(forecast), ..self }
    }

    pub fn exit(&self) -> Exit {
        match (self.plan.blockers.is_empty(), self.plan.is_empty()) {
            (false, _) => Exit::Failed,
            (true, true) => Exit::Done,
            (true, false) => Exit::ToDo,
        }
    }
}

/// How many pods the drains of a plan would move.
fn pods_of(plan: &Plan, changes: &[Change], left_out: &[LeftOut]) -> u64 {
    let kubelets = changes.iter().filter(|change| change.component == Component::Kubelet);
    let pods: BTreeMap<&str, u32> = kubelets.map(|change| (change.node.as_str(), change.pods)).collect();
    let goes = |step: &&Step| step.drain && left_out.iter().all(|left| left.node != step.node);
    let drained = plan.stages.iter().flat_map(|stage| &stage.steps).filter(goes);
    drained.filter_map(|step| pods.get(step.node.as_str())).map(|pods| u64::from(*pods)).sum()
}

impl Plan {
    fn of(plan: &plan::Plan) -> Self {
        let hop = |hop: &plan::Hop| Hop { from: hop.from.clone(), to: hop.to.clone() };
        let pools = plan.pools.iter().map(|(name, limits)| (name.clone(), Pool::of(limits)));
        Self {
            cluster: plan.cluster.clone(),
            commit: plan.commit.clone(),
            from: plan.from.clone(),
            to: plan.to.clone(),
            hops: plan.hops.iter().map(hop).collect(),
            stages: plan.stages.iter().map(Stage::of).collect(),
            pools: pools.collect(),
            max_unavailable: plan.max_unavailable,
            kubeadm: plan.kubeadm.clone(),
            risks: plan.risks.clone(),
            blockers: plan.blockers.clone(),
            digest: plan.digest.clone(),
            asked: plan.asked.clone(),
        }
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.stages.iter().all(|stage| stage.steps.is_empty())
    }
}

impl Stage {
    fn of(stage: &plan::Stage) -> Self {
        let kind = match stage.kind {
            plan::StageKind::AwaitControlPlane => StageKind::AwaitControlPlane,
            plan::StageKind::ControlPlane => StageKind::ControlPlane,
            plan::StageKind::ControlPlaneKubelets => StageKind::ControlPlaneKubelets,
            plan::StageKind::Checks => StageKind::Checks,
            plan::StageKind::Workers => StageKind::Workers,
            plan::StageKind::AddonsBeforeControlPlane => StageKind::AddonsBeforeControlPlane,
            plan::StageKind::AddonsAfterControlPlane => StageKind::AddonsAfterControlPlane,
            plan::StageKind::AddonsAfterNodes => StageKind::AddonsAfterNodes,
        };
        let steps = stage.steps.iter().map(Step::of).collect();
        Self { kind, hop: stage.hop + 1, to: stage.to.clone(), steps }
    }
}

impl Step {
    fn of(step: &plan::Step) -> Self {
        let mv = step.node_move();
        let node = mv.map(|mv| mv.node.clone());
        Self {
            id: step.id.to_string(),
            pool: step.id.scope.name().to_owned(),
            node: node.as_ref().map(|node| node.name.clone()).unwrap_or_default(),
            node_uid: node.map(|node| node.uid).unwrap_or_default(),
            zone: mv.map(|mv| mv.zone.clone()).unwrap_or_default(),
            component: match step.work {
                plan::Work::Addon(_) => Component::Addon,
                plan::Work::Check(_) => Component::Check,
                _ => step.component().map_or(Component::ControlPlane, Component::of),
            },
            provider: mv.map(|mv| mv.provider),
            from: step.work.addon().map_or_else(|| step.from().to_string(), |mv| mv.from.clone()),
            to: step.work.target(),
            drain: step.drains(),
            canary: mv.is_some_and(|mv| mv.canary),
            expects: step.expects.iter().map(Fact::of).collect(),
            achieves: step.achieves.iter().map(Fact::of).collect(),
        }
    }
}

impl Step {
    /// What a check waits for.
    pub(super) fn check_words(&self) -> String {
        let least = self.achieves.iter().find_map(|fact| match fact {
            Fact::HasVersion(_, _, version) => Some(format!("{version} or later, ")),
            _ => None,
        });
        let workload = self.achieves.iter().find_map(Fact::rolled_out).unwrap_or_default();
        format!("waits for {}all pods of {workload}", least.unwrap_or_default())
    }
}

impl Pool {
    fn of(limits: &plan::PoolLimits) -> Self {
        let drain = &limits.drain;
        Self {
            max_unavailable: limits.max_unavailable,
            max_unavailable_per_zone: limits.max_unavailable_per_zone,
            canary: limits.canary,
            soak_seconds: limits.soak_seconds,
            foreign_cordon: limits.foreign_cordon,
            prefer_upgraded: limits.prefer_upgraded,
            drain: Drain {
                when: drain.when,
                timeout_seconds: drain.timeout_seconds,
                delete_empty_dir_data: drain.delete_empty_dir_data,
                jobs_seconds: drain.jobs_seconds,
                implicit_budgets: drain.implicit_budgets,
                recovery_seconds: drain.recovery_seconds,
                max_recovering: drain.max_recovering,
                ahead: drain.ahead,
                on_not_recovered: drain.on_not_recovered,
                on_blocked: drain.on_blocked,
            },
        }
    }
}

impl Change {
    fn of(change: &diff::Change) -> Self {
        Self {
            scope: change.scope.as_ref().map(|scope| scope.name().to_owned()),
            component: Component::of(change.component),
            from: change.from.clone(),
            to: change.to.clone(),
            node: change.node.clone().unwrap_or_default(),
            pods: change.pods,
        }
    }
}
