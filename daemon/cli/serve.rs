//! What `daemon`, the demonstration and tests share: one repository's keeper, one loop for each cluster in it, and
//! what becomes of them. It decides nothing about clusters; it starts, reports and ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use futures::future::BoxFuture;
use jiff::SignedDuration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::identity::{self, Identity};
use super::one::{Start, Wired, one};
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::execute::Fence;
use crate::git::{self, CommitId, GitError, Repository};
use crate::reconcile::journal::{Keeper, Watching, Wires};
use crate::reconcile::wanted::Known;
use crate::reconcile::{End, Me, Met, Standing, Told};
use crate::record::{self, Record};

/// The first rest after a cluster could not be connected, and the longest: an API server that is being replaced is
/// back within a minute.
pub(super) const REST: SignedDuration = SignedDuration::from_secs(2);
const LONGEST_REST: SignedDuration = SignedDuration::from_secs(30);
/// What is in hand at an orderly end is recorded within this, or left to the next process: Kubernetes kills after 30 s.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// Makes the client of one cluster. It is asked again after a failure.
pub type Connect = Arc<dyn Fn(String) -> BoxFuture<'static, anyhow::Result<Cluster>> + Send + Sync>;

/// Everything that is served, and with what.
pub struct Serve {
    pub git: git::Settings,
    /// Folder of `desired-state/` and `policies/` in the repository; empty for its root.
    pub path: String,
    /// How often a remote is asked; spread by a tenth, so that many daemons do not ask at once.
    pub poll: SignedDuration,
    pub clock: Clock,
    pub fence: Arc<dyn Fence>,
    pub connect: Connect,
    /// The name of this machine, for the lease.
    pub host: String,
    /// Return when every cluster is idle, and do not wait for what cannot be reached.
    pub until_idle: bool,
    /// True once the process is asked to end; its sender has to live as long as the call.
    pub ending: watch::Receiver<bool>,
    /// Where every cluster's loop tells what people may care about.
    pub tell: Option<mpsc::UnboundedSender<Told>>,
}

/// How each cluster's loop ended; in words where it never got going.
#[derive(Debug, Default)]
pub struct Ended {
    pub clusters: BTreeMap<String, Result<End, String>>,
}

impl Ended {
    /// The worst of the clusters: 0 as desired, 3 waiting, 4 halted or refused, 1 an error.
    pub fn exit_code(&self) -> u8 {
        let rank = |end: &Result<End, String>| match end {
            Ok(End::Asked | End::Idle(Standing::AsDesired)) => (0, 0),
            // A rule of the git host is for a person to change.
            Ok(
                End::Idle(Standing::Waiting | Standing::Moving | Standing::Looking)
                | End::Unrecorded { refused: true, .. },
            ) => (1, 3),
            Ok(End::Idle(Standing::Halted | Standing::Refused)) => (2, 4),
            Ok(End::Lost(_) | End::Fenced | End::Unrecorded { .. }) | Err(_) => (3, 1),
        };
        self.clusters.values().map(rank).max().map_or(0, |(_, code)| code)
    }
}

/// Serves every cluster of the repository until it is asked to end, none is left, or all are idle where that is wanted.
pub async fn serve(settings: Serve) -> anyhow::Result<Ended> {
    let Some(opened) = open(&settings).await? else { return Ok(Ended::default()) };
    let me = identity::take(&settings.git, &settings.path, &settings.host, settings.clock.now())?;
    let wake: Arc<OnceLock<mpsc::Sender<()>>> = Arc::default();
    let woken = Arc::clone(&wake);
    let watcher = opened.repository.watch(Box::new(move || {
        // A wake-up that is waiting already says the same.
        woken.get().map(|wake| wake.try_send(()));
    }));
    if let Err(error) = &watcher {
        tracing::warn!(%error, "changes are found by polling only");
    }
    let known = Known::new(accepted(&opened.records)).with_work(under_way(&opened.records));
    let watching =
        Watching { path: settings.path.clone(), poll: identity::jittered(settings.poll, &me.holder) };
    let (keeper, wires) = Keeper::new(opened.repository, settings.clock.clone(), watching, opened.tip, known);
    // The slot is empty until here: this cannot fail.
    let _ = wake.set(wires.wake.clone());
    let mut keepers = JoinSet::new();
    keepers.spawn(keeper.run());
    if let Some(before) = &me.predecessor {
        tracing::info!(holder = %me.holder, "serving, in the place of {before}, which is gone");
    } else {
        tracing::info!(holder = %me.holder, "serving");
    }
    let loops = Loops {
        records: Some(opened.records),
        wires,
        me,
        known: BTreeSet::new(),
        met: Met::default(),
        tasks: JoinSet::new(),
        ended: Ended::default(),
        settings: Arc::new(settings),
    };
    loops.run().await
}

