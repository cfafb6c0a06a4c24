//! Charts that go through versions between, each at the hop that its compatibility asks for.

use std::sync::Arc;

use serde_json::json;
use windlass::execute::When;
use windlass::model::decision::Key;
use windlass::model::entry::RunOutcome;
use windlass::model::state::RunState;
use windlass::record;
use windlass::serve::End;
use windlass::sim;

use super::helm::{images, revisions};
use crate::world::process::{HOUR, MINUTE};
use crate::world::{CrashAt, World, rules};

/// The addon with this version, and more of it.
fn web(version: &str, more: &str) -> String {
    format!(
        "  nodePools:
    - {{name: w, selector: {{matchLabels: {{pool: w}}}}, canary: 0, maxUnavailable: 1}}
  addons:
    - name: web
      version: {version}
      timeout: 5m
      helm: {{namespace: default, repository: \"https://charts.example.com\", chart: web}}
{more}"
    )
}

/// The chart ends with Kubernetes 1.35, its next version works with 1.35 and 1.36, and the last one with 1.36 alone.
const VIA: &str = r#"      requires: {kubernetes: ">=1.36"}
      via:
        - {version: "1.0.0", requires: {kubernetes: ">=1.33 <1.36"}}
        - {version: "2.0.0", requires: {kubernetes: ">=1.35 <1.37"}}
"#;

const CARRIER: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  progressDeadlineSeconds: 120
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: \"IMAGE\"}]
";

fn map(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{kubernetes: \"{{{{ .Capabilities.KubeVersion.Version }}}}\"}}\n"
    )
}

fn publish(world: &World, version: &str, image: &str) {
    let carrier = CARRIER.replace("IMAGE", image);
    let templates = [("carrier.yaml", carrier.as_str()), ("map.yaml", &map(&format!("of-{version}")))];
    world.helm.publish(version, &templates);
}

/// A world in which the chart has its first version.
async fn installed() -> World {
    let settings = sim::Settings {
        version: "v1.34.2".to_owned(),
        rules: rules(),
        broken_images: ["registry.example.com/web:v9".to_owned()].into(),
        ..sim::Settings::default()
    };
    let mut world = World::with(settings);
    world.control_plane(1).workers("w", 2);
    for (version, image) in [("1.0.0", "web:v1"), ("2.0.0", "web:v2"), ("3.0.0", "web:v3")] {
        publish(&world, version, &format!("registry.example.com/{image}"));
    }
    world.pass(MINUTE).await;
    world.desire_with("v1.34.2", &web("1.0.0", ""));
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::AsDesired), "{:#?}", world.log());
    assert_eq!(revisions(&world), ["1 deployed"]);
    world.helm.runs.lock().unwrap().clear();
    world.helm.looks.lock().unwrap().clear();
    world
}

fn runs(world: &World) -> Vec<String> {
    world.helm.runs.lock().unwrap().clone()
}

/// The steps of the control plane and of the addon in the last run, in the order in which they ended.
fn order(world: &World) -> Vec<String> {
    let told = world.journal().iter().map(record::sentence).collect::<Vec<_>>();
    let told = told.into_iter().filter(|line| line.contains(" upgraded to "));
    told.filter(|line| line.starts_with("the ")).skip(1).collect()
}

const ORDER: [&str; 4] = [
    "the control plane of cp1 upgraded to v1.35.",
    "the addon web upgraded to 2.0.0",
    "the control plane of cp1 upgraded to v1.36.3",
    "the addon web upgraded to 3.0.0",
];

fn assert_order(world: &World) {
    let order = order(world);
    assert_eq!(order.len(), ORDER.len(), "{order:#?}");
    assert!(order.iter().zip(ORDER).all(|(told, expected)| told.starts_with(expected)), "{order:#?}");
}

