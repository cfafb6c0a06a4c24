//! What the API says about itself: groups, resources, version, health and just enough `OpenAPI` for kubectl.

use super::answer::Answer;
use super::cluster::Cluster;
use super::json::{list, text};
use super::request::Call;
use super::resource::{Kind, RESOURCES, Resource};
use super::status::{Refusal, Served};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Answers everything that is not about an object.
pub(super) fn serve(cluster: &Cluster, call: &Call) -> Served<Answer> {
    let segments: Vec<_> = call.path.split('/').filter(|segment| !segment.is_empty()).collect();
    if call.method == Method::POST {
        return review(call, &segments, &cluster.settings.denied);
    }
    if call.method != Method::GET {
        return Err(unknown(call));
    }
    let tree = match segments.as_slice() {
        ["version"] => version(&cluster.served_version()),
        ["healthz" | "livez" | "readyz", ..] => return Ok(health(call)),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => groups(),
        ["api", "v1"] => resources("", "v1"),
        ["apis", group] => group_of(group).ok_or_else(|| unknown(call))?,
        ["apis", group, "v1"] if group_of(group).is_some() => resources(group, "v1"),
        ["openapi", "v3"] => openapi_index(),
        ["openapi", "v3", "api", "v1"] => openapi("", "v1"),
        ["openapi", "v3", "apis", group, "v1"] if group_of(group).is_some() => openapi(group, "v1"),
        _ => return Err(unknown(call)),
    };
    Ok(Answer::tree(StatusCode::OK, &tree))
}

fn unknown(call: &Call) -> Refusal {
    let message = format!("the simulated API server does not serve {} {}", call.method, call.path);
    Refusal::new(StatusCode::NOT_FOUND, "NotFound", message)
}

/// Everybody may do everything but what the settings deny.
fn review(call: &Call, segments: &[&str], denied: &BTreeSet<String>) -> Served<Answer> {
    let ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] = segments else {
        return Err(unknown(call));
    };
    let mut review = call.json()?;
    let asked = |key: &str| {
        let path = format!("/spec/resourceAttributes/{key}");
        review.pointer(&path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let allowed = !denied.contains(&format!("{} {}", asked("verb"), asked("resource")));
    super::json::set(&mut review, &["status"], json!({"allowed": allowed}));
    Ok(Answer::tree(StatusCode::CREATED, &review))
}

fn health(call: &Call) -> Answer {
    if call.query.has("verbose") {
        let checks = ["ping", "log", "etcd", "etcd-readiness", "informer-sync", "shutdown"];
        let lines: String = checks.map(|check| format!("[+]{check} ok\n")).concat();
        let name = call.path.trim_matches('/');
        return Answer::text(StatusCode::OK, format!("{lines}{name} check passed\n"));
    }
    Answer::text(StatusCode::OK, "ok")
}

fn version(version: &str) -> Value {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    json!({
        "major": major, "minor": minor, "gitVersion": version, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
        "emulationMajor": major, "emulationMinor": minor,
    })
}

fn group_names() -> BTreeSet<&'static str> {
    RESOURCES
        .iter()
        .map(|resource| resource.group)
        .filter(|group| !group.is_empty())
        .chain(["authorization.k8s.io"])
        .collect()
}

fn group_of(name: &str) -> Option<Value> {
    let name = group_names().into_iter().find(|group| *group == name)?;
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    Some(
        json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [version], "preferredVersion": version}),
    )
}

fn groups() -> Value {
    let groups: Vec<_> = group_names().into_iter().filter_map(group_of).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resources(group: &str, version: &str) -> Value {
    let mut rows = Vec::new();
    for resource in RESOURCES.iter().filter(|resource| resource.group == group) {
        rows.push(json!({
            "name": resource.plural, "singularName": resource.name.to_lowercase(), "namespaced": resource.namespaced,
            "kind": resource.name, "verbs": VERBS, "shortNames": resource.short, "categories": categories(resource),
        }));
        rows.extend(resource.subresources.iter().map(|subresource| subresource_row(resource, subresource)));
    }
    if group == "authorization.k8s.io" {
        rows.push(json!({
            "name": "selfsubjectaccessreviews", "singularName": "selfsubjectaccessreview", "namespaced": false,
            "kind": "SelfSubjectAccessReview", "verbs": ["create"],
        }));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows})
}

fn categories(resource: &Resource) -> &'static [&'static str] {
    match resource.kind {
        Kind::Pod
        | Kind::Service
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::Job => &["all"],
        _ => &[],
    }
}

fn subresource_row(resource: &Resource, subresource: &str) -> Value {
    let (kind, group, verbs): (&str, &str, &[&str]) = match subresource {
        "eviction" => ("Eviction", "policy", &["create"]),
        "binding" => ("Binding", "", &["create"]),
        "scale" => ("Scale", "autoscaling", &["get", "patch", "update"]),
        _ => (resource.name, resource.group, &["get", "patch", "update"]),
    };
    json!({
        "name": format!("{}/{subresource}", resource.plural), "singularName": "", "namespaced": resource.namespaced,
        "kind": kind, "group": group, "version": "v1", "verbs": verbs,
    })
}

fn openapi_index() -> Value {
    let mut paths = Map::new();
    let groups = group_names().into_iter().map(|group| format!("apis/{group}/v1"));
    for path in groups.chain(["api/v1".to_owned()]) {
        let url = json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash=1")});
        paths.insert(path, url);
    }
    json!({"paths": paths})
}

/// No schemas: only the paths and the parameters by which kubectl finds that the server validates by itself.
fn openapi(group: &str, version: &str) -> Value {
    let mut paths = Map::new();
    for resource in RESOURCES.iter().filter(|resource| resource.group == group) {
        let root =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let namespace = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let parameters: Vec<_> = ["dryRun", "fieldManager", "fieldValidation", "force"]
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
            .collect();
        let patch = json!({
            "parameters": parameters, "x-kubernetes-action": "patch", "responses": {},
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": resource.name},
        });
        paths.insert(format!("{root}{namespace}/{}/{{name}}", resource.plural), json!({"patch": patch}));
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "simulated"}, "paths": paths, "components": {"schemas": {}}})
}

impl Cluster {
    /// The lowest version among the API servers' static pods; the cluster's own where there are none.
    pub fn served_version(&self) -> String {
        let pods = self.store.range(Kind::Pod, "kube-system", None);
        let versions =
            pods.filter(|pod| pod.label("component") == Some("kube-apiserver")).filter_map(|pod| {
                let image =
                    list(pod.tree(), &["spec", "containers"]).first().map(|first| text(first, &["image"]))?;
                image.rsplit_once(':').map(|(_, tag)| tag.to_owned())
            });
        versions.min_by_key(|version| numbers(version)).unwrap_or_else(|| self.settings.version.clone())
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .trim_start_matches('v')
        .split(['.', '-', '+'])
        .map(|part| part.parse().unwrap_or_default())
        .collect()
}
