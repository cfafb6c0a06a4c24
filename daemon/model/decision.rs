//! What gates answer: a verdict, the reasons for it, and when it could next change.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A key for machines and runbooks, a sentence for people, and the object it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    pub key: Key,
    /// What it is about: `node/w3`, `pod/shop/cart-0`, `window/prod-nights`.
    pub object: String,
    /// One sentence without a full stop. It holds no figure that changes by itself, so that an unchanged
    /// wait stays byte-equal.
    pub text: String,
}

impl Reason {
    pub fn new(key: Key, object: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key, object: object.into(), text: text.into() }
    }
}

/// How strict an answer is. The order is the meaning: the strictest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Allow,
    /// Not now; time or the world will change the answer.
    Wait,
    /// Not until a person acts.
    Deny,
}

/// What one gate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub gate: Gate,
    pub verdict: Verdict,
    pub reason: Reason,
    /// When the gate could next pass; nothing when nobody knows, or when it passes now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

/// What all gates say about one step at one instant; every answer is kept, the passing ones too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    pub answers: Vec<Answer>,
}

impl Decision {
    pub fn verdict(&self) -> Verdict {
        self.answers.iter().map(|answer| answer.verdict).max().unwrap_or(Verdict::Allow)
    }

    /// Everything that objects.
    pub fn objections(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| answer.verdict != Verdict::Allow)
    }

    /// When all objections could be gone; nothing if one of them has no time of its own.
    pub fn next(&self) -> Option<Timestamp> {
        self.objections().map(|answer| answer.next).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    pub fn and(mut self, other: Self) -> Self {
        self.answers.extend(other.answers);
        self
    }
}

/// Who answers. One file per kind of policy; the rest are facts of the cluster and of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Gate {
    Mode,
    Desired,
    Plan,
    Window,
    Freeze,
    Stop,
    Halt,
    Hold,
    Limit,
    Budget,
    Canary,
    Order,
    Lease,
    Health,
    Record,
}

impl Gate {
    pub const ALL: [Self; 15] = [
        Self::Mode,
        Self::Desired,
        Self::Plan,
        Self::Window,
        Self::Freeze,
        Self::Stop,
        Self::Halt,
        Self::Hold,
        Self::Limit,
        Self::Budget,
        Self::Canary,
        Self::Order,
        Self::Lease,
        Self::Health,
        Self::Record,
    ];
}

macro_rules! keys {
    ($($name:ident => $text:literal),* $(,)?) => {
        /// Every reason there is; each has an entry in `docs/reference/reasons.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Key { $(#[serde(rename = $text)] $name),* }

        impl Key {
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

keys! {
    // gates that pass
    Passes => "passes",
    // policies
    NoWindow => "noWindow",
    WindowOpen => "windowOpen",
    WindowClosed => "windowClosed",
    WindowTooShort => "windowTooShort",
    Frozen => "frozen",
    ObserveOnly => "observeOnly",
    // people
    Stopped => "stopped",
    Held => "held",
    ForeignCordon => "foreignCordon",
    ForeignClaim => "foreignClaim",
    Halted => "halted",
    // the desired state and the plan
    CommitRefused => "commitRefused",
    HistoryRewritten => "historyRewritten",
    OtherCluster => "otherCluster",
    Downgrade => "downgrade",
    SkewTooLarge => "skewTooLarge",
    NoProvenSnapshot => "noProvenSnapshot",
    NodeInTwoPools => "nodeInTwoPools",
    NodeInNoPool => "nodeInNoPool",
    NoControlPlane => "noControlPlane",
    VersionUnknown => "versionUnknown",
    PlanBroken => "planBroken",
    PlanStale => "planStale",
    // limits and order
    LimitReached => "limitReached",
    ZoneLimitReached => "zoneLimitReached",
    ClusterLimitReached => "clusterLimitReached",
    CanaryFirst => "canaryFirst",
    Soaking => "soaking",
    // drains
    BudgetBlocks => "budgetBlocks",
    BudgetNeverAllows => "budgetNeverAllows",
    SeveralBudgets => "severalBudgets",
    OwnerNotReady => "ownerNotReady",
    Unmanaged => "unmanaged",
    LocalData => "localData",
    OrphanOfDaemonSet => "orphanOfDaemonSet",
    JobRunning => "jobRunning",
    DoNotDisrupt => "doNotDisrupt",
    SingleReplica => "singleReplica",
    GraceTooLong => "graceTooLong",
    EvictionRefused => "evictionRefused",
    ServerBusy => "serverBusy",
    Terminating => "terminating",
    StuckTerminating => "stuckTerminating",
    VolumesAttached => "volumesAttached",
    LateArrival => "lateArrival",
    DrainTimedOut => "drainTimedOut",
    SetAside => "setAside",
    // the upgrade of one node
    Upgrading => "upgrading",
    JobNotStarted => "jobNotStarted",
    JobFailed => "jobFailed",
    JobRefused => "jobRefused",
    OldKubelet => "oldKubelet",
    NodeNotReady => "nodeNotReady",
    NodeGone => "nodeGone",
    NoRenewal => "noRenewal",
    DaemonSetNotReady => "daemonSetNotReady",
    Settling => "settling",
    OwnersRecovering => "ownersRecovering",
    ExternalProvider => "externalProvider",
    // the control plane
    QuorumAtRisk => "quorumAtRisk",
    ApiNotSteady => "apiNotSteady",
    ServersMixed => "serversMixed",
    // our own means
    LeaseElsewhere => "leaseElsewhere",
    RecordUnreachable => "recordUnreachable",
    RecordRefused => "recordRefused",
    GitUnreachable => "gitUnreachable",
    ApiUnreachable => "apiUnreachable",
}
