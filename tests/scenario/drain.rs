//! Drains: what is waited for, what is evicted, and what has to be gone before a node is changed.

use jiff::SignedDuration;
use serde_json::{Value, json};
use windlass::model::decision::Key;
use windlass::model::entry::{StepEvent, What};
use windlass::model::state::RunState;
use windlass::serve::End;
use windlass::sim::How;

use crate::world::World;
use crate::world::fixtures::{
    PATIENT, busy, careful, change_network, eviction, has_network, network, object, on, workers_only,
    workload,
};
use crate::world::process::{HOUR, MINUTE, SECOND};

fn job(seconds: u32) -> Value {
    let annotations = json!({"sim/run-seconds": seconds.to_string()});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "report", "namespace": "default"}, "spec": {"template": {
        "metadata": {"annotations": annotations}, "spec": {"restartPolicy": "Never", "nodeSelector": {"kubernetes.io/hostname": "w1"},
        "containers": [{"name": "c", "image": "app:1"}]}}}})
}

#[tokio::test(start_paused = true)]
async fn a_running_job_is_waited_for() {
    let mut world = workers_only(3).await;
    world.create(job(40 * 60));
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", PATIENT);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    let jobs = world.list("/apis/batch/v1/namespaces/default/jobs");
    assert_eq!(jobs[0]["status"]["succeeded"], 1, "it ended by itself");
}

#[tokio::test(start_paused = true)]
async fn a_job_beyond_its_deadline_sets_its_node_aside() {
    let mut world = workers_only(3).await;
    world.create(job(40 * 3600));
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", PATIENT);
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::Waiting), "{:#?}", world.log());
    world.assert_in_service("w1", "v1.35.4");
    world.assert_in_service("w2", "v1.36.3");
    assert_eq!(world.evictions(), 0);
    world.assert_waits(Key::SetAside, "node/w1", "drain.jobs");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_asks_not_to_be_disrupted_is_waited_for_and_never_evicted() {
    let mut world = workers_only(3).await;
    world.create(careful("w1"));
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", PATIENT);
    let mut process = world.start();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(MINUTE).await;
    let pod = object(&world, "careful");
    assert!(process.says(Key::DoNotDisrupt, &pod));
    assert_eq!(process.ended().await, End::Idle(RunState::Waiting), "{:#?}", world.log());
    assert_eq!(world.evictions(), 0);
    world.assert_in_service("w1", "v1.35.4");
    world.assert_waits(Key::SetAside, "node/w1", "drain.jobs");
}

#[tokio::test(start_paused = true)]
async fn volumes_leave_before_the_upgrade_begins() {
    let mut world = workers_only(3).await;
    let mut set = workload("StatefulSet", "db", 3, &json!({}), &json!({}));
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}]);
    world.create(set);
    world.pass(MINUTE).await;
    world.server.with(|cluster, _| cluster.settings.timings.volume_detach = SECOND * 45);
    let mut process = world.start();
    let mut waited = 0;
    let end = world
        .watching(&mut process, |world| {
            let attached = with_volumes(world);
            for node in at_work(world) {
                assert!(!attached.contains(&node), "{node} is changed with volumes attached");
            }
            let empty = |node: &String| world.node(node).2 && pods_on(world, node) == 0;
            waited += attached.iter().filter(|node| empty(node)).count();
        })
        .await;
    assert!(waited > 30, "each node is empty long before its volumes are gone, and was so for {waited} s");
    world.assert_done(&end, "v1.36.3");
}

/// Nodes with volumes attached.
fn with_volumes(world: &World) -> Vec<String> {
    let attachments = world.list("/apis/storage.k8s.io/v1/volumeattachments");
    attachments.iter().map(|a| a["spec"]["nodeName"].as_str().unwrap().to_owned()).collect()
}

/// Nodes on which a Job of ours runs.
fn at_work(world: &World) -> Vec<String> {
    let pods = world.list("/api/v1/namespaces/windlass-system/pods");
    let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running");
    running.map(|pod| pod["spec"]["nodeName"].as_str().unwrap().to_owned()).collect()
}

