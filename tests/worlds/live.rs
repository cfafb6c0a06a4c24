//! What there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use windlass::model::addon::{ContainerImage, WorkloadRead};
use windlass::model::installed::InstalledAddon;
use windlass::model::live::{
    Allocatable, Budget, Id, Labels, Live, Node, NodeTaint, Owner, OwnerKind, Phase, Pod, Progress, Ready,
    Requests, Rollout, Seconds, Seldom, Server, Strategy, Workload,
};
use windlass::model::version::Version;

use super::charts;
use super::desired::{selector, workload_ref};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Sight {
    /// What the API endpoint says.
    pub api: Option<Version>,
    pub nodes: BTreeMap<String, String>,
    pub pods: BTreeMap<String, String>,
    pub budgets: BTreeMap<String, String>,
    /// The workloads of addons: containers with their images, and words; see [`workload`].
    pub addons: BTreeMap<String, String>,
    /// The releases of addons; see [`charts::put`].
    pub charts: BTreeMap<String, String>,
    pub incomplete: bool,
}

/// Words that say more of an object than what a plan is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Node and word.
    pub nodes: Vec<(String, String)>,
    /// UID of a pod and word.
    pub pods: Vec<(String, String)>,
}

impl Sight {
    pub fn live(&self) -> (Live, Marks) {
        let mut live = Live::default();
        let mut marks = Marks::default();
        live.api.version.clone_from(&self.api);
        live.api.agreed = true;
        for (names, words) in &self.nodes {
            for name in range(names) {
                let more = add_node(&mut live, &name, words);
                marks.nodes.extend(more.into_iter().map(|mark| (name.clone(), mark)));
            }
        }
        for (name, words) in &self.pods {
            let (namespace, name) = name.split_once('/').unwrap();
            for name in range(name) {
                let more = add_pod(&mut live, namespace, &name, words);
                marks.pods.extend(more.into_iter().map(|mark| (pod_uid(namespace, &name), mark)));
            }
        }
        for (name, words) in &self.budgets {
            let (namespace, name) = name.split_once('/').unwrap();
            live.budgets.insert((namespace.into(), name.into()), budget(words));
        }
        for (name, words) in &self.addons {
            live.addon_workloads.insert(workload_ref(name), workload(words));
        }
        // What kubeadm moves is read before every plan that would check it.
        for addon in InstalledAddon::ALL {
            let of = addon.workload();
            if live.workload_of(&of).is_some() {
                let read = || workload(&format!("{}=registry.k8s.io/{}:v1", addon.name(), addon.name()));
                live.addon_workloads.entry(of).or_insert_with(read);
            }
        }
        for (name, words) in &self.charts {
            charts::put(&mut live, name, words);
        }
        live.complete = !self.incomplete;
        (live, marks)
    }
}

/// `w1..w3` is `w1`, `w2`, `w3`.
fn range(names: &str) -> Vec<String> {
    let Some((first, last)) = names.split_once("..") else { return vec![names.to_owned()] };
    let stem = first.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = |name: &str| name.strip_prefix(stem).unwrap().parse::<u32>().unwrap();
    (number(first)..=number(last)).map(|n| format!("{stem}{n}")).collect()
}

/// `missing`, or containers with their images and some of `rolling`, `stuck`, `onDelete`, `by:kubectl-set`.
pub fn workload(words: &str) -> Option<WorkloadRead> {
    let mut read = WorkloadRead {
        uid: "uid-workload".to_owned(),
        resource_version: "1".to_owned(),
        generation: 1,
        images: BTreeMap::new(),
        progress: Progress::Complete,
        complete_since: Some(Timestamp::UNIX_EPOCH),
        progressed: Timestamp::UNIX_EPOCH,
        counts: [1, 1, 1],
        furthest: [1, 1, 1],
        stays: None,
    };
    for word in words.split_whitespace() {
        match word {
            "missing" => return None,
            "rolling" => {
                (read.progress, read.complete_since) = (Progress::Going, None);
                read.counts = [2, 1, 1];
            }
            "stuck" => (read.progress, read.complete_since) = (Progress::Failed("it timed out".into()), None),
            "onDelete" => read.stays = Some("its updateStrategy is OnDelete"),
            word if word.starts_with("by:") => {
                let by = Some(format!("{} by Update", &word[3..]));
                read.images.values_mut().for_each(|image| image.manager.clone_from(&by));
            }
            word => {
                let (container, image) = word.split_once('=').unwrap();
                let image = ContainerImage { image: image.to_owned(), init: false, manager: None };
                read.images.insert(container.to_owned(), image);
            }
        }
    }
    Some(read)
}

