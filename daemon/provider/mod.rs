//! Who changes what runs on a node, and how. Each provider is one value of [`Capabilities`]; all other rooms ask that
//! value, and none asks for a provider by its name. Another provider is a folder here and a line in [`capabilities`].
//! Pure: it renders Jobs and scripts. It does not know the plan's order, or whether a step may be taken now.

mod external;
mod job;
mod kubeadm;

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;

use crate::model::desired::{Cluster, Kubeadm, Provider};
use crate::model::plan::{Component, NodeMove, Stage, StageKind, StepId};
use crate::model::version::Version;

pub use job::{LabelValue, REFUSED, job_name, label_value, namespace, nothing_was_changed};

/// What a provider can do. The only place where a provider's name is told from another's.
pub fn capabilities(provider: Provider) -> &'static Capabilities {
    match provider {
        Provider::Kubeadm => &kubeadm::KUBEADM,
        Provider::External => &external::EXTERNAL,
    }
}

/// What one provider can do, and how long it may take for it.
#[derive(Debug)]
pub struct Capabilities {
    /// Who moves the control plane components of a control plane node.
    pub control_plane: Mover,
    /// Who moves the kubelet of a node, once the node is emptied where that is asked for.
    pub kubelet: Mover,
    /// Where the version of a control plane is read.
    pub versions: VersionSource,
    /// How long the move of one component may take until the node has proved itself. After that nothing more is
    /// expected of it.
    pub patience: PerComponent,
    /// How long one step of a control plane node is expected to take: an opening is long enough for a hop if it holds
    /// that many of them.
    pub control_plane_step: SignedDuration,
}

/// Who moves a component.
#[derive(Clone, Copy, Debug)]
pub enum Mover {
    /// Jobs of ours, one for each step.
    OurJobs(&'static HostJobs),
    /// Somebody else, in their own time: the step only waits for the version.
    SomebodyElse,
}

/// Where the version of a control plane is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VersionSource {
    /// The static pods of each control plane node. All of them count, the controllers too: an upgrade that was
    /// interrupted leaves them behind its API server.
    StaticPods,
    /// The API servers alone. Where no control plane node can be seen, what the API endpoint says of itself.
    ApiServers,
}

/// One length of time for each component of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerComponent {
    pub control_plane: SignedDuration,
    pub kubelet: SignedDuration,
}

/// The Jobs by which a provider works on hosts: what differs from one such provider to the next.
#[derive(Debug)]
pub struct HostJobs {
    /// Whether the first control plane node of a hop runs another script than the nodes after it.
    first_differs: bool,
    /// The text that runs on the host. It depends on nothing else, so that the nodes of one stage run the same text.
    script: fn(Role, &Kubeadm, &Version) -> String,
    /// How long a Job watches its host. The work on the host is not ended by it.
    deadlines: PerComponent,
}

/// One step that a Job is asked to carry out.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub cluster: &'a str,
    pub run: &'a str,
    pub step: &'a StepId,
    pub node_move: &'a NodeMove,
    pub role: Role,
    pub kubeadm: &'a Kubeadm,
    /// Counts from one; another attempt is another Job.
    pub attempt: u32,
}

/// What a node is to the script that runs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The control plane components of the first control plane node of a hop.
    FirstControlPlane,
    /// The control plane components of every later one.
    OtherControlPlane,
    ControlPlaneKubelet,
    WorkerKubelet,
}

/// A script with the words that stand above it.
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

    /// Whether we move the control plane ourselves, node by node; otherwise it is waited for as a whole.
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
    /// The Job that carries an order out, complete.
    ///
    /// It is not what the step is judged by: it may fail while the work on the host goes on, because the kubelet that
    /// runs it is what is replaced, and it may be complete while its status cannot be posted.
    pub fn job(&self, order: &Order) -> Value {
        job::job(order, &self.script(order), self.deadlines.of(order.role.component()))
    }

    /// What the Job of this order runs on its host.
    pub fn script(&self, order: &Order) -> String {
        let role = match order.role {
            Role::FirstControlPlane if !self.first_differs => Role::OtherControlPlane,
            role => role,
        };
        (self.script)(role, order.kubeadm, &order.node_move.to)
    }

    /// The roles of a stage's nodes, each with a script of its own.
    fn roles(&self, kind: StageKind) -> &'static [Role] {
        match kind {
            StageKind::AwaitControlPlane => &[],
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
    /// `first` is whether no other control plane node of this hop has been moved before.
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

/// Every script that a plan's stages would run on a host, as a reviewer reads them: the same for every node of a
/// role, and therefore without a node's name.
pub fn scripts(cluster: &Cluster, stages: &[Stage]) -> Vec<Script> {
    let kubeadm = &cluster.control_plane.kubeadm;
    let control_plane = || BTreeSet::from([cluster.control_plane.provider]);
    let mut scripts: Vec<Script> = Vec::new();
    for Stage { kind, to, .. } in stages {
        let (component, providers) = match kind {
            StageKind::AwaitControlPlane => continue,
            StageKind::ControlPlane => (Component::ControlPlane, control_plane()),
            StageKind::ControlPlaneKubelets => (Component::Kubelet, control_plane()),
            // Every pool's, whether it has a node in this stage or not: nodes come and go after the review.
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
        scripts.insert(0, job::launch_script(&kubeadm.image));
    }
    scripts
}
