//! What the record of a cluster cannot say of itself: what the desired branch asks for now, and whether a daemon is
//! alive. A record shows only what a daemon wrote, so a dead daemon leaves a good one.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::standing::ClusterStanding;
use crate::gate;
use crate::model::CommitId;
use crate::model::decision::{Gate, Key};
use crate::model::live::{Live, Lock};
use crate::model::state::DesiredState;
use crate::model::text::{given, length, minute, one_line, plural};
use crate::model::time::later;
use crate::record::{Record, Status, WaitingFor};

/// How long after a commit a daemon has accepted it at the latest. It looks every 30 seconds, unless its settings say
/// otherwise.
const OVERDUE: SignedDuration = SignedDuration::from_mins(15);
/// How many of the nodes that people keep are named; JSON has all.
const KEPT_NAMED: usize = 50;

/// The newest commit on the desired branch, compared with the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Newest {
    pub commit: CommitId,
    pub standing: NewestStanding,
    /// The version that it asks for, or the one that stays in force if it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// For how long no daemon has accepted it, by the time at which it was committed; `None` if one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_accepted_seconds: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NewestStanding {
    Accepted,
    /// It changes nothing for this cluster.
    SameAsAccepted,
    NotTakenUp,
    Refused,
    /// It is not valid, and no daemon has said so yet.
    NotValid,
}

impl Newest {
    pub fn of(state: &DesiredState, record: &Record, now: Timestamp) -> Self {
        let accepted = record.accepted.as_ref().map(|(commit, _)| commit);
        let in_force = state.desired.as_ref().map(|desired| &desired.commit);
        let refused = record.refused.as_ref().is_some_and(|(commit, _)| *commit == state.newest);
        let standing = if refused {
            NewestStanding::Refused
        } else if !state.problems.is_empty() {
            NewestStanding::NotValid
        } else if in_force != accepted {
            NewestStanding::NotTakenUp
        } else if accepted == Some(&state.newest) {
            NewestStanding::Accepted
        } else {
            NewestStanding::SameAsAccepted
        };
        let version = state.desired.as_ref().map(|desired| desired.cluster.version.to_string());
        let age = state.by.as_ref().map(|by| now.duration_since(by.at).as_secs().max(0));
        let not_accepted_seconds = age.filter(|_| standing == NewestStanding::NotTakenUp);
        Self { commit: state.newest.clone(), standing, version, not_accepted_seconds }
    }

    /// Where the cluster stands because of it. A running daemon accepts a commit within minutes; after a while a person
    /// has to see whether one runs.
    pub(super) fn standings(&self) -> Vec<ClusterStanding> {
        match self.standing {
            NewestStanding::Accepted | NewestStanding::SameAsAccepted => Vec::new(),
            NewestStanding::NotTakenUp if self.is_overdue() => {
                vec![ClusterStanding::NotTakenUp, ClusterStanding::NeedsAPerson]
            }
            NewestStanding::NotTakenUp => vec![ClusterStanding::NotTakenUp],
            NewestStanding::Refused | NewestStanding::NotValid => vec![ClusterStanding::Refused],
        }
    }

    fn is_overdue(&self) -> bool {
        self.not_accepted_seconds.is_some_and(|seconds| seconds >= OVERDUE.as_secs())
    }

    /// `None` if the page says it elsewhere.
    pub(super) fn words(&self) -> Option<String> {
        let (commit, version) = (self.commit.short(), self.version.as_deref().unwrap_or("no version"));
        match self.standing {
            NewestStanding::Accepted | NewestStanding::Refused => None,
            NewestStanding::SameAsAccepted => Some(format!("commit {commit} asks for the same")),
            NewestStanding::NotTakenUp => {
                let age = self.not_accepted_seconds.filter(|_| self.is_overdue());
                let age = age.map(|seconds| length(SignedDuration::from_secs(seconds)));
                let yet = age.map_or_else(
                    || "yet".to_owned(),
                    |age| format!("for {age}; check that a daemon runs and reads this branch"),
                );
                Some(format!("commit {commit} asks for {version}: no daemon has accepted it {yet}"))
            }
            NewestStanding::NotValid => Some(format!(
                "commit {commit} is not valid, and no daemon has said so yet: `windlass validate` shows why"
            )),
        }
    }
}

/// How long a run may go on without an entry, if nothing is recorded that it waits for: a Job has an hour, and what the run
/// waits for otherwise is recorded.
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_hours(2);

/// A daemon that is alive would have recorded something by now. What a dead one recorded last may look well: the run
/// waits for a window, and the window has been open for an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overdue {
    /// Since when an entry is missing.
    pub since: Timestamp,
    /// The wait that was to end then; `None` if the run was to go on and no recorded wait keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Key>,
}

