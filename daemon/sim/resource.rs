//! Which kinds are served, and how each is named on the wire.

use self::Kind as K;

/// A kind of object that the simulation stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Namespace,
    Node,
    Pod,
    Service,
    Endpoints,
    ConfigMap,
    Secret,
    CoreEvent,
    PersistentVolume,
    PersistentVolumeClaim,
    ServiceAccount,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    PodDisruptionBudget,
    Lease,
    VolumeAttachment,
    StorageClass,
    CsiNode,
    Event,
    EndpointSlice,
    Role,
    RoleBinding,
    ClusterRole,
    ClusterRoleBinding,
    PriorityClass,
    ValidatingWebhookConfiguration,
    MutatingWebhookConfiguration,
}

/// How a kind is named, and what may be asked of it.
#[derive(Debug)]
pub struct Resource {
    pub kind: Kind,
    pub group: &'static str,
    pub version: &'static str,
    pub name: &'static str,
    pub plural: &'static str,
    pub short: &'static [&'static str],
    pub namespaced: bool,
    pub subresources: &'static [&'static str],
}

const NONE: &[&str] = &[];
const STATUS: &[&str] = &["status"];
const SCALE: &[&str] = &["status", "scale"];

const fn row(
    kind: Kind,
    group: &'static str,
    name: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    subresources: &'static [&'static str],
) -> Resource {
    Resource { kind, group, version: "v1", name, plural, short, namespaced, subresources }
}

/// Every kind, in the order of [`Kind`].
pub static RESOURCES: &[Resource] = &[
    row(K::Namespace, "", "Namespace", "namespaces", &["ns"], false, STATUS),
    row(K::Node, "", "Node", "nodes", &["no"], false, STATUS),
    row(K::Pod, "", "Pod", "pods", &["po"], true, &["status", "eviction", "binding"]),
    row(K::Service, "", "Service", "services", &["svc"], true, STATUS),
    row(K::Endpoints, "", "Endpoints", "endpoints", &["ep"], true, NONE),
    row(K::ConfigMap, "", "ConfigMap", "configmaps", &["cm"], true, NONE),
    row(K::Secret, "", "Secret", "secrets", NONE, true, NONE),
    row(K::CoreEvent, "", "Event", "events", &["ev"], true, NONE),
    row(K::PersistentVolume, "", "PersistentVolume", "persistentvolumes", &["pv"], false, STATUS),
    row(
        K::PersistentVolumeClaim,
        "",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        &["pvc"],
        true,
        STATUS,
    ),
    row(K::ServiceAccount, "", "ServiceAccount", "serviceaccounts", &["sa"], true, NONE),
    row(K::Deployment, "apps", "Deployment", "deployments", &["deploy"], true, SCALE),
    row(K::ReplicaSet, "apps", "ReplicaSet", "replicasets", &["rs"], true, SCALE),
    row(K::StatefulSet, "apps", "StatefulSet", "statefulsets", &["sts"], true, SCALE),
    row(K::DaemonSet, "apps", "DaemonSet", "daemonsets", &["ds"], true, STATUS),
    row(K::Job, "batch", "Job", "jobs", NONE, true, STATUS),
    row(
        K::PodDisruptionBudget,
        "policy",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        &["pdb"],
        true,
        STATUS,
    ),
    row(K::Lease, "coordination.k8s.io", "Lease", "leases", NONE, true, NONE),
    row(K::VolumeAttachment, "storage.k8s.io", "VolumeAttachment", "volumeattachments", NONE, false, STATUS),
    row(K::StorageClass, "storage.k8s.io", "StorageClass", "storageclasses", &["sc"], false, NONE),
    row(K::CsiNode, "storage.k8s.io", "CSINode", "csinodes", NONE, false, NONE),
    row(K::Event, "events.k8s.io", "Event", "events", &["ev"], true, NONE),
    row(K::EndpointSlice, "discovery.k8s.io", "EndpointSlice", "endpointslices", NONE, true, NONE),
    row(K::Role, "rbac.authorization.k8s.io", "Role", "roles", NONE, true, NONE),
    row(K::RoleBinding, "rbac.authorization.k8s.io", "RoleBinding", "rolebindings", NONE, true, NONE),
    row(K::ClusterRole, "rbac.authorization.k8s.io", "ClusterRole", "clusterroles", NONE, false, NONE),
    row(
        K::ClusterRoleBinding,
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        "clusterrolebindings",
        NONE,
        false,
        NONE,
    ),
    row(K::PriorityClass, "scheduling.k8s.io", "PriorityClass", "priorityclasses", &["pc"], false, NONE),
    row(
        K::ValidatingWebhookConfiguration,
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        NONE,
        false,
        NONE,
    ),
    row(
        K::MutatingWebhookConfiguration,
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        NONE,
        false,
        NONE,
    ),
];

static UNKNOWN: Resource = row(K::Namespace, "", "Namespace", "namespaces", NONE, false, NONE);

impl Kind {
    pub fn resource(self) -> &'static Resource {
        RESOURCES.iter().find(|resource| resource.kind == self).unwrap_or(&UNKNOWN)
    }

    /// The kind behind an `apiVersion` and a `kind`, as objects carry them.
    pub fn named(api_version: &str, name: &str) -> Option<Self> {
        RESOURCES
            .iter()
            .find(|resource| resource.name == name && resource.api_version() == api_version)
            .map(|resource| resource.kind)
    }

    /// Both faces of an event are one stored object.
    pub(super) fn stored(self) -> Self {
        match self {
            Self::Event => Self::CoreEvent,
            other => other,
        }
    }

    /// Whether a change of the spec is counted in `metadata.generation`.
    pub(super) fn has_generation(self) -> bool {
        matches!(
            self,
            Self::Deployment
                | Self::ReplicaSet
                | Self::StatefulSet
                | Self::DaemonSet
                | Self::Job
                | Self::PodDisruptionBudget
                | Self::Pod
        )
    }
}

impl Resource {
    pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| {
            resource.group == group && resource.version == version && resource.plural == plural
        })
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The name in messages: `pods`, `deployments.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(super) fn has_status(&self) -> bool {
        self.subresources.contains(&"status")
    }
}
