//! What the core answers a request with; the server around it turns this into HTTP.

use super::object::Object;
use super::request::{Call, View};
use super::resource::Kind;
use super::status::Refusal;
use super::table;
use super::watch::Subscription;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use std::sync::Arc;

/// Status, headers and body, or a watch that goes on.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    Full(Bytes),
    Watch(Box<Subscription>),
}

impl Answer {
    pub(super) fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: Body::Full(body.into()) }
    }

    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        Self::bytes(status, "application/json", value.to_string())
    }

    pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::bytes(status, "text/plain; charset=utf-8", text)
    }

    pub(super) fn object(status: StatusCode, object: &Object, view: View, now: Timestamp) -> Self {
        match view {
            View::Full => Self::bytes(status, "application/json", object.body()),
            View::Metadata => Self::json(status, &metadata(object)),
            View::Table => {
                let version = object.version.to_string();
                Self::json(status, &table::render(object.kind, std::iter::once(object), &version, true, now))
            }
        }
    }

    /// The object in the version that the request named.
    pub(super) fn written(status: StatusCode, object: &Object, call: &Call, now: Timestamp) -> Self {
        match &call.place {
            Some(place) if place.resource.kind == Kind::Event && call.view == View::Full => {
                Self::json(status, &super::events::modern(object.tree()))
            }
            _ => Self::object(status, object, call.view, now),
        }
    }

    pub(super) fn tree(status: StatusCode, tree: &Value) -> Self {
        Self::json(status, tree)
    }

    pub(super) fn watch(subscription: Subscription) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status: StatusCode::OK, headers, body: Body::Watch(Box::new(subscription)) }
    }

    /// Says when it was made, as every HTTP server does.
    pub(super) fn dated(&mut self, at: Timestamp) {
        let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default();
        if let Ok(value) = HeaderValue::from_str(&text) {
            self.headers.insert(header::DATE, value);
        }
    }

    /// The body, where it is not a watch.
    pub fn full(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Full(bytes) => Some(bytes),
            Body::Watch(_) => None,
        }
    }
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        let mut answer = Self::json(refusal.code, &refusal.to_value());
        if let Some(wait) = refusal.retry_after {
            answer.headers.insert(header::RETRY_AFTER, wait.into());
        }
        answer
    }
}

/// An object cut down to `PartialObjectMetadata`.
pub(super) fn metadata(object: &Object) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object.tree().get("metadata").cloned().unwrap_or(Value::Null),
    })
}

/// A page of a list.
pub(super) struct Page {
    pub objects: Vec<Arc<Object>>,
    pub version: u64,
    pub next: String,
    pub remaining: Option<usize>,
}

impl Page {
    pub(super) fn answer(&self, kind: Kind, view: View, now: Timestamp) -> Answer {
        let resource = kind.resource();
        let version = self.version.to_string();
        match view {
            View::Table => {
                let mut table =
                    table::render(kind, self.objects.iter().map(AsRef::as_ref), &version, true, now);
                super::json::set(&mut table, &["metadata"], self.metadata());
                Answer::json(StatusCode::OK, &table)
            }
            View::Metadata => {
                let items: Vec<_> =
                    self.objects.iter().map(|object| metadata(object).to_string().into()).collect();
                self.join("PartialObjectMetadataList", "meta.k8s.io/v1", &items)
            }
            View::Full if kind == Kind::Event => {
                let items: Vec<_> = self
                    .objects
                    .iter()
                    .map(|object| super::events::modern(object.tree()).to_string().into())
                    .collect();
                self.join("EventList", &resource.api_version(), &items)
            }
            View::Full => {
                let items: Vec<_> = self.objects.iter().map(|object| object.body()).collect();
                self.join(&format!("{}List", resource.name), &resource.api_version(), &items)
            }
        }
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if !self.next.is_empty() {
            super::json::set(&mut metadata, &["continue"], self.next.clone());
            if let Some(remaining) = self.remaining {
                super::json::set(&mut metadata, &["remainingItemCount"], remaining);
            }
        }
        metadata
    }

    fn join(&self, kind: &str, api_version: &str, items: &[Bytes]) -> Answer {
        let head = format!(
            "{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{},\"items\":[",
            self.metadata()
        );
        let mut body =
            Vec::with_capacity(head.len() + items.iter().map(|item| item.len() + 1).sum::<usize>() + 3);
        body.extend_from_slice(head.as_bytes());
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                body.push(b',');
            }
            body.extend_from_slice(item);
        }
        body.extend_from_slice(b"]}\n");
        Answer::bytes(StatusCode::OK, "application/json", body)
    }
}
