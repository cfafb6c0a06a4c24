//! How the components on a node are upgraded. Each provider is one value of [`Capabilities`]; other modules ask that
//! value and never a provider's name. Another provider is a folder here and a line in [`capabilities`]. Pure: it
//! renders Jobs and scripts, and knows neither the plan's order nor whether a step may be taken.

mod external;
mod job;
mod known;
mod kubeadm;

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;

use crate::model::desired::{Cluster, Kubeadm, Provider};
use crate::model::plan::{Component, NodeMove, Stage, StageKind, Step, StepId};
use crate::model::version::Version;

pub use job::{REFUSED, job_name, namespace, nothing_was_changed};
pub use known::{
    KnownAddon, Reach, Statement, installed_at_least, installed_with, known_of, numbers, of_minor,
};

/// What a provider can do. The only place that distinguishes providers by name.
pub fn capabilities(provider: Provider) -> &'static Capabilities {
    match provider {
        Provider::Kubeadm => &kubeadm::KUBEADM,
        Provider::External => &external::EXTERNAL,
    }
}

/// What one provider can do, and how long it may take.
#[derive(Debug)]
pub struct Capabilities {
    /// Who upgrades the control plane components of a control plane node.
    pub control_plane: Mover,
    /// Who upgrades the kubelet of a node, after the drain if there is one.
    pub kubelet: Mover,
    /// The operating system of the nodes whose kubelets it can upgrade; `None` for any.
    pub system: Option<&'static str>,
    /// Where the version of a control plane is read.
    pub versions: VersionSource,
    /// How long a component may take from the beginning of its move until the node is healthy; after that the step
    /// ends without success.
    pub patience: PerComponent,
    /// The expected time of one step of a control plane node. A hop needs an opening that holds this for all of its
    /// steps.
    pub control_plane_step: SignedDuration,
    /// True if it moves `CoreDNS` and kube-proxy when it moves a control plane.
    pub installs_addons: bool,
    /// Whether the program that moves a control plane to this version can leave addons out.
    pub can_skip_phases: fn(&Version) -> bool,
}

/// Who upgrades a component.
#[derive(Clone, Copy, Debug)]
pub enum Mover {
    /// Jobs of ours, one for each step.
    OurJobs(&'static HostJobs),
    /// Another system, in its own time: the step only waits for the version.
    SomebodyElse,
}

/// Where the version of a control plane is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionSource {
    /// The static pods of each control plane node. All of them count, the controllers too: an interrupted upgrade
    /// leaves them behind their API server.
    StaticPods,
    /// The API servers alone. If no control plane node is visible, the version that the API endpoint reports.
    ApiServers,
}

/// One length of time for each component of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerComponent {
    pub control_plane: SignedDuration,
    pub kubelet: SignedDuration,
}

/// The Jobs of a provider that works on hosts: what differs from one such provider to the next.
#[derive(Debug)]
pub struct HostJobs {
    /// True if the first control plane node of a hop runs another script than the later ones.
    first_differs: bool,
    /// The script that runs on the host. It depends on nothing else, so all nodes of one stage run the same text.
    script: fn(Role, &Kubeadm, &Version) -> String,
    /// How long a Job watches its host. The work on the host goes on after that.
    deadlines: PerComponent,
}

/// One step that a Job carries out.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub cluster: &'a str,
    pub run: &'a str,
    pub step: &'a StepId,
    pub node_move: &'a NodeMove,
    pub role: Role,
    pub kubeadm: &'a Kubeadm,
    /// Counts from one; each attempt is another Job.
    pub attempt: u32,
    /// True if somebody deleted the Job of this attempt, so that another is made in its place.
    pub anew: bool,
}

/// The role of a node for the script that runs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The control plane components of the first control plane node of a hop.
    FirstControlPlane,
    /// The control plane components of every later one.
    OtherControlPlane,
    ControlPlaneKubelet,
    WorkerKubelet,
}

/// A script and its title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Script {
    pub title: String,
    pub text: String,
}

impl Capabilities {
    pub fn mover(&self, component: Component) -> Mover {
        match component {
            Component::ControlPlane => self.control_plane,
            Component::Kubelet => self.kubelet,
        }
    }

    /// True if Windlass upgrades the control plane itself, node by node; false if it waits for the whole.
    pub fn moves_control_plane(&self) -> bool {
        match self.control_plane {
            Mover::OurJobs(_) => true,
            Mover::SomebodyElse => false,
        }
    }
}

impl PerComponent {
    pub fn of(self, component: Component) -> SignedDuration {
        match component {
            Component::ControlPlane => self.control_plane,
            Component::Kubelet => self.kubelet,
        }
    }
}

impl HostJobs {
    /// The complete Job of an order.
    ///
    /// The step is not judged by it. It may fail while the work on the host goes on, because the kubelet that runs it
    /// is being replaced; and it may be complete while its status cannot be posted.
    pub fn job(&self, order: &Order) -> Value {
        job::job(order, &self.script(order), self.deadlines.of(order.role.component()))
    }

