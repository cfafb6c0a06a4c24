//! A hand-driven journal: entries at a clock that the test moves, and the plans that they freeze.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use windlass::model::CommitId;
use windlass::model::decision::{Answer, Gate, Key, Reason, Verdict};
use windlass::model::desired::{DrainWhen, ForeignCordon, Kubeadm, Limit, PackageSource, Provider};
use windlass::model::entry::{
    Baseline, ClusterEvent, CommitEvent, Entry, RunEvent, RunOutcome, StepEvent, StepPhase, What,
};
use windlass::model::plan::{
    Component, DrainLimits, Fact, Hop, Least, LowerBound, NodeMove, NodeRef, Plan, PoolLimits, Scope, Stage,
    StageKind, Step, StepId, Work,
};
use windlass::model::version::Version;
use windlass::record::{self, Record, Run};

pub const CLUSTER: &str = "prod-eu";
pub const OLD: &str = "0f5a3c7e9b1d2f4a6c8e0b2d4f6a8c0e1b3d5f70";
pub const NEW: &str = "4be81d90a6c2753f0e1d9b8a7c6f5e4d3c2b1a09";

pub fn v(text: &str) -> Version {
    text.parse().unwrap()
}

pub fn commit(text: &str) -> CommitId {
    CommitId(text.to_owned())
}

pub fn reason(key: Key, object: &str, text: &str) -> Reason {
    Reason::new(key, object, text)
}

pub fn wait(gate: Gate, key: Key, object: &str, text: &str, next: Option<&str>) -> Answer {
    let next = next.map(|next| next.parse().unwrap());
    Answer { gate, verdict: Verdict::Wait, reason: reason(key, object, text), next }
}

pub fn step(node: &str, component: Component, from: &str, to: &str) -> Step {
    let mv = NodeMove {
        node: NodeRef { name: node.to_owned(), uid: format!("uid-{node}") },
        zone: String::new(),
        provider: Provider::Kubeadm,
        from: v(from),
        to: v(to),
        drain: component == Component::Kubelet,
        canary: node == "w1",
    };
    let scope = if node.starts_with("cp") { Scope::ControlPlane } else { Scope::Pool("general".to_owned()) };
    let work = match component {
        Component::ControlPlane => Work::ControlPlane(mv),
        Component::Kubelet => Work::Kubelet(mv),
    };
    let expects = vec![Fact::Ready(node.to_owned())];
    Step::new(scope, work, expects, vec![Fact::RunsAtLeast(component, node.to_owned(), v(to))])
}

fn least(seconds: i64, nodes: i64, at_once: i64, object: &str, text: &str) -> Least {
    Least { seconds, nodes, at_once, object: object.to_owned(), text: text.to_owned() }
}

/// One control plane node and so many workers, one minor up.
pub fn plan(workers: usize) -> Plan {
    let (from, to) = ("v1.35.6", "v1.36.3");
    let stage = |kind, steps| Stage { kind, hop: 0, to: v(to), steps };
    let worker = |n| step(&format!("w{n}"), Component::Kubelet, from, to);
    Plan {
        lower_bound: Some(LowerBound {
            seconds: 240,
            object: "budget/shop/cart".to_owned(),
            text: "it lets 1 of 15 pods go at a time".to_owned(),
            on_node_seconds: 10,
            stages: vec![vec![
                least(230, 1, 1, "budget/shop/cart", "it lets 1 of 15 pods go at a time"),
                least(15, 4, 2, "pool/general", "at most 2 of its 4 nodes may be out at once"),
            ]],
        }),
        cluster: CLUSTER.to_owned(),
        commit: commit(NEW),
        from: v(from),
        to: v(to),
        hops: vec![Hop { from: v(from), to: v(to) }],
        stages: vec![
            stage(StageKind::ControlPlane, vec![step("cp1", Component::ControlPlane, from, to)]),
            stage(StageKind::ControlPlaneKubelets, vec![step("cp1", Component::Kubelet, from, to)]),
            stage(StageKind::Workers, (1..=workers).map(worker).collect()),
        ],
        pools: BTreeMap::from([("general".to_owned(), limits())]),
        max_unavailable: Some(Limit::Count(2)),
        kubeadm: Kubeadm {
            from: PackageSource::Packages,
            image: Some("windlass:0.1.0".to_owned()),
            ignore_preflight_errors: Vec::new(),
            skip_phases: Vec::new(),
        },
        risks: vec![reason(Key::Unmanaged, "pod/shop/debug", "the pod debug has no owner and would be lost")],
        blockers: Vec::new(),
        digest: "9c1185a5c5e9fc54612808977ee8f548b2258d31".to_owned(),
        asked: "sha256:4f0c".to_owned(),
    }
}

