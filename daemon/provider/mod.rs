//! Who changes what runs on a node, and how: the Job for it, and the script that the Job starts on the host.
//! Pure: it renders. It does not know the cluster, the plan's order or whether the step may be taken now.

mod job;
mod script;

use std::fmt::Write as _;

use serde_json::Value;

use crate::model::desired::{Cluster, Kubeadm, Provider};
use crate::model::plan::{Component, StageKind, Step};
use crate::model::version::Version;

pub use job::{
    DEADLINE_KUBELET, DEADLINE_SERVERS, LabelValue, NAMESPACE, job, job_name, label_value, namespace,
};
pub use script::{REFUSED, Script, script};

/// One step that a provider is asked to carry out.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub cluster: &'a str,
    pub run: &'a str,
    pub step: &'a Step,
    pub role: Role,
    pub kubeadm: &'a Kubeadm,
    /// Counts from one; another attempt is another Job.
    pub attempt: u32,
}

/// What kubeadm has to do on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The first control plane node of a hop: `kubeadm upgrade apply`.
    FirstServers,
    /// Every later one: `kubeadm upgrade node`.
    OtherServers,
    ControlPlaneKubelet,
    WorkerKubelet,
}

impl Role {
    /// `first` is whether no other control plane node of this hop has been moved before.
    pub fn of(component: Component, control_plane: bool, first: bool) -> Self {
        match (component, control_plane, first) {
            (Component::Servers, _, true) => Self::FirstServers,
            (Component::Servers, _, false) => Self::OtherServers,
            (Component::Kubelet, true, _) => Self::ControlPlaneKubelet,
            (Component::Kubelet, false, _) => Self::WorkerKubelet,
        }
    }

    pub fn component(self) -> Component {
        match self {
            Self::FirstServers | Self::OtherServers => Component::Servers,
            Self::ControlPlaneKubelet | Self::WorkerKubelet => Component::Kubelet,
        }
    }

    /// What it does, for the titles of scripts.
    fn says(self) -> &'static str {
        match self {
            Self::FirstServers => "servers of the first control plane node",
            Self::OtherServers => "servers of every other control plane node",
            Self::ControlPlaneKubelet => "kubelet of a control plane node",
            Self::WorkerKubelet => "kubelet of a worker",
        }
    }
}

/// How a step is carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A Job of ours, to be created as it is.
    Job(Value),
    /// Somebody else moves the node; it is only waited for.
    Await,
}

/// What there is to do for a step, by its provider.
pub fn work(order: &Order) -> Work {
    match order.step.provider {
        Provider::Kubeadm => Work::Job(job(order)),
        Provider::External => Work::Await,
    }
}

/// Every script that a plan's stages would run on a host, as a reviewer reads them: the same for every node of a
/// kind, and therefore without a node's name.
pub fn scripts<'a>(
    cluster: &Cluster,
    stages: impl IntoIterator<Item = (StageKind, &'a Version)>,
) -> Vec<Script> {
    let kubeadm = &cluster.control_plane.kubeadm;
    let by_jobs = cluster.pools.iter().any(|pool| pool.provider == Provider::Kubeadm);
    let mut scripts: Vec<Script> = Vec::new();
    for (kind, to) in stages {
        let roles: &[Role] = match (kind, cluster.control_plane.provider) {
            (StageKind::Servers, Provider::Kubeadm) => &[Role::FirstServers, Role::OtherServers],
            (StageKind::ControlPlaneKubelets, Provider::Kubeadm) => &[Role::ControlPlaneKubelet],
            (StageKind::Workers, _) if by_jobs => &[Role::WorkerKubelet],
            (
                StageKind::AwaitServers
                | StageKind::Servers
                | StageKind::ControlPlaneKubelets
                | StageKind::Workers,
                _,
            ) => &[],
        };
        for role in roles {
            let script = script::titled(*role, kubeadm, to);
            if !scripts.contains(&script) {
                scripts.push(script);
            }
        }
    }
    if !scripts.is_empty() {
        scripts.insert(0, script::launch(kubeadm));
    }
    scripts
}

/// The scripts as they enter the plan's digest: what a reviewer saw is what will run.
pub fn digest_text<'a>(
    cluster: &Cluster,
    stages: impl IntoIterator<Item = (StageKind, &'a Version)>,
) -> String {
    scripts(cluster, stages).into_iter().fold(String::new(), |mut all, script| {
        let _ = writeln!(all, "==== {}\n{}", script.title, script.text);
        all
    })
}
