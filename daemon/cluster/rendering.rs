//! Reads what helm renders: plain objects of Kubernetes, as helm itself reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::model::helm::{ReleaseAsked, ReleaseRef};
use crate::model::manifest::{Manifest, ObjectRef};
use crate::model::names::{MANAGED_BY, RELEASE_NAME, RELEASE_NAMESPACE};

/// Where objects are that name no namespace, and which kinds are in one.
pub(super) struct Places<'a> {
    pub(super) namespace: &'a str,
    /// Whether the objects of a kind are in namespaces; `None` if that is not known.
    pub(super) is_namespaced: &'a (dyn Fn(&str, &str) -> Option<bool> + Sync),
}

/// An object as it was rendered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rendered {
    pub(super) object: ObjectRef,
    pub(super) value: Value,
    /// True if the chart has it in `crds/`.
    pub(super) first: bool,
}

/// The objects of a rendering, in its order.
pub(super) fn objects_of(text: &str, places: &Places<'_>) -> Result<Vec<Rendered>, String> {
    // As `sigs.k8s.io/yaml` reads it, by which helm sends it.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let mut objects: Vec<(Value, bool)> = Vec::new();
    let mut first = false;
    for document in documents(text) {
        // A file of several documents is named before the first of them.
        if let Some(source) = document.lines().find_map(|line| line.strip_prefix("# Source: ")) {
            first = is_of_crds(source);
        }
        let value: Option<Value> =
            serde_saphyr::from_str_with_options(&document, options.clone()).map_err(|error| {
                format!("what helm renders cannot be read: {}", first_line(&error.to_string()))
            })?;
        objects.extend(value.filter(|value| !value.is_null()).map(|value| (value, first)));
    }
    let definitions: BTreeMap<(String, String), bool> =
        objects.iter().filter_map(|(object, _)| defined(object)).collect();
    let mut all = Vec::new();
    for (object, first) in objects
        .into_iter()
        .flat_map(|(object, first)| items(object).into_iter().map(move |item| (item, first)))
    {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let (Some(api_version), Some(kind), Some(name)) =
            (text("/apiVersion"), text("/kind"), text("/metadata/name"))
        else {
            return Err("helm renders an object without apiVersion, kind or name".to_owned());
        };
        let group = api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
        let namespaced = (places.is_namespaced)(&api_version, &kind)
            .or_else(|| definitions.get(&(group, kind.clone())).copied())
            .unwrap_or(true);
        let namespace =
            namespaced.then(|| text("/metadata/namespace").unwrap_or_else(|| places.namespace.to_owned()));
        let of = ObjectRef { api_version, kind, namespace, name };
        all.push(Rendered { object: of, value: object, first });
    }
    Ok(all)
}

/// The documents of a stream, each after a line that begins with the marker.
fn documents(text: &str) -> Vec<String> {
    let is_marker = |line: &str| {
        line.strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '#']))
    };
    let mut all = vec![String::new()];
    for line in text.lines() {
        if is_marker(line) {
            all.push(String::new());
        } else if let Some(document) = all.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    all.retain(|document| document.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    all
}

/// True for a file in `crds/` of a chart or of one within it: `web/crds/a.yaml`, `web/charts/db/crds/a.yaml`.
fn is_of_crds(source: &str) -> bool {
    let mut parts = source.split('/').skip(1);
    loop {
        match parts.next() {
            Some("crds") => return true,
            Some("charts") => drop(parts.next()),
            Some(_) | None => return false,
        }
    }
}

/// The kind that a definition brings, and whether its objects are in namespaces.
fn defined(object: &Value) -> Option<((String, String), bool)> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let key = (text("/spec/group")?.to_owned(), text("/spec/names/kind")?.to_owned());
    (text("/kind") == Some("CustomResourceDefinition"))
        .then(|| (key, text("/spec/scope") == Some("Namespaced")))
}

