//! The objects of an addon with manifests: as its files have them, and as the cluster has them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::addon::{AddonManifests, WorkloadRead};
use super::decision::Key;
use super::fact::OrLater;
use super::failure::CallFailure;
use super::helm::{ReleaseAsked, ReleaseRead, Rendering};
use super::rollout::Progress;
use super::text::list;
use super::via::NO_VERSION;

pub use super::object::{FoundObject, ObjectAddress, ObjectRank, ObjectRef};

/// One object as it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub object: ObjectRef,
    /// `desired-state/prod/addons/coredns/coredns.yaml:12`.
    pub place: String,
    /// As it is applied, with the label and the annotations of Windlass.
    pub body: Value,
    /// Of the manifest as people wrote it.
    pub digest: String,
}

/// What all addons of a cluster have together.
#[derive(Debug, Default, PartialEq)]
pub struct AllManifests {
    pub objects: Vec<ObjectRef>,
    /// The namespaces that they bring, and the kinds, each with its group.
    pub namespaces: BTreeSet<String>,
    pub kinds: BTreeSet<(String, String)>,
}

impl AllManifests {
    pub fn add(&mut self, manifest: &Manifest) {
        let text = |path: &str| manifest.body.pointer(path).and_then(Value::as_str).map(str::to_owned);
        if manifest.object.is_namespace() {
            self.namespaces.insert(manifest.object.name.clone());
        } else if manifest.object.is_definition() {
            self.kinds.extend(text("/spec/group").zip(text("/spec/names/kind")));
        }
        self.objects.push(manifest.object.clone());
    }

    /// True if an addon brings the kind of this object; where the kind is there already, its namespace.
    pub fn bring_place_of(&self, object: &ObjectRef, kind_is_there: bool) -> bool {
        let kind = (object.group().to_owned(), object.kind.clone());
        let namespace =
            || object.namespace.as_ref().is_some_and(|namespace| self.namespaces.contains(namespace));
        if kind_is_there { namespace() } else { self.kinds.contains(&kind) }
    }
}

/// Everything that is asked about the objects of one addon. It is a part of its probe, so that its answer follows from it alone.
#[derive(Clone, Debug)]
pub struct ManifestsQuestion {
    pub addon: String,
    /// The value of the label that its objects bear.
    pub label: String,
    /// Of all that is asked for.
    pub digest: String,
    pub objects: Arc<[Manifest]>,
    pub all: Arc<AllManifests>,
    /// The managers whose fields are taken over.
    pub take_over: Arc<[String]>,
    /// All objects that runs have applied for this addon. Those that it does not have any more are to go.
    pub before: Arc<BTreeSet<ObjectRef>>,
    /// The resource versions of objects that need not be looked at again while they are the same.
    pub known: Arc<BTreeMap<ObjectRef, String>>,
    /// Set if helm makes the objects of a chart; `objects` are then found out by the answer.
    pub release: Option<Arc<ReleaseAsked>>,
}

impl ManifestsQuestion {
    fn key(&self) -> (&str, &str) {
        (&self.addon, &self.digest)
    }
}

/// Two questions about the same content of one addon are the same question.
impl PartialEq for ManifestsQuestion {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ManifestsQuestion {}

impl PartialOrd for ManifestsQuestion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ManifestsQuestion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// The objects of an addon as they were last read.
#[derive(Clone, Debug)]
pub struct ManifestsRead {
    pub question: Arc<ManifestsQuestion>,
    pub objects: BTreeMap<ObjectRef, ObjectRead>,
    /// What is there of the objects that are not asked for any more.
    pub gone: BTreeMap<ObjectRef, GoneObject>,
    /// Since when the rollouts of all workloads have been complete; `None` while one is not, or an object is not as asked.
    pub complete_since: Option<Timestamp>,
    /// When an object, or a count of a workload's pods, was last seen to change, by our clock.
    pub progressed: Timestamp,
    /// When the last answer came, by our clock.
    pub read_at: Timestamp,
    /// The resource versions of the objects that were read for certain.
    pub known: Arc<BTreeMap<ObjectRef, String>>,
    /// The release that helm has of it, if its objects are those of a chart.
    pub release: Option<ReleaseRead>,
}

/// One object of an addon as etcd had it when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRead {
    /// `None` while its kind is not served.
    pub address: Option<ObjectAddress>,
    /// `None` if it does not exist.
    pub found: Option<FoundObject>,
    /// True if the API server has said what an apply would make of this very state of it.
    pub compared: bool,
    /// The version of the addon that applied it last, as it says.
    pub version: Option<String>,
    pub standing: ObjectStanding,
    /// Why others that need it have to wait: a kind that is not established, a namespace that ends.
    pub unready: Option<String>,
    /// Of a workload: how its pods are, and why nothing would replace them.
    pub workload: Option<WorkloadRead>,
}

