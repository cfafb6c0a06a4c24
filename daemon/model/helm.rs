//! Releases of Helm: what people ask of them, and what their records in the cluster show.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decision::Key;
use super::failure::CallFailure;
use super::manifest::{FoundObject, Manifest, ManifestsMove, ObjectRef};

/// A release, by the namespace of its records and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseRef {
    pub namespace: String,
    pub name: String,
}

/// `release/kube-system/cilium`.
impl fmt::Display for ReleaseRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "release/{}/{}", self.namespace, self.name)
    }
}

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

/// A chart and its values, for one release.
#[derive(Clone, Debug, PartialEq)]
pub struct AddonHelm {
    pub release: ReleaseRef,
    pub chart: Chart,
    /// The field managers whose fields are taken over.
    pub take_over: Arc<[String]>,
    /// The file below the cluster's folder that has the values.
    pub values: Option<String>,
    /// What the commit has of it.
    pub files: Arc<ChartFiles>,
    /// The value of the label that the records of the release bear.
    pub label: String,
    /// Of the version, the release, where the chart comes from, the values, and of a folder's files.
    pub digest: String,
}

/// The files of a release that lie in the repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChartFiles {
    /// The text of the file of values.
    pub values: Option<String>,
    /// Of a chart in a folder: every file by its path in that folder.
    pub chart: BTreeMap<String, String>,
}

/// The release that a look is about, and the chart and values that the file asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseAsked {
    pub release: ReleaseRef,
    pub chart: Chart,
    pub version: String,
    pub files: Arc<ChartFiles>,
    /// For which version of Kubernetes the chart is rendered: `1.36.3`.
    pub kubernetes: String,
    /// What an earlier look found, where nothing of it need be asked again.
    pub rendering: Option<Arc<Rendering>>,
}

/// The objects that a chart makes, and what they are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendering {
    /// The version of the program: `v3.22.0`.
    pub program: String,
    /// The records of the release at that time.
    pub revisions: Vec<ReleaseRevision>,
    /// For which version of Kubernetes it was rendered; `None` if the objects are those of the newest revision.
    pub kubernetes: Option<String>,
    /// The SHA-256 of the chart's archive; `None` if the chart is a folder of the repository.
    pub archive: Option<String>,
    pub objects: Arc<[Manifest]>,
    /// Those of them that helm makes with the first revision and never changes: what the chart has in `crds/`.
    pub first: BTreeSet<ObjectRef>,
    /// The objects of the last revision that was deployed, as helm rendered them.
    pub last: BTreeMap<ObjectRef, Value>,
    /// What two renderings of the same input do not have in common, by object: the second rendering.
    pub again: BTreeMap<ObjectRef, Value>,
    /// The version of the chart that was deployed last.
    pub deployed: Option<String>,
}

impl Rendering {
    /// True for helm 3: it overwrites fields of other managers. Helm 4 refuses that.
    pub fn overwrites(&self) -> bool {
        self.program.starts_with("v3.")
    }
}

/// A release as its records show it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseRead {
    pub release: ReleaseRef,
    /// Oldest first.
    pub revisions: Vec<ReleaseRevision>,
    pub rendering: Option<Arc<Rendering>>,
    /// Why nothing can be said of its objects, in the words of people or of helm.
    pub objection: Option<ReleaseObjection>,
    /// True if its namespace exists.
    pub has_namespace: bool,
    /// Since when the newest revision has been pending, by our clock.
    pub pending_since: Option<Timestamp>,
}

/// Why a release cannot be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseObjection {
    /// There is no program, or it is too old.
    NoProgram(String),
    /// The chart cannot be had: the repository does not answer, or has no such version.
    NoChart(String),
    /// Helm does not render the chart.
    Refused(String),
    Unread(CallFailure),
}

/// One revision of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRevision {
    pub number: u64,
    /// As helm writes it: `deployed`, `pending-upgrade`.
    pub status: String,
    /// What Windlass noted on it; `None` if somebody else made it.
    pub mark: Option<ReleaseMark>,
    /// The Secret that has it.
    pub record: String,
    pub found: FoundObject,
    /// The chart with its version, and helm's words about how it ended.
    pub chart: Option<String>,
    pub description: Option<String>,
}

/// What Windlass notes on a revision that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseMark {
    /// `<cluster>.<addon>`.
    pub addon: String,
    /// The beginning of the content's digest.
    pub content: String,
    /// The step's run and attempt.
    pub attempt: String,
    /// How long helm may wait for what it does.
    pub timeout_seconds: i64,
}

/// How many hexadecimal digits of a digest are noted: a label has room for 63 characters.
const NOTED_DIGITS: usize = 40;

/// The part of a digest that is noted on a revision.
pub fn noted(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..NOTED_DIGITS).unwrap_or(hex)
}

/// The run and the attempt of a step, as they are noted on a revision.
pub fn noted_attempt(run: &str, attempt: u32) -> String {
    format!("{}.{attempt}", super::label_value::hash(run))
}

