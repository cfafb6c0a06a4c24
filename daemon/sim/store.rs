//! The objects, their one line of versions, the history that watches resume from, and the indices.

use super::object::{Key, Object};
use super::resource::Kind;
use super::selector::Labels;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

/// One write: what was there before, and what is there now.
#[derive(Debug)]
pub(super) struct Change {
    pub version: u64,
    pub at: Timestamp,
    pub old: Option<Arc<Object>>,
    /// After a deletion: the last state, carrying the version of the deletion.
    pub new: Arc<Object>,
    pub deleted: bool,
    frames: [OnceLock<Bytes>; 3],
}

/// What a watch calls a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Added,
    Modified,
    Deleted,
}

impl Event {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

impl Change {
    /// The line of a watch, serialized once for all who watch.
    pub(super) fn frame(&self, event: Event) -> Bytes {
        let [added, modified, deleted] = &self.frames;
        let cell = match event {
            Event::Added => added,
            Event::Modified => modified,
            Event::Deleted => deleted,
        };
        cell.get_or_init(|| frame(event, &self.new.body())).clone()
    }
}

pub(super) fn frame(event: Event, body: &[u8]) -> Bytes {
    let mut line = format!("{{\"type\":\"{}\",\"object\":", event.name()).into_bytes();
    line.extend_from_slice(body);
    line.extend_from_slice(b"}\n");
    line.into()
}

#[derive(Debug, Default)]
struct History {
    changes: VecDeque<Arc<Change>>,
    /// The newest version that is no longer here.
    compacted: u64,
}

/// What the pods on a node ask for together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub pods: u64,
    pub cpu: u64,
    pub memory: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    objects: BTreeMap<Kind, BTreeMap<Key, Arc<Object>>>,
    history: BTreeMap<Kind, History>,
    keep: usize,
    version: u64,
    by_node: BTreeMap<Box<str>, BTreeSet<Key>>,
    by_owner: BTreeMap<Arc<str>, BTreeSet<(Kind, Key)>>,
    /// Pods, and the budgets that pin a label, by namespace and label; other budgets by namespace alone.
    by_label: BTreeMap<(Kind, String), BTreeSet<Key>>,
    load: BTreeMap<Box<str>, Load>,
    ready_by_owner: BTreeMap<Arc<str>, usize>,
}

