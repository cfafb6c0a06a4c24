//! Tables for the fold: what a list drops, what raises which counter, and how long work is kept.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{NamespaceResourceScope, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Event, Folder, Kind, Listing, NodeRead, Object, ProbeAnswer, Seen, Watch, Watched, WriteAnswer, watch_all,
};
use crate::model::effect::{EffectKey, LongState};
use crate::model::live::{CallFailure, Probe};
use crate::model::work::Component;

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn read<K: DeserializeOwned>(value: &Value) -> K {
    serde_json::from_value(value.clone()).unwrap()
}

#[derive(Clone, Copy)]
enum How {
    Listed,
    Applied,
    Deleted,
}

fn event<K: DeserializeOwned>(how: How, value: &Value) -> Event<Box<K>> {
    match how {
        How::Listed => Event::Listed(Box::new(read(value))),
        How::Applied => Event::Applied(Box::new(read(value))),
        How::Deleted => Event::Deleted(Box::new(read(value))),
    }
}

fn seen(kind: Kind, how: How, value: &Value) -> Seen {
    Seen::Watched(match kind {
        Kind::Node => Watched::Node(event(how, value)),
        Kind::Pod => Watched::Pod(event(how, value)),
        Kind::Budget => Watched::Budget(event(how, value)),
        Kind::Deployment => Watched::Deployment(event(how, value)),
        Kind::ReplicaSet => Watched::ReplicaSet(event(how, value)),
        Kind::StatefulSet => Watched::StatefulSet(event(how, value)),
        Kind::DaemonSet => Watched::DaemonSet(event(how, value)),
        Kind::Job => Watched::Job(event(how, value)),
        Kind::Attachment => Watched::Attachment(event(how, value)),
        Kind::Claim => Watched::Claim(event(how, value)),
        Kind::Stop => Watched::Stop(event(how, value)),
        Kind::Resume => Watched::Resume(event(how, value)),
    })
}

/// The smallest object of a kind.
fn object(kind: Kind, name: &str) -> Value {
    let meta =
        json!({"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "1"});
    let selector = json!({"matchLabels": {"app": "web"}});
    let spec = match kind {
        Kind::Node => return node(name),
        Kind::Pod => json!({"nodeName": "w1", "containers": []}),
        Kind::Budget => json!({"selector": selector}),
        Kind::Deployment | Kind::ReplicaSet | Kind::DaemonSet => {
            json!({"selector": selector, "template": {}})
        }
        Kind::StatefulSet => json!({"selector": selector, "template": {}, "serviceName": "web"}),
        Kind::Job => json!({"template": {}}),
        Kind::Attachment => json!({"attacher": "csi", "nodeName": "w1", "source": {}}),
        Kind::Claim => json!({"volumeName": "pv-1"}),
        Kind::Stop | Kind::Resume => return json!({"metadata": meta}),
    };
    json!({"metadata": meta, "spec": spec})
}

fn node(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "1",
            "labels": {"topology.kubernetes.io/zone": "z1", "pool": "w"}, "annotations": {}},
        "spec": {},
        "status": {
            "nodeInfo": {"kubeletVersion": "v1.35.4", "architecture": "", "bootID": "", "containerRuntimeVersion": "",
                "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": ""},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-11-23T11:59:00Z",
                "lastTransitionTime": "2026-11-01T00:00:00Z"}]},
    })
}

/// How many objects of a kind the picture has.
fn kept(folder: &Folder, kind: Kind) -> usize {
    let live = &folder.live;
    match kind {
        Kind::Node => live.nodes.len(),
        Kind::Pod => live.pods.len(),
        Kind::Budget => live.budgets.keys().count(),
        Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet => live.workloads.len(),
        Kind::Job => live.jobs.iter().count(),
        Kind::Attachment => live.attachments.len(),
        Kind::Claim => live.claims.len(),
        Kind::Stop => live.stop.iter().len(),
        Kind::Resume => live.resume.iter().len(),
    }
}

/// The empty list of every kind, in the order of the table.
#[derive(Default)]
struct Lists(Vec<(Kind, [Seen; 2], String)>);

impl Lists {
    fn of_all() -> Vec<(Kind, [Seen; 2], String)> {
        let mut lists = Self::default();
        watch_all(&mut lists);
        lists.0
    }

    fn add<K: Object>(&mut self, kind: Kind, seen: fn(Event<Box<K>>) -> Watched, place: &str) {
        let list = [Event::Begin, Event::End].map(|event| Seen::Watched(seen(event)));
        self.0.push((kind, list, format!("{} {place}", K::URL_PATH_SEGMENT)));
    }
}

