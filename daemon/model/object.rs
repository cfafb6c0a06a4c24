//! Objects of Kubernetes of any kind, by their names.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::addon::{WorkloadKind, WorkloadRef};

/// One object, by its API version, kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectRef {
    pub api_version: String,
    pub kind: String,
    /// `None` for an object that is in no namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
}

/// `configmap/kube-system/coredns`, `clusterrole/coredns`, `certificate.cert-manager.io/shop/web`.
impl fmt::Display for ObjectRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.kind.to_ascii_lowercase())?;
        let group = self.group();
        if group.contains('.') && !group.ends_with(".k8s.io") {
            write!(out, ".{group}")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(out, "/{namespace}")?;
        }
        write!(out, "/{}", self.name)
    }
}

/// Under which path the API server has an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectAddress {
    /// Another version than the manifest's where that one is not served any more.
    pub api_version: String,
    pub plural: String,
}

/// An object as it was found: where, and what a write has to name so that it meets no other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundObject {
    pub uid: String,
    pub resource_version: String,
}

/// When an object is applied, before others of its addon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectRank {
    /// Namespaces and definitions of kinds: others need them.
    First,
    Ordinary,
    /// Objects of kinds that an addon brings itself.
    Custom,
    /// A registered webhook refuses what comes before its pods run: it waits for the rollouts.
    Webhook,
}

impl WorkloadRef {
    pub fn object(&self) -> ObjectRef {
        let kind = match self.kind {
            WorkloadKind::Deployment => "Deployment",
            WorkloadKind::DaemonSet => "DaemonSet",
            WorkloadKind::StatefulSet => "StatefulSet",
        };
        ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: kind.to_owned(),
            namespace: Some(self.namespace.clone()),
            name: self.name.clone(),
        }
    }
}

impl ObjectRef {
    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// True if both are one object, by whichever version of its kind.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.group() == other.group()
            && self.namespace == other.namespace
            && self.name == other.name
    }

    fn is(&self, group: &str, kind: &str) -> bool {
        self.group() == group && self.kind == kind
    }

    pub fn is_namespace(&self) -> bool {
        self.is("", "Namespace")
    }

    /// True for a `CustomResourceDefinition`.
    pub fn is_definition(&self) -> bool {
        self.is("apiextensions.k8s.io", "CustomResourceDefinition")
    }

    pub fn is_secret(&self) -> bool {
        self.is("", "Secret")
    }

    /// True for kinds with which data, or all objects of a kind, would go: they are deleted only if their manifest said so.
    pub fn is_kept(&self) -> bool {
        self.is_namespace()
            || self.is_definition()
            || self.is("", "PersistentVolume")
            || self.is("", "PersistentVolumeClaim")
    }

    pub fn rank(&self) -> ObjectRank {
        if self.is_namespace() || self.is_definition() {
            ObjectRank::First
        } else if self.group() == "admissionregistration.k8s.io" {
            ObjectRank::Webhook
        } else if self.group().contains('.') && !self.group().ends_with(".k8s.io") {
            ObjectRank::Custom
        } else {
            ObjectRank::Ordinary
        }
    }

    /// The workload that the object is, if it is one.
    pub fn workload(&self) -> Option<WorkloadRef> {
        let kind = match (self.group(), self.kind.as_str()) {
            ("apps", "Deployment") => WorkloadKind::Deployment,
            ("apps", "DaemonSet") => WorkloadKind::DaemonSet,
            ("apps", "StatefulSet") => WorkloadKind::StatefulSet,
            _ => return None,
        };
        Some(WorkloadRef { kind, namespace: self.namespace.clone()?, name: self.name.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_and_ranked() {
        let object = |api_version: &str, kind: &str, namespace: Option<&str>| ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: namespace.map(str::to_owned),
            name: "a".into(),
        };
        for (object, text, rank) in [
            (object("v1", "Namespace", None), "namespace/a", ObjectRank::First),
            (
                object("apiextensions.k8s.io/v1", "CustomResourceDefinition", None),
                "customresourcedefinition/a",
                ObjectRank::First,
            ),
            (object("v1", "ConfigMap", Some("b")), "configmap/b/a", ObjectRank::Ordinary),
            (object("apps/v1", "DaemonSet", Some("b")), "daemonset/b/a", ObjectRank::Ordinary),
            (
                object("rbac.authorization.k8s.io/v1", "ClusterRole", None),
                "clusterrole/a",
                ObjectRank::Ordinary,
            ),
            (
                object("cert-manager.io/v1", "Certificate", Some("b")),
                "certificate.cert-manager.io/b/a",
                ObjectRank::Custom,
            ),
            (
                object("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", None),
                "validatingwebhookconfiguration/a",
                ObjectRank::Webhook,
            ),
        ] {
            assert_eq!((object.to_string().as_str(), object.rank()), (text, rank));
        }
        let old = object("policy/v1beta1", "PodDisruptionBudget", Some("b"));
        assert!(old.is_same_as(&object("policy/v1", "PodDisruptionBudget", Some("b"))));
        assert!(!old.is_same_as(&object("policy/v1", "PodDisruptionBudget", Some("c"))));
    }
}
