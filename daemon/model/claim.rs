//! The claim: an annotation on a node that names the run and the step that took the node out. One guarded patch
//! writes it together with the cordon. It is the first effect of a step; the intent is a journal entry.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decision::{Key, Reason};

pub use super::names::{CLAIM, HOLD, SCALE_DOWN_DISABLED};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The node's UID. A node that was deleted and created again under its name has another one.
    pub node_uid: String,
    pub run: String,
    /// The text of the step's id, for people who read the annotation. It is compared, never parsed.
    pub step: String,
    pub plan_digest: String,
    /// `leaseTransitions` of the leader that wrote the claim. A lower epoch never overwrites a higher one.
    pub epoch: u64,
    /// True if the node was unschedulable before the claim. Releasing the claim then leaves it unschedulable.
    pub was_unschedulable: bool,
    /// True if the autoscaler's scale-down was disabled before the claim. Releasing the claim then leaves it
    /// disabled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scale_down_was_disabled: bool,
    /// True if Windlass cordoned the node. The control plane components of a node are upgraded without a cordon.
    pub cordoned: bool,
    pub at: Timestamp,
    /// Since when no pod has been able to leave the node; `drain.timeout` counts from here. `None` while pods leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_since: Option<Timestamp>,
    /// When the kubelet was first seen at the target version; `None` before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
    /// The keys of a later version of Windlass. They stay when this version writes the claim.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

/// How a node was found, and whether it was cordoned, for the journal: a claim can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AsFound {
    pub was_unschedulable: bool,
    pub scale_down_was_disabled: bool,
    pub cordoned: bool,
}

impl Claim {
    /// What the journal keeps of the claim.
    pub fn found(&self) -> AsFound {
        let Self { was_unschedulable, scale_down_was_disabled, cordoned, .. } = *self;
        AsFound { was_unschedulable, scale_down_was_disabled, cordoned }
    }

    /// Why the node is left alone: a leader after us has claimed it, and a lower epoch never overwrites a higher one.
    pub fn of_later_leader(&self, node: &str) -> Reason {
        let text = format!("epoch {} of run {} has claimed it; ours is lower", self.epoch, self.run);
        Reason::new(Key::ForeignClaim, format!("node/{node}"), text)
    }
}

/// When the kubelet first reported the target version. It is on the claim, so a restart of the daemon does not
/// restart the wait until the node counts as healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reported {
    pub at: Timestamp,
    /// The node's heartbeat at that time, as the kubelet wrote it. A different value means a later heartbeat.
    pub heartbeat: String,
}