impl Watch for Lists {
    fn all<K: Object>(&mut self, kind: Kind, seen: fn(Event<Box<K>>) -> Watched) {
        self.add(kind, seen, "everywhere");
    }

    fn within<K>(&mut self, kind: Kind, seen: fn(Event<Box<K>>) -> Watched, namespace: &'static str)
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        self.add(kind, seen, namespace);
    }

    fn named<K>(
        &mut self,
        kind: Kind,
        seen: fn(Event<Box<K>>) -> Watched,
        namespace: &'static str,
        name: &'static str,
    ) where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        self.add(kind, seen, &format!("{namespace}/{name}"));
    }
}

#[test]
fn the_picture_is_complete_when_every_kind_was_listed_once() {
    let mut folder = Folder::default();
    let lists = Lists::of_all();
    assert!(lists.iter().map(|(kind, ..)| *kind).eq(Kind::ALL.iter().copied()));
    for (at, (kind, list, _)) in lists.into_iter().enumerate() {
        let needed = Kind::ALL[at..].iter().copied().filter(|kind| !kind.is_optional());
        assert!(folder.missing().eq(needed));
        assert!(!folder.live.complete);
        folder.fold(Seen::Unseen { kind, why: CallFailure::Other("forbidden".to_owned()) }, now());
        let told = (!kind.is_optional()).then_some("forbidden");
        assert_eq!(folder.live.unseen.get(kind.name()).map(CallFailure::words), told);
        for seen in list {
            folder.fold(seen, now());
        }
        assert!(folder.live.unseen.is_empty(), "it was listed: {kind:?}");
    }
    assert!(folder.live.complete);
    // Listing one kind again later does not make the picture incomplete.
    folder.fold(Seen::Watched(Watched::Pod(Event::Begin)), now());
    assert!(folder.live.complete);
}

#[test]
fn each_kind_is_looked_for_where_its_objects_are() {
    let places: Vec<String> = Lists::of_all().into_iter().map(|(.., place)| place).collect();
    assert_eq!(
        places,
        [
            "nodes everywhere",
            "pods everywhere",
            "poddisruptionbudgets everywhere",
            "deployments everywhere",
            "replicasets everywhere",
            "statefulsets everywhere",
            "daemonsets everywhere",
            "jobs windlass-system",
            "volumeattachments everywhere",
            "persistentvolumeclaims everywhere",
            "configmaps kube-system/windlass-stop",
            "configmaps kube-system/windlass-resume",
        ]
    );
}

#[test]
fn a_list_drops_what_it_does_not_name_and_nothing_of_another_kind() {
    for (kind, [begin, end], _) in Lists::of_all() {
        let single = matches!(kind, Kind::Stop | Kind::Resume);
        let names: &[&str] = if single { &["windlass-stop"] } else { &["stays", "goes"] };
        let mut folder = Folder::default();
        for other in Kind::ALL.iter().filter(|other| **other != kind) {
            folder.fold(seen(*other, How::Applied, &object(*other, &format!("other-{other:?}"))), now());
        }
        let others: Vec<usize> = Kind::ALL.iter().map(|kind| kept(&folder, *kind)).collect();
        for name in names {
            folder.fold(seen(kind, How::Applied, &object(kind, name)), now());
        }
        let with = kept(&folder, kind);
        folder.fold(begin, now());
        if !single {
            folder.fold(seen(kind, How::Listed, &object(kind, "stays")), now());
            folder.fold(seen(kind, How::Listed, &object(kind, "comes")), now());
            assert_eq!(kept(&folder, kind), with + 1, "nothing is dropped before the end: {kind:?}");
        }
        folder.fold(end, now());
        assert_eq!(kept(&folder, kind), if single { 0 } else { with }, "{kind:?}");
        folder.fold(seen(kind, How::Deleted, &object(kind, "stays")), now());
        folder.fold(seen(kind, How::Deleted, &object(kind, "comes")), now());
        assert!(
            others.iter().eq(Kind::ALL.iter().map(|kind| kept(&folder, *kind)).collect::<Vec<_>>().iter())
        );
    }
}

/// A cluster of one worker with one pod, and one control plane node.
fn small() -> Folder {
    let mut folder = Folder::default();
    for (kind, value) in [
        (Kind::Node, node("w1")),
        (Kind::Pod, web()),
        (Kind::Pod, api_server()),
        (Kind::Deployment, object(Kind::Deployment, "web")),
        (Kind::Budget, object(Kind::Budget, "web")),
    ] {
        folder.fold(seen(kind, How::Applied, &value), now());
    }
    let version = "v1.35.4".parse().ok();
    folder.fold(probed(Probe::Api, ProbeAnswer::Api { ready: true, version, clock_ahead: None }), now());
    folder
}

