//! What a caller may choose: the seed, the version, how long things take, and what upgrade Jobs do to a node.

use super::resource::Kind;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

/// How a simulated cluster behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    /// What `/version` says while no control plane instance is known, and what new nodes run.
    pub version: String,
    pub timings: Timings,
    pub rules: Vec<UpgradeRule>,
    /// What changes with the last control plane node.
    pub brings: Vec<Brings>,
    /// Changes kept per kind. A watch that resumes from before them is answered with 410.
    pub history: usize,
    /// Off: a plain store, as in front of a cluster whose controllers are all down.
    pub controllers: bool,
    /// Pods' worth of room on a node that does not say itself.
    pub pods_per_node: u64,
    /// By how much the API server's clock is ahead.
    pub clock_ahead: SignedDuration,
    /// Images whose containers never become Ready.
    pub broken_images: BTreeSet<String>,
    /// Verbs and resources, `patch deployments`, that a `SelfSubjectAccessReview` denies. The requests themselves are answered.
    pub denied: BTreeSet<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            version: "v1.36.3".to_owned(),
            timings: Timings::default(),
            rules: Vec::new(),
            brings: Vec::new(),
            history: 20_000,
            controllers: true,
            pods_per_node: 110,
            clock_ahead: SignedDuration::ZERO,
            broken_images: BTreeSet::new(),
            denied: BTreeSet::new(),
        }
    }
}

/// How long things take. A pod's own annotation `sim/start-seconds` overrides `pod_start`.
#[derive(Clone, Debug)]
pub struct Timings {
    pub pod_start: SignedDuration,
    /// Never longer than the grace period that the deletion was given.
    pub pod_termination: SignedDuration,
    /// How long a pod of a Job runs before it succeeds.
    pub job_run: SignedDuration,
    pub scheduler: SignedDuration,
    /// Workload controllers: Deployment, `ReplicaSet`, `StatefulSet`, `DaemonSet`, Job, garbage collection.
    pub controller: SignedDuration,
    /// From a change to the budget's status saying so.
    pub budget: SignedDuration,
    pub lease_renewal: SignedDuration,
    /// Silence of a kubelet after which its node is Unknown.
    pub node_grace: SignedDuration,
    /// Silence after which pods on an unreachable node are marked for deletion.
    pub unreachable_toleration: SignedDuration,
    /// A kubelet's stop to its first renewed lease, when its binary is replaced.
    pub kubelet_restart: SignedDuration,
    /// Whether the kubelet says `NotReady` on its way back up.
    pub restart_not_ready: bool,
    /// Whether the restart takes the Job's own pod down; the work on the host goes on.
    pub restart_kills_job: bool,
    /// One static pod's stop to its successor being Ready.
    pub static_pod_restart: SignedDuration,
    /// How long the whole API is away when an API server's static pod is replaced.
    pub api_outage: SignedDuration,
    pub volume_detach: SignedDuration,
    /// A deadline that a client did not set on a watch.
    pub watch_timeout: SignedDuration,
    pub bookmark: SignedDuration,
}

impl Default for Timings {
    fn default() -> Self {
        let (secs, millis) = (SignedDuration::from_secs, SignedDuration::from_millis);
        Self {
            pod_start: secs(2),
            pod_termination: secs(3),
            job_run: secs(20),
            scheduler: millis(50),
            controller: millis(50),
            budget: millis(200),
            lease_renewal: secs(10),
            node_grace: secs(50),
            unreachable_toleration: secs(300),
            kubelet_restart: secs(8),
            restart_not_ready: true,
            restart_kills_job: false,
            static_pod_restart: secs(5),
            api_outage: SignedDuration::ZERO,
            volume_detach: secs(4),
            watch_timeout: secs(2400),
            bookmark: secs(60),
        }
    }
}

/// Which Jobs change the node that they run on, and how.
#[derive(Clone, Debug)]
pub struct UpgradeRule {
    /// Labels that the Job's pod carries, all of them.
    pub pod_selector: BTreeMap<String, String>,
    /// The label of the pod that holds the version to go to.
    pub version_label: String,
    pub effect: Effect,
}

/// A workload of `kube-system` whose first container gets another image once the last control plane node runs a version.
#[derive(Clone, Debug)]
pub struct Brings {
    pub kind: Kind,
    pub name: String,
    /// By the version that the control plane runs.
    pub image: fn(&str) -> String,
}

/// What an upgrade Job does to its node once its pod has run its course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The kubelet stops, and comes back as the new version.
    Kubelet,
    /// The static pods are replaced one after the other.
    ControlPlane,
}
