//! The process is ended before and after every single effect of a small upgrade, and started again: it goes on, and
//! ends in the same state.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use windlass::execute::{Open, When};
use windlass::model::entry::RunOutcome;
use windlass::model::state::RunState;
use windlass::serve::End;

use crate::beside::{LENGTH, Slow, carry_on};
use crate::scenario::{helm, manifests};
use crate::world::fixtures::workers_only;
use crate::world::process::SECOND;
use crate::world::{ALWAYS, CrashAt, World, cluster_yaml};

/// One control plane node, three workers, twelve pods, and a budget that blocks until a slow pod is Ready.
async fn small() -> World {
    let world = World::new();
    world.control_plane(1).workers("w", 3).deployment("web", 4).deployment("api", 5).deployment("cart", 2);
    world.budget("web", json!({"maxUnavailable": 1})).budget("cart", json!({"minAvailable": 1}));
    world.pass(SignedDuration::from_secs(30)).await;
    // It takes a minute to become Ready wherever it starts: the budget blocks meanwhile.
    world.create(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "slow", "namespace": "default"},
        "spec": {"replicas": 1, "serviceName": "slow", "selector": {"matchLabels": {"app": "slow"}}, "template": {
            "metadata": {"labels": {"app": "slow"}, "annotations": {"sim/start-seconds": "60"}},
            "spec": {"containers": [{"name": "c", "image": "app:1"}]}}}}));
    world.pass(SignedDuration::from_secs(90)).await;
    world.desire("v1.36.3");
    world
}

/// A run of two addons, of which one goes through a version between, and has to roll out before the other.
async fn addons() -> World {
    let world = World::new();
    world.control_plane(1).workers("w", 1).deployment("first", 2).deployment("second", 1);
    world.pass(SignedDuration::from_secs(30)).await;
    let addon = |name: &str, more: &str| {
        format!(
            "    - {{name: {name}, version: \"2\", image: {{namespace: default, workload: deployment/{name}, container: c}}{more}}}\n"
        )
    };
    let pool = "  nodePools:\n    - {name: w, selector: {matchLabels: {pool: w}}}\n";
    let more = format!(
        "{pool}  addons:\n{}{}",
        addon("second", ", after: [first]"),
        addon("first", ", via: [\"1.5\"]")
    );
    world.desire_with("v1.35.4", &more);
    world
}

/// Kills a run before and after each of its effects, each time in a new world, and starts it again. `scene` makes the world and what
/// `check` wants to know of it; the run has at least so many effects.
fn killed_at_every_effect<T>(
    least: u64,
    ends: RunState,
    scene: impl AsyncFn() -> (World, T),
    check: impl Fn(&World, &T, &str),
) {
    for when in [When::Before, When::After] {
        for index in 0.. {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).build().unwrap();
            let title = format!("{when:?} effect {index}");
            let fenced = runtime.block_on(async {
                let (mut world, known) = scene().await;
                let fenced = world.run_fenced(Arc::new(CrashAt { index, when })).await == End::Fenced;
                if fenced {
                    let end = world.run().await;
                    assert_eq!(end, End::Idle(ends), "{title}: {:#?}", world.log());
                }
                check(&world, &known, &title);
                fenced
            });
            if !fenced {
                assert!(index > least, "the run has several effects, not {index}");
                break;
            }
        }
    }
}

fn outcomes(world: &World) -> Vec<RunOutcome> {
    world.record().ended.iter().map(|run| run.outcome).collect()
}

#[test]
fn addons_go_on_after_being_killed_before_and_after_any_effect() {
    let scene = async || (addons().await, ());
    killed_at_every_effect(8, RunState::AsDesired, scene, |world, (), title| {
        let writes = world.writes_after("2026-01-01T00:00:00Z".parse().unwrap());
        let moves =
            writes.iter().filter(|write| write.contains(" patch ") && write.contains("/deployments/"));
        let moves: Vec<&str> = moves.filter_map(|write| write.rsplit('/').next()).collect();
        assert_eq!(moves, ["first", "first", "second"], "each once, in order, {title}");
        assert_eq!(outcomes(world), [RunOutcome::Converged], "{title}");
    });
}

/// Commits an addon of two objects, or of one, with this text in the first.
fn desire_manifests(world: &World, text: &str, more: bool) {
    let object = |name: &str, text: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{text: {text}}}\n"
        )
    };
    let pool = "  nodePools:\n    - {name: w, selector: {matchLabels: {pool: w}}}\n";
    let addon = "  addons:\n    - {name: notes, version: \"1\", manifests: addons/notes}\n";
    let cluster = cluster_yaml("v1.35.4", &format!("{pool}{addon}"));
    let (first, second) = (object("first", text), object("second", "same"));
    world.commit(
        &[
            ("desired-state/demo/cluster.yaml", Some(cluster.as_str())),
            ("policies/window.yaml", Some(ALWAYS)),
            ("desired-state/demo/addons/notes/first.yaml", Some(first.as_str())),
            ("desired-state/demo/addons/notes/second.yaml", more.then_some(second.as_str())),
        ],
        "demo",
    );
}

