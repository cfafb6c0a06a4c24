//! Create, update and patch: admission, versions, and what may not change.

use super::answer::Answer;
use super::cluster::Cluster;
use super::json::{self, set, text};
use super::object::{Key, Object};
use super::request::{Call, Place, unsupported};
use super::resource::Kind;
use super::status::{Refusal, Served};
use super::{apply, defaults, events, patch, time};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

impl Cluster {
    pub(super) fn create_call(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        let mut tree = call.json()?;
        check_kind(place, &tree)?;
        if place.resource.kind == Kind::Event {
            tree = events::core(&tree);
        }
        let (key, tree) = self.admitted(place, tree, now)?;
        let object = if call.is_dry_run() {
            Arc::new(Object::new(place.resource.kind, key, 0, tree))
        } else {
            self.put(place.resource.kind, key, tree, now)
        };
        Ok(Answer::written(StatusCode::CREATED, &object, call, now))
    }

    /// Gives a new object what the server gives it, or says why it cannot be.
    pub(super) fn admitted(
        &mut self,
        place: &Place,
        mut tree: Value,
        now: Timestamp,
    ) -> Served<(Key, Value)> {
        let resource = place.resource;
        let kind = resource.kind;
        if resource.namespaced {
            let stated = text(&tree, &["metadata", "namespace"]);
            if !stated.is_empty() && stated != place.namespace {
                return Err(Refusal::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            set(&mut tree, &["metadata", "namespace"], place.namespace.clone());
            self.check_namespace(place, &tree)?;
        }
        let name = self.name_for(&tree);
        if name.is_empty() {
            let why = "Required value: name or generateName is required";
            return Err(Refusal::invalid(resource, "", "metadata.name", why));
        }
        let key = Key::new(&place.namespace, &name);
        if self.store.get(kind, &key).is_some() {
            return Err(Refusal::exists(resource, &name));
        }
        if !matches!(text(&tree, &["metadata", "resourceVersion"]), "" | "0") {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "", message));
        }
        let stored = kind.stored().resource();
        set(&mut tree, &["apiVersion"], stored.api_version());
        set(&mut tree, &["kind"], stored.name);
        set(&mut tree, &["metadata", "name"], name.clone());
        set(&mut tree, &["metadata", "uid"], self.seed.uid());
        set(&mut tree, &["metadata", "creationTimestamp"], time::seconds(now));
        json::remove(&mut tree, &["metadata", "deletionTimestamp"]);
        json::remove(&mut tree, &["metadata", "resourceVersion"]);
        if kind.has_generation() {
            set(&mut tree, &["metadata", "generation"], 1);
        }
        defaults::on_create(kind, &mut tree, &self.settings, now);
        defaults::validate(resource, &name, &tree)?;
        Ok((key, tree))
    }

    fn name_for(&mut self, tree: &Value) -> String {
        let name = text(tree, &["metadata", "name"]);
        let prefix = text(tree, &["metadata", "generateName"]);
        if name.is_empty() && !prefix.is_empty() {
            format!("{prefix}{}", self.seed.suffix())
        } else {
            name.to_owned()
        }
    }

    fn check_namespace(&self, place: &Place, tree: &Value) -> Served<()> {
        let namespaces = Kind::Namespace.resource();
        let Some(found) = self.store.get(Kind::Namespace, &Key::new("", &place.namespace)) else {
            return Err(Refusal::not_found(namespaces, &place.namespace));
        };
        if !found.deleting {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {} because it is being terminated",
            place.namespace
        );
        let cause = format!("namespace {} is being terminated", place.namespace);
        Err(Refusal::forbidden(place.resource, text(tree, &["metadata", "name"]), &why).cause(
            "NamespaceTerminating",
            &cause,
            Some("metadata.namespace"),
        ))
    }

    pub(super) fn update_call(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        let mut tree = call.json()?;
        if place.subresource == "scale" {
            return self.scale_call(call, place, &tree, now);
        }
        check_kind(place, &tree)?;
        let stated = text(&tree, &["metadata", "name"]);
        if stated != place.name {
            let message = format!(
                "the name of the object ({stated}) does not match the name on the URL ({})",
                place.name
            );
            return Err(Refusal::bad_request(message));
        }
        let old = self.find(place, now)?;
        if place.resource.kind == Kind::Event {
            tree = events::core(&tree);
        }
        let object = self.replace(place, &old, tree, call.is_dry_run(), now)?;
        Ok(Answer::written(StatusCode::OK, &object, call, now))
    }

    pub(super) fn patch_call(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        if !matches!(place.subresource.as_str(), "" | "status" | "scale") {
            return Err(Refusal::method());
        }
        if call.content_type == "application/apply-patch+yaml" {
            return self.apply_call(call, place, now);
        }
        let old = self.find(place, now)?;
        let mut tree = match (place.subresource.as_str(), place.resource.kind) {
            ("scale", _) => super::subresource::scale_of(&old),
            (_, Kind::Event) => events::modern(old.tree()),
            _ => old.to_tree(),
        };
        match call.content_type.as_str() {
            "application/json-patch+json" => patch::json_patch(&mut tree, &call.body)?,
            "application/merge-patch+json" => patch::merge_patch(&mut tree, &call.body)?,
            "application/strategic-merge-patch+json" => patch::strategic(&mut tree, &call.body)?,
            other => return Err(unsupported(other)),
        }
        if place.subresource == "scale" {
            return self.scale_call(call, place, &tree, now);
        }
        if place.resource.kind == Kind::Event {
            tree = events::core(&tree);
        }
        let object = self.replace(place, &old, tree, call.is_dry_run(), now)?;
        Ok(Answer::written(StatusCode::OK, &object, call, now))
    }