fn plain_node(name: &str) -> Node {
    Node {
        name: name.into(),
        uid: format!("uid-{name}").into(),
        resource_version: "1".to_owned(),
        labels: Labels::default(),
        zone: "".into(),
        control_plane: false,
        kubelet: None,
        kubelet_since: Timestamp::UNIX_EPOCH,
        ready: Ready::True,
        ready_since: Timestamp::UNIX_EPOCH,
        unschedulable: false,
        unschedulable_since: Timestamp::UNIX_EPOCH,
        claim: None,
        hold: None,
        taints: Vec::new(),
        allocatable: Allocatable { cpu: 400, memory: 4_000, pods: 110 },
        to_be_deleted: false,
        scale_down_disabled: false,
        joined: Timestamp::UNIX_EPOCH,
        network_unavailable: None,
        virtual_kubelet: false,
    }
}

/// Adds a node; what is left are the words that are marks.
pub fn add_node(live: &mut Live, name: &str, words: &str) -> Vec<String> {
    let mut node = plain_node(name);
    let mut labels: BTreeMap<Id, Id> = BTreeMap::new();
    let (mut control_plane, mut marks) = (None, Vec::new());
    for word in words.split_whitespace() {
        match word {
            "control-plane" => node.control_plane = true,
            "cordoned" => node.unschedulable = true,
            "held" => node.hold = Some("disk is being replaced".to_owned()),
            "notReady" => node.ready = Ready::False,
            "leaving" => node.to_be_deleted = true,
            "outdated" => node.taints.push(NodeTaint::outdated()),
            "dedicated" => node.taints.push(NodeTaint { key: "dedicated".into(), ..NodeTaint::outdated() }),
            "virtual" => node.virtual_kubelet = true,
            "unknown" => {}
            label if label.contains('=') => {
                let (key, value) = label.split_once('=').unwrap();
                if key == "zone" {
                    node.zone = value.into();
                }
                labels.insert(key.into(), value.into());
            }
            versions if is_version(versions) => {
                let (first, second) = versions.split_once('/').unwrap_or((versions, versions));
                control_plane = Some(first)
                    .filter(|version| *version != "unknown")
                    .map(|version| version.parse().unwrap());
                node.kubelet = Some(second.parse().unwrap());
            }
            mark => marks.push(mark.to_owned()),
        }
    }
    node.labels = labels.into_iter().collect();
    if node.control_plane {
        set_control_plane(live, name, control_plane.as_ref());
    }
    if node.is_outdated() {
        live.outdated.insert(node.name.clone());
    }
    live.nodes.insert(node.name.clone(), node);
    marks
}

/// `v1.36.3`, `v1.36.3/v1.35.4` or `unknown/v1.35.4`.
pub fn is_version(word: &str) -> bool {
    let word = word.strip_prefix("unknown/").unwrap_or(word);
    word.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The static pods of a control plane node, as they look when they run this version.
pub fn set_control_plane(live: &mut Live, node: &str, version: Option<&Version>) {
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"] {
        let mut pod = plain_pod("kube-system", &format!("{component}-{node}"), node);
        let version = if component == "etcd" { "3.5.16".parse().ok() } else { version.cloned() };
        pod.mirror = true;
        let owner = Owner { kind: OwnerKind::Node, uid: format!("uid-{node}").into(), name: node.into() };
        pod.owner = Some(owner.into());
        let server = Some(Server { component: component.into(), version, started: None });
        pod.seldom = Seldom { server, ..Seldom::default() }.kept();
        put(live, pod);
    }
}

fn pod_uid(namespace: &str, name: &str) -> String {
    format!("uid-{namespace}-{name}")
}

pub fn plain_pod(namespace: &str, name: &str, node: &str) -> Pod {
    Pod {
        uid: pod_uid(namespace, name).into(),
        resource_version: 1,
        namespace: namespace.into(),
        name: name.into(),
        node: Some(node.into()),
        owner: None,
        labels: Arc::default(),
        phase: Phase::Running,
        ready: true,
        deleting: None,
        created: Seconds::default(),
        arrived: Seconds::default(),
        grace_seconds: 30,
        requests: Requests::default(),
        ready_after: 0,
        mirror: false,
        empty_dir: false,
        do_not_disrupt: false,
        containers_gone: false,
        seldom: None,
    }
}

pub fn put(live: &mut Live, pod: Pod) {
    live.pods.put(pod);
}