/// How many pods of people are on a node.
fn pods_on(world: &World, node: &str) -> usize {
    let pods = world.list("/api/v1/namespaces/default/pods");
    pods.iter().filter(|pod| pod["spec"]["nodeName"] == node).count()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_past_the_scheduler_does_not_hold_the_drain() {
    let mut world = busy().await;
    world.create(workload("Deployment", "slow", 3, &json!({"sim/stop-seconds": "29"}), &json!({})));
    world.pass(MINUTE).await;
    let mut process = world.start();
    world.until("an eviction", HOUR, |world| world.evictions() > 0).await;
    world.pass(SECOND * 15).await;
    let node = world.nodes().into_iter().find(|node| node.3).unwrap().0;
    let set = world.list("/apis/apps/v1/namespaces/default/replicasets")[0].clone();
    world.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late", "namespace": "default", "labels": {"late": "yes"},
        "ownerReferences": [{"apiVersion": "example.com/v1", "kind": "Thing", "name": "thing", "uid": set["metadata"]["uid"], "controller": true}]},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "app:1"}]}}));
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
    assert!(
        world.list("/api/v1/namespaces/default/pods").iter().any(|pod| pod["metadata"]["name"] == "late")
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_end_sets_its_node_aside() {
    let mut world = busy().await;
    world.desire_with("v1.36.3", PATIENT);
    let mut process = world.start();
    world.until("an eviction", HOUR, |world| world.evictions() > 0).await;
    let node = world.nodes().into_iter().find(|node| node.3).unwrap().0;
    world.server.with(|cluster, now| cluster.kill_node(&node, now));
    assert_eq!(process.ended().await, End::Idle(RunState::NeedsAPerson), "{:#?}", world.log());
    assert!(world.journal().iter().any(|entry| matches!(&entry.what, What::Step(id, StepEvent::SetAside { touched: false, .. }) if id.node_name() == Some(&node))));
    world.assert_in_service(&node, "v1.35.4");
    world.server.with(|cluster, now| cluster.revive_node(&node, now));
    world.pass(SignedDuration::from_hours(2)).await;
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

/// Waits for the upgrade of w1, and checks that its Job is not there before the pods of this app are gone.
async fn assert_upgraded_without(world: &World, app: &str) {
    let there = |world: &World| {
        let pods = world.list("/api/v1/namespaces/default/pods");
        let of_app =
            |pod: &&Value| pod["metadata"]["labels"]["app"] == app && pod["spec"]["nodeName"] == "w1";
        pods.iter().filter(of_app).any(|pod| pod["metadata"]["deletionTimestamp"].is_null())
    };
    world
        .until("w1 is upgraded", HOUR, |world| {
            let ours = world.jobs().iter().any(|job| job["metadata"]["labels"]["windlass.dev/node"] == "w1");
            assert!(!(ours && there(world)), "changed under a pod of {app}: {:#?}", world.tail());
            world.node("w1").0 == "v1.36.3"
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_came_while_it_was_uncordoned_are_drained_too() {
    let mut world = workers_only(2).await;
    world.create(workload("Deployment", "slow", 1, &json!({"sim/stop-seconds": "29"}), &on("w1")));
    world.pass(MINUTE).await;
    // The canary has no pods, w1 is second.
    let process = world.daemon();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(SECOND * 15).await;
    // A second of a watch's delay, or a scheduler that is quick, is all it takes.
    world.faults(|faults, _| faults.delay_watches(SECOND * 2));
    world.change_node("w1", |tree| {
        tree["spec"].as_object_mut().unwrap().remove("unschedulable");
        tree["spec"]["taints"] = json!([]);
    });
    world.create(workload("Deployment", "web", 1, &json!({}), &on("w1")));
    world.until("a pod of web on w1", MINUTE, |world| pods_on(world, "w1") > 1).await;
    assert_upgraded_without(&world, "web").await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_proxys_404_is_not_a_pod_that_is_gone() {
    let mut world = workers_only(2).await;
    world.create(workload("Deployment", "db", 1, &json!({}), &on("w1")));
    world.pass(MINUTE).await;
    world.faults(|faults, _| {
        faults.on(eviction(), 0, 1, How::Plain { code: 404, body: "default backend - 404".to_owned() });
    });
    let process = world.daemon();
    assert_upgraded_without(&world, "db").await;
    assert_eq!(world.evictions(), 1, "it was asked for again, and then the pod went");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_essential_daemon_set_pod_that_is_missing_is_waited_for() {
    let mut world = workers_only(1).await;
    world.create(network());
    world.pass(MINUTE).await;
    let process = world.daemon();
    world.until("w1 is being upgraded", HOUR, |world| at_work(world) == ["w1"]).await;
    // The new kubelet rejects the pod at its admission, and the controller manager is away for ten minutes.
    world.server.with(|cluster, _| cluster.settings.timings.controller = MINUTE * 10);
    change_network(&world, "w1", |tree| {
        tree["status"]["phase"] = json!("Failed");
        tree["status"]["reason"] = json!("UnexpectedAdmissionError");
    });
    world.pass(MINUTE * 5).await;
    assert!(process.says(Key::DaemonSetNotReady, "daemonset/kube-system/cni"), "{:#?}", process.view());
    world.assert_taken_out("w1", "v1.36.3");
    world
        .until("w1 is returned", HOUR, |world| {
            let returned = world.node("w1").1;
            assert!(!returned || has_network(world, "w1"), "without its network: {:#?}", world.tail());
            returned
        })
        .await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn volumes_leave_also_where_a_daemon_set_mounts_a_share() {
    let mut world = workers_only(3).await;
    world.create(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "share"},
        "spec": {"accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "nfs": {"server": "nfs", "path": "/"}}}));
    world.create(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "share", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteMany"], "volumeName": "share", "resources": {"requests": {"storage": "1Gi"}}}}));
    let mounts = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "share"}}],
        "tolerations": [{"operator": "Exists"}]});
    world.create(workload("DaemonSet", "logs", 0, &json!({}), &mounts));
    let mut set = workload("StatefulSet", "db", 3, &json!({}), &json!({}));
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}]);
    world.create(set);
    world.pass(MINUTE).await;
    world.server.with(|cluster, _| cluster.settings.timings.volume_detach = SECOND * 45);
    let mut process = world.start();
    let mut changed = Vec::new();
    let end = world
        .watching(&mut process, |world| {
            let attachments = world.list("/apis/storage.k8s.io/v1/volumeattachments");
            let attached = |node: &Value| attachments.iter().any(|a| a["spec"]["nodeName"] == *node);
            let jobs = world.list("/api/v1/namespaces/windlass-system/pods");
            let early = jobs.iter().filter(|pod| pod["status"]["phase"] == "Running");
            changed.extend(early.map(|pod| pod["spec"]["nodeName"].clone()).filter(attached));
        })
        .await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(changed, [] as [Value; 0], "changed with volumes attached");
}
