//! Addons: what people ask of them, and what the cluster shows of the workloads that they run in.

use std::sync::Arc;

use jiff::SignedDuration;
use semver::VersionReq;
use serde::{Deserialize, Serialize};

use super::CommitId;
use super::fact::{Fact, OrLater};
use super::helm::{AddonHelm, HelmMove};
use super::image::is_digest;
use super::manifest::{AllManifests, Manifest, ManifestsMove};
use super::version::Version;

pub use super::addon_question::AddonSteps;
pub use super::addon_workload::{ContainerImage, WorkloadKind, WorkloadRead, WorkloadRef};
pub use super::via::{AddonVia, NO_VERSION, ahead, numbers};

/// Something that runs in the cluster and moves by the same commits, windows and runs as the cluster itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Addon {
    pub name: String,
    /// As written: a tag, or a digest with its algorithm.
    pub version: String,
    /// The versions through which it goes to `version`, in their order.
    pub via: Vec<AddonVia>,
    pub source: AddonSource,
    pub when: AddonWhen,
    /// Names of addons that move before this one.
    pub after: Vec<String>,
    /// The versions of Kubernetes with which this version works, as people wrote it: `>=1.33 <1.37`.
    pub requires: Option<String>,
    /// How long its pods may take until they run and are available. A Deployment's own `progressDeadlineSeconds` may end it
    /// sooner.
    pub timeout: SignedDuration,
    pub on_failure: OnFailure,
}

/// What an addon consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum AddonSource {
    Image(AddonImage),
    Manifests(AddonManifests),
    Helm(AddonHelm),
}

impl AddonSource {
    pub fn image(&self) -> Option<&AddonImage> {
        match self {
            Self::Image(image) => Some(image),
            Self::Manifests(_) | Self::Helm(_) => None,
        }
    }

    pub fn manifests(&self) -> Option<&AddonManifests> {
        match self {
            Self::Manifests(manifests) => Some(manifests),
            Self::Image(_) | Self::Helm(_) => None,
        }
    }

    pub fn helm(&self) -> Option<&AddonHelm> {
        match self {
            Self::Helm(helm) => Some(helm),
            Self::Image(_) | Self::Manifests(_) => None,
        }
    }

    /// True if one commit can have several versions of it: images and charts lie elsewhere under each version, and the files of a
    /// commit are there once.
    pub fn has_versions(&self) -> bool {
        match self {
            Self::Image(_) => true,
            Self::Manifests(_) => false,
            Self::Helm(of) => of.chart.is_pulled(),
        }
    }
}

/// Plain manifests in a folder below that of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct AddonManifests {
    /// `addons/coredns`.
    pub folder: String,
    /// The value of the label that the objects bear.
    pub label: String,
    /// The field managers whose fields are taken over.
    pub take_over: Arc<[String]>,
    /// In the order in which the folder has them.
    pub objects: Arc<[Manifest]>,
    /// What this addon and all others have.
    pub all: Arc<AllManifests>,
    /// Of all objects as they are applied.
    pub digest: String,
}

/// The image of one container of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddonImage {
    pub workload: WorkloadRef,
    pub container: String,
    /// The image without tag and digest; `None` for that of the image which runs.
    pub repository: Option<String>,
}

/// How an addon is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AddonKind {
    /// By the image of one container.
    Image,
    /// By plain manifests.
    Manifests,
    /// By a chart.
    Helm,
}

/// What becomes of an addon whose move fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// It stays as it is, and the run halts.
    #[default]
    Halt,
    /// It goes back to what it was before the move; then the run halts.
    Rollback,
}

impl OnFailure {
    /// True for what is so where people write nothing.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// When an addon moves in a run that also moves Kubernetes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AddonWhen {
    BeforeControlPlane,
    /// After the control plane and its kubelets, and before the workers.
    #[default]
    AfterControlPlane,
    AfterNodes,
}

impl AddonWhen {
    pub fn words(self) -> &'static str {
        match self {
            Self::BeforeControlPlane => "before the control plane",
            Self::AfterControlPlane => "after the control plane",
            Self::AfterNodes => "after the nodes",
        }
    }
}

/// The question what an earlier commit asks of an addon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EarlierQuestion {
    pub addon: String,
    pub commit: CommitId,
}

/// An addon as an earlier commit has it.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlierAddon {
    pub commit: CommitId,
    /// Why there is nothing to go back to, if that cannot change.
    pub found: Result<Arc<Addon>, String>,
}

/// The move of one addon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddonMove {
    pub name: String,
    /// The versions as people call them: a tag or a digest.
    pub from: String,
    pub to: String,
    /// How long its rollout may take.
    pub timeout_seconds: i64,
    /// What the API servers run when its turn comes.
    pub kubernetes: Version,
    #[serde(default, skip_serializing_if = "OnFailure::is_usual")]
    pub on_failure: OnFailure,
    pub change: AddonWork,
}

/// What the move of an addon changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AddonWork {
    Image(ImageMove),
    Manifests(ManifestsMove),
    Helm(Box<HelmMove>),
}

impl AddonWork {
    pub fn kind(&self) -> AddonKind {
        match self {
            Self::Image(_) => AddonKind::Image,
            Self::Manifests(_) => AddonKind::Manifests,
            Self::Helm(_) => AddonKind::Helm,
        }
    }
}

/// Another image for one container of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageMove {
    pub workload: WorkloadRef,
    pub container: String,
    /// The whole images.
    pub image_from: String,
    pub image: String,
    /// The images that later steps of the same plan give it, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<String>,
}

