//! Releases of Helm: what people ask of them, and what their records in the cluster show.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decision::Key;
use super::fact::OrLater;
use super::failure::CallFailure;
use super::manifest::{FoundObject, ManifestsMove, ObjectRef};
use super::via::NO_VERSION;

pub use super::chart::{
    AskedVersion, Chart, ChartFiles, LaterRendering, LaterVersion, ReleaseAsked, Rendering,
};

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
    /// By each version that the addon has: of the version, the release, where the chart comes from, the values, and of a folder's
    /// files.
    pub digests: BTreeMap<String, String>,
}

/// A release as its records show it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseRead {
    pub release: ReleaseRef,
    /// Oldest first.
    pub revisions: Vec<ReleaseRevision>,
    pub rendering: Option<Arc<Rendering>>,
    /// What each version changes that comes after the one that was compared.
    pub later: Arc<[LaterVersion]>,
    /// The objects that later versions add, and that are there already without being of the release.
    pub foreign: Vec<ObjectRef>,
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

impl ReleaseObjection {
    /// The same of a version that is not the next one.
    #[must_use]
    pub fn of_version(self, version: &str) -> Self {
        let of = |words: String| format!("of {version}: {words}");
        match self {
            Self::NoChart(words) => Self::NoChart(of(words)),
            Self::Refused(words) => Self::Refused(of(words)),
            Self::NoProgram(_) | Self::Unread(_) => self,
        }
    }
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

    /// True if it is deployed, or was before another one took its place.
    pub fn was_deployed(&self) -> bool {
        self.is_deployed() || self.status == "superseded"
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

    /// The version of the chart from which it moves on.
    pub fn installed(&self) -> &str {
        self.rendering.as_ref().map_or(NO_VERSION, |rendering| &rendering.installed)
    }

    /// The revision that was deployed before the newest one with this content: where a step goes back to.
    pub fn before(&self, digest: &str) -> Option<&ReleaseRevision> {
        let mut older = self.revisions.iter().rev().skip_while(|revision| !revision.has(digest));
        older.find(|revision| revision.was_deployed() && !revision.has(digest))
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
    /// True if a step before it in the same plan brings the version from which it starts. Then its objects are compared with those of
    /// that version and not with the cluster, and it goes back to what that step leaves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follows: bool,
    /// The digests of the contents that later steps of the same plan give it, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<String>,
    /// What the rendering changes.
    pub objects: ManifestsMove,
}

impl HelmMove {
    /// The content that it gives, and those that come after it.
    pub fn contents(&self) -> OrLater {
        OrLater { first: self.objects.digest.clone(), later: self.later.clone() }
    }

    /// True if it installs this version of the chart with these values, and no other.
    pub fn follows_from_chart(&self, asked: &AddonHelm, version: &str) -> bool {
        self.release == asked.release
            && asked.digests.get(version) == Some(&self.objects.digest)
            && self.objects.folder == asked.chart.to_string()
            && self.archive.is_some() == asked.chart.is_pulled()
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
    /// The version of the chart that an upgrade brings.
    pub version: String,
    pub act: HelmAct,
    /// The number of the newest revision; 0 if there is none.
    pub newest: u64,
    pub timeout_seconds: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Revisions as `status content`; a dash for one that Windlass did not make.
    fn read(revisions: &[&str]) -> ReleaseRead {
        let revision = |(index, words): (usize, &&str)| {
            let (status, content) = words.split_once(' ').unwrap();
            let mark = ReleaseMark {
                addon: "prod.web".to_owned(),
                content: content.to_owned(),
                attempt: "run.1".to_owned(),
                timeout_seconds: 60,
            };
            ReleaseRevision {
                number: index as u64 + 1,
                status: status.to_owned(),
                mark: (content != "-").then_some(mark),
                record: String::new(),
                found: FoundObject { uid: String::new(), resource_version: String::new() },
                chart: None,
                description: None,
            }
        };
        ReleaseRead {
            release: ReleaseRef { namespace: "shop".to_owned(), name: "web".to_owned() },
            revisions: revisions.iter().enumerate().map(revision).collect(),
            rendering: None,
            later: [].into(),
            foreign: Vec::new(),
            objection: None,
            has_namespace: true,
            pending_since: None,
        }
    }

    /// The second step of a run goes from the content `b` to `c`.
    #[test]
    fn a_step_goes_back_to_what_was_deployed_before_it() {
        for (revisions, before) in [
            (&["superseded a", "superseded b", "deployed c"][..], Some(2)),
            (&["superseded a", "deployed b", "failed c"], Some(2)),
            // It was interrupted, and what was taken back is as good.
            (&["superseded b", "pending-upgrade c", "superseded -", "deployed c"], Some(3)),
            // It is on its way back, and is there.
            (&["superseded a", "superseded b", "superseded c", "pending-rollback -"], Some(2)),
            (&["superseded a", "superseded b", "superseded c", "deployed -"], Some(2)),
            // A second attempt after the first one went back.
            (&["superseded b", "failed c", "superseded -", "deployed c"], Some(3)),
            (&["deployed c"], None),
            (&["failed a", "deployed c"], None),
            (&["deployed b"], None),
        ] {
            let before_step = read(revisions).before("sha256:c").map(|revision| revision.number);
            assert_eq!(before_step, before, "{revisions:?}");
        }
    }
}
