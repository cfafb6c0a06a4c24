//! A process beside the test, and what people and machines do to the cluster meanwhile.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use windlass::execute::Open;
use windlass::model::decision::{Key, Verdict};
use windlass::model::entry::{Entry, What};
use windlass::reconcile::{End, Standing, Status, Told};
use windlass::record;
use windlass::sim::{self, Kind};

use crate::world::{CLUSTER, World};

pub const SECOND: SignedDuration = SignedDuration::from_secs(1);
pub const MINUTE: SignedDuration = SignedDuration::from_mins(1);
pub const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// One process of ours, running while the test acts.
pub struct Process {
    task: JoinHandle<End>,
    ending: watch::Sender<bool>,
    told: mpsc::UnboundedReceiver<Told>,
    status: Status,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Process {
    /// Until nothing goes on by itself.
    pub async fn ended(&mut self) -> End {
        (&mut self.task).await.unwrap()
    }

    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// Asks it to end in order, and waits for that.
    pub async fn end(mut self) {
        self.ending.send(true).unwrap();
        assert_eq!(self.ended().await, End::Asked);
    }

    /// What its last pass said.
    pub fn status(&mut self) -> &Status {
        while let Ok(told) = self.told.try_recv() {
            if let Told::Status(status) = told {
                self.status = status;
            }
        }
        &self.status
    }

    /// Whether its last pass objected for this reason about this object.
    pub fn says(&mut self, key: Key, object: &str) -> bool {
        let objects = |answer: &&windlass::model::decision::Answer| {
            answer.verdict != Verdict::Allow && answer.reason.key == key && answer.reason.object == object
        };
        self.status().answers.iter().any(|answer| objects(&answer))
    }
}

impl World {
    /// A process that ends once nothing goes on by itself.
    pub fn start(&mut self) -> Process {
        self.started(true)
    }

    /// A process that runs for ever, as a daemon does.
    pub fn daemon(&mut self) -> Process {
        self.started(false)
    }

    pub fn started(&mut self, until_idle: bool) -> Process {
        let (ending, asked) = watch::channel(false);
        let (tell, told) = mpsc::unbounded_channel();
        let task = tokio::spawn(self.prepare(Arc::new(Open), until_idle, asked, Some(tell)));
        Process { task, ending, told, status: Status::default() }
    }

    /// Lets time pass until something is so, looking each second.
    pub async fn until(&self, what: &str, limit: SignedDuration, mut is_so: impl FnMut(&Self) -> bool) {
        let end = self.clock.now().saturating_add(limit).unwrap();
        while !is_so(self) {
            assert!(
                self.clock.now() < end,
                "{what}: not within {limit:#}: {:#?}\n{:#?}",
                self.log(),
                self.nodes()
            );
            self.pass(SECOND).await;
        }
    }

    /// Looks at the cluster each second while the process goes on.
    pub async fn watching(&self, process: &mut Process, mut look: impl FnMut(&Self)) -> End {
        while process.is_running() {
            look(self);
            self.pass(SECOND).await;
        }
        process.ended().await
    }

    /// An outside hand on one object.
    pub fn change(&self, kind: Kind, namespace: &str, name: &str, with: impl FnOnce(&mut Value)) {
        assert!(
            self.server.with(|cluster, now| cluster.change(kind, namespace, name, now, with)),
            "{name} is not there"
        );
    }

    pub fn change_node(&self, name: &str, with: impl FnOnce(&mut Value)) {
        self.change(Kind::Node, "", name, with);
    }

    pub fn annotate(&self, node: &str, key: &str, value: Option<&str>) {
        self.change_node(node, |tree| match value {
            Some(value) => tree["metadata"]["annotations"][key] = json!(value),
            None => drop(tree["metadata"]["annotations"].as_object_mut().unwrap().remove(key)),
        });
    }

    pub fn cordon(&self, node: &str) {
        self.change_node(node, |tree| tree["spec"]["unschedulable"] = json!(true));
    }

