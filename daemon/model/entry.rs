//! What the journal says, one entry a file: intents before they are carried out, outcomes after.
//! A file is written once and never changed; the status is a fold over them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::CommitId;
use super::decision::{Answer, Reason};
use super::version::Version;

/// One journal file. `seq` counts per cluster and never has a gap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub seq: u64,
    pub at: Timestamp,
    /// The run it belongs to; nothing for what happens between runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    pub epoch: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    /// First contact: the UID of the namespace kube-system.
    ClusterMet {
        uid: String,
    },
    /// This commit is in force from now on for this cluster.
    Accepted {
        commit: CommitId,
        version: Version,
    },
    /// The newest commit is not valid for this cluster; the last accepted one stays in force.
    Refused {
        commit: CommitId,
        problems: Vec<String>,
    },
    /// What stands between the desired state and the next move, whenever that changes.
    /// Empty when nothing is waited for.
    Waiting {
        answers: Vec<Answer>,
    },
    /// A plan is frozen; it lies in `plan.yaml` beside the journal.
    RunStarted {
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
    /// A node will be taken in hand. `baseline` holds the Ready pods of each owner with pods on it.
    StepStarted {
        step: String,
        node: String,
        node_uid: String,
        pods: u32,
        baseline: BTreeMap<String, Baseline>,
    },
    StepMoved {
        step: String,
        node: String,
        phase: StepPhase,
    },
    StepDone {
        step: String,
        node: String,
        version: Version,
        evicted: u32,
    },
    /// Returned untouched, or left cordoned with its claim because it was changed.
    StepSetAside {
        step: String,
        node: String,
        touched: bool,
        reasons: Vec<Reason>,
    },
    /// A step that failed for good; a halt follows.
    StepFailed {
        step: String,
        node: String,
        reasons: Vec<Reason>,
    },
    /// A step whose node vanished or was replaced.
    StepGone {
        step: String,
        node: String,
    },
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
    RunEnded {
        outcome: RunOutcome,
        reasons: Vec<Reason>,
    },
}

/// The Ready pods of one owner at the moment the intent was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    pub name: String,
    pub ready: u32,
}

/// Where a step stands, in the order in which it passes through them.
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
    /// It went through, but nodes were held or set aside.
    Incomplete,
    /// A newer commit took its place.
    Superseded,
    /// The commit was taken back before the control plane moved.
    Cancelled,
}
