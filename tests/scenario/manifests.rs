//! Addons that are described by manifests: applied by server-side apply, in their order, and nothing of anybody else's.

use serde_json::{Value, json};
use windlass::model::decision::Key;
use windlass::model::entry::{ClusterEvent, What};
use windlass::model::state::RunState;
use windlass::record::{self, ClusterPhase, NodeState};
use windlass::serve::End;
use windlass::sim::{self, How, Kind, When};

use crate::world::process::{HOUR, MINUTE};
use crate::world::{ALWAYS, World, cluster_yaml, rules};

const SPEC: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 1}
  addons:
    - {name: proxy, version: \"VERSION\", manifests: addons/proxy, timeout: 5m}
";

const SETTINGS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: proxy}
data:
  mode: MODE
---
apiVersion: v1
kind: Namespace
metadata: {name: proxy}
";

const OLD: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: old, namespace: proxy}
";

fn carrier(version: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: proxy, namespace: proxy}}
spec:
  replicas: 2
  progressDeadlineSeconds: 120
  selector: {{matchLabels: {{app: proxy}}}}
  template:
    metadata: {{labels: {{app: proxy}}}}
    spec:
      containers:
        - {{name: proxy, image: \"registry.example.com/proxy:{version}\"}}
"
    )
}

/// Commits the addon at a version of Kubernetes, and its files.
fn desire(world: &World, kubernetes: &str, version: &str, files: &[(&str, Option<&str>)]) -> String {
    desire_with(world, kubernetes, version, "", files)
}

/// The same with another line for the addon.
fn desire_with(
    world: &World,
    kubernetes: &str,
    version: &str,
    more: &str,
    files: &[(&str, Option<&str>)],
) -> String {
    let spec = SPEC.replace("timeout: 5m", &format!("timeout: 5m{more}")).replace("VERSION", version);
    let cluster = cluster_yaml(kubernetes, &spec);
    let paths: Vec<String> =
        files.iter().map(|(path, _)| format!("desired-state/demo/addons/proxy/{path}")).collect();
    let mut all = vec![
        ("desired-state/demo/cluster.yaml", Some(cluster.as_str())),
        ("policies/window.yaml", Some(ALWAYS)),
    ];
    all.extend(paths.iter().map(String::as_str).zip(files.iter().map(|(_, text)| *text)));
    world.commit(&all, "demo")
}

