//! The entries of one cluster on their way to the remote: they get numbers, and the waiting ones become one batch
//! with the files that belong to them. It knows which entries wait, which are in flight, and which are on the remote.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::ask::{Batch, Trouble};
use super::said;
use crate::model::decision::{Key, Reason};
use crate::model::effect::Effect;
use crate::model::entry::{ClusterEvent, Entry, RunEvent, StepEvent, What};
use crate::model::evidence::evidence_of;
use crate::model::live::Live;
use crate::model::plan::{Component, Plan};
use crate::model::time::later;
use crate::record::{self, LiveVersions, Record, Run, WriteError};

/// The longest time for which an entry that releases nothing waits for others.
pub(super) const FLUSH: SignedDuration = SignedDuration::from_secs(10);
/// How long a push may take before it is reported that the record cannot be written.
pub(super) const PUSH_PATIENCE: SignedDuration = SignedDuration::from_secs(15);

/// The record of one cluster, as its loop writes it.
pub(super) struct Recorder {
    cluster: String,
    /// The record with all entries, those that wait for a push included.
    record: Record,
    unsent: Vec<Entry>,
    /// The last entry that is on the remote; `None` while there is none.
    durable: Option<u64>,
    /// The plan that the last `RunEvent::Started` froze.
    frozen: Option<Plan>,
    /// The run that ended last, as it was just before its end.
    ended: Option<Run>,
    /// Since when a push has been in flight; `None` if none is.
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

    /// Gives entries their numbers and times, folds them into the record, and keeps them for the next push.
    pub(super) fn write_down(
        &mut self,
        all: Vec<What>,
        frozen: Option<Plan>,
        epoch: u64,
        now: Timestamp,
    ) -> Vec<Entry> {
        self.frozen = frozen.or(self.frozen.take());
        // A clock that was set back puts no entry before the last one.
        let at = self.record.last_at.map_or(now, |last| last.max(now));
        let before = self.unsent.len();
        for what in all {
            let run = match (&what, &self.record.run) {
                (What::Run(RunEvent::Started { commit, .. }), _) => Some(self.record.next_run(commit)),
                (
                    What::Commit(_) | What::Cluster(ClusterEvent::Met { .. } | ClusterEvent::Drifted { .. }),
                    _,
                ) => None,
                (
                    What::Cluster(ClusterEvent::Waiting { .. })
                    | What::Run(_)
                    | What::Step(..)
                    | What::Interruption(_),
                    run,
                ) => run.as_ref().map(|run| run.id.clone()),
            };
            let entry = Entry { seq: self.record.next_seq, at, run, epoch, what };
            said::log(&self.cluster, &entry);
            let ended = record::advance(&mut self.record, std::slice::from_ref(&entry), self.frozen.as_ref());
            self.ended = ended.or(self.ended.take());
            self.unsent.push(entry);
        }
        self.unsent.iter().skip(before).cloned().collect()
    }

    /// True if an effect may be sent: the entry `after` that releases it is on the remote. Effects on the lease, its
    /// namespace and `upgrade-status` that follow from no entry carry 0 and need none, so that a process can take the
    /// lease before it writes.
    pub(super) fn has_released(&self, effect: &Effect, after: u64) -> bool {
        let free = self.record.next_seq == 0 || (after == 0 && !changes_what_runs(effect));
        free || self.durable.is_some_and(|durable| after <= durable)
    }

    /// True if an entry that ends a run waits for its push. Nothing else is written down before it is in flight,
    /// because its commit also has the status, which has to be that of the run's end.
    pub(super) fn ends_a_run(&self) -> bool {
        self.unsent.iter().any(|entry| matches!(entry.what, What::Run(RunEvent::Ended { .. })))
    }

    /// True if no entry waits for a push.
    pub(super) fn is_sent(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Since when a push has been in flight; `None` if none is.
    pub(super) fn pushing_since(&self) -> Option<Timestamp> {
        self.pushing
    }

    /// When the waiting entries are pushed together; `None` while none waits, or a push is in flight.
    pub(super) fn flush_at(&self) -> Option<Timestamp> {
        let first = self.unsent.first().filter(|_| self.pushing.is_none())?;
        Some(later(first.at, FLUSH))
    }

    /// True if the entries are to be pushed now: their time has come, one of them releases an effect, or the loop
    /// ends.
    pub(super) fn is_due(&self, ends: bool, now: Timestamp) -> bool {
        let at_once = ends || self.unsent.iter().any(|entry| self.releases(entry));
        self.flush_at().is_some_and(|at| at_once || at <= now)
    }

    /// All waiting entries as one batch, with the number of the last of them. From now on a push is in flight.
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

    /// Notes that all entries up to this one are on the remote.
    pub(super) fn pushed(&mut self, seq: u64) {
        self.durable = self.durable.max(Some(seq));
        self.pushing = None;
    }

    /// Goes on from a record that was read again, and drops the entries that wait. Another daemon has pushed entries
    /// 40 to 42 while ours waited as 40 and 41: ours follow from a record without them, and have numbers that are
    /// taken.
    pub(super) fn replace(&mut self, record: Record) {
        *self = Self { pushing: self.pushing, ..Self::new(&self.cluster, record) };
    }

    /// Why the record cannot be written now, if that has lasted for a while.
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

    /// True if an entry is pushed at once, because an effect may follow from it or a person waits for it. The others wait
    /// up to [`FLUSH`]: the intents of steps that come later, and the beginning of a step whose intent is on the remote.
    fn releases(&self, entry: &Entry) -> bool {
        match &entry.what {
            What::Step(id, StepEvent::Started { .. }) => {
                let known = self.record.run.as_ref().and_then(|run| run.steps.get(id));
                known.is_none_or(|step| self.durable.is_none_or(|durable| step.intent > durable))
            }
            What::Step(_, StepEvent::Moved { .. } | StepEvent::Gone)
            | What::Run(RunEvent::Next { .. } | RunEvent::Landed { .. })
            | What::Cluster(ClusterEvent::Waiting { .. } | ClusterEvent::Drifted { .. }) => false,
            What::Cluster(ClusterEvent::Met { .. })
            | What::Commit(_)
            | What::Run(_)
            | What::Step(..)
            | What::Interruption(_) => true,
        }
    }

    /// The tag of a rollback point, if there is a desired commit to go back to.
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

    /// The files of some entries. A rollback point gets the versions of the whole cluster, not only those in the
    /// plan.
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
            for question in evidence_of(&run.plan) {
                if let Some(found) = live.evidence.get(&question.addon) {
                    let (path, bytes) = record::evidence_file(&self.cluster, run, id, found)?;
                    files.insert(path, bytes);
                }
            }
        }
        Ok(files)
    }
}

/// The known versions of all nodes.
fn versions(live: &Live) -> LiveVersions {
    let nodes = live.nodes.values().filter_map(|node| {
        let servers = live.runs(Component::ControlPlane, &node.name);
        Some((node.name.to_string(), (servers, node.kubelet.clone()?)))
    });
    nodes.collect()
}

/// True unless the effect is on the lease, its namespace or `upgrade-status`, which change nothing that people run.
fn changes_what_runs(effect: &Effect) -> bool {
    !matches!(effect, Effect::Lease { .. } | Effect::CreateNamespace(_) | Effect::Publish { .. })
}
