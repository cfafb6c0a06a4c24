//! Reads and changes the workload of an addon.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::write::refused;
use super::{CallError, ClusterApi, call};
use crate::live::{WorkloadObject, WriteAnswer};
use crate::model::addon::{WorkloadKind, WorkloadRef};
use crate::model::names::MANAGER;

impl ClusterApi {
    /// The workload as etcd has it; `None` if there is none of this name.
    pub(super) async fn workload(&self, of: &WorkloadRef) -> Result<Option<WorkloadObject>, CallError> {
        Ok(match of.kind {
            WorkloadKind::Deployment => self.read(of).await?.map(WorkloadObject::Deployment),
            WorkloadKind::DaemonSet => self.read(of).await?.map(WorkloadObject::DaemonSet),
            WorkloadKind::StatefulSet => self.read(of).await?.map(WorkloadObject::StatefulSet),
        })
    }

    /// Why our user may not patch the workload; `None` if it may.
    pub(super) async fn right_to_patch(&self, of: &WorkloadRef) -> Result<Option<String>, CallError> {
        let resource = format!("{}s", of.kind.as_str());
        let asked = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: Some("patch".to_owned()),
                    group: Some("apps".to_owned()),
                    resource: Some(resource.clone()),
                    namespace: Some(of.namespace.clone()),
                    name: Some(of.name.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api = Api::<SelfSubjectAccessReview>::all(self.client.clone());
        let review = call(api.create(&PostParams::default(), &asked)).await?;
        let may = review.status.is_some_and(|status| status.allowed);
        Ok((!may).then(|| {
            format!("the user of the kubeconfig may not patch {resource}.apps in namespace {}", of.namespace)
        }))
    }

    /// Gives a container another image by a strategic merge patch, as `kubectl set image` does. The API server
    /// accepts it also where another manager wrote the image. `guard` are the UID and the resource version that the workload has to have.
    pub async fn set_image(
        &self,
        of: &WorkloadRef,
        (uid, resource_version): (&str, &str),
        (container, init): (&str, bool),
        image: &str,
    ) -> WriteAnswer {
        let list = if init { "initContainers" } else { "containers" };
        let body = json!({
            "metadata": {"uid": uid, "resourceVersion": resource_version},
            "spec": {"template": {"spec": {list: [{"name": container, "image": image}]}}},
        });
        let done = match of.kind {
            WorkloadKind::Deployment => self.change(of, body).await.map(WorkloadObject::Deployment),
            WorkloadKind::DaemonSet => self.change(of, body).await.map(WorkloadObject::DaemonSet),
            WorkloadKind::StatefulSet => self.change(of, body).await.map(WorkloadObject::StatefulSet),
        };
        match done {
            Ok(object) => WriteAnswer::Workload(of.clone(), object),
            Err(error) => refused(&error),
        }
    }

    async fn read<K: AddonWorkload>(&self, of: &WorkloadRef) -> Result<Option<Box<K>>, CallError> {
        let api = Api::<K>::namespaced(self.client.clone(), &of.namespace);
        Ok(call(api.get_opt(&of.name)).await?.map(Box::new))
    }

    async fn change<K: AddonWorkload>(&self, of: &WorkloadRef, body: Value) -> Result<Box<K>, CallError> {
        let api = Api::<K>::namespaced(self.client.clone(), &of.namespace);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        call(api.patch(&of.name, &params, &Patch::Strategic(body))).await.map(Box::new)
    }
}

/// What the kinds of workload have in common.
trait AddonWorkload:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned
{
}

impl AddonWorkload for Deployment {}
impl AddonWorkload for DaemonSet {}
impl AddonWorkload for StatefulSet {}
