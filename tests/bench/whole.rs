//! The whole daemon over the simulated API server, in virtual time, with the same workloads: what the small model of a
//! cluster has to agree with.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use windlass::sim::{Kind, Settings, Timings};

use crate::cluster::worker;
use crate::measure::processor_time;
use crate::mixes::{Mix, ROOM};
use crate::upgrade::{FROM, TO};
use crate::world::process::{HOUR, SECOND};
use crate::world::{World, rules};

pub struct Whole {
    pub makespan: SignedDuration,
    pub evictions: usize,
    pub refused: usize,
    pub breaches: usize,
    pub processor: Duration,
}

pub fn upgrade(mix: Mix, nodes: usize, at_once: usize) -> Whole {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let begun = processor_time();
    let mut whole = runtime.block_on(drive(mix, nodes, at_once));
    whole.processor = processor_time().saturating_sub(begun);
    whole
}

async fn drive(mix: Mix, nodes: usize, at_once: usize) -> Whole {
    let timings = Timings {
        pod_start: SECOND * 2,
        pod_termination: SignedDuration::from_secs(mix.apps(nodes).first().unwrap().grace_seconds),
        job_run: mix.on_node.job - SECOND * 2,
        kubelet_restart: mix.on_node.restart,
        ..Timings::default()
    };
    let pods_per_node = u64::try_from(ROOM).unwrap();
    let mut world = World::with(Settings {
        version: TO.to_owned(),
        rules: rules(),
        timings,
        pods_per_node,
        ..Settings::default()
    });
    world.control_plane(1).workers("w", u32::try_from(nodes).unwrap());
    world.pass(SECOND * 5).await;
    fill(&world, mix, nodes);
    world.pass(SECOND * 5).await;
    world.desire_with(
        TO,
        &format!(
            "  nodePools:\n    - {{name: w, selector: {{matchLabels: {{pool: w}}}}, canary: 0, maxUnavailable: {at_once}, \
             drain: {{timeout: 24h}}}}\n"
        ),
    );
    let _process = world.daemon();
    let is_done = |world: &World| world.nodes().iter().all(|node| node.1 == TO && node.2 && !node.3);
    let end = world.clock.now() + HOUR * 24;
    while !is_done(&world) {
        assert!(world.clock.now() < end, "the upgrade does not end");
        world.pass(SECOND * 5).await;
    }
    world.server.with(|cluster, _| {
        let audit = cluster.audit();
        let patches = || audit.writes().filter(|write| write.verb == "patch" && write.resource == "nodes");
        let (first, last) = (patches().next().unwrap().at, patches().last().unwrap().at);
        let accepted =
            |accepted| audit.evictions().filter(|(_, eviction)| eviction.accepted == accepted).count();
        Whole {
            makespan: last.duration_since(first),
            evictions: accepted(true),
            refused: accepted(false),
            breaches: cluster.breaches().len(),
            processor: Duration::ZERO,
        }
    })
}

fn fill(world: &World, mix: Mix, nodes: usize) {
    world.server.with(|cluster, now| {
        for number in 0..nodes {
            cluster.change(Kind::Node, "", &worker(number), now, |tree| {
                tree["status"]["nodeInfo"]["kubeletVersion"] = json!(FROM);
            });
        }
        for app in mix.apps(nodes) {
            for (place, node) in app.placed.iter().enumerate() {
                cluster.load(app.pod(place, &worker(*node), now), now).unwrap();
            }
            cluster.load(app.replica_set(), now).unwrap();
            app.disruption_budget().map(|budget| cluster.load(budget, now).unwrap());
        }
    });
}
