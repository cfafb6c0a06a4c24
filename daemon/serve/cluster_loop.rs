//! The loop around the pass, one per cluster: look, decide, write down, do. It decides nothing itself; it calls the
//! functions that do.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;

use super::ask::{EarlierOf, Journal, Trouble, words};
use super::idle::{self, End};
use super::in_flight::{self, InFlight, LoopEvent};
use super::lease::LeaseWatch;
use super::look::{Picture, ServedUids};
use super::publish::Publisher;
use super::push::{FLUSH, Recorder};
use super::said;
use crate::clock::Clock;
use crate::execute::{Edges, Fence};
use crate::gate;
use crate::live::Seen;
use crate::model::decision::{Answer, Reason};
use crate::model::state::{DesiredState, Identity, RunState};
use crate::model::time::{earliest, later};
use crate::reconcile::{self, MOST_ROUNDS, Tick, checked_tick};
use crate::record::Record;
use crate::view::cluster::{Notice, View};

/// Events within this time are taken in together: a rollout is hundreds of events.
const GATHER: SignedDuration = SignedDuration::from_millis(20);
/// A difference between the time of day and the clock of lengths of time that is no mistake of measurement.
const CLOCK_SET: SignedDuration = SignedDuration::from_secs(2);
/// How many events wait while a pass runs. A full channel makes the watches wait; no event is lost. An event that waits
/// is a whole object, some kilobytes for a pod.
const SEEN: usize = 512;

/// How one cluster's loop runs.
#[derive(Clone)]
pub struct LoopSettings {
    pub me: Identity,
    /// True if the loop ends when nothing is in flight and nothing can go on by itself.
    pub until_idle: bool,
    /// Shared by all loops of the process, to find out that two contexts lead to one cluster.
    pub served: ServedUids,
    /// Where the loop publishes its view.
    pub view: watch::Sender<View>,
}

/// The channels of one loop.
pub struct Links {
    pub wanted: watch::Receiver<BTreeMap<String, DesiredState>>,
    pub journal: Journal,
    /// True once the process is asked to end.
    pub ending: watch::Receiver<bool>,
}

struct Loop {
    clock: Clock,
    links: Links,
    me: Identity,
    until_idle: bool,
    served: ServedUids,
    picture: Picture,
    recorder: Recorder,
    lease: LeaseWatch,
    in_flight: InFlight,
    publisher: Publisher,
    /// True if it was logged that this machine's clock and the API server's differ.
    clock_told: bool,
}

/// The result of the passes between two waits.
struct Decided {
    state: RunState,
    /// Every answer of the last pass; `None` if it was not completed.
    answers: Option<Vec<Answer>>,
    /// When to look again, if nothing happens before.
    wake_at: Option<Timestamp>,
}

impl Decided {
    fn unfinished(state: RunState, wake_at: Option<Timestamp>) -> Self {
        Self { state, answers: None, wake_at }
    }
}

/// Runs one cluster's loop until the process is asked to end, the loop is idle and may end, or it must not act any
/// more.
pub async fn drive(
    edges: Edges,
    fence: Arc<dyn Fence>,
    links: Links,
    settings: LoopSettings,
    record: Record,
) -> End {
    let earlier = EarlierOf { journal: links.journal.clone(), cluster: settings.me.cluster.clone() };
    let edges = edges.with_earlier_commits(Arc::new(earlier));
    let (seen_in, mut seen) = mpsc::channel(SEEN);
    let _watches = edges.watch(&seen_in);
    let mut this = Loop {
        clock: edges.clock.clone(),
        links,
        until_idle: settings.until_idle,
        served: settings.served,
        picture: Picture::default(),
        recorder: Recorder::new(&settings.me.cluster, record),
        lease: LeaseWatch::default(),
        in_flight: InFlight::new(edges, fence),
        publisher: Publisher::new(&settings.me.cluster, settings.view),
        me: settings.me,
        clock_told: false,
    };
    loop {
        let decided = this.decide();
        this.publisher.publish(decided.state, decided.answers, this.recorder.record());
        let end = if this.must_reread() {
            this.reread().await
        } else {
            let end =
                this.flush(decided.state).or_else(|| this.idle(decided.state)).or_else(|| this.clock_set());
            match end {
                Some(end) => Some(end),
                None => this.wait(&mut seen, decided.wake_at).await,
            }
        };
        if let Some(end) = end {
            return end;
        }
    }
}

