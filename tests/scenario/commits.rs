//! Commits: what a new one begins, what one changes of a run that is under way, and what a broken one leaves in force.

use jiff::SignedDuration;
use serde_json::{Value, json};
use windlass::model::decision::Key;
use windlass::model::entry::{Entry, RunOutcome, StepEvent, What};
use windlass::model::state::RunState;
use windlass::serve::End;

use crate::world::fixtures::{half_way, lost_canary, small, workers_only};
use crate::world::process::{HOUR, MINUTE};
use crate::world::{ALWAYS, World, cluster_yaml, hosted_yaml};

#[tokio::test(start_paused = true)]
async fn a_version_bump_becomes_an_upgrade() {
    let mut world = small().await;
    world.assert_run_ends(RunState::AsDesired).await;
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_version_taken_back_before_the_control_plane_moved_is_cancelled() {
    let mut world = small().await;
    world.assert_run_ends(RunState::AsDesired).await;
    // The API server takes no patch of a node: the run is begun, and nothing of it is.
    world.refuse_patches_of_nodes(u64::MAX);
    world.desire("v1.36.3");
    let mut process = world.start();
    world.until("intents", MINUTE * 5, |world| !world.begun().is_empty()).await;
    world.desire("v1.35.4");
    world.pass(MINUTE).await;
    world.faults(|faults, _| faults.clear());
    let end = process.ended().await;
    world.assert_done(&end, "v1.35.4");
    let outcomes: Vec<_> = world.record().ended.iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [RunOutcome::Cancelled], "{:#?}", world.log());
    assert!(world.jobs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_version_taken_back_after_the_control_plane_moved_holds_and_names_what_is_mixed() {
    let mut world = small().await;
    world.run().await;
    world.desire("v1.36.3");
    let mut process = world.start();
    world
        .until("a worker is taken out", MINUTE * 30, |world| {
            world.begun().iter().any(|node| node.starts_with('w'))
        })
        .await;
    world.desire("v1.35.4");
    assert_eq!(process.ended().await, End::Idle(RunState::NeedsAPerson), "{:#?}", world.log());
    world.assert_waits(Key::Downgrade, "node/cp1", "v1.36.3");
    assert!(
        world.nodes().iter().all(|(.., schedulable, claimed)| *schedulable && !claimed),
        "{:#?}",
        world.nodes()
    );
    assert_eq!(world.record().ended[0].outcome, RunOutcome::Superseded);
    world.assert_invariants();
}

#[tokio::test(start_paused = true)]
async fn a_newer_commit_takes_over_between_two_workers() {
    let mut world = small().await;
    world.run().await;
    world.desire("v1.36.1");
    let mut process = world.start();
    world
        .until("a worker is done", MINUTE * 60, |world| {
            world.nodes().iter().any(|n| n.0.starts_with('w') && n.1 == "v1.36.1")
        })
        .await;
    world.desire("v1.36.3");
    let end = process.ended().await;
    world.assert_done(&end, "v1.36.3");
    let outcomes: Vec<_> = world.record().ended.iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, [RunOutcome::Superseded, RunOutcome::Converged]);
}

#[tokio::test(start_paused = true)]
async fn a_halt_ends_by_a_new_commit() {
    let mut world = lost_canary().await;
    world.server.with(|cluster, now| cluster.revive_node("w1", now));
    world.desire("v1.36.4");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.4");
}

#[tokio::test(start_paused = true)]
async fn a_broken_commit_lets_the_node_under_way_finish_and_starts_no_other() {
    let mut world = workers_only(3).await;
    let mut process = world.start();
    world.until("a claim", MINUTE * 5, |world| world.nodes().iter().any(|node| node.3)).await;
    world.commit(&[("desired-state/demo/cluster.yaml", Some("kind: Cluster\nspec: [oops"))], "demo: broken");
    assert_eq!(process.ended().await, End::Idle(RunState::Refused), "{:#?}", world.log());
    assert_eq!(world.begun().len(), 1);
    assert!(world.nodes().iter().all(|(.., schedulable, claimed)| *schedulable && !claimed));
    world.pass(SignedDuration::from_hours(1)).await;
    assert_eq!(world.run().await, End::Idle(RunState::Refused), "a new process knows it too");
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_broken_commit_does_not_split_a_control_plane() {
    let mut world = World::new();
    world.control_plane(3).workers("w", 2);
    world.pass(MINUTE).await;
    world.desire("v1.36.3");
    let process = world.daemon();
    let serves = |world: &World, node: &str| world.node(node).2;
    world.until("the first claim", MINUTE * 10, |world| serves(world, "cp1")).await;
    world.commit(&[("desired-state/demo/cluster.yaml", Some("kind: Cluster\nspec: [oops"))], "demo: broken");
    world.pass(SignedDuration::from_hours(3)).await;
    process.end().await;
    for node in ["cp1", "cp2", "cp3"] {
        world.assert_in_service(node, "v1.36.3");
    }
    for node in ["w1", "w2"] {
        world.assert_in_service(node, "v1.35.4");
    }
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_rewritten_history_is_refused() {
    let mut world = small().await;
    world.assert_run_ends(RunState::AsDesired).await;
    let repo = git2::Repository::open(world.repo()).unwrap();
    repo.find_reference("refs/heads/main").unwrap().delete().unwrap();
    world.desire("v1.36.3");
    world.assert_run_ends(RunState::Refused).await;
    world.assert_waits(Key::HistoryRewritten, "cluster/demo", "does not descend from");
    world.assert_converged("v1.35.4");
}

async fn until_w1_is_done(world: &World) {
    let done = |entry: &Entry| matches!(&entry.what, What::Step(id, StepEvent::Done { .. }) if id.node_name() == Some("w1"));
    world.until("w1 done", HOUR, |world| world.journal().iter().any(done)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hosted_control_plane_that_is_waited_for_gives_way_to_a_newer_commit() {
    let mut world = World::new();
    world.workers("w", 2);
    world.pass(MINUTE).await;
    world.desire_within(ALWAYS, &hosted_yaml("v1.36.33"));
    let process = world.daemon();
    world.pass(HOUR).await;
    world.desire_within(ALWAYS, &hosted_yaml("v1.36.3"));
    world.pass(MINUTE * 10).await;
    world.server.with(|cluster, _| cluster.settings.version = "v1.36.3".to_owned());
    world.pass(HOUR).await;
    assert_eq!(world.node("w1").0, "v1.36.3", "{:#?}\n{:#?}", world.tail(), world.record().waiting);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_no_pool_selects_any_more_is_not_touched() {
    let mut world = workers_only(3).await;
    let process = world.daemon();
    until_w1_is_done(&world).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}, matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [w3]}]}, canary: 1, soak: 1m, maxUnavailable: 1}
";
    world.change_node("w3", |tree| tree["metadata"]["labels"]["kubernetes.io/hostname"] = json!("w3"));
    world.desire_with("v1.36.3", pool);
    world.pass(HOUR * 2).await;
    world.assert_in_service("w3", "v1.35.4");
    world.assert_in_service("w2", "v1.36.3");
    world.assert_waits(Key::NodeInNoPool, "node/w3", "no pool selects it");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_lost_its_nodes_is_not_as_desired() {
    let mut world = workers_only(3).await;
    let mut process = world.start();
    until_w1_is_done(&world).await;
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: elsewhere}}, canary: 1, soak: 1m, maxUnavailable: 1}
";
    world.desire_with("v1.36.3", pool);
    assert_eq!(process.ended().await, End::Idle(RunState::NeedsAPerson), "{:#?}", world.tail());
    for node in ["w2", "w3"] {
        world.assert_in_service(node, "v1.35.4");
        world.assert_waits(Key::NodeInNoPool, &format!("node/{node}"), "no pool selects it");
    }
}

