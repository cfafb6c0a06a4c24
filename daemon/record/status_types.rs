//! The shape of `status.yaml`, a public contract: `docs/reference/status.md` explains each key. Keys are only ever
//! added. Every list is bounded, so the file stays small on the largest cluster.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::CommitId;
use crate::model::addon::AddonKind;
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::entry::{Authored, RunOutcome, StepPhase};
use crate::model::plan::{Hop, StageKind};
use crate::model::version::Version;

pub const API_VERSION: &str = "windlass.dev/v1alpha1";
pub const KIND: &str = "ClusterStatus";

/// Where one cluster stands according to its journal. No value depends on when it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Status {
    pub api_version: String,
    pub kind: String,
    pub cluster: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_uid: Option<String>,
    pub phase: ClusterPhase,
    /// The last journal entry that this status includes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalEnd>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<AcceptedCommit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedCommit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StoppedSince>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<HaltedSince>,
    /// The objections, the first of them if there are many.
    pub waiting: Vec<WaitingFor>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting_left_out: u32,
    /// What somebody has changed by hand in the objects of addons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drifted: Vec<DriftedSince>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,
    /// Newest first.
    pub last_runs: Vec<LastRun>,
    /// Newest first.
    pub rollback_points: Vec<RollbackPointStatus>,
}

