//! How long after a stop the last write to a node, a pod or a Job goes out: `cargo bench --bench stop`.
//!
//! A daemon upgrades the workers of a simulated cluster, in running time and with a tenth of the nodes out, while other
//! threads keep every processor busy. Then a person stops it. The promise is two seconds. The simulated API server and
//! the daemon share one thread, so the daemon has less of a processor than it would have by itself.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark is a test to us, and a program to the compiler"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::SignedDuration;
use serde_json::json;
use windlass::model::names::STOP;

#[path = "measure.rs"]
#[expect(dead_code, reason = "each benchmark needs a part of it")]
mod measure;
#[path = "../world.rs"]
#[expect(dead_code, reason = "the world of the tests offers more than a benchmark needs")]
mod world;

use measure::{processor_time, sizes};
use world::World;
use world::process::{MINUTE, SECOND};

/// Workers.
const SIZES: [usize; 2] = [100, 400];
const PODS_PER_NODE: usize = 5;
const DEPLOYMENTS: usize = 20;
/// How long the daemon has been draining when it is stopped.
const DRAINING: SignedDuration = MINUTE;

const POOL: &str = "  nodePools:
    - {name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 10%}
";

fn main() {
    let head = "| nodes | pods | nodes out at the stop | evictions before it | the last write after the stop | \
                processor time of a minute |\n|---|---|---|---|---|---|";
    sizes(&SIZES, head, measure_one);
}

fn measure_one(size: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let busy = Busy::begin();
    runtime.block_on(stop_in_the_middle(size));
    drop(busy);
}

async fn stop_in_the_middle(size: usize) {
    let mut world = World::at("v1.36.3");
    world.control_plane(1).workers("w", u32::try_from(size).unwrap());
    let replicas = u32::try_from(size * PODS_PER_NODE / DEPLOYMENTS).unwrap();
    for number in 0..DEPLOYMENTS {
        world.deployment(&format!("app-{number}"), replicas);
    }
    world.pass(SECOND * 20).await;
    for number in 1..=size {
        world.change_node(&format!("w{number}"), |tree| {
            tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.35.4");
        });
    }
    world.desire_with("v1.36.3", POOL);
    let process = world.daemon();
    world.until("evictions", MINUTE * 5, |world| world.evictions() > size / 10).await;
    let begun = processor_time();
    world.pass(DRAINING).await;
    let used = processor_time().saturating_sub(begun);
    let out = world.nodes().iter().filter(|node| !node.2).count();
    let evictions = world.evictions();
    let stopped = world.clock.now();
    world.note(STOP, "measured");
    world.pass(SECOND * 15).await;
    let last = world.server.with(|cluster, _| {
        let writes = cluster.audit().writes();
        let changes = writes.filter(|write| write.at > stopped && disturbs(&write.path));
        changes.map(|write| write.at.duration_since(stopped)).max()
    });
    process.end().await;
    let last = last.map_or_else(|| "none".to_owned(), |last| format!("{:.2} s", last.as_secs_f64()));
    println!(
        "| {size} | {} | {out} | {evictions} | {last} | {:.1} s |",
        size * PODS_PER_NODE,
        used.as_secs_f64()
    );
}

/// True for a write that a stop has to prevent.
fn disturbs(path: &str) -> bool {
    ["/nodes/", "/pods/", "/jobs"].iter().any(|part| path.contains(part))
}

/// Threads that keep every processor busy.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