pub fn limits() -> PoolLimits {
    PoolLimits {
        prefer_upgraded: false,
        max_unavailable: Limit::Percent(10),
        max_unavailable_per_zone: None,
        canary: 1,
        soak_seconds: 600,
        foreign_cordon: ForeignCordon::Skip,
        drain: DrainLimits {
            when: DrainWhen::Always,
            timeout_seconds: 1800,
            delete_empty_dir_data: true,
            jobs_seconds: 7200,
            implicit_budgets: true,
            recovery_seconds: 1800,
            max_recovering: windlass::model::desired::Limit::Percent(25),
            ahead: false,
            on_not_recovered: windlass::model::desired::OnNotRecovered::Halt,
            on_blocked: windlass::model::desired::OnBlocked::SetAside,
        },
    }
}

fn id(node: &str, component: Component) -> StepId {
    step(node, component, "v1.35.6", "v1.36.3").id
}

pub fn started(node: &str, component: Component) -> What {
    let pods = if component == Component::Kubelet { 12 } else { 0 };
    let cart = Baseline { name: "deployment/shop/cart".to_owned(), ready: 3, watched: true };
    let baseline = BTreeMap::from([("uid-cart".to_owned(), cart)]);
    What::Step(id(node, component), StepEvent::Started { pods, baseline })
}

pub fn moved(node: &str, component: Component, phase: StepPhase) -> What {
    What::Step(id(node, component), StepEvent::Moved { phase, found: None })
}

pub fn done(node: &str, component: Component) -> What {
    let evicted = if component == Component::Kubelet { 9 } else { 0 };
    What::Step(
        id(node, component),
        StepEvent::Done { version: "v1.36.3".to_owned(), evicted, owes: Vec::new() },
    )
}

pub fn set_aside(node: &str, touched: bool) -> What {
    let text = "the budget shop/db of statefulset/shop/db never allows a disruption";
    let reasons = vec![reason(Key::BudgetNeverAllows, "budget/shop/db", text)];
    What::Step(id(node, Component::Kubelet), StepEvent::SetAside { touched, reasons })
}

/// Why a node's upgrade fails here.
pub fn not_ready(node: &str) -> Vec<Reason> {
    let text = format!("{node} is not Ready 20m after its upgrade");
    vec![reason(Key::NodeNotReady, &format!("node/{node}"), &text)]
}

pub fn failed(node: &str) -> What {
    failed_because(node, not_ready(node))
}

pub fn failed_because(node: &str, reasons: Vec<Reason>) -> What {
    What::Step(id(node, Component::Kubelet), StepEvent::Failed { reasons })
}

/// One commit to the status branch, as it would be pushed.
pub struct Commit {
    pub message: String,
    pub files: BTreeMap<String, Vec<u8>>,
}

/// The journal of one cluster as it grows, with the branch that holds it.
pub struct Story {
    pub now: Timestamp,
    pub record: Record,
    pub entries: Vec<Entry>,
    pub branch: BTreeMap<String, String>,
    pub commits: Vec<Commit>,
    pub plan: Plan,
    run: Option<String>,
}

impl Story {
    pub fn new(plan: Plan) -> Self {
        Self {
            now: "2026-11-24T20:58:11Z".parse().unwrap(),
            record: Record::default(),
            entries: Vec::new(),
            branch: BTreeMap::new(),
            commits: Vec::new(),
            plan,
            run: None,
        }
    }

    pub fn pass(&mut self, minutes: i64, seconds: i64) -> &mut Self {
        self.now += SignedDuration::from_secs(minutes * 60 + seconds);
        self
    }

    /// Everything in one commit.
    pub fn say(&mut self, whats: impl IntoIterator<Item = What>) -> &mut Self {
        let mut entries = Vec::new();
        for (seq, what) in (self.record.next_seq..).zip(whats) {
            if let What::Run(RunEvent::Started { commit, .. }) = &what {
                self.run = Some(self.record.next_run(commit));
            }
            let ends = matches!(what, What::Run(RunEvent::Ended { .. }));
            entries.push(Entry { seq, at: self.now, run: self.run.clone(), epoch: 3, what });
            if ends {
                self.run = None;
            }
        }
        let ended: Option<Run> = record::advance(&mut self.record, &entries, Some(&self.plan));
        let files = record::files(CLUSTER, &entries, &self.record, Some(&self.plan), ended.as_ref()).unwrap();
        for (path, bytes) in &files {
            self.branch.insert(path.clone(), String::from_utf8(bytes.clone()).unwrap());
        }
        let message = record::message(CLUSTER, &entries, &self.record);
        self.commits.push(Commit { message, files });
        self.entries.extend(entries);
        self
    }

