//! What gates answer: a verdict, its reasons, and the time at which it could change.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::into_plain;

pub use super::moment::{Moment, Verdict};

/// A reason: a key for programs and runbooks, a sentence for people, and the object it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reason {
    pub key: Key,
    /// The object it is about: `node/w3`, `pod/shop/cart-0`, `window/prod-nights`.
    pub object: String,
    /// One sentence without a full stop. It contains no number that changes with time, so an unchanged wait stays
    /// byte-equal.
    pub text: String,
}

impl Reason {
    /// Much of the text and of the object is from outside, so both are made harmless here, for every page, commit and
    /// log that shows them.
    pub fn new(key: Key, object: impl Into<String>, text: impl Into<String>) -> Self {
        Self { key, object: into_plain(object.into()), text: into_plain(text.into()) }
    }
}

/// One gate's answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    pub gate: Gate,
    pub verdict: Verdict,
    pub reason: Reason,
    /// When the gate could next pass; `None` if that is unknown, or if it passes now.
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

    /// True if only a person can change the answer, and no person has chosen it: exit code 4, whatever the name. A
    /// stop, a hold and `mode: observe` are what somebody wants, and a plan that is out of date is made again.
    pub fn needs_a_person(&self) -> bool {
        let chosen = matches!(
            self.reason.key,
            Key::Stopped | Key::Held | Key::ObserveOnly | Key::PlanStale | Key::PoolChanged | Key::SetAside
        );
        // A denial with a time ends by itself.
        self.verdict == Verdict::Deny && !chosen && self.next.is_none()
    }

    /// True if both answers come from the same gate and are about the same reason key and object.
    pub fn same_subject(&self, other: &Self) -> bool {
        self.gate == other.gate
            && self.reason.key == other.reason.key
            && self.reason.object == other.reason.object
    }
}

/// The answers of all gates about one step at one instant, the passing ones too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    pub answers: Vec<Answer>,
}

impl Decision {
    pub fn verdict(&self) -> Verdict {
        self.answers.iter().map(|answer| answer.verdict).max().unwrap_or(Verdict::Allow)
    }

    /// The answers that do not allow.
    pub fn objections(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| answer.verdict != Verdict::Allow)
    }

    /// When every objection could have passed; `None` if one of them has no known time, or if there is none.
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

    /// The answers that return the node of a step that is not changed yet; none if the step may keep waiting.
    pub fn returns(&self) -> impl Iterator<Item = &Answer> {
        // A commit that is not valid is mended soon. One that only the record names may never be on the branch.
        let returns =
            |answer: &Answer| answer.gate.returns_untouched() || answer.reason.key == Key::CommitNotProven;
        let ends = move |answer: &&Answer| answer.verdict == Verdict::Deny && returns(answer);
        self.answers.iter().filter(ends)
    }

    /// True if there is no other objection than this one.
    pub fn waits_only_for(&self, key: Key) -> bool {
        !self.allows() && self.objections().all(|answer| answer.reason.key == key)
    }

    /// True if this gate objects.
    pub fn objects(&self, gate: Gate) -> bool {
        self.objections().any(|answer| answer.gate == gate)
    }
}

/// Which gate answers. Each kind of policy is a gate; the others check facts of the cluster and of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Gate {
    Identity,
    Mode,
    Desired,
    Plan,
    Image,
    Window,
    Freeze,
    Stop,
    Halt,
    Hold,
    Limit,
    Budget,
    Recovery,
    Canary,
    Order,
    Lease,
    Health,
    Watch,
    Clock,
    Record,
}

/// What can be true of a gate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GateTrait {
    ReturnsUntouched,
    NeedsNoCluster,
    IsAboutNodes,
    IsPolicy,
    IsRecorded,
}

