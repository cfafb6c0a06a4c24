//! Plan, hop and stage: which steps there are, in which order, and within which limits.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::CommitId;
use super::addon::AddonWhen;
use super::decision::Reason;
use super::desired::{DrainWhen, ForeignCordon, Kubeadm, Limit, OnBlocked, OnNotRecovered};
use super::installed::InstalledCheck;
use super::version::Version;

pub use super::work::{
    AddonMove, Component, Fact, MoveKind, NodeMove, NodeRef, Scope, Standing, Step, StepId, Truth, Work,
    WorkKind,
};

/// The steps from the live cluster to the desired one, in order, and why they cannot be carried out, if so.
///
/// Stages are worked through in order. Within a stage, its kind and the limits decide which steps may run at the same
/// time. A plan is frozen, with its digest, when its run starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[must_use]
pub struct Plan {
    pub cluster: String,
    pub commit: CommitId,
    /// The oldest API server version in the cluster.
    pub from: Version,
    pub to: Version,
    pub hops: Vec<Hop>,
    pub stages: Vec<Stage>,
    pub pools: BTreeMap<String, PoolLimits>,
    pub max_unavailable: Option<Limit>,
    /// What the upgrade Jobs run, and where they get it from.
    pub kubeadm: Kubeadm,
    pub risks: Vec<Reason>,
    /// Why the plan cannot be carried out as it stands. A plan with blockers starts no run.
    pub blockers: Vec<Reason>,
    /// The least time for the workers, by the picture at the start of the run; `None` before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_bound: Option<LowerBound>,
    /// SHA-256 over the intent: versions, hops, order, limits, scripts. Counts, names and risks are not part of it.
    pub digest: String,
    /// SHA-256 over everything in the cluster's file that plans depend on. A plan whose value differs from the file's
    /// is out of date.
    pub asked: String,
}

/// The least time that the workers of a plan can take, and what sets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LowerBound {
    pub seconds: i64,
    /// What sets it: `budget/shop/db`, `pool/general`, `node/w3`.
    pub object: String,
    pub text: String,
    /// What it counts for each node from being empty to being back in service.
    #[serde(default)]
    pub on_node_seconds: i64,
    /// What limits each stage of workers, so that the bound can be told for a work on nodes that is known later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Vec<Least>>,
}

/// One thing that limits a stage of workers: so many seconds, and the work on so many nodes, of which some are out at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Least {
    pub seconds: i64,
    pub nodes: i64,
    pub at_once: i64,
    pub object: String,
    pub text: String,
}

impl LowerBound {
    /// The sum of what limits each stage most. `None` if no stage has a node that drains.
    #[must_use]
    pub fn new(stages: Vec<Vec<Least>>, on_node_seconds: i64) -> Option<Self> {
        // Of two that are the same, the later one is told.
        let most = |stage: &Vec<Least>| {
            let stage = stage.iter().map(|least| (least.with(on_node_seconds), least));
            stage.max_by_key(|(seconds, _)| *seconds).map(|(seconds, least)| (seconds, least.clone()))
        };
        let each: Vec<(i64, Least)> = stages.iter().filter_map(most).collect();
        let seconds = each.iter().map(|(seconds, _)| seconds).sum();
        let (_, Least { object, text, .. }) = each.into_iter().max_by_key(|(seconds, _)| *seconds)?;
        Some(Self { seconds, object, text, on_node_seconds, stages })
    }

    /// The same for another length of the work on a node; `None` if what limits the stages was not kept.
    #[must_use]
    pub fn with_on_node(&self, seconds: i64) -> Option<Self> {
        Self::new(self.stages.clone(), seconds)
    }
}

impl Least {
    fn with(&self, on_node_seconds: i64) -> i64 {
        self.seconds + self.nodes * on_node_seconds / self.at_once.max(1)
    }
}

