//! Folds what is known of a release of Helm, and compares its objects with what its chart makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::changes::changes;
use super::manifest::Tried;
use super::owner::{changed_by, mark, other_program};
use crate::model::helm::{
    LaterRendering, LaterVersion, ReleaseAsked, ReleaseObjection, ReleaseRead, ReleaseRevision, Rendering,
};
use crate::model::live::CallFailure;
use crate::model::manifest::{
    FieldChange, FoundObject, GoneObject, Manifest, ManifestsMove, ManifestsQuestion, ManifestsRead,
    ObjectAddress, ObjectRef, ObjectStanding,
};
use crate::model::names::{HELM, RELEASE_NAME, RELEASE_NAMESPACE, RESOURCE_POLICY};

/// What is known of a release beside its objects.
#[derive(Clone, Debug)]
pub struct ReleaseAnswer {
    pub revisions: Vec<ReleaseRevision>,
    pub rendering: Option<Arc<Rendering>>,
    pub objection: Option<ReleaseObjection>,
    pub has_namespace: bool,
    /// What later versions add, and others have made already.
    pub foreign: Vec<ObjectRef>,
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
    // Nothing of a rendering changes after it was made.
    let known = before.filter(|before| match (&before.rendering, &answer.rendering) {
        (Some(known), Some(now)) => Arc::ptr_eq(known, now),
        _ => false,
    });
    let later = match known {
        Some(known) => Arc::clone(&known.later),
        None => answer.rendering.iter().flat_map(|rendering| later_versions(asked, rendering)).collect(),
    };
    ReleaseRead {
        release: asked.release.clone(),
        later,
        pending_since: pending(&answer.revisions)
            .map(|_| since.and_then(|before| before.pending_since).unwrap_or(now)),
        revisions: answer.revisions,
        rendering: answer.rendering,
        objection: answer.objection,
        has_namespace: answer.has_namespace,
        foreign: answer.foreign,
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
            match (fields.is_empty(), rendering.as_asked) {
                (true, _) => ObjectStanding::AsAsked { drift: None },
                (false, true) => ObjectStanding::AsAsked { drift: Some(changed_by(live, HELM)) },
                (false, false) => ObjectStanding::Differs { changes: fields, takes_over },
            }
        }
        // What is deployed was changed since.
        Tried::Conflicts(_) | Tried::Refused(_) | Tried::NoPlace(_) if rendering.as_asked => {
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

/// What each version that comes after the compared one changes, by the renderings alone.
fn later_versions(asked: &ReleaseAsked, rendering: &Rendering) -> Vec<LaterVersion> {
    let folder = asked.chart.to_string();
    let mut before = (&*rendering.objects, &rendering.first);
    let mut all = Vec::with_capacity(rendering.later.len());
    for version in &rendering.later {
        all.push(later_version(&folder, before, version));
        before = (&*version.objects, &version.first);
    }
    all
}

/// What a version changes of the objects of the version before it. What a chart has in `crds/` helm makes with the first revision
/// only, and never deletes.
fn later_version(
    folder: &str,
    (before, first_before): (&[Manifest], &BTreeSet<ObjectRef>),
    version: &LaterRendering,
) -> LaterVersion {
    let had = |object: &ObjectRef| before.iter().find(|manifest| manifest.object.is_same_as(object));
    let has = |object: &ObjectRef| version.objects.iter().any(|manifest| manifest.object.is_same_as(object));
    let (mut added, mut diffs, mut left) = (Vec::new(), BTreeMap::new(), Vec::new());
    for manifest in version.objects.iter() {
        let object = &manifest.object;
        let Some(known) = had(object) else {
            let list = if version.first.contains(object) { &mut left } else { &mut added };
            list.push(object.clone());
            continue;
        };
        let mut fields = changes(object, &known.body, &manifest.body);
        if let Some(again) = version.again.get(object) {
            mask(object, (&manifest.body, again), &mut fields);
        }
        if !fields.is_empty() && version.first.contains(object) {
            left.push(object.clone());
        } else if !fields.is_empty() {
            diffs.insert(object.clone(), fields);
        }
    }
    let is_kept = |manifest: &Manifest| mark(&manifest.body, "annotations", RESOURCE_POLICY) == Some("keep");
    let goes = |manifest: &&Manifest| {
        !has(&manifest.object) && !first_before.contains(&manifest.object) && !is_kept(manifest)
    };
    let change = ManifestsMove {
        folder: folder.to_owned(),
        digest: version.asked.digest.clone(),
        objects: version.objects.iter().map(|manifest| manifest.object.clone()).collect(),
        added,
        changed: diffs.keys().cloned().collect(),
        removed: before.iter().filter(goes).map(|manifest| manifest.object.clone()).collect(),
        stuck: Vec::new(),
        diffs,
    };
    LaterVersion { change, left }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::live::{Folder, ObjectsAnswer, ProbeAnswer, Seen};
    use crate::model::helm::{AskedVersion, Chart, LaterRendering, ReleaseMark, ReleaseRef};
    use crate::model::live::Probe;

    fn manifest(name: &str, data: &Value) -> Manifest {
        let object = ObjectRef {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        };
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": data});
        Manifest { object, place: String::new(), body, digest: String::new() }
    }

    fn kept(mut of: Manifest) -> Manifest {
        of.body["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
        of
    }

    fn names<'a>(objects: impl IntoIterator<Item = &'a ObjectRef>) -> Vec<&'a str> {
        objects.into_iter().map(|object| object.name.as_str()).collect()
    }

    /// What is compared is one rendering with the next. Helm leaves alone what a chart has in `crds/`, and keeps what says so.
    #[test]
    fn a_later_version_changes_what_its_rendering_changes() {
        let [old, new] = [json!({"a": "1"}), json!({"a": "2"})];
        let before = [
            manifest("same", &old),
            manifest("changed", &old),
            manifest("drawn", &json!({"a": "x"})),
            manifest("gone", &old),
            kept(manifest("kept", &old)),
            manifest("crd", &old),
            manifest("old-crd", &old),
        ];
        let first_before = ["crd", "old-crd"].map(|name| manifest(name, &old).object).into();
        let objects = [
            manifest("same", &old),
            manifest("changed", &new),
            manifest("drawn", &json!({"a": "y"})),
            manifest("added", &new),
            manifest("crd", &new),
            manifest("new-crd", &new),
        ];
        let drawn = manifest("drawn", &json!({"a": "z"}));
        let version = LaterRendering {
            asked: AskedVersion {
                version: "2.0.0".to_owned(),
                digest: "sha256:2".to_owned(),
                kubernetes: "v1.36.3".to_owned(),
                others: Vec::new(),
                refused: None,
            },
            archive: None,
            first: ["crd", "new-crd"].map(|name| manifest(name, &new).object).into(),
            again: [(drawn.object, drawn.body)].into(),
            objects: objects.into(),
        };
        let LaterVersion { change, left } = later_version("web", (&before, &first_before), &version);
        assert_eq!(names(&change.added), ["added"]);
        assert_eq!(names(&change.changed), ["changed", "drawn"]);
        assert_eq!(names(&change.removed), ["gone"]);
        assert_eq!(names(&left), ["crd", "new-crd"]);
        assert_eq!(change.digest, "sha256:2");
        let to = |name: &str| {
            let of = change.diffs.iter().find(|(object, _)| object.name == name);
            of.and_then(|(_, fields)| fields.first()?.to.clone())
        };
        assert_eq!((to("changed").as_deref(), to("drawn").as_deref()), (Some("2"), Some("(drawn anew)")));
    }

    /// Helm has ended, and the look after it could not read the objects: nothing is known of their rollouts.
    #[test]
    fn a_release_whose_objects_could_not_be_read_is_not_complete() {
        let complete = |objection: Option<ReleaseObjection>| {
            let asked = ReleaseAsked {
                release: ReleaseRef { namespace: "shop".to_owned(), name: "web".to_owned() },
                chart: Chart::Folder("addons/web/chart".to_owned()),
                versions: Vec::new(),
                files: Arc::default(),
                rendering: None,
            };
            let question = Arc::new(ManifestsQuestion {
                addon: "web".to_owned(),
                label: "prod.web".to_owned(),
                digest: "sha256:1".to_owned(),
                objects: [].into(),
                all: Arc::default(),
                take_over: [].into(),
                before: Arc::default(),
                known: Arc::default(),
                release: Some(Arc::new(asked)),
            });
            let mark = ReleaseMark {
                addon: "prod.web".to_owned(),
                content: "1".to_owned(),
                attempt: String::new(),
                timeout_seconds: 60,
            };
            let revision = ReleaseRevision {
                number: 1,
                status: "deployed".to_owned(),
                mark: Some(mark),
                record: String::new(),
                found: FoundObject { uid: String::new(), resource_version: String::new() },
                chart: None,
                description: None,
            };
            let release = ReleaseAnswer {
                revisions: vec![revision],
                rendering: None,
                objection,
                has_namespace: true,
                foreign: Vec::new(),
                question: Arc::clone(&question),
            };
            let answer = ObjectsAnswer { objects: Vec::new(), gone: Vec::new(), release: Some(release) };
            let mut folder = Folder::default();
            let now = Timestamp::UNIX_EPOCH;
            let probe = Probe::Manifests(Arc::clone(&question));
            let answer = ProbeAnswer::Manifests(answer);
            folder.fold(Seen::Probed { probe, answer, asked: now }, now);
            folder.live.addon_manifests["web"].complete_since
        };
        assert!(complete(None).is_some());
        let why = CallFailure::Other("it was silent".to_owned());
        assert_eq!(complete(Some(ReleaseObjection::Unread(why))), None);
    }
}
