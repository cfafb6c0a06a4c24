//! Deletion: preconditions, grace, finalizers and what becomes of dependents.

use super::answer::Answer;
use super::cluster::Cluster;
use super::control::budget;
use super::json::{self, int, list, set, text};
use super::object::{Key, Object, Phase};
use super::queue::Task;
use super::read::Filter;
use super::request::{Call, Place};
use super::resource::{Kind, Resource};
use super::status::{Refusal, Served};
use super::time;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// What a deletion was told, from its body and its query.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub uid: Option<String>,
    pub version: Option<String>,
    pub grace: Option<i64>,
    pub propagation: String,
    pub dry_run: bool,
}

const FOREGROUND: &str = "foregroundDeletion";

impl Options {
    pub(super) fn from_json(options: &Value) -> Self {
        let stated = |path: &[&str]| json::at(options, path).and_then(Value::as_str).map(str::to_owned);
        Self {
            uid: stated(&["preconditions", "uid"]),
            version: stated(&["preconditions", "resourceVersion"]),
            grace: int(options, &["gracePeriodSeconds"]),
            propagation: text(options, &["propagationPolicy"]).to_owned(),
            dry_run: list(options, &["dryRun"]).iter().any(|item| item.as_str() == Some("All")),
        }
    }

    fn from_call(call: &Call) -> Served<Self> {
        let mut options = Self::from_json(&call.json()?);
        options.grace = options.grace.or(call.query.number("gracePeriodSeconds"));
        if options.propagation.is_empty() {
            call.query.get("propagationPolicy").clone_into(&mut options.propagation);
        }
        options.dry_run |= call.is_dry_run();
        Ok(options)
    }

    pub(super) fn check(&self, resource: &Resource, object: &Object) -> Served<()> {
        let (kind, name) = (resource.name, &*object.key.name);
        let fail = |what: &str, asked: &str, found: &str, end: &str| {
            let why = format!(
                "the {what} in the precondition ({asked}) does not match the {what} in record ({found})"
            );
            let message = format!(
                "Operation cannot be fulfilled on {kind} {name:?}: {why}. The object might have been {end}"
            );
            let refusal = Refusal::new(StatusCode::CONFLICT, "Conflict", message);
            Err(refusal.detail("name", name).detail("kind", kind))
        };
        if let Some(uid) = self.uid.as_deref().filter(|uid| !uid.is_empty() && **uid != *object.uid) {
            return fail("UID", uid, &object.uid, "deleted and then recreated");
        }
        let current = object.version.to_string();
        if let Some(version) =
            self.version.as_deref().filter(|version| !version.is_empty() && **version != *current)
        {
            return fail("ResourceVersion", version, &current, "modified");
        }
        Ok(())
    }
}

impl Cluster {
    pub(super) fn delete_call(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        if !place.subresource.is_empty() {
            return Err(Refusal::method());
        }
        let options = Options::from_call(call)?;
        let object = self.find(place, now)?;
        let left = self.delete(&object, &options, now)?;
        Ok(match left {
            Some(object) => Answer::object(StatusCode::OK, &object, call.view, now),
            None if returns_object(place.resource.kind) => {
                Answer::object(StatusCode::OK, &object, call.view, now)
            }
            None => Answer::tree(StatusCode::OK, &success(place.resource, &object)),
        })
    }

    pub(super) fn delete_collection(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        if place.resource.namespaced && place.namespace.is_empty() {
            return Err(Refusal::method());
        }
        let options = Options::from_call(call)?;
        let filter = Filter::new(place, &call.query)?;
        let all = self.store.range(filter.kind, &filter.namespace, None);
        let objects: Vec<_> = all.filter(|object| filter.matches(object)).cloned().collect();
        for object in &objects {
            self.delete(object, &options, now)?;
        }
        let page = super::answer::Page {
            objects,
            version: self.store.version(),
            next: String::new(),
            remaining: None,
        };
        Ok(page.answer(filter.kind, call.view, now))
    }

    /// Deletes, or begins to. What is left of the object for now is returned.
    pub(super) fn delete(
        &mut self,
        object: &Arc<Object>,
        options: &Options,
        now: Timestamp,
    ) -> Served<Option<Arc<Object>>> {
        options.check(object.kind.resource(), object)?;
        if options.dry_run {
            return Ok(Some(Arc::clone(object)));
        }
        match object.kind {
            Kind::Pod => Ok(self.delete_pod_by_request(object, options, now)),
            Kind::Namespace => Ok(self.terminate_namespace(object, now)),
            _ => Ok(self.delete_plain(object, options, now)),
        }
    }

