//! What gates answer: a verdict, the reasons for it, and when it could next change.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A key for machines and runbooks, a sentence for people, and the object it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    pub gate: Gate,
    pub verdict: Verdict,
    pub reason: Reason,
    /// When the gate could next pass; nothing when nobody knows, or when it passes now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
}

impl Answer {
    pub fn new(gate: Gate, verdict: Verdict, reason: Reason) -> Self {
        Self { gate, verdict, reason, next: None }
    }

    pub fn allow(gate: Gate, object: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(gate, Verdict::Allow, Reason::new(Key::Passes, object, text))
    }

    pub fn wait(gate: Gate, reason: Reason) -> Self {
        Self::new(gate, Verdict::Wait, reason)
    }

    pub fn deny(gate: Gate, reason: Reason) -> Self {
        Self::new(gate, Verdict::Deny, reason)
    }

    #[must_use]
    pub fn until(self, next: Option<Timestamp>) -> Self {
        Self { next, ..self }
    }

    /// Whether two answers are about the same thing, whatever they say of it.
    pub fn same_subject(&self, other: &Self) -> bool {
        self.gate == other.gate
            && self.reason.key == other.reason.key
            && self.reason.object == other.reason.object
    }
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

    pub fn allows(&self) -> bool {
        self.verdict() == Verdict::Allow
    }

    /// Why a step whose node is not changed yet ends here and its node is returned; nothing if it only waits.
    pub fn returns(&self) -> Option<&Reason> {
        let ends = |answer: &&Answer| answer.verdict == Verdict::Deny && answer.gate.returns_untouched();
        self.answers.iter().find(ends).map(|answer| &answer.reason)
    }
}

/// When the question is put. What was true at the intent may no longer be true at the claim: so it is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// May a run begin? Without a step: may any run begin.
    StartRun,
    /// May this node be taken out: before its intent is written.
    TakeOut,
    /// The same, right before the patch that claims and cordons the node.
    Claim,
    /// The same, right before the Job, or whatever else changes the node.
    Change,
    /// May what was begun go on. Without a step: what stands before everything, whatever is to be done.
    GoOn,
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
    /// Whether a denial of this gate returns a node that was taken out and is not changed yet. The others keep it
    /// waiting: a stop ends nothing, and a lease or a record comes back.
    pub fn returns_untouched(self) -> bool {
        match self {
            Self::Mode
            | Self::Plan
            | Self::Window
            | Self::Freeze
            | Self::Halt
            | Self::Hold
            | Self::Budget
            | Self::Health => true,
            Self::Desired
            | Self::Stop
            | Self::Limit
            | Self::Canary
            | Self::Order
            | Self::Lease
            | Self::Record => false,
        }
    }

    /// Whether it answers from desired state, record and time alone.
    pub fn needs_no_cluster(self) -> bool {
        match self {
            Self::Mode | Self::Desired | Self::Window | Self::Freeze | Self::Stop | Self::Halt => true,
            Self::Plan
            | Self::Hold
            | Self::Limit
            | Self::Budget
            | Self::Canary
            | Self::Order
            | Self::Lease
            | Self::Health
            | Self::Record => false,
        }
    }

    /// Whether what it denies to one node it may allow to another. The others speak of the cluster or of a kind of move.
    pub fn is_about_nodes(self) -> bool {
        match self {
            Self::Plan
            | Self::Hold
            | Self::Limit
            | Self::Budget
            | Self::Canary
            | Self::Order
            | Self::Health => true,
            Self::Mode
            | Self::Desired
            | Self::Window
            | Self::Freeze
            | Self::Stop
            | Self::Halt
            | Self::Lease
            | Self::Record => false,
        }
    }

    /// Whether a person or a calendar gives its answers. The other gates tell what the cluster is like at the moment.
    pub fn is_policy(self) -> bool {
        match self {
            Self::Mode
            | Self::Desired
            | Self::Plan
            | Self::Window
            | Self::Freeze
            | Self::Stop
            | Self::Halt
            | Self::Hold => true,
            Self::Limit
            | Self::Budget
            | Self::Canary
            | Self::Order
            | Self::Lease
            | Self::Health
            | Self::Record => false,
        }
    }

    /// Whether its objections are written to the record. A process that does not hold the lease does not write, since
    /// two that wait for each other would race; and that the record cannot be written cannot be written to it.
    pub fn is_recorded(self) -> bool {
        match self {
            Self::Lease | Self::Record => false,
            Self::Mode
            | Self::Desired
            | Self::Plan
            | Self::Window
            | Self::Freeze
            | Self::Stop
            | Self::Halt
            | Self::Hold
            | Self::Limit
            | Self::Budget
            | Self::Canary
            | Self::Order
            | Self::Health => true,
        }
    }

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
    PassBroken => "passBroken",
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
