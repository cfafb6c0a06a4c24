//! The desired state that git has at one commit, and the policies of the same commit. Values of these types have been
//! validated when they were read.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::CommitId;
use super::addon::Addon;
use super::installed::{InstalledAddon, SkippedPhase};
use super::labels::Labels;
use super::version::Version;

/// One cluster as one commit describes it, with the policies of that commit.
#[derive(Clone, Debug)]
pub struct Desired {
    pub commit: CommitId,
    pub cluster: Cluster,
    pub policies: Policies,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub mode: Mode,
    pub version: Version,
    /// How many nodes may be unavailable at once over all pools; `None` means that only the pools' limits count.
    pub max_unavailable: Option<Limit>,
    pub control_plane: ControlPlane,
    /// The reason that a person wrote for upgrading without a proven snapshot of etcd.
    pub etcd_unproven: Option<String>,
    pub pools: Vec<Pool>,
    pub addons: Vec<Addon>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Everything but writes to the cluster.
    Observe,
    Act,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlane {
    pub provider: Provider,
    pub kubeadm: Kubeadm,
    pub drain: ControlPlaneDrain,
}

impl ControlPlane {
    /// True if a node of a control plane of so many nodes is emptied before its components move. A single node is not:
    /// no other control plane node runs a controller manager that could take its pods out of their Services.
    pub fn empties_first(&self, nodes: usize) -> bool {
        self.drain == ControlPlaneDrain::BeforeControlPlane && nodes > 1
    }
}

/// When a control plane node is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ControlPlaneDrain {
    /// For the minor move of its kubelet.
    BeforeKubelet,
    /// Also before its control plane components move, and for patch moves too: meanwhile its kubelet may miss its
    /// heartbeats.
    BeforeControlPlane,
}

/// How the components on a node are upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    Kubeadm,
    /// A hosted control plane, or nodes that another system upgrades: Windlass waits for the version.
    External,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubeadm {
    pub from: PackageSource,
    /// The image of the upgrade Jobs; `None` if neither the file nor the daemon's settings name one.
    #[serde(default)]
    pub image: Option<String>,
    pub ignore_preflight_errors: Vec<String>,
    /// The phases that its upgrade of a control plane node leaves out. Not written where there is none, so that a plan
    /// without it has the digest that it always had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_phases: Vec<SkippedPhase>,
}

impl Kubeadm {
    /// True if kubeadm does not move this addon with the control plane.
    pub fn skips(&self, addon: InstalledAddon) -> bool {
        self.skip_phases.iter().any(|phase| phase.skips(addon))
    }
}

/// Where the kubeadm, kubelet and kubectl of the next version come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PackageSource {
    /// The host's package manager, apt or dnf.
    Packages,
    /// A folder on the host. `{version}` stands for the target version, as in `/opt/kubernetes/{version}`.
    Folder(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub name: String,
    pub selector: Selector,
    pub provider: Provider,
    pub canary: u32,
    pub soak: SignedDuration,
    pub max_unavailable: Limit,
    pub max_unavailable_per_zone: Option<u32>,
    pub foreign_cordon: ForeignCordon,
    /// True if nodes that wait for their upgrade get a taint, so that the scheduler prefers upgraded ones.
    pub prefer_upgraded: bool,
    pub drain: Drain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ForeignCordon {
    /// A node that someone other than Windlass cordoned is left alone.
    Skip,
    /// Such a node is upgraded and stays cordoned.
    Upgrade,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    pub when: DrainWhen,
    /// How long a drain may be blocked before its node is set aside.
    pub timeout: SignedDuration,
    pub delete_empty_dir_data: bool,
    /// How long a drain waits for running Jobs and for pods that ask not to be disrupted.
    pub jobs: SignedDuration,
    /// True if owners without a `PodDisruptionBudget` get an implicit one.
    pub implicit_budgets: bool,
    /// How long the owners of evicted pods may take to have as many Ready pods again, once the node is back.
    pub recovery: SignedDuration,
    /// How many pods the owners of evicted pods may miss in all before no further node of the pool is taken out.
    pub max_recovering: Limit,
    /// True if pods of the budgets that take longest may leave nodes that wait, before their nodes' turn.
    pub ahead: bool,
    pub on_not_recovered: OnNotRecovered,
    pub on_blocked: OnBlocked,
}

/// What a drain does where an eviction is impossible, or would take the only pod of an owner out of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnBlocked {
    /// A pod that cannot be evicted is waited for, and then its node is set aside.
    #[default]
    SetAside,
    /// The pods of a Deployment move by a rollout, if its owner does not say otherwise and its strategy allows that.
    Surge,
}

impl OnBlocked {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What follows if an owner of evicted pods does not recover in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnNotRecovered {
    /// No further node of the pool is taken out until the owner has recovered.
    Wait,
    /// The run halts: the upgrade may be the cause, and a person has to look.
    Halt,
    /// It is told, and the run goes on.
    Continue,
}

/// Which moves drain the node first. A minor move always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrainWhen {
    Always,
    Minor,
}

/// A number of nodes, or a percentage of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    Count(u32),
    Percent(u8),
}

impl Limit {
    /// How many of `total` nodes the limit allows. A percentage is rounded down, but to at least one, or no node
    /// could ever be taken out.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (total * usize::from(percent) / 100).max(1),
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(out, "{count}"),
            Self::Percent(percent) => write!(out, "{percent}%"),
        }
    }
}

/// A label selector with the semantics of Kubernetes; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub match_labels: BTreeMap<String, String>,
    pub match_expressions: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// True if the labels, given as a look-up, satisfy every requirement. As in Kubernetes, `NotIn` holds for an
    /// absent key.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.match_labels.iter().all(|(key, value)| label(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| {
                let value = label(&requirement.key);
                let listed = value.is_some_and(|value| requirement.values.iter().any(|v| v == value));
                match requirement.operator {
                    Operator::In => listed,
                    Operator::NotIn => !listed,
                    Operator::Exists => value.is_some(),
                    Operator::DoesNotExist => value.is_none(),
                }
            })
    }

    /// True if the selector selects an object with these labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.matches(|key| labels.get(key).map(|value| &**value))
    }

    pub fn matches_map(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches(|key| labels.get(key).map(String::as_str))
    }
}

/// All policies of one commit, for all clusters.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    pub windows: Vec<Window>,
    pub freezes: Vec<Freeze>,
}

#[derive(Clone, Debug)]
pub struct Window {
    pub name: String,
    pub clusters: Selector,
    pub time_zone: TimeZone,
    pub opens: Opens,
    pub at_close: AtClose,
    /// How long after the close a node whose upgrade has not begun may still go on; then it is returned.
    pub hard_limit: Option<SignedDuration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opens {
    Always,
    Weekly(Vec<Opening>),
}

/// One recurring opening: on these days, at this local time, for this long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Empty means every day.
    pub days: Vec<Weekday>,
    pub at: Time,
    /// Absolute time: on a day on which clocks change, an opening is as long as on any other day.
    pub length: SignedDuration,
}

/// What happens to the work in progress when the window closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AtClose {
    /// Nodes in progress are finished; no other node is taken out.
    FinishNode,
    /// The batch in progress is finished: nodes already chosen into it may still be taken out.
    FinishBatch,
    /// The run goes on to its end.
    RunOn,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Freeze {
    pub name: String,
    pub clusters: Selector,
    pub from: DateTime,
    pub until: DateTime,
    pub time_zone: TimeZone,
    pub reason: String,
    /// True if patch moves pass the freeze.
    pub except_patch: bool,
}