impl Store {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            objects: BTreeMap::new(),
            history: BTreeMap::new(),
            keep: keep.max(1),
            version: 1,
            by_node: BTreeMap::new(),
            by_owner: BTreeMap::new(),
            by_label: BTreeMap::new(),
            load: BTreeMap::new(),
            ready_by_owner: BTreeMap::new(),
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, kind: Kind, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(&kind.stored())?.get(key)
    }

    pub(super) fn len(&self, kind: Kind) -> usize {
        self.objects.get(&kind.stored()).map_or(0, BTreeMap::len)
    }

    /// The objects of a kind, of one namespace where one is named, from a key on.
    pub(super) fn range<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a str,
        from: Option<&Key>,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        let start = match from {
            Some(key) => Bound::Excluded(key.clone()),
            None => Bound::Included(Key::new(namespace, "")),
        };
        self.objects
            .get(&kind.stored())
            .into_iter()
            .flat_map(move |objects| objects.range((start.clone(), Bound::Unbounded)))
            .map(|(_, object)| object)
            .take_while(move |object| namespace.is_empty() || object.key.namespace.as_ref() == namespace)
    }

    pub(super) fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.by_node.get(node).into_iter().flatten().filter_map(|key| self.get(Kind::Pod, key))
    }

    pub(super) fn owned_by<'a>(
        &'a self,
        uid: &str,
        kind: Kind,
    ) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.dependents(uid).filter(move |object| object.kind == kind)
    }

    pub(super) fn dependents<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<Object>> + use<'a> {
        self.by_owner.get(uid).into_iter().flatten().filter_map(|(kind, key)| self.get(*kind, key))
    }

    pub(super) fn load_of(&self, node: &str) -> Load {
        self.load.get(node).copied().unwrap_or_default()
    }

    /// Ready pods that name this owner as their controller.
    pub(super) fn ready_of(&self, uid: &str) -> usize {
        self.ready_by_owner.get(uid).copied().unwrap_or_default()
    }

    /// Stores a tree under the next version, which is written into it.
    pub(super) fn put(
        &mut self,
        kind: Kind,
        key: Key,
        mut tree: Value,
        at: Timestamp,
        packed: bool,
    ) -> Arc<Change> {
        let version = self.stamp(&mut tree);
        let object = Object::new(kind.stored(), key.clone(), version, tree);
        let new = Arc::new(if packed { object.packed() } else { object });
        let old = self.objects.entry(kind.stored()).or_default().insert(key, Arc::clone(&new));
        if let Some(old) = &old {
            self.unindex(old);
        }
        self.index(&new);
        self.remember(Change { version, at, old, new, deleted: false, frames: Default::default() })
    }

    pub(super) fn remove(&mut self, kind: Kind, key: &Key, at: Timestamp) -> Option<Arc<Change>> {
        let old = self.objects.get_mut(&kind.stored())?.remove(key)?;
        self.unindex(&old);
        let mut tree = old.to_tree();
        let version = self.stamp(&mut tree);
        let new = Arc::new(Object::new(kind.stored(), key.clone(), version, tree));
        Some(self.remember(Change {
            version,
            at,
            old: Some(old),
            new,
            deleted: true,
            frames: Default::default(),
        }))
    }

    fn stamp(&mut self, tree: &mut Value) -> u64 {
        self.version += 1;
        super::json::set(tree, &["metadata", "resourceVersion"], self.version.to_string());
        self.version
    }

    fn remember(&mut self, change: Change) -> Arc<Change> {
        let change = Arc::new(change);
        let history = self.history.entry(change.new.kind).or_default();
        history.changes.push_back(Arc::clone(&change));
        while history.changes.len() > self.keep {
            if let Some(dropped) = history.changes.pop_front() {
                history.compacted = dropped.version;
            }
        }
        change
    }

    /// The changes of a kind after a version, or nothing if some of them are forgotten.
    pub(super) fn since(&self, kind: Kind, version: u64) -> Option<impl Iterator<Item = &Arc<Change>>> {
        let history = self.history.get(&kind.stored());
        if history.is_some_and(|history| version < history.compacted) {
            return None;
        }
        let changes = history.map(|history| &history.changes);
        let skip = changes.map_or(0, |changes| changes.partition_point(|change| change.version <= version));
        Some(changes.into_iter().flat_map(move |changes| changes.range(skip..)))
    }

    /// The oldest version that a watch of this kind may resume from.
    pub(super) fn oldest(&self, kind: Kind) -> u64 {
        self.history.get(&kind.stored()).map_or(0, |history| history.compacted)
    }

    /// Forgets all history, as a compaction of etcd does.
    pub(super) fn compact(&mut self) {
        for history in self.history.values_mut() {
            history.changes.clear();
            history.compacted = self.version;
        }
    }

    /// The pods of a namespace that a selector matches.
    pub(super) fn selected<'a>(&'a self, namespace: &'a str, selector: &'a Labels) -> Vec<&'a Arc<Object>> {
        match selector.pinned() {
            Some((key, value)) => {
                let keys = self.by_label.get(&(Kind::Pod, label_place(namespace, key, value)));
                let pods = keys.into_iter().flatten().filter_map(|key| self.get(Kind::Pod, key));
                pods.filter(|pod| selector.matches(pod)).collect()
            }
            None => self.range(Kind::Pod, namespace, None).filter(|pod| selector.matches(pod)).collect(),
        }
    }

    /// The budgets that select a pod.
    pub(super) fn budgets_of(&self, pod: &Object) -> Vec<&Arc<Object>> {
        let namespace = &pod.key.namespace;
        let pinned = pod.labels.iter().map(|(key, value)| label_place(namespace, key, value));
        pinned
            .chain([namespace.to_string()])
            .filter_map(|place| self.by_label.get(&(Kind::PodDisruptionBudget, place)))
            .flatten()
            .filter_map(|key| self.get(Kind::PodDisruptionBudget, key))
            .filter(|budget| budget.selector().is_some_and(|selector| selector.matches(pod)))
            .collect()
    }

    fn index(&mut self, object: &Arc<Object>) {
        for place in label_places(object) {
            self.by_label.entry((object.kind, place)).or_default().insert(object.key.clone());
        }
        for owner in &object.owners {
            let place = (object.kind, object.key.clone());
            self.by_owner.entry(Arc::clone(&owner.uid)).or_default().insert(place);
        }
        let Some(pod) = object.pod() else { return };
        if let (true, Some(owner)) = (object.healthy(), object.controller()) {
            *self.ready_by_owner.entry(Arc::clone(&owner.uid)).or_default() += 1;
        }
        if pod.node.is_empty() {
            return;
        }
        self.by_node.entry(pod.node.clone()).or_default().insert(object.key.clone());
        if !pod.finished() {
            let load = self.load.entry(pod.node.clone()).or_default();
            *load = Load { pods: load.pods + 1, cpu: load.cpu + pod.cpu, memory: load.memory + pod.memory };
        }
    }

    fn unindex(&mut self, object: &Object) {
        for place in label_places(object) {
            let place = (object.kind, place);
            if let Some(keys) = self.by_label.get_mut(&place) {
                keys.remove(&object.key);
                if keys.is_empty() {
                    self.by_label.remove(&place);
                }
            }
        }
        for owner in &object.owners {
            if let Some(places) = self.by_owner.get_mut(&owner.uid) {
                places.remove(&(object.kind, object.key.clone()));
                if places.is_empty() {
                    self.by_owner.remove(&owner.uid);
                }
            }
        }
        let Some(pod) = object.pod() else { return };
        if let (true, Some(owner)) = (object.healthy(), object.controller())
            && let Some(ready) = self.ready_by_owner.get_mut(&owner.uid)
        {
            *ready = ready.saturating_sub(1);
        }
        if let Some(keys) = self.by_node.get_mut(&pod.node) {
            keys.remove(&object.key);
        }
        if let (false, Some(load)) = (pod.finished(), self.load.get_mut(&pod.node)) {
            *load = Load {
                pods: load.pods.saturating_sub(1),
                cpu: load.cpu.saturating_sub(pod.cpu),
                memory: load.memory.saturating_sub(pod.memory),
            };
        }
    }
}

fn label_place(namespace: &str, key: &str, value: &str) -> String {
    format!("{namespace}/{key}={value}")
}

fn label_places(object: &Object) -> Vec<String> {
    let namespace = &object.key.namespace;
    match object.kind {
        Kind::Pod => object.labels.iter().map(|(key, value)| label_place(namespace, key, value)).collect(),
        Kind::PodDisruptionBudget => {
            let pinned = object.selector().and_then(Labels::pinned);
            vec![
                pinned
                    .map_or_else(|| namespace.to_string(), |(key, value)| label_place(namespace, key, value)),
            ]
        }
        _ => Vec::new(),
    }
}
