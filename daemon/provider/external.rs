//! An external provider: another system upgrades the nodes, or hosts the control plane. Windlass runs nothing and
//! waits for the version.

use jiff::SignedDuration;

use super::{Capabilities, Mover, PerComponent, VersionSource};

/// How long another system has to upgrade a node that was drained for it; then the node is returned as it is.
const PATIENCE: SignedDuration = SignedDuration::from_hours(2);

pub(super) const EXTERNAL: Capabilities = Capabilities {
    control_plane: Mover::SomebodyElse,
    kubelet: Mover::SomebodyElse,
    system: None,
    versions: VersionSource::ApiServers,
    patience: PerComponent { control_plane: PATIENCE, kubelet: PATIENCE },
    // How long it really takes is unknown. This is what we would take ourselves, so that no hop begins in the last
    // minutes of an opening.
    control_plane_step: SignedDuration::from_mins(5),
    installs_addons: false,
    can_skip_phases: |_| false,
};