/// One word for where a cluster stands; the first variant that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClusterPhase {
    /// A person stopped the work.
    Stopped,
    /// A step failed; the run goes on when a person resumes it.
    Halted,
    /// Nodes are being upgraded, or a run is between two nodes.
    Running,
    /// The newest commit is not valid, and no node is in progress.
    Refused,
    /// There is work to do, and a gate objects.
    Waiting,
    /// No commit has been accepted yet.
    Idle,
    /// Nothing is left to do.
    AsDesired,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JournalEnd {
    pub seq: u64,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AcceptedCommit {
    pub commit: CommitId,
    pub version: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Authored>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefusedCommit {
    pub commit: CommitId,
    pub problems: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub problems_left_out: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoppedSince {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    pub reason: String,
    pub since: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HaltedSince {
    pub reasons: Vec<Reason>,
    pub since: Timestamp,
}

/// One objection: what it is about, since when, and when it could next pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitingFor {
    pub key: Key,
    pub gate: Gate,
    pub verdict: Verdict,
    pub object: String,
    pub text: String,
    pub since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

/// An object of an addon that is not as it was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftedSince {
    pub addon: String,
    pub object: String,
    /// What follows its name in a sentence.
    pub text: String,
    pub since: Timestamp,
}

impl Status {
    /// What keeps the run in progress from its end until a person acts; the first, if there are several.
    pub fn blocker(&self) -> Option<&WaitingFor> {
        let goes_on = matches!(self.phase, ClusterPhase::Running | ClusterPhase::Waiting);
        self.waiting
            .iter()
            .filter(|_| goes_on && self.run.is_some())
            .find(|wait| ends_by_a_person(wait.verdict, wait.next))
    }

    /// The nodes whose failure halted the run.
    pub fn halted_by(&self) -> impl Iterator<Item = &NodeStatus> {
        let why = self.halted.as_ref().map_or(&[][..], |halted| &halted.reasons);
        let of_halt = |node: &&NodeStatus| {
            let told = !node.reasons.is_empty() && node.reasons.iter().all(|reason| why.contains(reason));
            node.state == NodeState::Failed && told
        };
        self.run.iter().flat_map(|run| &run.nodes).filter(of_halt)
    }

    /// The addons whose failure halted the run.
    pub fn halting_addons(&self) -> impl Iterator<Item = &AddonStatus> {
        let why = self.halted.as_ref().map_or(&[][..], |halted| &halted.reasons);
        let of_halt = |addon: &&AddonStatus| {
            let told = !addon.reasons.is_empty() && addon.reasons.iter().all(|reason| why.contains(reason));
            addon.state == NodeState::Failed && told
        };
        self.run.iter().flat_map(|run| &run.addons).filter(of_halt)
    }

    /// True if the stop, the halt or the refused commit of this status is what the objection is about. A page that
    /// shows those leaves the objection out.
    pub fn tells(&self, wait: &WaitingFor) -> bool {
        match wait.gate {
            Gate::Stop => self.stopped.is_some(),
            Gate::Halt => self.halted.is_some(),
            Gate::Desired => self.refused.is_some() && wait.key != Key::CommitNotProven,
            Gate::Identity
            | Gate::Mode
            | Gate::Plan
            | Gate::Image
            | Gate::Window
            | Gate::Freeze
            | Gate::Hold
            | Gate::Limit
            | Gate::Budget
            | Gate::Recovery
            | Gate::Canary
            | Gate::Order
            | Gate::Lease
            | Gate::Health
            | Gate::Watch
            | Gate::Clock
            | Gate::Record => false,
        }
    }
}

/// A denial with a time ends by itself.
pub(super) fn ends_by_a_person(verdict: Verdict, next: Option<Timestamp>) -> bool {
    verdict == Verdict::Deny && next.is_none()
}

impl WaitingFor {
    /// True if only a person can end the wait, and no person wants it; see [`Answer::needs_a_person`].
    pub fn needs_a_person(&self) -> bool {
        let reason = Reason { key: self.key, object: String::new(), text: String::new() };
        Answer { gate: self.gate, verdict: self.verdict, reason, next: self.next }.needs_a_person()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunStatus {
    pub id: String,
    pub commit: CommitId,
    pub from: Version,
    pub to: Version,
    pub digest: String,
    pub started: Timestamp,
    pub epoch: u64,
    pub hops: Vec<Hop>,
    /// The first stage with a step that has not ended; `None` when all have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageStatus>,
    pub control_plane: ControlPlaneStatus,
    pub counts: NodeCounts,
    /// Every node of a small run; of a large one those in progress, set aside, failed or gone.
    pub nodes: Vec<NodeStatus>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nodes_left_out: u32,
    /// The addons of the run, in the order of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addons: Vec<AddonStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_point: Option<String>,
    /// Why an earlier commit no longer takes the run back; `None` while one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past_return: Option<PastReturn>,
    /// When the run would end at its pace so far; `None` while no pace is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion: Option<Timestamp>,
}

/// Why an earlier commit does not take a run back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PastReturn {
    /// The control plane was changed, or may have been.
    ControlPlaneMoved,
    /// The run moves only kubelets: the control plane already runs the target.
    ControlPlaneAtTarget,
}

impl PastReturn {
    pub fn words(self) -> &'static str {
        match self {
            Self::ControlPlaneMoved => "the control plane has moved",
            Self::ControlPlaneAtTarget => "the control plane already runs the target",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageStatus {
    pub kind: StageKind,
    /// Counted from one, of `of`.
    pub number: u32,
    pub of: u32,
    /// The hop of the stage, counted from one.
    pub hop: u32,
    pub to: Version,
    pub steps: u32,
    pub steps_done: u32,
}

/// The control plane components of all nodes, over all hops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlaneStatus {
    pub state: ControlPlaneState,
    pub steps: u32,
    pub steps_done: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ControlPlaneState {
    /// The run does not move it.
    Stable,
    Pending,
    InProgress,
    Failed,
    Done,
}

/// The nodes of the run, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeCounts {
    pub total: u32,
    pub done: u32,
    pub in_progress: u32,
    pub set_aside: u32,
    pub failed: u32,
    pub gone: u32,
    pub pending: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeStatus {
    pub node: String,
    pub state: NodeState,
    /// How far the step in progress has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<StepPhase>,
    pub from: Version,
    pub to: Version,
    /// Since when the node has been in this state or phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddonStatus {
    pub name: String,
    pub kind: AddonKind,
    pub from: String,
    pub to: String,
    /// As of a node; an addon is never gone.
    pub state: NodeState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeState {
    Pending,
    InProgress,
    Done,
    SetAside,
    Failed,
    Gone,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LastRun {
    pub id: String,
    pub commit: CommitId,
    pub from: Version,
    pub to: Version,
    pub started: Timestamp,
    pub ended: Timestamp,
    pub outcome: RunOutcome,
    pub steps_done: u32,
    pub set_aside: u32,
    pub failed: u32,
    #[serde(default)]
    pub halts: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackPointStatus {
    pub id: String,
    /// The desired commit to go back to; `None` if none was accepted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference to skip_serializing_if")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
