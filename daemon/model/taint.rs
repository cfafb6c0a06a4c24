//! Taints of nodes. Windlass has one of its own, for nodes that wait for their upgrade.

use jiff::Timestamp;

use super::live::Id;
use super::names;

/// A taint of a node, as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTaint {
    pub key: Id,
    pub value: Option<Id>,
    pub effect: Id,
    pub added: Option<Timestamp>,
}

impl NodeTaint {
    /// Ours: of two nodes on which a pod fits, the scheduler usually takes the one without it. Nothing that runs is moved.
    pub fn outdated() -> Self {
        Self { key: names::OUTDATED.into(), value: None, effect: "PreferNoSchedule".into(), added: None }
    }

    pub fn is_ours(&self) -> bool {
        &*self.key == names::OUTDATED
    }
}
