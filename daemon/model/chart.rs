//! Charts: where they come from, which versions of them are asked for, and what helm renders of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::helm::{ReleaseRef, ReleaseRevision};
use super::manifest::{Manifest, ManifestsMove, ObjectRef};
use super::via::ahead;

/// Where a chart comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Chart {
    /// A chart repository by its address, and the name of the chart there.
    Repository { url: String, name: String },
    /// The whole reference in a registry: `oci://registry.example.com/charts/web`.
    Oci(String),
    /// A folder below the cluster's.
    Folder(String),
}

/// `cilium of https://helm.cilium.io`, `oci://registry.example.com/charts/web`, `addons/web/chart`.
impl fmt::Display for Chart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { url, name } => write!(out, "{name} of {url}"),
            Self::Oci(reference) => out.write_str(reference),
            Self::Folder(folder) => out.write_str(folder),
        }
    }
}

impl Chart {
    /// True if helm pulls its archive; else it is a folder of the repository, which has one version at a time.
    pub fn is_pulled(&self) -> bool {
        matches!(self, Self::Repository { .. } | Self::Oci(_))
    }
}

/// The files of a release that lie in the repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChartFiles {
    /// The text of the file of values.
    pub values: Option<String>,
    /// Of a chart in a folder: every file by its path in that folder.
    pub chart: BTreeMap<String, String>,
}

/// A version of a chart that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedVersion {
    pub version: String,
    /// Of all that is asked for with this version.
    pub digest: String,
    /// For which version of Kubernetes the chart is rendered: `1.36.3`.
    pub kubernetes: String,
    /// Those for which it is rendered if it does not support that one. None once a plan says which one it meets.
    pub others: Vec<String>,
    /// Of a version that was rendered for one of the others: for which it was not, and in which words helm said so.
    pub refused: Option<(String, String)>,
}

impl AskedVersion {
    /// True if this is what was rendered.
    fn is_rendered_as(&self, known: &Self) -> bool {
        let kubernetes = self.kubernetes == known.kubernetes || self.others.contains(&known.kubernetes);
        self.version == known.version && self.digest == known.digest && kubernetes
    }

    /// The same, for the one version of Kubernetes for which it was rendered, and why it was not for the one that is asked for.
    #[must_use]
    pub fn rendered_for(&self, kubernetes: &str, refused: Option<String>) -> Self {
        Self {
            kubernetes: kubernetes.to_owned(),
            others: Vec::new(),
            refused: refused.map(|words| (self.kubernetes.clone(), words)),
            ..self.clone()
        }
    }
}

/// The release that a look is about, and the charts and values that the file asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseAsked {
    pub release: ReleaseRef,
    pub chart: Chart,
    /// In the order in which the addon goes through them. Those that are not ahead of the installed one are not looked at; of the
    /// others the first is compared with the cluster.
    pub versions: Vec<AskedVersion>,
    pub files: Arc<ChartFiles>,
    /// What an earlier look found, where nothing of it need be asked again.
    pub rendering: Option<Arc<Rendering>>,
}

impl ReleaseAsked {
    /// The versions that are ahead of the installed one. A version that is asked for alone always is.
    pub fn ahead_of(&self, installed: &str) -> Vec<&AskedVersion> {
        ahead(&self.versions.iter().collect::<Vec<_>>(), |asked| &asked.version, installed)
    }
}

/// The objects that a chart makes, and what they are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendering {
    /// The version of the program: `v3.22.0`.
    pub program: String,
    /// The records of the release at that time.
    pub revisions: Vec<ReleaseRevision>,
    /// What was rendered.
    pub asked: AskedVersion,
    /// True if the newest revision is as asked; the objects are then those of that revision.
    pub as_asked: bool,
    /// The SHA-256 of the chart's archive; `None` if the chart is a folder of the repository.
    pub archive: Option<String>,
    pub objects: Arc<[Manifest]>,
    /// Those of them that helm makes with the first revision and never changes: what the chart has in `crds/`.
    pub first: BTreeSet<ObjectRef>,
    /// The objects of the last revision that was deployed, as helm rendered them.
    pub last: BTreeMap<ObjectRef, Value>,
    /// What two renderings of the same input do not have in common, by object: the second rendering.
    pub again: BTreeMap<ObjectRef, Value>,
    /// The version of the chart that was deployed last: `unknown` if helm does not tell it, `none` if none was.
    pub installed: String,
    /// The versions that come after the one that was rendered.
    pub later: Vec<LaterRendering>,
}

impl Rendering {
    /// Every version that was rendered, in the order of the steps.
    pub fn asked_versions(&self) -> impl Iterator<Item = &AskedVersion> {
        [&self.asked].into_iter().chain(self.later.iter().map(|later| &later.asked))
    }

    /// True if a look at these versions would find the same, while the release has the same revisions.
    pub fn answers(&self, asked: &ReleaseAsked) -> bool {
        let ahead = asked.ahead_of(&self.installed);
        let Some((first, later)) = ahead.split_first() else { return false };
        // What is deployed was rendered for the Kubernetes of its time.
        let same =
            if self.as_asked { first.digest == self.asked.digest } else { first.is_rendered_as(&self.asked) };
        same && later.len() <= self.later.len()
            && later.iter().zip(&self.later).all(|(asked, known)| asked.is_rendered_as(&known.asked))
    }

    /// True for helm 3: it overwrites fields of other managers. Helm 4 refuses that.
    pub fn overwrites(&self) -> bool {
        self.program.starts_with("v3.")
    }
}

/// A version that comes after the one that was compared with the cluster. The step before it changes what the API server would say of
/// it, so it is only rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct LaterRendering {
    pub asked: AskedVersion,
    pub archive: Option<String>,
    pub objects: Arc<[Manifest]>,
    pub first: BTreeSet<ObjectRef>,
    pub again: BTreeMap<ObjectRef, Value>,
}

/// What a later version changes of the objects of the version before it.
#[derive(Clone, Debug, PartialEq)]
pub struct LaterVersion {
    pub change: ManifestsMove,
    /// What the chart has in `crds/`, and the version before it has not, or not so: helm leaves that as it is.
    pub left: Vec<ObjectRef>,
}
