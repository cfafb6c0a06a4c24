//! Reads, tries and applies the objects of an addon by server-side apply.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt as _};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::write::refused;
use super::{CallError, ClusterApi, call};
use crate::live::{ObjectAnswer, ObjectsAnswer, Tried, WriteAnswer};
use crate::model::live::CallFailure;
use crate::model::manifest::{Manifest, ManifestsQuestion, ObjectRef};
use crate::model::names::{ADDON, MANAGER};

/// How many objects are read at a time.
const AT_ONCE: usize = 8;

/// The kinds of one version of an API group: the name of the resource by kind, and whether its objects are in namespaces.
type Served = BTreeMap<String, (String, bool)>;

/// What is served, by API version.
type ServedVersions = BTreeMap<String, Result<Served, CallError>>;

/// Why there is no address for an object.
enum NoAddress {
    /// The API server does not serve its kind.
    NoKind(String),
    /// Its manifest is wrong.
    Wrong(String),
    Unknown(CallFailure),
}

impl ClusterApi {
    /// How the objects of an addon are, and what an apply would make of them.
    pub(super) async fn manifests(&self, question: &ManifestsQuestion) -> ObjectsAnswer {
        let gone: Vec<&ObjectRef> = question.gone().collect();
        let asked = question.objects.iter().map(|manifest| &manifest.object);
        let served = self.served(asked.chain(gone.iter().copied())).await;
        let served = &served;
        let (mut objects, mut left) = (Vec::new(), Vec::new());
        for manifest in question.objects.iter() {
            objects.push(self.object(question, manifest, served));
        }
        for object in gone {
            left.push(self.left(object, &question.label, served));
        }
        ObjectsAnswer {
            objects: stream::iter(objects).buffered(AT_ONCE).collect().await,
            gone: stream::iter(left).buffered(AT_ONCE).collect().await,
        }
    }

    async fn left(
        &self,
        object: &ObjectRef,
        label: &str,
        served: &ServedVersions,
    ) -> (ObjectRef, Result<Option<Value>, CallFailure>) {
        (object.clone(), self.there(object, label, served).await)
    }

    async fn object(
        &self,
        question: &ManifestsQuestion,
        manifest: &Manifest,
        served: &ServedVersions,
    ) -> ObjectAnswer {
        let object = &manifest.object;
        let api = match self.address(object, served) {
            Ok(api) => api,
            Err(NoAddress::NoKind(words)) => {
                return ObjectAnswer::Read { live: None, tried: Tried::NoPlace(words) };
            }
            Err(NoAddress::Wrong(words)) => {
                return ObjectAnswer::Read { live: None, tried: Tried::Refused(words) };
            }
            Err(NoAddress::Unknown(why)) => return ObjectAnswer::Unread(why),
        };
        if let Some(known) = question.known.get(object) {
            match call(api.get_metadata_opt(&object.name)).await {
                Ok(Some(found)) if found.metadata.resource_version.as_ref() == Some(known) => {
                    return ObjectAnswer::Unchanged;
                }
                Ok(_) => {}
                Err(error) => return ObjectAnswer::Unread(error.failure()),
            }
        }
        match call(api.get_opt(&object.name)).await {
            Ok(live) => {
                let tried = self.tried(&api, manifest, &question.take_over).await;
                ObjectAnswer::Read { live: live.map(|live| json!(live)), tried }
            }
            Err(error) => ObjectAnswer::Unread(error.failure()),
        }
    }

