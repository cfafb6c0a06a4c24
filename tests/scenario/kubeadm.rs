//! What kubeadm moves itself when it moves the control plane: waited for after each hop, and left out where the file says so.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use windlass::model::decision::Key;
use windlass::model::state::RunState;
use windlass::record;
use windlass::serve::End;
use windlass::sim::{self, How, Kind, When};

use crate::world::process::{HOUR, MINUTE};
use crate::world::{ALWAYS, World, cluster_yaml, rules};

const BROKEN: &str = "registry.k8s.io/kube-proxy:v1.36.3-broken";

fn kube_proxy(image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"k8s-app": "kube-proxy"}}, "template": {
            "metadata": {"labels": {"k8s-app": "kube-proxy"}},
            "spec": {"tolerations": [{"operator": "Exists"}], "containers": [{"name": "kube-proxy", "image": image}]}}}})
}

/// A control plane node, two workers and kube-proxy on all of them.
async fn world() -> World {
    let settings = sim::Settings {
        version: "v1.35.4".to_owned(),
        rules: rules(),
        broken_images: BTreeSet::from([BROKEN.to_owned()]),
        ..sim::Settings::default()
    };
    let world = World::with(settings);
    world.control_plane(1).workers("w", 2);
    world.create(kube_proxy("registry.k8s.io/kube-proxy:v1.35.4"));
    world.pass(MINUTE).await;
    world
}