/// One move of the control plane: to the next minor, or to another patch of the same minor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hop {
    pub from: Version,
    pub to: Version,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    pub kind: StageKind,
    /// Index into the plan's hops. A stage of workers between two hops belongs to the first of them.
    pub hop: usize,
    pub to: Version,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StageKind {
    /// Addons that move before the control plane does, one at a time.
    AddonsBeforeControlPlane,
    /// Waits for a hosted control plane: one step, without a node.
    AwaitControlPlane,
    /// The control plane components of each control plane node, one node at a time.
    ControlPlane,
    /// The kubelets of the control plane nodes, one at a time, after all control plane components.
    ControlPlaneKubelets,
    /// Waits until what kubeadm moves with the control plane has come, side by side.
    Checks,
    /// Addons that move after the control plane and before the workers, one at a time.
    AddonsAfterControlPlane,
    /// The workers of all pools, the canaries of each pool first, within the limits.
    Workers,
    /// Addons that move after everything else, one at a time.
    AddonsAfterNodes,
}

/// The limits that a run keeps for one pool, as they were when the plan was frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolLimits {
    pub max_unavailable: Limit,
    pub max_unavailable_per_zone: Option<u32>,
    pub canary: u32,
    pub soak_seconds: i64,
    pub foreign_cordon: ForeignCordon,
    pub prefer_upgraded: bool,
    pub drain: DrainLimits,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrainLimits {
    pub when: DrainWhen,
    pub timeout_seconds: i64,
    pub delete_empty_dir_data: bool,
    pub jobs_seconds: i64,
    pub implicit_budgets: bool,
    pub recovery_seconds: i64,
    pub max_recovering: Limit,
    pub ahead: bool,
    pub on_not_recovered: OnNotRecovered,
    /// Left out where it is the default, so that a plan without it has the digest that it always had.
    #[serde(default, skip_serializing_if = "OnBlocked::is_default")]
    pub on_blocked: OnBlocked,
}

impl DrainLimits {
    pub fn timeout(&self) -> SignedDuration {
        SignedDuration::from_secs(self.timeout_seconds)
    }

    pub fn jobs(&self) -> SignedDuration {
        SignedDuration::from_secs(self.jobs_seconds)
    }

    pub fn recovery(&self) -> SignedDuration {
        SignedDuration::from_secs(self.recovery_seconds)
    }
}

impl Plan {
    /// The checks of what the provider moves with the control plane.
    pub fn checks(&self) -> impl Iterator<Item = &InstalledCheck> {
        self.steps().filter_map(|step| step.work.check())
    }

    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(|stage| &stage.steps)
    }

    /// The limits of the scope of a step; `None` if the plan has none for it.
    pub fn limits(&self, scope: &Scope) -> Option<&PoolLimits> {
        match scope {
            Scope::ControlPlane | Scope::Pool(_) => self.pools.get(scope.name()),
            Scope::Addon(_) | Scope::Check(_) => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.stages.iter().all(|stage| stage.steps.is_empty())
    }
}

impl StageKind {
    /// True if the stage belongs to the control plane of a hop: one node at a time, and the whole hop as one unit.
    pub fn is_control_plane(self) -> bool {
        match self {
            Self::AddonsBeforeControlPlane
            | Self::AwaitControlPlane
            | Self::Checks
            | Self::AddonsAfterControlPlane
            | Self::Workers
            | Self::AddonsAfterNodes => false,
            Self::ControlPlane | Self::ControlPlaneKubelets => true,
        }
    }

    /// True if the stage moves addons.
    pub fn is_addons(self) -> bool {
        self.when_addons_move().is_some()
    }

    /// When the addons of the stage move; `None` for a stage that moves none.
    pub fn when_addons_move(self) -> Option<AddonWhen> {
        match self {
            Self::AddonsBeforeControlPlane => Some(AddonWhen::BeforeControlPlane),
            Self::AddonsAfterControlPlane => Some(AddonWhen::AfterControlPlane),
            Self::AddonsAfterNodes => Some(AddonWhen::AfterNodes),
            Self::AwaitControlPlane
            | Self::ControlPlane
            | Self::ControlPlaneKubelets
            | Self::Checks
            | Self::Workers => None,
        }
    }

    /// The stage of the addons that move then.
    pub fn of_addons(when: AddonWhen) -> Self {
        match when {
            AddonWhen::BeforeControlPlane => Self::AddonsBeforeControlPlane,
            AddonWhen::AfterControlPlane => Self::AddonsAfterControlPlane,
            AddonWhen::AfterNodes => Self::AddonsAfterNodes,
        }
    }
}
