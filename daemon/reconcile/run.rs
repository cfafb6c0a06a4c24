//! The loop around the pass, one per cluster: look, decide, write down, do. It is almost empty; everything that
//! could be wrong is in what it calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::ask::{Journal, Lost};
use super::idle::Standby;
use super::push::FLUSH;
use super::{Input, Me, Met, Standing, Status, Tick, Wanted, lock, tick};
use crate::cluster;
use crate::execute::{Edges, Effect, Fence, perform};
use crate::live::{Folder, Seen};
use crate::model::decision::{Gate, Key, Reason, Verdict};
use crate::model::entry::{Entry, What};
use crate::model::live::Probe;
use crate::model::plan::Plan;
use crate::record::{Record, Run};

/// Things seen within this are looked at together: a rollout is hundreds of events.
const GATHER: SignedDuration = SignedDuration::from_millis(20);
/// An effect that has not answered by then is looked at again; single calls give up before.
const LOST_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// Watches wait here while a pass runs; a full channel slows them down, and loses nothing.
const SEEN: usize = 4096;
/// A pass that keeps finding something to write down is a mistake of ours; it must not spin.
const MOST_ROUNDS: usize = 16;
/// A push may take a moment before anybody needs to hear of it.
pub(super) const PUSH_PATIENCE: SignedDuration = SignedDuration::from_secs(15);

/// How one cluster's loop is to run.
#[derive(Clone)]
pub struct Settings {
    pub me: Me,
    /// End when nothing is in flight and nothing goes on by itself.
    pub until_idle: bool,
    /// Shared by all loops of a process, so that two contexts of one cluster are told apart from two clusters.
    pub met: Met,
    /// Where everything that people may care about is told.
    pub tell: Option<mpsc::UnboundedSender<Told>>,
}

/// What a loop tells of itself, for a person who looks on.
#[derive(Clone, Debug)]
pub enum Told {
    Entry(Box<Entry>),
    Status(Status),
    /// An eviction was accepted: namespace and pod.
    Evicted(String, String),
}

/// Why a loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing more goes on by itself.
    Idle(Standing),
    /// Asked to end; what was in hand was finished and recorded.
    Asked,
    /// The fence ended the process here.
    Fenced,
    /// Somebody else acts for this cluster.
    Lost(String),
    /// The record cannot be written, and nothing goes on without it; whether a rule of the host refuses it.
    Unrecorded { refused: bool, why: String },
}

/// The wires of one loop.
pub struct Links {
    pub wanted: watch::Receiver<BTreeMap<String, Wanted>>,
    pub journal: Journal,
    /// True once the process is asked to end.
    pub ending: watch::Receiver<bool>,
}

/// What comes back from the world.
pub(super) enum Back {
    Seen(Box<Seen>),
    /// Everything up to this entry is on the remote.
    Recorded(u64),
    Lost(Lost),
    /// The fence let nothing through any more.
    Halted,
}

pub(super) struct Loop {
    pub(super) edges: Edges,
    pub(super) fence: Arc<dyn Fence>,
    pub(super) links: Links,
    pub(super) settings: Settings,
    pub(super) folder: Folder,
    pub(super) record: Record,
    pub(super) wanted: Option<Wanted>,
    /// Entries up to this one are on the remote.
    pub(super) durable: Option<u64>,
    pub(super) unsent: Vec<Entry>,
    pub(super) frozen: Option<Plan>,
    pub(super) ended: Option<Run>,
    pub(super) pushing: Option<Timestamp>,
    pub(super) works: JoinSet<Back>,
    pub(super) fresh: Option<(u64, Plan)>,
    told: Option<Status>,
    pub(super) gave_back: bool,
    pub(super) standby: Standby,
    /// The last tenure of the lease of which the record is known to tell.
    pub(super) tenure: Option<u64>,
}

