//! The independent plan check. It carries the plan out step by step on a model of the cluster and checks at every
//! step that the rules that must always hold still do. It shares no code with the planner and trusts nothing that the
//! plan says of itself. A plan with a finding must not be carried out.

mod addons;
mod cluster_model;
mod facts;
mod installed;
mod shape;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::decision::{Key, Reason};
use crate::model::desired::{Cluster, ControlPlaneDrain, Desired, DrainWhen, Pool};
use crate::model::live::{Live, Node};
use crate::model::plan::{NodeMove, Plan, Scope, Stage, StageKind, Step, StepId, Work, WorkKind};
use crate::model::version::Version;
use crate::provider::capabilities;

use cluster_model::ClusterModel;

/// One finding is enough to stop; a person reads no more than this.
const MOST_FINDINGS: usize = 100;

/// The findings about a plan that was made for the cluster as it is now; empty if the plan may be carried out.
pub fn check(plan: &Plan, desired: &Desired, live: &Live) -> Vec<Reason> {
    let mut check = PlanCheck {
        plan,
        cluster: &desired.cluster,
        live,
        now: ClusterModel::of(&desired.cluster, live),
        moved: BTreeSet::new(),
        servers_moved: false,
        findings: BTreeSet::new(),
    };
    check.shape(desired);
    for (number, stage) in plan.stages.iter().enumerate() {
        check.stage(number, stage);
    }
    check.nothing_unchecked();
    check.end();
    check.findings.into_iter().take(MOST_FINDINGS).collect()
}

struct PlanCheck<'a> {
    plan: &'a Plan,
    cluster: &'a Cluster,
    live: &'a Live,
    /// The cluster after the steps so far.
    now: ClusterModel<'a>,
    /// The steps of addons so far.
    moved: BTreeSet<&'a StepId>,
    /// True once a stage has moved API servers.
    servers_moved: bool,
    findings: BTreeSet<Reason>,
}

impl<'a> PlanCheck<'a> {
    fn note(&mut self, object: &(impl FindingObject + ?Sized), text: impl Into<String>) {
        self.findings.insert(Reason::new(Key::PlanBroken, object.object(), text));
    }

    fn require(&mut self, holds: bool, object: &(impl FindingObject + ?Sized), text: &str) {
        if !holds {
            self.note(object, text);
        }
    }

    fn stage(&mut self, number: usize, stage: &'a Stage) {
        let object = format!("stage/{number}");
        self.require(!stage.steps.is_empty(), &object, "the stage has no step");
        for step in &stage.steps {
            self.identity(step);
            self.direction(step, stage);
        }
        self.once(stage);
        match stage.kind {
            StageKind::AddonsBeforeControlPlane
            | StageKind::AddonsAfterControlPlane
            | StageKind::AddonsAfterNodes => {
                for step in &stage.steps {
                    self.addon(step, stage);
                }
            }
            StageKind::AwaitControlPlane => {
                self.servers_moved = true;
                self.await_control_plane(&object, stage);
            }
            StageKind::ControlPlane => {
                self.servers_moved = true;
                self.proof(&object);
                for step in &stage.steps {
                    self.control_plane(step, stage);
                }
            }
            StageKind::ControlPlaneKubelets => {
                for step in &stage.steps {
                    self.kubelet(step, stage);
                }
            }
            StageKind::Checks => {
                for step in &stage.steps {
                    self.installed(step);
                }
            }
            StageKind::Workers => {
                self.control_plane_first(&object, stage);
                self.canaries(stage);
                for step in &stage.steps {
                    self.kubelet(step, stage);
                }
            }
        }
    }

    /// No control plane moves without a proven snapshot of etcd, or a person's written reason to go without one.
    fn proof(&mut self, object: &str) {
        let waits = self.plan.blockers.iter().any(|blocker| blocker.key == Key::NoProvenSnapshot);
        let holds = waits || self.cluster.etcd_unproven.is_some();
        self.require(
            holds,
            object,
            "the control plane is moved without a proven snapshot and without a written reason",
        );
    }

    fn once(&mut self, stage: &Stage) {
        let mut seen = BTreeSet::new();
        for step in &stage.steps {
            // An addon may go through several versions in one stage.
            let checked = step.work.check().map(|of| (of.container.as_str(), ""));
            let of_addon = step.work.addon().map(|mv| (mv.name.as_str(), mv.to.as_str()));
            let what = (step.node(), of_addon.or(checked));
            let text = match what {
                (_, Some((_, ""))) => "it is checked twice in one stage",
                (_, Some(_)) => "the addon is moved to one version twice in one stage",
                (_, None) => "the node is moved twice in one stage",
            };
            self.require(seen.insert(what), step, text);
        }
    }

