//! Objects of a large cluster, as an API server lists them. Each is the same at every call.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windlass::live::{Event, Folder, Seen, Watched};

/// On each node: one pod of every `DaemonSet`, then pods of Deployments, of `StatefulSet`s and of Jobs.
const DAEMON_SETS: [&str; 4] = ["kube-proxy", "cilium", "node-exporter", "csi-node"];
const OF_DEPLOYMENTS: usize = 22;
const OF_STATEFUL_SETS: usize = 3;
const OF_JOBS: usize = 1;
const REPLICAS: usize = 10;

/// One list of every kind; `revision` is what the objects' `resourceVersion` begins with.
pub fn list(folder: &mut Folder, nodes: usize, revision: usize, now: Timestamp) {
    let deployments = nodes * OF_DEPLOYMENTS / REPLICAS;
    let stateful_sets = nodes * OF_STATEFUL_SETS / REPLICAS;
    let mut each = |begin: fn() -> Seen, objects: &mut dyn Iterator<Item = Seen>, end: fn() -> Seen| {
        folder.fold(begin(), now);
        objects.for_each(|object| folder.fold(object, now));
        folder.fold(end(), now);
    };
    macro_rules! list {
        ($kind:ident, $objects:expr) => {
            each(
                || Seen::Watched(Watched::$kind(Event::Begin)),
                &mut $objects.map(|object| Seen::Watched(Watched::$kind(Event::Listed(Box::new(object))))),
                || Seen::Watched(Watched::$kind(Event::End)),
            )
        };
    }
    list!(Node, (0..nodes).map(|number| node(number, revision)));
    list!(DaemonSet, DAEMON_SETS.iter().map(|name| daemon_set(name, revision)));
    list!(Deployment, (0..deployments).map(|number| deployment(number, revision)));
    // The present one and one that a rollout has left behind.
    list!(ReplicaSet, (0..2 * deployments).map(|number| replica_set(number / 2, number % 2, revision)));
    list!(StatefulSet, (0..stateful_sets).map(|number| stateful_set(number, revision)));
    list!(Budget, (0..deployments).step_by(2).map(|number| budget(number, revision)));
    list!(Pod, (0..nodes).flat_map(|number| pods_of(number, nodes, revision)));
}

/// Every pod of one node, as a scheduler would have spread them.
pub fn pods_of(number: usize, nodes: usize, revision: usize) -> impl Iterator<Item = Pod> {
    let node = format!("worker-{number:05}");
    let spread = move |index: usize| (index * nodes + number * 7919 % nodes) / REPLICAS;
    let replica = move |index: usize| (index * nodes + number * 7919 % nodes) % REPLICAS;
    let mut pods = Vec::new();
    for name in DAEMON_SETS {
        pods.push(daemon_pod(name, number, &node, revision));
    }
    for index in 0..OF_DEPLOYMENTS {
        pods.push(deployment_pod(spread(index), replica(index), &node, revision));
    }
    for index in 0..OF_STATEFUL_SETS {
        pods.push(stateful_pod(spread(index), replica(index), &node, revision));
    }
    for index in 0..OF_JOBS {
        pods.push(job_pod(number * OF_JOBS + index, &node, revision));
    }
    pods.into_iter()
}

/// A UID like those that an API server draws: without any order, and the same at every call.
fn uid(kind: &str, number: usize) -> String {
    let mut state = kind.bytes().fold(number as u64, |state, byte| mix(state ^ u64::from(byte)));
    let mut next = || {
        state = mix(state);
        state
    };
    let (high, low) = (next(), next());
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// splitmix64.
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Five letters or digits, as controllers append them to names.
fn suffix(kind: &str, number: usize) -> String {
    uid(kind, number)[..5].to_owned()
}

fn read<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn space(number: usize) -> String {
    format!("team-{}", number / 50)
}

fn node(number: usize, revision: usize) -> Node {
    let name = format!("worker-{number:05}");
    let (zone, pool) =
        (format!("eu-central-1{}", ["a", "b", "c"][number % 3]), format!("pool-{}", number % 10));
    read(json!({
        "metadata": {"name": name, "uid": uid("node", number), "resourceVersion": format!("{revision}{number:08}"),
            "creationTimestamp": "2026-05-01T08:00:00Z",
            "annotations": {"node.alpha.kubernetes.io/ttl": "0", "volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
                "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "eu-central-1",
                "failure-domain.beta.kubernetes.io/zone": zone, "failure-domain.beta.kubernetes.io/region": "eu-central-1",
                "node.kubernetes.io/instance-type": "m6i.2xlarge", "beta.kubernetes.io/instance-type": "m6i.2xlarge",
                "pool": pool}},
        "spec": {"podCIDR": "10.0.0.0/24", "providerID": format!("aws:///{zone}/i-{number:017x}")},
        "status": {"nodeInfo": {"kubeletVersion": "v1.35.4", "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "containerd://2.1.4",
                "kernelVersion": "6.8.0", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "linux", "osImage": "Ubuntu 24.04", "systemUUID": ""},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
                "lastTransitionTime": "2026-05-01T08:01:00Z", "lastHeartbeatTime": "2026-11-23T11:59:00Z"}]},
    }))
}

fn daemon_set(name: &str, revision: usize) -> DaemonSet {
    read(json!({
        "metadata": {"name": name, "namespace": "kube-system", "uid": uid(name, 0), "resourceVersion": format!("{revision}00000001")},
        "spec": {"selector": {"matchLabels": {"k8s-app": name}}, "template": {"spec": {"containers": []}}},
    }))
}

