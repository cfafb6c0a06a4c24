//! Plan, stage, step, fact: what is to be done, in which order, and how one tells that it is done.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::CommitId;
use super::decision::Reason;
use super::desired::{DrainWhen, ForeignCordon, Kubeadm, Limit, Provider};
use super::version::Version;

/// Which part of a cluster a step moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Component {
    /// API server, controller manager, scheduler and etcd of one control plane node.
    Servers,
    /// The kubelet of one node, and with it what the node runs.
    Kubelet,
}

impl Component {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Servers => "servers",
            Self::Kubelet => "kubelet",
        }
    }
}

/// One statement that is either true of a live cluster or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fact {
    /// This component of this node runs this version.
    Runs(Component, String, Version),
    /// Every API server of the cluster runs at least this version.
    ServersAtLeast(Version),
    /// The node is Ready.
    Ready(String),
    /// The node exists with this UID.
    Exists(String, String),
}

/// The moves from the live cluster to the desired one, in order, and why the list stops there.
///
/// Stages are worked through in order; within a stage, what may run at the same time follows from its kind
/// and from the limits. It is frozen with its digest when its run starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
#[serde(rename_all = "camelCase")]
pub struct Hop {
    pub from: Version,
    pub to: Version,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    AwaitServers,
    /// Control plane nodes' servers, strictly one at a time.
    Servers,
    /// Control plane nodes' kubelets, strictly one at a time, after all servers.
    ControlPlaneKubelets,
    /// Workers of all pools, each pool's canaries first, within the limits.
    Workers,
}

/// One move, small enough to be checked before and after.
///
/// It carries no progress marker: a restarted daemon finds its place by putting these facts to a fresh live
/// cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// `<scope>/<version>/<node>@<uid>/<component>`, unique within its cluster and run.
    pub id: String,
    /// `controlPlane`, or the pool's name.
    pub pool: String,
    pub node: String,
    pub node_uid: String,
    pub zone: String,
    pub component: Component,
    pub provider: Provider,
    pub from: Version,
    pub to: Version,
    /// Whether the node is emptied first.
    pub drain: bool,
    pub canary: bool,
    pub expects: Vec<Fact>,
    pub achieves: Vec<Fact>,
}

/// What a run holds itself to for one pool, as it stood when the plan was frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolLimits {
    pub max_unavailable: Limit,
    pub max_unavailable_per_zone: Option<u32>,
    pub canary: u32,
    pub soak_seconds: i64,
    pub foreign_cordon: ForeignCordon,
    pub drain: DrainLimits,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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

    pub fn is_empty(&self) -> bool {
        self.stages.iter().all(|stage| stage.steps.is_empty())
    }

    /// Whether any of it crosses a minor: patch moves may pass where minor ones wait.
    pub fn crosses_minor(&self) -> bool {
        self.steps().any(|step| !step.from.same_minor(&step.to))
    }
}
