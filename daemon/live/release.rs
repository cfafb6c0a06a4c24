//! Folds what is known of a release of Helm, and compares its objects with what its chart makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::changes::changes;
use super::manifest::Tried;
use super::owner::{changed_by, mark, other_program};
use crate::model::helm::{ReleaseAsked, ReleaseObjection, ReleaseRead, ReleaseRevision, Rendering};
use crate::model::live::CallFailure;
use crate::model::manifest::{
    FieldChange, FoundObject, GoneObject, Manifest, ManifestsQuestion, ManifestsRead, ObjectAddress,
    ObjectRef, ObjectStanding,
};
use crate::model::names::{HELM, RELEASE_NAME, RELEASE_NAMESPACE, RESOURCE_POLICY};

/// What is known of a release beside its objects.
#[derive(Clone, Debug)]
pub struct ReleaseAnswer {
    pub revisions: Vec<ReleaseRevision>,
    pub rendering: Option<Arc<Rendering>>,
    pub objection: Option<ReleaseObjection>,
    pub has_namespace: bool,
    /// What was asked about its objects.
    pub question: Arc<ManifestsQuestion>,
}

/// The release as it is, after the one that was read before.
pub(super) fn release_read(
    asked: &ReleaseAsked,
    answer: ReleaseAnswer,
    before: Option<&ManifestsRead>,
    now: Timestamp,
) -> ReleaseRead {
    let before = before.and_then(|before| before.release.as_ref());
    let pending = |revisions: &[ReleaseRevision]| {
        revisions.last().filter(|newest| newest.is_pending()).map(|newest| newest.found.clone())
    };
    let since = before.filter(|before| pending(&before.revisions) == pending(&answer.revisions));
    ReleaseRead {
        release: asked.release.clone(),
        pending_since: pending(&answer.revisions)
            .map(|_| since.and_then(|before| before.pending_since).unwrap_or(now)),
        revisions: answer.revisions,
        rendering: answer.rendering,
        objection: answer.objection,
        has_namespace: answer.has_namespace,
    }
}

/// How an object that is there compares with what the chart makes.
pub(super) fn standing_of_chart(
    (asked, take_over): (&ReleaseAsked, &[String]),
    manifest: &Manifest,
    live: &Value,
    tried: Tried,
) -> ObjectStanding {
    let object = &manifest.object;
    let Some(rendering) = asked.rendering.as_ref() else {
        return ObjectStanding::Unread(CallFailure::Other("its chart was not rendered".to_owned()));
    };
    let taken: Vec<String> = take_over.iter().cloned().chain([HELM.to_owned()]).collect();
    if let Some(owner) = other_program(live, &manifest.body, &taken) {
        return ObjectStanding::Owned(format!("would be put back within minutes: {owner}"));
    }
    let last = rendering.last.get(object);
    if last.is_none() && !rendering.first.contains(object) && !is_of_release(asked, live) {
        let text =
            format!("is there already and is not one of {}: helm does not take it over", asked.release);
        return ObjectStanding::Owned(text);
    }
    match tried {
        Tried::Applied { object: after, takes_over } => {
            let mut fields = changes(object, live, &after);
            let gone = last.map(|last| removed(object, (last, &manifest.body), live, &fields));
            fields.extend(gone.into_iter().flatten());
            fields.sort_by(|left, right| left.field.cmp(&right.field));
            if let Some(again) = rendering.again.get(object) {
                mask(object, (&manifest.body, again), &mut fields);
            }
            let as_rendered = rendering.kubernetes.is_none();
            match (fields.is_empty(), as_rendered) {
                (true, _) => ObjectStanding::AsAsked { drift: None },
                (false, true) => ObjectStanding::AsAsked { drift: Some(changed_by(live, HELM)) },
                (false, false) => ObjectStanding::Differs { changes: fields, takes_over },
            }
        }
        // What is deployed was changed since.
        Tried::Conflicts(_) | Tried::Refused(_) | Tried::NoPlace(_) if rendering.kubernetes.is_none() => {
            ObjectStanding::AsAsked { drift: Some(changed_by(live, HELM)) }
        }
        // A helm that sends whole objects does not mind what an apply does.
        Tried::Refused(words) if rendering.overwrites() && is_about_types(&words) => {
            let to = Some(format!("(cannot be compared: {words})"));
            let change = FieldChange { field: "object".to_owned(), from: None, to };
            ObjectStanding::Differs { changes: vec![change], takes_over: false }
        }
        Tried::NoPlace(words) | Tried::Refused(words) => ObjectStanding::Refused(words),
        Tried::Conflicts(fields) => ObjectStanding::Conflicts(fields),
        Tried::Failed(why) => ObjectStanding::Unread(why),
    }
}

fn is_about_types(words: &str) -> bool {
    words.contains("failed to create typed patch object")
}

fn is_of_release(asked: &ReleaseAsked, live: &Value) -> bool {
    let has = |key: &str, value: &str| mark(live, "annotations", key) == Some(value);
    has(RELEASE_NAME, &asked.release.name) && has(RELEASE_NAMESPACE, &asked.release.namespace)
}

/// The fields that the chart had and has no more. Helm takes them away; an apply alone would leave them.
fn removed(
    object: &ObjectRef,
    (last, next): (&Value, &Value),
    live: &Value,
    known: &[FieldChange],
) -> Vec<FieldChange> {
    let there: BTreeMap<String, Option<String>> =
        changes(object, live, &Value::Null).into_iter().map(|change| (change.field, change.from)).collect();
    let gone = changes(object, last, next).into_iter().filter(|change| change.to.is_none());
    let left = gone.filter(|change| there.contains_key(&change.field));
    left.filter(|change| known.iter().all(|known| known.field != change.field)).collect()
}

/// Says of values that are drawn anew with each rendering only that.
fn mask(object: &ObjectRef, (first, second): (&Value, &Value), fields: &mut [FieldChange]) {
    // The API server keeps the text of a Secret beside its data.
    let kept = |field: String| match field.strip_prefix("stringData") {
        Some(rest) if object.is_secret() => format!("data{rest}"),
        _ => field,
    };
    let drawn: Vec<String> =
        changes(object, first, second).into_iter().map(|change| kept(change.field)).collect();
    for change in fields.iter_mut().filter(|change| drawn.contains(&change.field)) {
        change.to = Some("(drawn anew)".to_owned());
    }
}

/// An object that the chart does not have any more. Helm deletes it, unless it is to be kept.
pub(super) fn gone_from_chart(found: Result<Option<(ObjectAddress, Value)>, CallFailure>) -> GoneObject {
    match found {
        Ok(None) => GoneObject::Absent,
        Err(why) => GoneObject::Unread(why),
        Ok(Some((_, live))) if mark(&live, "annotations", RESOURCE_POLICY) == Some("keep") => {
            GoneObject::Kept
        }
        Ok(Some((_, live))) if live.pointer("/metadata/deletionTimestamp").is_some() => GoneObject::Leaving,
        Ok(Some((address, live))) => {
            let text = |path: &str| live.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (uid, resource_version) = (text("/metadata/uid"), text("/metadata/resourceVersion"));
            GoneObject::Ours(address, FoundObject { uid, resource_version })
        }
    }
}
