//! Compares each object of an addon in the cluster with its manifest. The API server tries the apply and says what the object
//! would be; nothing is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::WorkloadObject;
use super::addon::workload_read;
use super::changes::changes;
use super::fold::Folder;
use super::owner::{changed_by, gone_object, mark, not_usable, other_program};
use super::release::{ReleaseAnswer, release_read, standing_of_chart};
use crate::model::addon::{WorkloadKind, WorkloadRead, WorkloadRef};
use crate::model::effect::EffectKey;
use crate::model::helm::ReleaseRead;
use crate::model::live::{CallFailure, Probe, Progress};
use crate::model::manifest::{
    FoundObject, GoneObject, Manifest, ManifestsQuestion, ManifestsRead, ObjectAddress, ObjectRead,
    ObjectRef, ObjectStanding,
};
use crate::model::names::{ADDON, ADDON_VERSION, MANAGER, MANIFEST};

/// What was found of an addon: its objects, those that it does not have any more, and its release.
type FoundOfAddon = (BTreeMap<ObjectRef, ObjectRead>, BTreeMap<ObjectRef, GoneObject>, Option<ReleaseRead>);

/// An object that was there, and where.
pub type There = (ObjectAddress, Value);

/// The answer about the objects of an addon, in the order of the question.
#[derive(Clone, Debug)]
pub struct ObjectsAnswer {
    pub objects: Vec<ObjectAnswer>,
    pub gone: Vec<(ObjectRef, Result<Option<There>, CallFailure>)>,
    /// Set if helm makes the objects.
    pub release: Option<ReleaseAnswer>,
}

#[derive(Clone, Debug)]
pub enum ObjectAnswer {
    /// It has the resource version that is known.
    Unchanged,
    Read {
        /// `None` while its kind is not served.
        address: Option<ObjectAddress>,
        /// `None` if it does not exist.
        live: Option<Value>,
        tried: Tried,
    },
    Unread(CallFailure),
}

/// What came of an apply that the API server only tried.
#[derive(Clone, Debug)]
pub enum Tried {
    Applied {
        object: Value,
        takes_over: bool,
    },
    /// The API server's words for each field of another manager.
    Conflicts(Vec<String>),
    /// The kind or the namespace does not exist.
    NoPlace(String),
    Refused(String),
    Failed(CallFailure),
}

impl Folder {
    pub(super) fn read_manifests(
        &mut self,
        question: &Arc<ManifestsQuestion>,
        answer: ObjectsAnswer,
        asked: Timestamp,
        now: Timestamp,
    ) {
        let question =
            &answer.release.as_ref().map_or_else(|| Arc::clone(question), |of| Arc::clone(&of.question));
        let written = |folder: &Self, object: &ObjectRef| {
            folder.objects_written.get(object).is_some_and(|written| *written > asked)
        };
        let before = self.live.addon_manifests.remove(&question.addon);
        let same = before.as_ref().filter(|before| before.question == *question);
        let mut objects = BTreeMap::new();
        for (manifest, answer) in question.objects.iter().zip(answer.objects) {
            let known = same.and_then(|before| before.objects.get(&manifest.object));
            let read = match (answer, known) {
                (ObjectAnswer::Unchanged, Some(known)) => known.clone(),
                // The answer to a write came while this one was on its way.
                (_, Some(known)) if written(self, &manifest.object) => known.clone(),
                (ObjectAnswer::Read { address, live, tried }, known) => {
                    object_read((question, manifest, address), live.as_ref(), tried, known, now)
                }
                (ObjectAnswer::Unread(why), _) => unread(why),
                (ObjectAnswer::Unchanged, None) => {
                    unread(CallFailure::Other("it has not been compared yet".to_owned()))
                }
            };
            objects.insert(manifest.object.clone(), read);
        }
        let mut gone = BTreeMap::new();
        for (object, found) in answer.gone {
            let known = same.and_then(|before| before.gone.get(&object));
            let standing = match known.filter(|_| written(self, &object)) {
                Some(known) => known.clone(),
                None => gone_object(question, &object, found),
            };
            gone.insert(object, standing);
        }
        let release = question.release.as_ref().zip(answer.release);
        let release = release.map(|(asked, answer)| release_read(asked, answer, before.as_ref(), now));
        self.put_manifests(question, (objects, gone, release), before.as_ref(), now);
        self.live.probed.retain(|probe, _| match probe {
            Probe::Manifests(other) => other.addon != question.addon || other == question,
            _ => true,
        });
        let of_question = |object: &ObjectRef| {
            question.before.contains(object)
                || question.objects.iter().any(|manifest| manifest.object == *object)
        };
        self.objects_written.retain(|object, written| *written > asked || !of_question(object));
    }