#[tokio::test(start_paused = true)]
async fn over_two_minors_a_chart_moves_at_each_hop() {
    let mut world = installed().await;
    world.desire_with("v1.36.3", &web("3.0.0", VIA));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_order(&world);
    assert_eq!(revisions(&world), ["1 superseded", "2 superseded", "3 deployed"]);
    assert_eq!(runs(&world), ["upgrade web web-2.0.0.tgz", "upgrade web web-3.0.0.tgz"]);
    assert_eq!(images(&world), ["registry.example.com/web:v3"]);
    assert_eq!(world.record().ended.len(), 2, "one run for each commit");
    let files = world.record_files();
    let points = files.iter().filter(|(path, _)| path.starts_with("demo/rollback-points/"));
    let point = points.map(|(_, text)| text).find(|text| text.contains("revision: 1")).unwrap();
    assert_eq!(point.matches("kind: helm").count(), 1, "the addon once, as it was before the run: {point}");
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn each_version_is_rendered_before_the_run_for_the_kubernetes_that_it_meets() {
    let mut world = installed().await;
    world.desire_with("v1.36.3", &web("3.0.0", VIA));
    let process = world.start();
    world.until("the run begins", HOUR, |world| world.record().run.is_some()).await;
    let looks = world.helm.looks.lock().unwrap().clone();
    let rendered = |version: &str, minor: &str| {
        let of = format!("template web-{version}.tgz for v1.{minor}.");
        looks.iter().any(|look| look.starts_with(&of))
    };
    assert!(rendered("2.0.0", "35") && rendered("3.0.0", "36"), "{looks:#?}");
    assert!(!looks.iter().any(|look| look.contains("web-1.0.0")), "it is left behind: {looks:#?}");
    let run = world.record().run.unwrap();
    let moves: Vec<_> = run.plan.steps().filter_map(|step| step.work.addon()?.helm()).collect();
    let archives: Vec<_> = moves.iter().map(|of| of.archive.clone().unwrap()).collect();
    assert_eq!(archives.len(), 2);
    assert_ne!(archives[0], archives[1]);
    let names = |objects: &[windlass::model::manifest::ObjectRef]| {
        objects.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(&moves[1].objects.added), ["configmap/default/of-3.0.0"]);
    assert_eq!(names(&moves[1].objects.changed), ["deployment/default/web"]);
    assert_eq!(names(&moves[1].objects.removed), ["configmap/default/of-2.0.0"]);
    drop(process);
}

#[tokio::test(start_paused = true)]
async fn at_rest_no_helm_runs_and_nothing_is_written() {
    let mut world = installed().await;
    world.desire_with("v1.36.3", &web("3.0.0", VIA));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    let daemon = world.daemon();
    world.pass(5 * MINUTE).await;
    world.helm.looks.lock().unwrap().clear();
    let written = world.clock.now();
    world.pass(HOUR).await;
    assert_eq!(world.helm.looks.lock().unwrap().len(), 0, "{:?}", world.helm.looks);
    let since = world.writes_after(written);
    assert!(since.is_empty(), "nothing is left to do: {since:#?}");
    daemon.end().await;
}

#[tokio::test(start_paused = true)]
async fn killed_between_its_steps_and_within_the_second_one_it_finds_its_place() {
    let mut world = installed().await;
    world.desire_with("v1.36.3", &web("3.0.0", VIA));
    let process = world.start();
    world.until("the first step has ended", HOUR, |world| order(world).len() == 2).await;
    drop(process);
    world.pass(MINUTE).await;
    let process = world.start();
    world.until("helm is at work on the second", HOUR, |world| revisions(world).len() == 3).await;
    drop(process);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_order(&world);
    let expected = ["1 superseded", "2 superseded", "3 pending-upgrade", "4 superseded", "5 deployed"];
    assert_eq!(revisions(&world), expected);
    assert_eq!(runs(&world)[2..], ["rollback web 2", "upgrade web web-3.0.0.tgz"]);
}

#[test]
fn a_chart_goes_through_its_versions_after_being_killed_anywhere() {
    // Some of the effects, some before and some after: those of charts alone are tried one by one in `crash`.
    for (when, first) in [(When::Before, 0), (When::After, 15)] {
        for index in (first..).step_by(31) {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).build().unwrap();
            let fenced = runtime.block_on(async {
                let mut world = installed().await;
                world.desire_with("v1.36.3", &web("3.0.0", VIA));
                let fenced = world.run_fenced(Arc::new(CrashAt { index, when })).await == End::Fenced;
                if fenced {
                    let end = world.run().await;
                    assert_eq!(end, End::Idle(RunState::AsDesired), "{when:?} {index}: {:#?}", world.log());
                }
                assert_order(&world);
                assert_eq!(revisions(&world).len(), 3, "{when:?} effect {index}");
                let outcomes: Vec<_> = world.record().ended.iter().map(|run| run.outcome).collect();
                assert_eq!(outcomes, [RunOutcome::Converged; 2], "{when:?} effect {index}");
                fenced
            });
            if !fenced {
                assert!(index > 40, "two hops have many effects, not {index}");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_version_between_that_the_repository_has_not_keeps_the_run_from_beginning() {
    let mut world = installed().await;
    world.desire_with("v1.36.3", &web("3.0.0", &VIA.replace("2.0.0", "2.0.1")));
    assert_eq!(world.run().await, End::Idle(RunState::NeedsAPerson));
    world.assert_waits(Key::AddonChartMissing, "addon/web", "version \"2.0.1\" not found");
    // The same of the version that comes later.
    world.desire_with("v1.36.3", &web("3.0.1", VIA));
    assert_eq!(world.run().await, End::Idle(RunState::NeedsAPerson));
    world.assert_waits(Key::AddonChartMissing, "addon/web", "of 3.0.1: ");
    assert_eq!(runs(&world), [""; 0]);
    assert_eq!(world.record().ended.len(), 1);
}

/// Which Kubernetes it meets is known from the plan, and the plan from what it renders.
#[tokio::test(start_paused = true)]
async fn a_version_between_may_support_the_minor_alone_that_is_passed() {
    let mut world = installed().await;
    let carrier = CARRIER.replace("IMAGE", "registry.example.com/web:v2");
    world.helm.publish_for("2.0.0", "v1.35.", &[("carrier.yaml", carrier.as_str())]);
    world.desire_with("v1.36.3", &web("3.0.0", VIA));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_order(&world);
    assert_eq!(runs(&world), ["upgrade web web-2.0.0.tgz", "upgrade web web-3.0.0.tgz"]);
}

/// The plan is made from what the chart makes for another minor; which one its step meets shows only then.
#[tokio::test(start_paused = true)]
async fn a_chart_that_does_not_support_the_minor_of_its_step_is_told_and_not_tried_again_and_again() {
    let mut world = installed().await;
    let carrier = CARRIER.replace("IMAGE", "registry.example.com/web:v3");
    world.helm.publish_for("3.0.0", "v1.34.", &[("carrier.yaml", carrier.as_str())]);
    world.desire_with("v1.35.4", &web("3.0.0", ""));
    let process = world.daemon();
    world.pass(MINUTE * 10).await;
    world.assert_waits(Key::AddonRefused, "addon/web", "incompatible with Kubernetes");
    let entries = world.record().next_seq;
    world.pass(HOUR * 2).await;
    assert_eq!(world.record().next_seq, entries, "{:#?}", world.log());
    assert!(world.record().run.is_none());
    process.end().await;
}

/// Helm would refuse it in the middle of the run.
#[tokio::test(start_paused = true)]
async fn an_object_of_somebody_else_that_a_later_version_adds_keeps_the_run_from_beginning() {
    let mut world = installed().await;
    world.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "of-3.0.0", "namespace": "default"}}));
    world.desire_with("v1.36.3", &web("3.0.0", VIA));
    assert_eq!(world.run().await, End::Idle(RunState::NeedsAPerson));
    world.assert_waits(
        Key::AddonConflict,
        "addon/web",
        "of-3.0.0, which a later version adds, is there already",
    );
    assert_eq!(runs(&world), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_minor_of_a_known_project_that_is_missing_is_named() {
    let mut world = installed().await;
    for version in ["1.16.4", "1.17.9", "1.18.3"] {
        publish(&world, version, &format!("quay.example.com/cilium/cilium:v{version}"));
    }
    world.desire_with("v1.34.2", &web("1.16.4", ""));
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::AsDesired), "{:#?}", world.log());
    world.desire_with("v1.34.2", &web("1.18.3", ""));
    assert_eq!(world.run().await, End::Idle(RunState::NeedsAPerson));
    world.assert_waits(Key::AddonVersionMissing, "addon/web", "name a version of 1.17 in `via`");
    world.desire_with("v1.34.2", &web("1.18.3", "      via: [1.17.9]\n"));
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::AsDesired), "{:#?}", world.log());
    assert_eq!(runs(&world)[1..], ["upgrade web web-1.17.9.tgz", "upgrade web web-1.18.3.tgz"]);
}

