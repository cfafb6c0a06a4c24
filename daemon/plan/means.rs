//! Risks of what the file itself asks for: the image of the upgrade Jobs, and versions that may not exist. The cluster
//! plays no part in them.

use super::patches::is_listed;
use crate::model::decision::{Key, Reason};
use crate::model::desired::Cluster;
use crate::model::image::{is_pinned, is_placeholder};
use crate::model::plan::{Hop, Stage};
use crate::model::version::{Maturity, Version};
use crate::provider;

/// The risks of carrying out these stages.
pub(super) fn risks(cluster: &Cluster, hops: &[Hop], stages: &[Stage]) -> Vec<Reason> {
    let object = format!("cluster/{}", cluster.name);
    let jobs = stages.iter().flat_map(|stage| &stage.steps).any(provider::runs_a_job);
    let image = jobs.then(|| image_risk(&object, cluster.control_plane.kubeadm.image.as_deref())).flatten();
    let versions = hops.iter().map(|hop| &hop.to).filter(|_| jobs);
    image.into_iter().chain(versions.filter_map(|version| version_risk(&object, version))).collect()
}

fn image_risk(object: &str, image: Option<&str>) -> Option<Reason> {
    match image {
        None => Some(Reason::new(Key::NoImage, object, provider::NO_IMAGE)),
        Some(image) if is_placeholder(image) => {
            Some(Reason::new(Key::NoImage, object, provider::PLACEHOLDER_IMAGE))
        }
        Some(image) if !is_pinned(image) => {
            let text = format!(
                "the image {image} has no digest: whoever can push this tag decides what runs as root on every node; \
                 add @sha256:…"
            );
            Some(Reason::new(Key::ImageNotPinned, object, text))
        }
        Some(_) => None,
    }
}

/// A typing mistake in a version would drain a node before its packages are found missing.
fn version_risk(object: &str, version: &Version) -> Option<Reason> {
    let text = if version.maturity != Maturity::Release {
        format!("{version} is a pre-release; Kubernetes supports no upgrade from it")
    } else if is_listed(version) {
        return None;
    } else {
        format!(
            "this release of Windlass does not know {version}; check that it exists before a node is drained"
        )
    };
    Some(Reason::new(Key::VersionNotKnown, object, text))
}
