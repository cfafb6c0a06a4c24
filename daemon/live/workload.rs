//! Converts `Deployments`, `ReplicaSets`, `StatefulSets` and `DaemonSets` into the few fields that the stages read.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::convert::controller;
use super::rollout::rollout;
use super::shared::Shared;
use crate::model::live::{Id, OwnerKind, Workload};

fn workload(
    meta: &ObjectMeta,
    kind: OwnerKind,
    replicas: i32,
    shared: &mut Shared,
) -> Option<(Id, Workload)> {
    let uid = shared.id(meta.uid.as_deref()?);
    let workload = Workload {
        kind,
        namespace: shared.id(meta.namespace.as_deref()?),
        name: shared.id(meta.name.as_deref()?),
        replicas: u32::try_from(replicas).unwrap_or(0),
        parent: None,
        essential: false,
        rollout: None,
    };
    Some((uid, workload))
}

pub(super) fn deployment(object: &Deployment, shared: &mut Shared) -> Option<(Id, Workload)> {
    let replicas = object.spec.replicas.unwrap_or(1);
    let (uid, mut deployment) = workload(&object.metadata, OwnerKind::Deployment, replicas, shared)?;
    deployment.rollout = Some(Box::new(rollout(object)));
    Some((uid, deployment))
}

pub(super) fn replica_set(object: &ReplicaSet, shared: &mut Shared) -> Option<(Id, Workload)> {
    let replicas = object.spec.replicas.unwrap_or(1);
    let (uid, mut set) = workload(&object.metadata, OwnerKind::ReplicaSet, replicas, shared)?;
    set.parent = controller(&object.metadata).map(|owner| shared.id(&owner.uid));
    Some((uid, set))
}

pub(super) fn stateful_set(object: &StatefulSet, shared: &mut Shared) -> Option<(Id, Workload)> {
    let replicas = object.spec.replicas.unwrap_or(1);
    workload(&object.metadata, OwnerKind::StatefulSet, replicas, shared)
}

pub(super) fn daemon_set(object: &DaemonSet, shared: &mut Shared) -> Option<(Id, Workload)> {
    let (uid, mut set) = workload(&object.metadata, OwnerKind::DaemonSet, 0, shared)?;
    set.essential = object
        .spec
        .template
        .spec
        .as_ref()
        .is_some_and(|spec| essential(object.metadata.name.as_deref().unwrap_or_default(), spec));
    Some((uid, set))
}

/// True if a `DaemonSet` provides networking, proxy or storage: it is node-critical, or it installs a network or
/// storage plugin on the host.
fn essential(name: &str, spec: &v1::PodSpec) -> bool {
    const PLUGINS: [&str; 4] =
        ["/etc/cni", "/opt/cni", "/var/lib/kubelet/plugins", "/var/lib/kubelet/plugins_registry"];
    name == "kube-proxy"
        || spec.priority_class_name.as_deref() == Some("system-node-critical")
        || spec.volumes.iter().flatten().any(|volume| {
            volume
                .host_path
                .as_ref()
                .is_some_and(|host| PLUGINS.iter().any(|plugin| host.path.starts_with(plugin)))
        })
}