async fn world() -> World {
    let settings = sim::Settings {
        version: "v1.35.4".to_owned(),
        rules: rules(),
        broken_images: ["registry.example.com/proxy:v9".to_owned()].into(),
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
    let (settings, carrier) = (SETTINGS.replace("MODE", "fast"), carrier("v1"));
    let files =
        [("a.yaml", Some(settings.as_str())), ("b.yaml", Some(carrier.as_str())), ("old.yaml", Some(OLD))];
    desire(&world, "v1.35.4", "v1", &files);
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    world
}

fn config_maps(world: &World) -> Vec<Value> {
    world.list("/api/v1/namespaces/proxy/configmaps")
}

fn names(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect()
}

fn image(world: &World) -> String {
    let objects = world.list("/apis/apps/v1/namespaces/proxy/deployments");
    objects[0]["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

/// The accepted writes of objects of the addon.
fn written(world: &World) -> Vec<String> {
    let writes = world.writes_after("2026-01-01T00:00:00Z".parse().unwrap());
    let ours = |write: &String| write.contains("/proxy");
    writes.into_iter().filter(ours).collect()
}

#[tokio::test(start_paused = true)]
async fn an_addon_is_installed_in_its_order_and_then_costs_no_write() {
    let mut world = installed().await;
    let writes = written(&world);
    let place = |what: &str| writes.iter().position(|write| write.contains(what)).unwrap();
    assert!(place("/namespaces/proxy") < place("/configmaps/settings"), "{writes:#?}");
    let settings = &config_maps(&world)[1];
    assert_eq!(settings["data"]["mode"], "fast");
    assert_eq!(settings["metadata"]["labels"]["windlass.dev/addon"], "demo.proxy");
    assert_eq!(settings["metadata"]["annotations"]["windlass.dev/addon-version"], "v1");
    let before = world.clock.now();
    world.run().await;
    world.pass(HOUR).await;
    let since: Vec<String> =
        world.writes_after(before).into_iter().filter(|write| !write.contains("leases")).collect();
    assert_eq!(since, Vec::<String>::new(), "an addon that is as asked costs no write");
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn kubernetes_and_the_addon_are_one_run_and_what_the_folder_lost_is_deleted() {
    let mut world = installed().await;
    let (settings, carrier) = (SETTINGS.replace("MODE", "slow"), carrier("v2"));
    let files = [("a.yaml", Some(settings.as_str())), ("b.yaml", Some(carrier.as_str())), ("old.yaml", None)];
    desire(&world, "v1.36.3", "v2", &files);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(names(&config_maps(&world)), ["settings"], "{:#?}", world.log());
    assert_eq!(config_maps(&world)[0]["data"]["mode"], "slow");
    assert_eq!(image(&world), "registry.example.com/proxy:v2");
    let writes = written(&world);
    let last = writes.iter().rposition(|write| write.contains("deployments/proxy")).unwrap();
    let deleted = writes.iter().position(|write| write.contains(" delete ")).unwrap();
    assert!(last < deleted, "pods of before may need what is deleted: {writes:#?}");
    let is_point = |path: &str| path.contains("rollback-points") && !path.contains("/addons/");
    let point = world.record_files().into_iter().rfind(|(path, _)| is_point(path));
    let point = point.unwrap().1;
    assert!(point.contains("kind: manifests") && point.contains("objects: 3"), "{point}");
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn content_alone_is_a_change_and_a_removal_alone_too() {
    let mut world = installed().await;
    let settings = SETTINGS.replace("MODE", "slow");
    desire(&world, "v1.35.4", "v1", &[("a.yaml", Some(settings.as_str()))]);
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(config_maps(&world)[1]["data"]["mode"], "slow");
    desire(&world, "v1.35.4", "v1", &[("old.yaml", None)]);
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(names(&config_maps(&world)), ["settings"], "{:#?}", world.log());
    assert_eq!(world.record().ended.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_somebody_has_relabelled_is_not_deleted() {
    let mut world = installed().await;
    world.change(Kind::ConfigMap, "proxy", "old", |tree| {
        tree["metadata"]["labels"]["windlass.dev/addon"] = json!("mine");
    });
    desire(&world, "v1.35.4", "v1", &[("old.yaml", None)]);
    world.run().await;
    world.pass(HOUR).await;
    world.run().await;
    assert_eq!(names(&config_maps(&world)), ["old", "settings"]);
    assert!(!written(&world).iter().any(|write| write.contains(" delete ")));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_by_hand_is_told_and_not_overwritten() {
    let mut world = installed().await;
    world.change(Kind::ConfigMap, "proxy", "settings", |tree| tree["data"]["mode"] = json!("mine"));
    let writes = written(&world).len();
    let process = world.daemon();
    world.pass(HOUR * 2).await;
    assert_eq!(written(&world).len(), writes, "{:#?}", written(&world));
    assert_eq!(config_maps(&world)[1]["data"]["mode"], "mine");
    let status = record::read_status(&world.record_files()["demo/status.yaml"]).unwrap();
    let [drifted] = status.drifted.as_slice() else { panic!("{status:#?}") };
    assert_eq!((drifted.addon.as_str(), drifted.object.as_str()), ("proxy", "configmap/proxy/settings"));
    assert!(drifted.text.starts_with("is not as applied: "), "{}", drifted.text);
    assert_eq!(status.phase, ClusterPhase::AsDesired);
    let told = |world: &World| {
        let told = |what: &What| matches!(what, What::Cluster(ClusterEvent::Drifted { .. }));
        world.journal().iter().filter(|entry| told(&entry.what)).count()
    };
    assert_eq!(told(&world), 1);
    let set = |world: &World, mode: &str| {
        world.change(Kind::ConfigMap, "proxy", "settings", |tree| tree["data"]["mode"] = json!(mode));
    };
    set(&world, "fast");
    world.pass(MINUTE * 2).await;
    let status = record::read_status(&world.record_files()["demo/status.yaml"]).unwrap();
    assert_eq!((status.drifted, told(&world)), (Vec::new(), 2));
    // What comes and goes is not told all the time.
    set(&world, "mine");
    world.pass(MINUTE * 2).await;
    assert_eq!(told(&world), 2);
    world.pass(MINUTE * 10).await;
    assert_eq!(told(&world), 3);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_field_of_another_manager_is_refused_and_can_be_taken_over() {
    let mut world = installed().await;
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "proxy"},
        "data": {"mode": "theirs"}});
    world.apply_as("kubectl", &theirs);
    let settings = SETTINGS.replace("MODE", "slow");
    desire(&world, "v1.36.3", "v1", &[("a.yaml", Some(settings.as_str()))]);
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::NeedsAPerson), "{:#?}", world.log());
    world.assert_waits(Key::AddonConflict, "addon/proxy", "configmap/proxy/settings");
    assert!(world.record().run.is_none());
    let take = SPEC.replace("VERSION", "v1").replace("timeout: 5m", "timeout: 5m, takeOver: [kubectl]");
    world.desire_within(ALWAYS, &cluster_yaml("v1.36.3", &take));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(config_maps(&world)[1]["data"]["mode"], "slow");
}

#[tokio::test(start_paused = true)]
async fn an_object_of_argo_cd_is_left_to_it() {
    let mut world = installed().await;
    world.change(Kind::ConfigMap, "proxy", "settings", |tree| {
        tree["metadata"]["labels"]["argocd.argoproj.io/instance"] = json!("proxy");
    });
    let settings = SETTINGS.replace("MODE", "slow");
    desire(&world, "v1.35.4", "v1", &[("a.yaml", Some(settings.as_str()))]);
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::NeedsAPerson), "{:#?}", world.log());
    world.assert_waits(Key::AddonConflict, "addon/proxy", "Argo CD owns it");
}

#[tokio::test(start_paused = true)]
async fn an_immutable_field_is_told_before_anything_begins() {
    let mut world = installed().await;
    let carrier = carrier("v2").replace("{matchLabels: {app: proxy}}", "{matchLabels: {app: other}}");
    let carrier = carrier.replace("{labels: {app: proxy}}", "{labels: {app: other}}");
    desire(&world, "v1.36.3", "v2", &[("b.yaml", Some(carrier.as_str()))]);
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::NeedsAPerson), "{:#?}", world.log());
    world.assert_waits(Key::AddonRefused, "addon/proxy", "field is immutable");
    assert_eq!(image(&world), "registry.example.com/proxy:v1");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_does_not_come_halts_and_a_commit_that_changes_it_goes_on() {
    let mut world = installed().await;
    desire(&world, "v1.36.3", "v9", &[("b.yaml", Some(carrier("v9").as_str()))]);
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::Halted), "{:#?}", world.log());
    world.assert_halted(Key::AddonNotRolledOut, "deployment/proxy/proxy");
    world.assert_in_service("w1", "v1.35.4");
    let status = record::read_status(&world.record_files()["demo/status.yaml"]).unwrap();
    let addon = &status.run.as_ref().unwrap().addons[0];
    assert_eq!((addon.from.as_str(), addon.to.as_str(), addon.state), ("v1", "v9", NodeState::Failed));
    desire(&world, "v1.36.3", "v2", &[("b.yaml", Some(carrier("v2").as_str()))]);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(image(&world), "registry.example.com/proxy:v2");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_and_a_conflict_are_got_over() {
    let status = |code, reason| How::Status { code, reason, message: "not now".to_owned() };
    for how in [How::AppliedButTimedOut, status(409, "Conflict"), status(500, "InternalError")] {
        for resource in ["configmaps", "deployments"] {
            let mut world = installed().await;
            let (settings, carrier) = (SETTINGS.replace("MODE", "slow"), carrier("v2"));
            let files = [("a.yaml", Some(settings.as_str())), ("b.yaml", Some(carrier.as_str()))];
            desire(&world, "v1.35.4", "v2", &files);
            let when = When { verb: "patch", resource, ..When::default() };
            world.faults(|faults, _| faults.on(when, 1, 2, how.clone()));
            let end = world.run().await;
            world.assert_done(&end, "v1.35.4");
            assert_eq!(image(&world), "registry.example.com/proxy:v2", "{how:?} {resource}");
        }
    }
}

