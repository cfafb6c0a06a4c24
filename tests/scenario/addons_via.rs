//! Addons that go through versions between, each at the hop that its compatibility asks for.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass::execute::When;
use windlass::model::decision::Key;
use windlass::model::entry::RunOutcome;
use windlass::model::state::RunState;
use windlass::record::{self, NodeState};
use windlass::serve::End;
use windlass::sim::{self, Kind};

use crate::world::process::{HOUR, MINUTE};
use crate::world::{CrashAt, World, rules};

/// The agent ends with Kubernetes 1.35, its next version works with 1.35 and 1.36, and the last one with 1.36 alone.
const AGENT: &str = r#"  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 1}
  addons:
    - name: agent
      version: "3.0"
      requires: {kubernetes: ">=1.36"}
      via:
        - {version: "1.0", requires: {kubernetes: ">=1.33 <1.36"}}
        - {version: "2.0", requires: {kubernetes: ">=1.35 <1.37"}}
      image: {namespace: kube-system, workload: daemonset/agent, container: agent}
"#;

async fn world() -> World {
    let settings =
        sim::Settings { version: "v1.34.2".to_owned(), rules: rules(), ..sim::Settings::default() };
    let world = World::with(settings);
    world.control_plane(1).workers("w", 2);
    world.create(json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {
            "metadata": {"labels": {"app": "agent"}},
            "spec": {"containers": [{"name": "agent", "image": "registry.example.com/agent:1.0"}]}}}}));
    world.pass(MINUTE).await;
    world
}

