//! Nodes that kubeadm made: a Job on each runs `kubeadm upgrade` and replaces the kubelet, detached from its container.

mod script;

use jiff::SignedDuration;

use super::{Capabilities, HostJobs, Mover, PerComponent, VersionSource};

pub(super) const KUBEADM: Capabilities = Capabilities {
    control_plane: Mover::OurJobs(&JOBS),
    kubelet: Mover::OurJobs(&JOBS),
    versions: VersionSource::StaticPods,
    patience: PerComponent {
        // `kubeadm upgrade` allows five minutes a component, of which there are four, and pulls images before.
        control_plane: SignedDuration::from_mins(40),
        // A kubelet is replaced in seconds and back in a minute or two.
        kubelet: SignedDuration::from_mins(20),
    },
    // `kubeadm upgrade apply` takes about three minutes on a small machine. A guess, until a forecast knows better.
    control_plane_step: SignedDuration::from_mins(5),
};

const JOBS: HostJobs = HostJobs {
    // `kubeadm upgrade apply` on the first, `kubeadm upgrade node` on the others.
    first_differs: true,
    script: script::script,
    deadlines: PerComponent {
        // Four static pods with five minutes each in kubeadm, its image pulls, and a wait for the API.
        control_plane: SignedDuration::from_mins(30),
        // Packages over a slow line; the rest takes seconds.
        kubelet: SignedDuration::from_mins(15),
    },
};
