//! Just enough protobuf for what `kubectl create` sends: the envelope, metadata, and maps of text.
//!
//! kubectl writes typed objects in this encoding and does not fall back to JSON. Config maps, namespaces and service
//! accounts are read; other kinds are refused by name.

use super::json::set;
use super::status::{Refusal, Served};
use http::StatusCode;
use serde_json::{Value, json};

pub(super) const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

/// A length-delimited field: its number and its bytes.
type Field<'a> = (u64, &'a [u8]);

pub(super) fn decode_envelope(body: &[u8]) -> Served<Value> {
    let broken = || Refusal::bad_request("the object provided is unrecognized: truncated protobuf");
    let envelope = body.strip_prefix(MAGIC).and_then(fields).ok_or_else(broken)?;
    let kind_fields = find(&envelope, 1).and_then(fields).ok_or_else(broken)?;
    let raw = find(&envelope, 2).unwrap_or_default();
    let (api_version, kind) = (string(find(&kind_fields, 1)), string(find(&kind_fields, 2)));
    let fields = fields(raw).ok_or_else(broken)?;
    let mut tree = json!({"apiVersion": api_version, "kind": kind});
    set(&mut tree, &["metadata"], find(&fields, 1).and_then(object_meta).unwrap_or_else(|| json!({})));
    match (api_version.as_str(), kind.as_str()) {
        ("v1", "ConfigMap") => {
            for (key, value) in entries(&fields, 2) {
                set(&mut tree, &["data", &key], value);
            }
        }
        // Reviews are answered without being read.
        ("v1", "Namespace" | "ServiceAccount") | ("authorization.k8s.io/v1", _) => {}
        _ => return Err(refusal(&format!("{api_version} {kind}"))),
    }
    Ok(tree)
}

fn refusal(what: &str) -> Refusal {
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        format!(
            "the simulated API server does not serve {what} as protobuf: send JSON, as kubectl apply and create -f do"
        ),
    )
}

fn object_meta(bytes: &[u8]) -> Option<Value> {
    let fields = fields(bytes)?;
    let mut metadata = json!({});
    for (number, name) in [(1, "name"), (2, "generateName"), (3, "namespace")] {
        let text = string(find(&fields, number));
        if !text.is_empty() {
            set(&mut metadata, &[name], text);
        }
    }
    for (number, name) in [(11, "labels"), (12, "annotations")] {
        for (key, value) in entries(&fields, number) {
            set(&mut metadata, &[name, &key], value);
        }
    }
    Some(metadata)
}

/// The entries of a map field.
fn entries(fields_of: &[Field<'_>], number: u64) -> Vec<(String, String)> {
    let maps = fields_of.iter().filter(|(found, _)| *found == number);
    maps.filter_map(|(_, bytes)| fields(bytes))
        .map(|entry| (string(find(&entry, 1)), string(find(&entry, 2))))
        .collect()
}

fn find<'a>(fields: &[Field<'a>], number: u64) -> Option<&'a [u8]> {
    fields.iter().find(|(found, _)| *found == number).map(|(_, bytes)| *bytes)
}

fn string(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// The length-delimited fields of a message; numbers are skipped.
fn fields(mut rest: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (tag, after) = varint(rest)?;
        rest = match tag & 7 {
            0 => varint(after)?.1,
            1 => after.get(8..)?,
            2 => {
                let (length, after) = varint(after)?;
                let length = usize::try_from(length).ok()?;
                all.push((tag >> 3, after.get(..length)?));
                after.get(length..)?
            }
            5 => after.get(4..)?,
            _ => return None,
        };
    }
    Some(all)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(place + 1..)?));
        }
    }
    None
}