impl Overdue {
    /// `last` is when the last entry was written.
    pub(super) fn of(status: &Status, last: Timestamp, now: Timestamp) -> Option<Self> {
        // One that cannot see the cluster has said so, and sees no wait end.
        let unseen = |wait: &WaitingFor| wait.gate == Gate::Watch || wait.key == Key::ApiUnreachable;
        // A stopped daemon records nothing, and of a halt a person knows.
        if status.stopped.is_some() || status.halted.is_some() || status.waiting.iter().any(unseen) {
            return None;
        }
        let ends = status.waiting.iter().filter_map(|wait| Some((wait.next?, wait.key)));
        let ended = ends.filter(|(next, _)| last < *next && later(*next, OVERDUE) <= now).min();
        if let Some((since, key)) = ended {
            return Some(Self { since, wait: Some(key) });
        }
        let run = status.run.as_ref()?;
        // Nodes that wait for those in progress wait for nothing else.
        let behind = |gate: Gate| matches!(gate, Gate::Limit | Gate::Canary | Gate::Order);
        let behind_others = run.counts.in_progress > 0;
        let waits = status.waiting.iter().any(|wait| !(behind_others && behind(wait.gate)));
        let since = later(last, LONGEST_SILENCE);
        (!waits && since <= now).then_some(Self { since, wait: None })
    }

    pub(super) fn words(&self) -> String {
        let missing = match self.wait {
            Some(key) => {
                format!("since {}, when the wait `{}` was to end", minute(self.since), key.as_str())
            }
            None => format!("for {}, and no recorded wait explains that", length(LONGEST_SILENCE)),
        };
        format!("nothing was recorded {missing}; check that a daemon runs and can push")
    }
}

/// A node that people keep from Windlass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptNode {
    pub node: String,
    /// The reason of a hold, which may be empty; `None` without a hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// True if another user cordoned it.
    pub cordoned: bool,
}

impl KeptNode {
    /// The nodes of a cluster that are held, or that another user cordoned.
    pub fn all_of(live: &Live) -> Vec<Self> {
        let nodes = live.nodes.iter().map(|(name, node)| Self {
            node: name.to_string(),
            held: node.hold.clone(),
            cordoned: node.is_cordoned_by_others(),
        });
        nodes.filter(|kept| kept.held.is_some() || kept.cordoned).collect()
    }

    /// `2 nodes are held or cordoned by people: batch-1 (cordoned), general-3 (held: disk)`.
    pub(super) fn words(kept: &[Self]) -> String {
        let of_one = |kept: &Self| match &kept.held {
            Some(why) => format!("{} (held: {})", one_line(&kept.node), given(why)),
            None => format!("{} (cordoned)", one_line(&kept.node)),
        };
        let (count, are) = (plural(kept.len(), "node"), if kept.len() == 1 { "is" } else { "are" });
        let named: Vec<String> = kept.iter().take(KEPT_NAMED).map(of_one).collect();
        let more = kept.len().saturating_sub(KEPT_NAMED);
        let more = if more == 0 { String::new() } else { format!(", and {more} more") };
        format!("{count} {are} held or cordoned by people: {}{more}", named.join(", "))
    }
}

/// What the lease of a cluster says of its daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Acting {
    /// A process holds the lease and renews it.
    #[serde(rename_all = "camelCase")]
    Alive { holder: String, seconds: i64 },
    /// A process holds the lease and has stopped renewing it: no daemon acts on the cluster.
    #[serde(rename_all = "camelCase")]
    Silent { holder: String, seconds: i64 },
    /// No process holds the lease. A daemon takes it only while it has work.
    Nobody,
    /// The cluster did not answer.
    #[serde(rename_all = "camelCase")]
    Unknown { why: String },
}

impl Acting {
    pub fn of(lock: Option<&Lock>, now: Timestamp) -> Self {
        let Some(lock) = lock.filter(|lock| !lock.holder.is_empty()) else { return Self::Nobody };
        let (holder, age) = (lock.holder.clone(), gate::lease_age(lock, now));
        let seconds = age.as_secs();
        if gate::is_silent(lock, now) {
            Self::Silent { holder, seconds }
        } else {
            Self::Alive { holder, seconds }
        }
    }

    pub(super) fn cluster_standing(&self) -> Option<ClusterStanding> {
        match self {
            Self::Alive { .. } | Self::Nobody => None,
            Self::Silent { .. } => Some(ClusterStanding::NeedsAPerson),
            Self::Unknown { .. } => Some(ClusterStanding::Looking),
        }
    }

    pub(super) fn words(&self) -> String {
        let ago = |seconds: &i64| length(SignedDuration::from_secs(*seconds));
        match self {
            Self::Alive { holder, seconds } => {
                format!("{} acts; it renewed its lease {} ago", one_line(holder), ago(seconds))
            }
            Self::Silent { holder, seconds } => format!(
                "{} has been silent for {}: no daemon acts on this cluster (leaseSilent)",
                one_line(holder),
                ago(seconds)
            ),
            Self::Nobody => {
                "no daemon holds the lease; a daemon without work holds none, so check its process too"
                    .to_owned()
            }
            Self::Unknown { why } => format!("not known: {}", one_line(why)),
        }
    }
}