fn web() -> Value {
    json!({
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "uid-web-1", "resourceVersion": "1", "labels": {"app": "web"}},
        "spec": {"nodeName": "w1", "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn api_server() -> Value {
    let image = "registry.k8s.io/kube-apiserver:v1.35.4";
    json!({
        "metadata": {"name": "kube-apiserver-cp1", "namespace": "kube-system", "uid": "uid-api", "resourceVersion": "1",
            "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "cp1", "uid": "uid-cp1", "controller": true}]},
        "spec": {"nodeName": "cp1", "containers": [{"name": "a", "image": image}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "a", "image": image, "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-11-01T00:00:00Z"}}}]},
    })
}

/// By how much the counters of nodes and of pods rise.
fn rises(folder: &mut Folder, seen: Seen) -> (u64, u64) {
    let before = (folder.live.nodes_generation, folder.live.pods_generation);
    folder.fold(seen, now());
    (folder.live.nodes_generation - before.0, folder.live.pods_generation - before.1)
}

const NOTHING: (u64, u64) = (0, 0);
const NODES: (u64, u64) = (1, 0);
const PODS: (u64, u64) = (0, 1);
const BOTH: (u64, u64) = (1, 1);

/// A change of an object as a JSON merge patch, and by how much it raises the two counters.
#[expect(clippy::too_many_lines, reason = "it is one table")]
fn changes() -> Vec<(Kind, Value, Value, (u64, u64))> {
    let condition = |status: &str, beat: &str, since: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status, "lastHeartbeatTime": beat, "lastTransitionTime": since}]}});
    let label = |key: &str, value: &str| json!({"metadata": {"labels": {key: value}}});
    let annotation = |key: &str| json!({"metadata": {"annotations": {key: "x"}}});
    let (beat, since) = ("2026-11-23T11:59:00Z", "2026-11-01T00:00:00Z");
    let of_node = [
        (json!({}), NOTHING),
        (condition("True", "2026-11-23T12:00:00Z", since), NOTHING),
        (condition("True", beat, "2026-11-02T00:00:00Z"), NOTHING),
        (annotation("node.alpha.kubernetes.io/ttl"), NOTHING),
        (json!({"status": {"volumesInUse": ["a"]}}), NOTHING),
        (json!({"metadata": {"uid": "another"}}), NODES),
        (json!({"status": {"nodeInfo": {"kubeletVersion": "v1.36.3"}}}), NODES),
        (label("pool", "x"), NODES),
        (label("topology.kubernetes.io/zone", "z2"), NODES),
        (label("node-role.kubernetes.io/control-plane", ""), NODES),
        (condition("False", beat, since), NODES),
        (json!({"spec": {"unschedulable": true}}), NODES),
        (annotation("windlass.dev/hold"), NODES),
        (annotation("windlass.dev/claim"), NODES),
        (
            json!({"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}}),
            NODES,
        ),
        (json!({"spec": {"taints": [{"key": "other", "effect": "NoSchedule"}]}}), NOTHING),
        (
            json!({"spec": {"taints": [{"key": "virtual-kubelet.io/provider", "value": "azure", "effect": "NoSchedule"}]}}),
            NODES,
        ),
        (json!({"metadata": {"deletionTimestamp": "2026-11-23T12:00:00Z"}}), NODES),
    ];
    let unready = || json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    let of_pod = [
        (json!({}), NOTHING),
        (annotation("other"), NOTHING),
        (unready(), PODS),
        (json!({"spec": {"nodeName": "w2"}}), PODS),
        (label("app", "cart"), PODS),
        (json!({"metadata": {"deletionTimestamp": "2026-11-23T12:00:00Z"}}), PODS),
    ];
    let container = |image: &str, started: &str| {
        json!({"status": {"containerStatuses": [{"name": "a", "image": image, "imageID": "", "ready": true,
            "restartCount": 0, "state": {"running": {"startedAt": started}}}]}})
    };
    let image = |version: &str| format!("registry.k8s.io/kube-apiserver:{version}");
    let of_server = [
        (json!({}), NOTHING),
        (container(&image("v1.35.4"), "2026-11-02T00:00:00Z"), PODS),
        (container(&image("v1.36.3"), since), BOTH),
        (unready(), BOTH),
        (json!({"metadata": {"deletionTimestamp": "2026-11-23T12:00:00Z"}}), BOTH),
        (json!({"spec": {"nodeName": "cp2"}}), BOTH),
    ];
    let of_deployment = [(json!({}), NOTHING), (json!({"spec": {"replicas": 7}}), PODS)];
    let of_budget = [
        (json!({}), NOTHING),
        (
            json!({"status": {"disruptionsAllowed": 7, "currentHealthy": 7, "desiredHealthy": 1, "expectedPods": 7}}),
            PODS,
        ),
    ];
    let rows = |kind, object: Value, changes: Vec<(Value, (u64, u64))>| {
        changes
            .into_iter()
            .map(move |(patch, raises)| (kind, object.clone(), patch, raises))
            .collect::<Vec<_>>()
    };
    [
        rows(Kind::Node, node("w1"), of_node.into()),
        rows(Kind::Pod, web(), of_pod.into()),
        rows(Kind::Pod, api_server(), of_server.into()),
        rows(Kind::Deployment, object(Kind::Deployment, "web"), of_deployment.into()),
        rows(Kind::Budget, object(Kind::Budget, "web"), of_budget.into()),
    ]
    .concat()
}

#[test]
fn counters_rise_with_what_plans_and_limits_depend_on_and_with_nothing_else() {
    for (kind, mut object, patch, raises) in changes() {
        let mut folder = small();
        json_patch::merge(&mut object, &patch);
        object["metadata"]["resourceVersion"] = json!("2");
        assert_eq!(rises(&mut folder, seen(kind, How::Applied, &object)), raises, "{kind:?} {patch}");
        let again = rises(&mut folder, seen(kind, How::Applied, &object));
        assert_eq!(again, NOTHING, "once: {kind:?} {patch}");
    }
}

#[test]
fn counters_rise_with_what_comes_and_goes() {
    for (kind, object, raises) in [
        (Kind::Node, node("w1"), NODES),
        (Kind::Pod, web(), PODS),
        (Kind::Pod, api_server(), BOTH),
        (Kind::Deployment, object(Kind::Deployment, "web"), PODS),
        (Kind::Budget, object(Kind::Budget, "web"), PODS),
    ] {
        let mut folder = small();
        for (how, raises) in
            [(How::Deleted, raises), (How::Deleted, NOTHING), (How::Applied, raises), (How::Applied, NOTHING)]
        {
            assert_eq!(rises(&mut folder, seen(kind, how, &object)), raises, "{kind:?}");
        }
    }
}

#[test]
fn the_version_at_the_api_endpoint_counts_as_one_of_a_node() {
    let mut folder = small();
    for (ready, version, raises) in [
        (true, Some("v1.35.4"), NOTHING),
        (false, Some("v1.35.4"), NOTHING),
        (false, None, NOTHING),
        (true, Some("v1.36.3"), NODES),
    ] {
        let version = version.map(|version| version.parse().unwrap());
        let seen = probed(Probe::Api, ProbeAnswer::Api { ready, version, clock_ahead: None });
        assert_eq!(rises(&mut folder, seen), raises);
    }
}

#[test]
fn long_work_is_in_flight_from_its_beginning_to_its_end_and_no_deadline_loses_it() {
    let (name, key) = ("snapshot-1", EffectKey::Long("snapshot-1".to_owned()));
    let answered = |answer| Seen::Done(key.clone(), answer);
    let looked = |state| probed(Probe::Long(name.to_owned()), ProbeAnswer::Long(state));
    let silent = || probed(Probe::Long(name.to_owned()), ProbeAnswer::Nothing("no answer".to_owned()));
    let failed = || LongState::Failed("disk full".to_owned());
    let lost_at = now().saturating_add(SignedDuration::from_secs(30)).unwrap();
    for (what, steps, state, until) in [
        ("its begin is under way", vec![], None, Some(lost_at)),
        (
            "a look may come before its begin",
            vec![looked(LongState::NotBegun)],
            Some(LongState::NotBegun),
            Some(lost_at),
        ),
        ("it is begun", vec![answered(WriteAnswer::Done)], Some(LongState::Running), Some(Timestamp::MAX)),
        (
            "it is found running",
            vec![looked(LongState::Running)],
            Some(LongState::Running),
            Some(Timestamp::MAX),
        ),
        (
            "nothing is known anew",
            vec![looked(LongState::Running), silent()],
            Some(LongState::Running),
            Some(Timestamp::MAX),
        ),
        (
            "it is done",
            vec![answered(WriteAnswer::Done), looked(LongState::Done)],
            Some(LongState::Done),
            None,
        ),
        ("it failed", vec![answered(WriteAnswer::Done), looked(failed())], Some(failed()), None),
        (
            "it is gone",
            vec![answered(WriteAnswer::Done), looked(LongState::NotBegun)],
            Some(LongState::NotBegun),
            None,
        ),
        (
            "it could not be begun",
            vec![answered(WriteAnswer::Failed(CallFailure::Other("no".to_owned())))],
            None,
            None,
        ),
    ] {
        let mut folder = Folder::default();
        folder.live.overlay.in_flight.insert(key.clone(), lost_at);
        for seen in steps {
            folder.fold(seen, now());
        }
        assert_eq!(folder.live.long.get(name), state.as_ref(), "{what}");
        assert_eq!(folder.live.overlay.in_flight.get(&key), until, "{what}");
    }
}

#[test]
fn a_question_is_in_flight_until_its_answer() {
    let mut folder = Folder::default();
    let key = EffectKey::Probe(Probe::Lock);
    folder.live.overlay.in_flight.insert(key, Timestamp::MAX);
    folder.fold(probed(Probe::Lock, ProbeAnswer::Nothing("no answer".to_owned())), now());
    assert!(folder.live.overlay.in_flight.is_empty());
    assert_eq!(folder.live.probed.get(&Probe::Lock), Some(&now()));
}

#[test]
fn what_a_rollout_leaves_behind_is_not_kept() {
    let set = |wants: u32, has: u32| {
        let mut set = object(Kind::ReplicaSet, "old");
        set["spec"]["replicas"] = json!(wants);
        set["status"] = json!({"replicas": has});
        seen(Kind::ReplicaSet, How::Applied, &set)
    };
    let mut pod = web();
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "old", "uid": "uid-old", "controller": true}]);
    let mut folder = Folder::default();
    for (what, seen, kept) in [
        ("it has had its time", set(0, 0), false),
        ("it wants a pod", set(1, 0), true),
        ("its pod is there", seen(Kind::Pod, How::Applied, &pod), true),
        ("its pod is on its way out", set(0, 1), true),
        ("its pod is being deleted, which is not counted any more", set(0, 0), true),
        ("its pod is gone", seen(Kind::Pod, How::Deleted, &pod), true),
        ("it is told once more", set(0, 0), false),
    ] {
        folder.fold(seen, now());
        assert_eq!(folder.live.workloads.len(), usize::from(kept), "{what}");
    }
}

