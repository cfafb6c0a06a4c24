//! The synchronous core: requests in, answers out, and whatever falls due in between.

use super::answer::Answer;
use super::audit::Audit;
use super::control::node::Kubelet;
use super::faults::Faults;
use super::json::{self, int, text};
use super::object::{Key, Object};
use super::queue::{Queue, Task};
use super::request::{Call, Place};
use super::resource::Kind;
use super::seed::Seed;
use super::settings::Settings;
use super::status::{Refusal, Served};
use super::store::Store;
use super::{discovery, time};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A simulated cluster. It never asks what time it is.
#[derive(Debug)]
pub struct Cluster {
    pub settings: Settings,
    pub faults: Faults,
    pub(super) store: Store,
    pub(super) audit: Audit,
    pub(super) seed: Seed,
    pub(super) queue: Queue,
    pub(super) kubelets: BTreeMap<Box<str>, Kubelet>,
    /// Pods that found no node.
    pub(super) unplaced: BTreeSet<Key>,
    pub(super) watch_epoch: u64,
    /// A restart of the only API server.
    pub(super) away_until: Option<Timestamp>,
}

/// Namespaces that every cluster has.
const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system"];

impl Cluster {
    pub fn new(settings: Settings, now: Timestamp) -> Self {
        let mut cluster = Self {
            store: Store::new(settings.history),
            seed: Seed::new(settings.seed),
            settings,
            faults: Faults::default(),
            audit: Audit::default(),
            queue: Queue::default(),
            kubelets: BTreeMap::new(),
            unplaced: BTreeSet::new(),
            watch_epoch: 0,
            away_until: None,
        };
        for name in NAMESPACES {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            // A fresh store refuses none of these.
            drop(cluster.create(namespace, now));
        }
        cluster
    }

    /// Answers one request, after everything that was due before it.
    pub fn handle(&mut self, request: Request<Bytes>, now: Timestamp) -> Answer {
        self.run_until(now);
        let mut answer = match Call::new(request) {
            Ok(call) => {
                let answer = self.answer(&call, now);
                self.audit.note(&call, answer.status, now);
                answer
            }
            Err(refusal) => Answer::from(&refusal),
        };
        answer.dated(now.saturating_add(self.settings.clock_ahead).unwrap_or(now));
        answer
    }