/// What a repository holds when it is first looked at.
struct Opened {
    repository: Repository,
    tip: Option<CommitId>,
    /// What the record says of each cluster, or why it cannot be used.
    records: Records,
}

type Records = BTreeMap<String, Result<Record, record::ReadError>>;

/// Opens the repository and reads the record, waiting for a host that is away. Nothing if asked to end meanwhile.
async fn open(settings: &Serve) -> anyhow::Result<Option<Opened>> {
    let mut ending = settings.ending.clone();
    let mut rest = REST;
    while !*ending.borrow() {
        let git = settings.git.clone();
        let error = match blocking(move || open_now(git)).await? {
            Ok(opened) => return Ok(Some(opened)),
            Err(error) => error,
        };
        let away = matches!(error.downcast_ref(), Some(GitError::Unreachable { .. }));
        if settings.until_idle || !away {
            return Err(error);
        }
        tracing::warn!(error = format!("{error:#}"), "the repository cannot be read; trying again");
        pause(&settings.clock, &mut ending, &mut rest).await;
    }
    Ok(None)
}

fn open_now(git: git::Settings) -> anyhow::Result<Opened> {
    let mut repository = Repository::open(git)?;
    let tip = repository.fetch()?.record;
    let files = match &tip {
        Some(tip) => repository.read_record(tip, "")?,
        None => BTreeMap::new(),
    };
    Ok(Opened { tip, records: by_cluster(files), repository })
}

/// Files of the whole status branch, as the record of each cluster.
pub fn by_cluster(files: BTreeMap<String, String>) -> Records {
    let mut folders: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (path, text) in files {
        if let Some((cluster, _)) = path.split_once('/') {
            folders.entry(cluster.to_owned()).or_default().insert(path, text);
        }
    }
    let read = |(cluster, files): (String, BTreeMap<String, String>)| {
        let record = record::read(&cluster, &files);
        (cluster, record)
    };
    folders.into_iter().map(read).collect()
}

/// The commit in force of each cluster.
pub fn accepted(records: &Records) -> BTreeMap<String, String> {
    let commit = |(cluster, record): (&String, &Result<Record, record::ReadError>)| {
        let (commit, _) = record.as_ref().ok()?.accepted.as_ref()?;
        Some((cluster.clone(), commit.0.clone()))
    };
    records.iter().filter_map(commit).collect()
}

/// Clusters of which the record says that a run was begun and has not ended.
fn under_way(records: &Records) -> BTreeSet<String> {
    let open =
        |record: &Result<Record, record::ReadError>| record.as_ref().is_ok_and(|record| record.run.is_some());
    records.iter().filter(|(_, record)| open(record)).map(|(cluster, _)| cluster.clone()).collect()
}

/// One short git call on a thread of its own.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a call on the repository did not end in order")
}

/// Returns once the process is asked to end. The look at the wire must not live on across another await.
async fn asked(ending: &mut watch::Receiver<bool>) {
    drop(ending.wait_for(|ending| *ending).await);
}

/// Rests before the next try, longer each time; at once over when asked to end.
pub(super) async fn pause(clock: &Clock, ending: &mut watch::Receiver<bool>, rest: &mut SignedDuration) {
    tokio::select! {
        biased;
        _ = ending.wait_for(|ending| *ending) => {}
        () = clock.sleep(*rest) => {}
    }
    *rest = rest.saturating_mul(2).min(LONGEST_REST);
}

/// The loops of all clusters.
struct Loops {
    settings: Arc<Serve>,
    wires: Wires,
    me: Identity,
    /// The records as they were first read; taken by the clusters of the first look.
    records: Option<Records>,
    known: BTreeSet<String>,
    met: Met,
    tasks: JoinSet<(String, anyhow::Result<End>)>,
    ended: Ended,
}

impl Loops {
    async fn run(mut self) -> anyhow::Result<Ended> {
        let mut ending = self.settings.ending.clone();
        loop {
            tokio::select! {
                biased;
                () = asked(&mut ending) => return Ok(self.end().await),
                Some(done) = self.tasks.join_next() => self.ended(done),
                changed = self.wires.wanted.changed() => {
                    if changed.is_err() {
                        bail!("the repository's writer has ended; restart the process");
                    }
                    self.start_new()?;
                    continue;
                }
            }
            if self.tasks.is_empty() && self.over() {
                return Ok(self.ended);
            }
        }
    }