#[tokio::test(start_paused = true)]
async fn who_takes_the_release_back_between_two_hops_makes_it_skip_no_version() {
    let mut world = installed().await;
    world.desire_with("v1.36.3", &web("3.0.0", VIA));
    let process = world.daemon();
    world.until("the second version is there", HOUR, |world| order(world).len() == 2).await;
    world.helm.by_hand(&["rollback", "web", "1", "--namespace", "default"]).await;
    world.pass(HOUR * 2).await;
    assert_eq!(images(&world), ["registry.example.com/web:v1"], "{:#?}", world.log());
    world.assert_waits(
        Key::AddonManager,
        "addon/web",
        "somebody has given release/default/web the version 1.0.0",
    );
    world.helm.by_hand(&["rollback", "web", "2", "--namespace", "default"]).await;
    world.until("the run has ended", HOUR * 3, |world| world.record().ended.len() == 2).await;
    assert_eq!(images(&world), ["registry.example.com/web:v3"]);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_later_step_that_fails_goes_back_to_what_the_step_before_it_left() {
    let mut world = installed().await;
    publish(&world, "3.0.0", "registry.example.com/web:v9");
    world.desire_with("v1.36.3", &web("3.0.0", &format!("      onFailure: rollback\n{VIA}")));
    assert_eq!(world.run().await, End::Idle(RunState::Halted), "{:#?}", world.log());
    world.assert_halted(Key::AddonNotRolledOut, "it went back to 2.0.0");
    assert_eq!(revisions(&world), ["1 superseded", "2 superseded", "3 superseded", "4 deployed"]);
    assert_eq!(runs(&world).last().map(String::as_str), Some("rollback web 2"));
    assert_eq!(images(&world), ["registry.example.com/web:v2"]);
}

/// Nothing is there to go through versions from.
#[tokio::test(start_paused = true)]
async fn a_first_installation_skips_the_versions_between() {
    let settings =
        sim::Settings { version: "v1.36.3".to_owned(), rules: rules(), ..sim::Settings::default() };
    let mut world = World::with(settings);
    world.control_plane(1).workers("w", 2);
    publish(&world, "3.0.0", "registry.example.com/web:v3");
    world.pass(MINUTE).await;
    world.desire_with("v1.36.3", &web("3.0.0", VIA));
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_eq!(runs(&world), ["upgrade web web-3.0.0.tgz"]);
}
