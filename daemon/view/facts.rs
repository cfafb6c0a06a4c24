//! The facts of a plan's steps, as its page has them.

use serde::Serialize;

use crate::model::plan;
use crate::model::version::Version;
use crate::model::work::OrLater;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Component {
    ControlPlane,
    Kubelet,
    Addon,
    /// What kubeadm moves with the control plane is looked at.
    Check,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fact {
    /// This component of this node runs at least this version.
    RunsAtLeast(Component, String, Version),
    /// Every API server runs at least this version.
    ControlPlaneAtLeast(Version),
    /// The node is Ready.
    Ready(String),
    /// This container of this workload has this image, or one that a later step gives it: a list, if there is a later one.
    HasImage(String, String, OrLater),
    /// The image of this container of this workload has at least this version.
    HasVersion(String, String, String),
    /// Every pod of the workload is of its present template and available.
    RolledOut(String),
    /// All objects of the addon are applied as the content with this digest asks, or one that a later step gives it: a list, if
    /// there is a later one.
    Applied(String, OrLater),
    /// The same, and every pod of their workloads is of its present template and available.
    AppliedAndReady(String, OrLater),
    /// The object, which the addon does not have any more, is not there.
    Removed(String, String),
    /// The node exists with this UID.
    Exists(String, String),
}

impl Component {
    pub(super) fn of(component: plan::Component) -> Self {
        match component {
            plan::Component::ControlPlane => Self::ControlPlane,
            plan::Component::Kubelet => Self::Kubelet,
        }
    }
}

impl Fact {
    /// The workload whose rollout it is about.
    pub(super) fn rolled_out(&self) -> Option<&str> {
        match self {
            Self::RolledOut(workload) => Some(workload),
            _ => None,
        }
    }

    pub(super) fn of(fact: &plan::Fact) -> Self {
        match fact {
            plan::Fact::RunsAtLeast(component, node, version) => {
                Self::RunsAtLeast(Component::of(*component), node.clone(), version.clone())
            }
            plan::Fact::ControlPlaneAtLeast(version) => Self::ControlPlaneAtLeast(version.clone()),
            plan::Fact::Ready(node) => Self::Ready(node.clone()),
            plan::Fact::HasImage(workload, container, images) => {
                Self::HasImage(workload.to_string(), container.clone(), images.clone())
            }
            plan::Fact::HasVersion(workload, container, version) => {
                Self::HasVersion(workload.to_string(), container.clone(), version.clone())
            }
            plan::Fact::RolledOut(workload) => Self::RolledOut(workload.to_string()),
            plan::Fact::Applied(addon, contents) => Self::Applied(addon.clone(), contents.clone()),
            plan::Fact::AppliedAndReady(addon, contents) => {
                Self::AppliedAndReady(addon.clone(), contents.clone())
            }
            plan::Fact::Removed(addon, object) => Self::Removed(addon.clone(), object.to_string()),
            plan::Fact::Exists(node) => Self::Exists(node.name.clone(), node.uid.clone()),
        }
    }
}