    fn apply_call(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        let config = apply::read_config(&call.body)?;
        check_kind(place, &config)?;
        let manager = call.query.get("fieldManager");
        if manager.is_empty() {
            let why = "Required value: is required for apply patch";
            return Err(Refusal::invalid_options("PatchOptions", "meta.k8s.io", "", "fieldManager", why));
        }
        let by =
            apply::By { manager, subresource: &place.subresource, force: call.query.flag("force"), at: now };
        match self.find(place, now) {
            Ok(old) => {
                let tree = apply::merge(&old.to_tree(), &config, by)?;
                let object = self.replace(place, &old, tree, call.is_dry_run(), now)?;
                Ok(Answer::written(StatusCode::OK, &object, call, now))
            }
            Err(missing) if !place.subresource.is_empty() => Err(missing),
            Err(_) => {
                let mut tree = apply::merge(&json!({}), &config, by)?;
                set(&mut tree, &["metadata", "name"], place.name.clone());
                let (key, tree) = self.admitted(place, tree, now)?;
                let object = if call.is_dry_run() {
                    Arc::new(Object::new(place.resource.kind, key, 0, tree))
                } else {
                    self.put(place.resource.kind, key, tree, now)
                };
                Ok(Answer::written(StatusCode::CREATED, &object, call, now))
            }
        }
    }

    /// Puts a changed tree in the place of the object it was made from.
    pub(super) fn replace(
        &mut self,
        place: &Place,
        old: &Arc<Object>,
        mut tree: Value,
        dry_run: bool,
        now: Timestamp,
    ) -> Served<Arc<Object>> {
        let (resource, kind) = (place.resource, place.resource.kind);
        check_expectations(place, old, &tree)?;
        let was = old.tree();
        keep_what_is_not_theirs(place, was, &mut tree);
        if place.subresource.is_empty() {
            defaults::on_update(kind, &mut tree);
            defaults::validate(resource, &place.name, &tree)?;
            super::immutable::check_immutable(resource, &place.name, was, &tree)?;
        }
        if tree == *was {
            return Ok(Arc::clone(old));
        }
        if dry_run {
            return Ok(Arc::new(Object::new(kind, old.key.clone(), old.version, tree)));
        }
        let key = old.key.clone();
        let freed = json::is_set(&tree, &["metadata", "deletionTimestamp"])
            && json::list(&tree, &["metadata", "finalizers"]).is_empty()
            && kind != Kind::Pod;
        let object = self.put(kind, key.clone(), tree, now);
        if freed {
            self.erase(kind, &key, now);
        }
        Ok(object)
    }
}

/// The kind in a body must be the one in the path; a body may leave it out.
fn check_kind(place: &Place, tree: &Value) -> Served<()> {
    if !tree.is_object() {
        return Err(Refusal::bad_request("the object provided is unrecognized: it is not an object"));
    }
    let (kind, api_version) = (text(tree, &["kind"]), text(tree, &["apiVersion"]));
    let resource = place.resource;
    let kind_fits = kind.is_empty() || kind == resource.name;
    let version_fits = api_version.is_empty() || api_version == resource.api_version();
    if kind_fits && version_fits {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "{kind} in version {api_version:?} cannot be handled as a {}: the API version in the data ({api_version}) \
         does not match the expected API version ({})",
        resource.name,
        resource.api_version()
    )))
}

/// What the writer believes: the version and the UID that it saw.
fn check_expectations(place: &Place, old: &Object, tree: &Value) -> Served<()> {
    let uid = text(tree, &["metadata", "uid"]);
    if !uid.is_empty() && uid != &*old.uid {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            place.resource.plural, place.namespace, place.name, old.uid
        );
        return Err(Refusal::conflict(place.resource, &place.name, &why));
    }
    let version = text(tree, &["metadata", "resourceVersion"]);
    if !version.is_empty() && version.parse() != Ok(old.version) {
        return Err(Refusal::modified(place.resource, &place.name));
    }
    Ok(())
}

/// A write to the object leaves the status alone, and a write to the status leaves everything else alone.
fn keep_what_is_not_theirs(place: &Place, was: &Value, tree: &mut Value) {
    let copy = |tree: &mut Value, path: &[&str]| match json::at(was, path) {
        Some(value) => set(tree, path, value.clone()),
        None => {
            json::remove(tree, path);
        }
    };
    if place.subresource == "status" {
        let status = tree.get("status").cloned();
        let labels = json::at(tree, &["metadata", "labels"]).cloned();
        let annotations = json::at(tree, &["metadata", "annotations"]).cloned();
        *tree = was.clone();
        for (path, value) in [
            (&["metadata", "labels"][..], labels),
            (&["metadata", "annotations"], annotations),
            (&["status"], status),
        ] {
            if let Some(value) = value {
                set(tree, path, value);
            }
        }
        return;
    }
    if place.resource.has_status() {
        copy(tree, &["status"]);
    }
    for field in ["apiVersion", "kind"] {
        copy(tree, &[field]);
    }
    for field in [
        "uid",
        "name",
        "namespace",
        "generateName",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ] {
        copy(tree, &["metadata", field]);
    }
}
