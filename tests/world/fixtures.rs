//! Worlds and workloads that several scenarios begin with.

use serde_json::{Value, json};
use windlass::model::state::RunState;
use windlass::serve::End;
use windlass::sim::{Kind, When};

use super::World;
use super::process::{HOUR, MINUTE, Process};

/// Three workers that are cheap to move, an app with a budget, and v1.36.3 wanted.
pub async fn small() -> World {
    let world = World::new();
    world.control_plane(1).workers("w", 3).deployment("web", 4).budget("web", json!({"maxUnavailable": 1}));
    world.pass(MINUTE).await;
    world.desire("v1.35.4");
    world
}

/// The same, begun with everything at v1.36.3 but the workers, so that only they are to be moved.
pub async fn workers_only(count: u32) -> World {
    let world = World::at("v1.36.3");
    world.control_plane(1).workers("w", count);
    world.pass(MINUTE).await;
    for n in 1..=count {
        world.change_node(&format!("w{n}"), |tree| {
            tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.35.4");
        });
    }
    world.desire("v1.36.3");
    world
}

/// The control plane and workers at one version each.
pub async fn at(servers: &str, workers: &str) -> World {
    let world = World::at(servers);
    world.control_plane(1).workers("w", 2).deployment("web", 4);
    world.pass(MINUTE).await;
    for node in ["w1", "w2"] {
        world.change_node(node, |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!(workers));
    }
    world
}

/// An app over all workers, and v1.36.3 wanted of them.
pub async fn busy() -> World {
    let world = workers_only(3).await;
    world.deployment("web", 12).budget("web", json!({"maxUnavailable": 2})).deployment("free", 6);
    world.pass(MINUTE).await;
    world
}

const TWO_POOLS: &str = "  maxUnavailable: 3
  nodePools:
    - {name: a, selector: {matchLabels: {pool: a}}, canary: 1, soak: 2m, maxUnavailable: 2, maxUnavailablePerZone: 1}
    - {name: b, selector: {matchLabels: {pool: b}}, canary: 1, soak: 2m, maxUnavailable: 50%}
";

/// Three control plane nodes, eight workers in two pools, and 80 pods under every kind of budget.
pub async fn large() -> World {
    let world = World::new();
    world.control_plane(3).workers("a", 4).workers("b", 4);
    world.deployment("max1", 8).budget("max1", json!({"maxUnavailable": 1}));
    world.deployment("share", 10).budget("share", json!({"maxUnavailable": "25%"}));
    world.deployment("min", 6).budget("min", json!({"minAvailable": 4}));
    world.deployment("most", 10).budget("most", json!({"minAvailable": "60%"}));
    world.deployment("free1", 1).deployment("free4", 4).deployment("free20", 20).deployment("free21", 21);
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", TWO_POOLS);
    world
}

pub const WIDE: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 2}
";

/// A cluster in the middle of drains whose pods take their time to leave.
pub async fn draining(until_idle: bool) -> (World, Process) {
    let mut world = workers_only(4).await;
    world.create(workload("Deployment", "slow", 24, &json!({"sim/stop-seconds": "25"}), &json!({})));
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", WIDE);
    let process = world.started(until_idle);
    world.until("evictions", MINUTE * 10, |world| world.evictions() > 2).await;
    (world, process)
}

/// A run whose canary did not come back.
pub async fn lost_canary() -> World {
    let mut world = workers_only(3).await;
    world.faults(|faults, _| faults.never_return("w1"));
    assert_eq!(world.run().await, End::Idle(RunState::Halted), "{:#?}", world.log());
    assert_eq!(world.begun(), ["w1"], "no second node is touched");
    world
}

/// In the middle of a run: one worker is done, the next is in hand, the third has not been begun.
pub async fn half_way() -> (World, Process) {
    let mut world = workers_only(3).await;
    let process = world.daemon();
    world.until("w1 done", HOUR, |world| world.node("w1").0 == "v1.36.3" && world.node("w1").1).await;
    world.until("the next in hand", HOUR, |world| world.nodes().iter().any(|node| node.3)).await;
    (world, process)
}

pub const PATIENT: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 1, drain: {timeout: 20m, jobs: 1h}}
";

/// Noon of a Monday is when the worlds begin; the window opens at one o'clock, every day.
pub fn window(length: &str, more: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: MaintenanceWindow\nmetadata: {{name: daily}}\nspec:\n  clusters: {{}}\n  \
        timeZone: UTC\n  opens: [{{at: \"13:00\", for: {length}}}]\n{more}"
    )
}

/// A Deployment's or other workload's pods with annotations and whatever else the template's spec is to say.
pub fn workload(kind: &str, name: &str, replicas: u32, annotations: &Value, spec: &Value) -> Value {
    let mut pod = json!({"containers": [{"name": "c", "image": "app:1"}]});
    for (key, value) in spec.as_object().into_iter().flatten() {
        pod[key] = value.clone();
    }
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}, "annotations": annotations}, "spec": pod}}});
    if kind != "DaemonSet" {
        object["spec"]["replicas"] = json!(replicas);
    }
    if kind == "StatefulSet" {
        object["spec"]["serviceName"] = json!(name);
    }
    object
}

/// One pod on a node that asks not to be disrupted.
pub fn careful(node: &str) -> Value {
    workload("Deployment", "careful", 1, &json!({"karpenter.sh/do-not-disrupt": "true"}), &on(node))
}

/// The `DaemonSet` without which no pod of a node has a network.
pub fn network() -> Value {
    let spec = json!({"priorityClassName": "system-node-critical", "tolerations": [{"operator": "Exists"}]});
    let mut set = workload("DaemonSet", "cni", 0, &json!({}), &spec);
    set["metadata"]["namespace"] = json!("kube-system");
    set
}

fn networks(world: &World, node: &str) -> Vec<Value> {
    let mut pods = world.list("/api/v1/namespaces/kube-system/pods");
    pods.retain(|pod| pod["spec"]["nodeName"] == node && pod["metadata"]["labels"]["app"] == "cni");
    pods
}

pub fn has_network(world: &World, node: &str) -> bool {
    networks(world, node).iter().any(|pod| pod["status"]["phase"] == "Running")
}

/// Changes the pod that brings a node its network, which is not Ready after that.
pub fn change_network(world: &World, node: &str, with: impl Fn(&mut Value)) {
    for pod in networks(world, node) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        world.change(Kind::Pod, "kube-system", name, |tree| {
            let conditions = tree["status"]["conditions"].as_array_mut().unwrap();
            let ready = conditions.iter_mut().filter(|condition| condition["type"] == "Ready");
            ready.for_each(|condition| condition["status"] = json!("False"));
            with(tree);
        });
    }
}

/// Pins pods to one node by its name's label.
pub fn on(node: &str) -> Value {
    json!({"nodeSelector": {"kubernetes.io/hostname": node}})
}

fn pod_on<'a>(pods: &'a [Value], app: &str) -> &'a Value {
    pods.iter().find(|pod| pod["metadata"]["labels"]["app"] == app).unwrap()
}

/// The name of an app's one pod, as reasons have it.
pub fn object(world: &World, app: &str) -> String {
    let pods = world.list("/api/v1/namespaces/default/pods");
    format!("pod/default/{}", pod_on(&pods, app)["metadata"]["name"].as_str().unwrap())
}

pub fn eviction() -> When {
    When { verb: "create", resource: "pods", subresource: "eviction", ..When::default() }
}
