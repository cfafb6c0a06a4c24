//! Plan, hop, stage: which steps there are, in which order, and within which limits.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::CommitId;
use super::decision::Reason;
use super::desired::{DrainWhen, ForeignCordon, Kubeadm, Limit};
use super::version::Version;

pub use super::work::{
    Component, Fact, MoveKind, NodeMove, NodeRef, Scope, Standing, Step, StepId, Truth, Work, WorkKind,
};

/// The moves from the live cluster to the desired one, in order, and why the list stops there.
///
/// Stages are worked through in order; within a stage, what may run at the same time follows from its kind
/// and from the limits. It is frozen with its digest when its run starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[must_use]
pub struct Plan {
    pub cluster: String,
    pub commit: CommitId,
    /// The oldest API server version that was seen.
    pub from: Version,
    pub to: Version,
    pub hops: Vec<Hop>,
    pub stages: Vec<Stage>,
    pub pools: BTreeMap<String, PoolLimits>,
    pub max_unavailable: Option<Limit>,
    /// What its Jobs run, and where they take it from.
    pub kubeadm: Kubeadm,
    pub risks: Vec<Reason>,
    /// Why the plan cannot be carried out as it stands; a plan with blockers has no run.
    pub blockers: Vec<Reason>,
    /// SHA-256 over the intent: versions, hops, order, limits, scripts. Not over counts, names or risks.
    pub digest: String,
    /// SHA-256 over all that the cluster's file asks for and plans depend on: where it asks for something else,
    /// this plan is out of date.
    pub asked: String,
}

/// One control plane move: a minor, or a patch within one.
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
    /// Index into the plan's hops; a lift of workers between two hops belongs to the hop before it.
    pub hop: usize,
    pub to: Version,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StageKind {
    /// A hosted control plane is waited for; one step, without a node.
    AwaitControlPlane,
    /// The control plane components of each control plane node, strictly one node at a time.
    ControlPlane,
    /// Control plane nodes' kubelets, strictly one at a time, after all control plane components.
    ControlPlaneKubelets,
    /// Workers of all pools, each pool's canaries first, within the limits.
    Workers,
}

/// What a run holds itself to for one pool, as it stood when the plan was frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolLimits {
    pub max_unavailable: Limit,
    pub max_unavailable_per_zone: Option<u32>,
    pub canary: u32,
    pub soak_seconds: i64,
    pub foreign_cordon: ForeignCordon,
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
}

impl DrainLimits {
    pub fn timeout(&self) -> SignedDuration {
        SignedDuration::from_secs(self.timeout_seconds)
    }

    pub fn jobs(&self) -> SignedDuration {
        SignedDuration::from_secs(self.jobs_seconds)
    }
}

impl Plan {
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(|stage| &stage.steps)
    }

    /// The limits of the part of the cluster that a step belongs to.
    pub fn limits(&self, scope: &Scope) -> Option<&PoolLimits> {
        self.pools.get(scope.name())
    }

    pub fn is_empty(&self) -> bool {
        self.stages.iter().all(|stage| stage.steps.is_empty())
    }
}

impl StageKind {
    /// Whether its steps go strictly one node at a time and belong to the one unit that a hop's control plane is.
    pub fn is_control_plane(self) -> bool {
        match self {
            Self::AwaitControlPlane | Self::Workers => false,
            Self::ControlPlane | Self::ControlPlaneKubelets => true,
        }
    }
}