/// As kubeadm does it, once the last API server runs the new version.
fn kubeadm_moves_kube_proxy(world: &World, image: &str) {
    world.change(Kind::DaemonSet, "kube-system", "kube-proxy", |tree| {
        tree["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    });
}

fn control_plane_has(world: &World, version: &str) -> bool {
    let pods = world.list("/api/v1/namespaces/kube-system/pods");
    let mut servers = pods.iter().filter(|pod| pod["metadata"]["labels"]["component"] == "kube-scheduler");
    servers.all(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap().ends_with(version))
}

fn told(world: &World) -> Vec<String> {
    world.journal().iter().map(record::sentence).collect()
}

#[tokio::test(start_paused = true)]
async fn workers_wait_until_kube_proxy_has_come_with_the_control_plane() {
    let mut world = world().await;
    world.desire("v1.36.3");
    let process = world.daemon();
    world
        .until("the check has begun", HOUR, |world| {
            told(world).iter().any(|line| line.contains("started the check of kube-proxy"))
        })
        .await;
    assert!(control_plane_has(&world, ":v1.36.3"));
    world.pass(MINUTE * 5).await;
    world.assert_waits(
        Key::AddonRolling,
        "check/kube-proxy",
        "kubeadm moves it with v1.36.3, and daemonset/kube-system/kube-proxy has v1.35.4",
    );
    assert_eq!(world.node("w1").0, "v1.35.4", "no worker moves before");
    kubeadm_moves_kube_proxy(&world, "registry.k8s.io/kube-proxy:v1.36.3");
    world.until("the run is done", HOUR, |world| world.record().ended.len() == 1).await;
    process.end().await;
    let told = told(&world);
    let place = |what: &str| {
        told.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {told:#?}"))
    };
    let passed = place("the check of kube-proxy passed: v1.36.3 is rolled out");
    assert!(place("cp1 upgraded to v1.36.3") < passed && passed < place("w1 upgraded"), "{told:#?}");
    let writes = world.writes_after("2026-01-01T00:00:00Z".parse().unwrap());
    assert!(
        !writes.iter().any(|write| write.starts_with("windlass") && write.contains("kube-proxy")),
        "only reads"
    );
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_kube_proxy_that_does_not_come_halts_the_run_and_a_resume_looks_again() {
    let mut world = world().await;
    world.desire("v1.36.3");
    let process = world.daemon();
    world.until("the control plane has moved", HOUR, |world| control_plane_has(world, ":v1.36.3")).await;
    kubeadm_moves_kube_proxy(&world, BROKEN);
    world.until("it halts", HOUR, |world| world.record().halted.is_some()).await;
    process.end().await;
    world.assert_halted(
        Key::CheckFailed,
        "the rollout of daemonset/kube-system/kube-proxy has not come further",
    );
    world.assert_halted(Key::CheckFailed, "pod/kube-system/kube-proxy-");
    assert_eq!(world.node("w1").0, "v1.35.4", "no worker moves under a broken kube-proxy");
    assert_eq!(world.run().await, End::Idle(RunState::Halted));
    kubeadm_moves_kube_proxy(&world, "registry.k8s.io/kube-proxy:v1.36.3");
    world.note("windlass-resume", "its image is there");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert!(
        told(&world).iter().any(|line| line.contains("the check of kube-proxy passed")),
        "{:#?}",
        told(&world)
    );
}

/// Every process ends soon after it began, and none counts the time of the one before.
#[tokio::test(start_paused = true)]
async fn a_check_goes_on_after_a_restart_and_its_limit_counts_only_while_somebody_looks() {
    let mut world = world().await;
    world.desire("v1.36.3");
    let process = world.daemon();
    world
        .until("the check has begun", HOUR, |world| {
            told(world).iter().any(|line| line.contains("started the check of kube-proxy"))
        })
        .await;
    process.end().await;
    world.pass(HOUR).await;
    let process = world.daemon();
    world.pass(MINUTE * 5).await;
    assert!(world.record().halted.is_none(), "nobody looked for an hour");
    kubeadm_moves_kube_proxy(&world, "registry.k8s.io/kube-proxy:v1.36.3");
    world.until("the run is done", HOUR, |world| world.record().ended.len() == 1).await;
    process.end().await;
    let begun =
        told(&world).into_iter().filter(|line| line.contains("started the check of kube-proxy")).count();
    assert_eq!(begun, 1);
}

#[tokio::test(start_paused = true)]
async fn what_kubeadm_leaves_out_is_not_waited_for() {
    let mut world = world().await;
    let yaml = cluster_yaml("v1.36.3", "");
    let skipping = yaml.replace("kubeadm: {", "kubeadm: {skipPhases: [addon/kube-proxy], ");
    assert_ne!(yaml, skipping);
    world.desire_within(ALWAYS, &skipping);
    let mut process = world.start();
    let mut scripts = BTreeSet::new();
    let end = world
        .watching(&mut process, |world| {
            let jobs = world.list("/apis/batch/v1/namespaces/windlass-system/jobs");
            scripts.extend(jobs.iter().map(|job| {
                let component =
                    job["metadata"]["labels"]["windlass.dev/component"].as_str().unwrap().to_owned();
                (component, job.to_string().contains("--skip-phases='addon/kube-proxy'"))
            }));
        })
        .await;
    world.assert_done(&end, "v1.36.3");
    let asked = [("control-plane".to_owned(), true), ("kubelet".to_owned(), false)];
    assert_eq!(scripts, BTreeSet::from(asked));
    assert!(!told(&world).iter().any(|line| line.contains("the check of")), "{:#?}", told(&world));
}

/// Otherwise it would show after the control plane has moved, when nothing can be taken back.
#[tokio::test(start_paused = true)]
async fn a_check_that_may_not_read_is_told_before_the_run_begins() {
    let mut world = world().await;
    let message = "daemonsets.apps \"kube-proxy\" is forbidden: User \"windlass\" cannot get resource \"daemonsets\" in \
                   API group \"apps\" in the namespace \"kube-system\"";
    let how = How::Status { code: 403, reason: "Forbidden", message: message.to_owned() };
    let when = When { verb: "get", resource: "daemonsets", name: "kube-proxy".to_owned(), ..When::default() };
    world.faults(|faults, _| faults.on(when, 0, 1_000, how));
    world.desire_within(ALWAYS, &cluster_yaml("v1.36.3", ""));
    assert_eq!(world.run().await, End::Idle(RunState::NeedsAPerson), "{:#?}", world.log());
    world.assert_waits(Key::RightMissing, "daemonset/kube-system/kube-proxy", "could not be looked at");
    assert!(world.record().run.is_none());
}