    fn put_manifests(
        &mut self,
        question: &Arc<ManifestsQuestion>,
        (objects, gone, release): FoundOfAddon,
        before: Option<&ManifestsRead>,
        now: Timestamp,
    ) {
        let same = before.filter(|before| before.question == *question);
        // Without an answer about the objects nothing is known of them.
        let deployed = release
            .as_ref()
            .is_none_or(|release| release.objection.is_none() && release.has(&question.digest));
        let of_release = release.is_some();
        let complete = deployed
            && objects.iter().all(|(object, read)| {
                let rolled = read.workload.as_ref().is_none_or(|of| of.progress == Progress::Complete);
                let there = match &read.standing {
                    ObjectStanding::AsAsked { .. } => true,
                    // A Job that is done may be gone; only what has pods decides.
                    ObjectStanding::Missing { .. } => of_release && object.workload().is_none(),
                    _ => false,
                };
                there && read.unready.is_none() && rolled
            });
        let seen = |objects: &BTreeMap<ObjectRef, ObjectRead>| -> Vec<_> {
            let furthest = |read: &ObjectRead| read.workload.as_ref().map(|of| of.furthest);
            objects.values().map(|read| (read.standing.clone(), furthest(read))).collect()
        };
        // Plans look at these, and not at counts of pods.
        let asked = |objects: &BTreeMap<ObjectRef, ObjectRead>| -> Vec<_> {
            let workload =
                |read: &ObjectRead| read.workload.as_ref().map(|of| (of.progress.clone(), of.stays));
            objects.values().map(|read| (read.standing.clone(), workload(read))).collect()
        };
        if same.is_none_or(|before| {
            asked(&before.objects) != asked(&objects) || before.gone != gone || before.release != release
        }) {
            self.live.nodes_generation += 1;
        }
        let compared = objects.iter().filter(|(_, read)| read.compared);
        let known = compared.filter_map(|(object, read)| {
            Some((object.clone(), read.found.as_ref()?.resource_version.clone()))
        });
        let read = ManifestsRead {
            question: Arc::clone(question),
            // Where no pods belong to it, nothing has to prove itself.
            complete_since: complete.then(|| {
                let workloads = objects.values().filter_map(|read| read.workload.as_ref()?.complete_since);
                workloads.max().unwrap_or(Timestamp::UNIX_EPOCH)
            }),
            progressed: same
                .filter(|before| seen(&before.objects) == seen(&objects) && before.gone == gone)
                .filter(|before| before.release == release)
                .map_or(now, |before| before.progressed),
            read_at: now,
            known: Arc::new(known.collect()),
            objects,
            gone,
            release,
        };
        self.live.addon_manifests.insert(question.addon.clone(), read);
    }

    /// Takes in an object as it is after it was applied.
    pub(super) fn applied(&mut self, object: &ObjectRef, value: &Value, now: Timestamp) {
        self.objects_written.insert(object.clone(), now);
        let holds = |read: &ManifestsRead| read.objects.contains_key(object);
        let Some(name) =
            self.live.addon_manifests.iter().find(|(_, read)| holds(read)).map(|(name, _)| name.clone())
        else {
            return;
        };
        let Some(before) = self.live.addon_manifests.remove(&name) else { return };
        let mut objects = before.objects.clone();
        let manifest = before.question.objects.iter().find(|manifest| manifest.object == *object);
        if let Some(manifest) = manifest {
            let tried = Tried::Applied { object: value.clone(), takes_over: false };
            let known = before.objects.get(object);
            let address = known.and_then(|known| known.address.clone());
            let of = (&*before.question, manifest, address);
            let read = object_read(of, Some(value), tried, known, now);
            objects.insert(object.clone(), read);
        }
        let question = Arc::clone(&before.question);
        let found = (objects, before.gone.clone(), before.release.clone());
        self.put_manifests(&question, found, Some(&before), now);
    }

    /// Takes in that an object is being deleted.
    pub(super) fn deleted_object(&mut self, object: &ObjectRef, now: Timestamp) {
        self.objects_written.insert(object.clone(), now);
        for gone in self.live.addon_manifests.values_mut().filter_map(|read| read.gone.get_mut(object)) {
            *gone = GoneObject::Leaving;
        }
    }

    /// Asks again about the addon that an object belongs to: no watch covers it.
    pub(super) fn look_again_at(&mut self, key: &EffectKey) {
        for read in self.live.addon_manifests.values_mut() {
            let release = read.release.as_ref().map(|release| release.release.to_string());
            if release.is_some_and(|release| EffectKey::Release(release) == *key) {
                // What was read before helm ended says nothing of what it has done.
                read.read_at = Timestamp::UNIX_EPOCH;
            }
            let about = |object: &ObjectRef| EffectKey::of_object(object) == *key;
            if read.known.keys().any(about) {
                Arc::make_mut(&mut read.known).retain(|object, _| !about(object));
            }
        }
        self.live.probed.retain(|probe, _| match probe {
            Probe::Manifests(question) => {
                let release = question.release.as_ref().map(|asked| asked.release.to_string());
                if release.is_some_and(|release| EffectKey::Release(release) == *key) {
                    return false;
                }
                let asked = question.objects.iter().map(|manifest| &manifest.object);
                !asked.chain(question.before.iter()).any(|object| EffectKey::of_object(object) == *key)
            }
            _ => true,
        });
    }
}