fn deployment(number: usize, revision: usize) -> Deployment {
    read(json!({
        "metadata": {"name": format!("checkout-{number}"), "namespace": space(number), "uid": uid("deployment", number),
            "resourceVersion": format!("{revision}{number:08}")},
        "spec": {"replicas": REPLICAS, "selector": {"matchLabels": {"app": format!("checkout-{number}")}}, "template": {}},
    }))
}

fn replica_set(number: usize, age: usize, revision: usize) -> ReplicaSet {
    let name = format!("checkout-{number}");
    read(json!({
        "metadata": {"name": format!("{name}-{}", uid("hash", 2 * number + age)[..8].to_owned() + "df"), "namespace": space(number),
            "uid": uid("replicaset", 2 * number + age), "resourceVersion": format!("{revision}{number:08}"),
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid("deployment", number), "controller": true}]},
        "spec": {"replicas": if age == 0 { REPLICAS } else { 0 }, "selector": {"matchLabels": {"app": name}}},
    }))
}

fn stateful_set(number: usize, revision: usize) -> StatefulSet {
    let name = format!("orders-db-{number}");
    read(json!({
        "metadata": {"name": name, "namespace": space(number), "uid": uid("statefulset", number), "resourceVersion": format!("{revision}{number:08}")},
        "spec": {"replicas": REPLICAS, "serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": {}},
    }))
}

fn budget(number: usize, revision: usize) -> PodDisruptionBudget {
    let name = format!("checkout-{number}");
    read(json!({
        "metadata": {"name": name, "namespace": space(number), "uid": uid("budget", number), "resourceVersion": format!("{revision}{number:08}"), "generation": 1},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}},
        "status": {"disruptionsAllowed": 1, "currentHealthy": 10, "desiredHealthy": 9, "expectedPods": 10, "observedGeneration": 1},
    }))
}

/// What all pods have in common.
#[expect(clippy::too_many_arguments, reason = "each is a part of a pod that costs memory")]
fn pod(
    name: &str,
    space: &str,
    uid: &str,
    revision: &str,
    node: &str,
    labels: &Value,
    owner: &Value,
    volumes: &Value,
) -> Pod {
    let running = json!({"name": "app", "image": "registry.example.com/app:1.4.2", "imageID": "sha256:0", "ready": true, "restartCount": 0, "started": true,
        "state": {"running": {"startedAt": "2026-11-01T10:00:05Z"}}});
    read(json!({
        "metadata": {"name": name, "namespace": space, "uid": uid, "resourceVersion": revision, "creationTimestamp": "2026-11-01T10:00:00Z",
            "labels": labels, "annotations": {"prometheus.io/scrape": "true"}, "ownerReferences": [owner]},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30, "containers": [{"name": "app", "image": "registry.example.com/app:1.4.2"}], "volumes": volumes},
        "status": {"phase": "Running", "containerStatuses": [running], "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-01T10:00:10Z"}]},
    }))
}

fn owner(api: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": api, "kind": kind, "name": name, "uid": uid, "controller": true})
}

fn deployment_pod(number: usize, replica: usize, node: &str, revision: usize) -> Pod {
    let (app, hash) = (format!("checkout-{number}"), uid("hash", 2 * number)[..8].to_owned() + "df");
    let (set, index) = (format!("{app}-{hash}"), number * REPLICAS + replica);
    let labels = json!({"app": app, "team": space(number), "tier": "backend", "pod-template-hash": hash});
    let owner = owner("apps/v1", "ReplicaSet", &set, &uid("replicaset", 2 * number));
    let name = format!("{set}-{}", suffix("deployment-pod", index));
    let volumes = json!([{"name": "tmp", "emptyDir": {}}]);
    pod(
        &name,
        &space(number),
        &uid("deployment-pod", index),
        &format!("{revision}{index:08}"),
        node,
        &labels,
        &owner,
        &volumes,
    )
}

fn stateful_pod(number: usize, replica: usize, node: &str, revision: usize) -> Pod {
    let (app, index) = (format!("orders-db-{number}"), number * REPLICAS + replica);
    let name = format!("{app}-{replica}");
    let labels = json!({"app": app, "controller-revision-hash": format!("{app}-7d9c"), "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": replica.to_string()});
    let owner = owner("apps/v1", "StatefulSet", &app, &uid("statefulset", number));
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": format!("data-{name}")}}]);
    pod(
        &name,
        &space(number),
        &uid("stateful-pod", index),
        &format!("{revision}{index:08}"),
        node,
        &labels,
        &owner,
        &volumes,
    )
}

fn daemon_pod(set: &str, number: usize, node: &str, revision: usize) -> Pod {
    let labels =
        json!({"k8s-app": set, "controller-revision-hash": "5d8f6c7b9", "pod-template-generation": "3"});
    let owner = owner("apps/v1", "DaemonSet", set, &uid(set, 0));
    let name = format!("{set}-{}", suffix(set, number + 1));
    pod(
        &name,
        "kube-system",
        &uid(set, number + 1),
        &format!("{revision}{number:08}"),
        node,
        &labels,
        &owner,
        &json!([]),
    )
}

pub fn job_pod(number: usize, node: &str, revision: usize) -> Pod {
    let (job, job_uid) = (format!("report-{number:08}"), uid("job", number));
    let labels = json!({"batch.kubernetes.io/job-name": job, "job-name": job, "batch.kubernetes.io/controller-uid": job_uid, "controller-uid": job_uid});
    let owner = owner("batch/v1", "Job", &job, &job_uid);
    let name = format!("{job}-{}", suffix("job-pod", number));
    pod(
        &name,
        &space(number),
        &uid("job-pod", number),
        &format!("{revision}{number:08}"),
        node,
        &labels,
        &owner,
        &json!([]),
    )
}
