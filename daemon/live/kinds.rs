//! The kinds of objects that are watched, one row each; the rest of the code about a kind follows from its row. A new
//! kind is a row here and its conversion.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::{apps, batch, core, policy, storage};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource};
use serde::de::DeserializeOwned;

use super::shared::Shared;
use super::{Event, Folder};
use crate::model::live::{ByUid, Id, Live, OwnerKind, Uid};
use crate::model::names::{NAMESPACE, NOTES, RESUME, STOP};

/// A Kubernetes object as `k8s-openapi` types it.
pub trait Object: Metadata<Ty = ObjectMeta> + Clone + Debug + DeserializeOwned + Send + 'static {}

impl<K: Metadata<Ty = ObjectMeta> + Clone + Debug + DeserializeOwned + Send + 'static> Object for K {}

/// Where the objects of one kind are watched. The cluster edge implements it; it is called once for each row.
pub trait Watch {
    /// Watches the kind in all namespaces, or cluster-wide.
    fn all<K: Object>(&mut self, kind: Kind, seen: fn(Event<Box<K>>) -> Watched);

    /// Watches the kind in one namespace.
    fn within<K>(&mut self, kind: Kind, seen: fn(Event<Box<K>>) -> Watched, namespace: &'static str)
    where
        K: Object + Resource<Scope = NamespaceResourceScope>;

    /// Watches the one object of this name in a namespace.
    fn named<K>(
        &mut self,
        kind: Kind,
        seen: fn(Event<Box<K>>) -> Watched,
        namespace: &'static str,
        name: &'static str,
    ) where
        K: Object + Resource<Scope = NamespaceResourceScope>;
}

/// How the picture stores the objects of one kind.
struct KindRow<K, Key, Known> {
    kind: Kind,
    /// What identifies an object of the kind.
    key: fn(&ObjectMeta, &mut Shared) -> Key,
    /// All objects of the kind that are in the picture: their keys, or what has their keys and takes less memory.
    known: fn(&Live) -> BTreeSet<Known>,
    listing: fn(&mut Listings) -> &mut Option<BTreeSet<Known>>,
    put: fn(&mut Folder, &K, Timestamp),
    drop: fn(&mut Folder, &Key),
}

/// The table. A row has: the field that tracks its listing; the kind; its display name; the type; where it is
/// watched; the key, and what keeps it during a listing; those already in the picture; how an object is stored and
/// removed.
macro_rules! kinds {
    ($(
        $field:ident: $kind:ident $name:literal = $object:ty, $place:ident($($at:expr),*),
        $key:ident -> $known_type:ty, $known:expr, $put:expr, $drop:expr;
    )*) => {
        /// A kind of objects that is watched.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($kind),* }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }
        }

        /// What a watch reports of an object.
        #[derive(Clone, Debug)]
        pub enum Watched { $($kind(Event<Box<$object>>)),* }

        /// For each kind that is being listed: the keys that were known before and have not been listed so far.
        #[derive(Debug, Default)]
        pub(super) struct Listings { $(pub(super) $field: Option<BTreeSet<$known_type>>),* }

        /// Starts the watch of every kind.
        pub fn watch_all(by: &mut impl Watch) {
            $(by.$place::<$object>(Kind::$kind, Watched::$kind $(, $at)*);)*
        }

        impl Folder {
            pub(super) fn watched(&mut self, watched: Watched, now: Timestamp) {
                match watched {
                    $(Watched::$kind(event) => {
                        let row = KindRow {
                            kind: Kind::$kind,
                            key: $key,
                            known: $known,
                            listing: |listings| &mut listings.$field,
                            put: $put,
                            drop: $drop,
                        };
                        self.fold_event(event, &row, now);
                    })*
                }
            }
        }
    };
}

