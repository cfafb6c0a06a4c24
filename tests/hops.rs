//! The control plane of a hop: begun whole within a window or not at all, and finished once it was begun.

use serde_json::{Value, json};
use windlass::model::decision::Key;
use windlass::model::entry::{StepPhase, What};
use windlass::reconcile::{End, Standing};
use windlass::sim::{How, Kind, When};

use crate::acting::{HOUR, MINUTE, SECOND, small, workload};
use crate::windows::window;
use crate::world::{World, cluster_yaml, rules};

/// What the API servers run, by their nodes' names.
fn api_servers(world: &World) -> Vec<String> {
    let pods = world.list("/api/v1/namespaces/kube-system/pods");
    let servers = pods.iter().filter(|pod| pod["metadata"]["labels"]["component"] == "kube-apiserver");
    let images = servers.filter_map(|pod| pod["spec"]["containers"][0]["image"].as_str());
    images.filter_map(|image| Some(image.split_once(':')?.1.to_owned())).collect()
}

/// Three control plane nodes, a worker, and a window that opens for an hour at one o'clock.
async fn in_an_hour() -> World {
    let world = World::new();
    world.control_plane(3).workers("w", 1);
    world.pass(MINUTE).await;
    let (window, cluster) = (window("1h", ""), cluster_yaml("v1.36.3", ""));
    world.commit(
        &[("desired-state/demo/cluster.yaml", Some(&cluster)), ("policies/window.yaml", Some(&window))],
        "demo",
    );
    world
}

