//! Reads what helm renders: plain objects of Kubernetes, as helm itself reads them.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::model::manifest::{Manifest, ObjectRef};

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
    for document in documents(text) {
        let source = document.lines().find_map(|line| line.strip_prefix("# Source: "));
        let first = source.is_some_and(|source| source.split('/').any(|part| part == "crds"));
        let value: Option<Value> =
            serde_saphyr::from_str_with_options(document, options.clone()).map_err(|error| {
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

/// The documents of a stream. The marker stands at the beginning of a line.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let all = text.strip_prefix("---\n").unwrap_or(text);
    all.split("\n---\n").filter(|document| {
        document.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#') && line.trim() != "---")
    })
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
    let is_list = object.get("kind").and_then(Value::as_str) == Some("List");
    match object.get("items").and_then(Value::as_array) {
        Some(items) if is_list => items.clone(),
        _ => vec![object],
    }
}

/// An object as it is compared: with its namespace.
pub(super) fn manifest_of(Rendered { object, value, .. }: &Rendered, chart: &str) -> Manifest {
    let mut body = value.clone();
    if let (Some(namespace), Some(Value::Object(metadata))) = (&object.namespace, body.get_mut("metadata")) {
        metadata.insert("namespace".to_owned(), namespace.as_str().into());
    }
    let digest = format!("sha256:{:x}", Sha256::digest(body.to_string().as_bytes()));
    Manifest { object: object.clone(), place: chart.to_owned(), body, digest }
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

    #[test]
    fn what_is_no_object_is_told() {
        let places = Places { namespace: "shop", is_namespaced: &|_: &str, _: &str| None };
        assert!(objects_of("kind: ConfigMap\n", &places).unwrap_err().contains("without apiVersion"));
        assert!(objects_of("a: [b\n", &places).unwrap_err().contains("cannot be read"));
    }
}
