//! Somebody else moves the nodes, and a hosted control plane as a whole: nothing is run, and the version is waited for.

use jiff::SignedDuration;

use super::{Capabilities, Mover, PerComponent, VersionSource};

/// Somebody else has this long to move a node that was emptied for them; then it is given back as it is.
const PATIENCE: SignedDuration = SignedDuration::from_hours(2);

pub(super) const EXTERNAL: Capabilities = Capabilities {
    control_plane: Mover::SomebodyElse,
    kubelet: Mover::SomebodyElse,
    versions: VersionSource::ApiServers,
    patience: PerComponent { control_plane: PATIENCE, kubelet: PATIENCE },
    // How long they really take is not known. What is reckoned with is what we would take ourselves, so that a hop is
    // not begun in the last minutes of an opening.
    control_plane_step: SignedDuration::from_mins(5),
};
