//! Converts the workload of an addon. What counts as rolled out is as `kubectl rollout status` has it
//! (`pkg/polymorphichelpers/rollout_status.go` of kubectl), and every pod has to be available besides.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

use super::WorkloadObject;
use super::fold::Folder;
use super::rollout;
use crate::model::addon::{ContainerImage, WorkloadRead, WorkloadRef};
use crate::model::live::{CallFailure, Progress};

impl Folder {
    pub(super) fn put_addon_workload(
        &mut self,
        of: &WorkloadRef,
        object: Option<&WorkloadObject>,
        now: Timestamp,
    ) {
        let known = self.live.addon_workloads.get(of);
        let before = known.and_then(Option::as_ref);
        let read = object.map(|object| workload_read(object, before, now));
        let asked_of = |read: Option<&WorkloadRead>| {
            read.map(|read| (read.uid.clone(), read.images.clone(), read.stays, read.progress.clone()))
        };
        if known.is_none() || asked_of(read.as_ref()) != asked_of(before) {
            self.live.nodes_generation += 1;
        }
        self.live.addon_workloads.insert(of.clone(), read);
        self.live.addons_unread.remove(of);
    }

    /// Takes in the answer to a probe, unless it was on its way while the answer to a write came.
    pub(super) fn read_addon_workload(
        &mut self,
        of: &WorkloadRef,
        object: Option<&WorkloadObject>,
        asked: Timestamp,
        now: Timestamp,
    ) {
        if self.addons_written.get(of).is_none_or(|written| *written <= asked) {
            self.put_addon_workload(of, object, now);
        }
    }

    /// What was read before stays for plans; a step in progress judges nothing by it.
    pub(super) fn addon_unread(&mut self, of: &WorkloadRef, why: CallFailure) {
        if let Some(Some(read)) = self.live.addon_workloads.get_mut(of) {
            read.complete_since = None;
        }
        let before = self.live.addons_unread.insert(of.clone(), why.clone());
        if before != Some(why) && !self.live.addon_workloads.contains_key(of) {
            self.live.nodes_generation += 1;
        }
    }
}

pub(super) fn workload_read(
    object: &WorkloadObject,
    before: Option<&WorkloadRead>,
    now: Timestamp,
) -> WorkloadRead {
    let (meta, pod, progress) = match object {
        WorkloadObject::Deployment(object) => {
            (&object.metadata, object.spec.template.spec.as_ref(), rollout::progress(object))
        }
        WorkloadObject::DaemonSet(object) => {
            (&object.metadata, object.spec.template.spec.as_ref(), of_daemon_set(object))
        }
        WorkloadObject::StatefulSet(object) => {
            (&object.metadata, object.spec.template.spec.as_ref(), of_stateful_set(object))
        }
    };
    let (images, counts) = (images(meta, pod), counts(object));
    let same = before.filter(|before| before.images == images);
    let generation = meta.generation.unwrap_or_default();
    let rollout = same.filter(|before| before.generation == generation);
    let furthest = rollout.map_or(counts, |before| further(before.furthest, counts));
    WorkloadRead {
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        generation,
        complete_since: (progress == Progress::Complete).then(|| match before {
            Some(_) => same.and_then(|before| before.complete_since).unwrap_or(now),
            // A daemon that is started again and again would never see it complete for long.
            None => status_changed(meta).map_or(now, |at| at.min(now)),
        }),
        progressed: rollout
            .filter(|before| before.furthest == furthest)
            .map_or(now, |before| before.progressed),
        progress,
        counts,
        furthest,
        stays: stays(object),
        images,
    }
}

/// The counts of a rollout when it had come furthest. Where another number of pods is wanted, it begins anew.
fn further(before: [i32; 3], now: [i32; 3]) -> [i32; 3] {
    if before.first() == now.first() { before.max(now) } else { now }
}