    /// What an apply would make of an object. Nothing is stored.
    async fn tried(&self, api: &Api<DynamicObject>, manifest: &Manifest, take_over: &[String]) -> Tried {
        let name = &manifest.object.name;
        let params =
            PatchParams { dry_run: true, field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let error = match call(api.patch(name, &params, &Patch::Apply(&manifest.body))).await {
            Ok(object) => return Tried::Applied { object: json!(object), takes_over: false },
            Err(error) => error,
        };
        let conflicts = conflicts(&error);
        if conflicts.is_empty() {
            return failed(&manifest.object, &error);
        }
        let taken =
            |words: &String| take_over.iter().any(|manager| words.contains(&format!("\"{manager}\"")));
        if !conflicts.iter().all(taken) {
            return Tried::Conflicts(conflicts.into_iter().filter(|words| !taken(words)).collect());
        }
        let forced = PatchParams { force: true, ..params };
        match call(api.patch(name, &forced, &Patch::Apply(&manifest.body))).await {
            Ok(object) => Tried::Applied { object: json!(object), takes_over: true },
            Err(error) => failed(&manifest.object, &error),
        }
    }

    async fn there(
        &self,
        object: &ObjectRef,
        label: &str,
        served: &ServedVersions,
    ) -> Result<Option<Value>, CallFailure> {
        match self.address(object, served) {
            Ok(api) => {
                let found = call(api.get_opt(&object.name)).await.map_err(|error| error.failure())?;
                // Whether it may be deleted is told before the run begins.
                if found.as_ref().is_some_and(|found| found.labels().get(ADDON).is_some_and(|of| of == label))
                {
                    let tried = DeleteParams { dry_run: true, ..DeleteParams::default() };
                    if let Err(error) = call(api.delete(&object.name, &tried)).await
                        && error.failure().is_missing_right()
                    {
                        return Err(error.failure());
                    }
                }
                Ok(found.map(|found| json!(found)))
            }
            // Its kind is gone, and all objects of it with it.
            Err(NoAddress::NoKind(_)) => Ok(None),
            Err(NoAddress::Wrong(words)) => Err(CallFailure::Other(words)),
            Err(NoAddress::Unknown(why)) => Err(why),
        }
    }

    /// Applies an object. `guard` are the UID and the resource version that it has to have; without one it is not expected to
    /// exist.
    pub async fn apply(
        &self,
        object: &ObjectRef,
        guard: Option<&(String, String)>,
        body: &Value,
        takes_over: bool,
    ) -> WriteAnswer {
        let api = match self.address_now(object).await {
            Ok(api) => api,
            Err(why) => return WriteAnswer::Failed(why),
        };
        let mut body = body.clone();
        if let (Some((uid, version)), Some(Value::Object(metadata))) = (guard, body.get_mut("metadata")) {
            metadata.insert("uid".to_owned(), uid.as_str().into());
            metadata.insert("resourceVersion".to_owned(), version.as_str().into());
        }
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            force: takes_over && guard.is_some(),
            ..PatchParams::default()
        };
        match call(api.patch(&object.name, &params, &Patch::Apply(&body))).await {
            Ok(applied) => WriteAnswer::Applied(object.clone(), Box::new(json!(applied))),
            Err(error) if object.is_secret() && !matches!(error.code(), 404 | 409) => {
                WriteAnswer::Failed(untold(object, &error))
            }
            Err(error) => refused(&error),
        }
    }

