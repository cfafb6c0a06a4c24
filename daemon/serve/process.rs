//! One process: the writer of its repository, one loop for each cluster in it, and how they ended. It decides nothing
//! about clusters; it starts, reports and ends loops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::bail;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::identity::{self, Holder};
use super::idle::End;
use super::keeper::{Keeper, Watching, Wires};
use super::look::ServedUids;
use super::one::{Start, Wired, one};
use super::open::{Records, accepted, open, under_way};
use super::settings::Serve;
use super::wanted::Known;
use crate::model::state::{Identity, RunState};
use crate::view::cluster::View;

/// How long calls in flight may take to be answered and recorded when the process ends; what takes longer is left to
/// the next process. Kubernetes kills after 30 s.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// How each cluster's loop ended; the error if it never started.
#[derive(Debug, Default)]
pub struct Ended {
    pub clusters: BTreeMap<String, Result<End, String>>,
}

impl Ended {
    /// The worst of the clusters: 0 as desired, 3 waiting, 4 a person is needed, 1 an error.
    pub fn exit_code(&self) -> u8 {
        let rank = |end: &Result<End, String>| match end {
            Ok(End::Asked | End::Idle(RunState::AsDesired)) => (0, 0),
            Ok(End::Idle(RunState::Waiting | RunState::Moving | RunState::Looking)) => (1, 3),
            // Only a person can change a rule of the git host.
            Ok(
                End::Idle(RunState::NeedsAPerson | RunState::Halted | RunState::Refused)
                | End::Unrecorded { refused: true, .. },
            ) => (2, 4),
            Ok(
                End::Lost(_)
                | End::ClockSet(_)
                | End::Fenced
                | End::Unwritable(_)
                | End::Unrecorded { refused: false, .. },
            )
            | Err(_) => (3, 1),
        };
        self.clusters.values().map(rank).max().map_or(0, |(_, code)| code)
    }
}

/// Serves every cluster of the repository until the process is asked to end, no cluster is left, or all are idle and
/// it may end then.
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
    let known = Known::new(accepted(&opened.records))
        .with_work(under_way(&opened.records))
        .with_image(settings.image.clone());
    let watching =
        Watching { path: settings.path.clone(), poll: identity::jittered(settings.poll, &me.name) };
    let (keeper, wires) = Keeper::new(opened.repository, settings.clock.clone(), watching, opened.tip, known);
    // The slot is empty until here, so this cannot fail.
    let _ = wake.set(wires.wake.clone());
    let mut keepers = JoinSet::new();
    keepers.spawn(keeper.run());
    let before = me.predecessors.last().map(String::as_str);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        repository = settings.git.shown_url(),
        branch = settings.git.branch,
        record = settings.git.record_branch,
        holder = %me.name,
        before,
        "serving"
    );
    let loops = Loops {
        records: Some(opened.records),
        wires,
        me,
        known: BTreeSet::new(),
        served: ServedUids::default(),
        tasks: JoinSet::new(),
        ended: Ended::default(),
        settings: Arc::new(settings),
    };
    loops.run().await
}

/// Returns once the process is asked to end. The borrow of the channel must not be held across another await.
async fn asked(ending: &mut watch::Receiver<bool>) {
    drop(ending.wait_for(|ending| *ending).await);
}

/// The loops of all clusters.
struct Loops {
    settings: Arc<Serve>,
    wires: Wires,
    me: Holder,
    /// The records as they were first read, for the clusters of the first look.
    records: Option<Records>,
    known: BTreeSet<String>,
    served: ServedUids,
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
                        bail!("the writer of the repository has ended; restart the process");
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

    /// True if no loop is left, unless clusters may still come and none has failed.
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
        let (view, seen) = watch::channel(View::new(&cluster));
        self.settings.views.send_modify(|views| {
            views.insert(cluster.clone(), seen);
        });
        let wired = Wired {
            wanted: self.wires.wanted.clone(),
            journal: self.wires.journal.clone(),
            served: self.served.clone(),
            view,
        };
        let me = Identity {
            cluster: cluster.clone(),
            // Each cluster has its own lease, and each loop is its own holder.
            holder: format!("{}/{cluster}", self.me.name),
            predecessors: self.me.predecessors.iter().map(|before| format!("{before}/{cluster}")).collect(),
            twin: None,
        };
        let settings = Arc::clone(&self.settings);
        self.tasks.spawn(async move { (cluster, one(&settings, me, &wired, start).await) });
    }

    fn ended(&mut self, done: Result<(String, anyhow::Result<End>), JoinError>) {
        let (cluster, end) = match done {
            Ok((cluster, end)) => (cluster, end.map_err(|error| format!("{error:#}"))),
            // The cluster's name is lost with the panic; its lease expires by itself.
            Err(error) => ("(unknown)".to_owned(), Err(format!("its loop panicked: {error}"))),
        };
        match &end {
            Ok(End::Lost(why) | End::Unwritable(why) | End::Unrecorded { why, .. }) => {
                tracing::error!(%cluster, "{why}");
            }
            Ok(End::Fenced) => tracing::error!(%cluster, "ended by the fence"),
            Ok(End::Idle(standing)) => tracing::info!(%cluster, ?standing, "idle"),
            Ok(End::Asked) => tracing::info!(%cluster, "stopped"),
            Ok(End::ClockSet(by)) => tracing::error!(%cluster, "the time of day was set by {by:#}"),
            Err(error) => tracing::error!(%cluster, "{error}"),
        }
        self.ended.clusters.insert(cluster, end);
    }

    /// Lets every loop wait for the answers to what it has sent, and record them.
    async fn end(mut self) -> Ended {
        tracing::info!("shutting down; no new work will start");
        let all = async {
            while let Some(done) = self.tasks.join_next().await {
                self.ended(done);
            }
        };
        if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
            tracing::warn!(
                "some loops did not stop within {} s; the next process reads from their clusters what was done",
                LAST_WORDS.as_secs()
            );
        }
        self.ended
    }
}

/// A folder's name with a slash at its end, or nothing for the root.
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
            (vec![Ok(End::Asked), idle(RunState::AsDesired)], 0),
            (vec![idle(RunState::AsDesired), idle(RunState::Waiting)], 3),
            (vec![idle(RunState::Halted), idle(RunState::Waiting)], 4),
            (vec![idle(RunState::Refused), idle(RunState::AsDesired)], 4),
            (vec![idle(RunState::NeedsAPerson), idle(RunState::Waiting)], 4),
            (vec![Ok(End::Lost("x".into())), idle(RunState::Halted)], 1),
            (vec![Ok(End::Unwritable("x".into())), idle(RunState::AsDesired)], 1),
            (vec![Err("x".into()), idle(RunState::AsDesired)], 1),
            (vec![Ok(End::Unrecorded { refused: true, why: "x".into() }), idle(RunState::AsDesired)], 4),
            (vec![Ok(End::Unrecorded { refused: false, why: "x".into() }), idle(RunState::Halted)], 1),
        ] {
            let clusters =
                ends.into_iter().enumerate().map(|(number, end)| (number.to_string(), end)).collect();
            let ended = Ended { clusters };
            assert_eq!(ended.exit_code(), code, "{ended:?}");
        }
    }
}
