//! Folds in how the objects of addons are before a run.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::fold::Folder;
use crate::model::evidence::{Evidence, EvidenceQuestion, ObjectBefore};
use crate::model::live::CallFailure;
use crate::model::manifest::ObjectRef;
use crate::model::time::later;

/// For how long what was read is kept: it is written with the first entries of the run.
const KEPT: SignedDuration = SignedDuration::from_mins(5);

/// Objects, each as it is; `None` if it does not exist.
pub type ObjectsBefore = Vec<(ObjectRef, Result<Option<Value>, CallFailure>)>;

impl Folder {
    pub(super) fn read_evidence(
        &mut self,
        question: &Arc<EvidenceQuestion>,
        answer: ObjectsBefore,
        now: Timestamp,
    ) {
        let secrets = question.objects.iter().filter(|object| object.is_secret());
        let secrets = secrets.map(|object| (object.clone(), ObjectBefore::Secret));
        let others = answer.into_iter().filter(|(object, _)| !object.is_secret());
        let others = others.map(|(object, found)| {
            let before = match found {
                Ok(Some(value)) => ObjectBefore::There(without_bulk(value)),
                Ok(None) => ObjectBefore::Absent,
                Err(why) => ObjectBefore::Unread(why.words().to_owned()),
            };
            (object, before)
        });
        let objects = secrets.chain(others).collect();
        let evidence = Evidence { question: Arc::clone(question), objects, read_at: now };
        self.live.evidence.insert(question.addon.clone(), Arc::new(evidence));
    }

    pub(super) fn forget_evidence(&mut self, now: Timestamp) {
        self.live.evidence.retain(|_, evidence| later(evidence.read_at, KEPT) > now);
    }
}

/// The keys of `metadata` that the API server sets. It refuses an apply of an object that has some of them.
const BULK: [&str; 6] =
    ["managedFields", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink"];
/// A second copy of the object, which kubectl keeps.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn without_bulk(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(meta) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        meta.retain(|key, _| !BULK.contains(&key.as_str()));
        if let Some(notes) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
            notes.remove(LAST_APPLIED);
        }
    }
    object
}
