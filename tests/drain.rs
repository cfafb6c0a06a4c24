//! Drains that are blocked, slow or met by trouble.

use jiff::SignedDuration;
use serde_json::{Value, json};
use windlass::model::decision::Key;
use windlass::model::entry::What;
use windlass::reconcile::{End, Standing};
use windlass::sim::{How, Kind, When};

use crate::acting::{HOUR, MINUTE, SECOND, careful, on, workers_only, workload};
use crate::world::World;

fn pod_on<'a>(pods: &'a [Value], app: &str) -> &'a Value {
    pods.iter().find(|pod| pod["metadata"]["labels"]["app"] == app).unwrap()
}

/// The name of an app's one pod, as reasons have it.
fn object(world: &World, app: &str) -> String {
    let pods = world.list("/api/v1/namespaces/default/pods");
    format!("pod/default/{}", pod_on(&pods, app)["metadata"]["name"].as_str().unwrap())
}

/// Runs until nothing goes on, and checks that only w1 is left, untouched throughout, for this reason.
async fn assert_never_cordoned(world: &mut World, key: Key, object: &str, says: &str) {
    world.pass(MINUTE).await;
    let mut process = world.start();
    let end = world
        .watching(&mut process, |world| {
            assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), true, false), "never cordoned");
        })
        .await;
    assert_eq!(end, End::Idle(Standing::Waiting), "{:#?}", world.log());
    world.assert_waits(key, object, says);
    assert_eq!(
        (world.node("w2").0, world.node("w3").0),
        ("v1.36.3".to_owned(), "v1.36.3".to_owned()),
        "the others go on"
    );
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_can_never_allow_it_is_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    world
        .create(workload("Deployment", "only", 1, &json!({}), &on("w1")))
        .budget("only", json!({"minAvailable": 1}));
    assert_never_cordoned(&mut world, Key::BudgetNeverAllows, "budget/default/only", "minAvailable 1 of 1")
        .await;
}

#[tokio::test(start_paused = true)]
async fn two_budgets_on_one_pod_are_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    world
        .create(workload("Deployment", "twice", 2, &json!({}), &on("w1")))
        .budget("twice", json!({"maxUnavailable": 1}));
    world.create(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all", "namespace": "default"},
        "spec": {"maxUnavailable": 1, "selector": {}}}));
    world.pass(SECOND * 10).await;
    let pod = {
        let pods = world.list("/api/v1/namespaces/default/pods");
        pods.iter()
            .map(|pod| format!("pod/default/{}", pod["metadata"]["name"].as_str().unwrap()))
            .min()
            .unwrap()
    };
    assert_never_cordoned(&mut world, Key::SeveralBudgets, &pod, "budgets all and twice").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_an_owner_is_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    world.create(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "default"},
        "spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "app:1"}]}}),
    );
    assert_never_cordoned(&mut world, Key::Unmanaged, "pod/default/bare", "no controller").await;
}

#[tokio::test(start_paused = true)]
async fn local_data_without_permission_is_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    let mut spec = on("w1");
    spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    world.create(workload("Deployment", "cache", 1, &json!({}), &spec));
    world.pass(SECOND * 10).await;
    let pod = object(&world, "cache");
    assert_never_cordoned(&mut world, Key::LocalData, &pod, "deleteEmptyDirData").await;
}

#[tokio::test(start_paused = true)]
async fn a_grace_beyond_the_timeout_is_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    let mut spec = on("w1");
    spec["terminationGracePeriodSeconds"] = json!(7200);
    world.create(workload("Deployment", "long", 1, &json!({}), &spec));
    world.pass(SECOND * 10).await;
    let pod = object(&world, "long");
    assert_never_cordoned(&mut world, Key::GraceTooLong, &pod, "7200 s").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_daemon_set_that_is_gone_is_known_before_the_cordon() {
    let mut world = workers_only(3).await;
    world.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "orphan", "namespace": "default", "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "gone", "controller": true}]},
        "spec": {"nodeName": "w1", "containers": [{"name": "c", "image": "app:1"}]}}));
    assert_never_cordoned(&mut world, Key::OrphanOfDaemonSet, "pod/default/orphan", "DaemonSet agent").await;
}

