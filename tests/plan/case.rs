//! The short form in which cases are written, and the long one that the planner takes.
//!
//! A node is a line of words: its version, `k=v` labels, and `cordoned`, `held`, `notReady`, `leaving`,
//! `unknown`. A control plane node begins with `control-plane`, and its version may be two: `servers/kubelet`.
//! `w1..w3` are three such nodes. A pod is its node and then its owner (`deployment/cart`, with `x3` replicas),
//! labels, `emptyDir`, `grace:600`, `doNotDisrupt`, `done`, `orphan`. A budget is what it selects, `allows:0`
//! and `never`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use windlass::model::CommitId;
use windlass::model::desired::{
    Cluster, ControlPlane, Desired, Drain, DrainWhen, ForeignCordon, Kubeadm, Limit, Mode, PackageSource,
    Policies, Pool, Provider, Selector,
};
use windlass::model::live::{Budget, Id, Live, Node, Owner, OwnerKind, Phase, Pod, Ready, Server, Workload};
use windlass::model::version::Version;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case is about.
    pub about: String,
    desired: Wish,
    #[serde(default)]
    live: Sight,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wish {
    version: Version,
    #[serde(default)]
    external: bool,
    #[serde(default = "unproven")]
    unproven: String,
    #[serde(default)]
    max: Option<u32>,
    #[serde(default)]
    pools: Vec<PoolWish>,
}

