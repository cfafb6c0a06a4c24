//! What it leaves alone: a cluster that is as desired, and one that it may only look at.

use windlass::model::decision::Key;
use windlass::reconcile::{End, Standing};
use windlass::sim::{How, When};

use crate::acting::{HOUR, MINUTE, small, workers_only};
use crate::world::{ALWAYS, World, cluster_yaml};

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_written_and_little_is_read() {
    let mut world = small().await;
    world.desire("v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    world.poll = MINUTE * 5;
    let process = world.daemon();
    world.pass(MINUTE * 5).await;
    let (now, commits) = (world.clock.now(), world.log().len());
    world.server.with(|cluster, _| cluster.audit_mut().reset());
    world.pass(HOUR * 10).await;
    assert_eq!(world.writes_after(now), Vec::<String>::new());
    assert_eq!(world.log().len(), commits);
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
    let cluster = cluster_yaml("v1.36.3", "").replace("mode: act", "mode: observe");
    world.commit(
        &[("desired-state/demo/cluster.yaml", Some(&cluster)), ("policies/window.yaml", Some(ALWAYS))],
        "observe",
    );
    let before = world.clock.now();
    assert_eq!(world.run().await, End::Idle(Standing::Waiting));
    assert_eq!(world.writes_after(before), Vec::<String>::new());
    world.assert_waits(Key::ObserveOnly, "cluster/demo", "observe");
    world.assert_converged("v1.35.4");
}

fn shown(world: &World) -> String {
    let maps = world.list("/api/v1/namespaces/kube-system/configmaps");
    let map = maps.iter().find(|map| map["metadata"]["name"] == "upgrade-status").unwrap();
    map["data"]["status"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_config_map_says_where_it_stands_and_what_there_is_to_go_back_to() {
    let mut world = small().await;
    world.desire("v1.36.3");
    let mut process = world.daemon();
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
            .status()
            .answers
            .iter()
            .all(|answer| answer.reason.key == Key::Passes || answer.reason.key == Key::WindowOpen),
        "{:?}",
        process.status()
    );
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_the_leases_release_is_got_over() {
    let mut world = workers_only(1).await;
    let process = world.daemon();
    world.until("done", HOUR, |world| world.node("w1").0 == "v1.36.3").await;
    // From here on every answer about the lease is lost until it has been released.
    let when = When { verb: "update", resource: "leases", ..When::default() };
    world.faults(|faults, _| faults.on(when, 0, u64::MAX, How::AppliedButTimedOut));
    let released = |world: &World| {
        world
            .list("/apis/coordination.k8s.io/v1/namespaces/windlass-system/leases")
            .iter()
            .all(|l| l["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty())
    };
    world.until("released", HOUR, |world| world.record().ended.len() == 1 && released(world)).await;
    world.faults(|faults, _| faults.clear());
    world.pass(MINUTE * 10).await;
    let rest = world.clock.now();
    world.pass(HOUR).await;
    let all: Vec<String> = world.server.with(|cluster, _| {
        cluster
            .audit()
            .entries
            .iter()
            .filter(|e| e.at > rest && e.verb == "update")
            .map(|e| format!("{} {} {}", e.at, e.path, e.code))
            .collect()
    });
    assert!(
        all.is_empty(),
        "{} writes in an hour at rest, refused ones too: {:#?}",
        all.len(),
        all.iter().take(5).collect::<Vec<_>>()
    );
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_observed_cluster_that_is_as_git_asks_is_as_desired() {
    let mut world = small().await;
    let cluster = cluster_yaml("v1.35.4", "").replace("mode: act", "mode: observe");
    world.commit(&[("desired-state/demo/cluster.yaml", Some(&cluster))], "demo: look only");
    assert_eq!(world.run().await, End::Idle(Standing::AsDesired), "{:#?}", world.record().waiting);
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_has_published_the_last_word() {
    let mut world = workers_only(2).await;
    world.annotate("w2", "windlass.dev/hold", Some("a disk is replaced"));
    assert_eq!(world.run().await, End::Idle(Standing::Waiting));
    let maps = world.list("/api/v1/namespaces/kube-system/configmaps");
    let map = maps.iter().find(|map| map["metadata"]["name"] == "upgrade-status").unwrap();
    let text = windlass::record::config_map_text(&windlass::record::status("demo", &world.record()));
    assert_eq!(map["data"]["status"], text);
}
