//! Single writes, each with its precondition: a resourceVersion, a UID, or a name that must be free.

use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use serde_json::{Value, json};

use super::probe::read_lock;
use super::{CallError, ClusterApi, call};
use crate::live::WriteAnswer;
use crate::model::claim::Claim;
use crate::model::effect::{LeaseMove, NodePatch, RolloutPatch};
use crate::model::live::{CallFailure, Heard, NodeTaint, RefusalKind};
use crate::model::names::{
    CLAIM, HEARD, MANAGER, MOVED, MOVING, NAMESPACE, NOTES, RESUME, SCALE_DOWN_DISABLED, STATUS,
};

/// The merge patch of a node change, with its precondition.
fn body(patch: &NodePatch, taints: Option<&[NodeTaint]>, resource_version: &str) -> Value {
    let (annotations, unschedulable) = match patch {
        NodePatch::Claim(claim) => {
            let mut annotations = json!({CLAIM: text(claim)});
            if claim.cordoned {
                set(&mut annotations, SCALE_DOWN_DISABLED, json!("true"));
            }
            (annotations, claim.cordoned.then_some(json!(true)))
        }
        NodePatch::Note(claim) => (json!({CLAIM: text(claim)}), None),
        NodePatch::Release(claim) => {
            let mut annotations = json!({CLAIM: null});
            if claim.cordoned && !claim.scale_down_was_disabled {
                set(&mut annotations, SCALE_DOWN_DISABLED, Value::Null);
            }
            (annotations, (claim.cordoned && !claim.was_unschedulable).then_some(Value::Null))
        }
        NodePatch::Forget => (json!({CLAIM: null}), None),
        NodePatch::Taints => (json!({}), None),
    };
    let mut spec = json!({});
    if let Some(value) = unschedulable {
        set(&mut spec, "unschedulable", value);
    }
    if let Some(taints) = taints {
        set(&mut spec, "taints", taints.iter().map(taint).collect());
    }
    json!({"metadata": {"resourceVersion": resource_version, "annotations": annotations}, "spec": spec})
}

fn taint(taint: &NodeTaint) -> Value {
    let mut written = json!({"key": *taint.key, "effect": *taint.effect});
    if let Some(value) = &taint.value {
        set(&mut written, "value", json!(**value));
    }
    if let Some(added) = taint.added {
        set(&mut written, "timeAdded", json!(added));
    }
    written
}