/// A pod that nothing would bring back.
fn bare(node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "default"},
        "spec": {"nodeName": node, "tolerations": [{"operator": "Exists"}], "containers": [{"name": "c", "image": "app:1"}]}})
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_cannot_be_emptied_is_not_begun() {
    let mut world = World::new();
    world.control_plane(1).workers("w", 1);
    world.create(bare("cp1"));
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    assert_eq!(world.run().await, End::Idle(Standing::Waiting));
    world.assert_waits(Key::Unmanaged, "pod/default/bare", "cp1");
    world.assert_converged("v1.35.4");
    assert_eq!(api_servers(&world), ["v1.35.4"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_blocked_in_mid_hop_rests_before_it_is_tried_again() {
    let mut world = World::new();
    world.control_plane(1).workers("w", 1);
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    let process = world.daemon();
    world.until("the servers", HOUR, |world| api_servers(world) == ["v1.36.3"]).await;
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}}});
    world.create(workload("Deployment", "web", 1, &json!({}), &json!({"nodeName": "cp1"}))).create(budget);
    world.pass(HOUR * 3).await;
    let journal = world.journal();
    assert!(journal.len() < 60, "{} entries: {:#?}", journal.len(), world.tail());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_untouched_second_hop_gives_way_to_a_newer_commit() {
    let mut world = World::with(windlass::sim::Settings {
        version: "v1.34.4".to_owned(),
        rules: rules(),
        ..Default::default()
    });
    world.control_plane(3).workers("w", 1);
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    let process = world.daemon();
    // The last step of the first hop is cp3's kubelet.
    world
        .until("cp3's kubelet is about to be done", HOUR * 3, |world| {
            world.node("cp3").0.starts_with("v1.35")
        })
        .await;
    world.server.with(|cluster, now| cluster.kill_node("cp2", now));
    world.change_node("cp2", |tree| {
        for c in tree["status"]["conditions"].as_array_mut().unwrap() {
            if c["type"] == "Ready" {
                c["status"] = json!("Unknown");
            }
        }
    });
    world.pass(MINUTE * 5).await;
    let touched = |world: &World| {
        world.journal().iter().any(|e| matches!(&e.what, What::StepMoved { step, phase, .. } if step.contains("v1.36.3") && *phase >= StepPhase::Upgrading))
    };
    assert!(!touched(&world), "set-up: nothing of hop 2 touched");
    world.desire("v1.35.4");
    world.pass(MINUTE).await;
    world.server.with(|cluster, now| cluster.revive_node("cp2", now));
    world.pass(HOUR * 2).await;
    assert!(
        world.nodes().iter().all(|n| !n.1.starts_with("v1.36")),
        "git asks for v1.35.4: {:#?}\n{:#?}",
        world.tail(),
        world.nodes()
    );
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_untouched_hop_asks_the_window_again_after_a_halt() {
    let mut world = small().await;
    let window = window("30m", "");
    let cluster = cluster_yaml("v1.36.3", "");
    world.commit(
        &[("desired-state/demo/cluster.yaml", Some(&cluster)), ("policies/window.yaml", Some(&window))],
        "demo",
    );
    let usual =
        world.server.with(|cluster, _| std::mem::replace(&mut cluster.settings.timings.pod_start, HOUR));
    let process = world.daemon();
    world.pass(HOUR * 3).await;
    assert!(world.record().halted.is_some(), "{:#?}", world.tail());
    assert!(world.nodes().iter().all(|n| n.1 == "v1.35.4" && n.2 && !n.3), "untouched and returned");
    world.server.with(|cluster, _| cluster.settings.timings.pod_start = usual);
    let before = world.jobs().len();
    world.note("windlass-resume", "the image is there");
    world.pass(MINUTE * 10).await;
    assert_eq!(world.jobs().len(), before, "the window is closed: {:#?}", world.tail());
    assert_eq!(api_servers(&world), ["v1.35.4"]);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_stop_of_an_untouched_hop_asks_the_window_again() {
    let mut world = in_an_hour().await;
    let patch = When { verb: "patch", resource: "nodes", ..When::default() };
    let away = How::Status { code: 503, reason: "ServiceUnavailable", message: "no leader".to_owned() };
    world.faults(|faults, _| faults.on(patch, 0, 6, away));
    let process = world.daemon();
    world.until("intents", HOUR * 2, |world| !world.begun().is_empty()).await;
    world.note("windlass-stop", "wait");
    world.pass(HOUR * 2).await;
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    world.pass(MINUTE * 30).await;
    assert!(
        world.jobs().is_empty(),
        "at {} with the window closed for hours: {:#?}",
        world.clock.now(),
        world.tail()
    );
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn run_on_with_a_second_hop_is_explained() {
    let mut world = World::with(windlass::sim::Settings {
        version: "v1.34.4".to_owned(),
        rules: rules(),
        ..Default::default()
    });
    world.control_plane(1).workers("w", 1);
    world.pass(MINUTE).await;
    let window = window("11m", "  atClose: runOn\n");
    let cluster = cluster_yaml("v1.36.3", "");
    world.commit(
        &[("desired-state/demo/cluster.yaml", Some(&cluster)), ("policies/window.yaml", Some(&window))],
        "demo",
    );
    world.server.with(|cluster, _| cluster.settings.timings.job_run = MINUTE * 8);
    let process = world.daemon();
    world.pass(HOUR * 3).await;
    process.end().await;
    let end = world.run().await;
    assert_ne!(end, End::Idle(Standing::AsDesired), "{:#?} {:#?}", world.nodes(), world.tail());
}

#[tokio::test(start_paused = true)]
async fn some_control_plane_node_gets_kubeadm_upgrade_apply() {
    let mut world = World::new();
    world.control_plane(4).workers("w", 1);
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    let patch = When { verb: "patch", resource: "nodes", ..When::default() };
    let away = How::Status { code: 503, reason: "ServiceUnavailable", message: "no leader".to_owned() };
    world.faults(|faults, _| faults.on(patch, 0, 5, away));
    let process = world.daemon();
    world.until("intents", MINUTE * 10, |world| !world.begun().is_empty()).await;
    world.erase(Kind::Node, "", "cp1");
    for c in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"] {
        world.erase(Kind::Pod, "kube-system", &format!("{c}-cp1"));
    }
    let mut scripts = Vec::new();
    for _ in 0..1200 {
        for job in world.jobs() {
            let text =
                job["spec"]["template"]["spec"]["containers"][0]["args"][3].as_str().unwrap().to_owned();
            let name = job["metadata"]["name"].clone();
            if !scripts.iter().any(|(n, _)| *n == name) {
                scripts.push((name, text));
            }
        }
        world.pass(SECOND).await;
    }
    let what: Vec<_> = scripts
        .iter()
        .map(|(n, t)| (n.clone(), t.lines().find(|l| l.starts_with("upgrade()")).map(str::to_owned)))
        .collect();
    assert!(
        scripts.iter().any(|(_, t)| t.contains("kubeadm upgrade apply")),
        "{what:#?} {:#?}",
        world.tail()
    );
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_node_that_somebody_else_cordoned_is_left_alone() {
    let mut world = World::new();
    world.control_plane(3).workers("w", 1);
    world.pass(MINUTE).await;
    world.cordon("cp2");
    world.desire("v1.36.3");
    world.run().await;
    assert_eq!(world.node("cp2").0, "v1.35.4");
}

#[tokio::test(start_paused = true)]
async fn a_half_moved_control_plane_is_finished_after_a_new_commit_outside_of_the_window() {
    let mut world = in_an_hour().await;
    world.faults(|faults, _| faults.fail_jobs_on("cp2"));
    let process = world.daemon();
    world.pass(HOUR * 3).await;
    assert!(world.record().halted.is_some(), "{:#?}", world.tail());
    world.faults(|faults, _| faults.heal_jobs_on("cp2"));
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 2m, maxUnavailable: 2}
";
    let cluster = cluster_yaml("v1.36.3", pool);
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&cluster))], "demo");
    world.pass(HOUR * 4).await;
    assert_eq!(api_servers(&world), ["v1.36.3"; 3], "split for hours: {:#?}", world.tail());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_hop_whose_first_node_failed_is_finished_after_a_resume_outside_of_the_window() {
    let mut world = in_an_hour().await;
    world.faults(|faults, _| faults.fail_jobs_on("cp1"));
    let process = world.daemon();
    world.pass(HOUR * 3).await;
    assert!(world.record().halted.is_some(), "{:#?}", world.tail());
    assert!(world.nodes().iter().any(|node| node.0 == "cp1" && node.3), "the failed one stays claimed");
    world.faults(|faults, _| faults.heal_jobs_on("cp1"));
    let before = world.jobs().len();
    world.note("windlass-resume", "the disk is mended");
    world.pass(HOUR * 2).await;
    assert!(world.jobs().len() > before, "it was begun, and is finished: {:#?}", world.tail());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn until_idle_ends_where_a_control_plane_node_cannot_be_emptied_in_mid_hop() {
    let mut world = World::new();
    world.control_plane(1).workers("w", 1);
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    let process = world.start();
    let moved = |world: &World| {
        let pods = world.list("/api/v1/namespaces/kube-system/pods");
        pods.iter().any(|pod| {
            pod["metadata"]["labels"]["component"] == "kube-apiserver"
                && pod["spec"]["containers"][0]["image"].as_str().is_some_and(|i| i.ends_with("v1.36.3"))
        })
    };
    world.until("the servers", HOUR, moved).await;
    world.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "default"},
        "spec": {"nodeName": "cp1", "tolerations": [{"operator": "Exists"}], "containers": [{"name": "c", "image": "app:1"}]}}));
    world.until("its end", HOUR * 6, |_| !process.is_running()).await;
}
