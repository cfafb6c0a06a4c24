//! One cluster of a process: from its first connection to the end of its loop, and again where that can be mended.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;

use super::serve::{REST, Serve, pause};
use crate::cluster::Cluster;
use crate::execute::Edges;
use crate::reconcile::{self, End, Journal, Links, Me, Met, Wanted, drive};
use crate::record::Record;

/// The record that a loop starts with.
pub(super) enum Start {
    With(Box<Record>),
    /// It has to be read now: the cluster came later, or its record could not be used at the start.
    Afresh,
}

/// What a loop is linked to.
pub(super) struct Wired {
    pub(super) wanted: watch::Receiver<BTreeMap<String, Wanted>>,
    pub(super) journal: Journal,
}

/// One cluster from its first connection to the end of its loop. Whoever has lost its record to another writer reads
/// it anew and goes on from there: two daemons may run, and one of them acts.
pub(super) async fn one(
    settings: &Serve,
    me: Me,
    wired: &Wired,
    met: &Met,
    mut start: Start,
) -> anyhow::Result<End> {
    let mut ending = settings.ending.clone();
    let mut rest = REST;
    loop {
        let end = once(settings, &me, wired, met, start).await;
        let trouble = match end {
            Ok(End::Lost(why)) if !settings.until_idle => format!("reading the record anew: {why}"),
            Err(error) if !settings.until_idle => format!("cannot be served yet, trying again: {error:#}"),
            end => return end,
        };
        if *ending.borrow() {
            return Ok(End::Asked);
        }
        tracing::warn!(cluster = %me.cluster, "{trouble}");
        pause(&settings.clock, &mut ending, &mut rest).await;
        // Somebody else may have written meanwhile.
        start = Start::Afresh;
    }
}

async fn once(settings: &Serve, me: &Me, wired: &Wired, met: &Met, start: Start) -> anyhow::Result<End> {
    let (cluster, record) = prepare(settings, &me.cluster, &wired.journal, start).await?;
    let edges = Edges::new(cluster, settings.clock.clone());
    let links = Links {
        wanted: wired.wanted.clone(),
        journal: wired.journal.clone(),
        ending: settings.ending.clone(),
    };
    let how = reconcile::Settings {
        me: me.clone(),
        until_idle: settings.until_idle,
        met: Arc::clone(met),
        tell: settings.tell.clone(),
    };
    Ok(drive(edges, Arc::clone(&settings.fence), links, how, record).await)
}

async fn prepare(
    settings: &Serve,
    name: &str,
    journal: &Journal,
    start: Start,
) -> anyhow::Result<(Cluster, Record)> {
    let cluster = (settings.connect)(name.to_owned()).await?;
    let record = match start {
        Start::With(record) => *record,
        Start::Afresh => {
            let place = &settings.git.record_branch;
            let read = journal.record(name).await.map_err(anyhow::Error::msg);
            read.with_context(|| format!("reading the record of {name} on branch {place}"))?
        }
    };
    Ok((cluster, record))
}
