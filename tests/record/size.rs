//! Bounds at five thousand nodes: the status, the text for kubectl and the report stay readable.

use windlass::model::decision::{Gate, Key};
use windlass::model::entry::{ClusterEvent, RunOutcome, StepPhase, What};
use windlass::model::plan::Component;
use windlass::record::{self, CONFIG_MAP_BYTES, status};

use super::story::{CLUSTER, Story, done, moved, plan, set_aside, started, step as step_of, wait};

const NODES: usize = 5_000;

/// Names as long as clouds make them.
fn worker(n: usize) -> String {
    format!("w{n}-{}", "x".repeat(180))
}

/// A large run in the middle: most nodes done, hundreds in progress, set aside and waited for.
fn large() -> Story {
    let k = Component::Kubelet;
    let mut plan = plan(1);
    let workers = plan.stages.last_mut().unwrap();
    workers.steps = (1..=NODES).map(|n| step_of(&worker(n), k, "v1.35.6", "v1.36.3")).collect();
    let mut story = Story::new(plan);
    story.accepted().run_started();
    let step = |n: usize| match n % 10 {
        0 => vec![set_aside(&worker(n), false)],
        1..=3 => vec![started(&worker(n), k), moved(&worker(n), k, StepPhase::Claimed)],
        _ => vec![started(&worker(n), k), done(&worker(n), k)],
    };
    let whats: Vec<What> = (1..NODES).flat_map(step).collect();
    story.pass(60, 0).say(whats);
    let blocked = |n: usize| {
        let text = format!("the budget shop/cart allows no disruption of cart-{n} {}", "x".repeat(300));
        wait(Gate::Budget, Key::BudgetBlocks, &format!("pod/shop/cart-{n}"), &text, None)
    };
    story.say([What::Cluster(ClusterEvent::Waiting { answers: (0..NODES).map(blocked).collect() })]);
    story.pass(10, 0).say([What::Cluster(ClusterEvent::Waiting { answers: Vec::new() })]);
    story.say([What::Cluster(ClusterEvent::Waiting { answers: (0..NODES).map(blocked).collect() })]);
    story
}

#[test]
fn a_large_run_stays_small_where_people_look() {
    let mut story = large();
    let now = status(CLUSTER, &story.record);
    let run = now.run.as_ref().unwrap();
    assert_eq!(run.counts.total, 5_001);
    let counts = run.counts;
    let sum =
        counts.done + counts.in_progress + counts.set_aside + counts.failed + counts.gone + counts.pending;
    assert_eq!(sum, counts.total, "{counts:?}");
    assert_eq!(u32::try_from(run.nodes.len()).unwrap() + run.nodes_left_out, counts.total);
    let file = story.file("prod-eu/status.yaml");
    assert!(file.len() < 128 * 1024, "status.yaml has {} bytes", file.len());
    let text = record::config_map_text(&now);
    assert!(text.len() <= CONFIG_MAP_BYTES, "the ConfigMap has {} bytes", text.len());
    for part in ["5001 nodes in all", "Timeline:", "Waiting:", "Rollback Available:", "lines left out"] {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }
    story.pass(1, 0).ended(RunOutcome::Superseded, Vec::new());
    let report = story.branch.iter().find(|(path, _)| path.ends_with("report.md")).unwrap().1;
    assert!(report.len() < 512 * 1024, "report.md has {} bytes", report.len());
    assert!(report.contains("| `budgetBlocks` | 10000 |"));
    assert_eq!(record::read(CLUSTER, &story.branch).unwrap(), story.record);
}
