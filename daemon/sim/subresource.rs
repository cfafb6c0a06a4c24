//! The subresources that are not the object itself: scale and binding.

use super::answer::Answer;
use super::cluster::Cluster;
use super::json::{self, int, set, text};
use super::object::Object;
use super::request::{Call, Place};
use super::resource::Kind;
use super::status::{Refusal, Served};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The `Scale` of a workload.
pub(super) fn scale_of(object: &Object) -> Value {
    let tree = object.tree();
    let selector: Vec<_> = json::pairs(tree, &["spec", "selector", "matchLabels"])
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut metadata = json!({"resourceVersion": object.version.to_string(), "uid": &*object.uid});
    for field in ["name", "namespace", "creationTimestamp"] {
        set(&mut metadata, &[field], text(tree, &["metadata", field]));
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": int(tree, &["spec", "replicas"]).unwrap_or(1)},
        "status": {
            "replicas": int(tree, &["status", "replicas"]).unwrap_or_default(),
            "selector": selector.join(","),
        },
    })
}

impl Cluster {
    pub(super) fn scale_call(
        &mut self,
        call: &Call,
        place: &Place,
        scale: &Value,
        now: Timestamp,
    ) -> Served<Answer> {
        let old = self.find(place, now)?;
        let stated = text(scale, &["metadata", "resourceVersion"]);
        if !stated.is_empty() && stated.parse() != Ok(old.version) {
            return Err(Refusal::modified(place.resource, &place.name));
        }
        let replicas = int(scale, &["spec", "replicas"]).unwrap_or_default();
        if replicas < 0 {
            let why = format!("Invalid value: {replicas}: must be greater than or equal to 0");
            return Err(Refusal::invalid_options("Scale", "autoscaling", &place.name, "spec.replicas", &why));
        }
        let mut tree = old.to_tree();
        set(&mut tree, &["spec", "replicas"], replicas);
        let whole = Place { subresource: String::new(), ..place.clone() };
        let object = self.replace(&whole, &old, tree, call.is_dry_run(), now)?;
        Ok(Answer::tree(StatusCode::OK, &scale_of(&object)))
    }

    /// Gives a pod its node, as a scheduler does.
    pub(super) fn bind_call(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        let pod = self.find(place, now)?;
        let body = call.json()?;
        let node = text(&body, &["target", "name"]);
        let bound = pod.pod().map(|facts| facts.node.as_ref()).unwrap_or_default();
        if node.is_empty() {
            return Err(Refusal::bad_request("target.name: Required value"));
        }
        if !bound.is_empty() {
            let why = format!("pod {} is already assigned to node {bound:?}", place.name);
            let message = format!("Operation cannot be fulfilled on pods/binding {:?}: {why}", place.name);
            let refusal = Refusal::new(StatusCode::CONFLICT, "Conflict", message);
            return Err(refusal.detail("name", place.name.clone()).detail("kind", "pods/binding"));
        }
        if !call.is_dry_run() {
            self.bind(&pod.key, node, now);
        }
        Ok(Answer::tree(
            StatusCode::CREATED,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
        ))
    }

    pub(super) fn post_subresource(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        match (place.resource.kind, place.subresource.as_str()) {
            (Kind::Pod, "eviction") => self.evict_call(call, place, now),
            (Kind::Pod, "binding") => self.bind_call(call, place, now),
            (_, subresource) if place.resource.subresources.contains(&subresource) => Err(Refusal::method()),
            (_, subresource) => Err(Refusal::unserved(&format!("{}/{subresource}", place.resource.plural))),
        }
    }
}
