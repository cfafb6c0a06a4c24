//! Addons: moved in their order, watched to the end of their rollouts, and never more than a commit asks for.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass::model::decision::Key;
use windlass::model::state::RunState;
use windlass::record::{self, NodeState};
use windlass::serve::End;
use windlass::sim::{self, How, Kind, When};

use crate::world::fixtures::window;
use crate::world::process::{HOUR, MINUTE, SECOND};
use crate::world::{ALWAYS, World, cluster_yaml, rules};

const BROKEN: &str = "registry.example.com/coredns:v9";

/// What is asked for besides Kubernetes.
fn addons(cilium: &str, coredns: &str) -> String {
    format!(
        "  nodePools:
    - {{name: w, selector: {{matchLabels: {{pool: w}}}}, canary: 0, maxUnavailable: 1}}
  addons:
    - {{name: coredns, version: \"{coredns}\", after: [cilium], timeout: 5m,
       image: {{namespace: kube-system, workload: deployment/coredns, container: coredns}}}}
    - {{name: cilium, version: \"{cilium}\",
       image: {{namespace: kube-system, workload: daemonset/cilium, container: agent}}}}
"
    )
}

/// The file has `CoreDNS`, so kubeadm leaves it out.
fn desire(world: &World, version: &str, more: &str) {
    let cluster = cluster_yaml(version, more);
    world.desire_within(ALWAYS, &cluster.replace("kubeadm: {", "kubeadm: {skipPhases: [addon/coredns], "));
}

fn carrier(kind: &str, name: &str, container: &str, image: &str, spec: &Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"containers": [
                {"name": container, "image": image}, {"name": "other", "image": "other:1"}]}}}});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

/// A control plane node, two workers, a network plugin and a DNS server; nothing is asked for yet.
async fn world() -> World {
    let settings = sim::Settings {
        version: "v1.35.4".to_owned(),
        rules: rules(),
        broken_images: BTreeSet::from([BROKEN.to_owned()]),
        ..sim::Settings::default()
    };
    let world = World::with(settings);
    world.control_plane(1).workers("w", 2);
    world.create(carrier("DaemonSet", "cilium", "agent", "quay.example.com/cilium:v1.17.8", &json!({})));
    let spec = json!({"replicas": 2, "progressDeadlineSeconds": 120});
    world.create(carrier("Deployment", "coredns", "coredns", "registry.example.com/coredns:v1.11.3", &spec));
    world.pass(MINUTE).await;
    world
}

fn image(world: &World, path: &str, container: &str) -> String {
    let objects = world.list(&format!("/apis/apps/v1/namespaces/kube-system/{path}"));
    let containers = objects[0]["spec"]["template"]["spec"]["containers"].as_array().unwrap().clone();
    let container = containers.into_iter().find(|of| of["name"] == container).unwrap();
    container["image"].as_str().unwrap().to_owned()
}

fn coredns(world: &World) -> String {
    image(world, "deployments", "coredns")
}