impl Loop {
    /// Runs passes until no pass has an entry, then sends the effects that may be sent.
    fn decide(&mut self) -> Decided {
        self.look();
        for _ in 0..MOST_ROUNDS {
            if self.recorder.ends_a_run() {
                return Decided::unfinished(RunState::Moving, None);
            }
            let now = self.clock.now();
            self.picture.replan(self.recorder.record(), now);
            let trouble = self.trouble();
            let trouble = self.recorder.objection(trouble.as_ref(), now);
            let record = self.recorder.record();
            let Some(input) = self.picture.input(&self.me, record, trouble.as_ref(), &self.clock) else {
                return Decided::unfinished(RunState::Looking, None);
            };
            let (tick, findings) = checked_tick(input);
            self.report(findings, now);
            let (lock, recorded) = (self.picture.live().lock.as_ref(), self.recorder.record().last_epoch);
            self.lease.observe(tick.stands_by, lock, &self.me.holder, recorded);
            // The holder of a lease that somebody deleted may still act.
            let deleted = self.picture.live().lock_deleted.as_ref();
            let lock = lock.or(deleted.filter(|_| tick.stands_by));
            if let Some((before, now)) = self.lease.news(tick.stands_by, lock, &self.me.holder) {
                said::acts(&self.me.cluster, &before, &now, self.recorder.record());
            }
            if self.lease.must_reread() {
                // The pass used an old record, so its result is dropped.
                return Decided::unfinished(RunState::Moving, None);
            }
            if tick.entries.is_empty() {
                return self.carry_out(tick, now);
            }
            self.write_down(tick, now);
        }
        tracing::error!(
            cluster = %self.me.cluster,
            "reconcile did not converge after {MOST_ROUNDS} passes; retrying in {} s",
            FLUSH.as_secs()
        );
        Decided::unfinished(RunState::Moving, Some(later(self.clock.now(), FLUSH)))
    }

    /// Logs the findings of the independent check. Nothing of that pass is carried out.
    fn report(&mut self, findings: Vec<Reason>, now: Timestamp) {
        for finding in &findings {
            let (key, object, text) = (finding.key.as_str(), &finding.object, &finding.text);
            tracing::error!(
                cluster = %self.me.cluster, key, %object,
                "the independent check withheld a pass: {text}; nothing of the pass was carried out"
            );
        }
        if !findings.is_empty() {
            self.publisher.withheld(now, findings);
        }
    }

    /// Updates what a pass reads: the desired state, lost answers, and which cluster this is.
    fn look(&mut self) {
        self.picture.take_wanted(&mut self.links.wanted, &self.me.cluster);
        in_flight::forget_lost(&mut self.picture.folder.live.overlay, self.clock.now());
        if let Some(uid) = &self.picture.live().cluster_uid {
            let recorded = self.recorder.record().cluster_uid.as_ref() == Some(uid);
            self.me.twin = self.served.claim(uid, &self.me.cluster, recorded);
        }
        if let Some(ahead) = self.picture.live().api.clock_ahead
            && gate::clock_differs(ahead) != self.clock_told
        {
            self.clock_told = !self.clock_told;
            said::clock(&self.me.cluster, ahead);
        }
    }

    fn write_down(&mut self, tick: Tick, now: Timestamp) {
        let epoch = self.picture.live().lock.as_ref().map_or(0, |lock| lock.transitions);
        for entry in self.recorder.write_down(tick.entries, tick.frozen, epoch, now) {
            self.picture.forget_told(&entry.what);
            self.publisher.note(Notice::Entry(Box::new(entry)));
        }
    }

    /// Sends the effects whose entries are on the remote, and asks the probes.
    fn carry_out(&mut self, tick: Tick, now: Timestamp) -> Decided {
        self.picture.remember(&tick, now);
        let lock = self.picture.live().lock.as_ref();
        self.in_flight.set_deadline(reconcile::deadline(lock, &self.me.holder));
        if !*self.links.ending.borrow() {
            let overlay = &mut self.picture.folder.live.overlay;
            for (effect, after) in tick.effects {
                if self.recorder.has_released(&effect, after) {
                    self.in_flight.send(effect, overlay, now);
                }
            }
            for probe in tick.probes {
                self.in_flight.ask(probe, overlay, now);
            }
        }
        Decided { state: tick.status.state, answers: Some(tick.status.answers), wake_at: tick.wake_at }
    }

    /// True if the record is to be read again now. A push in flight finishes first: if it is accepted, a record that
    /// was read before it would be out of date.
    fn must_reread(&self) -> bool {
        self.lease.must_reread() && self.recorder.pushing_since().is_none()
    }

    /// Reads what another process has written while it acted.
    async fn reread(&mut self) -> Option<End> {
        match self.links.journal.record(&self.me.cluster).await {
            Ok(record) => {
                self.recorder.replace(record);
                self.lease.reread(self.picture.live().lock.as_ref());
                self.picture.others_acted();
                None
            }
            Err(error) => Some(End::Lost(words(&error))),
        }
    }

    /// Sends the waiting entries to the keeper when that is due.
    fn flush(&mut self, state: RunState) -> Option<End> {
        let now = self.clock.now();
        let ends = *self.links.ending.borrow() || (self.until_idle && state != RunState::Moving);
        if !self.recorder.is_due(ends, now) {
            return None;
        }
        match self.recorder.batch(self.picture.live(), self.picture.etcd_unproven(), now) {
            Ok((last, batch)) => {
                self.in_flight.push(last, batch, &self.links.journal);
                None
            }
            Err(error) => {
                Some(End::Unwritable(format!("the record cannot be put into files: {}", words(&error))))
            }
        }
    }

