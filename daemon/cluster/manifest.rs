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
use crate::live::{ObjectAnswer, ObjectsAnswer, There, Tried, WriteAnswer};
use crate::model::live::CallFailure;
use crate::model::manifest::{FoundObject, Manifest, ManifestsQuestion, ObjectAddress, ObjectRef};
use crate::model::names::{ADDON, HELM, MANAGER, PRUNE};

/// How many objects are read at a time.
pub(super) const AT_ONCE: usize = 8;

/// The kinds of one version of an API group: the name of the resource by kind, and whether its objects are in namespaces.
pub(super) type Served = BTreeMap<String, (String, bool)>;

/// What is served, by API version.
pub(super) type ServedVersions = BTreeMap<String, Result<Served, CallError>>;

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
        match &question.release {
            Some(asked) => self.release(question, asked).await,
            None => self.objects(question).await,
        }
    }

    pub(super) async fn objects(&self, question: &ManifestsQuestion) -> ObjectsAnswer {
        let gone: Vec<&ObjectRef> = question.gone().collect();
        let versions = question.objects.iter().map(|manifest| &manifest.object.api_version);
        let mut served = self.served(versions.chain(gone.iter().map(|object| &object.api_version))).await;
        self.serve_elsewhere(&gone, &mut served).await;
        let served = &served;
        let (mut objects, mut left) = (Vec::new(), Vec::new());
        for manifest in question.objects.iter() {
            objects.push(self.object(question, manifest, served));
        }
        for object in gone {
            left.push(self.left(object, question, served));
        }
        ObjectsAnswer {
            objects: stream::iter(objects).buffered(AT_ONCE).collect().await,
            gone: stream::iter(left).buffered(AT_ONCE).collect().await,
            release: None,
        }
    }

    async fn object(
        &self,
        question: &ManifestsQuestion,
        manifest: &Manifest,
        served: &ServedVersions,
    ) -> ObjectAnswer {
        let object = &manifest.object;
        let nowhere = |tried: Tried| ObjectAnswer::Read { address: None, live: None, tried };
        let address = match address(object, served, Versions::Own) {
            Ok(address) => address,
            Err(NoAddress::NoKind(words)) => return nowhere(Tried::NoPlace(words)),
            Err(NoAddress::Wrong(words)) => return nowhere(Tried::Refused(words)),
            Err(NoAddress::Unknown(why)) => return ObjectAnswer::Unread(why),
        };
        let api = self.api_of(object, &address);
        if let Some(known) = question.known.get(object) {
            match call(api.get_metadata_opt(&object.name)).await {
                Ok(Some(found)) if found.metadata.resource_version.as_ref() == Some(known) => {
                    return ObjectAnswer::Unchanged;
                }
                Ok(_) => {}
                Err(error) => return ObjectAnswer::Unread(untold(object, &error)),
            }
        }
        match call(api.get_opt(&object.name)).await {
            Ok(live) => {
                let tried = self.tried(&api, manifest, question).await;
                ObjectAnswer::Read { address: Some(address), live: live.map(|live| json!(live)), tried }
            }
            Err(error) => ObjectAnswer::Unread(untold(object, &error)),
        }
    }

    /// What an apply would make of an object. Nothing is stored.
    async fn tried(
        &self,
        api: &Api<DynamicObject>,
        manifest: &Manifest,
        question: &ManifestsQuestion,
    ) -> Tried {
        let (name, take_over) = (&manifest.object.name, &*question.take_over);
        let manager = if question.release.is_some() { HELM } else { MANAGER };
        let params =
            PatchParams { dry_run: true, field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let error = match call(api.patch(name, &params, &Patch::Apply(&manifest.body))).await {
            Ok(object) => return Tried::Applied { object: json!(object), takes_over: false },
            Err(error) => error,
        };
        let conflicts = conflicts(&error);
        if conflicts.is_empty() {
            return failed(&manifest.object, &error);
        }
        // Helm wrote its fields by updates before it applied them.
        let of_others: Vec<_> = conflicts.into_iter().filter(|(of, _)| of != manager).collect();
        let overwrites = question.release.as_ref().and_then(|asked| asked.rendering.as_ref());
        let overwrites = overwrites.is_some_and(|rendering| rendering.overwrites());
        let foreign = of_others.iter().filter(|(manager, _)| !overwrites && !take_over.contains(manager));
        let foreign: Vec<String> = foreign.map(|(_, words)| words.clone()).collect();
        if !foreign.is_empty() {
            return Tried::Conflicts(foreign);
        }
        let forced = PatchParams { force: true, ..params };
        match call(api.patch(name, &forced, &Patch::Apply(&manifest.body))).await {
            Ok(object) => Tried::Applied { object: json!(object), takes_over: !of_others.is_empty() },
            Err(error) => failed(&manifest.object, &error),
        }
    }

    async fn left(
        &self,
        object: &ObjectRef,
        question: &ManifestsQuestion,
        served: &ServedVersions,
    ) -> (ObjectRef, Result<Option<There>, CallFailure>) {
        (object.clone(), self.there(object, question, served).await)
    }

    async fn there(
        &self,
        object: &ObjectRef,
        question: &ManifestsQuestion,
        served: &ServedVersions,
    ) -> Result<Option<There>, CallFailure> {
        // Its kind may be gone, and all objects of it with it.
        let Some(address) = address_if_served(object, served, Versions::OfGroup)? else { return Ok(None) };
        let api = self.api_of(object, &address);
        let found = call(api.get_opt(&object.name)).await.map_err(|error| untold(object, &error))?;
        let Some(found) = found else { return Ok(None) };
        // Whether it may be deleted is told before the run begins.
        let ours =
            question.release.is_some() || found.labels().get(ADDON).is_some_and(|of| *of == question.label);
        let may_go = question.release.is_some()
            || !object.is_kept()
            || found.annotations().get(PRUNE).is_some_and(|may| may == "true");
        if ours && may_go && found.metadata.deletion_timestamp.is_none() {
            let tried = DeleteParams { dry_run: true, ..DeleteParams::default() };
            if let Err(error) = call(api.delete(&object.name, &tried)).await
                && error.failure().is_missing_right()
            {
                return Err(error.failure());
            }
        }
        Ok(Some((address, json!(found))))
    }

    /// Applies an object that is as it was found. One that was not there is looked for once more.
    pub async fn apply(
        &self,
        (object, address): (&ObjectRef, &ObjectAddress),
        found: Option<&FoundObject>,
        body: &Value,
        takes_over: bool,
    ) -> WriteAnswer {
        let api = self.api_of(object, address);
        let mut body = body.clone();
        match (found, body.get_mut("metadata")) {
            (Some(found), Some(Value::Object(metadata))) => {
                metadata.insert("uid".to_owned(), found.uid.as_str().into());
                metadata.insert("resourceVersion".to_owned(), found.resource_version.as_str().into());
            }
            _ => match call(api.get_metadata_opt(&object.name)).await {
                Ok(None) => {}
                Ok(Some(_)) => return WriteAnswer::Stale(format!("somebody made {object} meanwhile")),
                Err(error) => return WriteAnswer::Failed(untold(object, &error)),
            },
        }
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            force: takes_over && found.is_some(),
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

    /// Deletes an object that is as it was found, and all that belongs to it.
    pub async fn delete_object(
        &self,
        (object, address): (&ObjectRef, &ObjectAddress),
        found: &FoundObject,
    ) -> WriteAnswer {
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions {
                uid: Some(found.uid.clone()),
                resource_version: Some(found.resource_version.clone()),
            }),
            ..DeleteParams::default()
        };
        match call(self.api_of(object, address).delete(&object.name, &params)).await {
            Ok(_) => WriteAnswer::Deleted(object.clone()),
            Err(error) if error.code() == 404 => WriteAnswer::Deleted(object.clone()),
            Err(error) if object.is_secret() && error.code() != 409 => {
                WriteAnswer::Failed(untold(object, &error))
            }
            Err(error) => refused(&error),
        }
    }

    /// Asks once for each version of an API group what it serves.
    pub(super) async fn served(&self, versions: impl Iterator<Item = &String>) -> ServedVersions {
        let mut all = ServedVersions::new();
        for version in versions {
            if !all.contains_key(version) {
                all.insert(version.clone(), self.kinds_of(version).await);
            }
        }
        all
    }

    async fn kinds_of(&self, version: &str) -> Result<Served, CallError> {
        let list = if version.contains('/') {
            call(self.client.list_api_group_resources(version)).await
        } else {
            call(self.client.list_core_api_resources(version)).await
        };
        let kinds = list?.resources.into_iter().filter(|resource| !resource.name.contains('/'));
        Ok(kinds.map(|resource| (resource.kind, (resource.name, resource.namespaced))).collect())
    }

    /// A version of a kind may not be served any more while its objects are still there under another one.
    pub(super) async fn serve_elsewhere(&self, gone: &[&ObjectRef], served: &mut ServedVersions) {
        let lost = |object: &&&ObjectRef| {
            matches!(address(object, served, Versions::Own), Err(NoAddress::NoKind(_)))
        };
        let lost: Vec<&ObjectRef> = gone.iter().filter(lost).copied().collect();
        if lost.is_empty() {
            return;
        }
        let groups = match call(self.client.list_api_groups()).await {
            Ok(groups) => groups.groups,
            Err(error) => {
                let why = error.words();
                for object in lost {
                    served.insert(object.api_version.clone(), Err(CallError::Transport(why.clone())));
                }
                return;
            }
        };
        for object in lost {
            let group = groups.iter().find(|group| group.name == object.group());
            for version in group.into_iter().flat_map(|group| &group.versions) {
                let kinds = self.kinds_of(&version.group_version).await;
                served.entry(version.group_version.clone()).or_insert(kinds);
            }
        }
    }

    pub(super) fn api_of(&self, object: &ObjectRef, address: &ObjectAddress) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: object.group().to_owned(),
            version: address.api_version.rsplit('/').next().unwrap_or_default().to_owned(),
            api_version: address.api_version.clone(),
            kind: object.kind.clone(),
            plural: address.plural.clone(),
        };
        match &object.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

