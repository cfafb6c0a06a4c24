//! One stored object: its JSON, and the few facts about it that indices and controllers ask for all the time.
//!
//! JSON is kept as text or as a tree, whichever was there first; the other is made when somebody asks. A hundred
//! thousand pods that nobody touches are therefore only their text.

use super::json::{self, text};
use super::quantity;
use super::resource::Kind;
use super::selector::Labels;
use bytes::Bytes;
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// Where an object lives inside its kind. The namespace of a cluster-wide object is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// An immutable version of an object.
#[derive(Debug)]
pub struct Object {
    pub kind: Kind,
    pub key: Key,
    pub version: u64,
    pub(super) uid: Arc<str>,
    pub(super) labels: Box<[(Box<str>, Box<str>)]>,
    pub(super) owners: Box<[Owner]>,
    pub(super) deleting: bool,
    pub(super) facts: Facts,
    tree: OnceLock<Value>,
    body: OnceLock<Bytes>,
}

/// An owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub kind: Box<str>,
    pub api_version: Box<str>,
    pub name: Box<str>,
    pub uid: Arc<str>,
    pub controller: bool,
}

/// What a kind's controllers and field selectors look at.
#[derive(Debug)]
pub(super) enum Facts {
    Pod(PodFacts),
    Node(NodeFacts),
    /// A budget's selector; none where it selects nothing.
    Budget(Option<Labels>),
    Other,
}

#[derive(Debug)]
pub(super) struct PodFacts {
    pub node: Box<str>,
    pub phase: Phase,
    pub ready: bool,
    pub cpu: u64,
    pub memory: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

#[derive(Debug)]
pub(super) struct NodeFacts {
    pub unschedulable: bool,
    pub ready: bool,
    pub taints: Box<[Taint]>,
    pub pods: u64,
    pub cpu: u64,
    pub memory: u64,
}

#[derive(Debug)]
pub(super) struct Taint {
    pub key: Box<str>,
    pub value: Box<str>,
    pub effect: Box<str>,
}

impl Object {
    /// Takes the tree as it is, resource version included.
    pub(super) fn new(kind: Kind, key: Key, version: u64, tree: Value) -> Self {
        let metadata = tree.get("metadata").unwrap_or(&Value::Null);
        Self {
            kind,
            key,
            version,
            uid: text(metadata, &["uid"]).into(),
            labels: json::pairs(metadata, &["labels"])
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
            owners: json::list(metadata, &["ownerReferences"]).iter().map(owner).collect(),
            deleting: json::is_set(metadata, &["deletionTimestamp"]),
            facts: facts(kind, &tree),
            body: OnceLock::new(),
            tree: OnceLock::from(tree),
        }
    }

    /// The same object kept as text only.
    pub(super) fn packed(self) -> Self {
        let body = OnceLock::from(self.body());
        Self { tree: OnceLock::new(), body, ..self }
    }

    pub fn tree(&self) -> &Value {
        self.tree.get_or_init(|| {
            self.body.get().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or(Value::Null)
        })
    }

    /// The tree to work on, without keeping a second copy of an object that is only text.
    pub(super) fn to_tree(&self) -> Value {
        match self.tree.get() {
            Some(tree) => tree.clone(),
            None => self.body.get().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or(Value::Null),
        }
    }

    pub fn body(&self) -> Bytes {
        self.body
            .get_or_init(|| self.tree.get().map_or_else(Bytes::new, |tree| tree.to_string().into()))
            .clone()
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(name, _)| name.as_ref() == key).map(|(_, value)| value.as_ref())
    }

    pub(super) fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    pub(super) fn pod(&self) -> Option<&PodFacts> {
        match &self.facts {
            Facts::Pod(facts) => Some(facts),
            Facts::Node(_) | Facts::Budget(_) | Facts::Other => None,
        }
    }

    pub(super) fn node(&self) -> Option<&NodeFacts> {
        match &self.facts {
            Facts::Node(facts) => Some(facts),
            Facts::Pod(_) | Facts::Budget(_) | Facts::Other => None,
        }
    }

    /// What a budget selects.
    pub(super) fn selector(&self) -> Option<&Labels> {
        match &self.facts {
            Facts::Budget(selector) => selector.as_ref(),
            Facts::Pod(_) | Facts::Node(_) | Facts::Other => None,
        }
    }

    /// A pod that is Ready and stays.
    pub(super) fn healthy(&self) -> bool {
        !self.deleting && self.pod().is_some_and(|pod| pod.ready)
    }
}

impl PodFacts {
    pub(super) fn finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

fn owner(reference: &Value) -> Owner {
    Owner {
        kind: text(reference, &["kind"]).into(),
        api_version: text(reference, &["apiVersion"]).into(),
        name: text(reference, &["name"]).into(),
        uid: text(reference, &["uid"]).into(),
        controller: json::flag(reference, &["controller"]),
    }
}

fn facts(kind: Kind, tree: &Value) -> Facts {
    match kind {
        Kind::Pod => Facts::Pod(pod_facts(tree)),
        Kind::Node => Facts::Node(node_facts(tree)),
        Kind::PodDisruptionBudget => Facts::Budget(Labels::from_json(json::at(tree, &["spec", "selector"]))),
        _ => Facts::Other,
    }
}

fn pod_facts(tree: &Value) -> PodFacts {
    let requests = |what| {
        json::list(tree, &["spec", "containers"])
            .iter()
            .map(|container| {
                quantity::parse_quantity(text(container, &["resources", "requests", what]), what == "cpu")
            })
            .sum()
    };
    PodFacts {
        node: text(tree, &["spec", "nodeName"]).into(),
        phase: match text(tree, &["status", "phase"]) {
            "Pending" | "" => Phase::Pending,
            "Running" => Phase::Running,
            "Succeeded" => Phase::Succeeded,
            "Failed" => Phase::Failed,
            _ => Phase::Unknown,
        },
        ready: json::condition(tree, "Ready") == "True",
        cpu: requests("cpu"),
        memory: requests("memory"),
    }
}

fn node_facts(tree: &Value) -> NodeFacts {
    let room = |what| quantity::parse_quantity(text(tree, &["status", "allocatable", what]), what == "cpu");
    NodeFacts {
        unschedulable: json::flag(tree, &["spec", "unschedulable"]),
        ready: json::condition(tree, "Ready") == "True",
        taints: json::list(tree, &["spec", "taints"]).iter().map(taint).collect(),
        pods: room("pods"),
        cpu: room("cpu"),
        memory: room("memory"),
    }
}

fn taint(taint: &Value) -> Taint {
    let part = |name| text(taint, &[name]).into();
    Taint { key: part("key"), value: part("value"), effect: part("effect") }
}