/// The accepted writes of images, in their order.
fn moved(world: &World) -> Vec<String> {
    let writes = world.writes_after("2026-01-01T00:00:00Z".parse().unwrap());
    let of_carriers = |write: &&String| write.contains(" patch ") && write.contains("/apis/apps/v1/");
    writes.iter().filter(of_carriers).map(|write| write.rsplit('/').next().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn kubernetes_the_network_plugin_and_dns_are_one_run_in_the_right_order() {
    let mut world = world().await;
    desire(&world, "v1.36.3", &addons("v1.18.3", "v1.12.1"));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(coredns(&world), "registry.example.com/coredns:v1.12.1");
    assert_eq!(image(&world, "daemonsets", "agent"), "quay.example.com/cilium:v1.18.3");
    assert_eq!(image(&world, "daemonsets", "other"), "other:1", "nothing else of the template changes");
    let journal = world.journal();
    let told: Vec<String> =
        journal.iter().map(record::sentence).filter(|line| line.contains("upgraded to")).collect();
    let order = [
        "the control plane of cp1 upgraded to v1.36.3",
        "cp1 upgraded to v1.36.3",
        "the addon cilium upgraded to v1.18.3",
        "the addon coredns upgraded to v1.12.1",
    ];
    let place = |what: &str| {
        told.iter().position(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{what}: {told:#?}"))
    };
    let places: Vec<usize> = order.into_iter().chain(["w1 upgraded", "w2 upgraded"]).map(place).collect();
    assert!(places.is_sorted(), "{told:#?}");
    assert_eq!(world.record().ended.len(), 1, "one run");
    let before = world.clock.now();
    world.run().await;
    world.pass(HOUR).await;
    let since: Vec<String> =
        world.writes_after(before).into_iter().filter(|write| !write.contains("leases")).collect();
    assert_eq!(since, Vec::<String>::new(), "an addon that is as asked costs no write");
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn addons_alone_are_a_run_and_keep_to_the_window() {
    let mut world = world().await;
    world.desire_within(&window("4h", ""), &cluster_yaml("v1.35.4", &addons("v1.17.8", "v1.12.1")));
    let process = world.daemon();
    world.pass(MINUTE * 55).await;
    assert_eq!(moved(&world), Vec::<String>::new(), "before the window opens");
    world.assert_waits(Key::WindowClosed, "window/daily", "");
    world.until("coredns has moved", HOUR, |world| world.record().ended.len() == 1).await;
    assert_eq!(moved(&world), ["coredns"]);
    assert_eq!(coredns(&world), "registry.example.com/coredns:v1.12.1");
    let log = world.log();
    let told = |text: &str| log.iter().any(|line| line.contains(text));
    assert!(told("started, addons at v1.35.4") && told("converged, addons at v1.35.4"), "{log:#?}");
    let nodes_touched = world.writes_after("2026-01-01T00:00:00Z".parse().unwrap());
    assert!(!nodes_touched.iter().any(|write| write.contains("/nodes/")), "no node is touched");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_does_not_come_halts_and_a_commit_that_changes_it_goes_on() {
    let mut world = world().await;
    desire(&world, "v1.36.3", &addons("v1.17.8", "v9"));
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::Halted), "{:#?}", world.log());
    world.assert_halted(Key::AddonNotRolledOut, "does not go on");
    world.assert_halted(Key::AddonNotRolledOut, "is not Ready on");
    world.assert_in_service("w1", "v1.35.4");
    let status = record::read_status(&world.record_files()["demo/status.yaml"]).unwrap();
    let addon = &status.run.as_ref().unwrap().addons[0];
    assert_eq!((addon.name.as_str(), addon.from.as_str(), addon.to.as_str()), ("coredns", "v1.11.3", "v9"));
    assert_eq!((addon.state, addon.reasons[0].key), (NodeState::Failed, Key::AddonNotRolledOut));
    desire(&world, "v1.36.3", &addons("v1.17.8", "v1.12.1"));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(coredns(&world), "registry.example.com/coredns:v1.12.1");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_told_before_the_run_begins() {
    let denied = ["patch deployments".to_owned()].into();
    let settings = sim::Settings { version: "v1.35.4".to_owned(), denied, ..sim::Settings::default() };
    let mut world = World::with(settings);
    world.control_plane(1).workers("w", 1);
    let spec = json!({"replicas": 2});
    world.create(carrier("Deployment", "coredns", "coredns", "registry.example.com/coredns:v1.11.3", &spec));
    world.create(carrier("DaemonSet", "cilium", "agent", "quay.example.com/cilium:v1.17.8", &json!({})));
    world.pass(MINUTE).await;
    desire(&world, "v1.35.4", &addons("v1.17.8", "v1.12.1"));
    assert_eq!(world.run().await, End::Idle(RunState::NeedsAPerson), "{:#?}", world.log());
    world.assert_waits(
        Key::RightMissing,
        "addon/coredns",
        "may not patch deployments.apps in namespace kube-system",
    );
    assert!(world.record().run.is_none() && moved(&world).is_empty());
}

/// `onFailure: rollback`: what failed goes back first, and then the run halts for a person.
#[tokio::test(start_paused = true)]
async fn a_rollout_that_does_not_come_goes_back_where_its_file_says_so() {
    let mut world = world().await;
    let back =
        |coredns: &str| addons("v1.17.8", coredns).replace("timeout: 5m", "timeout: 5m, onFailure: rollback");
    desire(&world, "v1.36.3", &back("v9"));
    let mut process = world.start();
    world.until("the bad image rolls out", HOUR, |world| coredns(world) == BROKEN).await;
    world.until("it goes back", HOUR, |world| coredns(world).ends_with("v1.11.3")).await;
    // Killed on the way back, it goes on with it.
    drop(process);
    process = world.start();
    assert_eq!(process.ended().await, End::Idle(RunState::Halted), "{:#?}", world.log());
    world.assert_halted(Key::AddonNotRolledOut, "does not go on");
    world.assert_halted(Key::AddonNotRolledOut, "it went back to v1.11.3");
    world.assert_in_service("w1", "v1.35.4");
    assert_eq!(moved(&world), ["coredns", "coredns"]);
    let log = world.log();
    assert!(log.iter().any(|line| line.contains("failed and goes back")), "{log:#?}");
    desire(&world, "v1.36.3", &back("v1.12.1"));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

/// Its pods are available, and their container ends again and again: the rollout is complete, and the addon is not well.
#[tokio::test(start_paused = true)]
async fn a_container_that_ends_again_and_again_halts_the_run() {
    for mended in [true, false] {
        let mut world = world().await;
        world.desire_with("v1.35.4", &addons("v1.17.8", "v1.12.1"));
        let mut process = world.start();
        world.until("it rolls out", HOUR, |world| coredns(world).ends_with("v1.12.1")).await;
        let of_image = |pod: &&Value| {
            let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
            image.ends_with("coredns:v1.12.1")
        };
        let pods = |world: &World| world.list("/api/v1/namespaces/kube-system/pods");
        world.until("new pods run", HOUR, |world| pods(world).iter().filter(of_image).count() == 2).await;
        for count in 1..if mended { 6 } else { 40 } {
            let pod = pods(&world).iter().find(of_image).unwrap()["metadata"]["name"].clone();
            let now = world.clock.now().to_string();
            world.change(Kind::Pod, "kube-system", pod.as_str().unwrap(), |tree| {
                tree["status"]["containerStatuses"] = json!([{"name": "coredns", "image": "", "imageID": "", "ready": true,
                    "restartCount": count, "state": {"running": {"startedAt": now}}}]);
            });
            world.pass(SECOND * 10).await;
            let said = process.says(Key::AddonRolling, "addon/coredns");
            assert!(said || world.record().halted.is_some(), "{:#?}", process.view().answers);
        }
        let end = process.ended().await;
        if mended {
            world.assert_done(&end, "v1.35.4");
        } else {
            assert_eq!(end, End::Idle(RunState::Halted), "{:#?}", world.log());
            world.assert_halted(Key::AddonNotRolledOut, "ended, and was started again at");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_loses_its_network_to_a_plugin_is_waited_for() {
    let mut world = world().await;
    world.change(Kind::DaemonSet, "kube-system", "cilium", |tree| {
        tree["spec"]["template"]["spec"]["priorityClassName"] = json!("system-node-critical");
    });
    world.pass(MINUTE).await;
    world.desire_with("v1.35.4", &addons("v1.18.3", "v1.11.3"));
    let mut process = world.start();
    let moved = |world: &World| image(world, "daemonsets", "agent").ends_with("v1.18.3");
    world.until("it rolls out", HOUR, moved).await;
    let network = |world: &World, status: &str| {
        let since = world.clock.now().to_string();
        world.change(Kind::Node, "", "w1", |tree| {
            let conditions = tree["status"]["conditions"].as_array_mut().unwrap();
            conditions.retain(|condition| condition["type"] != "NetworkUnavailable");
            conditions
                .push(json!({"type": "NetworkUnavailable", "status": status, "lastTransitionTime": since}));
        });
    };
    network(&world, "True");
    world.pass(MINUTE * 3).await;
    assert!(world.record().run.is_some(), "{:#?}", world.log());
    assert!(process.says(Key::AddonRolling, "addon/cilium"), "{:#?}", process.view().answers);
    network(&world, "False");
    let end = process.ended().await;
    world.assert_done(&end, "v1.35.4");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_takes_a_bad_version_back_does_not_wait_for_its_rollout() {
    let mut world = world().await;
    desire(&world, "v1.35.4", &addons("v1.17.8", "v9"));
    let process = world.daemon();
    world.until("the bad image rolls out", HOUR, |world| coredns(world) == BROKEN).await;
    desire(&world, "v1.35.4", &addons("v1.17.8", "v1.11.3"));
    world.until("the good one is back", MINUTE, |world| coredns(world).ends_with("v1.11.3")).await;
    world.until("and its run has ended", MINUTE * 5, |world| world.record().ended.len() == 2).await;
    assert!(world.record().run.is_none() && world.record().halted.is_none(), "{:#?}", world.log());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changes_during_the_rollout_is_not_fought_over() {
    let mut world = world().await;
    desire(&world, "v1.35.4", &addons("v1.17.8", "v1.12.1"));
    let mut process = world.start();
    world.until("the image is set", HOUR, |world| coredns(world).ends_with("v1.12.1")).await;
    world.change(Kind::Deployment, "kube-system", "coredns", |tree| {
        tree["spec"]["template"]["spec"]["containers"][0]["image"] =
            json!("registry.example.com/coredns:mine");
    });
    assert_eq!(process.ended().await, End::Idle(RunState::Halted), "{:#?}", world.log());
    world.assert_halted(Key::AddonNotRolledOut, "somebody changed its image after Windlass did");
    assert_eq!(moved(&world).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_sets_an_image_back_after_its_run_is_not_fought_every_few_minutes() {
    let mut world = world().await;
    desire(&world, "v1.35.4", &addons("v1.17.8", "v1.12.1"));
    let process = world.daemon();
    for _ in 0..40 {
        world.pass(MINUTE * 3).await;
        world.change(Kind::Deployment, "kube-system", "coredns", |tree| {
            tree["spec"]["template"]["spec"]["containers"][0]["image"] =
                json!("registry.example.com/coredns:v1.11.3");
        });
    }
    let times = moved(&world).len();
    assert!((2..=4).contains(&times), "once an hour in two hours, not {times} times: {:#?}", world.log());
    world.assert_waits(Key::AddonManager, "addon/coredns", "somebody sets it back");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_forged_plan_gives_no_container_another_repository() {
    let mut world = world().await;
    desire(&world, "v1.35.4", &addons("v1.17.8", "v1.12.1"));
    let mut process = world.start();
    world.until("the run has begun", HOUR, |world| world.record().run.is_some()).await;
    world.change(Kind::Deployment, "kube-system", "coredns", |tree| {
        tree["spec"]["template"]["spec"]["containers"][0]["image"] =
            json!("mirror.example.com/coredns:v1.11.3");
    });
    drop(process.ended().await);
    assert!(
        !coredns(&world).starts_with("registry."),
        "not the one that the plan was made from: {}",
        coredns(&world)
    );
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_is_not_there_keeps_the_run_from_beginning() {
    let mut world = world().await;
    world.erase(Kind::Deployment, "kube-system", "coredns");
    world.pass(MINUTE).await;
    desire(&world, "v1.36.3", &addons("v1.17.8", "v1.12.1"));
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::NeedsAPerson), "{:#?}", world.log());
    world.assert_waits(Key::AddonNotFound, "addon/coredns", "there is no deployment/kube-system/coredns");
    assert!(world.record().run.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_a_rollout_judges_nothing() {
    let mut world = world().await;
    desire(&world, "v1.35.4", &addons("v1.17.8", "v9"));
    let process = world.daemon();
    world.until("the image is set", HOUR, |world| coredns(world) == BROKEN).await;
    world.note("windlass-stop", "the database team asked");
    world.pass(HOUR).await;
    assert!(world.record().halted.is_none(), "{:#?}", world.log());
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    world.until("it halts", HOUR, |world| world.record().halted.is_some()).await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_and_a_conflict_are_got_over() {
    let status = |code, reason| How::Status { code, reason, message: "not now".to_owned() };
    for how in [How::AppliedButTimedOut, status(409, "Conflict"), status(500, "InternalError")] {
        let mut world = world().await;
        desire(&world, "v1.35.4", &addons("v1.17.8", "v1.12.1"));
        let when = When { verb: "patch", resource: "deployments", ..When::default() };
        world.faults(|faults, _| faults.on(when, 0, 2, how.clone()));
        let end = world.run().await;
        world.assert_done(&end, "v1.35.4");
        assert_eq!(coredns(&world), "registry.example.com/coredns:v1.12.1", "{how:?}");
        world.pass(SECOND).await;
    }
}
