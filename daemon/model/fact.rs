//! The facts that decide where a step stands.

use serde::{Deserialize, Serialize};

use super::addon::WorkloadRef;
use super::manifest::ObjectRef;
use super::version::Version;
use super::work::{Component, NodeRef};

/// One statement about a cluster. Planner, checker and executor all use it, so "upgraded" means the same to all of
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fact {
    /// This component of this node runs at least this version; an operator may have moved it further.
    RunsAtLeast(Component, String, Version),
    /// Every API server runs at least this version.
    ControlPlaneAtLeast(Version),
    /// The node is Ready.
    Ready(String),
    /// This container of this workload has this image, or one that a later step of the same plan gives it.
    HasImage(WorkloadRef, String, OrLater),
    /// The image of this container of this workload has at least this version.
    HasVersion(WorkloadRef, String, String),
    /// Every pod that the workload wants is of its present template and available, and there are no others.
    RolledOut(WorkloadRef),
    /// All objects of this addon are applied as the content with this digest asks, or one that a later step of the same plan gives
    /// it.
    Applied(String, OrLater),
    /// The same, and every pod that their workloads want is of the present template and available.
    AppliedAndReady(String, OrLater),
    /// This object, which the addon does not have any more, is not there.
    Removed(String, ObjectRef),
    /// A node with this name and UID exists.
    Exists(NodeRef),
}

/// An image or the digest of a content, and those that come after it in the same plan. In files it is a text, or a list if others
/// come after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenOrLater", into = "WrittenOrLater")]
pub struct OrLater {
    pub first: String,
    pub later: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenOrLater {
    One(String),
    Several(Vec<String>),
}

impl From<WrittenOrLater> for OrLater {
    fn from(written: WrittenOrLater) -> Self {
        match written {
            WrittenOrLater::One(first) => Self { first, later: Vec::new() },
            WrittenOrLater::Several(all) => {
                let mut all = all.into_iter();
                Self { first: all.next().unwrap_or_default(), later: all.collect() }
            }
        }
    }
}

impl From<OrLater> for WrittenOrLater {
    fn from(all: OrLater) -> Self {
        if all.later.is_empty() {
            return Self::One(all.first);
        }
        Self::Several([all.first].into_iter().chain(all.later).collect())
    }
}

impl OrLater {
    /// One that nothing comes after.
    #[must_use]
    pub fn alone(first: &str) -> Self {
        Self { first: first.to_owned(), later: Vec::new() }
    }

    #[must_use]
    pub fn contains(&self, one: &str) -> bool {
        self.all().any(|known| known == one)
    }

    pub fn all(&self) -> impl Iterator<Item = &str> {
        [&self.first].into_iter().chain(&self.later).map(String::as_str)
    }
}

/// What is known of a fact. Unknown does not count as healthy: no step begins or ends while a fact that it needs is
/// unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    Holds,
    Fails,
    Unknown,
}

impl Truth {
    /// `Unknown` for a fact that was not seen.
    pub fn of(seen: Option<bool>) -> Self {
        match seen {
            Some(true) => Self::Holds,
            Some(false) => Self::Fails,
            None => Self::Unknown,
        }
    }
}

impl Fact {
    /// True if the fact is about a version, not about health or existence.
    pub fn is_version(&self) -> bool {
        match self {
            Self::RunsAtLeast(..)
            | Self::ControlPlaneAtLeast(_)
            | Self::HasImage(..)
            | Self::HasVersion(..)
            | Self::Applied(..)
            | Self::Removed(..) => true,
            Self::Ready(_) | Self::RolledOut(_) | Self::AppliedAndReady(..) | Self::Exists(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_alone_is_written_as_before_there_were_lists() {
        let fact = |later: &[&str]| {
            let later = later.iter().map(ToString::to_string).collect();
            let of = r#"{"kind":"deployment","namespace":"a","name":"b"}"#;
            Fact::HasImage(
                serde_json::from_str(of).unwrap(),
                "c".into(),
                OrLater { first: "i:1".into(), later },
            )
        };
        for (later, written) in [(vec![], r#""i:1""#), (vec!["i:2", "i:3"], r#"["i:1","i:2","i:3"]"#)] {
            let text = serde_json::to_string(&fact(&later)).unwrap();
            assert!(text.ends_with(&format!(r#""c",{written}]}}"#)), "{text}");
            assert_eq!(serde_json::from_str::<Fact>(&text).unwrap(), fact(&later));
            let yaml = serde_saphyr::to_string(&fact(&later)).unwrap();
            assert_eq!(serde_saphyr::from_str::<Fact>(&yaml).unwrap(), fact(&later), "{yaml}");
        }
    }
}
