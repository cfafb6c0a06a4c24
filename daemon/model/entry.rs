//! The entries of the journal, one per file: an intent before it is carried out, an outcome after it. A file is
//! written once and never changed; the status is a fold over the entries. Entries are grouped by their subject, so
//! code that reads one group need not match the others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::CommitId;
use super::claim::AsFound;
use super::decision::{Answer, Reason};
use super::version::Version;
use super::work::StepId;

/// One journal file. `seq` counts up from 0 for each cluster, without a gap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    pub seq: u64,
    pub at: Timestamp,
    /// The run that it belongs to; `None` for what happens between runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    pub epoch: u64,
    pub what: What,
}

/// The subject of an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    Cluster(ClusterEvent),
    Commit(CommitEvent),
    Run(RunEvent),
    Step(StepId, StepEvent),
    Interruption(InterruptionEvent),
}

impl What {
    /// True for what the daemon has done or seen of a run. While a person has stopped the work, no such entry is
    /// written: the record then says only what people said, and what the cluster waits for.
    pub fn is_progress(&self) -> bool {
        match self {
            Self::Run(_) | Self::Step(..) | Self::Interruption(InterruptionEvent::Halted { .. }) => true,
            Self::Cluster(_)
            | Self::Commit(_)
            | Self::Interruption(
                InterruptionEvent::Resumed { .. }
                | InterruptionEvent::Stopped { .. }
                | InterruptionEvent::StopEnded,
            ) => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ClusterEvent {
    /// The first contact with a cluster: the UID of its namespace `kube-system`.
    Met { uid: String },
    /// The answers that the cluster waits for, written whenever they change. Empty when it waits for nothing.
    Waiting { answers: Vec<Answer> },
    /// What somebody has changed by hand in the objects of addons, written when it changes. Empty when all of it is put right.
    Drifted { objects: Vec<DriftedObject> },
}

/// An object of an addon that is not as it was applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftedObject {
    pub addon: String,
    /// `configmap/kube-system/coredns`.
    pub object: String,
    /// What follows its name in a sentence.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum CommitEvent {
    /// This commit is in force for the cluster from now on.
    Accepted {
        commit: CommitId,
        version: Version,
        /// Who wrote the commit; `None` if git does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Authored>,
    },
    /// The newest commit is not valid for this cluster. The last accepted commit stays in force.
    Refused { commit: CommitId, problems: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum RunEvent {
    /// A run starts. Its frozen plan is `plan.yaml` beside the journal.
    Started {
        commit: CommitId,
        from: Version,
        to: Version,
        digest: String,
        nodes: u32,
        /// Why it starts if the commit is not news: a node that fell back, or a new one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The point to go back to. It is on the remote before the first step starts.
    RollbackPoint {
        id: String,
    },
    /// From now on nodes of this pool that wait for their upgrade get our taint.
    Tainting {
        pool: String,
    },
    /// Nodes of this pool get our taint no more, and have lost it. Only a node that a person holds, or that cannot be patched,
    /// may still have it.
    Untainted {
        pool: String,
    },
    /// The intents of steps ahead of their turn: each of these nodes may be claimed, and then drained and changed, once this
    /// entry is on the remote. That a step begins is an entry of its own, which may follow its claim by seconds.
    Next {
        steps: Vec<StepId>,
    },
    /// From now on pods of the budgets that take longest may leave nodes of this pool that wait for their upgrade.
    Ahead {
        pool: String,
    },
    /// Where the pods are that left a node before its turn.
    Landed {
        pods: Vec<LandedPod>,
    },
    Ended {
        outcome: RunOutcome,
        reasons: Vec<Reason>,
    },
}

/// A pod that left a node before the node's turn, and the pod that its owner made in its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LandedPod {
    /// `shop/db-3`.
    pub pod: String,
    pub uid: String,
    pub from: String,
    /// Name and node of the pod in its place; `None` if none was scheduled in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub there: Option<LandedPlace>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LandedPlace {
    pub pod: String,
    pub node: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum StepEvent {
    /// The intent of a step. `pods` is how many pods the drain moves; `baseline` has the Ready pods of each of their
    /// owners.
    Started { pods: u32, baseline: BTreeMap<String, Baseline> },
    /// `found` is on the entry that says that the node is claimed.
    Moved {
        phase: StepPhase,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<AsFound>,
    },
    /// `owes` names the owners of evicted pods that have not recovered in time, if there are any.
    Done {
        version: String,
        evicted: u32,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        owes: Vec<String>,
    },
    /// The step was given up. Its node is returned untouched, or stays cordoned with its claim if it was changed.
    SetAside { touched: bool, reasons: Vec<Reason> },
    /// The step failed, and what it changed is taken back before the run halts.
    GoesBack { reasons: Vec<Reason> },
    /// The step failed for good; the run halts.
    Failed { reasons: Vec<Reason> },
    /// The step's node is gone, or another one has its name.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum InterruptionEvent {
    Halted {
        reasons: Vec<Reason>,
    },
    Resumed {
        by: String,
        reason: String,
        /// UID of the `windlass-resume` note that ended the halt, if a note did. That note ends no other halt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    Stopped {
        by: String,
        reason: String,
    },
    StopEnded,
}

/// Who wrote a desired commit, and what they said of it. The record may be in a repository that does not have the
/// commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authored {
    /// `Anna Meyer <anna@example.com>`.
    pub author: String,
    pub at: Timestamp,
    pub subject: String,
}

/// The Ready pods of one owner when the intent was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Baseline {
    pub name: String,
    pub ready: u32,
    /// False for an owner of a kind that is not watched, as a database's own resource: only its pods are known.
    #[serde(default = "is_watched", skip_serializing_if = "Clone::clone")]
    pub watched: bool,
}

fn is_watched() -> bool {
    true
}

/// How far a step has come, as recorded. The variants are in the order in which a step reaches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepPhase {
    Started,
    /// The node is claimed, and cordoned if the step drains it.
    Claimed,
    /// Every pod that the drain moves is gone, and their volumes are detached.
    Drained,
    /// The Job of the step was seen, or the external provider is waited for.
    Upgrading,
    /// The node runs the target version and has sent a heartbeat since.
    Upgraded,
    /// The node is healthy, the claim is released and the node is as schedulable as before. Owners of evicted pods
    /// may still recover.
    Returned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunOutcome {
    /// Every component in the plan runs the target version.
    Converged,
    /// A newer commit replaced the run.
    Superseded,
    /// The commit was taken back before the control plane was changed.
    Cancelled,
}
