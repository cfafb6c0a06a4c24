//! The inputs of a pass beside the live cluster and the record, and where the pass leaves the cluster.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::CommitId;
use super::claim::Claim;
use super::decision::Answer;
use super::desired::Desired;
use super::entry::Authored;
use super::plan::Plan;

/// What git asks of one cluster.
#[derive(Clone, Debug)]
pub struct DesiredState {
    /// The newest commit, valid or not.
    pub newest: CommitId,
    /// The desired state in force: that of the newest commit, or of the last accepted one while the newest is broken.
    pub desired: Option<Arc<Desired>>,
    /// The digest of the desired state as far as plans depend on it; empty if there is none.
    pub asked: String,
    /// The problems of the newest commit; empty if it is valid.
    pub problems: Vec<String>,
    /// True if the newest commit does not descend from the commit in force.
    pub rewritten: bool,
    /// True if only the record says which commit is in force, and the desired branch does not have that commit. Then it
    /// only says how nodes are returned.
    pub unproven: bool,
    /// Who wrote the commit in force; `None` if git does not say.
    pub by: Option<Authored>,
}

impl DesiredState {
    /// True if the desired state asks for something else than a run's plan. Comments, other clusters and policies do
    /// not change it.
    pub fn supersedes(&self, plan: &Plan) -> bool {
        let desired = self.desired.as_ref();
        desired.is_some_and(|desired| desired.commit != plan.commit && self.asked != plan.asked)
    }
}

/// Which process this is.
#[derive(Clone, Debug)]
pub struct Identity {
    pub cluster: String,
    /// Unique for each process.
    pub holder: String,
    /// Holders that have certainly ended: the processes before this one on the same host.
    pub predecessors: BTreeSet<String>,
    /// The name under which this process already serves the same cluster through another context.
    pub twin: Option<String>,
}

/// What is known of the lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenure {
    /// Our epoch while we hold the lease and its renew deadline is ahead; `None` otherwise.
    pub held: Option<u64>,
    /// The epoch in our claims, or the epoch that they would get if we took the lease now; `None` until the lease has
    /// been looked at.
    pub epoch: Option<u64>,
    /// Another process that holds the lease, and until when it is taken to be alive.
    pub elsewhere: Option<(String, Timestamp)>,
}

impl Tenure {
    /// True if the claim's epoch is higher than ours is, or would be if we took the lease now. Such a claim is never
    /// overwritten.
    pub fn is_before(&self, claim: &Claim) -> bool {
        self.is_before_epoch(claim.epoch)
    }

    /// The same for an epoch that a leader noted elsewhere.
    pub fn is_before_epoch(&self, epoch: u64) -> bool {
        self.epoch.is_some_and(|ours| ours < epoch)
    }
}

/// Where one cluster stands, for `windlass why`, for pages and for the exit code.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct ClusterState {
    /// The answers of every gate that was asked, the passing ones too.
    pub answers: Vec<Answer>,
    pub state: RunState,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// The cluster has not been read completely.
    #[default]
    Looking,
    AsDesired,
    /// A drain, a Job, a soak or a push is in progress.
    Moving,
    /// Nothing is in progress; a gate, a person or an external provider has to act first.
    Waiting,
    /// Nothing is in progress, and only a person can change that.
    NeedsAPerson,
    Halted,
    Refused,
}