impl ReleaseRevision {
    pub fn is_pending(&self) -> bool {
        self.status.starts_with("pending-")
    }

    pub fn is_deployed(&self) -> bool {
        self.status == "deployed"
    }

    /// True if helm was told to end before it was done. It notes that as a failure.
    pub fn was_cancelled(&self) -> bool {
        let cancelled = |words: &String| words.ends_with("context canceled");
        self.is_failed() && self.description.as_ref().is_some_and(cancelled)
    }

    pub fn is_failed(&self) -> bool {
        self.status == "failed"
    }

    /// `revision 7 (Rollback to 5)`.
    pub fn words(&self) -> String {
        match &self.description {
            Some(description) => format!("revision {} ({description})", self.number),
            None => format!("revision {}", self.number),
        }
    }
}

impl ReleaseRead {
    pub fn newest(&self) -> Option<&ReleaseRevision> {
        self.revisions.last()
    }

    /// The newest revision that was deployed, which is where one goes back to.
    pub fn deployed(&self) -> Option<&ReleaseRevision> {
        self.revisions.iter().rev().find(|revision| revision.is_deployed())
    }

    /// Why nothing can be said of its objects; `unread` is the key where it could not be read at present.
    pub fn told_objection(&self, unread: Key) -> Option<(Key, String)> {
        Some(match self.objection.as_ref()? {
            ReleaseObjection::NoProgram(words) => (Key::AddonHelmMissing, words.clone()),
            ReleaseObjection::NoChart(words) => {
                (Key::AddonChartMissing, format!("its chart cannot be had: {words}"))
            }
            ReleaseObjection::Refused(words) if words.contains("cannot be imported") => {
                (Key::AddonConflict, format!("helm does not take it over: {words}"))
            }
            ReleaseObjection::Refused(words) => {
                (Key::AddonRefused, format!("helm does not render its chart: {words}"))
            }
            ReleaseObjection::Unread(why) => {
                let key = if why.is_missing_right() { Key::RightMissing } else { unread };
                (key, format!("{} cannot be read: {}", self.release, why.words()))
            }
        })
    }

    /// True if the newest revision is pending, and helm was interrupted while it made it for the addon with this label.
    ///
    /// Helm gives the record of a rollback the labels of the revision that it goes back to, so that one is known by what it takes
    /// back.
    pub fn left_by(&self, label: &str) -> bool {
        let is_ours =
            |revision: &ReleaseRevision| revision.mark.as_ref().is_some_and(|mark| mark.addon == label);
        let Some(newest) = self.newest().filter(|newest| newest.is_pending()) else { return false };
        let mut before =
            self.revisions.iter().rev().skip_while(|revision| revision.status == "pending-rollback");
        let mut takes_back = || before.next().is_some_and(|before| is_ours(before) && !before.is_deployed());
        is_ours(newest) || newest.status == "pending-rollback" && takes_back()
    }

    /// True if the newest revision is deployed and has the content with this digest.
    pub fn has(&self, digest: &str) -> bool {
        self.newest().is_some_and(|newest| newest.is_deployed() && newest.has(digest))
    }
}

impl ReleaseRevision {
    /// True if Windlass made it with the content of this digest.
    pub fn has(&self, digest: &str) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.content == noted(digest))
    }
}

/// The move of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HelmMove {
    pub release: ReleaseRef,
    /// The SHA-256 of the chart's archive; `None` if the chart is a folder of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// The revision that was deployed before; `None` if the release is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What the rendering changes.
    pub objects: ManifestsMove,
}

impl HelmMove {
    /// True if it installs this chart with these values, and no other.
    pub fn follows_from_chart(&self, asked: &AddonHelm) -> bool {
        let from_repository = matches!(asked.chart, Chart::Repository { .. } | Chart::Oci(_));
        self.release == asked.release
            && self.objects.digest == asked.digest
            && self.objects.folder == asked.chart.to_string()
            && self.archive.is_some() == from_repository
    }
}

/// What helm is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum HelmAct {
    /// `helm upgrade --install`.
    Upgrade {
        /// The chart's archive has to have this digest.
        archive: Option<String>,
        /// `<cluster>.<addon>`, the content, and the attempt, as they are noted on the revision.
        mark: ReleaseMark,
        /// True if the namespace is to be made.
        creates_namespace: bool,
        /// True if fields are taken over from other managers, which helm does from its fourth major on only when it is told to.
        takes_over: bool,
    },
    /// `helm rollback` to this revision.
    Rollback { to: u64 },
    /// Deletes the record of the newest revision, where no revision is deployed. The objects of the release stay, and the next
    /// try takes them over.
    Forget { record: String, found: FoundObject },
}

/// Starts helm. The release's newest revision has to be the one that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct HelmCall {
    pub asked: Arc<ReleaseAsked>,
    pub act: HelmAct,
    /// The number of the newest revision; 0 if there is none.
    pub newest: u64,
    pub timeout_seconds: i64,
}