    fn answer(&mut self, call: &Call, now: Timestamp) -> Answer {
        if self.is_away(now) {
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "apiserver not ready\n");
        }
        if let Some(how) = self.faults.hit(call) {
            if how.applies() {
                drop(self.serve(call, now));
            }
            return how.answer();
        }
        self.serve(call, now).unwrap_or_else(|refusal| Answer::from(&refusal))
    }

    pub(super) fn is_away(&self, now: Timestamp) -> bool {
        self.faults.away(now) || self.away_until.is_some_and(|until| now < until)
    }

    fn serve(&mut self, call: &Call, now: Timestamp) -> Served<Answer> {
        let Some(place) = &call.place else { return discovery::serve(self, call) };
        let subresource = place.subresource.as_str();
        if !subresource.is_empty() && !place.resource.subresources.contains(&subresource) {
            return Err(Refusal::unserved(&format!("{}/{subresource}", place.resource.plural)));
        }
        let named = !place.name.is_empty();
        match (&call.method, named) {
            (&Method::GET, _) if call.query.flag("watch") => self.watch(call, place, now).map(Answer::watch),
            (&Method::GET, true) => self.get(call, place, now),
            (&Method::GET, false) => self.list(call, place, now),
            (&Method::POST, true) if !subresource.is_empty() => self.post_subresource(call, place, now),
            (&Method::POST, false) => self.create_call(call, place, now),
            (&Method::PUT, true) => self.update_call(call, place, now),
            (&Method::PATCH, true) => self.patch_call(call, place, now),
            (&Method::DELETE, true) => self.delete_call(call, place, now),
            (&Method::DELETE, false) => self.delete_collection(call, place, now),
            _ => Err(Refusal::method()),
        }
    }

    /// When something will happen by itself, if nobody asks for anything before.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queue.next_due()
    }

    /// Lets everything happen that is due by `now`, in order, each at its own time.
    pub fn run_until(&mut self, now: Timestamp) {
        while let Some((due, task)) = self.queue.pop(now) {
            self.perform(task, due);
        }
    }

    /// Creates an object as a client would, without being counted as a request.
    pub fn create(&mut self, tree: Value, now: Timestamp) -> Result<Arc<Object>, Refusal> {
        let place = place_of(&tree)?;
        let (key, tree) = self.admitted(&place, tree, now)?;
        Ok(self.put(place.resource.kind, key, tree, now))
    }

    /// Takes an object as it is, status, UID and all: how the objects of another cluster get in.
    pub fn load(&mut self, mut tree: Value, now: Timestamp) -> Result<Arc<Object>, Refusal> {
        let place = place_of(&tree)?;
        let key = Key::new(&place.namespace, &place.name);
        if text(&tree, &["metadata", "uid"]).is_empty() {
            json::set(&mut tree, &["metadata", "uid"], self.seed.uid());
        }
        json::set_absent(&mut tree, &["metadata", "creationTimestamp"], time::seconds(now));
        if place.resource.namespaced {
            json::set(&mut tree, &["metadata", "namespace"], place.namespace.clone());
        }
        let change = self.store.put(place.resource.kind, key, tree, now, true);
        self.react(&change);
        Ok(Arc::clone(&change.new))
    }

    pub fn object(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.store.get(kind, &Key::new(namespace, name)).cloned()
    }

    /// All objects of a kind; of one namespace, unless that is empty.
    pub fn objects<'a>(&'a self, kind: Kind, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Object>> {
        self.store.range(kind, namespace, None)
    }

    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.store.pods_on(node)
    }

    /// Changes an object as an outside hand would, bypassing admission and the audit.
    pub fn change(
        &mut self,
        kind: Kind,
        namespace: &str,
        name: &str,
        now: Timestamp,
        with: impl FnOnce(&mut Value),
    ) -> bool {
        self.edit(kind, &Key::new(namespace, name), now, with).is_some()
    }

    /// Removes an object at once, finalizers or not.
    pub fn erase_object(&mut self, kind: Kind, namespace: &str, name: &str, now: Timestamp) {
        self.erase(kind, &Key::new(namespace, name), now);
    }

    pub fn version(&self) -> u64 {
        self.store.version()
    }

    /// Every change of a kind that is not forgotten: when, what was stored, and whether that was a deletion.
    pub fn history(&self, kind: Kind) -> impl Iterator<Item = (Timestamp, &Object, bool)> {
        let changes = self.store.since(kind, self.store.oldest(kind)).into_iter().flatten();
        changes.map(|change| (change.at, &*change.new, change.deleted))
    }

    /// Ends all watches at once, as a restart of an API server does.
    pub fn cut_watches(&mut self) {
        self.watch_epoch += 1;
    }

    /// Forgets all history, so that watches cannot resume from before now.
    pub fn compact(&mut self) {
        self.store.compact();
    }

    pub(super) fn later(&mut self, task: Task, due: Timestamp) {
        self.queue.add(task, due);
    }

    /// Stores a new version of an object and lets the controllers know.
    pub(super) fn put(&mut self, kind: Kind, key: Key, mut tree: Value, at: Timestamp) -> Arc<Object> {
        if kind.has_generation()
            && let Some(old) = self.store.get(kind, &key)
            && old.tree().get("spec") != tree.get("spec")
        {
            let generation = int(old.tree(), &["metadata", "generation"]).unwrap_or_default();
            json::set(&mut tree, &["metadata", "generation"], generation + 1);
        }
        let change = self.store.put(kind, key, tree, at, false);
        self.react(&change);
        Arc::clone(&change.new)
    }

    /// Changes an object in place. An edit that changes nothing writes nothing.
    pub(super) fn edit(
        &mut self,
        kind: Kind,
        key: &Key,
        at: Timestamp,
        with: impl FnOnce(&mut Value),
    ) -> Option<Arc<Object>> {
        let old = Arc::clone(self.store.get(kind, key)?);
        let mut tree = old.to_tree();
        with(&mut tree);
        if tree == *old.tree() {
            return Some(old);
        }
        Some(self.put(kind, key.clone(), tree, at))
    }

    pub(super) fn erase(&mut self, kind: Kind, key: &Key, at: Timestamp) {
        if let Some(change) = self.store.remove(kind, key, at) {
            self.react(&change);
        }
    }
}

fn place_of(tree: &Value) -> Served<Place> {
    let (api_version, kind) = (text(tree, &["apiVersion"]), text(tree, &["kind"]));
    let found = Kind::named(api_version, kind)
        .ok_or_else(|| Refusal::unserved(&format!("{kind} in {api_version}")))?;
    let resource = found.resource();
    let namespace = match text(tree, &["metadata", "namespace"]) {
        "" if resource.namespaced => "default",
        _ if !resource.namespaced => "",
        stated => stated,
    };
    Ok(Place {
        resource,
        namespace: namespace.to_owned(),
        name: text(tree, &["metadata", "name"]).to_owned(),
        subresource: String::new(),
    })
}