#[tokio::test(start_paused = true)]
async fn another_image_is_another_plan_and_runs_under_its_own_digest() {
    let mut world = workers_only(3).await;
    let process = world.daemon();
    until_w1_is_done(&world).await;
    let before = world.record().run.unwrap();
    let cluster = cluster_yaml("v1.36.3", "").replace(crate::world::IMAGE, "registry.example.com/x:2");
    let commit = world.commit(&[("desired-state/demo/cluster.yaml", Some(&cluster))], "another image");
    let of_w1 = |job: &Value| job["metadata"]["labels"]["windlass.dev/node"] == "w1";
    world.until("the next Job", HOUR, |world| !world.jobs().iter().all(of_w1)).await;
    let job = world.jobs().into_iter().find(|job| !of_w1(job)).unwrap();
    let run = world.record().run.unwrap();
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example.com/x:2");
    assert_eq!(job["metadata"]["labels"]["windlass.dev/run"], json!(run.id));
    assert_eq!(run.commit.0, commit);
    assert_ne!(run.digest, before.digest);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_node_finished_by_hand_is_returned_under_a_new_run() {
    let mut world = workers_only(3).await;
    world.faults(|faults, _| faults.fail_jobs_on("w1"));
    world.assert_run_ends(RunState::Halted).await;
    world.faults(|faults, _| faults.heal_jobs_on("w1"));
    world.change_node("w1", |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.36.3"));
    let pool = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 1, soak: 2m, maxUnavailable: 2}
";
    world.desire_with("v1.36.3", pool);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn when_a_clusters_folder_is_deleted_the_node_under_way_is_finished() {
    let (mut world, process) = half_way().await;
    let gone = world.commit(&[("desired-state/demo/cluster.yaml", None)], "demo: away");
    world.pass(HOUR * 3).await;
    process.end().await;
    world.assert_finished_and_left();
    assert_eq!(world.record().refused.map(|(commit, _)| commit.0), Some(gone), "the one that took it away");
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_after_the_folder_was_deleted_finishes_the_node_under_way() {
    let (mut world, process) = half_way().await;
    drop(process);
    world.commit(&[("desired-state/demo/cluster.yaml", None)], "demo: away");
    world.assert_run_ends(RunState::Refused).await;
    world.assert_finished_and_left();
}
