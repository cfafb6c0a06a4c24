//! A request taken apart: what it is about, how it asks, and what it will accept as an answer.

use super::protobuf;
use super::resource::Resource;
use super::status::{Refusal, Served};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::Value;

/// One request to the API.
#[derive(Debug)]
pub(super) struct Call {
    pub method: Method,
    pub path: String,
    pub query: Query,
    pub place: Option<Place>,
    pub body: Bytes,
    pub content_type: String,
    pub view: View,
    pub agent: String,
}

/// An object, a collection or a subresource.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub resource: &'static Resource,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
}

/// In which shape objects are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Full,
    Metadata,
    Table,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(key), decode(value))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    pub(super) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, _)| name == key)
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.has(key) && !matches!(self.get(key), "false" | "0")
    }

    pub(super) fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key).parse().ok()
    }
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (hex(bytes.next()), hex(bytes.next()));
                let code = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                out.push(code.unwrap_or(b'?'));
            }
            plain => out.push(plain),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Call {
    pub(super) fn new(request: Request<Bytes>) -> Served<Self> {
        let (parts, body) = request.into_parts();
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned();
        let path = parts.uri.path().to_owned();
        Ok(Self {
            place: place(&path),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            view: view(&parts.headers)?,
            agent: text(header::USER_AGENT).to_owned(),
            method: parts.method,
            content_type,
            path,
            body,
        })
    }

    /// The verb of the audit log.
    pub(super) fn verb(&self) -> &'static str {
        let named = self.place.as_ref().is_some_and(|place| !place.name.is_empty());
        match self.method {
            Method::GET if self.query.flag("watch") => "watch",
            Method::GET if named => "get",
            Method::GET if self.place.is_some() => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if named => "delete",
            Method::DELETE => "deletecollection",
            _ => "get",
        }
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.query.get("dryRun") == "All"
    }

    /// The body as JSON. An empty one reads as null.
    pub(super) fn json(&self) -> Served<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        if self.content_type == protobuf::CONTENT_TYPE {
            return protobuf::decode_envelope(&self.body);
        }
        if !matches!(self.content_type.as_str(), "" | "application/json") {
            return Err(unsupported(&self.content_type));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Refusal::bad_request(format!("the object provided is unrecognized: {error}")))
    }
}

pub(super) fn unsupported(content_type: &str) -> Refusal {
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaType",
        format!("the simulated API server does not serve bodies of type {content_type}"),
    )
}

/// Picks the first shape in the Accept header that is served.
fn view(headers: &HeaderMap) -> Served<View> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    for choice in accept.split(',') {
        let mut parts = choice.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let shape = parts.find_map(|part| part.strip_prefix("as="));
        match (kind, shape) {
            ("application/json", Some("Table")) => return Ok(View::Table),
            ("application/json", Some("PartialObjectMetadata" | "PartialObjectMetadataList")) => {
                return Ok(View::Metadata);
            }
            ("application/json" | "application/*" | "*/*" | "", None) => return Ok(View::Full),
            ("text/plain" | "application/com.github.proto-openapi.spec.v3@v1.0+protobuf", None) => {
                return Ok(View::Full);
            }
            _ => {}
        }
    }
    Err(Refusal::new(
        StatusCode::NOT_ACCEPTABLE,
        "NotAcceptable",
        "only the following media types are accepted: application/json",
    ))
}

fn place(path: &str) -> Option<Place> {
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect();
    let segments: Vec<_> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        _ => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, subresource] => (*plural, *name, *subresource),
        _ => return None,
    };
    let resource = Resource::find(group, version, plural)?;
    let fits = resource.namespaced || namespace.is_empty();
    let place = |name: &str| Place {
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    };
    fits.then(|| place(name))
}