fn unread(why: CallFailure) -> ObjectRead {
    ObjectRead {
        address: None,
        found: None,
        compared: false,
        version: None,
        standing: ObjectStanding::Unread(why),
        unready: None,
        workload: None,
    }
}

fn object_read(
    (question, manifest, address): (&ManifestsQuestion, &Manifest, Option<ObjectAddress>),
    live: Option<&Value>,
    tried: Tried,
    known: Option<&ObjectRead>,
    now: Timestamp,
) -> ObjectRead {
    let text =
        |path: &str| live.and_then(|live| live.pointer(path)).and_then(Value::as_str).map(str::to_owned);
    let tried_object = match &tried {
        Tried::Applied { object, .. } => Some(object.clone()),
        _ => None,
    };
    let object = manifest.object.workload();
    let before = known.and_then(|known| known.workload.as_ref());
    let read = |value: &Value| Some(workload_read(&typed(object.as_ref()?, value)?, before, now));
    // Whether anything would replace its pods is what the manifest asks for.
    let asked = tried_object.as_ref().and_then(read);
    let workload = live.and_then(read).map(|read: WorkloadRead| WorkloadRead {
        stays: asked.as_ref().map_or(read.stays, |asked| asked.stays),
        ..read
    });
    ObjectRead {
        address,
        found: live.map(|_| FoundObject {
            uid: text("/metadata/uid").unwrap_or_default(),
            resource_version: text("/metadata/resourceVersion").unwrap_or_default(),
        }),
        compared: matches!(tried, Tried::Applied { .. } | Tried::Conflicts(_)),
        version: live.and_then(|live| mark(live, "annotations", ADDON_VERSION)).map(str::to_owned),
        standing: standing(question, manifest, live, tried),
        unready: live.and_then(|live| not_usable(&manifest.object, live)),
        workload,
    }
}

fn typed(of: &WorkloadRef, value: &Value) -> Option<WorkloadObject> {
    let value = value.clone();
    Some(match of.kind {
        WorkloadKind::Deployment => WorkloadObject::Deployment(Box::new(serde_json::from_value(value).ok()?)),
        WorkloadKind::DaemonSet => WorkloadObject::DaemonSet(Box::new(serde_json::from_value(value).ok()?)),
        WorkloadKind::StatefulSet => {
            WorkloadObject::StatefulSet(Box::new(serde_json::from_value(value).ok()?))
        }
    })
}

fn standing(
    question: &ManifestsQuestion,
    manifest: &Manifest,
    live: Option<&Value>,
    tried: Tried,
) -> ObjectStanding {
    let Some(live) = live else {
        return match tried {
            Tried::Applied { .. } => ObjectStanding::Missing { no_place: None },
            Tried::NoPlace(words) => ObjectStanding::Missing { no_place: Some(words) },
            Tried::Refused(words) => ObjectStanding::Refused(words),
            Tried::Conflicts(fields) => ObjectStanding::Conflicts(fields),
            Tried::Failed(why) => ObjectStanding::Unread(why),
        };
    };
    if let Some(asked) = &question.release {
        return standing_of_chart((asked, &question.take_over), manifest, live, tried);
    }
    if is_as_asked(manifest, live) {
        let changed = match tried {
            Tried::Applied { object, .. } => !changes(&manifest.object, live, &object).is_empty(),
            Tried::Conflicts(_) => true,
            Tried::NoPlace(_) | Tried::Refused(_) | Tried::Failed(_) => false,
        };
        return ObjectStanding::AsAsked { drift: changed.then(|| changed_by(live, MANAGER)) };
    }
    if let Some(owner) = other_program(live, &manifest.body, &question.take_over) {
        return ObjectStanding::Owned(format!("would be put back within minutes: {owner}"));
    }
    match tried {
        Tried::Applied { object, takes_over } => {
            ObjectStanding::Differs { changes: changes(&manifest.object, live, &object), takes_over }
        }
        Tried::NoPlace(words) | Tried::Refused(words) => ObjectStanding::Refused(words),
        Tried::Conflicts(fields) => ObjectStanding::Conflicts(fields),
        Tried::Failed(why) => ObjectStanding::Unread(why),
    }
}

/// True if the object says that the very manifest was applied to it.
fn is_as_asked(manifest: &Manifest, live: &Value) -> bool {
    let same = |map: &str, key: &str| mark(live, map, key) == mark(&manifest.body, map, key);
    same("labels", ADDON) && same("annotations", ADDON_VERSION) && same("annotations", MANIFEST)
}