    /// What `windlass stop` and `windlass resume` leave behind.
    pub fn note(&self, name: &str, reason: &str) {
        self.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "kube-system"},
            "data": {"reason": reason, "by": "ada"}}));
    }

    pub fn erase(&self, kind: Kind, namespace: &str, name: &str) {
        self.server.with(|cluster, now| cluster.erase_object(kind, namespace, name, now));
    }

    pub fn faults(&self, with: impl FnOnce(&mut sim::Faults, Timestamp)) {
        self.server.with(|cluster, now| with(&mut cluster.faults, now));
    }

    pub fn node(&self, name: &str) -> (String, bool, bool) {
        let found =
            self.nodes().into_iter().find(|(node, ..)| node == name).unwrap_or_else(|| panic!("no {name}"));
        (found.1, found.2, found.3)
    }

    /// The newest of the log, for failures.
    pub fn tail(&self) -> Vec<String> {
        let log = self.log();
        let skip = log.len().saturating_sub(25);
        log.into_iter().skip(skip).collect()
    }

    pub fn jobs(&self) -> Vec<Value> {
        self.list("/apis/batch/v1/namespaces/windlass-system/jobs")
    }

    /// Lets time pass until no run is under way and every node is in service at a version.
    pub async fn done_within(&self, limit: SignedDuration, version: &str) {
        let done = |node: &(String, String, bool, bool)| node.1 == version && node.2 && !node.3;
        let ended = |world: &Self| world.nodes().iter().all(done) && world.record().run.is_none();
        self.until("everything in service", limit, ended).await;
    }

    pub fn evictions(&self) -> usize {
        self.server
            .with(|cluster, _| cluster.audit().evictions().filter(|(_, eviction)| eviction.accepted).count())
    }

    /// Accepted requests that meant to change something, later than a time.
    pub fn writes_after(&self, at: Timestamp) -> Vec<String> {
        let line = |entry: &sim::Entry| format!("{} {} {}", entry.at, entry.verb, entry.path);
        self.server
            .with(|cluster, _| cluster.audit().writes().filter(|entry| entry.at > at).map(line).collect())
    }

    /// The whole journal.
    pub fn journal(&self) -> Vec<Entry> {
        record::journal(CLUSTER, &self.record_files()).unwrap()
    }

    /// Names of the nodes whose steps were begun, in order.
    pub fn begun(&self) -> Vec<String> {
        let begun = self.journal().into_iter().filter_map(|entry| match entry.what {
            What::StepStarted { node, .. } => Some(node),
            _ => None,
        });
        begun.collect()
    }

    /// Whether the record waits for this, with a word of its sentence.
    pub fn waits_for(&self, key: Key, object: &str, word: &str) -> bool {
        let waiting = self.record().waiting;
        waiting
            .iter()
            .map(|wait| &wait.value.reason)
            .any(|r| r.key == key && r.object == object && r.text.contains(word))
    }

    pub fn assert_waits(&self, key: Key, object: &str, word: &str) {
        assert!(
            self.waits_for(key, object, word),
            "no {key:?} of {object} with {word:?}: {:#?}",
            self.record().waiting
        );
    }

    /// The end of a run that reached its goal.
    pub fn assert_done(&self, end: &End, version: &str) {
        assert_eq!(*end, End::Idle(Standing::AsDesired), "{:#?}\n{:#?}", self.log(), self.nodes());
        self.assert_converged(version);
        self.assert_invariants();
    }
}

/// Three workers that are cheap to move, an app with a budget, and v1.36.3 wanted.
pub async fn small() -> World {
    let world = World::new();
    world.control_plane(1).workers("w", 3).deployment("web", 4).budget("web", json!({"maxUnavailable": 1}));
    world.pass(MINUTE).await;
    world.desire("v1.35.4");
    world
}

/// The same, begun with everything at v1.36.3 but the workers, so that only they are to be moved.
pub async fn workers_only(count: u32) -> World {
    let world = World::with(sim::Settings {
        version: "v1.36.3".to_owned(),
        rules: crate::world::rules(),
        ..sim::Settings::default()
    });
    world.control_plane(1).workers("w", count);
    world.pass(MINUTE).await;
    for n in 1..=count {
        world.change_node(&format!("w{n}"), |tree| {
            tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.35.4");
        });
    }
    world.desire("v1.36.3");
    world
}

/// A Deployment's or other workload's pods with annotations and whatever else the template's spec is to say.
pub fn workload(kind: &str, name: &str, replicas: u32, annotations: &Value, spec: &Value) -> Value {
    let mut pod = json!({"containers": [{"name": "c", "image": "app:1"}]});
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod[key] = value.clone();
    }
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": pod}}});
    if kind != "DaemonSet" {
        object["spec"]["replicas"] = json!(replicas);
    }
    if kind == "StatefulSet" {
        object["spec"]["serviceName"] = json!(name);
    }
    object
}

/// One pod on a node that asks not to be disrupted.
pub fn careful(node: &str) -> Value {
    workload("Deployment", "careful", 1, &json!({"karpenter.sh/do-not-disrupt": "true"}), &on(node))
}

/// Pins pods to one node by its name's label.
pub fn on(node: &str) -> Value {
    json!({"nodeSelector": {"kubernetes.io/hostname": node}})
}