    /// Deletes an object that has this UID and resource version, and all that belongs to it.
    pub async fn delete_object(&self, object: &ObjectRef, (uid, version): &(String, String)) -> WriteAnswer {
        let api = match self.address_now(object).await {
            Ok(api) => api,
            Err(why) => return WriteAnswer::Failed(why),
        };
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: Some(uid.clone()),
                resource_version: Some(version.clone()),
            }),
            ..DeleteParams::default()
        };
        match call(api.delete(&object.name, &params)).await {
            Ok(_) => WriteAnswer::Deleted(object.clone()),
            Err(error) if error.code() == 404 => WriteAnswer::Deleted(object.clone()),
            Err(error) => refused(&error),
        }
    }

    async fn address_now(&self, object: &ObjectRef) -> Result<Api<DynamicObject>, CallFailure> {
        let served = self.served([object].into_iter()).await;
        self.address(object, &served).map_err(|why| match why {
            NoAddress::NoKind(words) | NoAddress::Wrong(words) => CallFailure::Other(words),
            NoAddress::Unknown(why) => why,
        })
    }

    /// Asks once for each version of an API group what it serves.
    async fn served(&self, objects: impl Iterator<Item = &ObjectRef>) -> ServedVersions {
        let mut all = ServedVersions::new();
        for object in objects {
            let version = &object.api_version;
            if all.contains_key(version) {
                continue;
            }
            let list = if version.contains('/') {
                call(self.client.list_api_group_resources(version)).await
            } else {
                call(self.client.list_core_api_resources(version)).await
            };
            let kinds = list.map(|list| {
                let kinds = list.resources.into_iter().filter(|resource| !resource.name.contains('/'));
                kinds.map(|resource| (resource.kind, (resource.name, resource.namespaced))).collect()
            });
            all.insert(version.clone(), kinds);
        }
        all
    }

    fn address(&self, object: &ObjectRef, served: &ServedVersions) -> Result<Api<DynamicObject>, NoAddress> {
        let no_kind = || {
            NoAddress::NoKind(format!("the API server serves no {} of {}", object.kind, object.api_version))
        };
        let kinds = match served.get(&object.api_version) {
            Some(Ok(kinds)) => kinds,
            Some(Err(error)) if error.code() == 404 => return Err(no_kind()),
            Some(Err(error)) => return Err(NoAddress::Unknown(error.failure())),
            None => return Err(no_kind()),
        };
        let (plural, namespaced) = kinds.get(&object.kind).ok_or_else(no_kind)?;
        let version = object.api_version.rsplit('/').next().unwrap_or_default();
        let resource = ApiResource {
            group: object.group().to_owned(),
            version: version.to_owned(),
            api_version: object.api_version.clone(),
            kind: object.kind.clone(),
            plural: plural.clone(),
        };
        match (&object.namespace, namespaced) {
            (Some(namespace), true) => Ok(Api::namespaced_with(self.client.clone(), namespace, &resource)),
            (None, false) => Ok(Api::all_with(self.client.clone(), &resource)),
            (None, true) => Err(NoAddress::Wrong(format!(
                "its manifest names no namespace, and a {} is in one: write `metadata.namespace`",
                object.kind
            ))),
            (Some(_), false) => Err(NoAddress::Wrong(format!(
                "its manifest names a namespace, and a {} is in none: remove `metadata.namespace`",
                object.kind
            ))),
        }
    }
}

/// The API server's words for each field that another manager manages: `conflict with "kubectl-edit" using apps/v1: .spec.replicas`.
fn conflicts(error: &CallError) -> Vec<String> {
    let CallError::Status(status) = error else { return Vec::new() };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let conflict = causes.filter(|cause| cause.reason == "FieldManagerConflict");
    conflict.map(|cause| format!("{}: {}", cause.message, cause.field)).collect()
}

fn failed(object: &ObjectRef, error: &CallError) -> Tried {
    // What an apply does not understand of a manifest is no `Status` of its own, but an internal error with these words.
    let typo = matches!(error, CallError::Status(status) if status.message.contains("failed to create typed patch object"));
    match (error.code(), untold(object, error)) {
        (404, why) => Tried::NoPlace(why.words().to_owned()),
        // A webhook that refuses it answers like a rule of the API server.
        (400 | 403 | 413 | 415 | 422, CallFailure::Other(words)) => Tried::Refused(words),
        (_, CallFailure::Other(words)) if typo => Tried::Refused(words),
        (_, why) => Tried::Failed(why),
    }
}

/// The failure; of a Secret without the API server's words, which may repeat its values.
fn untold(object: &ObjectRef, error: &CallError) -> CallFailure {
    match error.failure() {
        CallFailure::Other(_) if object.is_secret() && error.code() != 0 => CallFailure::Other(format!(
            "the API server answered with {}; its words are not told, because they may have values of the Secret",
            error.code()
        )),
        why => why,
    }
}