/// The merge patch of a Deployment, with its preconditions. The template changes only by our annotation.
fn rollout_body(patch: &RolloutPatch, uid: &str, resource_version: &str) -> Value {
    let (note, label, moved) = match patch {
        RolloutPatch::Begin(note) => {
            let text = serde_json::to_string(note).unwrap_or_default();
            (json!(text), json!("true"), Some(json!(note.value())))
        }
        RolloutPatch::Forget => (Value::Null, Value::Null, None),
        RolloutPatch::Undo { before } => (Value::Null, Value::Null, Some(json!(before))),
    };
    let mut body = json!({"metadata": {
        "uid": uid, "resourceVersion": resource_version, "annotations": {MOVING: note}, "labels": {MOVING: label},
    }});
    if let Some(moved) = moved {
        set(&mut body, "spec", json!({"template": {"metadata": {"annotations": {MOVED: moved}}}}));
    }
    body
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

fn text(claim: &Claim) -> String {
    serde_json::to_string(claim).unwrap_or_default()
}

impl ClusterApi {
    pub async fn patch_node(
        &self,
        name: &str,
        resource_version: &str,
        patch: &NodePatch,
        taints: Option<&[NodeTaint]>,
    ) -> WriteAnswer {
        let body = body(patch, taints, resource_version);
        let api = Api::<Node>::all(self.client.clone());
        match call(api.patch(name, &PatchParams::default(), &Patch::Merge(body))).await {
            Ok(node) => WriteAnswer::Node(Box::new(node)),
            Err(error) => refused(&error),
        }
    }

    pub async fn patch_deployment(
        &self,
        (namespace, name): (&str, &str),
        uid: &str,
        resource_version: &str,
        patch: &RolloutPatch,
    ) -> WriteAnswer {
        let body = rollout_body(patch, uid, resource_version);
        let api = Api::<Deployment>::namespaced(self.client.clone(), namespace);
        match call(api.patch(name, &PatchParams::default(), &Patch::Merge(body))).await {
            Ok(deployment) => WriteAnswer::Deployment(Box::new(deployment)),
            Err(error) => refused(&error),
        }
    }

    /// Evicts the pod with this UID and no other of its name. Never deletes.
    ///
    /// The request is built by hand: the client's own call writes the options under a key that the server ignores.
    pub async fn evict(&self, namespace: &str, pod: &str, uid: &str, now: Timestamp) -> WriteAnswer {
        let body = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": uid}},
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes());
        let Ok(request) = request else {
            return WriteAnswer::Failed(CallFailure::Other("the pod's name makes no path".to_owned()));
        };
        // Sent raw, because a header says when to try again, and the client's own errors drop it.
        let sent = async {
            let response = self.client.send(request.map(kube::client::Body::from)).await?;
            let (parts, body) = response.into_parts();
            Ok((parts, body.collect().await?.to_bytes()))
        };
        match call(sent).await {
            Ok((parts, _)) if parts.status.is_success() => WriteAnswer::Done,
            Ok((parts, body)) => eviction_refused(&parts, &body, now),
            Err(error) => WriteAnswer::Refused(RefusalKind::Unclear, error.words(), None),
        }
    }

    pub async fn create_job(&self, manifest: &Value) -> WriteAnswer {
        let job: Job = match serde_json::from_value(manifest.clone()) {
            Ok(job) => job,
            Err(error) => {
                return WriteAnswer::Failed(CallFailure::Other(format!(
                    "the Job's manifest is not one: {error}"
                )));
            }
        };
        match call(
            Api::<Job>::namespaced(self.client.clone(), NAMESPACE).create(&PostParams::default(), &job),
        )
        .await
        {
            Ok(job) => WriteAnswer::Job(Box::new(job)),
            // A Job's name is derived from its step, so a Job of that name is this Job.
            Err(error) if error.code() == 409 => WriteAnswer::Done,
            Err(error) => refused(&error),
        }
    }

    pub async fn suspend_job(
        &self,
        name: &str,
        uid: &str,
        resource_version: &str,
        suspend: bool,
    ) -> WriteAnswer {
        let body = json!({
            "metadata": {"uid": uid, "resourceVersion": resource_version},
            "spec": {"suspend": suspend},
        });
        let api = Api::<Job>::namespaced(self.client.clone(), NAMESPACE);
        match call(api.patch(name, &PatchParams::default(), &Patch::Merge(body))).await {
            Ok(job) => WriteAnswer::Job(Box::new(job)),
            Err(error) => refused(&error),
        }
    }

    pub async fn delete_job(&self, name: &str, uid: &str, resource_version: &str) -> WriteAnswer {
        let only =
            Preconditions { uid: Some(uid.to_owned()), resource_version: Some(resource_version.to_owned()) };
        let params = DeleteParams {
            preconditions: Some(only),
            propagation_policy: Some(PropagationPolicy::Background),
            ..Default::default()
        };
        match call(Api::<Job>::namespaced(self.client.clone(), NAMESPACE).delete(name, &params)).await {
            Ok(_) => WriteAnswer::Done,
            Err(error) => refused(&error),
        }
    }

    pub async fn create_namespace(&self, manifest: &Value) -> WriteAnswer {
        let space: Namespace = match serde_json::from_value(manifest.clone()) {
            Ok(space) => space,
            Err(error) => {
                return WriteAnswer::Failed(CallFailure::Other(format!(
                    "the namespace's manifest is not one: {error}"
                )));
            }
        };
        match call(Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &space)).await {
            Ok(_) => WriteAnswer::Done,
            Err(error) => refused(&error),
        }
    }

    pub async fn move_lock(
        &self,
        name: &str,
        lock: &LeaseMove,
        heard: Option<&Heard>,
        length: SignedDuration,
        now: Timestamp,
    ) -> WriteAnswer {
        let api = Api::<Lease>::namespaced(self.client.clone(), NAMESPACE);
        let params = PostParams::default();
        let heard =
            heard.map(|Heard { version, since }| (HEARD.to_owned(), format!("{version} since {since}")));
        let lease = |holder: Option<&str>, transitions: u64, resource_version: Option<&str>| Lease {
            metadata: ObjectMeta {
                annotations: heard.clone().map(|heard| [heard].into()),
                name: Some(name.to_owned()),
                namespace: Some(NAMESPACE.to_owned()),
                resource_version: resource_version.map(str::to_owned),
                ..Default::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_transitions: i32::try_from(transitions).ok(),
                lease_duration_seconds: i32::try_from(length.as_secs()).ok(),
                renew_time: Some(MicroTime(now)),
                ..Default::default()
            }),
        };
        let done = match lock {
            LeaseMove::Create { holder, transitions } => {
                call(api.create(&params, &lease(Some(holder), *transitions, None))).await
            }
            LeaseMove::Hold { holder, transitions, resource_version } => {
                let lease = lease(Some(holder), *transitions, Some(resource_version));
                call(api.replace(name, &params, &lease)).await
            }
            LeaseMove::Release { transitions, resource_version, .. } => {
                let lease = lease(None, *transitions, Some(resource_version));
                call(api.replace(name, &params, &lease)).await
            }
        };
        match done {
            Ok(lease) => WriteAnswer::Lock(Some(read_lock(&lease))),
            Err(error) => refused(&error),
        }
    }

    /// Writes the `ConfigMap` `kube-system/upgrade-status` by server-side apply, which creates or changes it.
    pub async fn publish(&self, status: &str, of: u64) -> WriteAnswer {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": STATUS, "namespace": NOTES},
            "data": {"status": status},
        });
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), NOTES);
        match call(api.patch(STATUS, &PatchParams::apply(MANAGER).force(), &Patch::Apply(map))).await {
            Ok(_) => WriteAnswer::Published { text: status.to_owned(), of },
            Err(error) => refused(&error),
        }
    }

    /// Writes a note for the daemon: to stop, or to resume.
    pub async fn leave_note(&self, name: &str, reason: &str, by: &str) -> Result<(), CallError> {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": NOTES},
            "data": {"reason": reason, "by": by},
        });
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), NOTES);
        let params = PatchParams::apply("windlass-cli").force();
        call(api.patch(name, &params, &Patch::Apply(map))).await.map(drop)
    }

    /// Deletes a note. True if it was there.
    pub async fn take_note(&self, name: &str) -> Result<bool, CallError> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), NOTES);
        match call(api.delete(name, &DeleteParams::default())).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes the resume note once it is recorded, and only the one with this UID.
    pub async fn forget_resume(&self, uid: &str) -> WriteAnswer {
        let only = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(only), ..Default::default() };
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), NOTES);
        match call(api.delete(RESUME, &params)).await {
            Ok(_) => WriteAnswer::Done,
            Err(error) if error.code() == 404 => WriteAnswer::Done,
            Err(error) => refused(&error),
        }
    }
}

