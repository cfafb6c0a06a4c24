//! The keeper: the only writer of a repository's record and the reader of its desired state, one task per repository.
//! It puts the entries of all clusters onto the branch in order, and resolves pushes that were refused, lost or
//! raced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};

use super::ask::{Ask, Batch, Earlier, GitCallError, Journal, Lost, Reply, RereadError, Trouble, words};
use super::vouch::{Trusted, tell_foreign, vouch};
use super::wanted::{self, Known};
use crate::clock::Clock;
use crate::git::{Append, AppendError, CommitHash, GitError, Repository, Tag, Tips};
use crate::model::addon::EarlierQuestion;
use crate::model::decision::{Key, Reason};
use crate::model::state::DesiredState;
use crate::model::time::later;
use crate::record::{self, Record};

/// The first rest after a failed push; it doubles, up to the second constant.
const REST: SignedDuration = SignedDuration::from_secs(2);
const LONGEST_REST: SignedDuration = SignedDuration::from_secs(60);
/// A refusal by a rule of the git host is no race. Only a person can change it, so the keeper tries again rarely.
const REFUSED_REST: SignedDuration = SignedDuration::from_secs(60);
/// More batches than can wait: each cluster has at most one.
const QUEUE: usize = 256;

/// How a repository is polled.
#[derive(Clone, Debug)]
pub struct Watching {
    /// Folder of `desired-state/` and `policies/` in the repository; empty for its root.
    pub path: String,
    /// How often the remote is polled if no event reports a push.
    pub poll: SignedDuration,
}

/// Everything that one repository's task has.
pub struct Keeper {
    repository: Arc<Mutex<Repository>>,
    clock: Clock,
    watching: Watching,
    asks: mpsc::Receiver<Ask>,
    trouble: watch::Sender<Option<Trouble>>,
    wake: mpsc::Receiver<()>,
    wanted: watch::Sender<BTreeMap<String, DesiredState>>,
    tip: Option<CommitHash>,
    /// Clusters whose record another process has written since their loops read it. Batches of these loops are
    /// refused.
    overtaken: BTreeSet<String>,
    /// Kinds of the present trouble that were logged.
    said: BTreeSet<Key>,
    known: Known,
    waiting: Vec<(Batch, Reply)>,
    tries: u32,
    next_try: Option<Timestamp>,
    next_poll: Timestamp,
    /// True if tags may point at desired commits; false if the record is in a repository of its own, which does not
    /// have them.
    tags: bool,
}

/// The other ends of a keeper's channels.
pub struct Wires {
    pub journal: Journal,
    /// The desired state of every cluster; empty until the first look.
    pub wanted: watch::Receiver<BTreeMap<String, DesiredState>>,
    /// Says "look again"; carries no data.
    pub wake: mpsc::Sender<()>,
}