impl ImageMove {
    /// The image that it gives, and those that come after it.
    pub fn images(&self) -> OrLater {
        OrLater { first: self.image.clone(), later: self.later.clone() }
    }
}

impl AddonMove {
    /// The facts that hold once it has come to its end.
    pub fn achieves(&self) -> Vec<Fact> {
        let (of, contents) = match &self.change {
            AddonWork::Manifests(of) => (of, OrLater::alone(&of.digest)),
            AddonWork::Helm(of) => (&of.objects, of.contents()),
            AddonWork::Image(of) => {
                return vec![
                    Fact::HasImage(of.workload.clone(), of.container.clone(), of.images()),
                    Fact::RolledOut(of.workload.clone()),
                ];
            }
        };
        let removed = of.removed.iter().map(|object| Fact::Removed(self.name.clone(), object.clone()));
        [
            Fact::Applied(self.name.clone(), contents.clone()),
            Fact::AppliedAndReady(self.name.clone(), contents),
        ]
        .into_iter()
        .chain(removed)
        .collect()
    }

    pub fn kind(&self) -> AddonKind {
        self.change.kind()
    }

    pub fn image(&self) -> Option<&ImageMove> {
        match &self.change {
            AddonWork::Image(mv) => Some(mv),
            AddonWork::Manifests(_) | AddonWork::Helm(_) => None,
        }
    }

    pub fn manifests(&self) -> Option<&ManifestsMove> {
        match &self.change {
            AddonWork::Manifests(mv) => Some(mv),
            AddonWork::Image(_) | AddonWork::Helm(_) => None,
        }
    }

    pub fn helm(&self) -> Option<&HelmMove> {
        match &self.change {
            AddonWork::Helm(mv) => Some(mv),
            AddonWork::Image(_) | AddonWork::Manifests(_) => None,
        }
    }

    /// What it changes object by object, by whichever program.
    pub fn objects(&self) -> Option<&ManifestsMove> {
        match &self.change {
            AddonWork::Image(_) => None,
            AddonWork::Manifests(of) => Some(of),
            AddonWork::Helm(of) => Some(&of.objects),
        }
    }
}

impl AddonImage {
    /// The image that is asked for where `runs` is the image that runs.
    ///
    /// A version is a tag, or a digest: `sha256:…`.
    #[must_use]
    pub fn asked(&self, version: &str, runs: &str) -> String {
        let repository = self.repository.as_deref().unwrap_or_else(|| repository(runs));
        let joint = if is_digest(version) { '@' } else { ':' };
        format!("{repository}{joint}{version}")
    }
}

/// True if an image is the one asked for. A tag that is pinned by a digest is still that tag.
pub fn is_as(runs: &str, asked: &str) -> bool {
    runs == asked || (!asked.contains('@') && runs.split_once('@').is_some_and(|(tagged, _)| tagged == asked))
}

/// A range of versions; its parts are separated by spaces. `None` if it is none.
pub fn requirement(text: &str) -> Option<VersionReq> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let known = |part: &&str| part.starts_with(['>', '<', '=']);
    (!parts.is_empty() && parts.iter().all(known)).then(|| VersionReq::parse(&parts.join(", ")).ok())?
}

/// An image without its tag and digest.
pub fn repository(image: &str) -> &str {
    let tagged = image.split_once('@').map_or(image, |(tagged, _)| tagged);
    match tagged.rsplit_once(':') {
        // The colon of a registry's port comes before a slash.
        Some((path, tag)) if !tag.contains('/') => path,
        _ => tagged,
    }
}

/// The version of an image: its digest if it has no tag, else its tag; `latest` where it has neither, as the kubelet reads it.
pub fn image_version(image: &str) -> &str {
    let (tagged, digest) = match image.split_once('@') {
        Some((tagged, digest)) => (tagged, Some(digest)),
        None => (image, None),
    };
    match tagged.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        _ => digest.unwrap_or("latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_asked_for_keeps_the_repository_that_runs() {
        let workload = || WorkloadRef {
            kind: WorkloadKind::Deployment,
            namespace: "kube-system".into(),
            name: "coredns".into(),
        };
        let image = |repository: Option<&str>| AddonImage {
            workload: workload(),
            container: "coredns".into(),
            repository: repository.map(str::to_owned),
        };
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (repository, version, runs, asked) in [
            (
                None,
                "v1.12.1",
                "registry.k8s.io/coredns/coredns:v1.11.3",
                "registry.k8s.io/coredns/coredns:v1.12.1",
            ),
            (None, "2", "localhost:5000/a", "localhost:5000/a:2"),
            (None, "2", "localhost:5000/a:1@sha256:00", "localhost:5000/a:2"),
            (Some("mirror.example.com/coredns"), "2", "a:1", "mirror.example.com/coredns:2"),
        ] {
            assert_eq!(image(repository).asked(version, runs), asked);
        }
        assert_eq!(image(None).asked(&digest, "a:1"), format!("a@{digest}"));
    }

    #[test]
    fn the_version_of_an_image_is_what_people_call_it() {
        for (image, version) in [
            ("a:1.2", "1.2"),
            ("localhost:5000/a", "latest"),
            ("localhost:5000/a:1", "1"),
            ("a:1@sha256:00", "1"),
            ("a@sha256:00", "sha256:00"),
        ] {
            assert_eq!(image_version(image), version, "{image}");
        }
    }
}
