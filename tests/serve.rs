//! Whole daemons, as `windlass daemon` wires them, on two machines: one record, one cluster, and one of them acts.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use windlass::cli::serve::{Ended, Serve, serve};
use windlass::execute::Open;
use windlass::model::entry::What;
use windlass::reconcile::End;

use crate::acting::{HOUR, SECOND};
use crate::http_backend::Server;
use crate::world::{CLUSTER, World};

struct Daemon {
    ending: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<Ended>>,
}

impl Daemon {
    /// One on a machine of its own, which shares nothing with others but the repository and the cluster.
    fn on(world: &World, host: &str) -> Self {
        let (ending, asked) = watch::channel(false);
        let cluster = world.cluster();
        let settings = Serve {
            git: world.repository(host),
            path: String::new(),
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
            tell: None,
        };
        Self { ending, task: tokio::spawn(serve(settings)) }
    }

    async fn end(self) {
        self.ending.send(true).unwrap();
        let mut ended = self.task.await.unwrap().unwrap();
        assert!(matches!(ended.clusters.remove(CLUSTER), Some(Ok(End::Asked))));
    }

    /// As with `kill -9`.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
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
        let of = |what: &What| matches!(what, What::StepStarted { node: of, .. } if of == node);
        journal.iter().filter(|entry| of(&entry.what)).count()
    };
    // The servers and the kubelet of a control plane node are two steps.
    assert_eq!((begun("cp1"), begun("w1"), begun("w2")), (2, 1, 1), "{:#?}", world.log());
    let runs = journal.iter().filter(|entry| matches!(entry.what, What::RunStarted { .. })).count();
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
async fn the_other_goes_on_where_one_died() {
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
