//! Checks versions: no API server falls more than one minor behind another, and no kubelet is newer than an API
//! server or further behind than Kubernetes supports.

use super::Check;
use crate::model::version::Version;
use crate::model::work::{Step, Work};

/// The first minor whose kubelets may be three minors behind; earlier ones may be two.
const PATIENT_KUBELETS: (u16, u16) = (1, 25);

impl Check<'_> {
    /// Checks API servers and kubelets as they will be once this control plane node has moved. With `all`, an unknown
    /// version counts as a violation; that is so before anything is taken out.
    pub(super) fn control_plane_skew(&mut self, step: &Step, object: &str, all: bool) {
        let Work::ControlPlane(mv) = &step.work else { return };
        let servers = self.live().api_servers();
        let others =
            || servers.iter().filter(|(node, _)| ***node != *mv.node.name).map(|(_, version)| version);
        self.require(
            !all || others().all(Option::is_some),
            object,
            "it is moved while the version of an API server is not known",
        );
        let apart = others().flatten().any(|other| minor(&mv.to).abs_diff(minor(other)) > 1);
        self.require(!apart, object, "it would leave API servers more than one minor apart");
        // If an API server already runs the new minor, moving another one makes it no worse for the kubelets.
        let newest = servers.values().flatten().map(minor).max();
        if newest.is_some_and(|newest| minor(&mv.to) <= newest) {
            return;
        }
        let kubelets =
            self.live().nodes.values().filter_map(|node| Some((&node.name, node.kubelet.as_ref()?)));
        let late = kubelets.filter(|(_, kubelet)| is_too_old(kubelet, &mv.to)).map(|(node, _)| node.clone());
        for node in late.take(super::MOST_FINDINGS).collect::<Vec<_>>() {
            self.note(format!("node/{node}"), "its kubelet would be too many minors behind an API server");
        }
    }

    /// Checks that the kubelet does not get ahead of an API server.
    pub(super) fn kubelet_skew(&mut self, step: &Step, object: &str, all: bool) {
        let Work::Kubelet(mv) = &step.work else { return };
        let servers = self.live().api_servers();
        self.require(
            !all || servers.values().all(Option::is_some),
            object,
            "it is moved while the version of an API server is not known",
        );
        let newer = servers.values().flatten().any(|server| minor(&mv.to) > minor(server));
        self.require(!newer, object, "its kubelet would be newer than an API server");
    }
}

fn minor(version: &Version) -> u32 {
    u32::from(version.major) * 1000 + u32::from(version.minor)
}

fn is_too_old(kubelet: &Version, server: &Version) -> bool {
    let most = if (kubelet.major, kubelet.minor) < PATIENT_KUBELETS { 2 } else { 3 };
    minor(server).saturating_sub(minor(kubelet)) > most
}
