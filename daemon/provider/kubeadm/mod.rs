//! Nodes that kubeadm made. A Job on each runs `kubeadm upgrade` and replaces the kubelet, detached from its
//! container.

mod script;

use jiff::SignedDuration;

use super::{Capabilities, HostJobs, Mover, PerComponent, VersionSource};

pub(super) const KUBEADM: Capabilities = Capabilities {
    control_plane: Mover::OurJobs(&JOBS),
    kubelet: Mover::OurJobs(&JOBS),
    // The Job enters the namespaces of a Linux host. A node of Windows would be emptied and its Job never start.
    system: Some("linux"),
    versions: VersionSource::StaticPods,
    patience: PerComponent {
        // `kubeadm upgrade` allows five minutes for each of four components, and pulls images first.
        control_plane: SignedDuration::from_mins(40),
        // A kubelet is replaced in seconds and back within a minute or two.
        kubelet: SignedDuration::from_mins(20),
    },
    // `kubeadm upgrade apply` takes about three minutes on a small machine. An estimate; nothing measures it yet.
    control_plane_step: SignedDuration::from_mins(5),
    installs_addons: true,
    can_skip_phases: script::can_skip_phases,
};

const JOBS: HostJobs = HostJobs {
    // `kubeadm upgrade apply` on the first, `kubeadm upgrade node` on the others.
    first_differs: true,
    script: script::script,
    deadlines: PerComponent {
        // As long as the unit on the host that the Job follows. A Job that gave up earlier would be a failure while the
        // work goes on.
        control_plane: SignedDuration::from_mins(60),
        kubelet: SignedDuration::from_mins(60),
    },
};
