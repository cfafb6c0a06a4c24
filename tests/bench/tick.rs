//! How long one pass takes: `cargo bench --bench tick`.
//!
//! `one pod` is what the daemon does when a single pod has changed: the fold of the change, the pass, and its independent
//! check. `first` is the pass of a process that has just listed everything: the census of the nodes, the plan where no
//! run is in progress, the pass and its check. Times are the median of several runs, in processor time. Each size runs
//! in a process of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark is a test to us, and a program to the compiler"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use windlass::gate::{Census, Others};
use windlass::live::{Event, Folder, Seen, Watched};
use windlass::model::desired::{AtClose, Desired, Limit, Opens, Policies, Selector, Window};
use windlass::model::effect::{Effect, EffectKey, NodePatch};
use windlass::model::entry::{ClusterEvent, CommitEvent, Entry, What};
use windlass::model::live::{Api, ClaimState, Lock, Probe, Published};
use windlass::model::plan::Plan;
use windlass::model::state::{DesiredState, Identity};
use windlass::plan::{asked, proposal};
use windlass::reconcile::{Input, Tick, checked_tick};
use windlass::record::Record;

#[path = "measure.rs"]
#[expect(dead_code, reason = "each benchmark needs a part of it")]
mod measure;
#[path = "objects.rs"]
mod objects;
#[path = "../worlds.rs"]
#[expect(dead_code, unused_imports, reason = "the builder of worlds offers more than a benchmark needs")]
mod worlds;

use measure::{RUNS, each_size, median};

/// So many changes of one pod are timed together, because a single one takes less than the system's clock can tell.
const CHANGES: usize = 200;
const EPOCH: u64 = 3;
/// The loop takes in the events of this time together.
const GATHER: SignedDuration = SignedDuration::from_millis(20);

fn main() {
    let head = format!(
        "{:>6} {:>8} | {:>12} {:>12} | {:>8} {:>9} {:>12} {:>12}",
        "nodes", "pods", "rest: first", "one pod", "run: out", "leaving", "first", "one pod"
    );
    each_size(&head, measure);
}

fn measure(size: usize) {
    let mut scene = Scene::new(size);
    scene.desire("v1.35.4");
    let rest_first = median(1, || scene.first());
    let rest_pod = scene.time_of_one_pod();
    assert!(scene.record.run.is_none(), "at rest no run begins");

    scene.desire("v1.36.3");
    let plan_first = median(1, || scene.first());
    scene.settle();
    let run = scene.record.run.as_ref().unwrap();
    let out = run.in_progress().count();
    assert_eq!(out, size / 100, "one node in a hundred is in work");
    let leaving = scene.folder.live.overlay.leaving().count();
    let run_first = median(1, || scene.first());
    let run_pod = scene.time_of_one_pod();
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    println!(
        "{size:>6} {:>8} | {:>12} {:>12} | {out:>8} {leaving:>9} {:>12} {:>12}   (first, with the plan of a whole upgrade: {})",
        scene.folder.live.pods.len(),
        ms(rest_first),
        ms(rest_pod),
        ms(run_first),
        ms(run_pod),
        ms(plan_first),
    );
}

/// One cluster as its loop knows it.
struct Scene {
    me: Identity,
    state: DesiredState,
    folder: Folder,
    record: Record,
    census: Census,
    fresh: Option<Plan>,
    others: Others,
    now: Timestamp,
    /// A pod of a node that is not in work, Ready and not Ready, and how often it has changed.
    pod: [Pod; 2],
    changes: usize,
}

impl Scene {
    fn new(size: usize) -> Self {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let mut folder = Folder::default();
        objects::list(&mut folder, size, 1, now);
        let live = &mut folder.live;
        for number in 1..=3 {
            worlds::add_node(live, &format!("cp-{number}"), "control-plane v1.36.3");
        }
        live.complete = true;
        live.cluster_uid = Some("uid-kube-system".to_owned());
        live.api =
            Api { version: Some("v1.36.3".parse().unwrap()), last_seen: Some(now), ..live.api.clone() };
        for probe in [Probe::ClusterUid, Probe::Api, Probe::Lock, Probe::Published] {
            live.probed.insert(probe, now);
        }
        live.lock = Some(Lock {
            holder: "host-a-1".to_owned(),
            transitions: EPOCH,
            resource_version: "7".to_owned(),
            renewed: "2026-11-23T12:00:00Z".to_owned(),
            seen: now,
            seconds: 30,
            heard: None,
        });
        live.published = Some(Published { text: String::new(), of: None });
        let ready = objects::pods_of(size - 1, size, 1).nth(4).unwrap();
        let mut unready = ready.clone();
        "False".clone_into(&mut unready.status.as_mut().unwrap().conditions.as_mut().unwrap()[0].status);
        let desired = Arc::new(desired("v1.35.4"));
        let state = DesiredState {
            newest: desired.commit.clone(),
            desired: None,
            asked: String::new(),
            problems: Vec::new(),
            rewritten: false,
            unproven: false,
            by: None,
        };
        let me = Identity {
            cluster: desired.cluster.name.clone(),
            holder: "host-a-1".to_owned(),
            predecessors: BTreeSet::new(),
            twin: None,
        };
        let mut scene = Self {
            me,
            state,
            folder,
            record: Record::default(),
            census: Census::default(),
            fresh: None,
            others: Others::new(),
            now,
            pod: [ready, unready],
            changes: 0,
        };
        scene.write(What::Cluster(ClusterEvent::Met { uid: "uid-kube-system".to_owned() }), None);
        scene
    }

