//! Wake-ups from a local repository.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{World, entry};
use crate::git::{BranchWatch, watch};

/// The promise is one second; a busy machine gets more before the test gives up.
const PATIENCE: Duration = Duration::from_secs(10);

fn watched(world: &World) -> (BranchWatch, Receiver<()>) {
    let (send, wakes) = channel();
    let wake = Box::new(move || {
        let _ = send.send(());
    });
    (watch(&world.origin(), wake).expect("it can be watched"), wakes)
}

#[test]
fn a_commit_wakes() {
    let world = World::new();
    let (_watcher, wakes) = watched(&world);
    world.commit("main", &[("desired-state/demo/cluster.yaml", "version: v1.37.0\n")]);
    wakes.recv_timeout(PATIENCE).expect("a wake-up");
}

#[test]
fn a_branch_in_a_new_folder_and_packed_refs_wake() {
    let world = World::new();
    let (_watcher, wakes) = watched(&world);
    world.commit("team/a/topic", &[("a", "b")]);
    wakes.recv_timeout(PATIENCE).expect("a wake-up");
    while wakes.try_recv().is_ok() {}
    world.git(&["-C", "origin.git", "pack-refs", "--all"]);
    wakes.recv_timeout(PATIENCE).expect("a wake-up");
}

#[test]
fn looking_wakes_nobody() {
    let world = World::new();
    let mut repo = world.local();
    let (_watcher, wakes) = watched(&world);
    let tips = repo.fetch().expect("tips");
    repo.read(&tips.desired, &["desired-state"], &crate::git::Limits::default()).expect("files");
    // A write that is seen comes after everything the look may have caused.
    repo.append(&entry(None, "one")).expect("an entry");
    wakes.recv_timeout(PATIENCE).expect("a wake-up of the append");
    let mut quiet = 0;
    while wakes.try_recv().is_ok() {
        quiet += 1;
    }
    for _ in 0..50 {
        repo.fetch().expect("tips");
    }
    world.commit("main", &[("a", "b")]);
    wakes.recv_timeout(PATIENCE).expect("a wake-up");
    let woken = 1 + wakes.try_iter().count();
    assert!(quiet + woken < 50, "fifty looks and two writes woke {quiet} + {woken} times");
}

#[test]
fn a_work_tree_can_be_watched_and_a_missing_path_cannot() {
    let world = World::new();
    world.git(&["clone", "--quiet", "origin.git", "tree"]);
    let (send, wakes) = channel();
    let wake = Box::new(move || {
        let _ = send.send(());
    });
    let _watcher = watch(&world.path().join("tree"), wake).expect("it can be watched");
    world.git(&["-C", "tree", "branch", "topic"]);
    wakes.recv_timeout(PATIENCE).expect("a wake-up");
    assert!(watch(&world.path().join("nowhere"), Box::new(|| ())).is_err());
}
