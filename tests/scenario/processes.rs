//! Processes: one that was away, several that share a cluster, and the leases and claims that they leave.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use windlass::execute::Open;
use windlass::model::decision::Key;
use windlass::model::entry::{RunEvent, StepEvent, What};
use windlass::model::state::RunState;
use windlass::record;
use windlass::serve::{End, Ended, Serve, Views, serve};
use windlass::sim::{How, Kind, When};
use windlass::view::cluster::{Notice, Numbered};

use crate::http_backend::Server;
use crate::world::fixtures::{WIDE, workers_only};
use crate::world::process::{HOUR, MINUTE, SECOND};
use crate::world::{CLUSTER, World};

/// A whole process, as `windlass daemon` starts it.
pub struct Daemon {
    ending: watch::Sender<bool>,
    views: watch::Receiver<Views>,
    task: JoinHandle<anyhow::Result<Ended>>,
}

impl Daemon {
    /// One on a machine of its own, which shares nothing with others but the repository and the cluster.
    pub fn on(world: &World, host: &str) -> Self {
        let (ending, asked) = watch::channel(false);
        let (shown, views) = watch::channel(Views::new());
        let cluster = world.cluster();
        let settings = Serve {
            git: world.repository(host),
            path: String::new(),
            image: None,
            poll: SECOND * 30,
            clock: world.clock.clone(),
            fence: Arc::new(Open),
            connect: Arc::new(move |_| {
                let cluster = cluster.clone();
                Box::pin(async move { Ok(cluster) })
            }),
            host: host.to_owned(),
            until_idle: false,
            ending: asked,
            views: shown,
        };
        Self { ending, views, task: tokio::spawn(serve(settings)) }
    }

    pub async fn end(self) {
        self.ending.send(true).unwrap();
        let mut ended = self.task.await.unwrap().unwrap();
        assert!(matches!(ended.clusters.remove(CLUSTER), Some(Ok(End::Asked))));
    }