impl Gate {
    /// Everything that is true of a gate, in one row for each.
    fn traits(self) -> &'static [GateTrait] {
        use GateTrait::{IsAboutNodes, IsPolicy, IsRecorded, NeedsNoCluster, ReturnsUntouched};
        match self {
            Self::Identity => &[IsPolicy, IsRecorded],
            Self::Desired | Self::Stop => &[NeedsNoCluster, IsPolicy, IsRecorded],
            Self::Mode | Self::Image | Self::Window | Self::Freeze | Self::Halt => {
                &[ReturnsUntouched, NeedsNoCluster, IsPolicy, IsRecorded]
            }
            Self::Plan | Self::Hold => &[ReturnsUntouched, IsAboutNodes, IsPolicy, IsRecorded],
            Self::Budget | Self::Health => &[ReturnsUntouched, IsAboutNodes, IsRecorded],
            Self::Limit | Self::Recovery | Self::Canary | Self::Order => &[IsAboutNodes, IsRecorded],
            Self::Watch | Self::Clock => &[IsRecorded],
            Self::Lease | Self::Record => &[],
        }
    }

    /// True if a denial of this gate returns a node that was taken out and is not changed yet. A denial of any other
    /// gate keeps the node waiting: a stop ends nothing, and the lease or the repository comes back.
    pub fn returns_untouched(self) -> bool {
        self.traits().contains(&GateTrait::ReturnsUntouched)
    }

    /// True if the gate needs only desired state, record and time.
    pub fn needs_no_cluster(self) -> bool {
        self.traits().contains(&GateTrait::NeedsNoCluster)
    }

    /// True if the gate can deny one node and allow another. The other gates answer for the cluster or for a kind of
    /// move.
    pub fn is_about_nodes(self) -> bool {
        self.traits().contains(&GateTrait::IsAboutNodes)
    }

    /// True if it objects to all nodes of a pool alike, as long as no room is left there.
    pub fn is_about_pools(self) -> bool {
        matches!(self, Self::Recovery | Self::Canary)
    }

    /// True if what keeps one node of a pool keeps its other nodes as well.
    pub fn is_beyond_one_node(self) -> bool {
        !self.is_about_nodes() || self.is_about_pools()
    }

    /// True if a person or a calendar gives its answers. The other gates report what the cluster is like at the moment.
    pub fn is_policy(self) -> bool {
        self.traits().contains(&GateTrait::IsPolicy)
    }

    /// True if its objections are written to the record. A process that does not hold the lease does not write, because
    /// two that wait for each other would write against each other; and while the record cannot be written, that
    /// cannot be recorded either.
    pub fn is_recorded(self) -> bool {
        self.traits().contains(&GateTrait::IsRecorded)
    }

    /// In the order in which pages show them.
    pub const ALL: [Self; 20] = [
        Self::Identity,
        Self::Mode,
        Self::Desired,
        Self::Plan,
        Self::Image,
        Self::Window,
        Self::Freeze,
        Self::Stop,
        Self::Halt,
        Self::Hold,
        Self::Limit,
        Self::Budget,
        Self::Recovery,
        Self::Canary,
        Self::Order,
        Self::Lease,
        Self::Health,
        Self::Watch,
        Self::Clock,
        Self::Record,
    ];
}

