//! The workloads of addons, by kind and name, and as the cluster shows them.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::addon::{image_version, numbers};
use super::rollout::Progress;

/// The kinds of workload whose images an addon can move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkloadKind {
    Deployment,
    DaemonSet,
    StatefulSet,
}

impl WorkloadKind {
    pub const ALL: [Self; 3] = [Self::Deployment, Self::DaemonSet, Self::StatefulSet];

    /// As `kubectl` writes it: `daemonset`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::DaemonSet => "daemonset",
            Self::StatefulSet => "statefulset",
        }
    }
}

/// One workload, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadRef {
    pub kind: WorkloadKind,
    pub namespace: String,
    pub name: String,
}

/// `daemonset/kube-system/cilium`.
impl fmt::Display for WorkloadRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// A workload as etcd had it when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadRead {
    pub uid: String,
    pub resource_version: String,
    /// Its `metadata.generation`, which the API server raises with every change of its spec.
    pub generation: i64,
    /// The image of each container, init containers included, by the container's name.
    pub images: BTreeMap<String, ContainerImage>,
    pub progress: Progress,
    /// Since when every look has found the rollout complete with these images, by our clock.
    pub complete_since: Option<Timestamp>,
    /// When it last came further than ever before with this generation and these images, by our clock. Pods that come and go are
    /// no progress.
    pub progressed: Timestamp,
    /// How many pods it wants, how many are of the present template, and how many are available.
    pub counts: [i32; 3],
    /// The same when it had come furthest.
    pub furthest: [i32; 3],
    /// Why nothing would replace its pods; `None` if its controller does.
    pub stays: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerImage {
    pub image: String,
    pub init: bool,
    /// Who wrote the image last, and how: `kubectl-set by Update`. `None` if the API server does not say.
    pub manager: Option<String>,
}

impl WorkloadRead {
    /// True if the image of this container has at least this version. An image whose version is no number has none.
    #[must_use]
    pub fn has_version(&self, container: &str, least: &str) -> bool {
        let has = self.images.get(container).and_then(|runs| numbers(image_version(&runs.image)));
        has.zip(numbers(least)).is_some_and(|(has, least)| has >= least)
    }

    /// True if pods of an earlier template are left, or none of the present one were made.
    #[must_use]
    pub fn is_half_way(&self) -> bool {
        let [wanted, updated, _] = self.counts;
        updated < wanted
    }
}