    /// How long a Job for this component watches its host. Nothing is concluded before that, while the Job is at work.
    pub fn deadline(&self, component: Component) -> SignedDuration {
        self.deadlines.of(component)
    }

    /// The script that the Job of this order runs on its host.
    pub fn script(&self, order: &Order) -> String {
        let role = match order.role {
            Role::FirstControlPlane if !self.first_differs => Role::OtherControlPlane,
            role => role,
        };
        (self.script)(role, order.kubeadm, &order.node_move.to)
    }

    /// The roles of a stage's nodes; each has its own script.
    fn roles(&self, kind: StageKind) -> &'static [Role] {
        match kind {
            StageKind::AwaitControlPlane
            | StageKind::Checks
            | StageKind::AddonsBeforeControlPlane
            | StageKind::AddonsAfterControlPlane
            | StageKind::AddonsAfterNodes => &[],
            StageKind::ControlPlane if self.first_differs => {
                &[Role::FirstControlPlane, Role::OtherControlPlane]
            }
            StageKind::ControlPlane => &[Role::OtherControlPlane],
            StageKind::ControlPlaneKubelets => &[Role::ControlPlaneKubelet],
            StageKind::Workers => &[Role::WorkerKubelet],
        }
    }
}

impl Role {
    /// `first` is true if no other control plane node of this hop has been moved before.
    pub fn of(component: Component, control_plane: bool, first: bool) -> Self {
        match (component, control_plane, first) {
            (Component::ControlPlane, _, true) => Self::FirstControlPlane,
            (Component::ControlPlane, _, false) => Self::OtherControlPlane,
            (Component::Kubelet, true, _) => Self::ControlPlaneKubelet,
            (Component::Kubelet, false, _) => Self::WorkerKubelet,
        }
    }

    pub fn component(self) -> Component {
        match self {
            Self::FirstControlPlane | Self::OtherControlPlane => Component::ControlPlane,
            Self::ControlPlaneKubelet | Self::WorkerKubelet => Component::Kubelet,
        }
    }

    /// What it does, for the titles of scripts.
    fn title(self) -> &'static str {
        match self {
            Self::FirstControlPlane => "servers of the first control plane node",
            Self::OtherControlPlane => "servers of every other control plane node",
            Self::ControlPlaneKubelet => "kubelet of a control plane node",
            Self::WorkerKubelet => "kubelet of a worker",
        }
    }
}

/// Said where a Job has no image.
pub const NO_IMAGE: &str = "no image is named for the upgrade Jobs: write spec.controlPlane.kubeadm.image in the \
                            cluster's file, or `image` in the daemon's settings, with a digest";

/// Said where the image is that of an example.
pub const PLACEHOLDER_IMAGE: &str = "the digest of the image for the upgrade Jobs is all zeros, which is a placeholder: \
                                     write the digest of your own image";

/// True if a Job of ours carries out the step.
pub fn runs_a_job(step: &Step) -> bool {
    let mover = step.node_move().zip(step.component());
    mover.is_some_and(|(mv, component)| match capabilities(mv.provider).mover(component) {
        Mover::OurJobs(_) => true,
        Mover::SomebodyElse => false,
    })
}

/// Every script that a plan's stages would run on a host, for a reviewer. It is the same for every node of a role, so
/// it has no node's name.
pub fn scripts(cluster: &Cluster, stages: &[Stage]) -> Vec<Script> {
    let kubeadm = &cluster.control_plane.kubeadm;
    let control_plane = || BTreeSet::from([cluster.control_plane.provider]);
    let mut scripts: Vec<Script> = Vec::new();
    for Stage { kind, to, .. } in stages {
        let (component, providers) = match kind {
            StageKind::AwaitControlPlane
            | StageKind::Checks
            | StageKind::AddonsBeforeControlPlane
            | StageKind::AddonsAfterControlPlane
            | StageKind::AddonsAfterNodes => continue,
            StageKind::ControlPlane => (Component::ControlPlane, control_plane()),
            StageKind::ControlPlaneKubelets => (Component::Kubelet, control_plane()),
            // The scripts of every pool, with a node in this stage or not: nodes come and go after the review.
            StageKind::Workers => {
                (Component::Kubelet, cluster.pools.iter().map(|pool| pool.provider).collect())
            }
        };
        for provider in providers {
            let Mover::OurJobs(jobs) = capabilities(provider).mover(component) else { continue };
            for role in jobs.roles(*kind) {
                let title = format!("{to}: {}", role.title());
                let script = Script { title, text: (jobs.script)(*role, kubeadm, to) };
                if !scripts.contains(&script) {
                    scripts.push(script);
                }
            }
        }
    }
    if !scripts.is_empty() {
        scripts.insert(0, job::launch_script(kubeadm.image.as_deref()));
    }
    scripts
}
