//! The kinds of objects that are watched: one row each, from which everything else about a kind follows.
//! A new kind is a row in here and its conversion.

use std::collections::BTreeSet;
use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::{apps, batch, core, policy, storage};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, NamespaceResourceScope, Resource};
use serde::de::DeserializeOwned;

use super::shared::Shared;
use super::{Event, Folder};
use crate::model::live::{Id, Live, OwnerKind, Uid};
use crate::model::names::{NAMESPACE, NOTES, RESUME, STOP};

/// An object of Kubernetes, as `k8s-openapi` has it.
pub trait Object: Metadata<Ty = ObjectMeta> + Clone + Debug + DeserializeOwned + Send + 'static {}

impl<K: Metadata<Ty = ObjectMeta> + Clone + Debug + DeserializeOwned + Send + 'static> Object for K {}

/// Where the objects of one kind are looked for: whoever watches implements it, and is called once for each row.
pub trait Watch {
    /// Wherever they are.
    fn all<K: Object>(&mut self, kind: Kind, seen: fn(Event<Box<K>>) -> Watched);

    /// In one namespace.
    fn within<K>(&mut self, kind: Kind, seen: fn(Event<Box<K>>) -> Watched, namespace: &'static str)
    where
        K: Object + Resource<Scope = NamespaceResourceScope>;

    /// The one object of this name in a namespace.
    fn named<K>(
        &mut self,
        kind: Kind,
        seen: fn(Event<Box<K>>) -> Watched,
        namespace: &'static str,
        name: &'static str,
    ) where
        K: Object + Resource<Scope = NamespaceResourceScope>;
}

/// How the picture keeps the objects of one kind.
struct Row<K, Key> {
    kind: Kind,
    /// What tells two objects of the kind apart.
    key: fn(&ObjectMeta, &mut Shared) -> Key,
    /// The keys of everything of the kind that is in the picture.
    known: fn(&Live) -> BTreeSet<Key>,
    listing: fn(&mut Listings) -> &mut Option<BTreeSet<Key>>,
    put: fn(&mut Folder, &K, Timestamp),
    drop: fn(&mut Folder, &Key),
}

/// The table. A row: what its list is kept as while it comes; the kind; its name as people are shown it; the type;
/// where it is looked for; the key and its type; what is known already; how an object is put in and dropped.
macro_rules! kinds {
    ($(
        $field:ident: $kind:ident $name:literal = $object:ty, $place:ident($($at:expr),*),
        $key:ident -> $key_type:ty, $known:expr, $put:expr, $drop:expr;
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

        /// What a watch tells of an object.
        #[derive(Clone, Debug)]
        pub enum Watched { $($kind(Event<Box<$object>>)),* }

        /// For each kind whose list is coming: what was known before and has not been listed so far.
        #[derive(Debug, Default)]
        pub(super) struct Listings { $($field: Option<BTreeSet<$key_type>>),* }

        /// Has every kind watched.
        pub fn watch_all(by: &mut impl Watch) {
            $(by.$place::<$object>(Kind::$kind, Watched::$kind $(, $at)*);)*
        }

        impl Folder {
            pub(super) fn watched(&mut self, watched: Watched, now: Timestamp) {
                match watched {
                    $(Watched::$kind(event) => {
                        let row = Row {
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
        uid -> Uid, |live| live.pods.values().map(|pod| pod.uid.clone()).collect(), Folder::put_pod, Folder::drop_pod;
    budgets: Budget "poddisruptionbudgets" = policy::v1::PodDisruptionBudget, all(),
        namespaced -> (Id, Id), |live| live.budgets.keys().cloned().collect(), Folder::put_budget, Folder::drop_budget;
    deployments: Deployment "deployments" = apps::v1::Deployment, all(),
        owner -> Id, |live| owners(live, OwnerKind::Deployment), Folder::put_deployment, Folder::drop_workload;
    replica_sets: ReplicaSet "replicasets" = apps::v1::ReplicaSet, all(),
        owner -> Id, |live| owners(live, OwnerKind::ReplicaSet), Folder::put_replica_set, Folder::drop_workload;
    stateful_sets: StatefulSet "statefulsets" = apps::v1::StatefulSet, all(),
        owner -> Id, |live| owners(live, OwnerKind::StatefulSet), Folder::put_stateful_set, Folder::drop_workload;
    daemon_sets: DaemonSet "daemonsets" = apps::v1::DaemonSet, all(),
        owner -> Id, |live| owners(live, OwnerKind::DaemonSet), Folder::put_daemon_set, Folder::drop_workload;
    jobs: Job "jobs" = batch::v1::Job, within(NAMESPACE),
        name -> Id, |live| live.jobs.keys().map(|name| Id::from(name.as_str())).collect(), Folder::put_job, Folder::drop_job;
    attachments: Attachment "volumeattachments" = storage::v1::VolumeAttachment, all(),
        name -> Id, |live| live.attachments.keys().cloned().collect(), Folder::put_attachment, Folder::drop_attachment;
    stop: Stop "configmap/windlass-stop" = core::v1::ConfigMap, named(NOTES, STOP),
        name -> Id, |live| live.stop.iter().map(|_| STOP.into()).collect(), Folder::put_stop, Folder::drop_stop;
    resume: Resume "configmap/windlass-resume" = core::v1::ConfigMap, named(NOTES, RESUME),
        name -> Id, |live| live.resume.iter().map(|_| RESUME.into()).collect(), Folder::put_resume, Folder::drop_resume;
}

fn name(meta: &ObjectMeta, shared: &mut Shared) -> Id {
    shared.id(meta.name.as_deref().unwrap_or_default())
}

fn uid(meta: &ObjectMeta, _: &mut Shared) -> Uid {
    Uid::from(meta.uid.as_deref().unwrap_or_default())
}

/// The UID of a controller, which its pods mention.
fn owner(meta: &ObjectMeta, shared: &mut Shared) -> Id {
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
    /// One event of one kind. A list that ends drops what it did not name.
    fn fold_event<K: Object, Key: Ord>(&mut self, event: Event<Box<K>>, row: &Row<K, Key>, now: Timestamp) {
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
                    (row.drop)(self, &gone);
                }
                self.live.unseen.remove(row.kind.name());
                self.listed.insert(row.kind);
                let complete = self.missing().next().is_none();
                self.live.complete = complete;
            }
            Event::Applied(object) => (row.put)(self, &object, now),
            Event::Deleted(object) => {
                let key = (row.key)(object.metadata(), &mut self.shared);
                (row.drop)(self, &key);
            }
        }
    }

    /// The kinds that have not been listed once.
    pub fn missing(&self) -> impl Iterator<Item = Kind> + use<'_> {
        Kind::ALL.iter().copied().filter(|kind| !self.listed.contains(kind))
    }
}