    fn control_plane_first(&mut self, object: &str, stage: &Stage) {
        if !self.moves_control_plane() {
            return;
        }
        let nodes = self.live.nodes.values().filter(|node| node.control_plane);
        let late: Vec<_> = nodes
            .filter(|node| {
                self.now.kubelets.get(&*node.name).is_some_and(|runs| stage.to.minors_ahead_of(runs) > 0)
            })
            .map(|node| {
                format!(
                    "workers go to {} before the kubelet of control plane node {} does",
                    stage.to, node.name
                )
            })
            .collect();
        for text in late {
            self.note(object, text);
        }
    }

    /// Checks that the canaries of a pool come first and are as many as the pool asks for.
    fn canaries(&mut self, stage: &Stage) {
        let mut pools: BTreeMap<&Scope, Vec<bool>> = BTreeMap::new();
        for step in &stage.steps {
            let canary = step.node_move().is_some_and(|mv| mv.canary);
            pools.entry(&step.id.scope).or_default().push(canary);
        }
        for (pool, canaries) in pools {
            let Some(limits) = self.plan.pools.get(pool.name()) else { continue };
            let asked = canaries.len().min(limits.canary as usize);
            let object = format!("pool/{}", pool.name());
            let count = canaries.iter().filter(|canary| **canary).count();
            let first = canaries.iter().take_while(|canary| **canary).count();
            self.require(count == asked, &object, "has more or fewer canaries than asked for");
            self.require(first == count, &object, "a canary comes after a node that is none");
        }
    }

    fn await_control_plane(&mut self, object: &str, stage: &'a Stage) {
        let [step] = stage.steps.as_slice() else {
            return self.note(object, "a control plane that somebody else moves is waited for in one step");
        };
        let Work::AwaitControlPlane { from, to } = &step.work else {
            return self.note(step, "is other work than that of its stage");
        };
        self.require(!self.moves_control_plane(), step, "waits for a control plane that nobody else moves");
        self.require(step.id.scope == Scope::ControlPlane, step, "the control plane belongs to no pool");
        self.require(
            self.now.oldest_api_server() == Some(from),
            step,
            "starts from another version than the control plane runs",
        );
        self.expects(step);
        self.now.move_whole_control_plane(to);
        self.achieves(step);
        if !from.same_minor(to) {
            self.no_kubelet_left_behind(step);
        }
    }

    fn control_plane(&mut self, step: &'a Step, stage: &'a Stage) {
        let Work::ControlPlane(mv) = &step.work else {
            return self.note(step, "is other work than that of its stage");
        };
        self.node_step(step, mv, stage);
        self.require(self.moves_control_plane(), step, "moves a control plane that somebody else moves");
        let several = self.live.nodes.values().filter(|node| node.control_plane).nth(1).is_some();
        let emptied = several && self.cluster.control_plane.drain == ControlPlaneDrain::BeforeControlPlane;
        self.require(!mv.drain || emptied, step, "empties its node before its control plane components move");
        self.require(mv.drain || !emptied, step, "does not empty its node, as controlPlane.drain asks");
        let runs = self.now.control_plane.insert(&mv.node.name, mv.to.clone());
        self.starts_from(step, &mv.from, runs.as_ref());
        self.achieves(step);
        if let (Some(oldest), Some(newest)) = (self.now.oldest_api_server(), self.now.newest_api_server()) {
            let apart = newest.minors_ahead_of(oldest);
            self.require(apart <= 1, step, "leaves API servers more than one minor apart");
        }
        if !mv.from.same_minor(&mv.to) {
            self.no_kubelet_left_behind(step);
        }
    }

    fn no_kubelet_left_behind(&mut self, step: &Step) {
        for node in self.now.too_old() {
            self.note(step, format!("leaves the kubelet of {node} too many minors behind"));
        }
    }

    fn kubelet(&mut self, step: &'a Step, stage: &'a Stage) {
        let Work::Kubelet(mv) = &step.work else {
            return self.note(step, "is other work than that of its stage");
        };
        self.node_step(step, mv, stage);
        let runs = self.now.kubelets.insert(&mv.node.name, mv.to.clone());
        self.starts_from(step, &mv.from, runs.as_ref());
        self.achieves(step);
        let newer = self.now.oldest_api_server().is_none_or(|oldest| mv.to.minors_ahead_of(oldest) > 0);
        self.require(!newer, step, "makes a kubelet newer than an API server");
        self.require(!self.now.is_too_old(&mv.to), step, "ends too many minors behind an API server");
        let pool = self.cluster.pools.iter().find(|pool| step.id.scope == Scope::Pool(pool.name.clone()));
        let always = pool.is_some_and(|pool| pool.drain.when == DrainWhen::Always);
        let crosses = !mv.from.same_minor(&mv.to);
        self.require(mv.drain || !crosses, step, "crosses a minor under running pods");
        self.require(mv.drain || !always, step, "does not empty the node, which its pool asks for");
        let asked_for = !mv.drain || crosses || always;
        self.require(asked_for, step, "empties a node for a patch that does not ask for it");
    }