    fn delete_plain(
        &mut self,
        object: &Arc<Object>,
        options: &Options,
        now: Timestamp,
    ) -> Option<Arc<Object>> {
        let orphan_by_default = object.kind == Kind::Job && options.propagation.is_empty();
        if options.propagation == "Orphan" || orphan_by_default {
            self.orphan_dependents(object, now);
        }
        let foreground =
            options.propagation == "Foreground" && self.store.dependents(&object.uid).next().is_some();
        let held = foreground || !list(object.tree(), &["metadata", "finalizers"]).is_empty();
        if !held {
            self.erase(object.kind, &object.key, now);
            return None;
        }
        let kept = self.edit(object.kind, &object.key, now, |tree| {
            json::set_absent(tree, &["metadata", "deletionTimestamp"], time::seconds(now));
            json::set_absent(tree, &["metadata", "deletionGracePeriodSeconds"], 0);
            if foreground
                && let Some(finalizers) = json::list_mut(tree, &["metadata", "finalizers"])
                && !finalizers.iter().any(|item| item == FOREGROUND)
            {
                finalizers.push(FOREGROUND.into());
            }
        });
        self.later(Task::Orphans(object.kind, object.key.clone(), Arc::clone(&object.uid)), now);
        kept
    }

    fn orphan_dependents(&mut self, owner: &Object, now: Timestamp) {
        let all: Vec<_> = self.store.dependents(&owner.uid).cloned().collect();
        for dependent in all {
            self.edit(dependent.kind, &dependent.key, now, |tree| {
                if let Some(owners) = json::list_mut(tree, &["metadata", "ownerReferences"]) {
                    owners.retain(|reference| text(reference, &["uid"]) != &*owner.uid);
                }
            });
        }
    }

    /// A deletion that somebody asked for; budgets that it breaks are noted.
    fn delete_pod_by_request(
        &mut self,
        pod: &Arc<Object>,
        options: &Options,
        now: Timestamp,
    ) -> Option<Arc<Object>> {
        let left = self.delete_pod(pod, options.grace, now);
        if pod.healthy() {
            for breach in budget::broken_by(&self.store, pod, now) {
                self.audit.breaches.push(breach);
            }
        }
        left
    }

    /// Starts the end of a pod, or ends it where there is nothing to wait for.
    pub(super) fn delete_pod(
        &mut self,
        pod: &Arc<Object>,
        grace: Option<i64>,
        now: Timestamp,
    ) -> Option<Arc<Object>> {
        let facts = pod.pod()?;
        let own = int(pod.tree(), &["spec", "terminationGracePeriodSeconds"]).unwrap_or(30);
        let nothing_runs = facts.node.is_empty() || facts.finished();
        let grace = if nothing_runs { 0 } else { grace.unwrap_or(own).max(0) };
        let finalizers = !list(pod.tree(), &["metadata", "finalizers"]).is_empty();
        if grace == 0 && !finalizers {
            self.erase(Kind::Pod, &pod.key, now);
            return None;
        }
        let already = int(pod.tree(), &["metadata", "deletionGracePeriodSeconds"]).filter(|_| pod.deleting);
        if already.is_some_and(|already| already <= grace) {
            return Some(Arc::clone(pod));
        }
        let ends = time::after(now, SignedDuration::from_secs(grace));
        let left = self.edit(Kind::Pod, &pod.key, now, |tree| {
            set(tree, &["metadata", "deletionTimestamp"], time::seconds(ends));
            set(tree, &["metadata", "deletionGracePeriodSeconds"], grace);
        });
        let length = self.settings.timings.pod_termination.min(SignedDuration::from_secs(grace));
        let length = super::control::pod::own_seconds(pod, "sim/stop-seconds").unwrap_or(length);
        self.later(
            Task::PodGone(pod.key.clone(), Arc::clone(&pod.uid)),
            time::after(now, length.min(SignedDuration::from_secs(grace))),
        );
        left
    }

    fn terminate_namespace(&mut self, object: &Arc<Object>, now: Timestamp) -> Option<Arc<Object>> {
        let left = self.edit(Kind::Namespace, &object.key, now, |tree| {
            json::set_absent(tree, &["metadata", "deletionTimestamp"], time::seconds(now));
            set(tree, &["status", "phase"], "Terminating");
        });
        let due = time::after(now, self.settings.timings.controller);
        self.later(Task::Namespace(object.key.name.as_ref().into()), due);
        left
    }