    /// With no loop left, the process is done, unless clusters may still come and none has failed.
    fn over(&self) -> bool {
        self.settings.until_idle || !self.ended.clusters.is_empty()
    }

    fn start_new(&mut self) -> anyhow::Result<()> {
        let wanted: Vec<String> = self.wires.wanted.borrow_and_update().keys().cloned().collect();
        if wanted.is_empty() {
            let text = format!("there is no cluster below {}desired-state/", folder(&self.settings.path));
            if self.settings.until_idle {
                bail!("{text} on branch {}; check --branch and --path", self.settings.git.branch);
            }
            tracing::warn!("{text}");
        }
        let mut records = self.records.take();
        for cluster in wanted {
            if !self.known.insert(cluster.clone()) {
                continue;
            }
            let start = match &mut records {
                Some(records) => match records.remove(&cluster) {
                    Some(Ok(record)) => Start::With(Box::new(record)),
                    Some(Err(_)) => Start::Afresh,
                    None => Start::With(Box::default()),
                },
                None => Start::Afresh,
            };
            self.start(cluster, start);
        }
        Ok(())
    }

    fn start(&mut self, cluster: String, start: Start) {
        let links = Wired { wanted: self.wires.wanted.clone(), journal: self.wires.journal.clone() };
        let me = Me {
            cluster: cluster.clone(),
            // Each cluster has a lease of its own, and each loop is a holder of its own.
            holder: format!("{}/{cluster}", self.me.holder),
            predecessor: self.me.predecessor.as_ref().map(|before| format!("{before}/{cluster}")),
            twin: None,
        };
        let (settings, met) = (Arc::clone(&self.settings), Arc::clone(&self.met));
        self.tasks.spawn(async move { (cluster, one(&settings, me, &links, &met, start).await) });
    }

    fn ended(&mut self, done: Result<(String, anyhow::Result<End>), tokio::task::JoinError>) {
        let (cluster, end) = match done {
            Ok((cluster, end)) => (cluster, end.map_err(|error| format!("{error:#}"))),
            // Its name is lost with it; its lease runs out by itself.
            Err(error) => ("(unknown)".to_owned(), Err(format!("its loop did not end in order: {error}"))),
        };
        match &end {
            Ok(End::Lost(why) | End::Unrecorded { why, .. }) => tracing::error!(%cluster, "{why}"),
            Ok(End::Fenced) => tracing::error!(%cluster, "ended by the fence"),
            Ok(End::Idle(standing)) => tracing::info!(%cluster, ?standing, "nothing more goes on by itself"),
            Ok(End::Asked) => tracing::info!(%cluster, "ended as asked"),
            Err(error) => tracing::error!(%cluster, "{error}"),
        }
        self.ended.clusters.insert(cluster, end);
    }

    /// Lets every loop finish the call in hand and record it.
    async fn end(mut self) -> Ended {
        tracing::info!("asked to end: nothing new is begun");
        let all = async {
            while let Some(done) = self.tasks.join_next().await {
                self.ended(done);
            }
        };
        if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
            tracing::warn!(
                "not everything could be recorded in time; the next process finds it in the world"
            );
        }
        self.ended
    }
}

/// A folder's name before the name of a folder in it.
fn folder(path: &str) -> String {
    let path = path.trim_matches('/');
    if path.is_empty() { String::new() } else { format!("{path}/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_cluster_counts() {
        let idle = |standing| Ok(End::Idle(standing));
        for (ends, code) in [
            (vec![], 0),
            (vec![Ok(End::Asked), idle(Standing::AsDesired)], 0),
            (vec![idle(Standing::AsDesired), idle(Standing::Waiting)], 3),
            (vec![idle(Standing::Halted), idle(Standing::Waiting)], 4),
            (vec![idle(Standing::Refused), idle(Standing::AsDesired)], 4),
            (vec![Ok(End::Lost("x".into())), idle(Standing::Halted)], 1),
            (vec![Err("x".into()), idle(Standing::AsDesired)], 1),
            (vec![Ok(End::Unrecorded { refused: true, why: "x".into() }), idle(Standing::AsDesired)], 3),
            (vec![Ok(End::Unrecorded { refused: false, why: "x".into() }), idle(Standing::Halted)], 1),
        ] {
            let clusters =
                ends.into_iter().enumerate().map(|(number, end)| (number.to_string(), end)).collect();
            let ended = Ended { clusters };
            assert_eq!(ended.exit_code(), code, "{ended:?}");
        }
    }
}
