//! Reads the manifests of addons: plain objects of Kubernetes, each with its place. A scalar without quotes is what kubectl
//! reads it as (`sigs.k8s.io/yaml`, YAML 1.1); what readers of YAML disagree on needs quotes.

use std::sync::Arc;

use serde_json::{Map, Number, Value as Json, json};
use sha2::{Digest, Sha256};

use super::problem::{Place, Problem, Problems, quoted};
use super::tree::{MANIFESTS, MapKey, Value, YamlNode, documents_within};
use super::values::is_name;
use crate::model::addon::{Addon, AddonManifests, AddonSource};
use crate::model::desired::Cluster;
use crate::model::label_value::label_value;
use crate::model::manifest::{AllManifests, Manifest, ObjectRef};
use crate::model::names::{ADDON, ADDON_VERSION, MANIFEST};

/// More objects than any addon has.
const MOST_OBJECTS: usize = 1_000;

/// The longest name of an object.
const LONGEST_NAME: usize = 253;

/// The manifests of one file.
#[derive(Default)]
pub(super) struct ManifestFile<'f> {
    path: &'f str,
    text: &'f str,
    objects: Vec<PlacedObject>,
}

struct PlacedObject {
    object: ObjectRef,
    body: Json,
    place: Place,
}

/// A file that could not be read, as it was reported.
pub(super) fn unread_file(path: &str) -> ManifestFile<'_> {
    ManifestFile { path, ..ManifestFile::default() }
}

/// Reads a file below the folder of an addon: any number of objects.
pub(super) fn manifest_file<'f>(path: &'f str, text: &'f str) -> (ManifestFile<'f>, Vec<Problem>) {
    let mut problems = Problems::new(path, text);
    let mut objects = Vec::new();
    for node in documents_within(text, MANIFESTS, &mut problems) {
        let place = first_key(&node).unwrap_or(node.place);
        let Some(body) = json_of(&node, &mut problems) else { continue };
        for body in items_of(body) {
            let told = problems.count();
            let object = object_of(&body, place, &mut problems);
            if let Some(object) = object.filter(|_| problems.count() == told) {
                objects.push(PlacedObject { object, body, place });
            }
        }
    }
    // The source line may show a value of a Secret.
    let hidden = |problem: Problem| Problem { source_line: None, ..problem };
    (ManifestFile { path, text, objects }, problems.into_list().into_iter().map(hidden).collect())
}

