//! Converts one Kubernetes object into the few fields that the stages read.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job as KubeJob;
use k8s_openapi::api::core::v1::{self, Pod as KubePod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{quantity, shared::Shared};
use crate::model::claim::Claim;
use crate::model::live::{
    ClaimState, Ending, Id, Job, JobState, Labels, Node, NodeTaint, Note, Owner, OwnerKind, Phase, Pod,
    Ready, Restart, Seconds, Seldom, Server, Uid,
};
use crate::model::names::{self, CLAIM, HOLD, SCALE_DOWN_DISABLED};
use crate::model::servers;
use crate::model::text::{flat, one_line, shorten};
use crate::model::version::Version;

/// The annotation of a mirror pod, which the kubelet runs from a file. It cannot be evicted.
const MIRROR: &str = "kubernetes.io/config.mirror";
const ZONE: &str = "topology.kubernetes.io/zone";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// The grace period in seconds of a pod that does not set one (the API server's default).
const DEFAULT_GRACE: i64 = 30;
/// The longest reason of a hold, and the longest text of a note, in characters.
const MOST_HOLD: usize = 200;
const MOST_NOTE: usize = 500;
/// The longest words of a Job that are kept, in characters: enough for the last lines of a log.
const MOST_SAID: usize = 300;

/// Resource versions are ordered numbers within one kind.
pub(super) fn revision(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

pub(super) fn node(object: &v1::Node, shared: &mut Shared, now: Timestamp) -> Option<Node> {
    let meta = &object.metadata;
    let labels = shared.unshared_labels(meta.labels.as_ref());
    let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    let status = object.status.as_ref();
    let spec = object.spec.as_ref();
    let condition = |kind: &str| {
        status
            .and_then(|s| s.conditions.as_ref())
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == kind)
    };
    let ready = condition("Ready");
    let taints = || spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    let version =
        status.and_then(|status| status.node_info.as_ref()).map(|info| info.kubelet_version.as_str());
    let virtual_kubelet = is_virtual(&labels, version.unwrap_or_default(), taints().map(|taint| &taint.key));
    Some(Node {
        name: shared.id(meta.name.as_deref()?),
        uid: shared.id(meta.uid.as_deref()?),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        zone: labels.get(ZONE).cloned().unwrap_or_else(|| shared.id("")),
        control_plane: labels.contains_key(CONTROL_PLANE),
        labels,
        kubelet: version.filter(|_| !virtual_kubelet).and_then(|version| version.parse().ok()),
        kubelet_since: now,
        ready: match ready.map(|condition| condition.status.as_str()) {
            Some("True") => Ready::True,
            Some("False") => Ready::False,
            _ => Ready::Unknown,
        },
        ready_since: ready.and_then(|c| c.last_transition_time.as_ref()).map_or(now, |time| time.0.min(now)),
        unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
        unschedulable_since: now,
        claim: annotation(CLAIM).map(|text| claim(text, meta.uid.as_deref().unwrap_or_default())),
        hold: annotation(HOLD).map(|reason| shorten(&flat(reason), MOST_HOLD)),
        taints: taints().map(|taint| self::taint(taint, shared)).collect(),
        allocatable: quantity::allocatable(status),
        to_be_deleted: meta.deletion_timestamp.is_some() || taints().any(being_removed),
        scale_down_disabled: annotation(SCALE_DOWN_DISABLED) == Some("true"),
        network_unavailable: condition("NetworkUnavailable")
            .filter(|condition| condition.status == "True")
            .map(|condition| condition.last_transition_time.as_ref().map_or(now, |time| time.0.min(now))),
        joined: meta.creation_timestamp.as_ref().map_or(now, |time| time.0),
        virtual_kubelet,
    })
}

fn taint(taint: &v1::Taint, shared: &mut Shared) -> NodeTaint {
    NodeTaint {
        key: shared.id(&taint.key),
        value: taint.value.as_deref().map(|value| shared.id(value)),
        effect: shared.id(&taint.effect),
        added: taint.time_added.as_ref().map(|time| time.0),
    }
}

/// True if a taint says that somebody is removing the node, or that its machine is about to go.
fn being_removed(taint: &v1::Taint) -> bool {
    const KEYS: [&str; 9] = [
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        // Karpenter before v1.
        "karpenter.sh/disruption",
        "cloud.google.com/impending-node-termination",
        "node.cloudprovider.kubernetes.io/shutdown",
        "node.kubernetes.io/out-of-service",
        "atlassian.com/escalator",
        "medik8s.io/remediation",
        "kubevirt.io/drain",
    ];
    KEYS.contains(&taint.key.as_str()) || taint.key.starts_with("aws-node-termination-handler/")
}

/// True if a node is the front of another system: virtual kubelets bear a label by their own convention, and a taint
/// with the name of their provider. Liqo has words of its own. Others show by their version: `v1.14.3-vk-…` of virtual
/// kubelet itself, `-eklet` of Tencent's serverless nodes, and `-kubeedge-` of nodes at the edge.
fn is_virtual(labels: &Labels, version: &str, mut taints: impl Iterator<Item = impl AsRef<str>>) -> bool {
    let bears = |key: &str, value: &str| labels.get(key).is_some_and(|found| &**found == value);
    bears("type", "virtual-kubelet")
        || bears("liqo.io/type", "virtual-node")
        || ["-vk-", "-eklet", "-kubeedge-"].iter().any(|word| version.contains(word))
        || taints.any(|key| {
            matches!(key.as_ref(), "virtual-kubelet.io/provider" | "virtual-node.liqo.io/not-allowed")
        })
}

/// A claim on a node that it does not name was copied with the node's object, or the node was made again: it says
/// nothing of how this node was found.
fn claim(text: &str, uid: &str) -> ClaimState {
    match serde_json::from_str::<Claim>(text) {
        Ok(claim) if claim.node_uid == uid => ClaimState::Ours(claim),
        Ok(claim) => ClaimState::Unreadable(format!(
            "it is the claim of a node with the UID {}; remove the annotation, and uncordon the node if nobody needs the cordon",
            one_line(&claim.node_uid)
        )),
        Err(error) => ClaimState::Unreadable(error.to_string()),
    }
}

pub(super) fn pod(object: &KubePod, shared: &mut Shared, now: Timestamp) -> Option<Pod> {
    let meta = &object.metadata;
    let spec = object.spec.as_ref();
    let status = object.status.as_ref();
    let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    let mut volumes = spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    let (namespace, name) = (meta.namespace.as_deref()?, meta.name.as_deref()?);
    let node = spec.and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty());
    let owner = owner(meta, shared);
    let mirror = annotation(MIRROR).is_some();
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready" && condition.status == "True");
    let ready = ready.next();
    let component = servers::component((namespace, name), mirror, owner.as_deref(), node);
    Some(Pod {
        uid: Uid::from(meta.uid.as_deref()?),
        resource_version: revision(meta.resource_version.as_deref().unwrap_or_default()),
        namespace: shared.id(namespace),
        name: name.into(),
        node: node.map(|name| shared.id(name)),
        owner,
        labels: shared.labels(meta.labels.as_ref()),
        phase: phase(status.and_then(|status| status.phase.as_deref())),
        ready: ready.is_some(),
        deleting: meta.deletion_timestamp.as_ref().map(|time| time.0.into()),
        arrived: now.into(),
        created: meta.creation_timestamp.as_ref().map_or_else(Seconds::default, |time| time.0.into()),
        grace_seconds: grace(spec),
        requests: quantity::requests(spec),
        ready_after: ready.map_or(0, |condition| ready_after(meta, condition)),
        mirror,
        empty_dir: volumes.any(|volume| volume.empty_dir.is_some()),
        do_not_disrupt: annotation("cluster-autoscaler.kubernetes.io/safe-to-evict") == Some("false")
            || annotation("karpenter.sh/do-not-disrupt") == Some("true"),
        containers_gone: containers_gone(status),
        seldom: Seldom {
            claims: claims(name, spec, shared),
            ending: ending(meta, status),
            server: component.and_then(|component| server(object, component, shared)),
            restarted: restarted(status, now),
        }
        .kept(),
    })
}

