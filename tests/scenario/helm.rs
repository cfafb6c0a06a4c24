//! Addons that are charts: moved by helm, watched to the end of their rollouts, and repaired where helm was interrupted.

use serde_json::Value;
use windlass::model::decision::Key;
use windlass::model::state::RunState;
use windlass::record::{self, NodeState};
use windlass::serve::End;
use windlass::sim::{self, Kind};

use crate::world::process::{HOUR, MINUTE, SECOND};
use crate::world::{ALWAYS, CLUSTER, World, cluster_yaml, rules};

const SPEC: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 1}
  addons:
    - {name: web, version: \"VERSION\", timeout: 5m, helm: {namespace: default, chart: addons/web/chart, values: addons/web/values.yaml}}
";

const CARRIER: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: \"{{ .Release.Name }}\"}
spec:
  replicas: 2
  progressDeadlineSeconds: 120
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: \"registry.example.com/web:{{ .Values.image }}\"}]
";

const OLD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\n";

const SETTINGS: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {helm: {{ .Values.helm }}}\n";

/// Commits a version of the chart, its image, and whether helm fails with it; with an object that later versions have not.
pub fn desire(
    world: &World,
    kubernetes: &str,
    version: &str,
    (image, helm): (&str, &str),
    old: bool,
) -> String {
    let cluster = cluster_yaml(kubernetes, &SPEC.replace("VERSION", version));
    let chart = format!("apiVersion: v2\nname: web\nversion: {version}\n");
    let values = format!("image: {image}\nhelm: {helm}\n");
    let files = [
        ("desired-state/demo/cluster.yaml", Some(cluster.as_str())),
        ("policies/window.yaml", Some(ALWAYS)),
        ("desired-state/demo/addons/web/values.yaml", Some(values.as_str())),
        ("desired-state/demo/addons/web/chart/Chart.yaml", Some(chart.as_str())),
        ("desired-state/demo/addons/web/chart/templates/carrier.yaml", Some(CARRIER)),
        ("desired-state/demo/addons/web/chart/templates/settings.yaml", Some(SETTINGS)),
        ("desired-state/demo/addons/web/chart/templates/old.yaml", old.then_some(OLD)),
    ];
    world.commit(&files, "demo")
}

/// The same for a release with more in its addon.
fn desire_with(world: &World, version: &str, (image, helm): (&str, &str), more: &str) {
    desire(world, "v1.35.4", version, (image, helm), true);
    let cluster = cluster_yaml("v1.35.4", &SPEC.replace("VERSION", version))
        .replace("timeout: 5m", &format!("timeout: 5m, {more}"));
    world.commit(&[("desired-state/demo/cluster.yaml", Some(cluster.as_str()))], "demo");
}

async fn world() -> World {
    let settings = sim::Settings {
        version: "v1.35.4".to_owned(),
        rules: rules(),
        broken_images: ["registry.example.com/web:v9".to_owned()].into(),
        ..sim::Settings::default()
    };
    let world = World::with(settings);
    world.control_plane(1).workers("w", 2);
    world.pass(MINUTE).await;
    world
}

/// A world in which the addon has its first version.
pub async fn installed() -> World {
    let mut world = world().await;
    desire(&world, "v1.35.4", "1.0.0", ("v1", "works"), true);
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    world
}

/// Number and status of each revision.
pub fn revisions(world: &World) -> Vec<String> {
    let secrets = world.list("/api/v1/namespaces/default/secrets");
    let label =
        |secret: &Value, key: &str| secret["metadata"]["labels"][key].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<String> = secrets
        .iter()
        .filter(|secret| label(secret, "owner") == "helm")
        .map(|secret| format!("{} {}", label(secret, "version"), label(secret, "status")))
        .collect();
    all.sort();
    all
}

/// The images of the pods, each once.
pub fn images(world: &World) -> Vec<String> {
    let pods = world.list("/api/v1/namespaces/default/pods");
    let mut all: Vec<String> =
        pods.iter().map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()).collect();
    all.sort();
    all.dedup();
    all
}

fn config_maps(world: &World) -> Vec<String> {
    let all = world.list("/api/v1/namespaces/default/configmaps");
    let names = all.iter().map(|map| map["metadata"]["name"].as_str().unwrap().to_owned());
    names.filter(|name| name != "kube-root-ca.crt").collect()
}