macro_rules! keys {
    ($($name:ident => $text:literal),* $(,)?) => {
        /// Every reason key; each has an entry in `docs/reference/reasons.md`.
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
    MarkedForRemoval => "markedForRemoval",
    ForeignCordon => "foreignCordon",
    ForeignClaim => "foreignClaim",
    Halted => "halted",
    // the desired state and the plan
    CommitRefused => "commitRefused",
    HistoryRewritten => "historyRewritten",
    OtherCluster => "otherCluster",
    ServedTwice => "servedTwice",
    Downgrade => "downgrade",
    SkewTooLarge => "skewTooLarge",
    TooManyMinors => "tooManyMinors",
    VersionNotKnown => "versionNotKnown",
    NoImage => "noImage",
    ImageNotPinned => "imageNotPinned",
    NoProvenSnapshot => "noProvenSnapshot",
    NodeInTwoPools => "nodeInTwoPools",
    NodeInNoPool => "nodeInNoPool",
    NodeNotMovable => "nodeNotMovable",
    NoControlPlane => "noControlPlane",
    VersionUnknown => "versionUnknown",
    PlanBroken => "planBroken",
    PlanStale => "planStale",
    PlanNotVouched => "planNotVouched",
    CommitNotProven => "commitNotProven",
    PoolChanged => "poolChanged",
    PassBroken => "passBroken",
    // limits and order
    LimitReached => "limitReached",
    ZoneLimitReached => "zoneLimitReached",
    ClusterLimitReached => "clusterLimitReached",
    CanaryFirst => "canaryFirst",
    Soaking => "soaking",
    // drains
    BudgetBlocks => "budgetBlocks",
    BudgetUnhealthy => "budgetUnhealthy",
    BudgetNeverAllows => "budgetNeverAllows",
    SeveralBudgets => "severalBudgets",
    OwnerNotReady => "ownerNotReady",
    Unmanaged => "unmanaged",
    LocalData => "localData",
    OrphanOfDaemonSet => "orphanOfDaemonSet",
    JobRunning => "jobRunning",
    DoNotDisrupt => "doNotDisrupt",
    SingleReplica => "singleReplica",
    MovesByRollout => "movesByRollout",
    RolloutAwaited => "rolloutAwaited",
    RolloutFailed => "rolloutFailed",
    OnOneControlPlaneNode => "onOneControlPlaneNode",
    GraceTooLong => "graceTooLong",
    EvictionRefused => "evictionRefused",
    ServerBusy => "serverBusy",
    Terminating => "terminating",
    StuckTerminating => "stuckTerminating",
    VolumesAttached => "volumesAttached",
    LateArrival => "lateArrival",
    DrainBlocked => "drainBlocked",
    DrainTimedOut => "drainTimedOut",
    JobsTimedOut => "jobsTimedOut",
    SetAside => "setAside",
    LeftCordoned => "leftCordoned",
    // the upgrade of one node
    Upgrading => "upgrading",
    UpgradeTimedOut => "upgradeTimedOut",
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
    RecoveryOverdue => "recoveryOverdue",
    TooManyRecovering => "tooManyRecovering",
    ExternalProvider => "externalProvider",
    ExternalTimedOut => "externalTimedOut",
    // the control plane
    QuorumAtRisk => "quorumAtRisk",
    ApiNotSteady => "apiNotSteady",
    ServersMixed => "serversMixed",
    NotAgreed => "notAgreed",
    // addons
    AddonNotFound => "addonNotFound",
    AddonManager => "addonManager",
    AddonUnsupported => "addonUnsupported",
    AddonUnknown => "addonUnknown",
    AddonVersionMissing => "addonVersionMissing",
    AddonNotice => "addonNotice",
    AddonOlderThanKubeadm => "addonOlderThanKubeadm",
    AddonMovedByNobody => "addonMovedByNobody",
    PhaseNotSkippable => "phaseNotSkippable",
    AddonRolling => "addonRolling",
    AddonConflict => "addonConflict",
    AddonRefused => "addonRefused",
    AddonDrifted => "addonDrifted",
    AddonHelmMissing => "addonHelmMissing",
    AddonChartMissing => "addonChartMissing",
    AddonNotRolledOut => "addonNotRolledOut",
    CheckFailed => "checkFailed",
    // lease, record and repository
    LeaseElsewhere => "leaseElsewhere",
    LeaseSilent => "leaseSilent",
    RecordUnreachable => "recordUnreachable",
    RecordRefused => "recordRefused",
    GitUnreachable => "gitUnreachable",
    ApiUnreachable => "apiUnreachable",
    WriteRefused => "writeRefused",
    RightMissing => "rightMissing",
    NotCurrent => "notCurrent",
    ClockOff => "clockOff",
}
