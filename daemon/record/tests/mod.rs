//! Tests of the indexes that the record updates with every entry, on a small frozen plan, and of the files that it
//! refuses.

mod hop;
mod older;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::Record;
use crate::model::CommitId;
use crate::model::desired::{Kubeadm, PackageSource, Provider};
use crate::model::entry::{Entry, RunEvent, RunOutcome, StepEvent, StepPhase, What};
use crate::model::live::{Id, Live, Owner, OwnerKind, Phase, Pod, Requests, Seldom, Server};
use crate::model::plan::{Hop, NodeMove, NodeRef, Plan, Scope, Stage, StageKind, Step, StepId, Work};
use crate::model::version::Version;

const RUN: &str = "4be81d90a6c2-1";

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

/// The move of a node from one of the two hops' versions to the other.
fn node_move(node: &str, to: &str) -> NodeMove {
    let from = if to == "v1.36.3" { "v1.35.6" } else { "v1.36.3" };
    NodeMove {
        node: NodeRef { name: node.to_owned(), uid: format!("uid-{node}") },
        zone: String::new(),
        provider: Provider::Kubeadm,
        from: v(from),
        to: v(to),
        drain: true,
        canary: false,
    }
}

fn step(node: &str, to: &str, kind: StageKind) -> Step {
    let (scope, work) = match kind {
        StageKind::AwaitControlPlane => {
            (Scope::ControlPlane, Work::AwaitControlPlane { from: v("v1.35.6"), to: v(to) })
        }
        StageKind::ControlPlane => (Scope::ControlPlane, Work::ControlPlane(node_move(node, to))),
        StageKind::ControlPlaneKubelets => (Scope::ControlPlane, Work::Kubelet(node_move(node, to))),
        StageKind::Checks
        | StageKind::AddonsBeforeControlPlane
        | StageKind::AddonsAfterControlPlane
        | StageKind::AddonsAfterNodes => unreachable!("no test here has addons or checks"),
        StageKind::Workers => {
            let pool = if node.starts_with("db") { "db" } else { "general" };
            (Scope::Pool(pool.to_owned()), Work::Kubelet(node_move(node, to)))
        }
    };
    Step::new(scope, work, Vec::new(), Vec::new())
}

fn stage(kind: StageKind, hop: usize, to: &str, nodes: &[&str]) -> Stage {
    let steps = nodes.iter().map(|node| step(node, to, kind)).collect();
    Stage { kind, hop, to: v(to), steps }
}

/// Two hops over two control plane nodes; workers of two pools follow the second.
fn plan() -> Plan {
    let (first, second) = ("v1.36.3", "v1.37.1");
    let control_plane = ["cp1", "cp2"];
    Plan {
        cluster: "prod-eu".to_owned(),
        commit: commit(),
        from: v("v1.35.6"),
        to: v(second),
        hops: vec![Hop { from: v("v1.35.6"), to: v(first) }, Hop { from: v(first), to: v(second) }],
        stages: vec![
            stage(StageKind::ControlPlane, 0, first, &control_plane),
            stage(StageKind::ControlPlaneKubelets, 0, first, &control_plane),
            stage(StageKind::ControlPlane, 1, second, &control_plane),
            stage(StageKind::ControlPlaneKubelets, 1, second, &control_plane),
            stage(StageKind::Workers, 1, second, &["w1", "db1", "w2", "w3"]),
        ],
        pools: BTreeMap::new(),
        max_unavailable: None,
        kubeadm: Kubeadm {
            from: PackageSource::Packages,
            image: Some("windlass:0.1.0".to_owned()),
            ignore_preflight_errors: Vec::new(),
            skip_phases: Vec::new(),
        },
        risks: Vec::new(),
        blockers: Vec::new(),
        digest: "9c1185a5c5e9".to_owned(),
        lower_bound: None,
        asked: "sha256:4f0c".to_owned(),
    }
}

fn commit() -> CommitId {
    CommitId("4be81d90a6c2753f0e1d9b8a7c6f5e4d3c2b1a09".to_owned())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A record whose clock is the number of its entries: the run starts at 0, the next entry is written at 1.
struct Journal {
    record: Record,
}

impl Journal {
    fn started() -> Self {
        Self::of(&plan())
    }

    fn of(plan: &Plan) -> Self {
        let mut record = Record::default();
        let started = RunEvent::Started {
            commit: plan.commit.clone(),
            from: plan.from.clone(),
            to: plan.to.clone(),
            digest: plan.digest.clone(),
            nodes: 6,
            why: None,
        };
        record.apply(&entry(0, What::Run(started)), Some(plan));
        Self { record }
    }

    fn run(&self) -> &super::Run {
        self.record.run.as_ref().unwrap()
    }

    fn write(&mut self, what: What) -> &mut Self {
        self.record.apply(&entry(self.record.next_seq, what), None);
        self
    }

    fn step(&mut self, id: &StepId, event: StepEvent) -> &mut Self {
        self.write(What::Step(id.clone(), event))
    }

    fn begin(&mut self, id: &StepId) -> &mut Self {
        self.step(id, StepEvent::Started { pods: 3, baseline: BTreeMap::new() })
    }

    fn reach(&mut self, id: &StepId, phase: StepPhase) -> &mut Self {
        self.step(id, StepEvent::Moved { phase, found: None })
    }

    fn finish(&mut self, id: &StepId) -> &mut Self {
        self.step(id, StepEvent::Done { version: id.to.clone(), evicted: 3, owes: Vec::new() })
    }

    fn set_aside(&mut self, id: &StepId, touched: bool) -> &mut Self {
        self.step(id, StepEvent::SetAside { touched, reasons: Vec::new() })
    }

    fn end(&mut self, outcome: RunOutcome) -> &mut Self {
        self.write(What::Run(RunEvent::Ended { outcome, reasons: Vec::new() }))
    }
}

fn entry(seq: u64, what: What) -> Entry {
    Entry { seq, at: at(i64::try_from(seq).unwrap()), run: Some(RUN.to_owned()), epoch: 1, what }
}

/// The id of a control plane components' step.
fn components(node: &str, to: &str) -> StepId {
    step(node, to, StageKind::ControlPlane).id
}

fn control_plane_kubelet(node: &str, to: &str) -> StepId {
    step(node, to, StageKind::ControlPlaneKubelets).id
}

fn worker(node: &str) -> StepId {
    step(node, "v1.37.1", StageKind::Workers).id
}

/// Adds the API server's static pod of a control plane node.
fn api_server(live: &mut Live, node: &Id, version: &Version) {
    let uid = live.nodes.get(node).map(|node| node.uid.clone()).unwrap();
    let owner = Owner { kind: OwnerKind::Node, uid, name: Arc::clone(node) };
    let server =
        Server { component: Arc::from("kube-apiserver"), version: Some(version.clone()), started: None };
    let pod = Pod {
        uid: format!("api-{node}").as_str().into(),
        resource_version: 1,
        namespace: Arc::from("kube-system"),
        name: format!("kube-apiserver-{node}").into(),
        node: Some(Arc::clone(node)),
        owner: Some(owner.into()),
        labels: Arc::default(),
        phase: Phase::Running,
        ready: true,
        deleting: None,
        created: at(0).into(),
        arrived: at(0).into(),
        grace_seconds: 30,
        requests: Requests::default(),
        ready_after: 0,
        mirror: true,
        empty_dir: false,
        do_not_disrupt: false,
        containers_gone: false,
        seldom: Seldom { server: Some(server), ..Seldom::default() }.kept(),
    };
    live.pods.put(pod);
}
