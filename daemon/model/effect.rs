//! Everything that can be done to a cluster, as data, and the keys by which effects are told apart: which object an
//! effect is about, and what holds of every effect on it.

use jiff::SignedDuration;
use serde_json::Value;

use super::asked::Probe;
use super::claim::Claim;
use super::names;
use super::uid::Uid;

/// What is done to a node, all in one merge patch that carries its `resourceVersion`.
#[derive(Clone, Debug, PartialEq)]
pub enum NodePatch {
    /// Writes the claim, and cordons where the claim says so.
    Claim(Claim),
    /// Writes the claim's new timers, nothing else.
    Note(Claim),
    /// Takes the claim away and leaves the node as the claim says it was found.
    Release(Claim),
    /// Takes a claim away that cannot be read; nothing else is known, so nothing else is touched.
    Forget,
}

/// What is done to the lease that says who should act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseMove {
    Create {
        holder: String,
        transitions: u64,
    },
    /// Takes it over or renews it; refused when it has changed since `resource_version`.
    Hold {
        holder: String,
        transitions: u64,
        resource_version: String,
    },
    Release {
        holder: String,
        transitions: u64,
        resource_version: String,
    },
}

/// Everything that can be done to a cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Node {
        name: String,
        resource_version: String,
        patch: NodePatch,
    },
    Evict {
        namespace: String,
        pod: String,
        uid: String,
    },
    CreateNamespace(Value),
    CreateJob {
        name: String,
        manifest: Value,
    },
    DeleteJob {
        name: String,
        uid: String,
    },
    Lease {
        name: String,
        lease: LeaseMove,
        length: SignedDuration,
    },
    /// Shows the status, which tells of every entry before `of`.
    Publish {
        text: String,
        of: u64,
    },
    ForgetResume {
        uid: String,
    },
    /// Begins work that goes on for longer than any call.
    BeginLong {
        name: String,
    },
}

impl Effect {
    /// Two effects of one key are never under way at the same time.
    pub fn key(&self) -> EffectKey {
        match self {
            Self::Node { name, .. } => EffectKey::Node(name.clone()),
            Self::Evict { uid, .. } => EffectKey::Eviction(uid.as_str().into()),
            Self::CreateNamespace(_) => EffectKey::Namespace,
            Self::CreateJob { name, .. } | Self::DeleteJob { name, .. } => EffectKey::Job(name.clone()),
            Self::Lease { .. } => EffectKey::Lease,
            Self::Publish { .. } => EffectKey::StatusMap,
            Self::ForgetResume { .. } => EffectKey::ResumeNote,
            Self::BeginLong { name } => EffectKey::Long(name.clone()),
        }
    }

    /// The object that it changes, as people call it.
    pub fn object(&self) -> String {
        match self {
            Self::Evict { namespace, pod, .. } => format!("pod/{namespace}/{pod}"),
            Self::Node { .. }
            | Self::CreateNamespace(_)
            | Self::CreateJob { .. }
            | Self::DeleteJob { .. }
            | Self::Lease { .. }
            | Self::Publish { .. }
            | Self::ForgetResume { .. }
            | Self::BeginLong { .. } => self.key().object(),
        }
    }

    /// Whether only the holder of the lease may do it.
    pub fn needs_lease(&self) -> bool {
        self.key().rules().needs_lease
    }
}

/// What an effect, or a question to the world, is about. Two of one key are never under way at the same time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EffectKey {
    /// The eviction of one pod, by its UID: another pod of its name may be there a moment later.
    Eviction(Uid),
    /// The node of this name.
    Node(String),
    /// The namespace of our Jobs and of the lease.
    Namespace,
    /// Our Job of this name.
    Job(String),
    /// The lease that says who should act.
    Lease,
    /// The `ConfigMap` that shows the status.
    StatusMap,
    /// The `ConfigMap` by which a person ended a halt.
    ResumeNote,
    /// Work that goes on for longer than any call, by its name.
    Long(String),
    /// A question.
    Probe(Probe),
}

