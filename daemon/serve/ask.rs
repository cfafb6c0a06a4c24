//! The messages between a cluster's loop and the repository's writer, the keeper.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::execute::EarlierCommits;
use crate::git::GitError;
use crate::live::ProbeAnswer;
use crate::model::addon::{Addon, EarlierQuestion};
use crate::model::decision::Reason;
use crate::record::{ReadError, Record};

/// The files, message and tags that one cluster wants on the remote.
#[derive(Debug)]
pub struct Batch {
    pub cluster: String,
    pub files: BTreeMap<String, Vec<u8>>,
    pub message: String,
    /// Name, message and target of the tags that go with it.
    pub tags: Vec<(String, String, String)>,
    pub at: Timestamp,
}

/// Why a batch will never be on the remote. The loop that sent it has to read the record again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("another process has changed the record of {cluster} since it was read ({path})")]
    Overtaken { cluster: String, path: String },
    #[error("the writer of the repository has ended")]
    WriterEnded,
}

/// Why the record of a cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RereadError {
    #[error("the writer of the repository has ended")]
    WriterEnded,
    #[error("calling git")]
    Call { source: GitCallError },
    #[error("reading the repository")]
    Git { source: GitError },
    #[error("the record of {cluster} cannot be used")]
    Record { cluster: String, source: ReadError },
}

/// Why a call on the repository has no answer.
#[derive(Debug, thiserror::Error)]
pub enum GitCallError {
    #[error("an earlier call on the repository panicked; restart the process")]
    Poisoned,
    #[error("the call on the repository panicked")]
    Panicked { source: tokio::task::JoinError },
}

pub type Reply = oneshot::Sender<Result<(), Lost>>;

/// One request to the keeper.
#[derive(Debug)]
pub enum Ask {
    Append(Batch, Reply),
    /// Asks for the record of one cluster as it is on the remote now.
    Read(String, oneshot::Sender<Result<Record, RereadError>>),
    /// Asks what an earlier commit of the desired branch asks of an addon of one cluster.
    Earlier(String, EarlierQuestion, oneshot::Sender<Earlier>),
}

/// What an earlier commit asks of an addon; as a value of its own, why there is nothing that can be read there.
pub type Earlier = Result<Result<Arc<Addon>, String>, RereadError>;

/// Sends batches to the keeper.
#[derive(Clone, Debug)]
pub struct Journal {
    pub asks: mpsc::Sender<Ask>,
    /// What keeps pushes from succeeding, and since when.
    pub trouble: watch::Receiver<Option<Trouble>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub reason: Reason,
    pub since: Timestamp,
}

impl Journal {
    /// Returns when the batch is on the remote, however long that takes.
    pub async fn append(&self, batch: Batch) -> Result<(), Lost> {
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Ask::Append(batch, reply)).await.is_err() {
            return Err(Lost::WriterEnded);
        }
        answer.await.unwrap_or(Err(Lost::WriterEnded))
    }

    /// The record of a cluster as it is on the remote, whether this process or another wrote it. Batches that are
    /// appended later come after it.
    pub async fn record(&self, cluster: &str) -> Result<Record, RereadError> {
        let (reply, answer) = oneshot::channel();
        let asked = self.asks.send(Ask::Read(cluster.to_owned(), reply)).await;
        asked.map_err(|_| RereadError::WriterEnded)?;
        answer.await.unwrap_or(Err(RereadError::WriterEnded))
    }
}

/// Reads earlier commits for the loop of one cluster.
pub(super) struct EarlierOf {
    pub(super) journal: Journal,
    pub(super) cluster: String,
}

impl EarlierCommits for EarlierOf {
    fn addon(self: Arc<Self>, of: EarlierQuestion) -> BoxFuture<'static, ProbeAnswer> {
        async move {
            let (reply, answer) = oneshot::channel();
            if self.journal.asks.send(Ask::Earlier(self.cluster.clone(), of, reply)).await.is_err() {
                return ProbeAnswer::Nothing(RereadError::WriterEnded.to_string());
            }
            match answer.await.unwrap_or(Err(RereadError::WriterEnded)) {
                Ok(found) => ProbeAnswer::Earlier(found),
                Err(error) => ProbeAnswer::Nothing(words(&error)),
            }
        }
        .boxed()
    }
}

/// An error and its causes on one line, for a log or a reason.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
