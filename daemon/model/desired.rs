//! What git asks for, read at one commit, and the policies that stood at the same commit.
//! By the time a value is of these types it has been checked; nothing here can be half valid.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::CommitId;
use super::labels::Labels;
use super::version::Version;

/// One cluster as one commit asks for it, with the policies of that same commit.
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
    /// Nodes that may be unavailable at once over all pools; nothing means no limit beyond the pools'.
    pub max_unavailable: Option<Limit>,
    pub control_plane: ControlPlane,
    /// A person's written reason for upgrading without a proven snapshot.
    pub etcd_unproven: Option<String>,
    pub pools: Vec<Pool>,
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
}

/// Who changes what runs on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Provider {
    Kubeadm,
    /// Hosted, or moved by somebody else: waited for.
    External,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubeadm {
    pub from: PackageSource,
    pub image: String,
    pub ignore_preflight_errors: Vec<String>,
}

/// Where kubeadm, kubelet and kubectl of the next version come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PackageSource {
    /// apt or dnf, whichever the host has.
    Packages,
    /// A folder on the host; `{version}` stands for the target, as in `/opt/kubernetes/{version}`.
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
    pub drain: Drain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ForeignCordon {
    /// A node that somebody else cordoned is left alone.
    Skip,
    /// It is upgraded and stays cordoned.
    Upgrade,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    pub when: DrainWhen,
    /// How long a drain may be blocked before its node is set aside.
    pub timeout: SignedDuration,
    pub delete_empty_dir_data: bool,
    /// How long running Jobs and pods that ask not to be disrupted are waited for.
    pub jobs: SignedDuration,
    /// Whether owners without a budget get an implicit one.
    pub implicit_budgets: bool,
}

/// Which moves empty the node first. A minor move always does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrainWhen {
    Always,
    Minor,
}

/// A number of nodes, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    Count(u32),
    Percent(u8),
}

impl Limit {
    /// How many of `total` nodes: a share is rounded down, but never to nothing, or no node could ever go.
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

/// A label selector as Kubernetes has it; the empty one selects everything.
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
    /// Whether labels, given as a look-up, satisfy every requirement. `NotIn` holds for an absent key, as upstream.
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

    /// Whether an object of a cluster is selected by its labels.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.matches(|key| labels.get(key).map(|value| &**value))
    }

    pub fn matches_map(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches(|key| labels.get(key).map(String::as_str))
    }
}

/// Every policy of one commit, for all clusters.
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
    /// After the close: how long a node whose upgrade has not begun may still go on before it is returned.
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
    /// Absolute time, not wall time.
    pub length: SignedDuration,
}

/// What happens to work in hand when the window closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AtClose {
    /// Nodes in hand are finished, no other is taken out.
    FinishNode,
    /// The batch in hand is finished: nodes already chosen into it may still be taken out.
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
    /// Patch moves pass it.
    pub except_patch: bool,
}
