//! The record over a real `git http-backend`: hooks, other writers, lost answers and a host that is away.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::watch;
use windlass::execute::Open;
use windlass::model::state::RunState;
use windlass::serve::End;

use crate::http_backend::{Fault, Server};
use crate::world::World;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Two workers behind a hosted control plane, and their repository behind HTTP.
pub async fn world() -> (World, Server) {
    let mut world = World::at("v1.35.4");
    world.control_plane(1).workers("w", 2).deployment("web", 2);
    world.pass(SECOND * 30).await;
    git(&world, &["config", "http.receivepack", "true"]);
    // It has a runtime of its own, which cannot be made inside this one.
    let folder = world.folder.path().to_owned();
    let server = std::thread::spawn(move || Server::start(&folder)).join().unwrap();
    world.url = Some(server.url());
    world.desire("v1.36.3");
    (world, server)
}

fn git(world: &World, arguments: &[&str]) -> String {
    let done = Command::new("git").arg("-C").arg(world.repo()).args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn hook(world: &World, script: &str) -> std::path::PathBuf {
    let path = world.repo().join("hooks/update");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Commits a file onto the status branch as somebody else would.
fn somebody_writes(world: &World, path: &str) {
    let repo = git2::Repository::open(world.repo()).unwrap();
    let tip = repo.find_reference("refs/heads/windlass/status").unwrap().peel_to_commit().unwrap();
    let blob = repo.blob(b"by hand\n").unwrap();
    let mut update = git2::build::TreeUpdateBuilder::new();
    update.upsert(path, blob, git2::FileMode::Blob);
    let tree = update.create_updated(&repo, &tip.tree().unwrap()).unwrap();
    let tree = repo.find_tree(tree).unwrap();
    let who = git2::Signature::new("Grace", "grace@example.com", &git2::Time::new(0, 0)).unwrap();
    repo.commit(Some("refs/heads/windlass/status"), &who, &who, "by hand", &tree, &[&tip]).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_is_told_over_http() {
    let (mut world, server) = world().await;
    assert_eq!(world.run().await, End::Idle(RunState::AsDesired));
    world.assert_converged("v1.36.3");
    assert_eq!(git(&world, &["log", "--merges", "--format=%s", "windlass/status"]), "");
    assert_eq!(git(&world, &["fsck", "--strict"]), "");
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_push_whose_answer_is_lost_is_read_back() {
    let (mut world, server) = world().await;
    // The second push, the one that starts the run, is taken by git and never answered.
    server.before_push({
        let orders = server.orders_handle();
        move || orders.fault(Fault::CutPush)
    });
    let healing = server.orders_handle();
    let clock = world.clock.clone();
    tokio::spawn(async move {
        clock.sleep(SECOND * 20).await;
        healing.fault(Fault::None);
    });
    assert_eq!(world.run().await, End::Idle(RunState::AsDesired));
    world.assert_converged("v1.36.3");
    assert_eq!(git(&world, &["log", "--merges", "--format=%s", "windlass/status"]), "");
}

#[tokio::test(start_paused = true)]
async fn while_a_hook_refuses_the_record_nothing_is_touched() {
    let (mut world, _server) = world().await;
    let hook = hook(&world, "#!/bin/sh\necho 'the status branch is protected' >&2\nexit 1\n");
    let (end, ending) = watch::channel(false);
    let clock = world.clock.clone();
    let before = world.nodes();
    tokio::spawn(async move {
        clock.sleep(SECOND * 120).await;
        end.send(true).unwrap();
        // The writer keeps asking; its last word is that it was asked to end.
        std::fs::remove_file(hook).unwrap();
        std::future::pending::<()>().await;
    });
    let ended = world.process(Arc::new(Open), false, ending).await;
    assert_eq!(ended, End::Asked);
    assert_eq!(world.nodes(), before, "no node was claimed, cordoned or upgraded");
    let evictions = world.server.with(|cluster, _| cluster.audit().evictions().count());
    assert_eq!(evictions, 0);
    assert_eq!(world.run().await, End::Idle(RunState::AsDesired), "without the hook it goes on");
    world.assert_converged("v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_to_end_does_not_wait_for_ever_for_a_record_that_is_refused() {
    let (mut world, _server) = world().await;
    hook(&world, "#!/bin/sh\necho 'the status branch is protected' >&2\nexit 1\n");
    let began = world.clock.now();
    let end = world.run().await;
    let says = |why: &str| why.contains("the status branch is protected");
    assert!(matches!(&end, End::Unrecorded { refused: true, why } if says(why)), "{end:?}");
    assert!(world.clock.now().duration_since(began) < SECOND * 120);
    assert!(world.nodes().iter().all(|node| node.1 == "v1.35.4" && node.2 && !node.3));
}

#[tokio::test(start_paused = true)]
async fn nor_for_a_host_that_stays_away() {
    let (mut world, server) = world().await;
    let orders = server.orders_handle();
    server.before_push(move || orders.fault(Fault::Status(503)));
    let end = world.run().await;
    assert!(matches!(&end, End::Unrecorded { refused: false, .. }), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn what_others_write_beside_us_is_kept() {
    let (mut world, _server) = world().await;
    world.desire("v1.35.4");
    assert_eq!(world.run().await, End::Idle(RunState::AsDesired));
    somebody_writes(&world, "README.md");
    world.desire("v1.36.3");
    assert_eq!(world.run().await, End::Idle(RunState::AsDesired));
    world.assert_converged("v1.36.3");
    assert!(git(&world, &["log", "--format=%s", "windlass/status"]).contains("by hand"));
    assert_eq!(git(&world, &["show", "windlass/status:README.md"]), "by hand\n");
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_our_record_ends_us() {
    let (mut world, server) = world().await;
    world.desire("v1.35.4");
    assert_eq!(world.run().await, End::Idle(RunState::AsDesired));
    world.desire("v1.36.3");
    let repo = world.repo();
    server.before_push(move || {
        let repo = git2::Repository::open(repo).unwrap();
        let tip = repo.find_reference("refs/heads/windlass/status").unwrap().peel_to_commit().unwrap();
        let blob = repo.blob(b"by hand\n").unwrap();
        let mut update = git2::build::TreeUpdateBuilder::new();
        update.upsert("demo/status.yaml", blob, git2::FileMode::Blob);
        let tree = repo.find_tree(update.create_updated(&repo, &tip.tree().unwrap()).unwrap()).unwrap();
        let who = git2::Signature::new("Grace", "grace@example.com", &git2::Time::new(0, 0)).unwrap();
        repo.commit(Some("refs/heads/windlass/status"), &who, &who, "by hand", &tree, &[&tip]).unwrap();
    });
    let end = world.run().await;
    assert!(matches!(&end, End::Lost(why) if why.contains("demo/status.yaml")), "{end:?}");
    let untouched = world
        .nodes()
        .iter()
        .all(|(_, version, schedulable, claimed)| version == "v1.35.4" && *schedulable && !claimed);
    assert!(untouched, "{:?}", world.nodes());
}

#[tokio::test(start_paused = true)]
async fn while_the_host_is_away_nothing_new_begins_and_what_is_in_hand_ends() {
    let (mut world, server) = world().await;
    let healing = server.orders_handle();
    let clock = world.clock.clone();
    tokio::spawn(async move {
        // The canary's node is in hand by then.
        clock.sleep(SECOND * 150).await;
        healing.fault(Fault::Status(503));
        clock.sleep(SECOND * 900).await;
        healing.fault(Fault::None);
    });
    assert_eq!(world.run().await, End::Idle(RunState::AsDesired));
    world.assert_converged("v1.36.3");
    world.assert_invariants();
}