#[test]
fn a_pod_is_not_gone_while_its_sidecar_runs() {
    let pod = |sidecar: Value| {
        json!({"metadata": {"name": "p", "namespace": "shop", "uid": "p", "resourceVersion": "1"},
            "spec": {"nodeName": "w1", "containers": []},
            "status": {"phase": "Running",
                "containerStatuses": [{"name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}],
                "initContainerStatuses": [{"name": "proxy", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": sidecar}]}})
    };
    for (sidecar, gone) in [(json!({"running": {}}), false), (json!({"terminated": {"exitCode": 0}}), true)] {
        let mut folder = Folder::default();
        folder.fold(seen(Kind::Pod, How::Applied, &pod(sidecar)), now());
        assert_eq!(folder.live.pods.get(&"p".into()).unwrap().containers_gone, gone);
    }
}

#[test]
fn a_list_is_believed_after_etcd_was_restored() {
    let mut folder = Folder::default();
    for (revision, version, phase) in [("9000", "v1.36.3", "Running"), ("5000", "v1.35.4", "Pending")] {
        let mut node = node("w1");
        node["metadata"]["resourceVersion"] = json!(revision);
        node["status"]["nodeInfo"]["kubeletVersion"] = json!(version);
        let mut pod = object(Kind::Pod, "p");
        pod["metadata"]["resourceVersion"] = json!(revision);
        pod["status"] = json!({"phase": phase});
        for (kind, [begin, end], _) in Lists::of_all() {
            let listed = match kind {
                Kind::Node => seen(kind, How::Listed, &node),
                Kind::Pod => seen(kind, How::Listed, &pod),
                _ => continue,
            };
            for seen in [begin, listed, end] {
                folder.fold(seen, now());
            }
        }
    }
    let (node, pod) = (&folder.live.nodes["w1"], folder.live.pods.get(&"uid-p".into()).unwrap());
    assert_eq!(node.kubelet.as_ref().unwrap().to_string(), "v1.35.4");
    assert_eq!(pod.phase, crate::model::live::Phase::Pending);
}

/// The version that a control plane node `cp1` has with this API server pod and two whole other components.
fn with_api_server(change: &Value) -> Option<String> {
    let mut folder = small();
    folder.fold(seen(Kind::Node, How::Applied, &node("cp1")), now());
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let mut pod = api_server();
        pod["metadata"]["name"] = json!(format!("{component}-cp1"));
        pod["metadata"]["uid"] = json!(format!("uid-of-{component}"));
        pod["metadata"]["resourceVersion"] = json!("2");
        if component == "kube-apiserver" {
            pod["metadata"]["uid"] = json!("uid-api");
            json_patch::merge(&mut pod, change);
        }
        folder.fold(seen(Kind::Pod, How::Applied, &pod), now());
    }
    folder.live.runs(Component::ControlPlane, "cp1").map(|version| version.to_string())
}

#[test]
fn a_static_pod_of_the_control_plane_is_a_mirror_pod_of_its_own_node_in_kube_system() {
    let container = |image: &str| {
        json!({"status": {"containerStatuses": [{"name": "a", "image": image, "imageID": "", "ready": true,
            "restartCount": 0, "state": {"running": {"startedAt": "2026-11-01T00:00:00Z"}}}]}})
    };
    let owner = |kind: &str, uid: &str| json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": "cp1", "uid": uid, "controller": true}]}});
    let two = json!({"spec": {"containers": [{"name": "aaa", "image": "proxy:v9.9.9"}, {"name": "kube-apiserver", "image": "x:v1.35.5"}]},
        "status": {"containerStatuses": [{"name": "aaa", "image": "proxy:v9.9.9", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-11-01T00:00:00Z"}}}, {"name": "kube-apiserver", "image": "x:v1.35.3", "imageID": "",
            "ready": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-11-01T00:00:00Z"}}}]}});
    let digest = "ab".repeat(32);
    for (change, expected) in [
        (json!({}), Some("v1.35.4")),
        // Labels prove nothing, and their absence neither.
        (json!({"metadata": {"labels": {"component": "etcd", "tier": "x"}}}), Some("v1.35.4")),
        // What somebody else may make.
        (json!({"metadata": {"namespace": "tenant"}}), None),
        (json!({"metadata": {"annotations": null}}), None),
        (json!({"metadata": {"ownerReferences": null}}), None),
        (owner("ReplicaSet", "uid-cp1"), None),
        (owner("Node", "uid-of-the-node-before"), None),
        (json!({"metadata": {"name": "kube-apiserver-old-cp1"}}), None),
        (json!({"metadata": {"name": "kube-vip-cp1"}}), None),
        // A component that is missing, restarts or goes is not known.
        (json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}), None),
        (json!({"metadata": {"deletionTimestamp": "2026-11-23T12:00:00Z"}}), None),
        // Images.
        (container("registry.k8s.io/kube-apiserver:v1.35.3"), Some("v1.35.3")),
        (container(&format!("registry.k8s.io/kube-apiserver:v1.35.3@sha256:{digest}")), Some("v1.35.3")),
        (container(&format!("registry.k8s.io/kube-apiserver@sha256:{digest}")), Some("v1.35.4")),
        (container(&format!("sha256:{digest}")), Some("v1.35.4")),
        (container("registry:5000/kube-apiserver:v1.35.3"), Some("v1.35.3")),
        (container("registry:5000/kube-apiserver"), Some("v1.35.4")),
        (
            container("rancher/hardened-kubernetes:v1.35.3-rke2r1-build20251210"),
            Some("v1.35.3-rke2r1-build20251210"),
        ),
        (container("mirror/kube-apiserver:v1.35.3_vendor.1"), Some("v1.35.3+vendor.1")),
        // A container beside the API server.
        (two, Some("v1.35.3")),
    ] {
        assert_eq!(with_api_server(&change).as_deref(), expected, "{change}");
    }
}

#[test]
fn a_virtual_kubelet_is_known_by_its_version_too() {
    for (version, expected) in [
        ("v1.35.4", Some("v1.35.4")),
        ("v1.33.5-eks-3abbec1", Some("v1.33.5-eks-3abbec1")),
        ("v1.14.3-vk-1.2.3", None),
        ("v1.20.6-eklet.1", None),
        ("v1.22.6-kubeedge-v1.12.1", None),
    ] {
        let mut object = node("w1");
        object["status"]["nodeInfo"]["kubeletVersion"] = json!(version);
        object["metadata"]["resourceVersion"] = json!("2");
        let mut folder = small();
        folder.fold(seen(Kind::Node, How::Applied, &object), now());
        let node = folder.live.nodes.get("w1").unwrap();
        assert_eq!(node.kubelet.as_ref().map(ToString::to_string).as_deref(), expected, "{version}");
        assert_eq!(node.virtual_kubelet, expected.is_none(), "{version}");
    }
}

#[test]
fn a_node_that_somebody_removes_is_known_by_its_taint() {
    for (key, value, expected) in [
        ("ToBeDeletedByClusterAutoscaler", "1700000000", true),
        ("karpenter.sh/disrupted", "", true),
        ("karpenter.sh/disruption", "disrupting", true),
        ("aws-node-termination-handler/spot-itn", "x", true),
        ("aws-node-termination-handler/scheduled-maintenance", "x", true),
        ("cloud.google.com/impending-node-termination", "", true),
        ("node.cloudprovider.kubernetes.io/shutdown", "", true),
        ("node.kubernetes.io/out-of-service", "nodeshutdown", true),
        ("atlassian.com/escalator", "1700000000", true),
        ("medik8s.io/remediation", "self-node-remediation", true),
        ("kubevirt.io/drain", "draining", true),
        // It only asks the scheduler to prefer other nodes.
        ("DeletionCandidateOfClusterAutoscaler", "1700000000", false),
        ("node.kubernetes.io/unschedulable", "", false),
        ("dedicated", "gpu", false),
    ] {
        let mut object = node("w1");
        object["spec"] = json!({"taints": [{"key": key, "value": value, "effect": "NoSchedule"}]});
        object["metadata"]["resourceVersion"] = json!("2");
        let mut folder = small();
        folder.fold(seen(Kind::Node, How::Applied, &object), now());
        assert_eq!(folder.live.nodes.get("w1").unwrap().to_be_deleted, expected, "{key}");
    }
}

fn probed(probe: Probe, answer: ProbeAnswer) -> Seen {
    Seen::Probed { probe, answer, asked: now() }
}

/// A read of a node may have been on its way for a second, and watches may have shown meanwhile that some of it is gone.
#[test]
fn a_read_of_a_node_shows_its_jobs_and_nothing_that_was_deleted_meanwhile() {
    let job = |name: &str| {
        json!({"metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "5", "generation": 1,
            "labels": {"windlass.dev/node": "w1", "windlass.dev/run": "c0ffee-1"}}, "spec": {"suspend": true, "template": {}}})
    };
    let pod = |name: &str| {
        let mut pod = web();
        pod["metadata"]["name"] = json!(name);
        pod["metadata"]["uid"] = json!(format!("uid-{name}"));
        pod
    };
    let answer = |node: Option<&Value>, pods: &[Value], jobs: &[Value]| {
        let node = node.map(read);
        let pods = Listing { items: pods.iter().map(read).collect(), resource_version: Some("7".to_owned()) };
        let jobs = Listing { items: jobs.iter().map(read).collect(), resource_version: Some("7".to_owned()) };
        ProbeAnswer::Node(Box::new(NodeRead { node, pods, jobs }))
    };
    let shown = |folder: &Folder| {
        let jobs = folder.live.jobs.on("w1").map(|(name, _)| name.clone());
        let pods = folder.live.pods_on("w1").map(|pod| pod.name.to_string());
        jobs.chain(pods).collect::<Vec<_>>()
    };
    let second = SignedDuration::from_secs(1);
    let probe = |answer, asked| Seen::Probed { probe: Probe::Node("w1".to_owned()), answer, asked };
    let begin = || {
        let mut folder = Folder::default();
        folder.fold(seen(Kind::Node, How::Applied, &node("w1")), now());
        folder.fold(seen(Kind::Job, How::Applied, &job("seen")), now());
        folder.fold(seen(Kind::Pod, How::Applied, &pod("a")), now());
        folder
    };
    let read = || answer(Some(&node("w1")), &[pod("a"), pod("b")], &[job("unseen"), job("lost")]);

    let mut folder = begin();
    folder.fold(probe(read(), now()), now() + second);
    assert_eq!(shown(&folder), ["lost", "unseen", "a", "b"], "what etcd has, and nothing else");

    let mut folder = begin();
    folder.fold(seen(Kind::Job, How::Deleted, &job("lost")), now() + second);
    folder.fold(seen(Kind::Pod, How::Deleted, &pod("a")), now() + second);
    folder.fold(probe(read(), now()), now() + second);
    assert_eq!(shown(&folder), ["unseen", "b"], "deleted after the question");
    folder.fold(probe(read(), now() + second + second), now() + second + second);
    assert_eq!(shown(&folder), ["lost", "unseen", "a", "b"], "deleted before the question");

    let mut folder = begin();
    folder.fold(seen(Kind::Node, How::Deleted, &node("w1")), now() + second);
    folder.fold(probe(read(), now()), now() + second);
    assert!(folder.live.nodes.get("w1").is_none(), "the node was deleted after the question");

    let mut folder = begin();
    folder.fold(Seen::Watched(Watched::Job(Event::Begin)), now());
    folder.fold(Seen::Watched(Watched::Job(Event::End)), now() + second);
    folder.fold(probe(read(), now()), now() + second);
    assert_eq!(shown(&folder), ["a"], "a list has ended after the question");
    assert!(folder.live.reads.is_empty(), "so it is asked once more");

    let mut folder = begin();
    let mut new = (job("new"), pod("new"));
    new.0["metadata"]["resourceVersion"] = json!("8");
    new.1["metadata"]["resourceVersion"] = json!("8");
    folder.fold(seen(Kind::Job, How::Applied, &new.0), now());
    folder.fold(seen(Kind::Pod, How::Applied, &new.1), now());
    folder.fold(probe(read(), now()), now() + second);
    assert_eq!(shown(&folder), ["lost", "new", "unseen", "a", "b", "new"], "made after the lists were read");

    let mut folder = begin();
    let mut newer = node("w1");
    newer["metadata"]["resourceVersion"] = json!("9");
    folder.fold(seen(Kind::Node, How::Applied, &newer), now());
    folder.fold(probe(read(), now()), now() + second);
    assert!(folder.live.reads.is_empty(), "etcd was restored, and no list has shown it yet");
}

#[test]
fn the_answer_to_a_write_brings_back_nothing_that_a_watch_has_shown_to_be_deleted() {
    let mut folder = small();
    folder.fold(seen(Kind::Node, How::Deleted, &node("w1")), now());
    let answer = WriteAnswer::Node(Box::new(read(&node("w1"))));
    folder.fold(Seen::Done(EffectKey::Node("w1".to_owned()), answer), now());
    assert!(folder.live.nodes.get("w1").is_none());
}

#[test]
fn a_job_that_a_write_does_not_find_is_gone() {
    let mut folder = Folder::default();
    let job = json!({"metadata": {"name": "j", "uid": "uid-j", "labels": {"windlass.dev/node": "w1"}}});
    folder.fold(seen(Kind::Job, How::Applied, &job), now());
    assert!(folder.live.jobs.contains("j"));
    let key = || EffectKey::Job("j".to_owned());
    folder.fold(Seen::Done(key(), WriteAnswer::Failed(CallFailure::Other("500".to_owned()))), now());
    folder.fold(Seen::Done(key(), WriteAnswer::Missing), now());
    assert!(!folder.live.jobs.contains("j"));
    assert!(
        !folder.live.overlay.backoff.contains_key(&key()),
        "another Job of this name may be made at once"
    );
}

#[test]
fn an_older_event_does_not_take_back_what_the_answer_to_a_write_has_shown_of_a_deployment() {
    let at = |version: &str, moved: Option<&str>| {
        let mut cart = object(Kind::Deployment, "cart");
        cart["metadata"]["resourceVersion"] = json!(version);
        if let Some(moved) = moved {
            cart["spec"]["template"] = json!({"metadata": {"annotations": {"windlass.dev/moved": moved}}});
        }
        cart
    };
    let mut folder = small();
    let watched = |folder: &mut Folder, cart: &Value| {
        rises(folder, seen(Kind::Deployment, How::Applied, cart));
        folder.live.workloads["uid-cart"].rollout.clone().unwrap().moved
    };
    assert_eq!(watched(&mut folder, &at("5", None)), None);
    let answer = WriteAnswer::Deployment(Box::new(read(&at("7", Some("by w1")))));
    folder.fold(Seen::Done(EffectKey::deployment("shop", "cart"), answer), now());
    assert_eq!(watched(&mut folder, &at("6", None)).as_deref(), Some("by w1"));
    let again = seen(Kind::Deployment, How::Applied, &at("8", Some("by w1")));
    assert_eq!(rises(&mut folder, again), (0, 0), "a new resourceVersion alone is no news");
    assert_eq!(folder.live.workloads["uid-cart"].rollout.as_ref().unwrap().resource_version, 8);
}
