//! One cluster of a process, from its first connection to the end of its loop; after an error that may pass, the loop
//! starts again.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::ask::Journal;
use super::cluster_loop::{Links, LoopSettings, drive};
use super::idle::End;
use super::look::ServedUids;
use super::push::Recorder;
use super::retry::Rest;
use super::settings::Serve;
use crate::cluster::ClusterApi;
use crate::execute::Edges;
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::entry::{ClusterEvent, What};
use crate::model::live::Live;
use crate::model::state::{DesiredState, Identity};
use crate::model::text::one_line;
use crate::model::time::later;
use crate::record::Record;
use crate::view::cluster::View;

/// The record with which a loop starts.
pub(super) enum Start {
    With(Box<Record>),
    /// The record has to be read now: the cluster was added later, or its record could not be used at the start.
    Afresh,
}

/// What a loop is connected to.
pub(super) struct Wired {
    pub(super) wanted: watch::Receiver<BTreeMap<String, DesiredState>>,
    pub(super) journal: Journal,
    pub(super) served: ServedUids,
    /// Lives as long as the cluster is served, however often its loop starts again.
    pub(super) view: watch::Sender<View>,
}

/// Serves one cluster until its loop ends. A loop that lost its record to another process reads it again and goes on:
/// two daemons may run, and one of them acts.
pub(super) async fn one(
    settings: &Serve,
    me: Identity,
    wired: &Wired,
    mut start: Start,
) -> anyhow::Result<End> {
    let mut ending = settings.ending.clone();
    let mut rest = Rest::new();
    let mut away = Away::default();
    let mut told: Option<String> = None;
    loop {
        let began = settings.clock.now();
        // A mistake of ours in one cluster's loop ends neither that loop for good nor the others.
        let caught = AssertUnwindSafe(once(settings, &me, wired, start)).catch_unwind().await;
        let end = caught.unwrap_or_else(|panic| Err(anyhow!("its loop panicked: {}", said_by(&*panic))));
        if let Ok(End::ClockSet(by)) = end {
            tracing::warn!(
                cluster = %me.cluster,
                "the time of day of this machine was set by {by:#}; the cluster is read again with the new time"
            );
            start = Start::Afresh;
            continue;
        }
        let trouble = match end {
            Ok(End::Lost(why) | End::Unwritable(why)) if !settings.until_idle => {
                format!("reading the record again: {why}")
            }
            Err(error) if !settings.until_idle => {
                away.note(settings, &me.cluster, wired, &format!("{error:#}")).await;
                format!("cannot be served yet; trying again: {error:#}")
            }
            end => return end,
        };
        if *ending.borrow() {
            return Ok(End::Asked);
        }
        // A cluster that is away for a night would fill the log with one sentence.
        let served = later(began, AWAY) <= settings.clock.now();
        if !served && told.as_ref() == Some(&trouble) {
            tracing::debug!(cluster = %me.cluster, "{trouble}");
        } else {
            tracing::warn!(cluster = %me.cluster, "{trouble}");
        }
        told = Some(trouble);
        rest.take(&settings.clock, &mut ending).await;
        // Another process may have written meanwhile.
        start = Start::Afresh;
    }
}

/// How long a cluster may be out of reach before that is recorded; a restart of an API server is no news.
const AWAY: SignedDuration = SignedDuration::from_mins(2);

/// A cluster that cannot be reached, so that no loop runs that could record it.
#[derive(Default)]
struct Away {
    since: Option<Timestamp>,
    recorded: bool,
}

impl Away {
    /// Records once that the cluster has been out of reach for a while. Otherwise the record would go on saying what
    /// it said last, most often that all is well.
    async fn note(&mut self, settings: &Serve, cluster: &str, wired: &Wired, why: &str) {
        let now = settings.clock.now();
        let since = *self.since.get_or_insert(now);
        if self.recorded || later(since, AWAY) > now {
            return;
        }
        self.recorded = true;
        let Ok(record) = wired.journal.record(cluster).await else { return };
        let text = format!("the daemon cannot reach the cluster: {}", one_line(why));
        let reason = Reason::new(Key::ApiUnreachable, format!("cluster/{cluster}"), text);
        let others = record.waiting.iter().map(|wait| wait.value.clone());
        let others = others.filter(|answer| answer.reason.key != Key::ApiUnreachable);
        let answers = others.chain([Answer::wait(Gate::Health, reason)]).collect();
        let epoch = record.last_epoch;
        let mut recorder = Recorder::new(cluster, record);
        recorder.write_down(vec![What::Cluster(ClusterEvent::Waiting { answers })], None, epoch, now);
        if let Ok((_, batch)) = recorder.batch(&Live::default(), None, now) {
            // Whoever has written meanwhile knows more.
            drop(wired.journal.append(batch).await);
        }
    }
}

/// What a panic said.
fn said_by(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

async fn once(settings: &Serve, me: &Identity, wired: &Wired, start: Start) -> anyhow::Result<End> {
    let (cluster, record) = prepare(settings, &me.cluster, &wired.journal, start).await?;
    let edges = Edges::new(cluster, settings.clock.set());
    let links = Links {
        wanted: wired.wanted.clone(),
        journal: wired.journal.clone(),
        ending: settings.ending.clone(),
    };
    let how = LoopSettings {
        me: me.clone(),
        until_idle: settings.until_idle,
        served: wired.served.clone(),
        view: wired.view.clone(),
    };
    Ok(drive(edges, Arc::clone(&settings.fence), links, how, record).await)
}

async fn prepare(
    settings: &Serve,
    name: &str,
    journal: &Journal,
    start: Start,
) -> anyhow::Result<(ClusterApi, Record)> {
    let cluster = (settings.connect)(name.to_owned()).await?;
    let record = match start {
        Start::With(record) => *record,
        Start::Afresh => {
            let place = &settings.git.record_branch;
            let read = journal.record(name).await;
            read.with_context(|| format!("reading the record of {name} on branch {place}"))?
        }
    };
    Ok((cluster, record))
}