/// Commits two addons, the second of which follows the first, each with one file.
fn desire_two(world: &World, first: Option<&str>, second: Option<&str>) {
    let cluster = cluster_yaml(
        "v1.35.4",
        "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}}
  addons:
    - {name: second, version: \"1\", manifests: addons/second, after: [first]}
    - {name: first, version: \"1\", manifests: addons/first}
",
    );
    let files = [
        ("desired-state/demo/cluster.yaml", Some(cluster.as_str())),
        ("policies/window.yaml", Some(ALWAYS)),
        ("desired-state/demo/addons/first/a.yaml", first),
        ("desired-state/demo/addons/second/b.yaml", second),
    ];
    world.commit(&files, "demo");
}

#[tokio::test(start_paused = true)]
async fn an_addon_may_need_the_namespace_of_another_one() {
    let mut world = world().await;
    let space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: proxy}\n";
    desire_two(&world, Some(space), Some(OLD));
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(names(&config_maps(&world)), ["old"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_moves_from_one_addon_to_another_is_not_deleted() {
    let mut world = world().await;
    let space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: proxy}\n";
    desire_two(&world, Some(&format!("{space}---\n{OLD}")), Some("# nothing yet\n"));
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    desire_two(&world, Some(space), Some(OLD));
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(config_maps(&world)[0]["metadata"]["labels"]["windlass.dev/addon"], "demo.second");
    assert!(!written(&world).iter().any(|write| write.contains(" delete ")), "{:#?}", written(&world));
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_keeps_the_rest_back() {
    let mut world = world().await;
    let space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: proxy}\n".to_owned();
    let object = |n: usize| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}, namespace: proxy}}\n")
    };
    let many = (0..20).map(object).fold(space, |all, one| all + &one);
    desire(&world, "v1.35.4", "v1", &[("a.yaml", Some(many.as_str()))]);
    let process = world.daemon();
    let spaces = |world: &World| world.list("/api/v1/namespaces");
    world.until("the namespace is there", HOUR, |world| names(&spaces(world)).contains(&"proxy")).await;
    world.note("windlass-stop", "the database team asked");
    world.pass(MINUTE * 15).await;
    assert_eq!(config_maps(&world).len(), 0, "nothing is written after a stop");
    assert!(world.record().halted.is_none(), "{:#?}", world.log());
    world.erase(Kind::ConfigMap, "kube-system", "windlass-stop");
    world.until("all are there", HOUR, |world| config_maps(world).len() == 20).await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_stuck_rollout_needs_can_be_mended() {
    let mut world = installed().await;
    desire(&world, "v1.35.4", "v9", &[("b.yaml", Some(carrier("v9").as_str()))]);
    assert_eq!(world.run().await, End::Idle(RunState::Halted), "{:#?}", world.log());
    // Only what the pods read is changed; the pods come by themselves a while later.
    let settings = SETTINGS.replace("MODE", "mended");
    desire(&world, "v1.35.4", "v9", &[("a.yaml", Some(settings.as_str()))]);
    let process = world.daemon();
    world.until("it is applied", HOUR, |world| config_maps(world)[1]["data"]["mode"] == "mended").await;
    world.pass(MINUTE).await;
    assert!(world.record().halted.is_none(), "{:#?}", world.log());
    world.until("it halts at its timeout", HOUR, |world| world.record().halted.is_some()).await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_without_a_place_is_waited_for_and_halts_at_its_timeout() {
    let mut world = world().await;
    desire(&world, "v1.35.4", "v1", &[("old.yaml", Some(OLD))]);
    let process = world.daemon();
    world.until("it is told", HOUR, |world| world.record().run.is_some()).await;
    world.pass(MINUTE).await;
    world.assert_waits(Key::AddonRolling, "addon/proxy", "configmap/proxy/old has no place");
    world.until("it halts", HOUR, |world| world.record().halted.is_some()).await;
    world.assert_halted(Key::AddonNotRolledOut, "configmap/proxy/old has no place");
    process.end().await;
    // Somebody makes the namespace, and resumes by a commit.
    world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "proxy"}}));
    desire(&world, "v1.35.4", "v2", &[]);
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    assert_eq!(names(&config_maps(&world)), ["old"]);
}

