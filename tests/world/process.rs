//! A process beside the test, and what people and machines do to the cluster meanwhile.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use windlass::execute::Open;
use windlass::model::decision::{Key, Verdict};
use windlass::model::entry::{Entry, StepEvent, What};
use windlass::model::state::RunState;
use windlass::record;
use windlass::serve::End;
use windlass::sim::{self, How, Kind, When};
use windlass::view::cluster::View;

use super::{CLUSTER, World};

pub const SECOND: SignedDuration = SignedDuration::from_secs(1);
pub const MINUTE: SignedDuration = SignedDuration::from_mins(1);
pub const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// One process of ours, running while the test acts.
pub struct Process {
    task: JoinHandle<End>,
    ending: watch::Sender<bool>,
    view: watch::Receiver<View>,
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

    /// What it shows of itself, with the answers of its last pass.
    pub fn view(&self) -> watch::Ref<'_, View> {
        self.view.borrow()
    }

    /// Whether what it shows has changed since this was asked last.
    pub fn has_news(&mut self) -> bool {
        let news = self.view.has_changed().unwrap();
        self.view.mark_unchanged();
        news
    }

    /// Whether its last pass objected for this reason about this object.
    pub fn says(&self, key: Key, object: &str) -> bool {
        let objects = |answer: &&windlass::model::decision::Answer| {
            answer.verdict != Verdict::Allow && answer.reason.key == key && answer.reason.object == object
        };
        self.view().answers.iter().any(|answer| objects(&answer))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
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
        let (shown, view) = watch::channel(View::new(CLUSTER));
        let task = tokio::spawn(self.prepare(Arc::new(Open), until_idle, asked, shown));
        Process { task, ending, view }
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

    /// The repository cannot be reached until it is back.
    pub fn take_git_away(&self) {
        std::fs::rename(self.repo(), self.folder.path().join("away.git")).unwrap();
    }

    pub fn bring_git_back(&self) {
        std::fs::rename(self.folder.path().join("away.git"), self.repo()).unwrap();
    }

    /// The API server refuses the next patches of nodes: steps are begun, and no node is claimed.
    pub fn refuse_patches_of_nodes(&self, times: u64) {
        let patch = When { verb: "patch", resource: "nodes", ..When::default() };
        let away = How::Status { code: 503, reason: "ServiceUnavailable", message: "no leader".to_owned() };
        self.faults(|faults, _| faults.on(patch, 0, times, away));
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
            What::Step(id, StepEvent::Started { .. }) => id.node_name().map(str::to_owned),
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

    /// Runs one process until nothing goes on by itself, and checks how things stand then.
    pub async fn assert_run_ends(&mut self, standing: RunState) {
        let end = self.run().await;
        assert_eq!(end, End::Idle(standing), "{:#?}\n{:#?}", self.log(), self.record().waiting);
    }

    /// A node in service: schedulable, and without a claim.
    pub fn assert_in_service(&self, node: &str, version: &str) {
        assert_eq!(self.node(node), (version.to_owned(), true, false), "{node}: {:#?}", self.tail());
    }

    /// A node that we hold: cordoned, and with a claim.
    pub fn assert_taken_out(&self, node: &str, version: &str) {
        assert_eq!(self.node(node), (version.to_owned(), false, true), "{node}: {:#?}", self.tail());
    }

    /// A run that halted for this reason, with a word of its sentence.
    pub fn assert_halted(&self, key: Key, word: &str) {
        let halted = self.record().halted.map(|halted| halted.value).unwrap_or_default();
        let told = halted.iter().any(|reason| reason.key == key && reason.text.contains(word));
        assert!(told, "no {key:?} with {word:?}: {halted:#?}\n{:#?}", self.tail());
    }

    /// Of a run half way through: what was in hand is finished and given back, and the last worker is left alone.
    pub fn assert_finished_and_left(&self) {
        let at = |version| self.nodes().iter().filter(|node| node.1 == version && node.2 && !node.3).count();
        assert_eq!((at("v1.36.3"), at("v1.35.4")), (3, 1), "{:#?}\n{:#?}", self.tail(), self.nodes());
        self.assert_invariants();
    }

    /// The end of a run that reached its goal.
    pub fn assert_done(&self, end: &End, version: &str) {
        assert_eq!(*end, End::Idle(RunState::AsDesired), "{:#?}\n{:#?}", self.log(), self.nodes());
        self.assert_converged(version);
        self.assert_invariants();
    }
}
