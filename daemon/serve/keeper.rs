//! The one writer of a repository's record, and its reader of desired state: one task per repository.
//! Entries of all clusters go through it in order; a push that was refused, lost or raced is resolved here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};

use super::ask::{Ask, Batch, CallError, Journal, Lost, Reply, RereadError, Trouble, words};
use super::wanted::{self, Known};
use crate::clock::Clock;
use crate::git::{Append, AppendError, CommitId, GitError, Repository, Tag};
use crate::model::decision::{Key, Reason};
use crate::model::state::DesiredState;
use crate::model::time::later;
use crate::record::{self, Record};

/// How long a push that failed rests; doubled up to the second figure.
const REST: SignedDuration = SignedDuration::from_secs(2);
const LONGEST_REST: SignedDuration = SignedDuration::from_secs(60);
/// A refusal by a rule of the host is no race: only a person can change it, so it is asked about rarely.
const REFUSED_REST: SignedDuration = SignedDuration::from_secs(60);
/// More batches than clusters would ever have waiting: each cluster has one.
const QUEUE: usize = 256;

/// How a repository is looked at.
#[derive(Clone, Debug)]
pub struct Watching {
    /// Folder of `desired-state/` and `policies/` in the repository; empty for its root.
    pub path: String,
    /// How often the remote is asked when nothing tells of a push.
    pub poll: SignedDuration,
}

/// Everything one repository's task holds.
pub struct Keeper {
    repository: Arc<Mutex<Repository>>,
    clock: Clock,
    watching: Watching,
    asks: mpsc::Receiver<Ask>,
    trouble: watch::Sender<Option<Trouble>>,
    wake: mpsc::Receiver<()>,
    wanted: watch::Sender<BTreeMap<String, DesiredState>>,
    tip: Option<CommitId>,
    /// Clusters whose record another process has written since their loops read it: what these hand in is out of date.
    overtaken: BTreeSet<String>,
    /// What was said of the trouble that there is.
    said: BTreeSet<Key>,
    known: Known,
    waiting: Vec<(Batch, Reply)>,
    tries: u32,
    next_try: Option<Timestamp>,
    next_poll: Timestamp,
    /// A record that lives elsewhere does not hold the desired commits, so no tag there can point at one.
    tags: bool,
}

/// The ends of a keeper's wires.
pub struct Wires {
    pub journal: Journal,
    /// What git wants of every cluster; empty until the first look.
    pub wanted: watch::Receiver<BTreeMap<String, DesiredState>>,
    /// Says "look again"; carries nothing.
    pub wake: mpsc::Sender<()>,
}

impl Keeper {
    /// `known` is what the record says of each cluster; `tip` is the record's branch as it was read.
    pub fn new(
        repository: Repository,
        clock: Clock,
        watching: Watching,
        tip: Option<CommitId>,
        known: Known,
    ) -> (Self, Wires) {
        let (asks_in, asks) = mpsc::channel(QUEUE);
        let (trouble, troubled) = watch::channel(None);
        let (wake_in, wake) = mpsc::channel(1);
        let (wanted, wanted_out) = watch::channel(BTreeMap::new());
        let next_poll = clock.now();
        let keeper = Self {
            tags: !repository.record_is_apart(),
            repository: Arc::new(Mutex::new(repository)),
            clock,
            watching,
            asks,
            trouble,
            wake,
            wanted,
            tip,
            overtaken: BTreeSet::new(),
            said: BTreeSet::new(),
            known,
            waiting: Vec::new(),
            tries: 0,
            next_try: None,
            next_poll,
        };
        let journal = Journal { asks: asks_in, trouble: troubled };
        (keeper, Wires { journal, wanted: wanted_out, wake: wake_in })
    }