/// The objects of a list, or the object itself.
fn items(object: Value) -> Vec<Value> {
    let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match object.get("items").and_then(Value::as_array) {
        Some(items) if is_list => items.clone(),
        _ => vec![object],
    }
}

/// The objects as helm sends them.
pub(super) fn manifests_of(objects: &[Rendered], asked: &ReleaseAsked) -> Arc<[Manifest]> {
    let chart = asked.chart.to_string();
    objects.iter().map(|of| manifest_of(of, &asked.release, &chart)).collect()
}

/// An object as helm sends it: with its namespace, and with the marks by which helm knows it.
pub(super) fn manifest_of(
    Rendered { object, value, first }: &Rendered,
    release: &ReleaseRef,
    chart: &str,
) -> Manifest {
    let mut body = value.clone();
    if let Some(Value::Object(metadata)) = body.get_mut("metadata") {
        if let Some(namespace) = &object.namespace {
            metadata.insert("namespace".to_owned(), namespace.as_str().into());
        }
        if !first {
            put(metadata, "labels", MANAGED_BY, "Helm");
            put(metadata, "annotations", RELEASE_NAME, &release.name);
            put(metadata, "annotations", RELEASE_NAMESPACE, &release.namespace);
        }
    }
    let digest = format!("sha256:{:x}", Sha256::digest(body.to_string().as_bytes()));
    Manifest { object: object.clone(), place: chart.to_owned(), body, digest }
}

fn put(metadata: &mut Map<String, Value>, map: &str, key: &str, value: &str) {
    let entry = metadata.entry(map).or_insert_with(|| Value::Object(Map::new()));
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    if let Value::Object(map) = entry {
        map.insert(key.to_owned(), value.into());
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_as_helm_reads_them() {
        let text = "---\n# Source: web/templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  \
                    mode: 0644\n  flag: yes\n  time: 12:30\n---\n# Source: web/templates/none.yaml\n---\napiVersion: v1\nkind: \
                    List\nitems:\n- apiVersion: rbac.authorization.k8s.io/v1\n  kind: ClusterRole\n  metadata: {name: b}\n";
        let is_namespaced = |_: &str, kind: &str| Some(kind != "ClusterRole");
        let places = Places { namespace: "shop", is_namespaced: &is_namespaced };
        let objects = objects_of(text, &places).unwrap();
        let names: Vec<String> = objects.iter().map(|of| of.object.to_string()).collect();
        assert_eq!(names, ["configmap/shop/a", "clusterrole/b"]);
        let data = objects.first().unwrap().value.get("data").unwrap();
        assert_eq!(data.to_string(), r#"{"flag":true,"mode":420,"time":"12:30"}"#);
    }

    /// A file of `crds/` is printed as it is, with all its documents, and named once.
    #[test]
    fn only_what_a_chart_has_in_crds_comes_first() {
        let object = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        let text = format!(
            "---\n# Source: web/crds/a.yaml\n{}--- # next\r\n{}---\n# Source: web/templates/crds/c.yaml\n{}---\n# Source: web/charts/crds/templates/d.yaml\n{}---\n# Source: web/charts/db/crds/e.yaml\n{}",
            object("a"),
            object("b"),
            object("c"),
            object("d"),
            object("e")
        );
        let places = Places { namespace: "shop", is_namespaced: &|_: &str, _: &str| None };
        let first: Vec<(String, bool)> =
            objects_of(&text, &places).unwrap().into_iter().map(|of| (of.object.name, of.first)).collect();
        let expected = [("a", true), ("b", true), ("c", false), ("d", false), ("e", true)];
        assert_eq!(first, expected.map(|(name, first)| (name.to_owned(), first)));
    }

    #[test]
    fn what_is_no_object_is_told() {
        let places = Places { namespace: "shop", is_namespaced: &|_: &str, _: &str| None };
        assert!(objects_of("kind: ConfigMap\n", &places).unwrap_err().contains("without apiVersion"));
        assert!(objects_of("a: [b\n", &places).unwrap_err().contains("cannot be read"));
    }
}