    pub fn accepted(&mut self) -> &mut Self {
        self.say([What::Cluster(ClusterEvent::Met { uid: "5f0c7a52-6e0f-4f5e-9d53-2b1f0a6f9c11".into() })]);
        self.say([What::Commit(CommitEvent::Accepted {
            commit: commit(OLD),
            version: v("v1.35.6"),
            by: None,
        })]);
        self.pass(22 * 60, 3);
        self.say([What::Commit(CommitEvent::Accepted {
            commit: commit(NEW),
            version: v("v1.36.3"),
            by: None,
        })])
    }

    pub fn window_closed(&mut self) -> &mut Self {
        let closed = wait(
            Gate::Window,
            Key::WindowClosed,
            "window/prod-nights",
            "the window prod-nights is closed",
            Some("2026-11-25T21:00:00Z"),
        );
        self.say([What::Cluster(ClusterEvent::Waiting { answers: vec![closed] })])
    }

    pub fn run_started(&mut self) -> &mut Self {
        let (plan, id) = (self.plan.clone(), self.record.next_run(&commit(NEW)));
        let nodes = u32::try_from(plan.stages.iter().skip(1).map(|stage| stage.steps.len()).sum::<usize>());
        self.say([
            What::Cluster(ClusterEvent::Waiting { answers: Vec::new() }),
            What::Run(RunEvent::Started {
                commit: plan.commit,
                from: plan.from,
                to: plan.to,
                digest: plan.digest,
                nodes: nodes.unwrap(),
                why: None,
            }),
            What::Run(RunEvent::RollbackPoint { id }),
        ])
    }

    /// A node from its intent to its end, in a few commits.
    pub fn through(&mut self, node: &str, component: Component) -> &mut Self {
        use StepPhase::{Claimed, Drained, Returned, Upgraded, Upgrading};
        self.say([started(node, component)]);
        self.pass(0, 4).say([moved(node, component, Claimed)]);
        if component == Component::Kubelet {
            self.pass(2, 11).say([moved(node, component, Drained)]);
        }
        self.pass(0, 2).say([moved(node, component, Upgrading)]);
        self.pass(1, 40).say([moved(node, component, Upgraded)]);
        self.pass(0, 35).say([moved(node, component, Returned)]);
        self.pass(0, 50).say([done(node, component)])
    }

    pub fn ended(&mut self, outcome: RunOutcome, reasons: Vec<Reason>) -> &mut Self {
        self.say([What::Run(RunEvent::Ended { outcome, reasons })])
    }

    pub fn file(&self, path: &str) -> &str {
        self.branch.get(path).map_or("", String::as_str)
    }

    pub fn last_message(&self) -> &str {
        &self.commits.last().unwrap().message
    }
}

/// A whole upgrade with everything that may happen on its way, up to the second worker in progress.
pub fn eventful() -> Story {
    let mut story = Story::new(plan(4));
    story.accepted().pass(0, 5).window_closed();
    let refused = What::Commit(CommitEvent::Refused {
        commit: commit("77aa00bb11cc22dd33ee44ff5566778899aabbcc"),
        problems: vec![
            "desired-state/prod-eu/cluster.yaml:7:14: a version is quoted\n     7 |   version: 1.30\n       \
             |            ^^^^\n       = fix: write \"v1.30.0\"\n"
                .into(),
            "policies/nights.yaml:3:1: unknown key `clustres`\n".into(),
        ],
    });
    story.pass(10, 0).say([refused]);
    story.now = "2026-11-25T21:00:00Z".parse().unwrap();
    story.run_started();
    story.pass(0, 3).through("cp1", Component::ControlPlane).through("cp1", Component::Kubelet);
    story.pass(0, 1).through("w1", Component::Kubelet);
    let soaking = wait(Gate::Canary, Key::Soaking, "pool/general", "the canaries of pool general soak", None);
    story.say([What::Cluster(ClusterEvent::Waiting { answers: vec![soaking] })]);
    story.pass(10, 0).say([
        What::Cluster(ClusterEvent::Waiting { answers: Vec::new() }),
        started("w2", Component::Kubelet),
    ]);
    story.pass(0, 3).say([moved("w2", Component::Kubelet, StepPhase::Claimed)]);
    let blocked = wait(
        Gate::Budget,
        Key::BudgetBlocks,
        "pod/shop/cart-0",
        "the budget shop/cart allows no disruption of cart-0",
        None,
    );
    let held = wait(Gate::Hold, Key::Held, "node/w3", "a person holds it", None);
    story
        .pass(0, 5)
        .say([What::Cluster(ClusterEvent::Waiting { answers: vec![blocked, held] }), set_aside("w4", false)]);
    story
}
