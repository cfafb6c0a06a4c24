//! A small model of a cluster in virtual time: as much of an API server, controllers, scheduler and kubelets as an upgrade
//! of the workers needs, and no more. What happens is folded into the picture at once, as a watch would show it.
//!
//! The simulated API server does the same with whole objects and over its protocol; this one is for sizes that take too
//! long there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windlass::live::{Event, Folder, ProbeAnswer, Seen, Watched, WriteAnswer};
use windlass::model::effect::{Effect, LeaseMove, NodePatch};
use windlass::model::live::{ClaimState, Lock, Node, Probe, Ready, RefusalKind};
use windlass::model::version::Version;

use crate::mixes::{App, Mix, OnNode, ROOM};
use crate::worlds;

/// From a change to a controller's or the scheduler's answer, and to the status of a budget.
const CONTROLLER: SignedDuration = SignedDuration::from_millis(50);
const BUDGET: SignedDuration = SignedDuration::from_millis(200);
const RENEWAL: SignedDuration = SignedDuration::from_secs(10);
/// What happens by itself.
#[derive(Clone, Copy, Debug)]
enum Task {
    Replace(usize),
    Place(usize),
    Start(usize),
    Gone(usize),
    Count(usize),
    JobEnds(usize),
    Restarted(usize),
    NodeReady(usize),
}

struct Replica {
    app: usize,
    node: Option<usize>,
    object: Pod,
    ready: bool,
    leaving: bool,
    /// True for one that was there at the start.
    first: bool,
}

struct Owner {
    app: App,
    /// What its next pod is made from.
    template: Pod,
    made: usize,
    /// Pods that are not leaving, and those of them that are Ready.
    pods: usize,
    ready: usize,
    /// How many pods each node has.
    on: BTreeMap<usize, usize>,
    budget: Option<PodDisruptionBudget>,
    allowed: usize,
    /// Evictions that the budget's status does not show yet.
    disrupted: BTreeSet<String>,
    counting: bool,
}

#[derive(Clone, Copy, Default)]
struct Worker {
    pods: usize,
    cordoned: bool,
    tainted: bool,
    renews_from: Option<Timestamp>,
}

/// What came of an upgrade.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub evictions: usize,
    /// Of these, evictions of pods that had moved before.
    pub again: usize,
    pub refused: usize,
    pub breaches: usize,
    pub first_claim: Option<Timestamp>,
    pub first_return: Option<Timestamp>,
    pub last_return: Option<Timestamp>,
}

pub struct Cluster {
    pub folder: Folder,
    pub counts: Counts,
    queue: BTreeMap<(Timestamp, u64), Task>,
    revision: u64,
    workers: Vec<Worker>,
    owners: Vec<Owner>,
    replicas: Vec<Replica>,
    by_uid: BTreeMap<String, usize>,
    jobs: BTreeMap<String, Job>,
    target: Version,
    on_node: OnNode,
}

fn read<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

pub fn worker(number: usize) -> String {
    format!("w{}", number + 1)
}

fn number(worker: &str) -> usize {
    worker.strip_prefix('w').unwrap().parse::<usize>().unwrap() - 1
}

impl Cluster {
    pub fn new(nodes: usize, mix: Mix, (from, to): (&str, &str), now: Timestamp) -> Self {
        let (apps, on_node) = (mix.apps(nodes), mix.on_node);
        let mut folder = Folder::default();
        worlds::add_node(&mut folder.live, "cp1", &format!("control-plane {to}"));
        for node in 0..nodes {
            worlds::add_node(&mut folder.live, &worker(node), &format!("pool=w {from}"));
            folder.live.nodes.get_mut(worker(node).as_str()).unwrap().allocatable.pods =
                u32::try_from(ROOM).unwrap();
        }
        let mut this = Self {
            folder,
            counts: Counts::default(),
            queue: BTreeMap::new(),
            revision: 1,
            workers: vec![Worker { renews_from: Some(now), ..Worker::default() }; nodes],
            owners: Vec::new(),
            replicas: Vec::new(),
            by_uid: BTreeMap::new(),
            jobs: BTreeMap::new(),
            target: to.parse().unwrap(),
            on_node,
        };
        for app in apps {
            this.add(app, now);
        }
        this.folder.live.complete = true;
        this
    }

