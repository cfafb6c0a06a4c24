//! Refusals in the words of a real API server: every one becomes a `Status` object.

use super::resource::Resource;
use http::StatusCode;
use serde_json::{Map, Value, json};

/// Why a request was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub code: StatusCode,
    pub reason: &'static str,
    pub message: String,
    pub details: Map<String, Value>,
    pub retry_after: Option<u32>,
}

pub(super) type Served<T> = Result<T, Refusal>;

impl Refusal {
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Map::new(), retry_after: None }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details.insert("kind".into(), resource.plural.into());
        if !resource.group.is_empty() {
            self.details.insert("group".into(), resource.group.into());
        }
        if !name.is_empty() {
            self.details.insert("name".into(), name.into());
        }
        self
    }

    pub(super) fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }

    pub(super) fn cause(self, reason: &str, message: &str, field: Option<&str>) -> Self {
        let mut cause = json!({"reason": reason, "message": message});
        if let (Some(field), Some(map)) = (field, cause.as_object_mut()) {
            map.insert("field".into(), field.into());
        }
        let mut causes = self.details.get("causes").and_then(Value::as_array).cloned().unwrap_or_default();
        causes.push(cause);
        self.detail("causes", causes)
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
    }

    pub(super) fn exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name)
    }

    pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name)
    }

    pub(super) fn modified(resource: &Resource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(super) fn invalid(resource: &Resource, name: &str, field: &str, why: &str) -> Self {
        Self::invalid_options(resource.name, resource.group, name, field, why)
    }

    /// As for objects; options and subresources are validated under kinds of their own.
    pub(super) fn invalid_options(kind: &str, group: &str, name: &str, field: &str, why: &str) -> Self {
        let dotted = if group.is_empty() { String::new() } else { format!(".{group}") };
        let message = format!("{kind}{dotted} {name:?} is invalid: {field}: {why}");
        let reason = if why.starts_with("Required") {
            "FieldValueRequired"
        } else if why.starts_with("Forbidden") {
            "FieldValueForbidden"
        } else {
            "FieldValueInvalid"
        };
        let mut refusal = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
            .detail("kind", kind)
            .cause(reason, why, Some(field));
        for (key, value) in [("group", group), ("name", name)] {
            if !value.is_empty() {
                refusal = refusal.detail(key, value);
            }
        }
        refusal
    }

    pub(super) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(resource, name)
    }

    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    pub(super) fn unserved(what: &str) -> Self {
        let message = format!("the simulated API server does not serve {what}");
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message)
    }

    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    pub(super) fn too_many(message: &str, retry_after: Option<u32>) -> Self {
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        if let Some(wait) = retry_after {
            refusal.retry_after = Some(wait);
            refusal.details.insert("retryAfterSeconds".into(), wait.into());
        }
        refusal
    }

    pub(super) fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code.as_u16(),
        });
        if let Some(map) = status.as_object_mut() {
            if !self.reason.is_empty() {
                map.insert("reason".into(), self.reason.into());
            }
            if !matches!(self.reason, "" | "BadRequest") || !self.details.is_empty() {
                map.insert("details".into(), Value::Object(self.details.clone()));
            }
        }
        status
    }
}
