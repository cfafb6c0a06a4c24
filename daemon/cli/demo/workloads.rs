//! The workloads on the demo's cluster: a small shop, its data, its nightly Job, and what the cluster itself needs.
//! They are chosen so that every kind of wait shows once.

use serde_json::{Value, json};

use crate::model::version::Version;
use crate::sim::{Brings, Kind};

pub(super) const NAMESPACES: &[&str] = &["batch", "data", "monitoring", "platform", "shop"];

/// Where pods may run.
#[derive(Clone, Copy)]
pub(super) enum Placement {
    /// On workers without a taint.
    General,
    Batch,
    ControlPlane,
    /// One per node.
    Everywhere,
}

#[derive(Clone, Copy)]
pub(super) enum Controller {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl Controller {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

pub(super) struct DemoWorkload {
    pub(super) kind: Controller,
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
    pub(super) image: String,
    /// `None` for one pod per node.
    pub(super) replicas: Option<u32>,
    pub(super) placement: Placement,
    /// The field of its disruption budget, and the limit.
    pub(super) budget: Option<(&'static str, Value)>,
    /// How many seconds a pod takes to be Ready, if that is longer than usual.
    pub(super) slow_start: Option<u32>,
    /// The size of the volume of each of its pods.
    pub(super) volume: Option<&'static str>,
    /// True if it keeps scratch data in an emptyDir.
    pub(super) scratch: bool,
}

impl DemoWorkload {
    fn new(kind: Controller, namespace: &'static str, name: &'static str, replicas: Option<u32>) -> Self {
        Self {
            kind,
            namespace,
            name,
            image: format!("registry.example.com/{namespace}/{name}:2.4.1"),
            replicas,
            placement: Placement::General,
            budget: None,
            slow_start: None,
            volume: None,
            scratch: false,
        }
    }

    fn deployment(namespace: &'static str, name: &'static str, replicas: u32) -> Self {
        Self::new(Controller::Deployment, namespace, name, Some(replicas))
    }

    fn stateful(namespace: &'static str, name: &'static str, replicas: u32, volume: &'static str) -> Self {
        let plain = Self::new(Controller::StatefulSet, namespace, name, Some(replicas));
        Self { volume: Some(volume), ..plain }
    }

    fn everywhere(namespace: &'static str, name: &'static str, image: String) -> Self {
        Self {
            image,
            placement: Placement::Everywhere,
            ..Self::new(Controller::DaemonSet, namespace, name, None)
        }
    }

    fn budget(self, field: &'static str, limit: impl Into<Value>) -> Self {
        Self { budget: Some((field, limit.into())), ..self }
    }

    fn on(self, placement: Placement) -> Self {
        Self { placement, ..self }
    }
}

/// What kubeadm moves with the control plane. Its `CoreDNS` is that of the minor to which the demo goes.
pub(super) fn brought() -> Vec<Brings> {
    let kube_proxy = |version: &str| format!("registry.k8s.io/kube-proxy:{version}");
    let coredns = |_: &str| "registry.k8s.io/coredns/coredns:v1.14.2".to_owned();
    vec![
        Brings { kind: Kind::DaemonSet, name: "kube-proxy".to_owned(), image: kube_proxy },
        Brings { kind: Kind::Deployment, name: "coredns".to_owned(), image: coredns },
    ]
}

pub(super) fn all(version: &Version) -> Vec<DemoWorkload> {
    let coredns = DemoWorkload::deployment("kube-system", "coredns", 2).on(Placement::ControlPlane);
    vec![
        DemoWorkload::everywhere(
            "kube-system",
            "kube-proxy",
            format!("registry.k8s.io/kube-proxy:{version}"),
        ),
        DemoWorkload::everywhere("kube-system", "cilium", "quay.io/cilium/cilium:v1.18.3".to_owned()),
        DemoWorkload::everywhere(
            "monitoring",
            "log-shipper",
            "registry.example.com/log-shipper:5.1.0".to_owned(),
        ),
        DemoWorkload { image: "registry.k8s.io/coredns/coredns:v1.13.1".to_owned(), ..coredns },
        DemoWorkload::deployment("shop", "cart", 3).budget("minAvailable", 2),
        DemoWorkload::deployment("shop", "catalog", 4).budget("minAvailable", "75%"),
        DemoWorkload::deployment("shop", "checkout", 3).budget("maxUnavailable", 1),
        DemoWorkload {
            scratch: true,
            ..DemoWorkload::deployment("shop", "frontend", 6).budget("maxUnavailable", "34%")
        },
        // It fills its index before it is Ready, so the next of its pods has to wait for it.
        DemoWorkload {
            slow_start: Some(80),
            ..DemoWorkload::deployment("shop", "search", 5).budget("maxUnavailable", 1)
        },
        DemoWorkload::deployment("platform", "gateway", 3),
        DemoWorkload::deployment("platform", "identity", 2).budget("minAvailable", 1),
        DemoWorkload::deployment("platform", "mailer", 2),
        DemoWorkload::stateful("data", "orders-db", 3, "50Gi").budget("maxUnavailable", 1),
        DemoWorkload::stateful("data", "sessions", 3, "5Gi").budget("minAvailable", 2),
        DemoWorkload::stateful("monitoring", "metrics", 2, "100Gi"),
        DemoWorkload::deployment("batch", "renderer", 6).on(Placement::Batch),
    ]
}

/// A Job that is still running when its node's turn comes, so the drain waits for it.
pub(super) fn nightly_job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "nightly-report", "namespace": "batch"},
        "spec": {"backoffLimit": 2, "template": {
            "metadata": {"annotations": {"sim/run-seconds": JOB_SECONDS.to_string()}},
            "spec": {
                "restartPolicy": "Never",
                "nodeSelector": {"pool": "batch"},
                "tolerations": [{"key": "workload", "operator": "Equal", "value": "batch", "effect": "NoSchedule"}],
                "containers": [{"name": "report", "image": "registry.example.com/batch/report:2.4.1"}],
            },
        }},
    })
}

/// It ends about a minute after the drain of its node has begun.
const JOB_SECONDS: u32 = 1260;