kinds! {
    nodes: Node "nodes" = core::v1::Node, all(),
        name -> Id, |live| live.nodes.keys().cloned().collect(), Folder::put_node, Folder::drop_node;
    pods: Pod "pods" = core::v1::Pod, all(),
        uid -> ByUid, |live| live.pods.all().clone(), Folder::put_pod, Folder::drop_pod;
    budgets: Budget "poddisruptionbudgets" = policy::v1::PodDisruptionBudget, all(),
        namespaced -> (Id, Id), |live| live.budgets.keys().cloned().collect(), Folder::put_budget, Folder::drop_budget;
    deployments: Deployment "deployments" = apps::v1::Deployment, all(),
        controller_uid -> Id, |live| owners(live, OwnerKind::Deployment), Folder::put_deployment, Folder::drop_workload;
    replica_sets: ReplicaSet "replicasets" = apps::v1::ReplicaSet, all(),
        controller_uid -> Id, |live| owners(live, OwnerKind::ReplicaSet), Folder::put_replica_set, Folder::drop_workload;
    stateful_sets: StatefulSet "statefulsets" = apps::v1::StatefulSet, all(),
        controller_uid -> Id, |live| owners(live, OwnerKind::StatefulSet), Folder::put_stateful_set, Folder::drop_workload;
    daemon_sets: DaemonSet "daemonsets" = apps::v1::DaemonSet, all(),
        controller_uid -> Id, |live| owners(live, OwnerKind::DaemonSet), Folder::put_daemon_set, Folder::drop_workload;
    jobs: Job "jobs" = batch::v1::Job, within(NAMESPACE),
        name -> Id, |live| live.jobs.iter().map(|(name, _)| Id::from(name.as_str())).collect(), Folder::put_job, Folder::drop_job;
    attachments: Attachment "volumeattachments" = storage::v1::VolumeAttachment, all(),
        name -> Id, |live| live.attachments.keys().cloned().collect(), Folder::put_attachment, Folder::drop_attachment;
    claims: Claim "persistentvolumeclaims" = core::v1::PersistentVolumeClaim, all(),
        namespaced -> (Id, Id), |live| live.claims.keys().cloned().collect(), Folder::put_claim, Folder::drop_claim;
    stop: Stop "configmap/windlass-stop" = core::v1::ConfigMap, named(NOTES, STOP),
        name -> Id, |live| live.stop.iter().map(|_| STOP.into()).collect(), Folder::put_stop, Folder::drop_stop;
    resume: Resume "configmap/windlass-resume" = core::v1::ConfigMap, named(NOTES, RESUME),
        name -> Id, |live| live.resume.iter().map(|_| RESUME.into()).collect(), Folder::put_resume, Folder::drop_resume;
}

impl Kind {
    /// True for a kind without which everything is still decided, only later: while no claim is known, a drain waits for
    /// every attached volume of its node, also for those of pods that stay, at most six minutes.
    pub fn is_optional(self) -> bool {
        self == Self::Claim
    }

    /// True for a kind whose objects come from reads and from answers to writes too, and not from its watch alone.
    fn is_read_again(self) -> bool {
        matches!(self, Self::Node | Self::Pod | Self::Job | Self::Deployment)
    }
}

fn name(meta: &ObjectMeta, shared: &mut Shared) -> Id {
    shared.id(meta.name.as_deref().unwrap_or_default())
}

fn uid(meta: &ObjectMeta, _: &mut Shared) -> Uid {
    Uid::from(meta.uid.as_deref().unwrap_or_default())
}

/// The UID of a controller; its pods refer to it.
fn controller_uid(meta: &ObjectMeta, shared: &mut Shared) -> Id {
    shared.id(meta.uid.as_deref().unwrap_or_default())
}

fn namespaced(meta: &ObjectMeta, shared: &mut Shared) -> (Id, Id) {
    (shared.id(meta.namespace.as_deref().unwrap_or_default()), name(meta, shared))
}

fn owners(live: &Live, kind: OwnerKind) -> BTreeSet<Id> {
    let of_kind = live.workloads.iter().filter(|(_, workload)| workload.kind == kind);
    of_kind.map(|(uid, _)| uid.clone()).collect()
}

impl Folder {
    /// Folds one event of one kind. At the end of a list, objects that the list did not contain are dropped.
    fn fold_event<K: Object, Key: Ord, Known: Ord + Borrow<Key>>(
        &mut self,
        event: Event<Box<K>>,
        row: &KindRow<K, Key, Known>,
        now: Timestamp,
    ) {
        match event {
            Event::Begin => *(row.listing)(&mut self.listings) = Some((row.known)(&self.live)),
            Event::Listed(object) => {
                let key = (row.key)(object.metadata(), &mut self.shared);
                if let Some(missing) = (row.listing)(&mut self.listings) {
                    missing.remove(&key);
                }
                (row.put)(self, &object, now);
            }
            Event::End => {
                for gone in (row.listing)(&mut self.listings).take().unwrap_or_default() {
                    (row.drop)(self, gone.borrow());
                }
                self.live.unseen.remove(row.kind.name());
                if !row.kind.is_optional() {
                    self.live.heard.insert(row.kind.name(), now);
                }
                if row.kind.is_read_again() {
                    self.deletions.listed = Some(now);
                }
                self.listed.insert(row.kind);
                let complete = self.missing().next().is_none();
                self.live.complete = complete;
            }
            Event::Applied(object) => (row.put)(self, &object, now),
            Event::Deleted(object) => {
                if row.kind.is_read_again() {
                    self.deletions.add(object.metadata(), now);
                }
                let key = (row.key)(object.metadata(), &mut self.shared);
                (row.drop)(self, &key);
            }
        }
    }

    /// The kinds that have not been listed yet.
    pub fn missing(&self) -> impl Iterator<Item = Kind> + use<'_> {
        Kind::ALL.iter().copied().filter(|kind| !kind.is_optional() && !self.listed.contains(kind))
    }
}