    /// As with `kill -9`.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Follows the view of the cluster from its first notice to its last, reading it whenever it has changed.
async fn follow(mut views: watch::Receiver<Views>) -> Vec<Numbered> {
    let mut view = loop {
        views.changed().await.unwrap();
        if let Some(view) = views.borrow_and_update().get(CLUSTER) {
            break view.clone();
        }
    };
    let (mut told, mut last) = (Vec::new(), 0);
    // Until the loop has ended.
    while view.changed().await.is_ok() {
        let view = view.borrow_and_update();
        told.extend(view.since(last).cloned());
        last = view.last_number();
    }
    told
}

/// A cluster that differs from what the repository behind HTTP wants.
async fn world() -> (World, Server) {
    let (world, server) = crate::remote::world().await;
    world.deployment("shop", 4);
    world.pass(SECOND * 30).await;
    (world, server)
}

fn holder(world: &World) -> Option<String> {
    let leases = world.list("/apis/coordination.k8s.io/v1/namespaces/windlass-system/leases");
    let ours = leases.iter().find_map(|lease| lease["spec"]["holderIdentity"].as_str());
    ours.filter(|holder| !holder.is_empty()).map(str::to_owned)
}

/// Each node was begun once, in one run, and the cluster is as desired.
async fn assert_told_once(world: &World) {
    let done = |node: &(String, String, bool, bool)| node.1 == "v1.36.3" && node.2 && !node.3;
    // The lease is given back with the end of the run.
    world
        .until("the end of the run", HOUR, |world| world.nodes().iter().all(done) && holder(world).is_none())
        .await;
    world.assert_converged("v1.36.3");
    world.assert_invariants();
    let journal = world.journal();
    let begun = |node: &str| {
        let of = |what: &What| matches!(what, What::Step(id, StepEvent::Started { .. }) if id.node_name() == Some(node));
        journal.iter().filter(|entry| of(&entry.what)).count()
    };
    // The servers and the kubelet of a control plane node are two steps.
    assert_eq!((begun("cp1"), begun("w1"), begun("w2")), (2, 1, 1), "{:#?}", world.log());
    let runs =
        journal.iter().filter(|entry| matches!(entry.what, What::Run(RunEvent::Started { .. }))).count();
    assert_eq!(runs, 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_daemons_one_acts() {
    let (world, _server) = world().await;
    let (first, second) = (Daemon::on(&world, "first"), Daemon::on(&world, "second"));
    world.until("a run", HOUR, |world| holder(world).is_some()).await;
    assert_told_once(&world).await;
    first.end().await;
    second.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_daemon_goes_on_where_the_first_was_killed() {
    let (world, _server) = world().await;
    let daemons = [Daemon::on(&world, "first"), Daemon::on(&world, "second")];
    world
        .until("a worker in hand", HOUR, |world| world.nodes().iter().any(|node| node.0 != "cp1" && node.3))
        .await;
    let dies = holder(&world).unwrap();
    let [first, second] = daemons;
    let (acting, other) = if dies.starts_with("first-") { (first, second) } else { (second, first) };
    let epoch = world.journal().last().unwrap().epoch;
    acting.kill().await;
    assert_told_once(&world).await;
    assert!(world.journal().last().unwrap().epoch > epoch, "its successor has an epoch of its own");
    other.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_was_away_for_an_hour_finds_the_node_done() {
    let mut world = workers_only(2).await;
    let process = world.daemon();
    world.until("a job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
    world.pass(SECOND * 15).await;
    drop(process);
    world.pass(HOUR).await;
    assert_eq!(world.node("w1").0, "v1.36.3");
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_another_process_is_waited_for_until_it_expires() {
    let mut world = workers_only(2).await;
    world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "windlass-system"}}));
    let renewed = |world: &World| json!(format!("{:.6}", world.clock.now()));
    let now = renewed(&world);
    world.create(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "windlass", "namespace": "windlass-system"},
        "spec": {"holderIdentity": "another", "leaseDurationSeconds": 30, "leaseTransitions": 7, "renewTime": now}}));
    let process = world.daemon();
    for _ in 0..30 {
        world.pass(SECOND * 10).await;
        let now = renewed(&world);
        world.change(Kind::Lease, "windlass-system", "windlass", |tree| tree["spec"]["renewTime"] = now);
    }
    assert!(process.says(Key::LeaseElsewhere, "lease/windlass"));
    assert!(world.nodes().iter().all(|node| !node.3));
    let silent = world.clock.now();
    world.until("a claim", MINUTE * 2, |world| world.nodes().iter().any(|node| node.3)).await;
    assert!(world.clock.now().duration_since(silent) >= SECOND * 30);
    world.until("the end", HOUR, |world| world.record().run.is_none()).await;
    world.assert_converged("v1.36.3");
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

/// A claim as another process of ours would have left it.
fn claim(world: &World, node: &str, run: &str, epoch: u64) {
    let uid = world.list("/api/v1/nodes").iter().find(|n| n["metadata"]["name"] == node).unwrap()["metadata"]
        ["uid"]
        .clone();
    let claim = json!({"nodeUid": uid, "run": run, "step": "w/v1.36.3/x/kubelet", "planDigest": "d", "epoch": epoch,
        "wasUnschedulable": false, "cordoned": true, "at": world.clock.now().to_string()});
    world.annotate(node, "windlass.dev/claim", Some(&claim.to_string()));
    world.cordon(node);
}

#[tokio::test(start_paused = true)]
async fn the_claim_of_an_unknown_run_is_released() {
    let mut world = workers_only(3).await;
    claim(&world, "w3", "0000000-1", 0);
    let end = world.run().await;
    world.assert_done(&end, "v1.36.3");
    claim(&world, "w3", "0000000-1", 0);
    assert_eq!(world.run().await, End::Idle(RunState::AsDesired), "at rest too");
    world.assert_converged("v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn the_claim_of_a_later_leader_is_left_alone() {
    let mut world = workers_only(3).await;
    claim(&world, "w3", "0000000-1", 99);
    world.desire_with("v1.36.3", WIDE);
    let before = world.clock.now();
    world.assert_run_ends(RunState::NeedsAPerson).await;
    world.assert_waits(Key::ForeignClaim, "node/w3", "epoch 99");
    assert!(!world.writes_after(before).iter().any(|line| line.contains("/nodes/w3")));
    assert_eq!(world.node("w2").0, "v1.36.3", "the others go on");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_cannot_be_read_is_left_alone_and_reported() {
    let mut world = workers_only(3).await;
    world.annotate("w3", "windlass.dev/claim", Some("{\"of\": \"a later version\"}"));
    world.assert_run_ends(RunState::NeedsAPerson).await;
    world.assert_waits(Key::ForeignClaim, "node/w3", "cannot be read");
    assert_eq!(world.node("w3"), ("v1.35.4".to_owned(), true, true));
    world.assert_in_service("w2", "v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_the_view_misses_no_entry_and_no_eviction() {
    let (world, _server) = world().await;
    let daemon = Daemon::on(&world, "first");
    let reader = tokio::spawn(follow(daemon.views.clone()));
    world.until("a run", HOUR, |world| holder(world).is_some()).await;
    assert_told_once(&world).await;
    let view = daemon.views.borrow().get(CLUSTER).unwrap().clone();
    daemon.end().await;
    let view = view.borrow();
    assert_eq!(view.status, Some(record::status(CLUSTER, &world.record())), "as it is published");
    let told = reader.await.unwrap();
    let numbers: Vec<u64> = told.iter().map(|numbered| numbered.number).collect();
    assert_eq!(numbers, (1..=view.last_number()).collect::<Vec<_>>());
    let (mut entries, mut evictions) = (Vec::new(), 0);
    for numbered in told {
        match numbered.notice {
            Notice::Entry(entry) => entries.push(*entry),
            Notice::Evicted { .. } => evictions += 1,
        }
    }
    assert_eq!(entries, world.journal());
    assert_eq!(evictions, world.evictions());
}
