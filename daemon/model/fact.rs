//! The facts that decide where a step stands.

use serde::{Deserialize, Serialize};

use super::addon::WorkloadRef;
use super::manifest::ObjectRef;
use super::version::Version;
use super::work::{Component, NodeRef};

/// One statement about a cluster. Planner, checker and executor all use it, so "upgraded" means the same to all of
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fact {
    /// This component of this node runs at least this version; an operator may have moved it further.
    RunsAtLeast(Component, String, Version),
    /// Every API server runs at least this version.
    ControlPlaneAtLeast(Version),
    /// The node is Ready.
    Ready(String),
    /// This container of this workload has this image.
    HasImage(WorkloadRef, String, String),
    /// Every pod that the workload wants is of its present template and available, and there are no others.
    RolledOut(WorkloadRef),
    /// All objects of this addon are applied as the content with this digest asks.
    Applied(String, String),
    /// The same, and every pod that their workloads want is of the present template and available.
    AppliedAndReady(String, String),
    /// This object, which the addon does not have any more, is not there.
    Removed(String, ObjectRef),
    /// A node with this name and UID exists.
    Exists(NodeRef),
}

/// What is known of a fact. Unknown does not count as healthy: no step begins or ends while a fact that it needs is
/// unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    Holds,
    Fails,
    Unknown,
}

impl Truth {
    /// `Unknown` for a fact that was not seen.
    pub fn of(seen: Option<bool>) -> Self {
        match seen {
            Some(true) => Self::Holds,
            Some(false) => Self::Fails,
            None => Self::Unknown,
        }
    }
}

impl Fact {
    /// True if the fact is about a version, not about health or existence.
    pub fn is_version(&self) -> bool {
        match self {
            Self::RunsAtLeast(..)
            | Self::ControlPlaneAtLeast(_)
            | Self::HasImage(..)
            | Self::Applied(..)
            | Self::Removed(..) => true,
            Self::Ready(_) | Self::RolledOut(_) | Self::AppliedAndReady(..) | Self::Exists(_) => false,
        }
    }
}