/// Gives each addon the objects of its folder, and reports what no addon has, and what two have.
pub(super) fn attach(cluster: &mut Cluster, files: &[ManifestFile<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let base = format!("desired-state/{}", cluster.name);
    let mut read = vec![false; files.len()];
    let mut seen: Vec<(&PlacedObject, &ManifestFile<'_>)> = Vec::new();
    let name = cluster.name.clone();
    for addon in &mut cluster.addons {
        let label = label_value(&format!("{name}.{}", addon.name)).label;
        let AddonSource::Manifests(of) = &addon.source else { continue };
        let folder = format!("{base}/{}/", of.folder);
        let mut objects = Vec::new();
        let mut any = false;
        for (file, read) in files.iter().zip(&mut read).filter(|(file, _)| file.path.starts_with(&folder)) {
            (*read, any) = (true, true);
            for placed in &file.objects {
                if let Some((known, other)) =
                    seen.iter().find(|(other, _)| other.object.is_same_as(&placed.object))
                {
                    let text = format!("{} is in {} too", placed.object, place_of(known, other));
                    problems.push(
                        Problem {
                            source_line: None,
                            ..Problem::at(file.path, file.text, placed.place, text)
                        }
                        .fixed_by("remove one of the two"),
                    );
                    continue;
                }
                seen.push((placed, file));
                objects.push(placed.manifest(file, &label, &addon.version));
            }
        }
        if !any {
            let text = format!(
                "the addon {} has no manifests: there is no YAML file in {folder}",
                quoted(&addon.name)
            );
            problems.push(Problem::of(&format!("{base}/cluster.yaml"), text));
        }
        if objects.len() > MOST_OBJECTS {
            let text = format!("{} objects; at most {MOST_OBJECTS} of an addon are read", objects.len());
            problems.push(Problem::of(&folder, text));
        }
        give(addon, label, objects);
    }
    let mut all = AllManifests::default();
    let manifests = |addons: &mut Vec<Addon>, then: &mut dyn FnMut(&mut AddonManifests)| {
        for addon in addons {
            if let AddonSource::Manifests(of) = &mut addon.source {
                then(of);
            }
        }
    };
    manifests(&mut cluster.addons, &mut |of| of.objects.iter().for_each(|manifest| all.add(manifest)));
    let all = Arc::new(all);
    manifests(&mut cluster.addons, &mut |of| {
        // What others have decides what is not deleted.
        of.digest = sha256(&json!([of.digest, all.objects]));
        of.all = Arc::clone(&all);
    });
    for (file, _) in files.iter().zip(read).filter(|(_, read)| !read) {
        problems.push(
            Problem::of(file.path, "no addon of the cluster has this file").fixed_by(
                "name its folder in an addon, as in `manifests: addons/coredns`, or remove the file",
            ),
        );
    }
    problems
}

fn give(addon: &mut Addon, label: String, objects: Vec<Manifest>) {
    let version = addon.version.clone();
    if let AddonSource::Manifests(of) = &mut addon.source {
        let bodies: Vec<(&ObjectRef, &str)> =
            objects.iter().map(|manifest| (&manifest.object, manifest.digest.as_str())).collect();
        of.digest = sha256(&json!([version, label, &*of.take_over, bodies]));
        of.label = label;
        of.objects = objects.into();
    }
}

impl PlacedObject {
    /// The object as it is applied: with the label that says whose it is, and what was applied last.
    fn manifest(&self, file: &ManifestFile<'_>, label: &str, version: &str) -> Manifest {
        let digest = sha256(&self.body);
        let mut body = self.body.clone();
        if let Some(Json::Object(metadata)) = body.get_mut("metadata") {
            put(metadata, "labels", ADDON, label);
            put(metadata, "annotations", ADDON_VERSION, version);
            put(metadata, "annotations", MANIFEST, &digest);
        }
        Manifest { object: self.object.clone(), place: place_of(self, file), body, digest }
    }
}

/// `desired-state/prod/addons/coredns/coredns.yaml:12`.
fn place_of(object: &PlacedObject, file: &ManifestFile<'_>) -> String {
    format!("{}:{}", file.path, object.place.line)
}

fn put(metadata: &mut Map<String, Json>, map: &str, key: &str, value: &str) {
    let entry = metadata.entry(map).or_insert_with(|| json!({}));
    if entry.is_null() {
        *entry = json!({});
    }
    if let Json::Object(entries) = entry {
        entries.insert(key.to_owned(), value.into());
    }
}

/// In hexadecimal. Maps are written in the order of their keys, so the order in a file does not count.
fn sha256(value: &Json) -> String {
    use std::fmt::Write as _;
    Sha256::digest(value.to_string().as_bytes()).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The items of a `List`, as kubectl takes it apart; any other object is itself.
fn items_of(body: Json) -> Vec<Json> {
    match (body.get("kind").and_then(Json::as_str), body.get("items")) {
        (Some("List"), Some(Json::Array(items))) => items.clone(),
        _ => vec![body],
    }
}

fn object_of(body: &Json, place: Place, problems: &mut Problems<'_>) -> Option<ObjectRef> {
    let text = |path: &str| body.pointer(path).and_then(Json::as_str).filter(|text| !text.is_empty());
    let mut needed = |path: &str, key: &str| {
        let found = text(path).map(str::to_owned);
        if found.is_none() {
            problems.push_fix(
                place,
                format_args!("an object without {}", quoted(key)),
                "an addon's folder has plain objects of Kubernetes, each with `apiVersion`, `kind` and `metadata.name`",
            );
        }
        found
    };
    let (api_version, kind) = (needed("/apiVersion", "apiVersion"), needed("/kind", "kind"));
    let name = if text("/metadata/generateName").is_some() && text("/metadata/name").is_none() {
        problems.push_fix(
            place,
            "an object with `metadata.generateName`",
            "give it a `metadata.name`: each look would make another object",
        );
        None
    } else {
        needed("/metadata/name", "metadata.name")
    };
    for (path, why) in [
        ("/metadata/uid", "the file was read from a cluster"),
        ("/metadata/resourceVersion", "the file was read from a cluster"),
        ("/metadata/managedFields", "the file was read from a cluster"),
    ] {
        if body.pointer(path).is_some() {
            let key = path.trim_start_matches('/').replace('/', ".");
            problems.push_fix(
                place,
                format_args!("an object with {}: {why}", quoted(&key)),
                "remove the key",
            );
        }
    }
    for (map, keys) in [("labels", [ADDON, ADDON]), ("annotations", [ADDON_VERSION, MANIFEST])] {
        let Some(found) = body.pointer("/metadata").and_then(|metadata| metadata.get(map)) else { continue };
        match found.as_object() {
            Some(entries) if keys.iter().any(|key| entries.contains_key(*key)) => problems.push_fix(
                place,
                format_args!("an object with a key of Windlass in `metadata.{map}`"),
                "remove the key: Windlass writes it",
            ),
            None if !found.is_null() => {
                problems.push(place, format_args!("`metadata.{map}` is not keys with values"));
            }
            Some(_) | None => {}
        }
    }
    let namespace = text("/metadata/namespace").map(str::to_owned);
    // The API server would refuse it in words that have the value.
    for map in ["data", "stringData"].into_iter().filter(|_| kind.as_deref() == Some("Secret")) {
        let entries = body.get(map).and_then(Json::as_object).into_iter().flatten();
        for (key, _) in entries.filter(|(_, value)| !value.is_string()) {
            let text = format_args!("the value of {} in `{map}` is no text", quoted(key));
            problems.push_fix(place, text, "put it into quotes");
        }
    }
    let object = ObjectRef { api_version: api_version?, kind: kind?, namespace, name: name? };
    if is_addressable(&object) {
        return Some(object);
    }
    problems.push(place, format_args!("{} is no name of an object", quoted(&object.to_string())));
    None
}

/// True if every part of the address can be a part of a path.
fn is_addressable(object: &ObjectRef) -> bool {
    let part = |text: &str| {
        text.len() <= LONGEST_NAME
            && !matches!(text, "." | "..")
            && !text
                .chars()
                .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '/' | '%' | '?' | '#' | '\\'))
    };
    let mut version = object.api_version.split('/');
    let versions = [version.next(), version.next()];
    version.next().is_none()
        && versions.into_iter().flatten().all(|text| !text.is_empty() && part(text))
        && object.kind.chars().all(|c| c.is_ascii_alphanumeric())
        && part(&object.name)
        && object.namespace.as_deref().is_none_or(is_name)
}

fn first_key(node: &YamlNode) -> Option<Place> {
    match &node.value {
        Value::Map(entries) => entries.first().map(|(MapKey { place, .. }, _)| *place),
        _ => None,
    }
}

/// The node as JSON. What cannot be read is reported, and nothing of its object is used.
fn json_of(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Json> {
    Some(match &node.value {
        Value::Nothing => Json::Null,
        Value::Text { text, plain: false } => Json::from(text.as_str()),
        Value::Text { text, plain: true } => scalar_of(text, node.place, problems)?,
        Value::List(items) => {
            let read: Vec<Option<Json>> = items.iter().map(|item| json_of(item, problems)).collect();
            Json::Array(read.into_iter().collect::<Option<_>>()?)
        }
        Value::Map(entries) => {
            let read: Vec<Option<(String, Json)>> = entries
                .iter()
                .map(|(key, node)| Some((key.text.clone(), json_of(node, problems)?)))
                .collect();
            Json::Object(read.into_iter().collect::<Option<_>>()?)
        }
        Value::Broken => return None,
    })
}

/// Words that kubectl reads as true or false, and readers of YAML 1.2 as text.
const EITHER: [&str; 6] = ["y", "yes", "on", "n", "no", "off"];

fn scalar_of(text: &str, place: Place, problems: &mut Problems<'_>) -> Option<Json> {
    if let Some(read) = plain_scalar(text) {
        return Some(read);
    }
    let lower = text.to_ascii_lowercase();
    if EITHER.contains(&lower.as_str()) {
        problems.push_fix(
            place,
            format_args!("kubectl reads {} as true or false, and other readers as text", quoted(text)),
            "write `true` or `false`, or put it into quotes",
        );
        return None;
    }
    if matches!(lower.trim_start_matches(['+', '-']), ".inf" | ".nan") {
        problems.push(place, format_args!("{} is no number that Kubernetes has", quoted(text)));
        return None;
    }
    Some(Json::from(text))
}

/// Up to here a floating point number has every whole number.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// A boolean or a number as YAML 1.1 has it; `None` for text.
fn plain_scalar(text: &str) -> Option<Json> {
    match text {
        "true" | "True" | "TRUE" => return Some(Json::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Json::Bool(false)),
        _ => {}
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let whole = digits.replace('_', "");
    let based = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8), ("", 10)];
    let (digits, base) =
        based.into_iter().find_map(|(prefix, base)| Some((whole.strip_prefix(prefix)?, base)))?;
    let digits = if digits.is_empty() && whole == "0" { "0" } else { digits };
    if let Ok(number) = u64::from_str_radix(digits, base)
        .map_err(drop)
        .and_then(|number| if digits.starts_with('+') { Err(()) } else { Ok(number) })
    {
        return if negative {
            i64::try_from(number).ok().map(|number| Json::from(-number))
        } else {
            Some(Json::from(number))
        };
    }
    let decimal = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if !text.chars().all(decimal) || text.matches('.').count() > 1 {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    // A number without a fraction is whole for kubectl, however it is written.
    let whole = number.fract() == 0.0 && number.abs() < LARGEST_WHOLE;
    if let Some(number) = whole.then(|| format!("{number:.0}").parse::<i64>().ok()).flatten() {
        return Some(Json::from(number));
    }
    Number::from_f64(number).map(Json::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_is_what_kubectl_reads() {
        for (text, value) in [
            ("0644", json!(420)),
            ("0", json!(0)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("-7", json!(-7)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000)),
            ("09", json!(9)),
            ("2.0", json!(2)),
            ("True", json!(true)),
        ] {
            assert_eq!(plain_scalar(text), Some(value), "{text}");
        }
        for text in [
            "1.2.3",
            "10m",
            "128Mi",
            "v1",
            "0.0.0.0",
            "1.30.0-rc.1",
            "2026-11-27",
            "-",
            "+",
            ".",
            "e3",
            "--1",
        ] {
            assert_eq!(plain_scalar(text), None, "{text}");
        }
    }

    #[test]
    fn an_object_is_read_as_it_is_applied() {
        let text = "# a comment\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\ndata: {mode: \"0644\"}\n";
        let (file, problems) = manifest_file("a.yaml", text);
        assert!(problems.is_empty(), "{problems:?}");
        let [placed] = file.objects.as_slice() else { panic!() };
        assert_eq!(placed.object.to_string(), "configmap/b/a");
        let manifest = placed.manifest(&file, "prod.a", "1.2");
        assert_eq!(manifest.place, "a.yaml:3");
        let label = manifest.body.pointer("/metadata/labels/windlass.dev~1addon");
        assert_eq!(label, Some(&json!("prod.a")));
        let version = manifest.body.pointer("/metadata/annotations/windlass.dev~1addon-version");
        assert_eq!(version, Some(&json!("1.2")));
    }
}
