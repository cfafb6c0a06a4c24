//! The claim: one annotation on a node that says whose it is while it is out.
//! It is written with the cordon in one guarded patch and is the first effect of a step, never its intent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::names::{CLAIM, HOLD, SCALE_DOWN_DISABLED};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// A node that was deleted and came back under its name is another node.
    pub node_uid: String,
    pub run: String,
    /// The step's id as text, as people read it on the node; compared, never taken apart.
    pub step: String,
    pub plan_digest: String,
    /// `leaseTransitions` of the leader that wrote it; a lower epoch never overwrites a higher one.
    pub epoch: u64,
    /// Whether the node was unschedulable before us; then it is left so.
    pub was_unschedulable: bool,
    /// Whether an autoscaler had been asked to leave it alone before us; then it is left so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scale_down_was_disabled: bool,
    /// Whether we cordoned it; the servers of a control plane node are moved without a cordon.
    pub cordoned: bool,
    pub at: Timestamp,
    /// Since when the drain has been blocked without a break; the ladder's timers hang on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_since: Option<Timestamp>,
    /// When its kubelet was first seen at the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
}

/// What a node's return is judged from, kept on the claim so that no restart of ours begins it anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reported {
    pub at: Timestamp,
    /// The heartbeat that the node had by then, as the kubelet wrote it: another one is a later one.
    pub heartbeat: String,
}
