//! The record as it is written: entries get their numbers, and those that wait become one batch, with the files that
//! belong to them. It knows what is to be pushed, what is on its way, and how far the record is durable.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::ask::{Batch, Trouble};
use crate::model::decision::{Key, Reason};
use crate::model::effect::Effect;
use crate::model::entry::{ClusterEvent, Entry, RunEvent, StepEvent, What};
use crate::model::live::Live;
use crate::model::plan::{Component, Plan};
use crate::model::time::later;
use crate::record::{self, LiveVersions, Record, Run, WriteError};

/// Entries that release nothing are written down together, no later than this.
pub(super) const FLUSH: SignedDuration = SignedDuration::from_secs(10);
/// A push may take this long before it is told that the record does not get through.
pub(super) const PUSH_PATIENCE: SignedDuration = SignedDuration::from_secs(15);

/// The record of one cluster in the hands of its loop.
pub(super) struct Recorder {
    cluster: String,
    /// With all entries, those that wait for a push too.
    record: Record,
    unsent: Vec<Entry>,
    /// Entries up to this one are on the remote.
    durable: Option<u64>,
    /// The plan that the last `RunStarted` froze.
    frozen: Option<Plan>,
    /// The run that ended last, as it was just before.
    ended: Option<Run>,
    /// Since when a push has been under way.
    pushing: Option<Timestamp>,
}