    fn add(&mut self, app: App, now: Timestamp) {
        let set: ReplicaSet = read(app.replica_set());
        self.see(Watched::ReplicaSet(Event::Applied(Box::new(set))), now);
        let budget: Option<PodDisruptionBudget> = app.disruption_budget().map(read);
        if let Some(budget) = &budget {
            self.see(Watched::Budget(Event::Applied(Box::new(budget.clone()))), now);
        }
        let (owner, mut template) = (self.owners.len(), read::<Pod>(app.pod(0, "", now)));
        template.spec.as_mut().unwrap().node_name = None;
        template.status = Some(PodStatus { phase: Some("Pending".to_owned()), ..PodStatus::default() });
        let mut on: BTreeMap<usize, usize> = BTreeMap::new();
        for (place, node) in app.placed.iter().enumerate() {
            let object: Pod = read(app.pod(place, &worker(*node), now));
            *on.entry(*node).or_default() += 1;
            self.workers[*node].pods += 1;
            let replica =
                Replica { app: owner, node: Some(*node), object, ready: true, leaving: false, first: true };
            self.hold(replica, now);
        }
        let allowed = app.replicas - app.desired();
        let (pods, ready, made) = (app.replicas, app.replicas, app.replicas);
        let (disrupted, counting) = (BTreeSet::new(), false);
        self.owners.push(Owner {
            app,
            template,
            made,
            pods,
            ready,
            on,
            budget,
            allowed,
            disrupted,
            counting,
        });
    }

    fn hold(&mut self, replica: Replica, now: Timestamp) {
        self.by_uid.insert(replica.object.metadata.uid.clone().unwrap(), self.replicas.len());
        self.replicas.push(replica);
        self.show(self.replicas.len() - 1, now);
    }

    fn see(&mut self, watched: Watched, now: Timestamp) {
        self.folder.fold(Seen::Watched(watched), now);
    }

    fn later(&mut self, task: Task, due: Timestamp) {
        self.revision += 1;
        self.queue.insert((due, self.revision), task);
    }

    fn next_revision(&mut self) -> String {
        self.revision += 1;
        self.revision.to_string()
    }

    fn show(&mut self, replica: usize, now: Timestamp) {
        let revision = self.next_revision();
        let object = &mut self.replicas[replica].object;
        object.metadata.resource_version = Some(revision);
        let object = Box::new(object.clone());
        self.see(Watched::Pod(Event::Applied(object)), now);
    }

    pub fn next_due(&self) -> Option<Timestamp> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    /// Lets everything happen that is due, each at its own time.
    pub fn run_until(&mut self, now: Timestamp) {
        while let Some(first) = self.queue.first_entry().filter(|first| first.key().0 <= now) {
            let ((at, _), task) = first.remove_entry();
            self.perform(task, at);
        }
        // Watches that have nothing to tell send bookmarks.
        self.folder.live.heard.clear();
    }

    fn perform(&mut self, task: Task, at: Timestamp) {
        match task {
            Task::Replace(owner) => self.replace(owner, at),
            Task::Place(replica) => self.place(replica, at),
            Task::Start(replica) => self.start(replica, at),
            Task::Gone(replica) => self.remove(replica, at),
            Task::Count(owner) => self.count(owner, at),
            Task::JobEnds(node) => self.job_ends(node, at),
            Task::Restarted(node) => {
                let version = self.target.clone();
                self.change_node(node, |node| {
                    node.kubelet = Some(version);
                    (node.kubelet_since, node.ready) = (at, Ready::False);
                });
                self.later(Task::NodeReady(node), at + self.on_node.not_ready);
            }
            Task::NodeReady(node) => {
                self.workers[node].renews_from = Some(at);
                self.change_node(node, |node| (node.ready, node.ready_since) = (Ready::True, at));
            }
        }
    }

    fn replace(&mut self, owner: usize, at: Timestamp) {
        let of = &mut self.owners[owner];
        if of.pods >= of.app.replicas {
            return;
        }
        of.pods += 1;
        of.made += 1;
        let (name, mut object) = (format!("{}-{:05}", of.app.name, of.made), of.template.clone());
        object.metadata.uid = Some(format!("uid-{name}"));
        object.metadata.name = Some(name);
        object.metadata.creation_timestamp = Some(Time(at));
        let replica = Replica { app: owner, node: None, object, ready: false, leaving: false, first: false };
        self.hold(replica, at);
        self.later(Task::Place(self.replicas.len() - 1), at + CONTROLLER);
    }