/// Drives one cluster until it is asked to end, is idle where that is wanted, or must not act any more.
pub async fn drive(
    edges: Edges,
    fence: Arc<dyn Fence>,
    links: Links,
    settings: Settings,
    record: Record,
) -> End {
    let (seen_in, mut seen) = mpsc::channel(SEEN);
    let _watches = cluster::watch(&edges.cluster, &edges.clock, &seen_in);
    let durable = record.next_seq.checked_sub(1);
    let mut this = Loop {
        edges,
        fence,
        links,
        settings,
        folder: Folder::default(),
        record,
        wanted: None,
        durable,
        unsent: Vec::new(),
        frozen: None,
        ended: None,
        pushing: None,
        works: JoinSet::new(),
        fresh: None,
        told: None,
        gave_back: false,
        standby: Standby::No,
        tenure: None,
    };
    loop {
        this.take_wanted();
        let (status, wake_at) = this.pass();
        // A push of our own that is under way has the first word: it is refused, or what was read would be old.
        if this.standby == Standby::Over && this.pushing.is_none() {
            match this.catch_up().await {
                Some(end) => return end,
                None => continue,
            }
        }
        this.flush(status.standing);
        if let Some(end) = this.idle(&status) {
            return end;
        }
        if let Some(end) = this.wait(&mut seen, wake_at).await {
            return end;
        }
    }
}

impl Loop {
    /// Passes until nothing more is to be written down; then sends what may be sent.
    fn pass(&mut self) -> (Status, Option<Timestamp>) {
        let Some(wanted) = self.wanted.clone() else { return (Status::default(), None) };
        // What has not answered by its deadline counts as lost: the watches say what came of it.
        let now = self.edges.clock.now();
        self.folder.live.overlay.in_flight.retain(|_, until| *until > now);
        self.meet();
        self.replan(&wanted);
        for _ in 0..MOST_ROUNDS {
            // A run's end is written down by itself, so that the status beside it is of that moment.
            if self.unsent.iter().any(|entry| matches!(entry.what, What::RunEnded { .. })) {
                return (Status { standing: Standing::Moving, ..Status::default() }, None);
            }
            let now = self.edges.clock.now();
            let input = Input {
                me: &self.settings.me,
                wanted: &wanted,
                live: &self.folder.live,
                record: &self.record,
                fresh: self.fresh.as_ref().map(|(_, plan)| plan),
                now,
            };
            let mut tick = tick(input);
            self.standby = self.standby.after(&tick, self.was_held_meanwhile());
            if self.standby == Standby::Over {
                // What it concluded, it concluded from an old record.
                return (Status { standing: Standing::Moving, ..Status::default() }, None);
            }
            if tick.entries.is_empty() {
                self.remember(&tick, now);
                self.trouble(&mut tick.status, now);
                self.send(&mut tick, now);
                self.tell_status(&tick.status);
                return (tick.status, tick.wake_at);
            }
            self.write_down(tick, now);
            self.replan(&wanted);
        }
        tracing::error!("the passes do not settle; looking again in a moment");
        (
            Status { standing: Standing::Moving, ..Status::default() },
            Some(later(self.edges.clock.now(), FLUSH)),
        )
    }

    /// Says that pushes do not get through, when they have not for a while.
    fn trouble(&mut self, status: &mut Status, now: Timestamp) {
        let trouble = self.links.journal.trouble.borrow().clone();
        let slow = self.pushing.is_some_and(|since| later(since, PUSH_PATIENCE) <= now);
        let reason = match trouble {
            Some(trouble) => trouble.reason,
            None if slow => Reason::new(Key::RecordUnreachable, "repository", "a push has not been answered"),
            None => return,
        };
        status.answers.push(crate::model::decision::Answer {
            gate: Gate::Record,
            verdict: Verdict::Wait,
            reason,
            next: None,
        });
    }

    /// Sends what its entries release, and asks what is to be asked.
    fn send(&mut self, tick: &mut Tick, now: Timestamp) {
        *self.edges.deadline.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            lock::deadline(self.folder.live.lock.as_ref(), &self.settings.me.holder);
        if *self.links.ending.borrow() {
            return;
        }
        for (effect, after) in tick.effects.drain(..) {
            let free = self.record.next_seq == 0 || (after == 0 && !matters(&effect));
            if free || self.durable.is_some_and(|durable| after <= durable) {
                self.do_effect(effect, now);
            }
        }
        for probe in tick.probes.drain(..) {
            self.ask(probe, now);
        }
    }

