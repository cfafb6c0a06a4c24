//! The control plane: hops of one minor, begun whole within a window or not at all, and finished once they were begun.

use serde_json::{Value, json};
use windlass::model::decision::Key;
use windlass::model::entry::{StepEvent, StepPhase, What};
use windlass::model::state::RunState;
use windlass::serve::End;
use windlass::sim::Kind;

use crate::world::fixtures::{at, on, small, window, workload};
use crate::world::process::{HOUR, MINUTE, SECOND};
use crate::world::{ALWAYS, World, cluster_yaml, hosted_yaml};

/// What the API servers run, by their nodes' names.
fn api_servers(world: &World) -> Vec<String> {
    let pods = world.list("/api/v1/namespaces/kube-system/pods");
    let servers = pods.iter().filter(|pod| pod["metadata"]["labels"]["component"] == "kube-apiserver");
    let images = servers.filter_map(|pod| pod["spec"]["containers"][0]["image"].as_str());
    images.filter_map(|image| Some(image.split_once(':')?.1.to_owned())).collect()
}

fn minor(version: &str) -> i32 {
    version.trim_start_matches("v1.").split('.').next().unwrap().parse().unwrap()
}

/// The minors by which the oldest kubelet is behind the newest API server, and whether one is ahead of the oldest.
fn skew(world: &World) -> (i32, bool) {
    let servers: Vec<i32> = api_servers(world).iter().map(|version| minor(version)).collect();
    let kubelets: Vec<i32> = world.nodes().iter().map(|node| minor(&node.1)).collect();
    let (newest, oldest) = (*servers.iter().max().unwrap(), *servers.iter().min().unwrap());
    (newest - kubelets.iter().min().unwrap(), *kubelets.iter().max().unwrap() > oldest)
}

#[tokio::test(start_paused = true)]
async fn two_minors_are_two_hops_and_workers_are_moved_once() {
    let mut world = at("v1.34.4", "v1.34.4").await;
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    let begun = |node: &str| world.begun().iter().filter(|begun| *begun == node).count();
    // The servers and the kubelet of a control plane node are two steps of each hop.
    assert_eq!((begun("cp1"), begun("w1"), begun("w2")), (4, 1, 1), "{:?}", world.begun());
}

/// The pods of DNS tolerate the taint of control plane nodes, and kubeadm leaves them all on the first of these.
#[tokio::test(start_paused = true)]
async fn a_control_plane_that_is_emptied_first_has_no_pods_while_its_components_move() {
    let mut world = World::new();
    world.control_plane(3).workers("w", 2);
    let on_control_plane = json!({"tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
        "nodeSelector": {"node-role.kubernetes.io/control-plane": ""}});
    let dns = workload("Deployment", "dns", 2, &json!({}), &on_control_plane);
    world.create(dns);
    world.pass(MINUTE).await;
    let emptied = cluster_yaml("v1.36.3", "").replace(
        "controlPlane: {provider: kubeadm,",
        "controlPlane: {provider: kubeadm, drain: beforeControlPlane,",
    );
    world.desire_within(ALWAYS, &emptied);
    let mut process = world.start();
    let mut moved = std::collections::BTreeSet::new();
    let end = world
        .watching(&mut process, |world| {
            let jobs = world.list("/apis/batch/v1/namespaces/windlass-system/jobs");
            let at_work = jobs.iter().filter(|job| {
                job["metadata"]["labels"]["windlass.dev/component"] == "control-plane"
                    && job["status"]["completionTime"].is_null()
            });
            for job in at_work {
                let node = job["metadata"]["labels"]["windlass.dev/node"].as_str().unwrap();
                moved.insert(node.to_owned());
                assert!(!world.node(node).1, "{node} takes pods while its components move");
                let pods = world.list("/api/v1/namespaces/default/pods");
                let there = pods.iter().filter(|pod| pod["spec"]["nodeName"] == node).count();
                assert_eq!(there, 0, "pods of {node} while its components move");
            }
        })
        .await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(moved.len(), 3, "{moved:?}");
}