    /// A node without our taint first; of those the one with the fewest pods of the owner, then the fewest pods.
    fn place(&mut self, replica: usize, at: Timestamp) {
        let owner = self.replicas[replica].app;
        let on = &self.owners[owner].on;
        let fits = |(_, worker): &(usize, &Worker)| {
            !worker.cordoned && worker.pods < ROOM && worker.renews_from.is_some()
        };
        let order = |(place, worker): (usize, &Worker)| {
            (worker.tainted, on.get(&place).copied().unwrap_or(0), worker.pods, place)
        };
        let best = self.workers.iter().enumerate().filter(fits).map(order).min();
        let Some((.., node)) = best else { return self.later(Task::Place(replica), at + RENEWAL) };
        *self.owners[owner].on.entry(node).or_default() += 1;
        self.workers[node].pods += 1;
        let pod = &mut self.replicas[replica];
        pod.node = Some(node);
        pod.object.spec.as_mut().unwrap().node_name = Some(worker(node));
        let start = SignedDuration::from_secs(self.owners[owner].app.ready_seconds);
        self.show(replica, at);
        self.later(Task::Start(replica), at + start);
    }

    fn start(&mut self, replica: usize, at: Timestamp) {
        let pod = &mut self.replicas[replica];
        if pod.leaving {
            return;
        }
        pod.ready = true;
        let status = pod.object.status.as_mut().unwrap();
        status.phase = Some("Running".to_owned());
        let ready =
            PodCondition { type_: "Ready".to_owned(), status: "True".to_owned(), ..PodCondition::default() };
        status.conditions = Some(vec![PodCondition { last_transition_time: Some(Time(at)), ..ready }]);
        let owner = pod.app;
        self.owners[owner].ready += 1;
        self.show(replica, at);
        self.count_later(owner, at);
    }

    fn remove(&mut self, replica: usize, at: Timestamp) {
        let pod = &self.replicas[replica];
        let (owner, node, object) = (pod.app, pod.node, Box::new(pod.object.clone()));
        if let Some(node) = node {
            self.workers[node].pods -= 1;
            *self.owners[owner].on.get_mut(&node).unwrap() -= 1;
        }
        self.see(Watched::Pod(Event::Deleted(object)), at);
    }

    fn count_later(&mut self, owner: usize, at: Timestamp) {
        let of = &mut self.owners[owner];
        if of.budget.is_some() && !std::mem::replace(&mut of.counting, true) {
            self.later(Task::Count(owner), at + BUDGET);
        }
    }

    /// The disruption controller brings a budget's status up to date.
    fn count(&mut self, owner: usize, at: Timestamp) {
        let of = &mut self.owners[owner];
        of.counting = false;
        // Each accepted eviction is shown by its pod by now.
        of.disrupted.clear();
        of.allowed = of.ready.saturating_sub(of.app.desired());
        self.show_budget(owner, at);
    }

    fn show_budget(&mut self, owner: usize, at: Timestamp) {
        let revision = self.next_revision();
        let of = &mut self.owners[owner];
        let Some(budget) = &mut of.budget else { return };
        budget.metadata.resource_version = Some(revision);
        let number = |count: usize| Some(i32::try_from(count).unwrap());
        let status = budget.status.as_mut().unwrap();
        (status.current_healthy, status.disruptions_allowed) = (number(of.ready), number(of.allowed));
        status.disrupted_pods = Some(of.disrupted.iter().map(|pod| (pod.clone(), Time(at))).collect());
        let budget = Box::new(budget.clone());
        self.see(Watched::Budget(Event::Applied(budget)), at);
    }

    fn change_node(&mut self, node: usize, with: impl FnOnce(&mut Node)) {
        let revision = self.next_revision();
        let live = &mut self.folder.live;
        let found = live.nodes.get_mut(&worker(node)).unwrap();
        found.resource_version = revision;
        with(found);
        let name = found.name.clone();
        let (claimed, outdated) = (found.claim.is_some(), found.is_outdated());
        let known = &mut self.workers[node];
        (known.cordoned, known.tainted) = (found.unschedulable, outdated);
        let keep = |set: &mut BTreeSet<_>, there| {
            if there { set.insert(name.clone()) } else { set.remove(&name) }
        };
        keep(&mut live.claimed, claimed);
        keep(&mut live.outdated, outdated);
        live.nodes_generation += 1;
    }