impl Recorder {
    pub(super) fn new(cluster: &str, record: Record) -> Self {
        Self {
            cluster: cluster.to_owned(),
            durable: record.next_seq.checked_sub(1),
            record,
            unsent: Vec::new(),
            frozen: None,
            ended: None,
            pushing: None,
        }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Entries get their numbers and times, are folded into the record, and wait for the next push.
    pub(super) fn write_down(
        &mut self,
        all: Vec<What>,
        frozen: Option<Plan>,
        epoch: u64,
        now: Timestamp,
    ) -> Vec<Entry> {
        self.frozen = frozen.or(self.frozen.take());
        let at = self.record.last_at.map_or(now, |last| last.max(now));
        let before = self.unsent.len();
        for what in all {
            let run = match (&what, &self.record.run) {
                (What::Run(RunEvent::Started { commit, .. }), _) => Some(self.record.next_run(commit)),
                (What::Commit(_) | What::Cluster(ClusterEvent::Met { .. }), _) => None,
                (
                    What::Cluster(ClusterEvent::Waiting { .. })
                    | What::Run(_)
                    | What::Step(..)
                    | What::Interruption(_),
                    run,
                ) => run.as_ref().map(|run| run.id.clone()),
            };
            let entry = Entry { seq: self.record.next_seq, at, run, epoch, what };
            tracing::info!(cluster = %self.cluster, seq = entry.seq, "{}", record::sentence(&entry));
            let ended = record::advance(&mut self.record, std::slice::from_ref(&entry), self.frozen.as_ref());
            self.ended = ended.or(self.ended.take());
            self.unsent.push(entry);
        }
        self.unsent.iter().skip(before).cloned().collect()
    }

    /// Whether an effect may be sent: the entry that releases it is on the remote.
    pub(super) fn has_released(&self, effect: &Effect, after: u64) -> bool {
        let free = self.record.next_seq == 0 || (after == 0 && !changes_what_runs(effect));
        free || self.durable.is_some_and(|durable| after <= durable)
    }

    /// Whether the end of a run waits for its push. Nothing else is written down before that is under way, so that
    /// the status beside it in the commit is of that moment.
    pub(super) fn ends_a_run(&self) -> bool {
        self.unsent.iter().any(|entry| matches!(entry.what, What::Run(RunEvent::Ended { .. })))
    }

    /// Whether no entry waits for a push.
    pub(super) fn is_sent(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Since when a push has been under way; nothing when none is.
    pub(super) fn pushing_since(&self) -> Option<Timestamp> {
        self.pushing
    }

    /// When the entries that wait are to be pushed together; nothing while none waits, or a push is under way.
    pub(super) fn flush_at(&self) -> Option<Timestamp> {
        let first = self.unsent.first().filter(|_| self.pushing.is_none())?;
        Some(later(first.at, FLUSH))
    }

    /// Whether to push now: the time has come, something follows from an entry that waits, or the loop ends.
    pub(super) fn is_due(&self, ends: bool, now: Timestamp) -> bool {
        let at_once = ends || self.unsent.iter().any(|entry| releases(&entry.what));
        self.flush_at().is_some_and(|at| at_once || at <= now)
    }

    /// All entries that wait, as one batch, with the number of the last of them. From now on a push is under way.
    pub(super) fn batch(
        &mut self,
        live: &Live,
        unproven: Option<&str>,
        now: Timestamp,
    ) -> Result<(u64, Batch), WriteError> {
        let entries = std::mem::take(&mut self.unsent);
        let files = self.files(&entries, live, unproven, now)?;
        self.pushing = Some(now);
        let batch = Batch {
            cluster: self.cluster.clone(),
            files,
            message: record::message(&self.cluster, &entries, &self.record),
            tags: self.tags(&entries),
            at: now,
        };
        Ok((entries.last().map_or(0, |entry| entry.seq), batch))
    }

    /// Everything up to this entry is on the remote.
    pub(super) fn pushed(&mut self, seq: u64) {
        self.durable = self.durable.max(Some(seq));
        self.pushing = None;
    }

    /// Goes on from a record that was read again. What was not pushed came from an old one, and goes.
    pub(super) fn replace(&mut self, record: Record) {
        *self = Self { pushing: self.pushing, ..Self::new(&self.cluster, record) };
    }

    /// Why the record cannot be written at present, once that has lasted.
    pub(super) fn objection(&self, trouble: Option<&Trouble>, now: Timestamp) -> Option<Reason> {
        let slow = self.pushing.is_some_and(|since| later(since, PUSH_PATIENCE) <= now);
        match trouble {
            Some(trouble) => Some(trouble.reason.clone()),
            None if slow => {
                Some(Reason::new(Key::RecordUnreachable, "repository", "a push has not been answered"))
            }
            None => None,
        }
    }

    /// The tag of a rollback point, where there is a desired commit to go back to.
    fn tags(&self, entries: &[Entry]) -> Vec<(String, String, String)> {
        let made =
            entries.iter().any(|entry| matches!(entry.what, What::Run(RunEvent::RollbackPoint { .. })));
        let run = self.record.run.as_ref().filter(|_| made);
        let target = run.and_then(|run| run.before.as_ref().map(|(commit, _)| (run, commit)));
        let tag = target.map(|(run, commit)| {
            let (name, message) = record::tag(&self.cluster, run);
            (name, message, commit.0.clone())
        });
        tag.into_iter().collect()
    }

    /// The files of some entries; a rollback point says what was seen in the cluster, not only what the plan moves.
    fn files(
        &self,
        entries: &[Entry],
        live: &Live,
        unproven: Option<&str>,
        now: Timestamp,
    ) -> Result<BTreeMap<String, Vec<u8>>, WriteError> {
        let (frozen, ended) = (self.frozen.as_ref(), self.ended.as_ref());
        let mut files = record::files(&self.cluster, entries, &self.record, frozen, ended)?;
        for entry in entries {
            let (What::Run(RunEvent::RollbackPoint { id }), Some(run)) = (&entry.what, &self.record.run)
            else {
                continue;
            };
            let before = run.before.as_ref().map(|(commit, _)| commit);
            let point = record::rollback_point(id, run, &versions(live), before, unproven, now);
            let (path, bytes) = record::rollback_file(&self.cluster, &point)?;
            files.insert(path, bytes);
        }
        Ok(files)
    }
}

/// What runs where, as far as it is known.
fn versions(live: &Live) -> LiveVersions {
    let nodes = live.nodes.values().filter_map(|node| {
        let servers = live.runs(Component::ControlPlane, &node.name);
        Some((node.name.to_string(), (servers, node.kubelet.clone()?)))
    });
    nodes.collect()
}

/// Whether something may follow from an entry, or a person waits for it: those are pushed at once.
fn releases(what: &What) -> bool {
    match what {
        What::Step(_, StepEvent::Moved { .. } | StepEvent::Gone)
        | What::Cluster(ClusterEvent::Waiting { .. }) => false,
        What::Cluster(ClusterEvent::Met { .. })
        | What::Commit(_)
        | What::Run(_)
        | What::Step(..)
        | What::Interruption(_) => true,
    }
}

/// Whether an effect touches what people run; the lease, its namespace and the public status do not.
fn changes_what_runs(effect: &Effect) -> bool {
    !matches!(effect, Effect::Lease { .. } | Effect::CreateNamespace(_) | Effect::Publish { .. })
}
