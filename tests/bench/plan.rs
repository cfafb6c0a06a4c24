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

use std::sync::Arc;

use windlass::diff::diff;
use windlass::model::desired::Desired;
use windlass::model::live::{Id, Live, Owner, OwnerKind, Workload};
use windlass::model::plan::Plan;
use windlass::plan::{check, plan, seal};
use windlass::provider::scripts;

#[path = "measure.rs"]
mod measure;
#[path = "../worlds.rs"]
#[expect(dead_code, unused_imports, reason = "the builder of worlds offers more than a benchmark needs")]
mod worlds;

use measure::{each_size, median, memory};

const PODS_PER_NODE: usize = 30;
fn main() {
    let head = format!(
        "{:>6} {:>8} {:>7} {:>10} {:>10} {:>10} {:>12} {:>12}",
        "nodes", "pods", "steps", "diff", "plan", "check", "world", "peak"
    );
    each_size(&head, measure);
}

fn measure(size: usize) {
    let (desired, live) = world(size);
    let before = memory("VmHWM:") >> 20;
    let diffs = median(1, || diff(&desired, &live).len());
    let plans = median(1, || sealed(&desired, &live).stages.len());
    let made = sealed(&desired, &live);
    assert_eq!(made.blockers, []);
    let checks = median(1, || check(&made, &desired, &live).len());
    assert_eq!(check(&made, &desired, &live), []);
    let steps = made.steps().count();
    println!(
        "{size:>6} {:>8} {steps:>7} {:>7.1} ms {:>7.1} ms {:>7.1} ms {before:>8} MiB {:>8} MiB",
        live.pods.len(),
        diffs.as_secs_f64() * 1e3,
        plans.as_secs_f64() * 1e3,
        checks.as_secs_f64() * 1e3,
        memory("VmHWM:") >> 20,
    );
}

/// All but the check, which is measured by itself.
fn sealed(desired: &Desired, live: &Live) -> Plan {
    let draft = plan(desired, live);
    let scripts = scripts(&desired.cluster, &draft.stages);
    seal(draft, &desired.cluster, &scripts).unwrap()
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
                rollout: None,
            },
        );
        if workload % 2 == 0 {
            let words = format!("app={name} allows:{}", u8::from(workload % 5 != 0));
            live.budgets.insert((Arc::clone(&namespace), name.as_str().into()), worlds::budget(&words));
        }
    }
    (desired, live)
}
