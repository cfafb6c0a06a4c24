//! Calendars: what may begin within a window, and what a close leaves to be done.

use serde_json::json;
use windlass::model::decision::Key;
use windlass::model::state::RunState;
use windlass::serve::End;

use crate::world::fixtures::{at, careful, on, small, window, workers_only, workload};
use crate::world::process::{HOUR, MINUTE, SECOND};
use crate::world::{ALWAYS, World, cluster_yaml};

fn desire(world: &World, window: Option<&str>, freeze: Option<&str>) {
    let cluster = cluster_yaml("v1.36.3", "");
    let mut files =
        vec![("desired-state/demo/cluster.yaml", Some(cluster.as_str())), ("policies/freeze.yaml", freeze)];
    files.push(("policies/window.yaml", window));
    files.retain(|(path, text)| text.is_some() || *path == "policies/window.yaml");
    world.commit(&files, "demo: v1.36.3");
}

async fn until_clock(world: &World, hour: i8, minute: i8) {
    let zoned = world.clock.now().to_zoned(jiff::tz::TimeZone::UTC);
    let at = zoned.with().hour(hour).minute(minute).second(0).build().unwrap();
    world.clock.sleep_until(at.timestamp()).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_window_nothing_is_taken_out() {
    let mut world = small().await;
    desire(&world, None, None);
    world.assert_run_ends(RunState::NeedsAPerson).await;
    world.assert_waits(Key::NoWindow, "cluster/demo", "no maintenance window");
    world.assert_converged("v1.35.4");
}

#[tokio::test(start_paused = true)]
async fn a_node_under_way_at_the_close_is_finished_and_the_rest_waits_for_the_next_opening() {
    let mut world = workers_only(3).await;
    world.create(workload("Deployment", "slow", 1, &json!({"sim/stop-seconds": "29"}), &on("w1")));
    world.pass(SECOND * 10).await;
    desire(&world, Some(&window("1m", "")), None);
    assert_eq!(world.run().await, End::Idle(RunState::Waiting), "closed at noon");
    world.assert_waits(Key::WindowClosed, "window/daily", "no maintenance window is open");
    let process = world.daemon();
    until_clock(&world, 13, 30).await;
    let done = |world: &World| world.nodes().iter().filter(|node| node.1 == "v1.36.3").count();
    assert_eq!(
        (done(&world), world.begun().len()),
        (2, 1),
        "the control plane's and one worker: {:#?}",
        world.log()
    );
    assert!(world.nodes().iter().all(|node| node.2 && !node.3));
    world.pass(HOUR * 48).await;
    process.end().await;
    world.assert_converged("v1.36.3");
    world.assert_invariants();
}

/// A window of a minute, and the versions of all nodes half an hour after it closed.
async fn half_an_hour_after_the_close(mut world: World, cluster: &str, more: &str) -> (World, Vec<String>) {
    let window = window("1m", more);
    world.desire_within(&window, cluster);
    let process = world.daemon();
    until_clock(&world, 13, 31).await;
    process.end().await;
    world.assert_invariants();
    let at_target = world.nodes().into_iter().filter(|node| node.1 == "v1.36.3" && node.2 && !node.3);
    let at_target = at_target.map(|node| node.0).collect();
    (world, at_target)
}

#[tokio::test(start_paused = true)]
async fn a_run_that_runs_on_ends_in_the_night_it_began() {
    let world = workers_only(3).await;
    let (world, done) =
        half_an_hour_after_the_close(world, &cluster_yaml("v1.36.3", ""), "  atClose: runOn\n").await;
    assert_eq!(done, ["cp1", "w1", "w2", "w3"], "{:#?}", world.log());
}

#[tokio::test(start_paused = true)]
async fn a_second_hop_that_does_not_fit_any_more_waits_and_says_so_even_where_a_run_runs_on() {
    let mut world = at("v1.34.4", "v1.34.4").await;
    let window = window("11m", "  atClose: runOn\n");
    let cluster = cluster_yaml("v1.36.3", "");
    world.desire_within(&window, &cluster);
    // A hop fits by the forecast, but these machines are slower than that.
    world.server.with(|cluster, _| cluster.settings.timings.job_run = MINUTE * 8);
    let process = world.daemon();
    until_clock(&world, 15, 0).await;
    process.end().await;
    world.assert_run_ends(RunState::Waiting).await;
    world.assert_waits(Key::WindowTooShort, "cluster/demo", "10 min");
    world.assert_in_service("cp1", "v1.35.4");
    world.assert_in_service("w1", "v1.34.4");
}

/// Both workers are chosen within the window, and the API server takes no patch of a node until after its close.
async fn chosen_and_then_closed(at_close: &str) -> Vec<String> {
    let world = workers_only(4).await;
    for node in ["w3", "w4"] {
        world.cordon(node);
        world.annotate(node, "windlass.dev/hold", Some("not tonight"));
    }
    world.refuse_patches_of_nodes(40);
    let pool = "  nodePools: [{name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 4}]\n";
    let (world, done) = half_an_hour_after_the_close(
        world,
        &cluster_yaml("v1.36.3", pool),
        &format!("  atClose: {at_close}\n"),
    )
    .await;
    assert_eq!(world.begun(), ["w1", "w2"], "chosen within the window");
    done
}

#[tokio::test(start_paused = true)]
async fn what_was_chosen_in_the_window_is_finished_as_a_batch_and_not_begun_otherwise() {
    assert_eq!(chosen_and_then_closed("finishNode").await, ["cp1"]);
    assert_eq!(chosen_and_then_closed("finishBatch").await, ["cp1", "w1", "w2"]);
}

#[tokio::test(start_paused = true)]
async fn the_hard_limit_returns_a_node_that_is_still_being_drained() {
    let mut world = workers_only(3).await;
    world.create(careful("w1"));
    world.pass(SECOND * 10).await;
    world.annotate("w2", "windlass.dev/hold", Some("w1 is to be the canary"));
    world.annotate("w3", "windlass.dev/hold", Some("w1 is to be the canary"));
    let pool = "  nodePools: [{name: w, selector: {matchLabels: {pool: w}}, maxUnavailable: 3}]\n";
    let cluster = cluster_yaml("v1.36.3", pool);
    let window = window("30m", "  hardLimit: 15m\n");
    world.desire_within(&window, &cluster);
    let process = world.daemon();
    until_clock(&world, 13, 40).await;
    // Within the limit it is still tried.
    world.assert_taken_out("w1", "v1.35.4");
    until_clock(&world, 13, 46).await;
    world.assert_in_service("w1", "v1.35.4");
    assert_eq!(world.evictions(), 0);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_does_not_fit_is_not_begun_and_one_begun_is_finished() {
    let mut world = World::new();
    world.control_plane(3).workers("w", 1);
    world.pass(MINUTE).await;
    desire(&world, Some(&window("10m", "")), None);
    let process = world.daemon();
    until_clock(&world, 13, 5).await;
    assert!(process.says(Key::WindowTooShort, "cluster/demo"), "{:#?}", process.view());
    assert!(world.begun().is_empty());
    process.end().await;
    // Long enough by the forecast, but its machines are slower than that.
    desire(&world, Some(&window("31m", "")), None);
    world.server.with(|cluster, _| cluster.settings.timings.job_run = MINUTE * 12);
    until_clock(&world, 12, 0).await;
    let process = world.daemon();
    world.pass(HOUR * 24).await;
    until_clock(&world, 18, 0).await;
    assert!(
        world.nodes().iter().filter(|node| node.0.starts_with("cp")).all(|node| node.1 == "v1.36.3"),
        "{:#?}",
        world.log()
    );
    assert_eq!(world.node("w1").0, "v1.35.4", "workers wait for the next opening");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_freeze_subtracts_from_every_window() {
    let mut world = small().await;
    let freeze = "apiVersion: windlass.dev/v1alpha1\nkind: Freeze\nmetadata: {name: sale}\nspec: {clusters: {}, from: \
        \"2026-11-23T00:00\", until: \"2026-11-25T08:00\", timeZone: UTC, reason: the sale}\n";
    desire(&world, Some(crate::world::ALWAYS), Some(freeze));
    world.assert_run_ends(RunState::Waiting).await;
    world.assert_waits(Key::Frozen, "freeze/sale", "the sale");
    world.pass(HOUR * 48).await;
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_freeze_that_lets_patches_pass_lets_a_patch_of_a_minor_run_pass() {
    let mut world = World::at("v1.36.3");
    world.control_plane(1).workers("w", 2);
    world.pass(MINUTE).await;
    for (node, version) in [("w1", "v1.35.4"), ("w2", "v1.36.1")] {
        world.change_node(node, |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!(version));
    }
    let freeze = "apiVersion: windlass.dev/v1alpha1\nkind: Freeze\nmetadata: {name: f}\nspec: {clusters: {}, \
        from: \"2026-11-01T00:00\", until: \"2026-12-30T00:00\", timeZone: UTC, reason: x, except: [patch]}\n";
    desire(&world, Some(ALWAYS), Some(freeze));
    world.assert_run_ends(RunState::Waiting).await;
    world.assert_in_service("w2", "v1.36.3");
    world.assert_in_service("w1", "v1.35.4");
    world.assert_waits(Key::Frozen, "freeze/f", "frozen until");
}
