//! What kubeadm installs beside a control plane, and the phases of its upgrade that a file may leave out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::addon_workload::{WorkloadKind, WorkloadRef};
use super::fact::Fact;
use super::version::Version;

/// What `kubeadm upgrade` moves once all API servers run the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstalledAddon {
    CoreDns,
    KubeProxy,
}

impl InstalledAddon {
    pub const ALL: [Self; 2] = [Self::CoreDns, Self::KubeProxy];

    /// The name of its workload, of the container in it, and of what is known of its versions.
    pub fn name(self) -> &'static str {
        match self {
            Self::CoreDns => "coredns",
            Self::KubeProxy => "kube-proxy",
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::CoreDns => "CoreDNS",
            Self::KubeProxy => "kube-proxy",
        }
    }

    pub fn workload(self) -> WorkloadRef {
        let kind = match self {
            Self::CoreDns => WorkloadKind::Deployment,
            Self::KubeProxy => WorkloadKind::DaemonSet,
        };
        WorkloadRef { kind, namespace: "kube-system".to_owned(), name: self.name().to_owned() }
    }
}

/// The check of what kubeadm has moved in a hop: that its version has come, and its rollout has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstalledCheck {
    pub workload: WorkloadRef,
    pub container: String,
    /// The versions of Kubernetes between which the hop moves the control plane.
    pub from: Version,
    pub to: Version,
    /// The version that it has at least; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl InstalledCheck {
    /// The facts that hold once it has passed.
    pub fn achieves(&self) -> Vec<Fact> {
        let has = |version: &String| {
            Fact::HasVersion(self.workload.clone(), self.container.clone(), version.clone())
        };
        self.version.iter().map(has).chain([Fact::RolledOut(self.workload.clone())]).collect()
    }
}

/// A phase of `kubeadm upgrade` that may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SkippedPhase {
    /// Both of the others.
    #[serde(rename = "addon")]
    Addon,
    #[serde(rename = "addon/coredns")]
    CoreDns,
    #[serde(rename = "addon/kube-proxy")]
    KubeProxy,
}

impl SkippedPhase {
    pub const ALL: [Self; 3] = [Self::Addon, Self::CoreDns, Self::KubeProxy];

    /// As kubeadm calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Addon => "addon",
            Self::CoreDns => "addon/coredns",
            Self::KubeProxy => "addon/kube-proxy",
        }
    }

    /// True if kubeadm does not move the addon where it leaves the phase out.
    pub fn skips(self, addon: InstalledAddon) -> bool {
        match self {
            Self::Addon => true,
            Self::CoreDns => addon == InstalledAddon::CoreDns,
            Self::KubeProxy => addon == InstalledAddon::KubeProxy,
        }
    }
}

impl fmt::Display for SkippedPhase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