    /// The end of a loop that ends when it is idle; `None` while it is not.
    fn idle(&self, state: RunState) -> Option<End> {
        if !self.until_idle {
            return None;
        }
        let pushing = self.recorder.pushing_since();
        if self.in_flight.is_empty() && self.recorder.is_sent() && pushing.is_none() {
            return idle::at_rest(state);
        }
        // Nodes that are out are upgraded or returned first. For that their intents are enough, and those are on the
        // remote.
        let only_the_push =
            self.in_flight.len() <= 1 && !self.picture.has_claims_or_notes(self.recorder.record());
        let trouble = self.trouble().filter(|_| only_the_push)?;
        idle::unrecorded(&trouble, pushing, self.clock.now())
    }

    /// The end of a loop whose time of day was set, once no node is in progress: the next loop takes the new time over.
    ///
    /// A machine starts with a clock that is an hour slow, and NTP sets it a minute later. Lengths of time go on by the
    /// old time, so that no step looks an hour old at once. But the record would be an hour slow for as long as this
    /// process lives.
    fn clock_set(&self) -> Option<End> {
        let by = self.clock.wall().duration_since(self.clock.now());
        let record = self.recorder.record();
        let at_rest = self.in_flight.is_empty()
            && self.recorder.is_sent()
            && !self.picture.has_claims_or_notes(record)
            && record.run.as_ref().is_none_or(|run| run.in_progress().next().is_none());
        (by.abs() > CLOCK_SET && at_rest).then_some(End::ClockSet(by))
    }

    /// Waits for any event, and takes in all that have come meanwhile.
    async fn wait(&mut self, seen: &mut mpsc::Receiver<Seen>, wake_at: Option<Timestamp>) -> Option<End> {
        let clock = self.clock.clone();
        let ending = *self.links.ending.borrow();
        if ending && self.in_flight.is_empty() && self.recorder.is_sent() && !self.release_lease() {
            return Some(End::Asked);
        }
        let wake_at = earliest(earliest(wake_at, self.give_up_at()), self.recorder.flush_at());
        let wake_at = earliest(wake_at, self.picture.replan_at());
        // A wake-up time in the past means "soon"; a pass that asks for it again must not make the loop spin.
        let soon = later(clock.now(), GATHER);
        let wake = wake_at.map_or(Timestamp::MAX, |at| at.max(soon));
        tokio::select! {
            biased;
            event = self.in_flight.next(), if !self.in_flight.is_empty() => return self.take(event?),
            changed = self.links.wanted.changed() => match changed {
                // `changed` has marked the value as seen, but it has not been taken over yet.
                Ok(()) => self.links.wanted.mark_changed(),
                Err(_) => return Some(End::Asked),
            },
            changed = self.links.ending.changed() => if changed.is_err() { return Some(End::Asked) },
            _ = self.links.journal.trouble.changed() => {}
            first = seen.recv() => {
                self.picture.folder.fold(first?, clock.now());
                clock.sleep(GATHER).await;
            }
            () = clock.sleep_until(wake) => {}
        }
        while let Ok(more) = seen.try_recv() {
            self.picture.folder.fold(more, clock.now());
        }
        None
    }

    /// Takes in the answer of a task.
    fn take(&mut self, event: Result<LoopEvent, JoinError>) -> Option<End> {
        match event {
            Ok(LoopEvent::Seen(seen, evicted)) => {
                let at = self.clock.now();
                if let Some((namespace, pod)) = evicted {
                    self.publisher.note(Notice::Evicted { at, namespace, pod });
                }
                self.picture.folder.fold(*seen, at);
                None
            }
            Ok(LoopEvent::Recorded(seq)) => {
                self.recorder.pushed(seq);
                None
            }
            Ok(LoopEvent::Lost(lost)) => Some(End::Lost(lost.to_string())),
            Ok(LoopEvent::Fenced) => Some(End::Fenced),
            Err(error) => {
                let cluster = &self.me.cluster;
                tracing::error!(%cluster, %error, "the task of an effect, a probe or a push panicked");
                None
            }
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        self.links.journal.trouble.borrow().clone()
    }

    /// When a loop that ends when idle gives up on the push in flight; `None` if that time has passed.
    fn give_up_at(&self) -> Option<Timestamp> {
        let trouble = self.trouble().filter(|_| self.until_idle)?;
        idle::patience(&trouble, self.recorder.pushing_since()).filter(|at| *at > self.clock.now())
    }

    /// Releases our lease if it is held and no release was sent. True if one is sent now.
    fn release_lease(&mut self) -> bool {
        let release = self.lease.release(self.picture.live(), &self.me.holder);
        let Some(release) = release else { return false };
        self.in_flight.send(release, &mut self.picture.folder.live.overlay, self.clock.now());
        true
    }
}