fn unproven() -> String {
    "velero, nightly".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a key that a case may write")]
struct PoolWish {
    name: String,
    select: String,
    #[serde(default)]
    external: bool,
    #[serde(default)]
    canary: u32,
    #[serde(default)]
    soak_minutes: i64,
    #[serde(default = "one")]
    max: u32,
    #[serde(default)]
    percent: Option<u8>,
    #[serde(default)]
    zone: Option<u32>,
    #[serde(default)]
    drain_for_minor: bool,
    #[serde(default)]
    keep_empty_dir_data: bool,
    #[serde(default)]
    upgrade_cordoned: bool,
}

fn one() -> u32 {
    1
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Sight {
    /// What the front door says.
    api: Option<Version>,
    nodes: BTreeMap<String, String>,
    pods: BTreeMap<String, String>,
    budgets: BTreeMap<String, String>,
    incomplete: bool,
}

impl Case {
    pub fn read(text: &str) -> Self {
        serde_saphyr::from_str(text).unwrap()
    }

    pub fn desired(&self) -> Desired {
        let wish = &self.desired;
        let provider = |external| if external { Provider::External } else { Provider::Kubeadm };
        let mut desired = desired(wish.version.clone(), wish.pools.iter().map(PoolWish::pool).collect());
        desired.cluster.control_plane.provider = provider(wish.external);
        desired.cluster.max_unavailable = wish.max.map(Limit::Count);
        desired.cluster.etcd_unproven = Some(wish.unproven.clone()).filter(|reason| reason != "no");
        desired
    }

    pub fn live(&self) -> Live {
        let sight = &self.live;
        let mut live = Live { complete: !sight.incomplete, ..Live::default() };
        live.api.version.clone_from(&sight.api);
        for (names, words) in &sight.nodes {
            for name in range(names) {
                add_node(&mut live, &name, words);
            }
        }
        for (name, words) in &sight.pods {
            let (namespace, name) = name.split_once('/').unwrap();
            for name in range(name) {
                add_pod(&mut live, namespace, &name, words);
            }
        }
        for (name, words) in &sight.budgets {
            let (namespace, name) = name.split_once('/').unwrap();
            live.budgets.insert((namespace.into(), name.into()), budget(words));
        }
        live
    }
}

impl PoolWish {
    fn pool(&self) -> Pool {
        let mut pool = pool(&self.name, &self.select);
        pool.provider = if self.external { Provider::External } else { Provider::Kubeadm };
        pool.canary = self.canary;
        pool.soak = SignedDuration::from_mins(self.soak_minutes);
        pool.max_unavailable = self.percent.map_or(Limit::Count(self.max), Limit::Percent);
        pool.max_unavailable_per_zone = self.zone;
        pool.drain.when = if self.drain_for_minor { DrainWhen::Minor } else { DrainWhen::Always };
        pool.drain.delete_empty_dir_data = !self.keep_empty_dir_data;
        pool.foreign_cordon =
            if self.upgrade_cordoned { ForeignCordon::Upgrade } else { ForeignCordon::Skip };
        pool
    }
}

pub fn desired(version: Version, pools: Vec<Pool>) -> Desired {
    let kubeadm = Kubeadm {
        from: PackageSource::Packages,
        image: "windlass:0.1.0".to_owned(),
        ignore_preflight_errors: Vec::new(),
    };
    let cluster = Cluster {
        name: "prod-eu".to_owned(),
        labels: BTreeMap::new(),
        mode: Mode::Act,
        version,
        max_unavailable: None,
        control_plane: ControlPlane { provider: Provider::Kubeadm, kubeadm },
        etcd_unproven: Some(unproven()),
        pools,
    };
    Desired { commit: CommitId("c0ffee00".repeat(5)), cluster, policies: Policies::default() }
}

pub fn pool(name: &str, select: &str) -> Pool {
    let drain = Drain {
        when: DrainWhen::Always,
        timeout: SignedDuration::from_mins(30),
        delete_empty_dir_data: true,
        jobs: SignedDuration::from_hours(2),
        implicit_budgets: true,
    };
    Pool {
        name: name.to_owned(),
        selector: selector(select),
        provider: Provider::Kubeadm,
        canary: 0,
        soak: SignedDuration::ZERO,
        max_unavailable: Limit::Count(1),
        max_unavailable_per_zone: None,
        foreign_cordon: ForeignCordon::Skip,
        drain,
    }
}

fn selector(text: &str) -> Selector {
    let pair =
        |label: &str| label.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
    Selector { match_labels: text.split(',').map(pair).collect(), match_expressions: Vec::new() }
}

/// `w1..w3` is `w1`, `w2`, `w3`.
fn range(names: &str) -> Vec<String> {
    let Some((first, last)) = names.split_once("..") else { return vec![names.to_owned()] };
    let stem = first.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = |name: &str| name.strip_prefix(stem).unwrap().parse::<u32>().unwrap();
    (number(first)..=number(last)).map(|n| format!("{stem}{n}")).collect()
}

pub fn add_node(live: &mut Live, name: &str, words: &str) {
    let mut node = Node {
        name: name.into(),
        uid: format!("uid-{name}").into(),
        resource_version: "1".to_owned(),
        labels: BTreeMap::new(),
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
        to_be_deleted: false,
        scale_down_disabled: false,
        volumes_in_use: 0,
        network_unavailable: false,
    };
    let mut servers = None;
    for word in words.split_whitespace() {
        match word {
            "control-plane" => node.control_plane = true,
            "cordoned" => node.unschedulable = true,
            "held" => node.hold = Some("disk is being replaced".to_owned()),
            "notReady" => node.ready = Ready::False,
            "leaving" => node.to_be_deleted = true,
            "unknown" => {}
            label if label.contains('=') => {
                let (key, value) = label.split_once('=').unwrap();
                if key == "zone" {
                    node.zone = value.into();
                }
                node.labels.insert(key.into(), value.into());
            }
            versions => {
                let (first, second) = versions.split_once('/').unwrap_or((versions, versions));
                servers = Some(first)
                    .filter(|version| *version != "unknown")
                    .map(|version| version.parse().unwrap());
                node.kubelet = Some(second.parse().unwrap());
            }
        }
    }
    if node.control_plane {
        set_servers(live, name, servers.as_ref());
    }
    live.nodes.insert(node.name.clone(), node);
}

/// The static pods of a control plane node, as they look when they run this version.
pub fn set_servers(live: &mut Live, node: &str, version: Option<&Version>) {
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"] {
        let mut pod = plain_pod("kube-system", &format!("{component}-{node}"), node);
        let version = if component == "etcd" { "3.5.16".parse().ok() } else { version.cloned() };
        pod.mirror = true;
        pod.owner =
            Some(Owner { kind: OwnerKind::Node, uid: format!("uid-{node}").into(), name: node.into() });
        pod.server = Some(Box::new(Server { component: component.into(), version, started: None }));
        put(live, pod);
    }
}

pub fn plain_pod(namespace: &str, name: &str, node: &str) -> Pod {
    Pod {
        uid: format!("uid-{namespace}-{name}").into(),
        resource_version: 1,
        namespace: namespace.into(),
        name: name.into(),
        node: Some(node.into()),
        owner: None,
        labels: Arc::default(),
        phase: Phase::Running,
        ready: true,
        deleting: None,
        created: Timestamp::UNIX_EPOCH,
        arrived: Timestamp::UNIX_EPOCH,
        grace_seconds: 30,
        mirror: false,
        empty_dir: false,
        do_not_disrupt: false,
        volume_claims: Vec::new(),
        containers_gone: false,
        server: None,
    }
}

pub fn put(live: &mut Live, pod: Pod) {
    let node = pod.node.clone().unwrap();
    live.pods_of_node.entry(node).or_default().insert(pod.uid.clone());
    if let Some(owner) = &pod.owner {
        live.pods_of_owner.entry(owner.uid.clone()).or_default().insert(pod.uid.clone());
    }
    live.pods.insert(pod.uid.clone(), pod);
}

pub fn add_pod(live: &mut Live, namespace: &str, name: &str, words: &str) {
    let mut words = words.split_whitespace();
    let mut pod = plain_pod(namespace, name, words.next().unwrap());
    let mut labels: BTreeMap<Id, Id> = BTreeMap::new();
    let (mut replicas, mut orphan) = (3, false);
    for word in words {
        if let Some((kind, owner)) = word.split_once('/') {
            let kind = match kind {
                "deployment" => OwnerKind::ReplicaSet,
                "statefulset" => OwnerKind::StatefulSet,
                "daemonset" => OwnerKind::DaemonSet,
                "job" => OwnerKind::Job,
                _ => OwnerKind::Other,
            };
            let uid = format!("uid-{namespace}-{owner}");
            pod.owner = Some(Owner { kind, uid: uid.into(), name: owner.into() });
        } else if let Some((key, value)) = word.split_once('=') {
            labels.insert(key.into(), value.into());
        } else if let Some(seconds) = word.strip_prefix("grace:") {
            pod.grace_seconds = seconds.parse().unwrap();
        } else {
            match word {
                "emptyDir" => pod.empty_dir = true,
                "doNotDisrupt" => pod.do_not_disrupt = true,
                "done" => pod.phase = Phase::Succeeded,
                "orphan" => orphan = true,
                count => replicas = count.strip_prefix('x').unwrap().parse().unwrap(),
            }
        }
    }
    pod.labels = Arc::new(labels);
    if let Some(owner) = pod.owner.clone().filter(|_| !orphan) {
        let (kind, name) = (owner.kind, owner.name);
        let workload = Workload {
            kind,
            namespace: namespace.into(),
            name,
            replicas,
            parent: None,
            essential: false,
            watched: "",
        };
        live.put_workload(owner.uid, workload);
    }
    put(live, pod);
}

pub fn budget(words: &str) -> Budget {
    let mut budget = Budget {
        resource_version: 1,
        selector: None,
        disruptions_allowed: 1,
        current_healthy: 3,
        desired_healthy: 2,
        expected_pods: 3,
        observed: true,
        sync_failed: false,
        always_allow_unhealthy: false,
        disrupted: std::collections::BTreeSet::new(),
        never: None,
    };
    for word in words.split_whitespace() {
        if word.contains('=') {
            budget.selector = Some(selector(word));
        } else if let Some(allowed) = word.strip_prefix("allows:") {
            budget.disruptions_allowed = allowed.parse().unwrap();
        } else {
            assert_eq!(word, "never");
            budget.disruptions_allowed = 0;
            budget.never = Some("minAvailable asks for 3 of 3 pods".to_owned());
        }
    }
    budget
}
