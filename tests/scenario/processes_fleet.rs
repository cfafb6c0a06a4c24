//! Several clusters in one repository: a loop each, one writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::watch;
use windlass::execute::{Edges, Open};
use windlass::model::state::{Identity, RunState};
use windlass::record::Record;
use windlass::serve::wanted::Known;
use windlass::serve::{Batch, End, Keeper, Links, LoopSettings, Lost, ServedUids, Watching, Wires, drive};
use windlass::view::cluster::View;

use crate::world::{ALWAYS, CLUSTER, World, cluster_yaml, noon};

/// A simulated cluster of its own UID with one control plane node and two workers.
async fn cluster(seed: u64) -> World {
    let world = World::with(windlass::sim::Settings {
        seed,
        version: "v1.35.4".to_owned(),
        rules: crate::world::rules(),
        ..windlass::sim::Settings::default()
    });
    world.control_plane(1).workers("w", 2).deployment("web", 2);
    world.pass(SignedDuration::from_secs(30)).await;
    world
}

/// The desired state of both, in the first one's repository.
fn desire(world: &World, other: &str) {
    let mine = cluster_yaml("v1.36.3", "");
    world.commit(
        &[
            ("desired-state/demo/cluster.yaml", Some(&mine)),
            ("desired-state/other/cluster.yaml", Some(other)),
            ("policies/window.yaml", Some(ALWAYS)),
        ],
        "both: v1.36.3",
    );
}

fn keeper(world: &World) -> Wires {
    keeper_in(world, "cache")
}

fn keeper_in(world: &World, cache: &str) -> Wires {
    let (repository, _, tip) = world.open(cache);
    let watching = Watching { path: String::new(), poll: SignedDuration::from_secs(5) };
    let (keeper, wires) = Keeper::new(repository, world.clock.clone(), watching, tip, Known::default());
    tokio::spawn(keeper.run());
    wires
}

async fn serve(world: &World, name: &str, wires: &Wires, served: &ServedUids) -> End {
    let me = Identity {
        cluster: name.to_owned(),
        holder: format!("process/{name}"),
        predecessors: BTreeSet::new(),
        twin: None,
    };
    let (_asked, ending) = watch::channel(false);
    let view = watch::Sender::new(View::new(name));
    let links = Links { wanted: wires.wanted.clone(), journal: wires.journal.clone(), ending };
    let how = LoopSettings { me, until_idle: true, served: served.clone(), view };
    drive(Edges::new(world.cluster(), world.clock.clone()), Arc::new(Open), links, how, Record::default())
        .await
}

#[tokio::test(start_paused = true)]
async fn two_clusters_of_one_repository_converge_side_by_side() {
    let (first, second) = (cluster(1).await, cluster(2).await);
    desire(&first, &cluster_yaml("v1.36.3", "").replace("name: demo", "name: other"));
    let (wires, served) = (keeper(&first), ServedUids::default());
    let ends =
        tokio::join!(serve(&first, CLUSTER, &wires, &served), serve(&second, "other", &wires, &served));
    assert_eq!(ends, (End::Idle(RunState::AsDesired), End::Idle(RunState::AsDesired)));
    for world in [&first, &second] {
        world.assert_converged("v1.36.3");
        world.assert_invariants();
    }
    let log = first.log();
    assert!(log.iter().any(|subject| subject.starts_with("demo: ")), "{log:#?}");
    assert!(log.iter().any(|subject| subject.starts_with("other: ")), "{log:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_mistake_in_one_cluster_leaves_the_other_going() {
    let (first, second) = (cluster(1).await, cluster(2).await);
    desire(&first, "kind: Nonsense\n");
    let (wires, served) = (keeper(&first), ServedUids::default());
    let ends =
        tokio::join!(serve(&first, CLUSTER, &wires, &served), serve(&second, "other", &wires, &served));
    assert_eq!(ends, (End::Idle(RunState::AsDesired), End::Idle(RunState::Refused)));
    first.assert_converged("v1.36.3");
    second.assert_converged("v1.35.4");
}

#[tokio::test(start_paused = true)]
async fn two_contexts_of_one_cluster_are_not_two_clusters() {
    let world = cluster(1).await;
    desire(&world, &cluster_yaml("v1.36.3", "").replace("name: demo", "name: other"));
    let (wires, served) = (keeper(&world), ServedUids::default());
    let (first, second) =
        tokio::join!(serve(&world, CLUSTER, &wires, &served), serve(&world, "other", &wires, &served));
    let mut ends = [first, second];
    ends.sort_by_key(|end| *end != End::Idle(RunState::AsDesired));
    assert_eq!(ends, [End::Idle(RunState::AsDesired), End::Idle(RunState::Refused)]);
    world.assert_converged("v1.36.3");
    world.assert_invariants();
}

/// One more file of a cluster's journal.
fn batch(cluster: &str, file: &str) -> Batch {
    Batch {
        cluster: cluster.to_owned(),
        files: BTreeMap::from([(format!("{cluster}/{file}"), b"x: 1\n".to_vec())]),
        message: format!("{cluster}: {file}"),
        tags: Vec::new(),
        at: noon(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_was_overtaken_for_one_cluster_is_told_so_after_it_wrote_for_another() {
    let world = cluster(1).await;
    desire(&world, &cluster_yaml("v1.36.3", "").replace("name: demo", "name: other"));
    let (ours, theirs) = (keeper_in(&world, "ours"), keeper_in(&world, "theirs"));
    ours.journal.append(batch("demo", "a.yaml")).await.unwrap();
    ours.journal.append(batch("other", "a.yaml")).await.unwrap();
    theirs.journal.append(batch("other", "b.yaml")).await.unwrap_err();
    let theirs = keeper_in(&world, "theirs too");
    theirs.journal.append(batch("other", "b.yaml")).await.unwrap();
    // The writer goes on from their entry for the one cluster, and must not forget it for the other.
    ours.journal.append(batch("demo", "b.yaml")).await.unwrap();
    let lost = ours.journal.append(batch("other", "b.yaml")).await.unwrap_err();
    assert!(matches!(&lost, Lost::Overtaken { cluster, .. } if cluster == "other"), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_from_before_a_reread_is_not_pushed_after_it() {
    let world = World::new();
    world.desire("v1.35.4");
    let wires = keeper(&world);
    let lock = world.repo().join("refs/heads/windlass/status.lock");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, "").unwrap();
    let journal = wires.journal.clone();
    let old = tokio::spawn(async move { journal.append(batch("demo", "status.yaml")).await });
    world.pass(SignedDuration::from_secs(5)).await;
    assert_eq!(wires.journal.record("demo").await.unwrap().next_seq, 0);
    std::fs::remove_file(lock).unwrap();
    world.pass(SignedDuration::from_mins(5)).await;
    assert!(old.await.unwrap().is_err(), "it was not in the record that was read: {:?}", world.log());
}