    fn job_ends(&mut self, node: usize, at: Timestamp) {
        let of = |job: &&mut Job| {
            let spec = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            spec.and_then(|spec| spec.node_name.as_deref()) == Some(&*worker(node))
        };
        let revision = self.next_revision();
        let job = self.jobs.values_mut().find(of).unwrap();
        job.metadata.resource_version = Some(revision);
        job.status = read(json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}));
        let job = Box::new(job.clone());
        self.see(Watched::Job(Event::Applied(job)), at);
        self.workers[node].renews_from = None;
        self.later(Task::Restarted(node), at + self.on_node.restart);
    }

    /// Carries an effect out and folds its answer.
    pub fn carry_out(&mut self, effect: Effect, now: Timestamp) {
        let key = effect.key();
        let answer = match effect {
            Effect::Node { name, resource_version, patch, taints } => {
                let known = &self.folder.live.nodes[&*name];
                assert_eq!(known.resource_version, resource_version, "a patch is guarded by what was seen");
                self.patch(number(&name), patch, now);
                if let Some(taints) = taints {
                    self.change_node(number(&name), |node| node.taints = taints);
                }
                WriteAnswer::Done
            }
            Effect::Evict { uid, .. } => self.evict(&uid, now),
            Effect::CreateNamespace(_) | Effect::ForgetResume { .. } | Effect::BeginLong { .. } => {
                WriteAnswer::Done
            }
            Effect::CreateJob { name, manifest } => {
                let mut job: Job = read(manifest);
                job.metadata.uid = Some(format!("uid-of-{name}"));
                (job.metadata.generation, job.metadata.creation_timestamp) = (Some(1), Some(Time(now)));
                self.put_job(name, job)
            }
            Effect::SuspendJob { name, suspend, .. } => {
                let mut job = self.jobs[&name].clone();
                assert!(!suspend, "nobody stops this upgrade");
                let spec = job.spec.as_mut().unwrap();
                spec.suspend = Some(false);
                let node = number(spec.template.spec.as_ref().unwrap().node_name.as_ref().unwrap());
                job.metadata.generation = Some(2);
                job.status = read(json!({"active": 1, "ready": 1}));
                self.later(Task::JobEnds(node), now + self.on_node.job);
                self.put_job(name, job)
            }
            Effect::DeleteJob { name, .. } => {
                if let Some(job) = self.jobs.remove(&name) {
                    self.see(Watched::Job(Event::Deleted(Box::new(job))), now);
                }
                WriteAnswer::Done
            }
            Effect::Lease { lease, heard, length, .. } => self.move_lease(lease, heard, length, now),
            Effect::Rollout { .. } => panic!("no Deployment of this cluster asks for a rollout"),
            Effect::SetImage { .. }
            | Effect::Apply { .. }
            | Effect::DeleteObject { .. }
            | Effect::Helm(_) => {
                panic!("this cluster has no addons")
            }
            Effect::Publish { text, of } => WriteAnswer::Published { text, of },
        };
        self.folder.fold(Seen::Done(key, answer), now);
    }

    fn put_job(&mut self, name: String, mut job: Job) -> WriteAnswer {
        job.metadata.resource_version = Some(self.next_revision());
        self.jobs.insert(name, job.clone());
        WriteAnswer::Job(Box::new(job))
    }

    fn patch(&mut self, number: usize, patch: NodePatch, now: Timestamp) {
        match patch {
            NodePatch::Claim(claim) => {
                self.counts.first_claim.get_or_insert(now);
                self.change_node(number, |node| {
                    if claim.cordoned && !node.unschedulable {
                        (node.unschedulable, node.unschedulable_since) = (true, now);
                    }
                    node.claim = Some(ClaimState::Ours(claim));
                });
            }
            NodePatch::Note(claim) => {
                self.change_node(number, |node| node.claim = Some(ClaimState::Ours(claim)));
            }
            NodePatch::Release(claim) => {
                self.counts.first_return.get_or_insert(now);
                self.counts.last_return = Some(now);
                self.change_node(number, |node| {
                    node.unschedulable = claim.was_unschedulable;
                    node.claim = None;
                });
            }
            NodePatch::Forget | NodePatch::Taints => {}
        }
    }

    fn evict(&mut self, uid: &str, now: Timestamp) -> WriteAnswer {
        let replica = self.by_uid[uid];
        let pod = &self.replicas[replica];
        let (owner, ready) = (pod.app, pod.ready);
        assert!(!pod.leaving, "no pod is evicted twice");
        let of = &mut self.owners[owner];
        if ready && of.budget.is_some() {
            if of.allowed == 0 {
                self.counts.refused += 1;
                return WriteAnswer::Refused(
                    RefusalKind::Budget,
                    "it would violate a budget".to_owned(),
                    None,
                );
            }
            of.allowed -= 1;
            of.disrupted.insert(pod.object.metadata.name.clone().unwrap());
        }
        of.pods -= 1;
        of.ready -= usize::from(ready);
        // An independent count: the pods that are there, against what the budget demands of them.
        self.counts.breaches += usize::from(ready && of.budget.is_some() && of.ready < of.app.desired());
        self.counts.evictions += 1;
        self.counts.again += usize::from(!pod.first);
        let grace = SignedDuration::from_secs(of.app.grace_seconds);
        let pod = &mut self.replicas[replica];
        pod.leaving = true;
        pod.object.metadata.deletion_timestamp = Some(Time(now + grace));
        self.show_budget(owner, now);
        self.show(replica, now);
        self.count_later(owner, now);
        self.later(Task::Gone(replica), now + grace);
        self.later(Task::Replace(owner), now + CONTROLLER);
        WriteAnswer::Done
    }

    fn move_lease(
        &mut self,
        lease: LeaseMove,
        heard: Option<windlass::model::live::Heard>,
        length: SignedDuration,
        now: Timestamp,
    ) -> WriteAnswer {
        let (holder, transitions) = match lease {
            LeaseMove::Create { holder, transitions } | LeaseMove::Hold { holder, transitions, .. } => {
                (holder, transitions)
            }
            LeaseMove::Release { transitions, .. } => (String::new(), transitions),
        };
        let (renewed, resource_version) = (now.to_string(), self.next_revision());
        let seconds = length.as_secs();
        WriteAnswer::Lock(Some(Lock {
            holder,
            transitions,
            resource_version,
            renewed,
            seen: now,
            seconds,
            heard,
        }))
    }

    /// Answers a probe.
    pub fn ask(&mut self, probe: Probe, now: Timestamp) {
        let answer = match &probe {
            Probe::ClusterUid => ProbeAnswer::ClusterUid("uid-kube-system".to_owned()),
            Probe::Api => {
                ProbeAnswer::Api { ready: true, version: Some(self.target.clone()), clock_ahead: None }
            }
            Probe::Heartbeat(node) => {
                let Some(from) = self.workers[number(node)].renews_from else {
                    let silent = ProbeAnswer::Heartbeat("before".to_owned());
                    self.folder.fold(Seen::Probed { probe, answer: silent, asked: now }, now);
                    return;
                };
                let periods = now.duration_since(from).as_secs() / RENEWAL.as_secs();
                ProbeAnswer::Heartbeat(format!("{from} and {periods} renewals"))
            }
            Probe::Lock => ProbeAnswer::Lock(self.folder.live.lock.clone()),
            Probe::Published => {
                ProbeAnswer::Published(self.folder.live.published.clone().map(|published| published.text))
            }
            // The picture is as etcd has it.
            Probe::Node(node) => {
                self.folder.live.reads.insert(node.as_str().into(), now);
                ProbeAnswer::Nothing("nothing new".to_owned())
            }
            Probe::Long(_) => ProbeAnswer::Nothing("no long work".to_owned()),
            Probe::Right(_)
            | Probe::Workload(_)
            | Probe::Manifests(_)
            | Probe::Evidence(_)
            | Probe::Earlier(_) => ProbeAnswer::Nothing("no addons".to_owned()),
        };
        self.folder.fold(Seen::Probed { probe, answer, asked: now }, now);
    }

    /// True while pods of this owner are on nodes that are to be upgraded, and its budget lets one go that nobody has asked for.
    pub fn idles(&self, object: &str) -> bool {
        let Some(name) = object.strip_prefix("budget/default/") else { return false };
        let Some(owner) = self.owners.iter().find(|owner| owner.app.name == name) else { return false };
        let old = |node: &usize| {
            let node = self.folder.live.nodes.get(&*worker(*node));
            node.is_some_and(|node| {
                node.kubelet.as_ref().is_none_or(|kubelet| kubelet.is_before(&self.target))
            })
        };
        let left = owner.on.iter().any(|(node, pods)| *pods > 0 && old(node));
        left && owner.ready > owner.app.desired()
    }
}
