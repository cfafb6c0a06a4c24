//! What is written down, and how it gets onto the remote: entries get their numbers, and those that wait become one
//! batch, with the files that belong to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::ask::{Batch, Lost};
use super::pass::later;
use super::run::{Back, Loop, Told};
use super::{Standing, Tick};
use crate::model::entry::{Entry, What};
use crate::model::plan::Component;
use crate::record::{self, LiveVersions, WriteError};

/// Entries that release nothing are written down together, no later than this.
pub(super) const FLUSH: SignedDuration = SignedDuration::from_secs(10);

impl Loop {
    /// Entries get their numbers and times, are folded into the record, and wait for the next push.
    pub(super) fn write_down(&mut self, tick: Tick, now: Timestamp) {
        if tick.frozen.is_some() {
            self.frozen = tick.frozen;
        }
        let at = self.record.last_at.map_or(now, |last| last.max(now));
        for what in tick.entries {
            let run = match (&what, &self.record.run) {
                (What::RunStarted { commit, .. }, _) => Some(self.record.next_run(commit)),
                (What::Accepted { .. } | What::Refused { .. } | What::ClusterMet { .. }, _) => None,
                (_, run) => run.as_ref().map(|run| run.id.clone()),
            };
            let epoch = self.folder.live.lock.as_ref().map_or(0, |lock| lock.transitions);
            let entry = Entry { seq: self.record.next_seq, at, run, epoch, what };
            tracing::info!(cluster = %self.settings.me.cluster, seq = entry.seq, "{}", record::sentence(&entry));
            if let Some(run) =
                record::advance(&mut self.record, std::slice::from_ref(&entry), self.frozen.as_ref())
            {
                self.ended = Some(run);
            }
            self.tell(Told::Entry(Box::new(entry.clone())));
            self.unsent.push(entry);
        }
    }

    /// Hands the entries that wait to the repository's writer: at once if anything waits for them.
    pub(super) fn flush(&mut self, standing: Standing) {
        let Some(first) = self.unsent.first().filter(|_| self.pushing.is_none()) else { return };
        let now = self.edges.clock.now();
        let urgent = self.unsent.iter().any(|entry| releases(&entry.what));
        let ending =
            *self.links.ending.borrow() || (self.settings.until_idle && standing != Standing::Moving);
        if !urgent && !ending && later(first.at, FLUSH) > now {
            return;
        }
        let entries = std::mem::take(&mut self.unsent);
        let last = entries.last().map_or(0, |entry| entry.seq);
        let cluster = &self.settings.me.cluster;
        let files = match self.files(&entries, now) {
            Ok(files) => files,
            Err(error) => {
                tracing::error!(%error, "the record cannot be put into files");
                self.works.spawn(async move {
                    Back::Lost(Lost { cluster: String::new(), path: error.to_string() })
                });
                return;
            }
        };
        let batch = Batch {
            cluster: cluster.clone(),
            files,
            message: record::message(cluster, &entries, &self.record),
            tags: self.tags(&entries),
            at: now,
        };
        self.pushing = Some(now);
        let (edges, fence, journal) =
            (self.edges.clone(), Arc::clone(&self.fence), self.links.journal.clone());
        self.works.spawn(async move {
            let pushed = edges.fenced(&*fence, false, journal.append(batch), || Ok(())).await;
            match pushed {
                Some(Ok(())) => Back::Recorded(last),
                Some(Err(other)) => Back::Lost(other),
                None => Back::Halted,
            }
        });
    }

    /// The tag of a rollback point, where there is a desired commit to go back to.
    fn tags(&self, entries: &[Entry]) -> Vec<(String, String, String)> {
        let made = entries.iter().any(|entry| matches!(entry.what, What::RollbackPoint { .. }));
        let run = self.record.run.as_ref().filter(|_| made);
        let target = run.and_then(|run| run.before.as_ref().map(|(commit, _)| (run, commit)));
        let tag = target.map(|(run, commit)| {
            let (name, message) = record::tag(&self.settings.me.cluster, run);
            (name, message, commit.0.clone())
        });
        tag.into_iter().collect()
    }

    /// The files of some entries; a rollback point says what was seen in the cluster, not only what the plan moves.
    fn files(&self, entries: &[Entry], now: Timestamp) -> Result<BTreeMap<String, Vec<u8>>, WriteError> {
        let cluster = &self.settings.me.cluster;
        let mut files =
            record::files(cluster, entries, &self.record, self.frozen.as_ref(), self.ended.as_ref())?;
        for entry in entries {
            let (What::RollbackPoint { id }, Some(run)) = (&entry.what, &self.record.run) else { continue };
            let unproven = self
                .wanted
                .as_ref()
                .and_then(|wanted| wanted.desired.as_ref()?.cluster.etcd_unproven.clone());
            let before = run.before.as_ref().map(|(commit, _)| commit);
            let point = record::rollback_point(id, run, &self.versions(), before, unproven.as_deref(), now);
            let (path, bytes) = record::rollback_file(cluster, &point)?;
            files.insert(path, bytes);
        }
        Ok(files)
    }

    /// What runs where, as far as it is known.
    fn versions(&self) -> LiveVersions {
        let live = &self.folder.live;
        let nodes = live.nodes.values().filter_map(|node| {
            let servers = live.runs(Component::Servers, &node.name);
            Some((node.name.to_string(), (servers, node.kubelet.clone()?)))
        });
        nodes.collect()
    }
}

/// Whether something may follow from an entry, or a person waits for it: those are written at once.
fn releases(what: &What) -> bool {
    !matches!(what, What::StepMoved { .. } | What::StepGone { .. } | What::Waiting { .. })
}
