//! The moments of a step at which the gates are asked, and how strict an answer is.

use serde::{Deserialize, Serialize};

/// At which moment of a step the gates are asked. A step is asked at several: what was true when its intent was
/// written may be false when its node is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// May a run begin? Without a step: may any run begin?
    StartRun,
    /// May this node be taken out? Asked before the intent is written.
    TakeOut,
    /// The same question, right before the patch that claims and cordons the node.
    Claim,
    /// The same question, right before the Job, or whatever else changes the node.
    Change,
    /// May a step in progress go on? Without a step: may the run go on at all?
    GoOn,
}

/// How strict an answer is. The variants are ordered: the strictest answer wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Allow,
    /// Not now. Time or a change in the cluster can change the answer.
    Wait,
    /// Not until a person acts.
    Deny,
}