fn agent(world: &World) -> String {
    let sets = world.list("/apis/apps/v1/namespaces/kube-system/daemonsets");
    let of = |set: &&Value| set["metadata"]["name"] == "agent";
    let set = sets.iter().find(of).unwrap();
    set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

fn set_agent(world: &World, image: &str) {
    world.change(Kind::DaemonSet, "kube-system", "agent", |tree| {
        tree["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    });
}

/// How often its image was written.
fn writes(world: &World) -> usize {
    let writes = world.writes_after("2026-01-01T00:00:00Z".parse().unwrap());
    writes.iter().filter(|write| write.contains(" patch ") && write.ends_with("/daemonsets/agent")).count()
}

/// The steps of the control plane and of the addon, in the order in which they ended.
fn order(world: &World) -> Vec<String> {
    let told = world.journal().iter().map(record::sentence).collect::<Vec<_>>();
    let told = told.into_iter().filter(|line| line.contains(" upgraded to "));
    told.filter(|line| line.starts_with("the ")).collect()
}

const ORDER: [&str; 4] = [
    "the control plane of cp1 upgraded to v1.35.",
    "the addon agent upgraded to 2.0",
    "the control plane of cp1 upgraded to v1.36.3",
    "the addon agent upgraded to 3.0",
];

fn assert_order(world: &World) {
    let order = order(world);
    assert_eq!(order.len(), ORDER.len(), "{order:#?}");
    assert!(order.iter().zip(ORDER).all(|(told, expected)| told.starts_with(expected)), "{order:#?}");
}

#[tokio::test(start_paused = true)]
async fn over_two_minors_an_addon_moves_at_each_hop() {
    let mut world = world().await;
    world.desire_with("v1.36.3", AGENT);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    assert_order(&world);
    assert_eq!((agent(&world).as_str(), writes(&world)), ("registry.example.com/agent:3.0", 2));
    let record = world.record();
    assert_eq!(record.ended.len(), 1, "one run");
    let files = world.record_files();
    let point = files.iter().find(|(path, _)| path.starts_with("demo/rollback-points/")).unwrap().1;
    let point: record::RollbackPoint =
        serde_saphyr::from_str(&String::from_utf8_lossy(point.as_ref())).unwrap();
    let before: Vec<&str> = point.addons.iter().map(|addon| addon.version.as_str()).collect();
    assert_eq!(before, ["1.0"], "the addon once, as it was before the run");
    let written = world.clock.now();
    world.run().await;
    world.pass(HOUR).await;
    let since = world.writes_after(written);
    assert!(since.iter().all(|write| write.contains("leases")), "nothing is left to do: {since:#?}");
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn the_status_has_every_version_on_the_way() {
    let mut world = world().await;
    world.desire_with("v1.36.3", AGENT);
    let process = world.daemon();
    world.until("the second version is there", HOUR, |world| agent(world).ends_with(":2.0")).await;
    world.until("and its step has ended", HOUR, |world| order(world).len() == 2).await;
    let status = record::read_status(&world.record_files()["demo/status.yaml"]).unwrap();
    let run = status.run.unwrap();
    let told: Vec<_> =
        run.addons.iter().map(|addon| (addon.from.as_str(), addon.to.as_str(), addon.state)).collect();
    assert_eq!(told, [("1.0", "2.0", NodeState::Done), ("2.0", "3.0", NodeState::Pending)]);
    world.until("the run has ended", HOUR * 3, |world| world.record().ended.len() == 1).await;
    assert_order(&world);
    process.end().await;
}

#[test]
fn it_goes_on_after_being_killed_anywhere() {
    // Some of the effects, some before and some after: those of addons alone are tried one by one in `crash`.
    for (when, first) in [(When::Before, 0), (When::After, 15)] {
        for index in (first..).step_by(31) {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).build().unwrap();
            let fenced = runtime.block_on(async {
                let mut world = world().await;
                world.desire_with("v1.36.3", AGENT);
                let fenced = world.run_fenced(Arc::new(CrashAt { index, when })).await == End::Fenced;
                if fenced {
                    let end = world.run().await;
                    assert_eq!(end, End::Idle(RunState::AsDesired), "{when:?} {index}: {:#?}", world.log());
                }
                assert_order(&world);
                assert_eq!(writes(&world), 2, "{when:?} effect {index}");
                let outcomes: Vec<_> = world.record().ended.iter().map(|run| run.outcome).collect();
                assert_eq!(outcomes, [RunOutcome::Converged], "{when:?} effect {index}");
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
async fn who_takes_the_addon_back_between_two_hops_makes_it_skip_no_version() {
    let mut world = world().await;
    world.desire_with("v1.36.3", AGENT);
    let process = world.daemon();
    world.until("the second version is there", HOUR, |world| order(world).len() == 2).await;
    set_agent(&world, "registry.example.com/agent:1.0");
    world.pass(HOUR * 2).await;
    assert_eq!(agent(&world), "registry.example.com/agent:1.0", "{:#?}", world.log());
    world.assert_waits(Key::AddonManager, "addon/agent", "somebody has given it");
    set_agent(&world, "registry.example.com/agent:2.0");
    world.until("the run has ended", HOUR * 3, |world| world.record().ended.len() == 1).await;
    assert_eq!(agent(&world), "registry.example.com/agent:3.0");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_takes_out_a_version_between_ends_the_run() {
    let mut world = world().await;
    world.desire_with("v1.36.3", AGENT);
    let process = world.daemon();
    world.until("the second version is there", HOUR, |world| order(world).len() == 2).await;
    world.desire_with("v1.36.3", &AGENT.replace("\"3.0\"", "\"3.1\""));
    world.until("the first run has ended", HOUR * 3, |world| world.record().ended.len() == 2).await;
    let outcomes: Vec<_> = world.record().ended.iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [RunOutcome::Superseded, RunOutcome::Converged]);
    assert_eq!(agent(&world), "registry.example.com/agent:3.1");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_minor_that_is_missing_keeps_the_run_from_beginning() {
    let mut world = world().await;
    set_agent(&world, "quay.example.com/cilium/cilium:v1.16.4");
    world.pass(MINUTE).await;
    let cilium = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}}
  addons:
    - {name: agent, version: v1.18.3, image: {namespace: kube-system, workload: daemonset/agent, container: agent}}
";
    world.desire_with("v1.34.2", cilium);
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::NeedsAPerson), "{:#?}", world.log());
    world.assert_waits(Key::AddonVersionMissing, "addon/agent", "name a version of 1.17 in `via`");
    world.desire_with("v1.34.2", &cilium.replace("v1.18.3,", "v1.18.3, via: [v1.17.9],"));
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::AsDesired), "{:#?}", world.log());
    let cilium: Vec<String> = order(&world);
    assert_eq!(cilium, ["the addon agent upgraded to v1.17.9", "the addon agent upgraded to v1.18.3"]);
}
