//! Converts volume attachments and volume claims into the few fields that the stages read.

use k8s_openapi::api::core::v1;
use k8s_openapi::api::storage::v1::VolumeAttachment;

use super::shared::Shared;
use crate::model::live::{Attachment, Id, VolumeClaim};

pub(super) fn attachment(object: &VolumeAttachment, shared: &mut Shared) -> Option<(Id, Attachment)> {
    let volume = object.spec.source.persistent_volume_name.as_deref().map(|name| shared.id(name));
    let attachment = Attachment { node: shared.id(&object.spec.node_name), volume };
    Some((shared.id(object.metadata.name.as_deref()?), attachment))
}

/// A claim with its namespace and name; `None` while it is not bound.
pub(super) fn volume_claim(
    object: &v1::PersistentVolumeClaim,
    shared: &mut Shared,
) -> Option<((Id, Id), VolumeClaim)> {
    let (meta, spec) = (&object.metadata, object.spec.as_ref()?);
    let volume = spec.volume_name.as_deref().filter(|name| !name.is_empty())?;
    let claim = (shared.id(meta.namespace.as_deref()?), shared.id(meta.name.as_deref()?));
    let one_node = |mode: &String| matches!(mode.as_str(), "ReadWriteOnce" | "ReadWriteOncePod");
    let several = spec.access_modes.as_ref().is_some_and(|modes| !modes.iter().any(one_node));
    Some((claim, VolumeClaim { volume: shared.id(volume), shared: several }))
}