    fn desire(&mut self, version: &str) {
        let desired = desired(version);
        let (commit, version) = (desired.commit.clone(), desired.cluster.version.clone());
        self.state.newest = desired.commit.clone();
        self.state.asked = asked(&desired.cluster).unwrap();
        self.state.desired = Some(Arc::new(desired));
        self.write(What::Commit(CommitEvent::Accepted { commit, version, by: None }), None);
    }

    fn write(&mut self, what: What, plan: Option<&Plan>) {
        let run = match &what {
            What::Run(_) if self.record.run.is_none() => Some(self.record.next_run(&self.state.newest)),
            _ => self.record.run.as_ref().map(|run| run.id.clone()),
        };
        let seq = self.record.next_seq.max(1);
        self.record.apply(&Entry { seq, at: self.now, run, epoch: EPOCH, what }, plan);
        // What is published is up to date: it is written every ten seconds at most, and not in every pass.
        self.folder.live.published = Some(Published { text: String::new(), of: Some(self.record.next_seq) });
    }

    /// Everything that a process does before and in its first pass.
    fn first(&mut self) -> usize {
        let desired = Arc::clone(self.state.desired.as_ref().unwrap());
        self.census = Census::of(&desired.cluster, &self.folder.live);
        self.fresh = self.record.run.is_none().then(|| proposal(&desired, &self.folder.live).unwrap());
        self.pass().entries.len()
    }

    fn pass(&self) -> Tick {
        let (tick, findings) = checked_tick(Input {
            me: &self.me,
            state: &self.state,
            live: &self.folder.live,
            record: &self.record,
            fresh: self.fresh.as_ref(),
            census: &self.census,
            others: &self.others,
            trouble: None,
            now: self.now,
            wall: self.now,
        });
        assert_eq!(findings, []);
        tick
    }

    /// Passes until nothing more is written down or done. Nodes are claimed at once; every other effect stays on its way.
    fn settle(&mut self) {
        let settled = (0..100).any(|_| self.is_settled_after_a_pass());
        assert!(settled, "the passes do not settle");
    }

    fn is_settled_after_a_pass(&mut self) -> bool {
        let tick = self.pass();
        let settled = tick.entries.is_empty() && tick.effects.is_empty();
        if tick.entries.is_empty() {
            for (effect, _) in tick.effects {
                self.carry_out(effect);
            }
            let cluster = &self.state.desired.as_ref().unwrap().cluster;
            self.census = Census::of(cluster, &self.folder.live);
        } else {
            for what in tick.entries {
                self.write(what, tick.frozen.as_ref());
            }
            self.fresh = None;
        }
        settled
    }

    fn carry_out(&mut self, effect: Effect) {
        let live = &mut self.folder.live;
        if let Effect::Node { name, patch: NodePatch::Claim(claim), .. } = effect {
            let node = live.nodes.get_mut(name.as_str()).unwrap();
            node.unschedulable = claim.cordoned;
            node.claim = Some(ClaimState::Ours(claim));
            live.claimed.insert(name.as_str().into());
            return;
        }
        if matches!(effect.key(), EffectKey::StatusMap) {
            return;
        }
        live.overlay.in_flight.insert(effect.key(), self.now + SignedDuration::from_secs(30));
    }

    /// Time goes on by as much as the loop gathers events for. What is asked again and again has been answered meanwhile.
    fn elapse(&mut self) {
        self.now = self.now.saturating_add(GATHER).unwrap();
        let (now, live) = (self.now, &mut self.folder.live);
        let lock = live.lock.as_mut().unwrap();
        (lock.seen, lock.renewed) = (now, now.to_string());
        live.api.last_seen = Some(now);
        live.probed.values_mut().for_each(|at| *at = now);
        live.heard.values_mut().for_each(|at| *at = now);
    }

    /// What the loop keeps of a pass for the next one.
    fn remember(&mut self, tick: &Tick) {
        let (now, overlay) = (self.now, &mut self.folder.live.overlay);
        overlay.looked.extend(tick.looked.iter().map(|what| (*what, now)));
    }

    /// The time from one change of one pod to the end of the pass that follows.
    fn time_of_one_pod(&mut self) -> Duration {
        let mut changes: Vec<Pod> = Vec::new();
        for _ in 0..CHANGES * RUNS {
            self.changes += 1;
            let mut pod = self.pod[self.changes % 2].clone();
            pod.metadata.resource_version = Some(format!("9{:08}", self.changes));
            changes.push(pod);
        }
        let mut changes = changes.into_iter();
        median(u32::try_from(CHANGES).unwrap(), || {
            let mut done = 0;
            for pod in changes.by_ref().take(CHANGES) {
                self.elapse();
                self.folder.fold(Seen::Watched(Watched::Pod(Event::Applied(Box::new(pod)))), self.now);
                let tick = self.pass();
                self.remember(&tick);
                done += tick.effects.len();
            }
            done
        })
    }
}

/// Ten pools, of each of which one node in a hundred may be out.
fn desired(version: &str) -> Desired {
    let pools = (0..10).map(|number| {
        let mut pool = worlds::pool(&format!("pool-{number}"), &format!("pool=pool-{number}"));
        pool.max_unavailable = Limit::Percent(1);
        pool
    });
    let mut desired = worlds::desired(version.parse().unwrap(), pools.collect());
    desired.cluster.max_unavailable = Some(Limit::Percent(1));
    let window = Window {
        name: "always".to_owned(),
        clusters: Selector::default(),
        time_zone: TimeZone::UTC,
        opens: Opens::Always,
        at_close: AtClose::FinishNode,
        hard_limit: None,
    };
    desired.policies = Policies { windows: vec![window], freezes: Vec::new() };
    desired
}