fn runs(world: &World) -> Vec<String> {
    world.helm.runs.lock().unwrap().clone()
}

/// How often something of the release was written.
fn written(world: &World) -> usize {
    let writes = world.writes_after("2026-01-01T00:00:00Z".parse().unwrap());
    writes.iter().filter(|write| write.contains("/namespaces/default/")).count()
}

/// The state and the first reason of the addon.
fn status(world: &World) -> (NodeState, Option<Key>) {
    let status = record::status(CLUSTER, &world.record());
    let addon = status.run.unwrap().addons.remove(0);
    (addon.state, addon.reasons.first().map(|reason| reason.key))
}

#[tokio::test(start_paused = true)]
async fn a_chart_is_installed_and_upgraded_and_then_costs_no_write() {
    let mut world = installed().await;
    assert_eq!(revisions(&world), ["1 deployed"]);
    assert_eq!(config_maps(&world), ["old", "settings"]);
    let secret = &world.list("/api/v1/namespaces/default/secrets")[0];
    assert_eq!(secret["metadata"]["labels"]["windlass.dev/addon"], "demo.web");
    let writes = written(&world);
    let daemon = world.daemon();
    world.pass(HOUR).await;
    assert_eq!(written(&world), writes, "at rest");
    daemon.end().await;
    desire(&world, "v1.35.4", "1.1.0", ("v2", "works"), false);
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(revisions(&world), ["1 superseded", "2 deployed"]);
    assert_eq!(config_maps(&world), ["settings"]);
    assert_eq!(images(&world), ["registry.example.com/web:v2"]);
    assert_eq!(runs(&world), ["upgrade web chart", "upgrade web chart"]);
    let files = world.record_files();
    let points = files.iter().filter(|(path, _)| path.contains("rollback-points/"));
    let point = points.map(|(_, text)| text).find(|text| text.contains("revision: 1")).unwrap();
    assert!(point.contains("kind: helm") && point.contains("version: \"1.0.0\""), "{point}");
    assert!(point.contains("commit the versions that `addons` has here"), "{point}");
}

#[tokio::test(start_paused = true)]
async fn a_helm_that_fails_halts_and_a_commit_that_mends_it_ends_the_halt() {
    let mut world = installed().await;
    desire(&world, "v1.35.4", "1.1.0", ("v2", "fails"), true);
    assert_eq!(world.run().await, End::Idle(RunState::Halted));
    assert_eq!(status(&world), (NodeState::Failed, Some(Key::AddonNotRolledOut)));
    assert_eq!(revisions(&world), ["1 deployed", "2 failed"]);
    assert_eq!(images(&world), ["registry.example.com/web:v1"]);
    desire(&world, "v1.35.4", "1.1.0", ("v2", "works"), true);
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(revisions(&world), ["1 superseded", "2 failed", "3 deployed"]);
}

#[tokio::test(start_paused = true)]
async fn pods_that_do_not_start_halt_the_run() {
    let mut world = installed().await;
    desire(&world, "v1.35.4", "1.1.0", ("v9", "works"), true);
    assert_eq!(world.run().await, End::Idle(RunState::Halted));
    assert_eq!(status(&world), (NodeState::Failed, Some(Key::AddonNotRolledOut)));
    assert_eq!(revisions(&world), ["1 superseded", "2 deployed"]);
}

/// Pods that do not start, and a helm that fails: each goes back by helm's own history.
#[tokio::test(start_paused = true)]
async fn a_release_goes_back_where_its_file_says_so() {
    for (image, helm, failed) in [("v9", "works", "3 superseded"), ("v2", "fails", "3 failed")] {
        let mut world = installed().await;
        desire_with(&world, "1.0.1", ("v1", "works"), "onFailure: rollback");
        let end = world.run().await;
        world.assert_done(&end, "v1.35.4");
        desire_with(&world, "1.1.0", (image, helm), "onFailure: rollback");
        let process = world.start();
        world.until("helm goes back", HOUR, |world| revisions(world).len() == 4).await;
        // Both are killed on the way back.
        drop(process);
        assert_eq!(world.run().await, End::Idle(RunState::Halted), "{:#?}", world.log());
        assert_eq!(status(&world), (NodeState::Failed, Some(Key::AddonNotRolledOut)));
        world.assert_halted(Key::AddonNotRolledOut, "it went back to 1.0.1");
        let revisions = revisions(&world);
        assert_eq!(revisions[2], failed);
        assert_eq!(revisions.last().map(String::as_str), Some("5 deployed"), "{revisions:?}");
        assert_eq!(images(&world), ["registry.example.com/web:v1"]);
        assert_eq!(runs(&world)[2..], ["upgrade web chart", "rollback web 2", "rollback web 2"]);
    }
}

