//! The passes of a daemon over the small model of a cluster, in virtual time, until the run has ended.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use windlass::gate::{Census, Others};
use windlass::model::decision::Verdict;
use windlass::model::desired::{AtClose, Desired, Limit, Opens, Policies, Selector, Window};
use windlass::model::entry::{ClusterEvent, CommitEvent, Entry, What};
use windlass::model::plan::{LowerBound, Plan};
use windlass::model::state::{DesiredState, Identity};
use windlass::plan::{asked, proposal};
use windlass::reconcile::{Input, Tick, checked_tick};
use windlass::record::Record;
use windlass::verify::bound::lower_bound;
use windlass::work::State;

use crate::cluster::{Cluster, Counts};
use crate::measure::processor_time;
use crate::mixes::Mix;
use crate::worlds;

pub const FROM: &str = "v1.35.4";
pub const TO: &str = "v1.36.3";
/// More passes at one time than any chain of answers needs.
const MOST_PASSES: usize = 100;

/// What came of an upgrade.
#[derive(Debug)]
pub struct Measured {
    pub bound: LowerBound,
    pub makespan: SignedDuration,
    pub pods: usize,
    pub counts: Counts,
    /// How many nodes were out on average, and how many of these were being drained.
    pub out: f64,
    pub draining: f64,
    /// How long the budget that sets the bound let a pod go and nobody asked for one.
    pub idle: SignedDuration,
    /// When the first node was back. A pod that moves before lands on a node that is upgraded later.
    pub first_back: SignedDuration,
    pub passes: usize,
    pub processor: Duration,
}

pub fn noon() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// How many workers there are, how many may be out at once, and whether pods may leave ahead of their node's turn.
#[derive(Clone, Copy, Debug)]
pub struct Pool {
    pub nodes: usize,
    pub at_once: usize,
    pub ahead: bool,
}

/// Upgrades the workers of a mix; passes are so far apart at the least.
pub fn upgrade(mix: Mix, pool: Pool, spacing: SignedDuration) -> Measured {
    let (begun, nodes) = (processor_time(), pool.nodes);
    let pods = mix.apps(nodes).iter().map(|app| app.replicas).sum();
    let mut daemon = Daemon::new(Cluster::new(nodes, mix, (FROM, TO), noon()), pool);
    let bound = daemon.bound(mix.on_node.with_proof());
    let mut sums = Sums::default();
    while !daemon.over {
        let next = daemon.next(spacing);
        sums.add(&daemon, &bound, next);
        daemon.now = next;
        daemon.cluster.run_until(next);
        daemon.decide();
    }
    let counts = daemon.cluster.counts.clone();
    let makespan = counts.last_return.unwrap().duration_since(counts.first_claim.unwrap());
    let first_back = counts.first_return.unwrap().duration_since(counts.first_claim.unwrap());
    let live = &daemon.cluster.folder.live;
    let target = Some(TO.parse().unwrap());
    let done = live.nodes.values().filter(|node| node.kubelet == target && !node.unschedulable).count();
    assert_eq!(done, nodes + 1, "every node is back in service");
    let seconds = makespan.as_secs_f64();
    Measured {
        bound,
        makespan,
        pods,
        counts,
        out: sums.out / seconds,
        draining: sums.draining / seconds,
        idle: sums.idle,
        first_back,
        passes: daemon.passes,
        processor: processor_time().saturating_sub(begun),
    }
}

#[derive(Default)]
struct Sums {
    out: f64,
    draining: f64,
    idle: SignedDuration,
}

impl Sums {
    fn add(&mut self, daemon: &Daemon, bound: &LowerBound, until: Timestamp) {
        if daemon.cluster.counts.first_claim.is_none() {
            return;
        }
        let length = until.duration_since(daemon.now);
        let seconds = length.as_secs_f64();
        let (out, draining) = daemon.out;
        self.out += seconds * f64::from(out);
        self.draining += seconds * f64::from(draining);
        if daemon.cluster.idles(&bound.object) {
            self.idle += length;
        }
    }
}

/// One cluster as its loop knows it.
struct Daemon {
    me: Identity,
    state: DesiredState,
    cluster: Cluster,
    record: Record,
    census: Census,
    fresh: Option<Plan>,
    others: Others,
    now: Timestamp,
    wake_at: Option<Timestamp>,
    /// Nodes that are out, and those of them that are drained.
    out: (u32, u32),
    passes: usize,
    over: bool,
}