#[tokio::test(start_paused = true)]
async fn the_skew_holds_at_every_instant_of_many_hops() {
    let mut world = at("v1.33.4", "v1.32.4").await;
    world.desire("v1.36.3");
    let mut process = world.start();
    let end = world
        .watching(&mut process, |world| {
            let (behind, ahead) = skew(world);
            assert!(behind <= 3 && !ahead, "{behind} behind: {:?}", world.nodes());
        })
        .await;
    world.assert_done(&end, "v1.36.3");
    assert!(world.begun().iter().filter(|node| *node == "w1").count() > 1, "lifted once on the way");
}

#[tokio::test(start_paused = true)]
async fn a_hosted_control_plane_is_waited_for_and_its_workers_follow() {
    let mut world = World::new();
    world.workers("w", 2);
    world.pass(MINUTE).await;
    world.desire_within(ALWAYS, &hosted_yaml("v1.36.3"));
    let process = world.daemon();
    world.pass(HOUR).await;
    process.end().await;
    world.assert_waits(Key::ExternalProvider, "api", "hosted control plane");
    world.assert_converged("v1.35.4");
    world.server.with(|cluster, _| cluster.settings.version = "v1.36.3".to_owned());
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

/// Three control plane nodes, a worker, and a window that opens for an hour at one o'clock.
async fn in_an_hour() -> World {
    let world = World::new();
    world.control_plane(3).workers("w", 1);
    world.pass(MINUTE).await;
    let (window, cluster) = (window("1h", ""), cluster_yaml("v1.36.3", ""));
    world.desire_within(&window, &cluster);
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
    world.assert_run_ends(RunState::NeedsAPerson).await;
    world.assert_waits(Key::Unmanaged, "pod/default/bare", "node cp1 cannot be drained");
    world.assert_converged("v1.35.4");
    assert_eq!(api_servers(&world), ["v1.35.4"]);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_node_that_cannot_be_emptied_in_mid_hop_waits_and_does_not_try_again_and_again() {
    let mut world = World::new();
    world.control_plane(1).workers("w", 1);
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    let process = world.daemon();
    world.until("the servers", HOUR, |world| api_servers(world) == ["v1.36.3"]).await;
    world.create(workload("Deployment", "web", 1, &json!({}), &json!({"nodeName": "cp1"})));
    world.budget("web", json!({"maxUnavailable": 0}));
    world.pass(MINUTE * 10).await;
    world.assert_waits(Key::BudgetNeverAllows, "budget/default/web", "maxUnavailable 0");
    let (rest, entries) = (world.clock.now(), world.journal().len());
    world.pass(HOUR * 3).await;
    assert_eq!(world.journal().len(), entries, "{:#?}", world.tail());
    let of_nodes = |line: &String| line.contains("/nodes/");
    assert!(!world.writes_after(rest).iter().any(of_nodes), "{:#?}", world.writes_after(rest));
    world.assert_in_service("cp1", "v1.35.4");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_untouched_second_hop_gives_way_to_a_newer_commit() {
    let mut world = World::at("v1.34.4");
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
        let conditions = tree["status"]["conditions"].as_array_mut().unwrap();
        let ready = conditions.iter_mut().filter(|condition| condition["type"] == "Ready");
        ready.for_each(|condition| condition["status"] = json!("Unknown"));
    });
    world.pass(MINUTE * 5).await;
    let touched = |world: &World| {
        world.journal().iter().any(|e| matches!(&e.what, What::Step(id, StepEvent::Moved { phase, .. }) if id.to == "v1.36.3" && *phase >= StepPhase::Upgrading))
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
    world.assert_converged("v1.35.4");
    assert_eq!(api_servers(&world), ["v1.35.4"; 3]);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_untouched_hop_asks_the_window_again_after_a_halt() {
    let mut world = small().await;
    let window = window("30m", "");
    let cluster = cluster_yaml("v1.36.3", "");
    world.desire_within(&window, &cluster);
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
    world.assert_waits(Key::WindowClosed, "window/daily", "no maintenance window is open");
    world.pass(HOUR * 24).await;
    world.assert_converged("v1.36.3");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_untouched_hop_asks_the_window_again_after_a_stop() {
    let mut world = in_an_hour().await;
    world.refuse_patches_of_nodes(6);
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
    world.assert_converged("v1.35.4");
    world.pass(HOUR * 24).await;
    assert_eq!(api_servers(&world), ["v1.36.3"; 3], "in the next window: {:#?}", world.tail());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn another_node_gets_kubeadm_upgrade_apply_when_the_first_one_vanishes() {
    let mut world = World::new();
    world.control_plane(4).workers("w", 1);
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    world.refuse_patches_of_nodes(5);
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
async fn a_control_plane_with_a_foreign_cordon_is_not_begun() {
    let mut world = World::new();
    world.control_plane(3).workers("w", 1);
    world.pass(MINUTE).await;
    world.cordon("cp2");
    world.desire("v1.36.3");
    let before = world.clock.now();
    world.assert_run_ends(RunState::NeedsAPerson).await;
    world.assert_waits(Key::ForeignCordon, "node/cp2", "another user cordoned it");
    assert!(!world.writes_after(before).iter().any(|line| line.contains("/nodes/")));
    assert_eq!(api_servers(&world), ["v1.35.4"; 3]);
    world.change_node("cp2", |tree| tree["spec"]["unschedulable"] = json!(false));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
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
    world.note("windlass-resume", "the disk is mended");
    world.pass(HOUR * 2).await;
    assert_eq!(api_servers(&world), ["v1.36.3"; 3], "it was begun, and is finished: {:#?}", world.tail());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn until_idle_ends_where_a_control_plane_node_cannot_be_emptied_in_mid_hop() {
    let mut world = World::new();
    world.control_plane(1).workers("w", 1);
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    let mut process = world.start();
    world.until("the servers", HOUR, |world| api_servers(world) == ["v1.36.3"]).await;
    world.create(bare("cp1"));
    assert_eq!(process.ended().await, End::Idle(RunState::NeedsAPerson), "{:#?}", world.log());
    world.assert_waits(Key::Unmanaged, "pod/default/bare", "it has no controller");
    world.assert_converged("v1.35.4");
    assert_eq!(api_servers(&world), ["v1.36.3"], "what was begun stays");
    world.erase(Kind::Pod, "default", "bare");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_with_a_claim_that_cannot_be_read_is_not_begun() {
    let mut world = World::new();
    world.control_plane(3).workers("w", 1);
    world.pass(MINUTE).await;
    world.annotate("cp2", "windlass.dev/claim", Some("garbage"));
    world.desire("v1.36.3");
    world.assert_run_ends(RunState::NeedsAPerson).await;
    assert_eq!(api_servers(&world), ["v1.35.4"; 3]);
    world.assert_waits(Key::ForeignClaim, "node/cp2", "cannot be read");
}

#[tokio::test(start_paused = true)]
async fn a_kubelet_before_1_25_that_was_set_aside_is_not_left_three_minors_behind() {
    let mut world = World::at("v1.24.17");
    world.control_plane(1).workers("w", 2);
    world.create(workload("Deployment", "alpha", 1, &json!({}), &on("w1")));
    let mut ill = workload("Deployment", "ill", 1, &json!({"sim/ready": "false"}), &on("w2"));
    ill["spec"]["selector"] = json!({"matchLabels": {"app": "alpha", "half": "ill"}});
    ill["spec"]["template"]["metadata"]["labels"] = json!({"app": "alpha", "half": "ill"});
    world.create(ill).budget("alpha", json!({"maxUnavailable": 1}));
    world.pass(MINUTE).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 1, drain: {timeout: 3m, jobs: 1h}}
";
    world.desire_with("v1.27.16", pool);
    let process = world.daemon();
    world.pass(HOUR * 4).await;
    process.end().await;
    assert!(world.node("w1").0.starts_with("v1.24"), "it cannot be emptied: {:?}", world.nodes());
    assert!(api_servers(&world).iter().all(|server| minor(server) <= 26), "{:#?}", world.log());
}

#[tokio::test(start_paused = true)]
async fn a_hosted_control_plane_whose_answers_alternate_is_not_through() {
    let mut world = World::new();
    world.workers("w", 1);
    world.pass(MINUTE).await;
    world.desire_within(ALWAYS, &hosted_yaml("v1.36.3"));
    let process = world.daemon();
    world.pass(MINUTE * 5).await;
    // Two API servers behind one address, of which one is upgraded.
    let answer = |world: &World, version: &str| {
        world.server.with(|cluster, _| cluster.settings.version = version.to_owned());
    };
    for turn in 0..60 {
        answer(&world, if turn % 3 == 0 { "v1.35.4" } else { "v1.36.3" });
        world.pass(SECOND * 13).await;
        assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), true, false), "{:#?}", world.tail());
    }
    answer(&world, "v1.36.3");
    world.until("the upgrade", HOUR, |world| world.node("w1") == ("v1.36.3".to_owned(), true, false)).await;
    process.end().await;
}

/// A supervisor starts the daemon again and again: what a process has heard has to outlive it.
#[tokio::test(start_paused = true)]
async fn processes_that_live_for_five_seconds_upgrade_workers_of_a_hosted_control_plane() {
    for moved_before in [true, false] {
        let mut world = World::new();
        world.workers("w", 2).pass(MINUTE).await;
        world.desire_within(ALWAYS, &hosted_yaml("v1.36.3"));
        if !moved_before {
            let process = world.daemon();
            world.pass(MINUTE * 5).await;
            drop(process);
        }
        world.server.with(|cluster, _| cluster.settings.version = "v1.36.3".to_owned());
        five_seconds_each(&mut world).await;
    }
}

/// Processes that are killed after five seconds each, until both workers are upgraded.
async fn five_seconds_each(world: &mut World) {
    let begun = world.clock.now();
    let is_done = |world: &World| {
        ["w1", "w2"].iter().all(|node| world.node(node) == ("v1.36.3".to_owned(), true, false))
    };
    while !is_done(world) {
        let age = world.clock.now().duration_since(begun);
        assert!(age < HOUR, "{:#?}\n{:#?}", world.log(), world.nodes());
        let first = world.node("w1").0 == "v1.35.4" && world.node("w2").0 == "v1.35.4";
        assert!(first || age > MINUTE * 2, "its answers have not agreed for two minutes yet");
        let process = world.daemon();
        world.pass(SECOND * 5).await;
        drop(process);
    }
}

/// A process that gets two versions from the API endpoint drops what the process before it left on the lease.
#[tokio::test(start_paused = true)]
async fn processes_that_live_for_a_minute_do_not_agree_where_the_answers_alternate() {
    let mut world = World::at("v1.36.3");
    world.workers("w", 1).pass(MINUTE).await;
    world.change_node("w1", |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.35.4"));
    world.desire_within(ALWAYS, &hosted_yaml("v1.36.3"));
    for turn in 0..40 {
        let process = world.daemon();
        for seen in ["v1.36.3", "v1.35.4"] {
            let hears = |cluster: &mut windlass::sim::Cluster| cluster.settings.version = seen.to_owned();
            world.server.with(|cluster, _| hears(cluster));
            world.pass(SECOND * 30).await;
        }
        drop(process);
        assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), true, false), "turn {turn}: {:#?}", world.tail());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_with_a_newer_kubelet_than_the_api_servers_is_told() {
    let mut world = small().await;
    world.desire("v1.36.3");
    let process = world.daemon();
    world.until("the run", HOUR, |world| world.record().run.is_some()).await;
    let version =
        |tree: &mut serde_json::Value| tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.36.3");
    world.change_node("w2", version);
    let told = |world: &World| {
        world.waits_for(Key::SkewTooLarge, "node/w2", "newer minor than the API server v1.35.4")
    };
    world.until("it is told", MINUTE * 10, told).await;
    process.end().await;
}

/// Each start would write one more commit, and a process that is killed every few minutes one each time.
#[tokio::test(start_paused = true)]
async fn a_process_that_begins_at_rest_before_a_hosted_control_plane_writes_nothing() {
    let mut world = World::at("v1.36.3");
    world.workers("w", 2).pass(MINUTE).await;
    for node in ["w1", "w2"] {
        world.change_node(node, |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.35.4"));
    }
    world.cordon("w2");
    world.desire_within(ALWAYS, &hosted_yaml("v1.36.3"));
    let process = world.daemon();
    // The cordoned node leaves no room for the other one.
    world.pass(MINUTE * 20).await;
    process.end().await;
    let before = world.log();
    assert!(before.iter().any(|subject| subject.contains("started")), "{before:?}");
    let process = world.daemon();
    world.pass(MINUTE * 10).await;
    process.end().await;
    assert_eq!(world.log(), before);
    assert_eq!(world.node("w2").0, "v1.35.4");
}