const EXTRA: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: extra, namespace: proxy}
";

/// Asks for a version that does not start, and that goes back.
pub fn desire_broken(world: &World, kubernetes: &str) {
    let (settings, carrier) = (SETTINGS.replace("MODE", "slow"), carrier("v9"));
    let files = [
        ("a.yaml", Some(settings.as_str())),
        ("b.yaml", Some(carrier.as_str())),
        ("old.yaml", None),
        ("extra.yaml", Some(EXTRA)),
    ];
    desire_with(world, kubernetes, "v9", ", onFailure: rollback", &files);
}

pub fn assert_is_back(world: &World) {
    assert_eq!(image(world), "registry.example.com/proxy:v1");
    let maps = config_maps(world);
    assert_eq!(names(&maps), ["old", "settings"], "{:#?}", world.log());
    assert_eq!(maps[1]["data"]["mode"], "fast");
    world.assert_halted(Key::AddonNotRolledOut, "it went back to v1");
}

#[tokio::test(start_paused = true)]
async fn manifests_go_back_to_the_commit_that_was_applied_last() {
    let mut world = installed().await;
    // A commit that changes nothing of the addon comes between.
    world.commit(&[("README.md", Some("nothing"))], "demo");
    desire_broken(&world, "v1.36.3");
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::Halted), "{:#?}", world.log());
    assert_is_back(&world);
    world.assert_in_service("w1", "v1.35.4");
    let writes = written(&world).len();
    world.run().await;
    world.pass(HOUR).await;
    assert_eq!(written(&world).len(), writes, "a halted addon costs no write");
    // A commit that mends it ends the halt.
    desire(&world, "v1.36.3", "v2", &[("b.yaml", Some(carrier("v2").as_str()))]);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(image(&world), "registry.example.com/proxy:v2");
    assert_eq!(names(&config_maps(&world)), ["extra", "settings"]);
    world.assert_invariants();
}

