//! Rollouts of Deployments: what is kept of a Deployment for them, and the note of one that a drain has begun.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decision::Reason;
use super::desired::OnBlocked;
use super::live::{Id, Live, Workload};
use super::names::MOVING;
use super::pod::Pod;

/// What a Deployment says of its rollouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub resource_version: u64,
    /// Whether its owner asks that its pods move by a rollout where an eviction would take it out of service; `None` if its
    /// owner says nothing.
    pub surge: Option<bool>,
    pub strategy: Strategy,
    pub progress: Progress,
    /// The value of our annotation on its template; `None` if no rollout of ours has made its present pods.
    pub moved: Option<Box<str>>,
    /// The note of a rollout that a drain has begun; `None` if no such rollout is in progress.
    pub note: Option<Box<NoteState>>,
}

/// How a Deployment replaces its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Paused,
    Recreate,
    /// How many pods there may be beyond its replicas, and how many of these may be missing, as Kubernetes rounds it.
    Rolling {
        surge: u32,
        unavailable: u32,
    },
}

/// How far the rollout of a Deployment's present template has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All its pods are of the present template and available, and there are no others.
    Complete,
    Going,
    /// It has not come further within `progressDeadlineSeconds`; why, in the words of its status.
    Failed(Box<str>),
}

/// The note on a Deployment. A note that cannot be read still belongs to someone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteState {
    Ours(RolloutNote),
    Unreadable,
}

/// Which step began a rollout, and what the template's annotation was before. It is on the Deployment from the beginning
/// of the rollout until it has ended well or was undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutNote {
    pub run: String,
    /// The text of the step's id; it is compared, never parsed.
    pub step: String,
    pub attempt: u32,
    /// `leaseTransitions` of the leader that began the rollout.
    pub epoch: u64,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

impl RolloutNote {
    /// The value of the template's annotation: another one for each attempt of each step, so that it sets off a rollout.
    pub fn value(&self) -> String {
        moved_by(&self.run, &self.step, self.attempt)
    }
}

/// The value that the template's annotation gets in this attempt of a step.
pub fn moved_by(run: &str, step: impl std::fmt::Display, attempt: u32) -> String {
    format!("{run}/{step}/{attempt}")
}

impl Rollout {
    /// The note of the rollout that a drain has begun; `None` if there is none, or it cannot be read.
    pub fn readable_note(&self) -> Option<&RolloutNote> {
        match self.note.as_deref() {
            Some(NoteState::Ours(note)) => Some(note),
            Some(NoteState::Unreadable) | None => None,
        }
    }

    /// True if the template still is as this note says that it was made.
    pub fn follows(&self, note: &RolloutNote) -> bool {
        self.moved.as_deref() == Some(note.value().as_str())
    }
}

/// A Deployment whose owner asked that it moves by a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolled<'a> {
    pub uid: &'a Id,
    pub workload: &'a Workload,
    pub rollout: &'a Rollout,
}

/// Why a Deployment cannot move by a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle<'a> {
    Paused,
    Recreates,
    NoSurge,
    /// So many of its pods may be missing during a rollout.
    Missing(u32),
    /// A volume claim that only one node may mount, or of which that is not known.
    Volume(&'a Id),
    NoteUnreadable,
}

impl<'a> Rolled<'a> {
    /// `deployment/shop/cart`.
    pub fn object(&self) -> String {
        format!("deployment/{}/{}", self.workload.namespace, self.workload.name)
    }

    /// Why a pod cannot be evicted, and why it does not move by a rollout either.
    pub fn explain(&self, reason: Reason, obstacle: Obstacle<'_>) -> Reason {
        let text =
            format!("{}; and {} cannot move by a rollout: {}", reason.text, self.object(), obstacle.told());
        Reason { text, ..reason }
    }

    /// Why it cannot move by a rollout, if one of its pods is this one; `None` if it can.
    pub fn obstacle(&self, live: &Live, pod: &'a Pod) -> Option<Obstacle<'a>> {
        if let Some(NoteState::Unreadable) = self.rollout.note.as_deref() {
            return Some(Obstacle::NoteUnreadable);
        }
        match self.rollout.strategy {
            Strategy::Paused => return Some(Obstacle::Paused),
            Strategy::Recreate => return Some(Obstacle::Recreates),
            Strategy::Rolling { surge: 0, .. } => return Some(Obstacle::NoSurge),
            Strategy::Rolling { unavailable: 0, .. } => {}
            Strategy::Rolling { unavailable, .. } => return Some(Obstacle::Missing(unavailable)),
        }
        // The claim of an ephemeral volume is named after its pod, and the next pod gets one of its own.
        let own = |claim: &Id| claim.strip_prefix(&*pod.name).is_some_and(|rest| rest.starts_with('-'));
        let shared = |claim: &Id| {
            live.claims.get(&(pod.namespace.clone(), claim.clone())).is_some_and(|known| known.shared)
        };
        pod.claims().iter().find(|claim| !own(claim) && !shared(claim)).map(Obstacle::Volume)
    }
}

impl Obstacle<'_> {
    pub fn told(self) -> String {
        match self {
            Self::Paused => "it is paused".to_owned(),
            Self::Recreates => "its strategy is Recreate, and has to be RollingUpdate".to_owned(),
            Self::NoSurge => "its maxSurge allows no further pod, and has to allow at least one".to_owned(),
            Self::Missing(unavailable) => {
                format!("its maxUnavailable lets {unavailable} of its pods go at once, and has to come to 0")
            }
            Self::Volume(claim) => {
                format!("its volume claim {claim} is not known to allow several nodes (ReadWriteMany)")
            }
            Self::NoteUnreadable => {
                format!(
                    "its annotation {MOVING} cannot be read; remove it if no rollout of Windlass is in progress"
                )
            }
        }
    }
}

impl Live {
    /// The Deployment of a pod, if its owner asked that it moves by a rollout: on the Deployment, or for all of a pool.
    pub fn rolled(&self, pod: &Pod, on_blocked: OnBlocked) -> Option<Rolled<'_>> {
        if self.surging.is_empty() && on_blocked != OnBlocked::Surge {
            return None;
        }
        let set = self.workloads.get(&pod.owner.as_ref()?.uid)?;
        let (uid, workload) = self.workloads.get_key_value(set.parent.as_ref()?)?;
        let rollout = workload.rollout.as_deref()?;
        let asked = rollout.surge.unwrap_or(on_blocked == OnBlocked::Surge);
        asked.then_some(Rolled { uid, workload, rollout })
    }
}