fn ready_after(meta: &ObjectMeta, ready: &v1::PodCondition) -> u16 {
    let (created, since) = (meta.creation_timestamp.as_ref(), ready.last_transition_time.as_ref());
    let seconds =
        created.zip(since).map_or(0, |(created, since)| since.0.duration_since(created.0).as_secs());
    u16::try_from(seconds.max(0)).unwrap_or(u16::MAX)
}

/// The claims that a pod mounts, by name. The claim of a generic ephemeral volume is named after the pod and the volume.
fn claims(pod: &str, spec: Option<&v1::PodSpec>, shared: &mut Shared) -> Box<[Id]> {
    let volumes = spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    let claim = |volume: &v1::Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{pod}-{}", volume.name)),
        (None, None) => None,
    };
    volumes.filter_map(claim).map(|claim| shared.id(&claim)).collect()
}

fn grace(spec: Option<&v1::PodSpec>) -> u32 {
    let seconds = spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(DEFAULT_GRACE);
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

fn phase(text: Option<&str>) -> Phase {
    match text {
        Some("Pending") => Phase::Pending,
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        _ => Phase::Unknown,
    }
}

pub(super) fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

fn owner(meta: &ObjectMeta, shared: &mut Shared) -> Option<Arc<Owner>> {
    let owner = controller(meta)?;
    let kind = match (owner.api_version.as_str(), owner.kind.as_str()) {
        ("apps/v1", "ReplicaSet") => OwnerKind::ReplicaSet,
        ("apps/v1", "StatefulSet") => OwnerKind::StatefulSet,
        ("apps/v1", "DaemonSet") => OwnerKind::DaemonSet,
        ("batch/v1", "Job") => OwnerKind::Job,
        ("v1", "Node") => OwnerKind::Node,
        ("v1", "ReplicationController") => OwnerKind::ReplicationController,
        _ => OwnerKind::Other,
    };
    let owner = Owner { kind, uid: shared.id(&owner.uid), name: shared.id(&owner.name) };
    Some(shared.owner(owner))
}

/// True if all containers have ended, even while a finalizer or a lost kubelet keeps the object.
fn containers_gone(status: Option<&v1::PodStatus>) -> bool {
    let Some(status) = status else { return false };
    // A native sidecar is an init container that goes on running; it ends after the others, within the grace period.
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let mut containers = all.peekable();
    containers.peek().is_some()
        && containers
            .all(|container| container.state.as_ref().is_some_and(|state| state.terminated.is_some()))
}

/// That a container which had ended was started again; it counts as such while it runs. The fold knows when it was first seen.
fn restarted(status: Option<&v1::PodStatus>, now: Timestamp) -> Option<Restart> {
    let containers = status?.container_statuses.iter().flatten();
    let started = containers.filter(|container| container.restart_count > 0).filter_map(|container| {
        let running = container.state.as_ref()?.running.as_ref()?;
        Some(running.started_at.as_ref()?.0)
    });
    started.max().map(|started| Restart { started, seen: started.min(now) })
}

fn ending(meta: &ObjectMeta, status: Option<&v1::PodStatus>) -> Option<Ending> {
    let ending = Ending { exit_code: exit_code(status), said: said(meta, status) };
    (ending.exit_code.is_some() || ending.said.is_some()).then_some(ending)
}

/// The exit code of the pod's only container; `None` until it has ended. Upgrade Jobs have one container.
fn exit_code(status: Option<&v1::PodStatus>) -> Option<i32> {
    match status?.container_statuses.as_deref()? {
        [only] => Some(only.state.as_ref()?.terminated.as_ref()?.exit_code),
        _ => None,
    }
}

/// The words of the container of an upgrade Job: its termination message, which for a container without one is the end
/// of its log; or why it does not start, with the name of an image that cannot be pulled. They are on one line of
/// bounded length. Other pods have none, because nothing reads them.
fn said(meta: &ObjectMeta, status: Option<&v1::PodStatus>) -> Option<Box<str>> {
    let ours = meta.namespace.as_deref() == Some(names::NAMESPACE)
        && meta.labels.as_ref().is_some_and(|labels| labels.contains_key(names::RUN));
    let state = status.filter(|_| ours)?.container_statuses.as_deref()?.first()?.state.as_ref()?;
    let ended = state.terminated.as_ref().map(|ended| (&ended.reason, &ended.message));
    let waits = || state.waiting.as_ref().map(|waits| (&waits.reason, &waits.message));
    let (reason, message) = ended.or_else(waits)?;
    let text = flat(message.as_deref().unwrap_or_default());
    let text = match (state.waiting.as_ref().and(reason.as_deref()), text.is_empty()) {
        (Some("ContainerCreating" | "PodInitializing"), true) => return None,
        (Some(reason), true) => flat(reason),
        (Some(reason), false) => format!("{}: {text}", flat(reason)),
        (None, _) => text,
    };
    // The end says most: a log ends with its error.
    let skipped = text.chars().count().saturating_sub(MOST_SAID);
    let end: String = text.chars().skip(skipped).collect();
    let cut = if skipped > 0 { "…" } else { "" };
    if end.is_empty() { None } else { Some(format!("{cut}{end}").into()) }
}

/// What a static pod of the control plane runs. The version is read from the running image, not from the manifest,
/// which may already name the next version.
fn server(object: &KubePod, component: &str, shared: &mut Shared) -> Option<Server> {
    // The kubelet sorts the statuses by name, and a static pod may have containers beside the component.
    let containers = &object.spec.as_ref()?.containers;
    let wanted = containers.iter().find(|c| c.name == component).or(containers.first())?;
    let statuses = object.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let container = statuses.into_iter().flatten().find(|status| status.name == wanted.name);
    let running = container.and_then(|c| c.state.as_ref()).and_then(|state| state.running.as_ref());
    // Some runtimes report the image by digest. Then the tag in the manifest of a running container is used.
    let shown = container.and_then(|c| tag(&c.image));
    Some(Server {
        component: shared.id(component),
        version: running.and_then(|_| shown.or_else(|| tag(wanted.image.as_deref()?))),
        started: running.and_then(|running| running.started_at.as_ref()).map(|time| time.0),
    })
}

/// The version in the tag of an image: `registry:5000/kube-apiserver:v1.36.3@sha256:…`. A tag cannot have a `+`, so an
/// `_` stands for it.
fn tag(image: &str) -> Option<Version> {
    let name = image.split('@').next()?;
    let (_, tag) = name.rsplit('/').next()?.split_once(':')?;
    tag.replace('_', "+").parse().ok()
}

pub(super) fn job(object: &KubeJob) -> Option<(String, Job)> {
    let meta = &object.metadata;
    // A value that is too long for a label is hashed; the annotation of the same key has the full text.
    let tell = |key: &str| {
        let in_annotations = meta.annotations.as_ref().and_then(|all| all.get(key));
        in_annotations
            .or_else(|| meta.labels.as_ref().and_then(|all| all.get(key)))
            .cloned()
            .unwrap_or_default()
    };
    let job = Job {
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        node: tell(names::NODE),
        run: tell(names::RUN),
        component: tell(names::COMPONENT),
        target: tell(names::TARGET),
        state: job_state(object),
        suspended: is_suspended(object),
        made_anew: !tell(names::MADE_ANEW).is_empty(),
        // The generation counts the changes of the spec. A Job that began and was suspended again has a higher one.
        begun: !is_suspended(object) || meta.generation != Some(1),
        created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    };
    Some((meta.name.clone()?, job))
}

fn is_suspended(object: &KubeJob) -> bool {
    object.spec.as_ref().and_then(|spec| spec.suspend) == Some(true)
}

fn job_state(object: &KubeJob) -> JobState {
    let idle = |why: &str| {
        if is_suspended(object) { JobState::Suspended } else { JobState::Waiting(why.to_owned()) }
    };
    let Some(status) = &object.status else { return idle("it has no status yet") };
    let condition = |kind: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == kind && condition.status == "True")
    };
    if condition("Complete").or_else(|| condition("SuccessCriteriaMet")).is_some() {
        return JobState::Complete;
    }
    if let Some(failed) = condition("Failed").or_else(|| condition("FailureTarget")) {
        let reason = failed.reason.as_deref().unwrap_or("Failed");
        return JobState::Failed(format!("{reason}: {}", failed.message.as_deref().unwrap_or("no message")));
    }
    if status.ready.unwrap_or(0) > 0 || status.active.unwrap_or(0) > 0 {
        return JobState::Running;
    }
    idle("no pod of it was created yet")
}

pub(super) fn note(map: &v1::ConfigMap) -> Note {
    let field = |key: &str| {
        let text = map.data.as_ref().and_then(|data| data.get(key)).map(String::as_str).unwrap_or_default();
        // People write these texts, and commits and terminals show them: one line of bounded length.
        shorten(&flat(text), MOST_NOTE)
    };
    let meta = &map.metadata;
    Note {
        uid: meta.uid.clone().unwrap_or_default(),
        reason: field("reason"),
        by: Some(field("by")).filter(|by| !by.is_empty()).or_else(|| manager(meta)).unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
    }
}

/// Who made an object that does not say so itself: `somebody with kubectl-create`.
fn manager(meta: &ObjectMeta) -> Option<String> {
    let first = meta.managed_fields.as_ref()?.first()?.manager.as_deref()?;
    Some(format!("somebody with {}", shorten(&flat(first), MOST_HOLD)))
}