/// The daemon and its helm are killed together, as a container is. Nobody knows then whether that helm is still at work.
#[tokio::test(start_paused = true)]
async fn what_an_interrupted_helm_left_is_taken_back_once_it_is_certainly_dead() {
    let mut world = installed().await;
    desire(&world, "v1.35.4", "1.1.0", ("v2", "works"), true);
    let process = world.start();
    world.until("helm is at work", MINUTE, |world| revisions(world).len() == 2).await;
    drop(process);
    world.pass(MINUTE).await;
    assert_eq!(revisions(&world), ["1 deployed", "2 pending-upgrade"]);
    let mut process = world.start();
    world.pass(2 * MINUTE).await;
    assert!(process.says(Key::AddonRolling, "addon/web"), "{:#?}", process.view().answers);
    assert_eq!(runs(&world).len(), 2);
    let end = process.ended().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(revisions(&world), ["1 superseded", "2 pending-upgrade", "3 superseded", "4 deployed"]);
    assert_eq!(runs(&world)[2..], ["rollback web 1", "upgrade web chart"]);
    assert_eq!(images(&world), ["registry.example.com/web:v2"]);
}

/// The way back is interrupted, too, and again: helm notes on none of these whose they are.
#[tokio::test(start_paused = true)]
async fn a_way_back_that_is_interrupted_again_and_again_goes_on() {
    let mut world = installed().await;
    desire(&world, "v1.35.4", "1.1.0", ("v2", "works"), true);
    for count in 2..=4 {
        let process = world.start();
        world.until("helm is at work", HOUR, |world| revisions(world).len() == count).await;
        drop(process);
    }
    let expected = ["1 deployed", "2 pending-upgrade", "3 pending-rollback", "4 pending-rollback"];
    assert_eq!(revisions(&world), expected);
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(revisions(&world).last().map(String::as_str), Some("6 deployed"));
}

/// A first installation has nothing to go back to.
#[tokio::test(start_paused = true)]
async fn an_interrupted_installation_begins_again_and_deletes_nothing() {
    let mut world = world().await;
    desire(&world, "v1.35.4", "1.0.0", ("v1", "works"), true);
    let process = world.start();
    world.until("helm is at work", MINUTE, |world| revisions(world).len() == 1).await;
    drop(process);
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(revisions(&world), ["1 deployed"]);
    assert_eq!(runs(&world), ["upgrade web chart", "upgrade web chart"]);
}

/// A person's helm is at work, or was killed: only that person knows.
#[tokio::test(start_paused = true)]
async fn a_pending_release_of_somebody_else_is_not_touched() {
    let mut world = installed().await;
    world.change(Kind::Secret, "default", "sh.helm.release.v1.web.v1", |secret| {
        secret["metadata"]["labels"]["status"] = "pending-upgrade".into();
        secret["metadata"]["labels"]["windlass.dev/revision"] = "0".into();
    });
    desire(&world, "v1.35.4", "1.1.0", ("v2", "works"), true);
    assert_eq!(world.run().await, End::Idle(RunState::NeedsAPerson));
    assert_eq!(runs(&world).len(), 1);
    assert_eq!(revisions(&world), ["1 pending-upgrade"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_a_running_helm_end_and_starts_none() {
    let mut world = installed().await;
    desire(&world, "v1.35.4", "1.1.0", ("v2", "works"), true);
    let mut process = world.start();
    world.until("helm is at work", MINUTE, |world| revisions(world).len() == 2).await;
    world.note("windlass-stop", "the database team asked");
    world.pass(10 * SECOND).await;
    assert_eq!(revisions(&world), ["1 superseded", "2 deployed"]);
    assert!(!world.log().iter().any(|subject| subject.contains("completed")));
    assert_eq!(process.ended().await, End::Idle(RunState::Waiting));
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(runs(&world).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_chart_moves_with_kubernetes_in_one_run() {
    let mut world = installed().await;
    desire(&world, "v1.36.3", "1.1.0", ("v2", "works"), true);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(revisions(&world), ["1 superseded", "2 deployed"]);
}
