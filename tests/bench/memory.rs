//! What the picture of a cluster keeps in memory, per pod: `cargo bench --bench memory`.
//!
//! Objects as an API server lists them are folded one by one, so that only what the fold keeps is left. Each size
//! runs in a process of its own. Bytes are what the system gives the process, divided by the pods: nodes, workloads,
//! budgets, indexes and what the allocator wastes are all in them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark is a test to us, and a program to the compiler"
)]

use jiff::Timestamp;
use windlass::live::{Event, Folder, Seen, Watched};

#[path = "measure.rs"]
#[expect(dead_code, reason = "each benchmark needs a part of it")]
mod measure;
#[path = "objects.rs"]
mod objects;

use measure::{each_size, memory};
use objects::{job_pod, list};

/// So many Jobs' pods come and go after everything was listed.
const CHURN: usize = 100_000;

fn main() {
    let head = format!(
        "{:>6} {:>8} {:>16} {:>16} {:>18} {:>10}",
        "nodes", "pods", "listed, B/pod", "again, B/pod", "after churn, B/pod", "peak"
    );
    each_size(&head, measure);
}

fn measure(nodes: usize) {
    let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    // What a process takes for itself the first time is none of the picture.
    list(&mut Folder::default(), 10, 1, now);
    let mut folder = Folder::default();
    let before = resident();
    list(&mut folder, nodes, 1, now);
    let pods = folder.live.pods.len();
    let per_pod = |resident: u64| resident.saturating_sub(before) / u64::try_from(pods).unwrap();
    let listed = per_pod(resident());
    // A watch that broke lists everything once more; every object has changed a little.
    list(&mut folder, nodes, 2, now);
    let again = per_pod(resident());
    for number in 0..CHURN {
        let pod = job_pod(1_000_000 + number, "worker-00001", 3);
        folder.fold(Seen::Watched(Watched::Pod(Event::Applied(Box::new(pod.clone())))), now);
        folder.fold(Seen::Watched(Watched::Pod(Event::Deleted(Box::new(pod)))), now);
    }
    assert_eq!(folder.live.pods.len(), pods);
    let churned = per_pod(resident());
    println!("{nodes:>6} {pods:>8} {listed:>16} {again:>16} {churned:>18} {:>6} MiB", memory("VmHWM:") >> 20);
}

fn resident() -> u64 {
    memory("VmRSS:")
}