    pub(super) fn do_effect(&mut self, effect: Effect, now: Timestamp) {
        self.folder.live.overlay.in_flight.insert(effect.key(), later(now, LOST_AFTER));
        let (edges, fence) = (self.edges.clone(), Arc::clone(&self.fence));
        let evicting = match &effect {
            Effect::Evict { namespace, pod, .. } => Some((namespace.clone(), pod.clone())),
            _ => None,
        };
        let tell = self.settings.tell.clone();
        self.works.spawn(async move {
            let seen = perform(&edges, effect, &*fence).await;
            if let (Some(tell), Some((namespace, pod)), Some(Seen::Done(_, crate::live::Answer::Done))) =
                (tell, evicting, &seen)
            {
                let _ = tell.send(Told::Evicted(namespace, pod));
            }
            seen.map_or(Back::Halted, |seen| Back::Seen(Box::new(seen)))
        });
    }

    fn ask(&mut self, probe: Probe, now: Timestamp) {
        let key = format!("probe/{probe:?}");
        if self.folder.live.overlay.in_flight.get(&key).is_some_and(|until| *until > now) {
            return;
        }
        self.folder.live.overlay.in_flight.insert(key, later(now, LOST_AFTER));
        let cluster = self.edges.cluster.clone();
        self.works.spawn(async move {
            let answer = cluster.ask(&probe, lock::NAME).await;
            Back::Seen(Box::new(Seen::Probed(probe, answer)))
        });
    }

    /// Waits for anything, and takes in all that has come meanwhile.
    async fn wait(&mut self, seen: &mut mpsc::Receiver<Seen>, wake_at: Option<Timestamp>) -> Option<End> {
        let clock = self.edges.clock.clone();
        let flush_at =
            self.unsent.first().filter(|_| self.pushing.is_none()).map(|entry| later(entry.at, FLUSH));
        // A time that has passed already means "soon": a pass that asks for it again must not spin.
        let soon = later(clock.now(), GATHER);
        let patience = self.push_patience().filter(|at| *at > clock.now());
        let wake_at = super::pass::earliest(wake_at, patience);
        let wake = super::pass::earliest(wake_at, flush_at).map_or(Timestamp::MAX, |at| at.max(soon));
        if *self.links.ending.borrow() && self.works.is_empty() && self.unsent.is_empty() && !self.give_back()
        {
            return Some(End::Asked);
        }
        tokio::select! {
            biased;
            back = self.works.join_next(), if !self.works.is_empty() => return self.back(back),
            changed = self.links.wanted.changed() => if changed.is_err() { return Some(End::Asked) },
            changed = self.links.ending.changed() => if changed.is_err() { return Some(End::Asked) },
            _ = self.links.journal.trouble.changed() => {}
            first = seen.recv() => {
                let first = first?;
                self.folder.fold(first, clock.now());
                clock.sleep(GATHER).await;
            }
            () = clock.sleep_until(wake) => {}
        }
        while let Ok(more) = seen.try_recv() {
            self.folder.fold(more, clock.now());
        }
        None
    }

    fn back(&mut self, back: Option<Result<Back, tokio::task::JoinError>>) -> Option<End> {
        match back? {
            Ok(Back::Seen(seen)) => {
                if let Seen::Probed(probe, _) = &*seen {
                    self.folder.live.overlay.in_flight.remove(&format!("probe/{probe:?}"));
                }
                self.folder.fold(*seen, self.edges.clock.now());
                None
            }
            Ok(Back::Recorded(seq)) => {
                self.durable = self.durable.max(Some(seq));
                self.pushing = None;
                None
            }
            Ok(Back::Lost(lost)) => Some(End::Lost(lost.to_string())),
            Ok(Back::Halted) => Some(End::Fenced),
            Err(error) => {
                tracing::error!(%error, "an effect did not end in order");
                None
            }
        }
    }

    pub(super) fn tell(&self, told: Told) {
        if let Some(tell) = &self.settings.tell {
            // Whoever looked on may have gone.
            let _ = tell.send(told);
        }
    }

    fn tell_status(&mut self, status: &Status) {
        if self.settings.tell.is_some() && self.told.as_ref() != Some(status) {
            self.told = Some(status.clone());
            self.tell(Told::Status(status.clone()));
        }
    }
}

/// Whether an effect touches what people run; the lease, its namespace and the public status do not.
fn matters(effect: &Effect) -> bool {
    !matches!(effect, Effect::Lock { .. } | Effect::CreateNamespace(_) | Effect::Publish(_))
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}