/// Under which versions an object is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    Own,
    OfGroup,
}

/// The address of an object; `None` if the API server does not serve its kind, so that there is no such object.
pub(super) fn address_if_served(
    object: &ObjectRef,
    served: &ServedVersions,
    versions: Versions,
) -> Result<Option<ObjectAddress>, CallFailure> {
    match address(object, served, versions) {
        Ok(address) => Ok(Some(address)),
        Err(NoAddress::NoKind(_)) => Ok(None),
        Err(NoAddress::Wrong(words)) => Err(CallFailure::Other(words)),
        Err(NoAddress::Unknown(why)) => Err(why),
    }
}

fn address(
    object: &ObjectRef,
    served: &ServedVersions,
    versions: Versions,
) -> Result<ObjectAddress, NoAddress> {
    let no_kind =
        || NoAddress::NoKind(format!("the API server serves no {} of {}", object.kind, object.api_version));
    match served.get(&object.api_version) {
        Some(Err(error)) if error.code() != 404 => return Err(NoAddress::Unknown(error.failure())),
        Some(_) | None => {}
    }
    let is_of_group =
        |version: &&String| version.split_once('/').map_or("", |(group, _)| group) == object.group();
    // What could not be asked may be where the object is.
    let unasked =
        served.iter().filter(|(version, _)| is_of_group(version)).find_map(|(_, kinds)| kinds.as_ref().err());
    if let Some(error) = unasked.filter(|error| versions == Versions::OfGroup && error.code() != 404) {
        return Err(NoAddress::Unknown(error.failure()));
    }
    let others = served.keys().filter(|_| versions == Versions::OfGroup).filter(is_of_group);
    let found = [&object.api_version].into_iter().chain(others).find_map(|version| {
        let (plural, namespaced) = served.get(version)?.as_ref().ok()?.get(&object.kind)?;
        Some((ObjectAddress { api_version: version.clone(), plural: plural.clone() }, *namespaced))
    });
    let (address, namespaced) = found.ok_or_else(no_kind)?;
    match (&object.namespace, namespaced) {
        (Some(_), true) | (None, false) => Ok(address),
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

/// The managers of the fields that would get another value, each with the API server's words:
/// `conflict with "kubectl-edit" using apps/v1: .spec.replicas`.
fn conflicts(error: &CallError) -> Vec<(String, String)> {
    let CallError::Status(status) = error else { return Vec::new() };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let conflict = causes.filter(|cause| cause.reason == "FieldManagerConflict");
    let manager = |words: &str| {
        let rest = words.strip_prefix("conflict with \"")?;
        rest.split_once('"').map(|(manager, _)| manager.to_owned())
    };
    conflict
        .map(|cause| {
            let words = format!("{}: {}", cause.message, cause.field);
            (manager(&cause.message).unwrap_or_default(), words)
        })
        .collect()
}

/// Mistakes of a manifest that an apply meets before the rules of its kind: they come as internal errors with these words.
const MISTAKES: [&str; 3] =
    ["failed to create typed patch object", "failed to convert new object", "failed to create manager"];

fn failed(object: &ObjectRef, error: &CallError) -> Tried {
    let mistake = matches!(error, CallError::Status(status) if MISTAKES.iter().any(|words| status.message.contains(words)));
    match (error.code(), untold(object, error)) {
        (404, why) => Tried::NoPlace(why.words().to_owned()),
        // A webhook that refuses it answers like a rule of the API server.
        (400 | 403 | 413 | 415 | 422, CallFailure::Other(words)) => Tried::Refused(words),
        (_, CallFailure::Other(words)) if mistake => Tried::Refused(words),
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
