//! How long planning takes and what it keeps in memory: `cargo bench --bench plan`.
//!
//! Times are the median of several runs, in processor time. Each size runs in a process of its own, for the
//! peak of memory is one per process.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark is a test to us, and a program to the compiler"
)]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use windlass::diff::diff;
use windlass::model::desired::Desired;
use windlass::model::live::{Id, Live, Owner, OwnerKind, Workload};
use windlass::model::plan::Plan;
use windlass::plan::{check, plan, seal};
use windlass::provider::scripts;

#[path = "../worlds.rs"]
#[expect(dead_code, unused_imports, reason = "the builder of worlds offers more than a benchmark needs")]
mod worlds;

const SIZES: [usize; 3] = [100, 1_000, 5_000];
const PODS_PER_NODE: usize = 30;
/// An odd number, so that the middle one is the median.
const RUNS: usize = 11;

fn main() {
    let size = std::env::args().find_map(|argument| argument.parse::<usize>().ok());
    match size {
        Some(size) => measure(size),
        None => table(),
    }
}

fn table() {
    println!(
        "{:>6} {:>8} {:>7} {:>10} {:>10} {:>10} {:>12} {:>12}",
        "nodes", "pods", "steps", "diff", "plan", "check", "world", "peak"
    );
    for size in SIZES {
        let program = std::env::current_exe().unwrap();
        let status = Command::new(program).arg(size.to_string()).status().unwrap();
        assert!(status.success());
    }
}

fn measure(size: usize) {
    let (desired, live) = world(size);
    let before = peak_mebibytes();
    let diffs = median(|| diff(&desired, &live).len());
    let plans = median(|| sealed(&desired, &live).stages.len());
    let made = sealed(&desired, &live);
    assert_eq!(made.blockers, []);
    let checks = median(|| check(&made, &desired, &live).len());
    assert_eq!(check(&made, &desired, &live), []);
    let steps = made.steps().count();
    println!(
        "{size:>6} {:>8} {steps:>7} {:>7.1} ms {:>7.1} ms {:>7.1} ms {before:>8} MiB {:>8} MiB",
        live.pods.len(),
        diffs.as_secs_f64() * 1e3,
        plans.as_secs_f64() * 1e3,
        checks.as_secs_f64() * 1e3,
        peak_mebibytes(),
    );
}

/// All but the check, which is measured by itself.
fn sealed(desired: &Desired, live: &Live) -> Plan {
    let draft = plan(desired, live);
    let scripts = scripts(&desired.cluster, &draft.stages);
    seal(draft, &desired.cluster, &scripts).unwrap()
}

fn median(mut work: impl FnMut() -> usize) -> Duration {
    let once = |_| {
        let start = processor_time();
        std::hint::black_box(work());
        processor_time().saturating_sub(start)
    };
    let mut times: Vec<_> = (0..RUNS).map(once).collect();
    times.sort();
    times[RUNS / 2]
}

/// How long this thread has had a processor: what else the machine does meanwhile is not our measure.
fn processor_time() -> Duration {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(line.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap())
}

/// The most that this process has ever had in memory.
fn peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kibibytes| kibibytes.parse::<u64>().ok()).unwrap_or_default()
        / 1024
}

/// A minor upgrade: three control plane nodes, ten pools, three zones, one workload for every ten pods and a
/// budget for every second of them, fifty workloads to a namespace, one budget in five with no room.
fn world(nodes: usize) -> (Desired, Live) {
    let pools = (0..10).map(|number| worlds::pool(&format!("pool-{number}"), &format!("pool=p{number}")));
    let desired = worlds::desired("v1.36.3".parse().unwrap(), pools.collect());
    let mut live = Live { complete: true, ..Live::default() };
    for number in 0..3 {
        worlds::add_node(&mut live, &format!("cp-{number}"), "control-plane v1.35.4");
    }
    for number in 0..nodes {
        let words = format!("pool=p{} zone=z{} v1.35.4", number % 10, number % 3);
        worlds::add_node(&mut live, &format!("worker-{number:05}"), &words);
    }
    let pods = nodes * PODS_PER_NODE;
    let names: Vec<Id> = live.nodes.keys().filter(|name| name.starts_with("worker")).cloned().collect();
    let mut namespace: Id = "".into();
    for workload in 0..pods / 10 {
        // Interned, as the fold over watch events leaves them: one copy for all that mention a name.
        if workload % 50 == 0 {
            namespace = format!("team-{}", workload / 50).into();
        }
        let (name, uid) = (format!("app-{workload}"), format!("1b4e28ba-2fa1-11d2-883f-{workload:012}"));
        let labels = [("app", name.as_str()), ("team", &*namespace), ("pod-template-hash", "7c5ddbdf54")];
        let labels = Arc::new(labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect());
        let owner =
            Owner { kind: OwnerKind::ReplicaSet, uid: uid.as_str().into(), name: name.as_str().into() };
        let owner = Arc::new(owner);
        for replica in 0..10 {
            let node = (workload * 7 + replica * 13) % nodes;
            let mut pod = worlds::plain_pod("", &format!("{name}-{replica}"), "");
            pod.namespace = Arc::clone(&namespace);
            pod.node = Some(Arc::clone(&names[node]));
            pod.uid = format!("6fa459ea-ee8a-3ca4-{replica:04}-{workload:012}").into();
            pod.owner = Some(owner.clone());
            pod.labels = Arc::clone(&labels);
            pod.empty_dir = workload % 3 == 0;
            worlds::live::put(&mut live, pod);
        }
        live.workloads.insert(
            owner.uid.clone(),
            Workload {
                kind: OwnerKind::ReplicaSet,
                namespace: Arc::clone(&namespace),
                name: owner.name.clone(),
                replicas: 10,
                parent: None,
                essential: false,
            },
        );
        if workload % 2 == 0 {
            let words = format!("app={name} allows:{}", u8::from(workload % 5 != 0));
            live.budgets.insert((Arc::clone(&namespace), name.as_str().into()), worlds::budget(&words));
        }
    }
    (desired, live)
}
