//! What the journal says, one entry a file: intents before they are carried out, outcomes after.
//! A file is written once and never changed; the status is a fold over them. Entries are grouped by what they are
//! about, so that a reader names the group that is his and none of the others.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::CommitId;
use super::decision::{Answer, Reason};
use super::version::Version;
use super::work::StepId;

/// One journal file. `seq` counts per cluster and never has a gap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    pub seq: u64,
    pub at: Timestamp,
    /// The run it belongs to; nothing for what happens between runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    pub epoch: u64,
    pub what: What,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    Cluster(ClusterEvent),
    Commit(CommitEvent),
    Run(RunEvent),
    Step(StepId, StepEvent),
    Interruption(InterruptionEvent),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ClusterEvent {
    /// First contact: the UID of the namespace kube-system.
    Met { uid: String },
    /// What stands between the desired state and the next move, whenever that changes.
    /// Empty when nothing is waited for.
    Waiting { answers: Vec<Answer> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum CommitEvent {
    /// This commit is in force from now on for this cluster.
    Accepted { commit: CommitId, version: Version },
    /// The newest commit is not valid for this cluster; the last accepted one stays in force.
    Refused { commit: CommitId, problems: Vec<String> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum RunEvent {
    /// A plan is frozen; it lies in `plan.yaml` beside the journal.
    Started {
        commit: CommitId,
        from: Version,
        to: Version,
        digest: String,
        nodes: u32,
    },
    /// The point to go back to, durable before the first step.
    RollbackPoint {
        id: String,
    },
    Ended {
        outcome: RunOutcome,
        reasons: Vec<Reason>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum StepEvent {
    /// The intent. `pods` counts the pods that a drain moves; `baseline` holds the Ready pods of each of their owners.
    Started {
        pods: u32,
        baseline: BTreeMap<String, Baseline>,
    },
    Moved {
        phase: StepPhase,
    },
    Done {
        version: String,
        evicted: u32,
    },
    /// Returned untouched, or left cordoned with its claim because it was changed.
    SetAside {
        touched: bool,
        reasons: Vec<Reason>,
    },
    /// It failed for good; a halt follows.
    Failed {
        reasons: Vec<Reason>,
    },
    /// Its node vanished or was replaced.
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
        /// UID of the note that said so, where it was one: it is spent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    Stopped {
        by: String,
        reason: String,
    },
    StopEnded,
}

/// The Ready pods of one owner at the moment the intent was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Baseline {
    pub name: String,
    pub ready: u32,
}

/// How far a step has come, as recorded, in the order in which it passes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepPhase {
    Started,
    /// Claimed, and cordoned where the step empties the node.
    Claimed,
    /// Every pod that had to go is gone and its volumes are detached.
    Drained,
    /// The Job was created, or the external provider is waited for.
    Upgrading,
    /// The target version reports, with a heartbeat after it.
    Upgraded,
    /// Healthy, schedulable as it was found, the claim released; owners of evicted pods may still recover.
    Returned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunOutcome {
    /// Everything the plan names runs the target.
    Converged,
    /// A newer commit took its place.
    Superseded,
    /// The commit was taken back before the control plane moved.
    Cancelled,
}