    /// Empties a namespace, and removes it once nothing is left.
    pub(super) fn sync_namespace(&mut self, name: &str, now: Timestamp) {
        let key = Key::new("", name);
        if !self.store.get(Kind::Namespace, &key).is_some_and(|found| found.deleting) {
            return;
        }
        let kinds = super::resource::RESOURCES.iter().filter(|resource| resource.namespaced);
        let all: Vec<_> = kinds
            .filter(|resource| resource.kind.stored() == resource.kind)
            .flat_map(|resource| self.store.range(resource.kind, name, None).cloned())
            .collect();
        if all.is_empty() {
            self.erase(Kind::Namespace, &key, now);
            return;
        }
        let background = Options { propagation: "Background".to_owned(), ..Options::default() };
        for object in all {
            if object.kind == Kind::Pod {
                self.delete_pod(&object, None, now);
            } else {
                self.delete_plain(&object, &background, now);
            }
        }
        self.later(Task::Namespace(name.into()), time::after(now, SignedDuration::from_secs(1)));
    }

    /// Deletes what an owner leaves behind, and the owner itself where it waited for that.
    pub(super) fn collect_garbage(&mut self, kind: Kind, key: &Key, uid: &str, now: Timestamp) {
        let owner = self.store.get(kind, key).filter(|owner| &*owner.uid == uid).cloned();
        if owner.as_ref().is_some_and(|owner| !owner.deleting) {
            return;
        }
        let all: Vec<_> = self.store.dependents(uid).cloned().collect();
        let background = Options { propagation: "Background".to_owned(), ..Options::default() };
        for dependent in &all {
            let other_owner =
                dependent.owners.iter().any(|owner| &*owner.uid != uid && self.exists(dependent, owner));
            match (dependent.kind, other_owner) {
                (_, true) => {}
                (Kind::Pod, false) => {
                    self.delete_pod(dependent, None, now);
                }
                (_, false) => {
                    self.delete_plain(dependent, &background, now);
                }
            }
        }
        let Some(owner) = owner else { return };
        if !all.is_empty() {
            let due = time::after(now, SignedDuration::from_secs(1));
            self.later(Task::Orphans(kind, key.clone(), uid.into()), due);
            return;
        }
        let others =
            list(owner.tree(), &["metadata", "finalizers"]).iter().filter(|item| *item != FOREGROUND).count();
        if others == 0 {
            self.erase(kind, key, now);
        }
    }

    fn exists(&self, dependent: &Object, owner: &super::object::Owner) -> bool {
        let Some(kind) = Kind::named(&owner.api_version, &owner.kind) else { return false };
        let namespace = if kind.resource().namespaced { dependent.key.namespace.as_ref() } else { "" };
        self.store.get(kind, &Key::new(namespace, &owner.name)).is_some_and(|found| found.uid == owner.uid)
    }

    /// The kubelet has stopped a pod's containers.
    pub(super) fn finish_termination(&mut self, key: &Key, uid: &str, now: Timestamp) {
        let Some(pod) =
            self.store.get(Kind::Pod, key).filter(|pod| &*pod.uid == uid && pod.deleting).cloned()
        else {
            return;
        };
        if !pod.pod().is_some_and(|facts| self.kubelet_works(&facts.node)) {
            return;
        }
        if list(pod.tree(), &["metadata", "finalizers"]).is_empty() {
            self.erase(Kind::Pod, key, now);
        } else {
            self.edit(Kind::Pod, key, now, |tree| {
                super::control::pod::stop(tree, Phase::Succeeded, "Completed", 0, now);
            });
        }
    }
}

/// Kinds whose deletion is answered with the object; the others answer with a `Status`.
fn returns_object(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Pod
            | Kind::PersistentVolume
            | Kind::PersistentVolumeClaim
            | Kind::ServiceAccount
            | Kind::StorageClass
            | Kind::VolumeAttachment
            | Kind::CsiNode
            | Kind::Service
    )
}

fn success(resource: &Resource, object: &Object) -> Value {
    let mut details =
        json!({"name": object.key.name.as_ref(), "kind": resource.plural, "uid": object.uid.as_ref()});
    if !resource.group.is_empty() {
        set(&mut details, &["group"], resource.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