impl Keeper {
    /// `known` has what the record says of each cluster; `tip` is the tip of the record's branch as it was read.
    pub fn new(
        repository: Repository,
        clock: Clock,
        watching: Watching,
        tip: Option<CommitHash>,
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

    /// Runs until every loop has dropped its channel.
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

    /// Takes in all waiting requests. The batches among them go into one commit.
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
                    // The loop that asked may have ended.
                    let _ = reply.send(read);
                }
                Ask::Earlier(cluster, of, reply) => {
                    let found = self.earlier(cluster, of).await;
                    let _ = reply.send(found);
                }
            }
            ask = self.asks.try_recv().ok();
        }
    }

    /// The record of one cluster as it is on the remote now. Clusters that other processes wrote meanwhile are noted
    /// as overtaken, so their loops find out at their next batch.
    async fn read(&mut self, cluster: &str) -> Result<Record, RereadError> {
        let (before, name) = (self.tip, cluster.to_owned());
        let (path, image) = (self.watching.path.clone(), self.known.image().map(str::to_owned));
        let work = move |repository: &mut Repository| {
            let Tips { desired, record: tip } = repository.fetch()?;
            let changed = repository.record_changed(before, tip)?;
            tell_foreign(repository, before, tip);
            let files = tip.map(|tip| repository.read_record(&tip, &name)).transpose()?;
            let mut read = record::read(&name, &files.unwrap_or_default());
            if let Ok(record) = &mut read {
                let trusted = Trusted { tip: desired, path: &path, image: image.as_deref() };
                vouch(repository, trusted, &name, record);
            }
            Ok::<_, GitError>((tip, changed, read))
        };
        let called = self.blocking(work).await.map_err(|source| RereadError::Call { source })?;
        let (tip, changed, read) = called.map_err(|source| RereadError::Git { source })?;
        // A batch of this cluster that still waits was made from the record before this read. The record that is
        // returned does not have its entries, so the batch is refused.
        let mine = format!("{cluster}/");
        self.overtake(tip, &changed.into_iter().chain([mine]).collect::<Vec<_>>());
        let read = read.map_err(|source| RereadError::Record { cluster: cluster.to_owned(), source })?;
        self.overtaken.remove(cluster);
        Ok(read)
    }

    /// Another process has pushed `tip`, which changes the paths in `changed`.
    ///
    /// Two daemons share the repository. The other one pushes an entry of prod-eu while batches of prod-eu and
    /// prod-us wait here. The batch of prod-us goes on top of the new tip. The batch of prod-eu is refused: its
    /// entries follow from a record without the other's entry, and would take its numbers a second time.
    fn overtake(&mut self, tip: Option<CommitHash>, changed: &[String]) {
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

    /// What an earlier commit of the desired branch asks of an addon.
    async fn earlier(&self, cluster: String, of: EarlierQuestion) -> Earlier {
        let (path, image, tip) =
            (self.watching.path.clone(), self.known.image().map(str::to_owned), self.known.tip());
        let work = move |repository: &mut Repository| {
            let Some(tip) = tip else { return Ok(Err("the desired branch was not read yet".to_owned())) };
            wanted::earlier_addon(repository, (&path, image.as_deref(), &tip), &cluster, &of)
        };
        let called = self.blocking(work).await.map_err(|source| RereadError::Call { source })?;
        called.map_err(|source| RereadError::Git { source })
    }

    /// Runs one short call on a blocking thread. Virtual time stands still meanwhile.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Repository) -> T + Send + 'static,
    ) -> Result<T, GitCallError> {
        let repository = Arc::clone(&self.repository);
        let done = tokio::task::spawn_blocking(move || match repository.lock() {
            Ok(mut repository) => Ok(work(&mut repository)),
            Err(_) => Err(GitCallError::Poisoned),
        });
        done.await.unwrap_or_else(|source| Err(GitCallError::Panicked { source }))
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
        // Trouble with pushes is more important than this.
        let unwritten =
            self.trouble.borrow().as_ref().is_some_and(|known| known.reason.key != Key::GitUnreachable);
        if !unwritten {
            self.in_trouble(Key::GitUnreachable, format!("the repository cannot be read: {error}"));
        }
    }

    /// Logs each kind of trouble once while it lasts: its text may differ from one try to the next.
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
                let before = self.tip;
                drop(self.blocking(move |repository| tell_foreign(repository, before, tip)).await);
                self.overtake(tip, &changed);
                self.next_try = None;
            }
            Ok(Err(AppendError::Failed { source: GitError::TagTaken { name, target } })) => {
                self.pass_by(&name, &target);
            }
            Ok(Err(AppendError::Refused { words })) => {
                self.failed(
                    Key::RecordRefused,
                    format!("the host refuses the record: {words}"),
                    REFUSED_REST,
                );
            }
            Ok(Err(error)) => {
                // A full disk, or a branch with a name in the way of ours: trying again soon changes nothing.
                let busy = matches!(&error, AppendError::Failed { source: GitError::Busy { .. } });
                let lasting = matches!(error, AppendError::Failed { .. }) && !busy;
                let (key, rest) =
                    if lasting { (Key::RecordRefused, REFUSED_REST) } else { (Key::RecordUnreachable, REST) };
                self.failed(key, format!("the record cannot be written: {}", words(&error)), rest);
            }
            Err(error) => self.failed(Key::RecordUnreachable, words(&error), REST),
        }
    }

    /// All waiting batches as one commit on the tip that this process knows.
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

    /// Gives up a tag whose name is taken. Everyone with the right to make tags can take the name beforehand, and an
    /// upgrade must not wait for that. The rollback point itself is a file of the record.
    fn pass_by(&mut self, tag: &str, target: &str) {
        tracing::warn!(
            %tag,
            "the tag {tag} already points at {target}, so the rollback point of this name has no tag; the record has its file"
        );
        for (batch, _) in &mut self.waiting {
            batch.tags.retain(|(name, ..)| name != tag);
        }
        self.next_try = None;
    }

    fn pushed(&mut self, tip: CommitHash) {
        self.tip = Some(tip);
        self.tries = 0;
        self.next_try = None;
        self.said.clear();
        self.trouble.send_if_modified(|trouble| trouble.take().is_some());
        for (_, reply) in self.waiting.drain(..) {
            // The loop that asked may have ended; the entries are on the remote all the same.
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

/// One message for several batches: the first subject, then all messages in full.
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
