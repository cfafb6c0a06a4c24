//! Observing: a cluster that is as desired, and one that may only be looked at, are left alone; both are told of.

use windlass::model::decision::Key;
use windlass::model::state::RunState;

use crate::world::fixtures::{careful, half_way, small, window, workers_only};
use crate::world::process::{HOUR, MINUTE, SECOND};
use crate::world::{ALWAYS, POOL, World, cluster_yaml, observed_yaml};

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_written_and_little_is_read() {
    let mut world = small().await;
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    world.poll = MINUTE * 5;
    let mut process = world.daemon();
    world.pass(MINUTE * 5).await;
    let (now, commits) = (world.clock.now(), world.log().len());
    assert!(process.has_news(), "where it stands");
    world.server.with(|cluster, _| cluster.audit_mut().reset());
    world.pass(HOUR * 10).await;
    assert_eq!(world.writes_after(now), Vec::<String>::new());
    assert_eq!(world.log().len(), commits);
    assert!(!process.has_news(), "readers are not woken while nothing changes");
    world.server.with(|cluster, _| {
        for ((verb, kind), count) in &cluster.audit().counts {
            // A watch is renewed every few minutes, by its own server's or our client's limit.
            let most = if *verb == "watch" { 300 } else { 20 };
            assert!(*count <= most, "{verb} {kind}: {count}");
        }
    });
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn observing_writes_nothing_to_the_cluster_and_says_what_it_would_do() {
    let mut world = small().await;
    world.desire_within(ALWAYS, &observed_yaml("v1.36.3", ""));
    let before = world.clock.now();
    world.assert_run_ends(RunState::Waiting).await;
    assert_eq!(world.writes_after(before), Vec::<String>::new());
    world.assert_waits(Key::ObserveOnly, "cluster/demo", "observe");
    world.assert_converged("v1.35.4");
}

#[tokio::test(start_paused = true)]
async fn an_observed_cluster_that_is_as_git_asks_is_as_desired() {
    let mut world = small().await;
    let cluster = observed_yaml("v1.35.4", "");
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&cluster))], "demo: look only");
    world.assert_run_ends(RunState::AsDesired).await;
}

#[tokio::test(start_paused = true)]
async fn observing_from_mid_run_on_finishes_the_node_under_way() {
    let (mut world, process) = half_way().await;
    let observed = observed_yaml("v1.36.3", POOL);
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&observed))], "demo: look only");
    world.pass(HOUR).await;
    process.end().await;
    world.assert_finished_and_left();
    world.assert_run_ends(RunState::Waiting).await;
    world.assert_waits(Key::ObserveOnly, "cluster/demo", "no node is taken out");
    let rest = world.clock.now();
    world.pass(HOUR).await;
    world.assert_run_ends(RunState::Waiting).await;
    assert_eq!(world.writes_after(rest), Vec::<String>::new());
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn observing_with_another_plan_returns_a_node_that_is_set_aside() {
    let mut world = workers_only(3).await;
    world.create(careful("w1"));
    world.pass(SECOND * 10).await;
    let process = world.daemon();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(MINUTE).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 2m, maxUnavailable: 1}
";
    let observed = observed_yaml("v1.36.3", pool);
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&observed))], "demo: look only");
    world.pass(HOUR * 4).await;
    process.end().await;
    world.assert_in_service("w1", "v1.35.4");
    assert_eq!(world.begun(), ["w2", "w3", "w1"], "it is not taken out again");
}

#[tokio::test(start_paused = true)]
async fn observing_returns_a_node_whose_drain_is_given_up() {
    let mut world = workers_only(3).await;
    world.create(careful("w1"));
    world.pass(SECOND * 10).await;
    let process = world.daemon();
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(MINUTE).await;
    let observed = observed_yaml("v1.36.3", "");
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&observed))], "demo: look only");
    world.pass(HOUR * 6).await;
    process.end().await;
    world.assert_in_service("w1", "v1.35.4");
    assert_eq!(world.begun(), ["w2", "w3", "w1"], "it is not taken out again");
}

#[tokio::test(start_paused = true)]
async fn an_observed_cluster_with_an_open_run_is_not_written_to() {
    let mut world = workers_only(3).await;
    let cluster = cluster_yaml("v1.36.3", "");
    let daily = window("1h", "");
    world.desire_within(&daily, &cluster);
    let process = world.daemon();
    world.until("w1 done", HOUR * 3, |world| world.node("w1").0 == "v1.36.3" && world.node("w1").1).await;
    let observed = cluster.replace("mode: act", "mode: observe");
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&observed))], "demo: look only");
    world.pass(HOUR * 8).await;
    assert!(world.record().run.is_some(), "set-up");
    let rest = world.clock.now();
    world.pass(HOUR * 25).await;
    process.end().await;
    assert_eq!(world.writes_after(rest), Vec::<String>::new());
}

/// The text of the `ConfigMap`.
pub(super) fn shown(world: &World) -> String {
    let maps = world.list("/api/v1/namespaces/kube-system/configmaps");
    let map = maps.iter().find(|map| map["metadata"]["name"] == "upgrade-status").unwrap();
    map["data"]["status"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_config_map_says_where_it_stands_and_what_there_is_to_go_back_to() {
    let mut world = small().await;
    world.desire("v1.36.3");
    let process = world.daemon();
    world
        .until("a worker in hand", MINUTE * 30, |world| {
            world.begun().iter().any(|node| node.starts_with('w'))
        })
        .await;
    world.pass(MINUTE).await;
    let text = shown(&world);
    assert!(
        text.starts_with("Cluster Upgrade Status:\n- Control Plane: 1.35.4 → 1.36.3 (complete)"),
        "{text}"
    );
    assert!(text.contains("Rollback Available: "), "{text}");
    world.until("the end", HOUR, |world| world.record().run.is_none()).await;
    world.pass(MINUTE).await;
    let text = shown(&world);
    assert!(text.contains("- Control Plane: 1.36.3 (stable)"), "{text}");
    assert!(
        process
            .view()
            .answers
            .iter()
            .all(|answer| answer.reason.key == Key::Passes || answer.reason.key == Key::WindowOpen),
        "{:?}",
        process.view()
    );
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_config_map_is_up_to_date_when_a_process_ends() {
    let mut world = workers_only(2).await;
    world.annotate("w2", "windlass.dev/hold", Some("a disk is replaced"));
    world.assert_run_ends(RunState::Waiting).await;
    let maps = world.list("/api/v1/namespaces/kube-system/configmaps");
    let map = maps.iter().find(|map| map["metadata"]["name"] == "upgrade-status").unwrap();
    let text = windlass::record::config_map_text(&windlass::record::status("demo", &world.record()));
    assert_eq!(map["data"]["status"], text);
}
