//! The values of keys that are left out, and the bounds of values, each with its reason. The defaults are the
//! cautious choice: a short file gives little disruption.

use jiff::SignedDuration;

use crate::model::desired::{
    AtClose, ControlPlaneDrain, DrainWhen, ForeignCordon, Limit, Mode, OnBlocked, OnNotRecovered,
};

/// A new cluster is only observed at first.
pub const MODE: Mode = Mode::Observe;

/// One node of a pool at a time, unless the pool allows more.
pub const MAX_UNAVAILABLE: Limit = Limit::Count(1);

/// One node goes first, so a bad version reaches one node.
pub const CANARY: u32 = 1;

/// Long enough for a crash loop to show: the kubelet's back-off reaches its cap of five minutes.
pub const SOAK: SignedDuration = SignedDuration::from_mins(5);

/// A drained control plane node costs time, and its pods may have nowhere to go; the plan names what would suffer.
pub const CONTROL_PLANE_DRAIN: ControlPlaneDrain = ControlPlaneDrain::BeforeKubelet;

/// Patch moves drain the node too: the kubelet's restart is safe for pods, the host's package manager may not be.
pub const DRAIN_WHEN: DrainWhen = DrainWhen::Always;

/// Longer than a slow rollout of a blocked pod's owner, shorter than a night.
pub const DRAIN_TIMEOUT: SignedDuration = SignedDuration::from_mins(30);

/// Most batch work ends within two hours; longer work needs its own value.
pub const DRAIN_JOBS: SignedDuration = SignedDuration::from_hours(2);

/// Longer than most applications take to be Ready again on another node; a slow one needs its own value.
pub const RECOVERY: SignedDuration = SignedDuration::from_mins(5);

/// If so many pods are missing, the cluster has no room for them or they start slowly; the next node would add more.
pub const MAX_RECOVERING: Limit = Limit::Percent(25);

/// An application that does not come back may be the upgrade's fault, and the next node makes it worse. It may also
/// come back without help, and then the run goes on without a person.
pub const ON_NOT_RECOVERED: OnNotRecovered = OnNotRecovered::Wait;

/// Unless people ask for more, Windlass evicts pods only from nodes that it has cordoned.
pub const AHEAD: bool = false;
/// A rollout replaces all pods of its owner, so somebody who knows the owner has to ask for it.
pub const ON_BLOCKED: OnBlocked = OnBlocked::SetAside;

/// Data in an emptyDir is lost with its pod, so a person has to allow it.
pub const DELETE_EMPTY_DIR_DATA: bool = false;

/// An owner without a budget still keeps most of its pods.
pub const IMPLICIT_BUDGETS: bool = true;

/// Longer than most rollouts take; `progressDeadlineSeconds` of a Deployment is as long, where it says nothing.
pub const ADDON_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// The person who cordoned the node had a reason that Windlass does not know.
pub const FOREIGN_CORDON: ForeignCordon = ForeignCordon::Skip;

/// Each pod moves once and not again and again; the taint moves nothing that runs and binds no scheduler.
pub const PREFER_UPGRADED: bool = true;

/// At the close no further node is taken out, and no node is left half done.
pub const AT_CLOSE: AtClose = AtClose::FinishNode;

/// No wait, window or deadline is longer than a week: an opening longer than that would overlap its own next one.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A shorter time could be used up by one slow request.
pub const SHORTEST: SignedDuration = SignedDuration::from_mins(1);

/// The longest time that a hard limit allows after a close; a day later the next window may be open.
pub const LONGEST_HARD_LIMIT: SignedDuration = SignedDuration::from_hours(24);

/// A canary is the first few nodes; more than this is the pool itself.
pub const MOST_CANARIES: u32 = 100;