/// How an object in the cluster compares with its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectStanding {
    Missing {
        /// Why it cannot be tried yet: its kind or its namespace does not exist.
        no_place: Option<String>,
    },
    /// The manifest was applied; `drift` says who has changed the object since, and when.
    AsAsked {
        drift: Option<String>,
    },
    Differs {
        changes: Vec<FieldChange>,
        /// True if fields of other managers are taken over.
        takes_over: bool,
    },
    /// Others manage fields that would get another value: the API server's words for each.
    Conflicts(Vec<String>),
    /// It belongs to another program, in words that follow its name: `would be put back within minutes: …`.
    Owned(String),
    /// The API server would not take it, in its words.
    Refused(String),
    Unread(CallFailure),
}

impl ObjectRead {
    /// True if an apply can be tried: its kind and its namespace exist.
    pub fn has_place(&self) -> bool {
        !matches!(self.standing, ObjectStanding::Missing { no_place: Some(_) })
    }

    /// True for a workload whose rollout has not come to its end.
    pub fn is_rolling(&self) -> bool {
        self.workload.as_ref().is_some_and(|of| of.progress != Progress::Complete)
    }

    /// True if it is to be applied, and nothing is known against that.
    pub fn is_pending(&self) -> bool {
        matches!(self.standing, ObjectStanding::Missing { .. } | ObjectStanding::Differs { .. })
    }

    /// Why the object is not applied until a person does something.
    pub fn objection(&self, object: &ObjectRef) -> Option<(Key, String)> {
        match &self.standing {
            ObjectStanding::Conflicts(fields) => {
                let text = format!(
                    "{object} has fields that others manage: {}; `takeOver` in its file can name the managers",
                    list(fields, MOST_FIELDS)
                );
                Some((Key::AddonConflict, text))
            }
            ObjectStanding::Owned(owner) => Some((Key::AddonConflict, format!("{object} {owner}"))),
            ObjectStanding::Refused(words) => {
                Some((Key::AddonRefused, format!("the API server does not take {object}: {words}")))
            }
            ObjectStanding::Unread(why) if why.is_missing_right() => {
                Some((Key::RightMissing, format!("{object}: {why}")))
            }
            ObjectStanding::Missing { .. }
            | ObjectStanding::AsAsked { .. }
            | ObjectStanding::Differs { .. }
            | ObjectStanding::Unread(_) => None,
        }
    }
}

/// How many fields of an object are named.
const MOST_FIELDS: usize = 3;

/// One field of an object that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldChange {
    /// `spec.template.spec.containers[coredns].image`.
    pub field: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

/// An object that is not asked for any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoneObject {
    /// It bears the addon's label and was applied by Windlass.
    Ours(ObjectAddress, FoundObject),
    /// It is being deleted.
    Leaving,
    /// It is one that is kept, or bears no label of this addon, or was not applied by Windlass.
    Kept,
    Absent,
    Unread(CallFailure),
}

impl ManifestsQuestion {
    /// The objects that were applied and are not asked for any more, by whichever addon.
    pub fn gone(&self) -> impl Iterator<Item = &ObjectRef> {
        let asked = |object: &ObjectRef| self.all.objects.iter().any(|asked| asked.is_same_as(object));
        self.before.iter().filter(move |object| !asked(object))
    }
}

impl ManifestsRead {
    /// The same question with what is known by now.
    pub fn question_again(&self) -> ManifestsQuestion {
        let release = self.question.release.as_ref().map(|asked| {
            Arc::new(ReleaseAsked { rendering: self.rendering().cloned(), ..(**asked).clone() })
        });
        ManifestsQuestion { known: Arc::clone(&self.known), release, ..(*self.question).clone() }
    }