impl Daemon {
    fn new(mut cluster: Cluster, pool: Pool) -> Self {
        let desired = Arc::new(desired(pool));
        let me = Identity {
            cluster: desired.cluster.name.clone(),
            holder: "process-1".to_owned(),
            predecessors: std::collections::BTreeSet::new(),
            twin: None,
        };
        let state = DesiredState {
            newest: desired.commit.clone(),
            desired: Some(Arc::clone(&desired)),
            asked: asked(&desired.cluster).unwrap(),
            problems: Vec::new(),
            rewritten: false,
            unproven: false,
            by: None,
        };
        cluster.folder.live.nodes.take_changed();
        let census = Census::of(&desired.cluster, &cluster.folder.live);
        let fresh = proposal(&desired, &cluster.folder.live).ok();
        let mut this = Self {
            me,
            state,
            cluster,
            record: Record::default(),
            census,
            fresh,
            others: Others::new(),
            now: noon(),
            wake_at: None,
            out: (0, 0),
            passes: 0,
            over: false,
        };
        let (commit, version) = (desired.commit.clone(), desired.cluster.version.clone());
        this.write(What::Cluster(ClusterEvent::Met { uid: "uid-kube-system".to_owned() }), None);
        this.write(What::Commit(CommitEvent::Accepted { commit, version, by: None }), None);
        this
    }

    /// The least time, with the work on a node that this cluster is known to take.
    fn bound(&self, on_node: SignedDuration) -> LowerBound {
        lower_bound(self.fresh.as_ref().unwrap(), &self.cluster.folder.live, on_node).unwrap()
    }

    /// When the next pass is: once something has happened, and what comes soon after it is gathered.
    fn next(&self, spacing: SignedDuration) -> Timestamp {
        let due = self.cluster.next_due().into_iter().chain(self.wake_at).min();
        due.unwrap_or(self.now).max(self.now) + spacing
    }

    fn write(&mut self, what: What, plan: Option<&Plan>) {
        let run = match &what {
            What::Run(_) if self.record.run.is_none() => Some(self.record.next_run(&self.state.newest)),
            _ => self.record.run.as_ref().map(|run| run.id.clone()),
        };
        let epoch = self.cluster.folder.live.lock.as_ref().map_or(0, |lock| lock.transitions);
        let seq = self.record.next_seq.max(1);
        self.record.apply(&Entry { seq, at: self.now, run, epoch, what }, plan);
    }

    /// Passes until nothing more is written down, done or asked.
    fn decide(&mut self) {
        for _ in 0..MOST_PASSES {
            let desired = Arc::clone(self.state.desired.as_ref().unwrap());
            let live = &mut self.cluster.folder.live;
            live.overlay.in_flight.forget_until(self.now);
            let changed = live.nodes.take_changed();
            self.census.update(&desired.cluster, live, &changed);
            let tick = self.pass();
            if !tick.entries.is_empty() {
                let ran = self.record.run.is_some();
                for what in tick.entries {
                    self.write(what, tick.frozen.as_ref());
                }
                self.fresh = None;
                self.over |= ran && self.record.run.is_none();
                if self.over {
                    return;
                }
                continue;
            }
            self.remember(&tick);
            self.wake_at = tick.wake_at;
            let acts = !tick.effects.is_empty() || !tick.probes.is_empty();
            for (effect, _) in tick.effects {
                self.cluster.carry_out(effect, self.now);
            }
            for probe in tick.probes {
                self.cluster.ask(probe, self.now);
            }
            if !acts {
                return;
            }
        }
        panic!("the passes do not settle");
    }

    fn pass(&mut self) -> Tick {
        self.passes += 1;
        let (tick, findings) = checked_tick(Input {
            me: &self.me,
            state: &self.state,
            live: &self.cluster.folder.live,
            record: &self.record,
            fresh: self.fresh.as_ref(),
            census: &self.census,
            others: &self.others,
            trouble: None,
            now: self.now,
            wall: self.now,
        });
        assert_eq!(findings, []);
        let count = |of: fn(&State) -> bool| {
            u32::try_from(tick.states.values().filter(|state| of(state)).count()).unwrap()
        };
        self.out = (
            count(|state| (State::Unclaimed..State::Recovering).contains(state)),
            count(|state| (State::Unclaimed..=State::Draining).contains(state)),
        );
        tick
    }

    /// What the loop notes of a pass.
    fn remember(&mut self, tick: &Tick) {
        let (now, overlay) = (self.now, &mut self.cluster.folder.live.overlay);
        let before = std::mem::take(&mut overlay.waits);
        for answer in tick.status.answers.iter().filter(|answer| answer.verdict != Verdict::Allow) {
            let key = (answer.reason.key, answer.reason.object.clone());
            let since = before.get(&key).copied().unwrap_or(now);
            overlay.waits.insert(key, since);
        }
        overlay.looked.extend(tick.looked.iter().map(|what| (*what, now)));
        overlay.watched.retain(|step, _| tick.watched.contains(step));
        for step in &tick.watched {
            overlay.watched.entry(step.clone()).or_insert(now);
        }
    }
}

/// One pool with the settings that a short file gives, but for its limit, its canary, and a drain that may take long.
fn desired(of: Pool) -> Desired {
    let mut pool = worlds::pool("w", "pool=w");
    pool.max_unavailable = Limit::Count(u32::try_from(of.at_once).unwrap());
    pool.drain.ahead = of.ahead;
    pool.prefer_upgraded = true;
    pool.drain.timeout = SignedDuration::from_hours(24);
    pool.drain.recovery = SignedDuration::from_mins(5);
    let mut desired = worlds::desired(TO.parse().unwrap(), vec![pool]);
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