    /// The checks for every step that moves a node, before it is begun.
    fn node_step(&mut self, step: &'a Step, mv: &NodeMove, stage: &Stage) {
        let Some(node) = self.live.nodes.get(mv.node.name.as_str()) else {
            return self.note(step, "there is no such node");
        };
        self.require(*node.uid == *mv.node.uid, step, "means another node of that name");
        self.require(*node.zone == *mv.zone, step, "the node lies in another zone");
        self.belongs(step, mv, stage, node);
        self.expects(step);
    }

    fn belongs(&mut self, step: &Step, mv: &NodeMove, stage: &Stage, node: &Node) {
        let workers = stage.kind == StageKind::Workers;
        self.require(workers != node.control_plane, step, "is in a stage for other nodes");
        let provider = if node.control_plane {
            self.require(
                step.id.scope == Scope::ControlPlane,
                step,
                "a control plane node belongs to no pool",
            );
            self.require(!mv.canary, step, "a control plane node is no canary");
            self.cluster.control_plane.provider
        } else {
            let pools: Vec<_> = pools_of(self.cluster, node).collect();
            let [pool] = pools.as_slice() else {
                let text = if pools.is_empty() { "belongs to no pool" } else { "belongs to several pools" };
                return self.note(step, format!("the node {text}"));
            };
            let same = step.id.scope == Scope::Pool(pool.name.clone());
            self.require(same, step, "the node belongs to another pool");
            pool.provider
        };
        self.require(mv.provider == provider, step, "is moved by another provider than asked for");
    }

    fn direction(&mut self, step: &Step, stage: &Stage) {
        if step.work.addon().is_some() {
            return;
        }
        self.require(*step.to() == stage.to, step, "goes to another version than its stage");
        self.require(step.to().is_after(step.from()), step, "does not go up");
        let one = step.to().minors_ahead_of(step.from()) <= 1;
        self.require(
            one || step.work.kind() == WorkKind::Kubelet,
            step,
            "takes the control plane over more than one minor",
        );
    }

    fn starts_from(&mut self, step: &Step, from: &Version, runs: Option<&Version>) {
        match runs {
            Some(runs) if runs == from => {}
            Some(runs) => self.note(step, format!("starts from {from}, and the node runs {runs}")),
            None => self.note(step, "starts from a version that nobody knows"),
        }
    }

    /// Without blockers, the plan must end at the desired version.
    fn end(&mut self) {
        if !self.plan.blockers.is_empty() {
            return;
        }
        let target = &self.cluster.version;
        let mut late = Vec::new();
        for (name, runs) in &self.now.control_plane {
            if !runs.is_as(target) {
                late.push((format!("node/{name}"), format!("its control plane ends at {runs}")));
            }
        }
        for node in self.live.nodes.values() {
            let ours = node.control_plane || pools_of(self.cluster, node).next().is_some();
            match self.now.kubelets.get(&*node.name) {
                Some(runs) if ours && !runs.is_as(target) => {
                    late.push((format!("node/{}", node.name), format!("its kubelet ends at {runs}")));
                }
                None if ours => {
                    late.push((format!("node/{}", node.name), "its version is unknown".to_owned()));
                }
                Some(_) | None => {}
            }
        }
        for (object, text) in late {
            self.note(&object, text);
        }
    }

    fn moves_control_plane(&self) -> bool {
        capabilities(self.cluster.control_plane.provider).moves_control_plane()
    }
}

fn pools_of<'a>(cluster: &'a Cluster, node: &'a Node) -> impl Iterator<Item = &'a Pool> {
    let label = |key: &str| node.labels.get(key).map(|value| &**value);
    let system = label("kubernetes.io/os").unwrap_or("linux");
    let moves = move |pool: &Pool| capabilities(pool.provider).system.is_none_or(|only| only == system);
    let selected = cluster.pools.iter().filter(move |pool| pool.selector.matches(label));
    selected.filter(move |pool| !node.virtual_kubelet && moves(pool))
}

/// The object of a finding: a part of the plan by its name, or a step.
trait FindingObject {
    fn object(&self) -> String;
}

impl FindingObject for str {
    fn object(&self) -> String {
        self.to_owned()
    }
}

impl FindingObject for String {
    fn object(&self) -> String {
        self.clone()
    }
}

impl FindingObject for Step {
    fn object(&self) -> String {
        self.id.to_string()
    }
}