/// Adds a pod, and its owner; what is left are the words that are marks.
pub fn add_pod(live: &mut Live, namespace: &str, name: &str, words: &str) -> Vec<String> {
    let mut words = words.split_whitespace();
    let mut pod = plain_pod(namespace, name, words.next().unwrap());
    let mut labels: BTreeMap<Id, Id> = BTreeMap::new();
    let (mut replicas, mut orphan, mut rollout, mut marks) = (3, false, None, Vec::new());
    for word in words {
        if let Some((key, value)) = word.split_once('=') {
            labels.insert(key.into(), value.into());
        } else if let Some((kind, owner)) = word.split_once('/') {
            let owner = owner_of(kind, namespace, owner);
            pod.owner = Some(owner.into());
        } else if let Some(seconds) = word.strip_prefix("grace:") {
            pod.grace_seconds = seconds.parse().unwrap();
        } else if let Some(seconds) = word.strip_prefix("ready:") {
            pod.ready_after = seconds.parse().unwrap();
        } else if rolls(&mut rollout, word) {
        } else if let Some(count) = word.strip_prefix('x') {
            replicas = count.parse().unwrap();
        } else {
            match word {
                "emptyDir" => pod.empty_dir = true,
                "doNotDisrupt" => pod.do_not_disrupt = true,
                "done" => (pod.phase, pod.ready) = (Phase::Succeeded, false),
                "unready" => pod.ready = false,
                "orphan" => orphan = true,
                mark => marks.push(mark.to_owned()),
            }
        }
    }
    pod.labels = Arc::new(labels.into_iter().collect());
    if let Some(owner) = pod.owner.clone().filter(|_| !orphan) {
        let (kind, name) = (owner.kind, owner.name.clone());
        let workload = Workload {
            kind,
            namespace: namespace.into(),
            name,
            replicas,
            parent: None,
            essential: false,
            rollout: None,
        };
        let parent = rollout.map(|rollout| {
            let uid = Id::from(format!("{}-deployment", owner.uid));
            let rollout = Some(Box::new(rollout));
            let kind = OwnerKind::Deployment;
            live.put_workload(uid.clone(), Workload { kind, rollout, ..workload.clone() });
            uid
        });
        live.put_workload(owner.uid.clone(), Workload { parent, ..workload });
    }
    put(live, pod);
    marks
}

/// What a word says of the rollouts of the Deployment of a pod; false if it says something else. Any of these words gives a pod
/// of a `ReplicaSet` a Deployment above it: `inDeployment`; `surge` and `noSurge`, which its owner asks for; `recreates`,
/// `paused`, `noNewPod` and `mayMiss:1` for a strategy; `rolling`, in the middle of a rollout of somebody else.
fn rolls(rollout: &mut Option<Rollout>, word: &str) -> bool {
    let mut of = rollout.clone().unwrap_or(Rollout {
        resource_version: 1,
        surge: None,
        strategy: Strategy::Rolling { surge: 1, unavailable: 0 },
        progress: Progress::Complete,
        moved: None,
        note: None,
    });
    match word.split_once(':').unwrap_or((word, "")) {
        ("inDeployment", "") => {}
        ("surge", "") => of.surge = Some(true),
        ("noSurge", "") => of.surge = Some(false),
        ("recreates", "") => of.strategy = Strategy::Recreate,
        ("paused", "") => of.strategy = Strategy::Paused,
        ("noNewPod", "") => of.strategy = Strategy::Rolling { surge: 0, unavailable: 1 },
        ("mayMiss", count) => {
            of.strategy = Strategy::Rolling { surge: 1, unavailable: count.parse().unwrap() };
        }
        ("rolling", "") => of.progress = Progress::Going,
        _ => return false,
    }
    *rollout = Some(of);
    true
}

fn owner_of(kind: &str, namespace: &str, name: &str) -> Owner {
    let kind = match kind {
        "deployment" => OwnerKind::ReplicaSet,
        "statefulset" => OwnerKind::StatefulSet,
        "daemonset" => OwnerKind::DaemonSet,
        "job" => OwnerKind::Job,
        _ => OwnerKind::Other,
    };
    Owner { kind, uid: format!("uid-{namespace}-{name}").into(), name: name.into() }
}

pub fn budget(words: &str) -> Budget {
    let mut budget = Budget {
        resource_version: 1,
        selector: None,
        disruptions_allowed: 1,
        current_healthy: 3,
        desired_healthy: 2,
        expected: 3,
        observed: true,
        sync_failed: false,
        always_allow_unhealthy: false,
        disrupted: BTreeSet::new(),
        never: None,
    };
    for word in words.split_whitespace() {
        if word.contains('=') {
            budget.selector = Some(selector(word));
        } else if let Some(allowed) = word.strip_prefix("allows:") {
            budget.disruptions_allowed = allowed.parse().unwrap();
        } else if let Some((current, desired)) =
            word.strip_prefix("healthy:").and_then(|of| of.split_once('/'))
        {
            (budget.current_healthy, budget.desired_healthy) =
                (current.parse().unwrap(), desired.parse().unwrap());
        } else {
            assert_eq!(word, "never");
            budget.disruptions_allowed = 0;
            budget.never = Some("minAvailable asks for 3 of 3 pods".to_owned());
        }
    }
    budget
}
