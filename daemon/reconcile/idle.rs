//! When a loop may end by itself, what it remembers from one pass to the next, and how it stands by while another
//! process acts.

use jiff::{SignedDuration, Timestamp};

use super::orphans::bears_our_claim;
use super::pass::later;
use super::run::{End, Loop, PUSH_PATIENCE};
use super::{Standing, Status, Tick, lock};
use crate::model::decision::{Key, Verdict};
use crate::model::live::Probe;

/// A git host that is away for longer keeps nobody who was to end by himself.
const GIT_PATIENCE: SignedDuration = SignedDuration::from_mins(30);

/// Whether somebody else has acted, and written the record, while this loop looked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standby {
    No,
    Yes,
    /// They have ended; what they wrote has to be read before anything is done.
    Over,
}

impl Standby {
    /// `held` says that somebody has held the lease of whom nothing was seen.
    pub(super) fn after(self, tick: &Tick, held: bool) -> Self {
        match self {
            _ if tick.stands_by => Self::Yes,
            Self::Yes | Self::Over => Self::Over,
            Self::No if held => Self::Over,
            Self::No => Self::No,
        }
    }
}

impl Loop {
    /// Keeps since when each wait has been there, and since when each step has been looked at on its way back.
    pub(super) fn remember(&mut self, tick: &Tick, now: Timestamp) {
        let overlay = &mut self.folder.live.overlay;
        let before = std::mem::take(&mut overlay.waits);
        for answer in tick.status.answers.iter().filter(|answer| answer.verdict != Verdict::Allow) {
            let key = (answer.reason.key, answer.reason.object.clone());
            let since = before.get(&key).copied().unwrap_or(now);
            overlay.waits.insert(key, since);
        }
        overlay.watched.retain(|step, _| tick.watched.contains(step));
        for step in &tick.watched {
            overlay.watched.entry(step.clone()).or_insert(now);
        }
    }

    /// Whether the lease has had a holder since the record was read, or since we held it ourselves.
    pub(super) fn was_held_meanwhile(&mut self) -> bool {
        let Some(lock) = &self.folder.live.lock else { return false };
        if lock.holder == self.settings.me.holder {
            self.tenure = Some(lock.transitions);
            return false;
        }
        lock.transitions > self.tenure.unwrap_or(self.record.last_epoch)
    }

    /// Reads what another process has written while this one looked on.
    pub(super) async fn catch_up(&mut self) -> Option<End> {
        let read = self.links.journal.record(&self.settings.me.cluster);
        match read.await {
            Ok(record) => {
                self.durable = record.next_seq.checked_sub(1);
                (self.record, self.frozen, self.ended, self.fresh) = (record, None, None, None);
                self.unsent.clear();
                self.standby = Standby::No;
                let live = &mut self.folder.live;
                self.tenure = live.lock.as_ref().map(|lock| lock.transitions);
                // They have published, too.
                live.published = None;
                live.probed.remove(&Probe::Published);
                None
            }
            Err(why) => Some(End::Lost(why)),
        }
    }

    pub(super) fn idle(&self, status: &Status) -> Option<End> {
        if !self.settings.until_idle {
            return None;
        }
        let settled = !matches!(status.standing, Standing::Looking | Standing::Moving);
        let quiet = self.works.is_empty() && self.unsent.is_empty() && self.pushing.is_none();
        (settled && quiet).then_some(End::Idle(status.standing)).or_else(|| self.unrecorded())
    }

    /// A push that does not get through, while nothing else is under way: only somebody else can mend that.
    fn unrecorded(&self) -> Option<End> {
        let trouble = self.links.journal.trouble.borrow().clone()?;
        let patience = self.push_patience()?;
        // What is out is finished or given back first: for that its intent is enough.
        let out = self.folder.live.nodes.values().any(|node| bears_our_claim(&self.record, node));
        let only = self.works.len() <= 1 && !out && patience <= self.edges.clock.now();
        let refused = trouble.reason.key == Key::RecordRefused;
        only.then_some(End::Unrecorded { refused, why: trouble.reason.text })
    }

    /// Until when a process that is to end by itself waits for a push.
    pub(super) fn push_patience(&self) -> Option<Timestamp> {
        let refused = self.links.journal.trouble.borrow().as_ref()?.reason.key == Key::RecordRefused;
        let patience = if refused { PUSH_PATIENCE } else { GIT_PATIENCE };
        self.pushing.filter(|_| self.settings.until_idle).map(|since| later(since, patience))
    }

    /// At an orderly end the lease is given back once, so that nobody has to wait for it; whether that is under way.
    pub(super) fn give_back(&mut self) -> bool {
        let release = lock::release(self.folder.live.lock.as_ref(), &self.settings.me.holder)
            .filter(|_| !self.gave_back);
        let Some(release) = release else { return false };
        self.gave_back = true;
        self.do_effect(release, self.edges.clock.now());
        true
    }
}