    /// Runs until every loop has let go of its wire.
    pub async fn run(mut self) {
        loop {
            let now = self.clock.now();
            if self.next_poll <= now {
                self.look().await;
                self.next_poll = later(self.clock.now(), self.watching.poll);
            }
            if !self.waiting.is_empty() && self.next_try.is_none_or(|at| at <= now) {
                self.push().await;
            }
            let due = self
                .next_try
                .filter(|_| !self.waiting.is_empty())
                .map_or(self.next_poll, |at| at.min(self.next_poll));
            tokio::select! {
                biased;
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.take(ask).await,
                    None => return,
                },
                Some(()) = self.wake.recv() => self.next_poll = self.clock.now(),
                () = self.clock.sleep_until(due) => {}
            }
        }
    }

    /// What is waiting by now goes into one commit.
    async fn take(&mut self, first: Ask) {
        let mut ask = Some(first);
        while let Some(now) = ask {
            match now {
                Ask::Append(batch, reply) if self.overtaken.contains(&batch.cluster) => {
                    let path = format!("{}/status.yaml", batch.cluster);
                    let _ = reply.send(Err(Lost::Overtaken { cluster: batch.cluster, path }));
                }
                Ask::Append(batch, reply) => self.waiting.push((batch, reply)),
                Ask::Read(cluster, reply) => {
                    let read = self.read(&cluster).await;
                    // The loop that asked may have ended by now.
                    let _ = reply.send(read);
                }
            }
            ask = self.asks.try_recv().ok();
        }
    }

    /// The record of one cluster as it is now. What others wrote of other clusters meanwhile is theirs to find out.
    async fn read(&mut self, cluster: &str) -> Result<Record, RereadError> {
        let (before, name) = (self.tip, cluster.to_owned());
        let work = move |repository: &mut Repository| {
            let tip = repository.fetch()?.record;
            let changed = repository.record_changed(before, tip)?;
            let files = tip.map(|tip| repository.read_record(&tip, &name)).transpose()?;
            Ok::<_, GitError>((tip, changed, files.unwrap_or_default()))
        };
        let called = self.blocking(work).await.map_err(|source| RereadError::Call { source })?;
        let (tip, changed, files) = called.map_err(|source| RereadError::Git { source })?;
        // Batches of this cluster that still wait are not in what was read, and come too late.
        let mine = format!("{cluster}/");
        self.overtake(tip, &changed.into_iter().chain([mine]).collect::<Vec<_>>());
        let read = record::read(cluster, &files)
            .map_err(|source| RereadError::Record { cluster: cluster.to_owned(), source })?;
        self.overtaken.remove(cluster);
        Ok(read)
    }

    /// Another process has brought the branch to `tip`. What waits and is not about what they wrote goes on top of it;
    /// what is about it has lost.
    fn overtake(&mut self, tip: Option<CommitId>, changed: &[String]) {
        self.tip = tip;
        self.overtaken.extend(changed.iter().filter_map(|path| path.split('/').next()).map(str::to_owned));
        let (lost, kept): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|(batch, _)| self.overtaken.contains(&batch.cluster));
        self.waiting = kept;
        for (batch, reply) in lost {
            let prefix = format!("{}/", batch.cluster);
            let path = changed.iter().find(|path| path.starts_with(&prefix)).cloned().unwrap_or_default();
            let _ = reply.send(Err(Lost::Overtaken { cluster: batch.cluster, path }));
        }
    }

    /// One short call on a blocking thread: virtual time stands still meanwhile.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Repository) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let repository = Arc::clone(&self.repository);
        let done = tokio::task::spawn_blocking(move || match repository.lock() {
            Ok(mut repository) => Ok(work(&mut repository)),
            Err(_) => Err(CallError::Poisoned),
        });
        done.await.unwrap_or_else(|source| Err(CallError::Panicked { source }))
    }

    async fn look(&mut self) {
        let path = self.watching.path.clone();
        let mut known = self.known.clone();
        let looked = self
            .blocking(move |repository| wanted::look(repository, &path, &mut known).map(|w| (w, known)))
            .await;
        match looked {
            Ok(Ok((Some(wanted), known))) => {
                self.known = known;
                self.wanted.send_replace(wanted);
                self.settle_fetch();
            }
            Ok(Ok((None, known))) => {
                self.known = known;
                self.settle_fetch();
            }
            Ok(Err(error)) => self.fetch_failed(&words(&error)),
            Err(error) => self.fetch_failed(&words(&error)),
        }
    }

    fn settle_fetch(&mut self) {
        self.trouble.send_if_modified(|trouble| {
            let over = trouble.as_ref().is_some_and(|trouble| trouble.reason.key == Key::GitUnreachable);
            if over {
                tracing::info!("the repository answers again");
                self.said.clear();
                *trouble = None;
            }
            over
        });
    }

    fn fetch_failed(&mut self, error: &str) {
        // That the record does not get through says more.
        let unwritten =
            self.trouble.borrow().as_ref().is_some_and(|known| known.reason.key != Key::GitUnreachable);
        if !unwritten {
            self.in_trouble(Key::GitUnreachable, format!("the repository cannot be read: {error}"));
        }
    }

    /// Each kind of trouble is told once while there is any: its words may differ from one try to the next.
    fn in_trouble(&mut self, key: Key, text: String) {
        let now = self.clock.now();
        if self.said.insert(key) {
            tracing::warn!(reason = key.as_str(), "{text}");
        }
        self.trouble.send_if_modified(|trouble| {
            let since = trouble.as_ref().map_or(now, |known| known.since);
            let next = Trouble { reason: Reason::new(key, "repository", text), since };
            let news = trouble.as_ref() != Some(&next);
            *trouble = Some(next);
            news
        });
    }

    async fn push(&mut self) {
        let append = match self.append() {
            Ok(append) => append,
            Err(error) => {
                let text = format!("the record cannot be written: {}", words(&error));
                return self.failed(Key::RecordRefused, text, REFUSED_REST);
            }
        };
        let pushed = self.blocking(move |repository| repository.append(&append)).await;
        match pushed {
            Ok(Ok(tip)) => self.pushed(tip),
            Ok(Err(AppendError::Moved { tip, changed })) => {
                self.overtake(tip, &changed);
                self.next_try = None;
            }
            Ok(Err(AppendError::Refused { words })) => {
                self.failed(
                    Key::RecordRefused,
                    format!("the host refuses the record: {words}"),
                    REFUSED_REST,
                );
            }
            Ok(Err(error)) => {
                // A disk without room, a branch in the way of ours: more of the same changes nothing.
                let busy = matches!(&error, AppendError::Failed { source: GitError::Busy { .. } });
                let lasting = matches!(error, AppendError::Failed { .. }) && !busy;
                let (key, rest) =
                    if lasting { (Key::RecordRefused, REFUSED_REST) } else { (Key::RecordUnreachable, REST) };
                self.failed(key, format!("the record cannot be written: {}", words(&error)), rest);
            }
            Err(error) => self.failed(Key::RecordUnreachable, words(&error), REST),
        }
    }

    /// All that waits, as one commit on the tip that we believe in.
    fn append(&self) -> Result<Append, GitError> {
        let mut tags = Vec::new();
        for (name, message, target) in
            self.waiting.iter().filter(|_| self.tags).flat_map(|(batch, _)| &batch.tags)
        {
            tags.push(Tag { name: name.clone(), message: message.clone(), target: target.parse()? });
        }
        let messages: Vec<&str> = self.waiting.iter().map(|(batch, _)| batch.message.as_str()).collect();
        Ok(Append {
            expected: self.tip,
            files: self.waiting.iter().flat_map(|(batch, _)| batch.files.clone()).collect(),
            message: join(&messages),
            at: self.waiting.iter().map(|(batch, _)| batch.at).max().unwrap_or(Timestamp::UNIX_EPOCH),
            tags,
        })
    }

    fn pushed(&mut self, tip: CommitId) {
        self.tip = Some(tip);
        self.tries = 0;
        self.next_try = None;
        self.said.clear();
        self.trouble.send_if_modified(|trouble| trouble.take().is_some());
        for (_, reply) in self.waiting.drain(..) {
            // The loop that asked may have ended by now; the record is there all the same.
            let _ = reply.send(Ok(()));
        }
    }

    fn failed(&mut self, key: Key, text: String, rest: SignedDuration) {
        self.in_trouble(key, text);
        let factor = 1_i32 << self.tries.min(5);
        self.tries += 1;
        let rest = rest.saturating_mul(factor).min(LONGEST_REST);
        self.next_try = Some(later(self.clock.now(), rest));
    }
}

/// One message for several batches: the first subject, and all messages whole.
fn join(messages: &[&str]) -> String {
    match messages {
        [only] => (*only).to_owned(),
        [first, ..] => {
            let subject = first.lines().next().unwrap_or_default();
            format!("{subject} (and {} more)\n\n{}", messages.len() - 1, messages.join("\n"))
        }
        [] => String::new(),
    }
}
