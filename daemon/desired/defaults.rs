//! What holds when a key is left out, and the bounds of what may be written; each with its reason.
//! The defaults are the cautious choice: whoever writes little gets little disruption.

use jiff::SignedDuration;

use crate::model::desired::{AtClose, DrainWhen, ForeignCordon, Limit, Mode};

/// A cluster that someone adds is first only looked at.
pub const MODE: Mode = Mode::Observe;

/// One node of a pool at a time; a pool that can spare more says so.
pub const MAX_UNAVAILABLE: Limit = Limit::Count(1);

/// One node goes first, so that a bad version is met by one node.
pub const CANARY: u32 = 1;

/// Long enough for a crash loop to show: the kubelet's back-off reaches its cap of five minutes.
pub const SOAK: SignedDuration = SignedDuration::from_mins(5);

/// A node is emptied for patch moves too: the kubelet's restart is safe for pods, the host's package manager may not be.
pub const DRAIN_WHEN: DrainWhen = DrainWhen::Always;

/// Longer than a slow rollout of a blocked pod's owner, shorter than a night.
pub const DRAIN_TIMEOUT: SignedDuration = SignedDuration::from_mins(30);

/// Batch work mostly ends within two hours; what runs longer names its own deadline.
pub const DRAIN_JOBS: SignedDuration = SignedDuration::from_hours(2);

/// Data in an emptyDir dies with its pod; a person has to say that it may.
pub const DELETE_EMPTY_DIR_DATA: bool = false;

/// An owner without a budget still keeps most of its pods.
pub const IMPLICIT_BUDGETS: bool = true;

/// Who cordoned a node had a reason that we do not know.
pub const FOREIGN_CORDON: ForeignCordon = ForeignCordon::Skip;

/// A close means that nothing more is taken out, and nothing is left half done.
pub const AT_CLOSE: AtClose = AtClose::FinishNode;

/// The image of the upgrade Job: the one that the project's Dockerfile builds, under the name it has on a node that
/// loaded it. No registry is assumed; a cluster that pulls from one names it in `controlPlane.kubeadm.image`.
pub const IMAGE: &str = concat!("windlass:", env!("CARGO_PKG_VERSION"));

/// No wait, window or deadline is longer than a week: beyond that, two runs would overlap the same weekday.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Shorter, and one slow request would decide.
pub const SHORTEST: SignedDuration = SignedDuration::from_mins(1);

/// The longest grace after a close; a day later the next window may be open again.
pub const LONGEST_HARD_LIMIT: SignedDuration = SignedDuration::from_hours(24);

/// A canary is the first few; more than this is the pool itself.
pub const MOST_CANARIES: u32 = 100;