/// Nothing was applied whole before, so there is nothing to go back to.
#[tokio::test(start_paused = true)]
async fn a_first_version_that_fails_stays_and_halts() {
    let mut world = world().await;
    desire_broken(&world, "v1.36.3");
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::Halted), "{:#?}", world.log());
    world.assert_halted(Key::AddonNotRolledOut, "deployment/proxy/proxy");
    assert_eq!(image(&world), "registry.example.com/proxy:v9");
}

#[tokio::test(start_paused = true)]
async fn the_rollback_point_keeps_the_objects_as_they_were_without_secrets() {
    let mut world = installed().await;
    let secret = "apiVersion: v1
kind: Secret
metadata: {name: token, namespace: proxy}
stringData: {token: c2VjcmV0LXRva2Vu}
";
    desire(&world, "v1.35.4", "v1", &[("secret.yaml", Some(secret))]);
    let end = world.run().await;
    world.assert_done(&end, "v1.35.4");
    world.change(Kind::ConfigMap, "proxy", "settings", |tree| tree["data"]["mode"] = json!("mine"));
    desire(&world, "v1.35.4", "v2", &[("b.yaml", Some(carrier("v2").as_str()))]);
    world.run().await;
    let files = world.record_files();
    let run = world.record().ended.last().unwrap().run.clone();
    let text = &files[&format!("demo/rollback-points/{run}/addons/proxy/objects.yaml")];
    for part in [
        "# The objects of the addon proxy as the cluster had them at ",
        "# secret/proxy/token: left out, because it is a Secret\n",
        "image: registry.example.com/proxy:v1\n",
        "mode: mine\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for part in ["secret-token", "c2VjcmV0", "managedFields", "resourceVersion", "status:"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
}