fn counts(object: &WorkloadObject) -> [i32; 3] {
    let [wanted, updated, available] = match object {
        WorkloadObject::Deployment(object) => {
            let status = object.status.as_ref();
            let counts = status.map(|status| [status.updated_replicas, status.available_replicas]);
            let [updated, available] = counts.unwrap_or_default();
            [object.spec.replicas.or(Some(1)), updated, available]
        }
        WorkloadObject::DaemonSet(object) => {
            let Some(status) = &object.status else { return [0; 3] };
            [Some(status.desired_number_scheduled), status.updated_number_scheduled, status.number_available]
        }
        WorkloadObject::StatefulSet(object) => {
            let status = object.status.as_ref();
            let counts = status.map(|status| [status.updated_replicas, status.available_replicas]);
            let [updated, available] = counts.unwrap_or_default();
            [object.spec.replicas.or(Some(1)), updated, available]
        }
    };
    [wanted, updated, available].map(|count| count.unwrap_or(0))
}

/// Why nothing would replace the pods of a workload.
fn stays(object: &WorkloadObject) -> Option<&'static str> {
    match object {
        WorkloadObject::Deployment(object) => (object.spec.paused == Some(true)).then_some("it is paused"),
        WorkloadObject::DaemonSet(object) => {
            let kind = object.spec.update_strategy.as_ref().and_then(|of| of.type_.as_deref());
            (kind == Some(ON_DELETE)).then_some("its updateStrategy is OnDelete")
        }
        WorkloadObject::StatefulSet(object) => {
            let strategy = object.spec.update_strategy.as_ref();
            let kind = strategy.and_then(|of| of.type_.as_deref());
            let partition = strategy.and_then(|of| of.rolling_update.as_ref()).and_then(|of| of.partition);
            if kind == Some(ON_DELETE) {
                Some("its updateStrategy is OnDelete")
            } else {
                partition
                    .is_some_and(|partition| partition > 0)
                    .then_some("its updateStrategy has a partition")
            }
        }
    }
}

/// When a controller last changed the status of a workload, by the API server's clock; `None` if it does not say.
fn status_changed(meta: &ObjectMeta) -> Option<Timestamp> {
    let of_status = |entry: &&ManagedFieldsEntry| entry.subresource.as_deref() == Some("status");
    let entries = meta.managed_fields.iter().flatten().filter(of_status);
    entries.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}

const ON_DELETE: &str = "OnDelete";

fn images(meta: &ObjectMeta, pod: Option<&PodSpec>) -> BTreeMap<String, ContainerImage> {
    let Some(pod) = pod else { return BTreeMap::new() };
    let of = |container: &Container, init: bool| {
        let image = ContainerImage {
            image: container.image.clone().unwrap_or_default(),
            init,
            manager: image_manager(meta, &container.name, init),
        };
        (container.name.clone(), image)
    };
    let init = pod.init_containers.iter().flatten().map(|container| of(container, true));
    init.chain(pod.containers.iter().map(|container| of(container, false))).collect()
}

/// Who wrote the image of a container last.
fn image_manager(meta: &ObjectMeta, container: &str, init: bool) -> Option<String> {
    let list = if init { "f:initContainers" } else { "f:containers" };
    let key = format!("k:{{\"name\":{}}}", Value::from(container));
    let writes = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        let path = ["f:spec", "f:template", "f:spec", list, &key, "f:image"];
        fields.is_some_and(|fields| path.iter().try_fold(fields, |at, step| at.get(step)).is_some())
    };
    let entries = meta.managed_fields.iter().flatten().filter(writes);
    let newest = entries.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    Some(format!("{} by {}", newest.manager.as_deref()?, newest.operation.as_deref().unwrap_or("Update")))
}

fn of_daemon_set(object: &DaemonSet) -> Progress {
    let Some(status) = &object.status else { return Progress::Going };
    let wanted = status.desired_number_scheduled;
    let seen = status.observed_generation.unwrap_or(0) >= object.metadata.generation.unwrap_or(0);
    let updated = status.updated_number_scheduled.unwrap_or(0);
    if seen && updated == wanted && status.number_available.unwrap_or(0) == wanted {
        Progress::Complete
    } else {
        Progress::Going
    }
}

fn of_stateful_set(object: &StatefulSet) -> Progress {
    let Some(status) = &object.status else { return Progress::Going };
    let wanted = object.spec.replicas.unwrap_or(1);
    let seen = status.observed_generation.unwrap_or(0) >= object.metadata.generation.unwrap_or(0);
    let whole = status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas == wanted
        && status.available_replicas.unwrap_or(0) == wanted;
    if seen && whole { Progress::Complete } else { Progress::Going }
}