#[test]
fn manifests_go_on_after_being_killed_before_and_after_any_effect() {
    let scene = async || {
        let mut world = World::new();
        world.control_plane(1).workers("w", 1);
        world.pass(SignedDuration::from_secs(30)).await;
        desire_manifests(&world, "old", true);
        assert_eq!(world.run().await, End::Idle(RunState::AsDesired), "{:#?}", world.log());
        let installed = world.clock.now();
        world.pass(SignedDuration::from_secs(1)).await;
        desire_manifests(&world, "new", false);
        (world, installed)
    };
    killed_at_every_effect(6, RunState::AsDesired, scene, |world, installed, title| {
        let writes = world.writes_after(*installed);
        let writes: Vec<String> = writes
            .into_iter()
            .filter(|write| write.contains("/default/configmaps/"))
            .map(|write| write.split_once(' ').unwrap().1.to_owned())
            .collect();
        let place = "/api/v1/namespaces/default/configmaps";
        let expected = [format!("patch {place}/first"), format!("delete {place}/second")];
        assert_eq!(writes, expected, "each once, in order, {title}");
        assert_eq!(outcomes(world), [RunOutcome::Converged; 2], "{title}");
    });
}

#[test]
fn a_chart_goes_on_after_being_killed_before_and_after_any_effect() {
    let scene = async || {
        let world = helm::installed().await;
        helm::desire(&world, "v1.35.4", "1.1.0", ("v2", "works"), false);
        (world, ())
    };
    killed_at_every_effect(4, RunState::AsDesired, scene, |world, (), title| {
        assert_eq!(helm::revisions(world), ["1 superseded", "2 deployed"], "once, {title}");
        assert_eq!(outcomes(world), [RunOutcome::Converged; 2], "{title}");
    });
}

#[test]
fn manifests_go_back_although_they_are_killed_before_and_after_any_effect() {
    let scene = async || {
        let world = manifests::installed().await;
        manifests::desire_broken(&world, "v1.35.4");
        (world, ())
    };
    killed_at_every_effect(12, RunState::Halted, scene, |world, (), _| manifests::assert_is_back(world));
}

async fn crashed_at(index: u64, when: When) -> bool {
    let mut world = small().await;
    let first = world.run_fenced(Arc::new(CrashAt { index, when })).await;
    if first != End::Fenced {
        return false;
    }
    let end = world.run().await;
    assert_eq!(end, End::Idle(RunState::AsDesired), "after {when:?} effect {index}: {:#?}", world.log());
    world.assert_converged("v1.36.3");
    world.assert_invariants();
    assert_eq!(world.nodes().len(), 4);
    let seqs: Vec<u64> = world.journal().iter().map(|entry| entry.seq).collect();
    assert_eq!(
        seqs,
        (0..world.record().next_seq).collect::<Vec<_>>(),
        "no gap after {when:?} effect {index}"
    );
    let outcomes: Vec<_> = world.record().ended.iter().map(|run| run.outcome).collect();
    assert_eq!(
        outcomes,
        [RunOutcome::Converged],
        "one run, whose end is told, after {when:?} effect {index}"
    );
    true
}

fn every_effect(when: When) {
    let threads = 2;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for index in (thread..).step_by(usize::try_from(threads).unwrap()) {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .start_paused(true)
                        .build()
                        .unwrap();
                    if !runtime.block_on(crashed_at(index, when)) {
                        assert!(index > 40, "a small upgrade has many effects, not {index}");
                        break;
                    }
                }
            });
        }
    });
}

#[test]
fn it_goes_on_after_being_killed_before_any_effect() {
    every_effect(When::Before);
}

#[test]
fn it_goes_on_after_being_killed_after_any_effect() {
    every_effect(When::After);
}

/// Processes that are killed after so many seconds, one after the other, until one of them is done.
async fn short_lives(mut world: World, seconds: i64) {
    for _ in 0..400 {
        let mut process = world.start();
        world.pass(SignedDuration::from_secs(seconds)).await;
        if !process.is_running() {
            assert_eq!(process.ended().await, End::Idle(RunState::AsDesired), "{:#?}", world.log());
            world.assert_converged("v1.36.3");
            return world.assert_invariants();
        }
    }
    panic!("no end: {:#?}\n{:#?}", world.tail(), world.nodes());
}

#[tokio::test(start_paused = true)]
async fn processes_that_live_for_seconds_get_through_together() {
    // A control plane has to be steady for ten seconds before it is touched.
    short_lives(small().await, 15).await;
    let world = workers_only(4).await;
    world.deployment("web", 4).budget("web", json!({"maxUnavailable": 1}));
    short_lives(world, 5).await;
}

#[tokio::test(start_paused = true)]
async fn long_work_is_begun_once_whenever_the_process_is_killed() {
    for (index, when) in [(0, When::Before), (0, When::After), (1, When::Before)] {
        let world = World::new();
        let work = Slow::new(&world.clock);
        let ended = carry_on(&world, &work, &CrashAt { index, when }).await;
        // There is one effect, the begin: at the second index nothing happens any more.
        assert_eq!(ended, index == 1, "{when:?} effect {index}");
        assert!(carry_on(&world, &work, &Open).await);
        assert_eq!(work.begun(), 1, "{when:?} effect {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn long_work_is_found_again_however_far_it_has_come() {
    for seconds in (0..=LENGTH.as_secs() + 10).step_by(7) {
        let world = World::new();
        let work = Slow::new(&world.clock);
        let (life, limit) =
            (carry_on(&world, &work, &Open), world.pass(SECOND * i32::try_from(seconds).unwrap()));
        tokio::select! { _ = life => {}, () = limit => {} }
        assert!(carry_on(&world, &work, &Open).await, "after {seconds} s");
        assert_eq!(work.begun(), 1, "after {seconds} s");
    }
}