pub(super) fn refused(error: &CallError) -> WriteAnswer {
    match error.code() {
        404 => WriteAnswer::Missing,
        409 => WriteAnswer::Stale(error.words()),
        _ => WriteAnswer::Failed(error.failure()),
    }
}

/// Why an eviction was refused: three kinds of 429, a 500 that never passes, and others.
/// Seconds; what an answer asks for beyond that is not believed.
const LONGEST_RETRY_AFTER: u32 = 60;

fn eviction_refused(parts: &http::response::Parts, body: &[u8], now: Timestamp) -> WriteAnswer {
    // A server that is busy or shutting down answers with plain text.
    let status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| {
        Status::failure(String::from_utf8_lossy(body).trim(), "").with_code(parts.status.as_u16())
    });
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let budget = causes.clone().any(|cause| cause.reason == "DisruptionBudget");
    let header =
        parts.headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let seconds =
        status.details.as_ref().map_or(0, |details| details.retry_after_seconds).max(header.unwrap_or(0));
    // A server or a proxy may name any number; a node that is cordoned cannot wait for days.
    let seconds = seconds.min(LONGEST_RETRY_AFTER);
    let later = (seconds > 0)
        .then(|| now.saturating_add(SignedDuration::from_secs(i64::from(seconds))).ok())
        .flatten();
    let kind = match status.code {
        404 if status.reason == "NotFound" => return WriteAnswer::Missing,
        // The pod of this name has another UID by now; any other conflict is a race, which is tried again.
        409 if status.message.contains("UID in precondition") => return WriteAnswer::Missing,
        429 if budget => RefusalKind::Budget,
        429 if status.reason == "TooManyRequests" || status.message.starts_with("Too many requests") => {
            RefusalKind::Busy
        }
        429 => RefusalKind::ShuttingDown,
        500 if status.message.contains("more than one PodDisruptionBudget") => RefusalKind::SeveralBudgets,
        403 | 422 | 400 => RefusalKind::Denied,
        _ => RefusalKind::Unclear,
    };
    WriteAnswer::Refused(kind, status.message.clone(), later)
}