    /// What helm makes of its chart, if it was rendered.
    pub fn rendering(&self) -> Option<&Arc<Rendering>> {
        self.release.as_ref()?.rendering.as_ref()
    }

    /// True if one of these contents was applied. Of a release its records tell that, whichever content was asked about last;
    /// otherwise it is not known of another content than that.
    pub fn has_applied(&self, contents: &OrLater) -> Option<bool> {
        if let Some(release) = &self.release {
            return Some(contents.all().any(|content| release.has(content)));
        }
        let as_asked = |read: &ObjectRead| matches!(read.standing, ObjectStanding::AsAsked { .. });
        contents.contains(&self.question.digest).then(|| self.objects.values().all(as_asked))
    }

    /// The workloads, in the order of their names.
    pub fn workloads(&self) -> impl Iterator<Item = (&ObjectRef, &WorkloadRead)> {
        self.objects.iter().filter_map(|(object, read)| Some((object, read.workload.as_ref()?)))
    }

    /// The versions of the addon that its objects have been applied with; more than one only where a run ended halfway.
    pub fn version(&self) -> String {
        let there = self.objects.values().filter(|read| read.found.is_some());
        let versions: BTreeSet<&str> =
            there.map(|read| read.version.as_deref().unwrap_or(UNKNOWN_VERSION)).collect();
        let gone = || self.gone.values().any(GoneObject::is_ours);
        if versions.is_empty() {
            return if gone() { UNKNOWN_VERSION } else { NO_VERSION }.to_owned();
        }
        versions.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// What somebody has changed by hand since it was applied, and in which words. It is told, and not overwritten.
    pub fn drifted(&self) -> impl Iterator<Item = (&ObjectRef, String)> {
        let is_deployed = self.release.as_ref().is_some_and(|release| release.has(&self.question.digest));
        self.objects.iter().filter_map(move |(object, found)| match &found.standing {
            ObjectStanding::AsAsked { drift: Some(drift) } => {
                Some((object, format!("is not as applied: {drift}")))
            }
            // A Job that is done may be taken away.
            ObjectStanding::Missing { .. } if is_deployed && object.kind != "Job" => {
                Some((object, "is not there any more: somebody deleted it".to_owned()))
            }
            _ => None,
        })
    }

    pub fn unread(&self) -> Option<(&ObjectRef, &CallFailure)> {
        let objects = self.objects.iter().filter_map(|(object, read)| match &read.standing {
            ObjectStanding::Unread(why) => Some((object, why)),
            _ => None,
        });
        let gone = self.gone.iter().filter_map(|(object, read)| match read {
            GoneObject::Unread(why) => Some((object, why)),
            _ => None,
        });
        objects.chain(gone).next()
    }
}

/// The version of an addon whose objects others have applied.
const UNKNOWN_VERSION: &str = "unknown";

impl GoneObject {
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(..))
    }

    /// True if nothing is left to be done about it.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Kept | Self::Absent)
    }
}

/// The move of an addon's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestsMove {
    /// Below the cluster's folder: `addons/coredns`; of objects that helm makes, where their chart comes from.
    pub folder: String,
    /// Of all that is asked for.
    pub digest: String,
    /// All objects that the addon has after the move.
    pub objects: Vec<ObjectRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<ObjectRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<ObjectRef>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<ObjectRef>,
    /// Workloads whose rollouts did not go on before the move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<StuckWorkload>,
    /// What would change of each object, for people. The record does not have it: it follows from git.
    #[serde(skip)]
    pub diffs: BTreeMap<ObjectRef, Vec<FieldChange>>,
}

/// A workload whose rollout does not go on, and the generation of which that is so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StuckWorkload {
    pub object: ObjectRef,
    pub generation: i64,
}

impl ManifestsMove {
    /// True if it changes these manifests and no others, and deletes none of them.
    pub fn follows_from(&self, asked: &AddonManifests) -> bool {
        let objects = asked.objects.iter().map(|manifest| &manifest.object);
        let has = |object: &ObjectRef| self.objects.contains(object);
        let kept = |object: &ObjectRef| self.objects.iter().any(|kept| kept.is_same_as(object));
        self.folder == asked.folder
            && self.digest == asked.digest
            && objects.eq(&self.objects)
            && self.added.iter().chain(&self.changed).all(has)
            && !self.removed.iter().any(kept)
    }
}