const PATIENT: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 1m, maxUnavailable: 1, drain: {timeout: 20m, jobs: 1h}}
";

/// A worker whose budget is blocked, but not for ever, by pods that are not Ready elsewhere.
async fn blocked() -> World {
    let world = workers_only(3).await;
    world.create(workload("Deployment", "db", 1, &json!({}), &on("w1")));
    let mut stuck = workload("Deployment", "ill", 1, &json!({"sim/ready": "false"}), &on("w3"));
    stuck["spec"]["selector"] = json!({"matchLabels": {"app": "db", "half": "ill"}});
    stuck["spec"]["template"]["metadata"]["labels"] = json!({"app": "db", "half": "ill"});
    world.create(stuck).budget("db", json!({"maxUnavailable": 1}));
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", PATIENT);
    world
}

fn heal(world: &World) {
    world.change(Kind::Deployment, "default", "ill", |tree| {
        tree["spec"]["template"]["metadata"]["annotations"] = json!({});
    });
}

#[tokio::test(start_paused = true)]
async fn a_blocked_drain_goes_on_once_its_budget_opens() {
    let mut world = blocked().await;
    let mut process = world.start();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(MINUTE * 10).await;
    assert!(process.says(Key::BudgetBlocks, "budget/default/db"), "{:#?}", process.status());
    assert_eq!(world.evictions(), 0);
    heal(&world);
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_stays_blocked_is_set_aside_in_time_whatever_restarts() {
    let mut world = blocked().await;
    let process = world.start();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    let claimed = world.clock.now();
    world.pass(MINUTE * 10).await;
    process.end().await;
    let mut process = world.start();
    world.until("w1 is returned", HOUR, |world| !world.node("w1").2).await;
    let took = world.clock.now().duration_since(claimed);
    assert!(took >= MINUTE * 20 && took < MINUTE * 22, "{took:#}");
    assert_eq!(process.ended().await, End::Idle(Standing::Waiting), "{:#?}", world.log());
    assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), true, false), "as it was found");
    assert_eq!(world.node("w2").0, "v1.36.3", "the others go on");
    world.assert_waits(Key::SetAside, "node/w1", "drain.timeout");
    world.assert_invariants();
}

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
    assert_eq!(end, End::Idle(Standing::Waiting), "{:#?}", world.log());
    assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), true, false));
    assert_eq!(world.node("w2").0, "v1.36.3");
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
    assert_eq!(process.ended().await, End::Idle(Standing::Waiting), "{:#?}", world.log());
    assert_eq!((world.node("w1"), world.evictions()), (("v1.35.4".to_owned(), true, false), 0));
}

/// An app over all workers, and v1.36.3 wanted of them.
async fn busy() -> World {
    let world = workers_only(3).await;
    world.deployment("web", 12).budget("web", json!({"maxUnavailable": 2})).deployment("free", 6);
    world.pass(MINUTE).await;
    world
}

fn eviction() -> When {
    When { verb: "create", resource: "pods", subresource: "eviction", ..When::default() }
}

