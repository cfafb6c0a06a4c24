//! What enters a pass beside the cluster and the record, and where a cluster stands as a pass leaves it.

use std::sync::Arc;

use jiff::Timestamp;

use super::CommitId;
use super::claim::Claim;
use super::decision::Answer;
use super::desired::Desired;
use super::plan::Plan;

/// What git asks of one cluster, as far as it can be told.
#[derive(Clone, Debug)]
pub struct DesiredState {
    /// The newest commit, whether it is good or not.
    pub newest: CommitId,
    /// The newest good one; the last accepted one while the newest is broken.
    pub desired: Option<Arc<Desired>>,
    /// The digest of what the desired state asks for, as far as plans depend on it; empty where there is none.
    pub asked: String,
    /// What is wrong with the newest commit; empty when it is good.
    pub problems: Vec<String>,
    /// The newest commit does not descend from the one in force.
    pub rewritten: bool,
}

impl DesiredState {
    /// Whether a newer commit asks for something else than a run's plan was made for. Comments, other clusters and
    /// policies ask for nothing else.
    pub fn supersedes(&self, plan: &Plan) -> bool {
        let desired = self.desired.as_ref();
        desired.is_some_and(|desired| desired.commit != plan.commit && self.asked != plan.asked)
    }
}

/// Who this process is among those that may act.
#[derive(Clone, Debug)]
pub struct Identity {
    pub cluster: String,
    /// New for each process.
    pub holder: String,
    /// A holder of which it is certain that it is gone: the process before this one on the same host.
    pub predecessor: Option<String>,
    /// Another cluster of this process that has turned out to be the same one, behind another context.
    pub twin: Option<String>,
}

/// What is known of the lease that says who should act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenure {
    /// The epoch of our tenure, while we hold the lease and are sure to hold it for a while.
    pub held: Option<u64>,
    /// The epoch that our claims bear, or would bear once the lease is ours; nothing while it was never looked at.
    pub epoch: Option<u64>,
    /// Another process that holds it, and until when that is believed.
    pub elsewhere: Option<(String, Timestamp)>,
}

impl Tenure {
    /// Whether a claim was written by a later leader than we are or would be: it is never overwritten.
    pub fn is_before(&self, claim: &Claim) -> bool {
        self.epoch.is_some_and(|ours| ours < claim.epoch)
    }
}

/// Where one cluster stands, for `windlass why`, for pages and for the exit code.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ClusterState {
    /// Every answer of every gate that was asked, the passing ones too.
    pub answers: Vec<Answer>,
    pub state: RunState,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Not everything has been seen yet.
    #[default]
    Looking,
    AsDesired,
    /// Something is on its way: a drain, a Job, a soak, a push.
    Moving,
    /// Nothing is on its way, and a gate, a person or an external provider has to move first.
    Waiting,
    Halted,
    Refused,
}
