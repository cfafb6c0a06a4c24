//! Tests of the simulated API server: the core by requests and clock, and once through a real client.

mod client;
mod evictions;
mod lifecycle;
mod patches;
mod protocol;
mod selectors;

use super::*;
use bytes::Bytes;
use http::{Method, Request};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A cluster, the clock, and the shortest words for asking it things.
pub(super) struct World {
    pub cluster: Cluster,
    pub now: Timestamp,
}

pub(super) fn start() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().expect("a valid time")
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(super) fn with(settings: Settings) -> Self {
        Self { cluster: Cluster::new(settings, start()), now: start() }
    }

    /// Lets so many seconds pass.
    pub(super) fn pass(&mut self, seconds: f64) {
        self.now += SignedDuration::from_secs_f64(seconds);
        self.cluster.run_until(self.now);
    }

    pub(super) fn add(&mut self, tree: Value) -> String {
        let object = self.cluster.create(tree, self.now).expect("the object is fine");
        object.key.name.to_string()
    }

    pub(super) fn nodes(&mut self, count: usize) {
        for number in 0..count {
            let zone = format!("z{}", number % 3);
            self.add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {
                "name": format!("n{number}"), "labels": {"topology.kubernetes.io/zone": zone}}}));
        }
    }

    pub(super) fn ask_as(&mut self, method: &Method, path: &str, kind: &str, body: &Value) -> (u16, Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let request =
            request.header("user-agent", "test/1").body(Bytes::from(text)).expect("a valid request");
        let answer = self.cluster.handle(request, self.now);
        let body = answer.full().map(|body| serde_json::from_slice(body).unwrap_or(Value::Null));
        (answer.status.as_u16(), body.unwrap_or(Value::Null))
    }

    pub(super) fn get(&mut self, path: &str) -> (u16, Value) {
        self.ask_as(&Method::GET, path, "application/json", &Value::Null)
    }

    pub(super) fn post(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.ask_as(&Method::POST, path, "application/json", body)
    }

    pub(super) fn put(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.ask_as(&Method::PUT, path, "application/json", body)
    }

    pub(super) fn delete(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.ask_as(&Method::DELETE, path, "application/json", body)
    }

    pub(super) fn merge(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.ask_as(&Method::PATCH, path, "application/merge-patch+json", body)
    }

    pub(super) fn evict(&mut self, pod: &str, options: &Value) -> (u16, Value) {
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod, "namespace": "default"}, "deleteOptions": options});
        self.post(&format!("/api/v1/namespaces/default/pods/{pod}/eviction"), &body)
    }

    pub(super) fn watch(&mut self, path: &str) -> Subscription {
        let request = Request::builder().uri(path).body(Bytes::new()).expect("a valid request");
        match self.cluster.handle(request, self.now).body {
            Body::Watch(subscription) => *subscription,
            Body::Full(body) => panic!("not a watch: {body:?}"),
        }
    }

    /// The types of the next events of a watch, with the name of the object.
    pub(super) fn events(&mut self, watch: &mut Subscription) -> Vec<String> {
        let polled = self.cluster.poll(watch, self.now);
        let line = |line: &Bytes| -> Value { serde_json::from_slice(line).expect("a line is JSON") };
        let shown = |event: Value| {
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            format!("{} {name}", event["type"].as_str().unwrap_or_default()).trim().to_owned()
        };
        polled.lines.iter().map(line).map(shown).collect()
    }

    pub(super) fn pods(&self) -> Vec<String> {
        self.cluster.objects(Kind::Pod, "default").map(|pod| pod.key.name.to_string()).collect()
    }

    pub(super) fn ready(&self) -> usize {
        self.cluster.objects(Kind::Pod, "default").filter(|pod| pod.healthy()).count()
    }

    pub(super) fn tree(&self, kind: Kind, namespace: &str, name: &str) -> Value {
        self.cluster.object(kind, namespace, name).map_or(Value::Null, |found| found.tree().clone())
    }
}

pub(super) fn deployment(name: &str, replicas: usize) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                 "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}})
}

pub(super) fn budget(name: &str, app: &str, rule: &Value) -> Value {
    let mut tree = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": app}}}});
    for (key, value) in rule.as_object().expect("a rule is an object") {
        tree["spec"][key] = value.clone();
    }
    tree
}

pub(super) fn pod(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}
