//! What a cluster's loop asks of the repository's writer, and how it is answered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::model::decision::Reason;
use crate::record::Record;

/// What one cluster wants on the remote.
#[derive(Debug)]
pub struct Batch {
    pub cluster: String,
    pub files: BTreeMap<String, Vec<u8>>,
    pub message: String,
    /// Name, message and target of the tags that go with it.
    pub tags: Vec<(String, String, String)>,
    pub at: Timestamp,
}

/// Somebody else writes our cluster's record: we have lost, and stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("somebody else has written the record of {cluster} meanwhile ({path})")]
pub struct Lost {
    pub cluster: String,
    pub path: String,
}

pub(super) type Reply = oneshot::Sender<Result<(), Lost>>;

/// What a cluster's loop asks of the writer.
pub(super) enum Ask {
    Append(Batch, Reply),
    /// The record of one cluster as it is on the remote now.
    Read(String, oneshot::Sender<Result<Record, String>>),
}

/// Where batches are handed in.
#[derive(Clone, Debug)]
pub struct Journal {
    pub(super) asks: mpsc::Sender<Ask>,
    /// What keeps pushes from getting through, and since when.
    pub trouble: watch::Receiver<Option<Trouble>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub reason: Reason,
    pub since: Timestamp,
}

impl Journal {
    /// Comes back when the batch is on the remote, however long that takes.
    pub async fn append(&self, batch: Batch) -> Result<(), Lost> {
        let (reply, answer) = oneshot::channel();
        let lost = Lost { cluster: batch.cluster.clone(), path: "the writer has ended".to_owned() };
        if self.asks.send(Ask::Append(batch, reply)).await.is_err() {
            return Err(lost);
        }
        answer.await.unwrap_or(Err(lost))
    }

    /// What the remote has of a cluster, whoever wrote it; what is appended from now on comes after that.
    pub async fn record(&self, cluster: &str) -> Result<Record, String> {
        let gone = || "the repository's writer has ended".to_owned();
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Read(cluster.to_owned(), reply)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}