async fn assert_gets_over(times: u64, when: When, how: How) {
    let mut world = busy().await;
    world.faults(|faults, _| faults.on(when, 2, times, how));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn evictions_get_over_a_server_that_is_busy_goes_away_or_loses_answers() {
    assert_gets_over(20, eviction(), How::TooManyRequests { retry_after: 7 }).await;
    assert_gets_over(20, eviction(), How::ShuttingDown).await;
    assert_gets_over(20, eviction(), How::Plain { code: 502, body: "bad gateway".to_owned() }).await;
    assert_gets_over(20, eviction(), How::AppliedButTimedOut).await;
    let internal =
        How::Status { code: 500, reason: "InternalError", message: "etcdserver: leader changed".to_owned() };
    assert_gets_over(20, eviction(), internal).await;
}

#[tokio::test(start_paused = true)]
async fn node_patches_and_jobs_get_over_lost_answers() {
    for (verb, resource) in [
        ("patch", "nodes"),
        ("create", "jobs"),
        ("update", "leases"),
        ("create", "leases"),
        ("patch", "configmaps"),
    ] {
        let when = || When { verb, resource, ..When::default() };
        assert_gets_over(3, when(), How::AppliedButTimedOut).await;
        assert_gets_over(
            5,
            when(),
            How::Status { code: 409, reason: "Conflict", message: "the object has been modified".to_owned() },
        )
        .await;
        assert_gets_over(
            5,
            when(),
            How::Status { code: 500, reason: "InternalError", message: "oops".to_owned() },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_is_asked_again_when_it_said() {
    let mut world = busy().await;
    world.faults(|faults, _| faults.on(eviction(), 0, 1, How::TooManyRequests { retry_after: 40 }));
    let mut process = world.start();
    world
        .until("an eviction", HOUR, |world| {
            world.server.with(|cluster, _| cluster.audit().evictions().count() > 0)
        })
        .await;
    world.pass(SECOND * 12).await;
    let refused = process.status().answers.iter().any(|answer| answer.reason.key == Key::ServerBusy);
    assert!(refused, "said so: {:#?}", process.status());
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_denies_evictions_is_quoted_and_asked_again() {
    let mut world = busy().await;
    world.faults(|faults, _| faults.deny_evictions("default", "the broker moves its partitions"));
    let mut process = world.start();
    world
        .until("a refusal", HOUR, |world| {
            world.server.with(|cluster, _| cluster.audit().evictions().count() > 0)
        })
        .await;
    world.pass(MINUTE * 5).await;
    let quoted = process
        .status()
        .answers
        .iter()
        .any(|answer| answer.reason.text.contains("the broker moves its partitions"));
    assert!(quoted, "{:#?}", process.status());
    world.faults(|faults, _| faults.allow_evictions("default"));
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn late_watches_make_no_second_eviction() {
    let mut world = busy().await;
    world.faults(|faults, _| faults.delay_watches(SECOND * 5));
    let mut process = world.start();
    world.until("the end", HOUR * 3, |_| !process.is_running()).await;
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn cut_and_expired_watches_and_a_short_outage_are_got_over() {
    let mut world = busy().await;
    let mut process = world.start();
    world.until("an eviction", HOUR, |world| world.evictions() > 0).await;
    world.server.with(|cluster, now| {
        cluster.compact();
        cluster.faults.expire_next_resumptions(5);
        cluster.cut_watches();
        cluster.faults.outage(now + SECOND * 20, now + SECOND * 50);
        cluster.faults.outage(now + MINUTE * 3, now + MINUTE * 5);
    });
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn the_node_is_judged_where_the_restart_kills_the_job() {
    let mut world = busy().await;
    world.server.with(|cluster, _| cluster.settings.timings.restart_kills_job = true);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
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
    let end = world
        .watching(&mut process, |world| {
            let attached: Vec<String> = world
                .list("/apis/storage.k8s.io/v1/volumeattachments")
                .iter()
                .map(|a| a["spec"]["nodeName"].as_str().unwrap().to_owned())
                .collect();
            for pod in world.list("/api/v1/namespaces/windlass-system/pods") {
                let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
                assert!(
                    pod["status"]["phase"] != "Running" || !attached.contains(&node),
                    "{node} is changed with volumes attached"
                );
            }
        })
        .await;
    world.assert_done(&end, "v1.36.3");
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
    assert_eq!(process.ended().await, End::Idle(Standing::Waiting), "{:#?}", world.log());
    assert!(world.journal().iter().any(|entry| matches!(&entry.what, What::StepSetAside { node: aside, touched: false, .. } if *aside == node)));
    assert_eq!(world.node(&node), ("v1.35.4".to_owned(), true, false));
    world.server.with(|cluster, now| cluster.revive_node(&node, now));
    world.pass(SignedDuration::from_hours(2)).await;
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
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
    let mut with_pod = false;
    for _ in 0..300 {
        let pods = world.list("/api/v1/namespaces/default/pods");
        let there = pods.iter().any(|p| {
            p["metadata"]["labels"]["app"] == "web"
                && p["spec"]["nodeName"] == "w1"
                && p["metadata"]["deletionTimestamp"].is_null()
        });
        let ours = world.jobs().iter().any(|j| j["metadata"]["labels"]["windlass.dev/node"] == "w1");
        with_pod |= ours && there && world.node("w1").0 == "v1.35.4";
        world.pass(SECOND).await;
    }
    assert!(
        !with_pod,
        "the kubelet was replaced under a running pod that nobody evicted: {:#?}",
        world.tail()
    );
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_proxys_404_is_not_a_pod_that_is_gone() {
    let mut world = workers_only(2).await;
    world.create(workload("Deployment", "db", 1, &json!({}), &on("w1")));
    world.pass(MINUTE).await;
    let when = When { verb: "create", resource: "pods", subresource: "eviction", ..When::default() };
    world.faults(|faults, _| {
        faults.on(when, 0, 1, How::Plain { code: 404, body: "default backend - 404".to_owned() });
    });
    let process = world.daemon();
    let mut with_pod = false;
    for _ in 0..400 {
        let pods = world.list("/api/v1/namespaces/default/pods");
        let there = pods
            .iter()
            .any(|p| p["spec"]["nodeName"] == "w1" && p["metadata"]["deletionTimestamp"].is_null());
        let ours = world.jobs().iter().any(|j| j["metadata"]["labels"]["windlass.dev/node"] == "w1");
        with_pod |= ours && there && world.node("w1").0 == "v1.35.4";
        world.pass(SECOND).await;
    }
    assert!(!with_pod, "the kubelet was replaced under a pod that was never evicted: {:#?}", world.tail());
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_essential_daemon_set_pod_that_is_missing_is_waited_for() {
    let mut world = workers_only(1).await;
    let mut set = workload(
        "DaemonSet",
        "cni",
        0,
        &json!({}),
        &json!({"priorityClassName": "system-node-critical", "tolerations": [{"operator": "Exists"}]}),
    );
    set["metadata"]["namespace"] = json!("kube-system");
    world.create(set);
    world.pass(MINUTE).await;
    let _process = world.daemon();
    world
        .until("a job's pod", MINUTE * 60, |world| {
            world
                .list("/api/v1/namespaces/windlass-system/pods")
                .iter()
                .any(|p| p["status"]["phase"] == "Running")
        })
        .await;
    // The controller manager is away for half an hour, and the pod is rejected at admission by the new kubelet.
    world.server.with(|cluster, _| cluster.settings.timings.controller = MINUTE * 30);
    for pod in world.list("/api/v1/namespaces/kube-system/pods") {
        if pod["spec"]["nodeName"] == "w1" && pod["metadata"]["labels"]["app"] == "cni" {
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            world.change(Kind::Pod, "kube-system", &name, |tree| {
                tree["status"]["phase"] = json!("Failed");
                tree["status"]["reason"] = json!("UnexpectedAdmissionError");
                for c in tree["status"]["conditions"].as_array_mut().unwrap() {
                    if c["type"] == "Ready" {
                        c["status"] = json!("False");
                    }
                }
            });
        }
    }
    let mut bare = false;
    for _ in 0..1200 {
        let cni = world.list("/api/v1/namespaces/kube-system/pods").iter().any(|p| {
            p["spec"]["nodeName"] == "w1"
                && p["metadata"]["labels"]["app"] == "cni"
                && p["status"]["phase"] == "Running"
        });
        let (version, schedulable, _) = world.node("w1");
        bare |= version == "v1.36.3" && schedulable && !cni;
        world.pass(SECOND).await;
    }
    assert!(!bare, "uncordoned without its network: {:#?}", world.tail());
}