/// What holds of every effect of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Only the holder of the lease may do it.
    pub needs_lease: bool,
    /// Only a watch shows what came of it. Until one does, or for this long at most, the same is not done again:
    /// the picture still is as it was before, and would ask for it at once.
    pub shown_within: Option<SignedDuration>,
}

/// A watch shows what was made or taken away within this; after it, asking once more does no harm.
const SHOWN: SignedDuration = SignedDuration::from_secs(10);

impl EffectKey {
    pub fn rules(&self) -> Rules {
        match self {
            // The answer brings the object as it is now. An evicted pod counts as leaving from the answer on until
            // a watch shows that it is gone, and long work as running until a look shows its end.
            Self::Node(_) | Self::StatusMap | Self::Eviction(_) | Self::Long(_) => {
                Rules { needs_lease: true, shown_within: None }
            }
            Self::Job(_) | Self::ResumeNote => Rules { needs_lease: true, shown_within: Some(SHOWN) },
            // The lease comes back with the answer, and its namespace is made before it can be held.
            Self::Lease | Self::Namespace | Self::Probe(_) => {
                Rules { needs_lease: false, shown_within: None }
            }
        }
    }

    /// The pod that it evicts.
    pub fn evicted(&self) -> Option<&Uid> {
        if let Self::Eviction(uid) = self { Some(uid) } else { None }
    }

    /// The object, as people call it. An eviction knows its pod only by UID; whoever has the name shows that.
    pub fn object(&self) -> String {
        match self {
            Self::Eviction(uid) => format!("pod/{uid}"),
            Self::Node(name) | Self::Probe(Probe::Heartbeat(name)) => format!("node/{name}"),
            Self::Namespace => format!("namespace/{}", names::NAMESPACE),
            Self::Job(name) => format!("job/{name}"),
            Self::Lease | Self::Probe(Probe::Lock) => format!("lease/{}", names::LEASE),
            Self::StatusMap | Self::Probe(Probe::Published) => format!("configmap/{}", names::STATUS),
            Self::ResumeNote => format!("configmap/{}", names::RESUME),
            Self::Long(name) | Self::Probe(Probe::Long(name)) => format!("work/{name}"),
            Self::Probe(Probe::ClusterUid) => format!("namespace/{}", names::NOTES),
            Self::Probe(Probe::Api) => "api".to_owned(),
        }
    }
}

/// How far work has come that goes on for longer than any call, as the world shows it. What nobody could tell is
/// not in here: it is unknown, and never taken for one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LongState {
    NotBegun,
    Running,
    Done,
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_are_shown_of_an_effect_is_the_object_that_it_is_about() {
        let uid = "6fa459ea-ee8a-4ca4-894e-db77e160355e";
        let node = || "w1".to_owned();
        for (key, object, needs_lease, waits_for_a_watch) in [
            (EffectKey::Eviction(uid.into()), "pod/6fa459ea-ee8a-4ca4-894e-db77e160355e", true, false),
            (EffectKey::Node(node()), "node/w1", true, false),
            (EffectKey::Namespace, "namespace/windlass-system", false, false),
            (EffectKey::Job("w1-kubelet".to_owned()), "job/w1-kubelet", true, true),
            (EffectKey::Lease, "lease/windlass", false, false),
            (EffectKey::StatusMap, "configmap/upgrade-status", true, false),
            (EffectKey::ResumeNote, "configmap/windlass-resume", true, true),
            (EffectKey::Long("snapshot-1".to_owned()), "work/snapshot-1", true, false),
            (EffectKey::Probe(Probe::Heartbeat(node())), "node/w1", false, false),
            (EffectKey::Probe(Probe::Lock), "lease/windlass", false, false),
        ] {
            assert_eq!(key.object(), object);
            let rules = key.rules();
            assert_eq!(
                (rules.needs_lease, rules.shown_within.is_some()),
                (needs_lease, waits_for_a_watch),
                "{key:?}"
            );
        }
    }
}
