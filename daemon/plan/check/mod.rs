//! A second opinion on any plan: walks it over the cluster step by step and asks at every instant whether what
//! must always hold still does. It shares no code with what made the plan and trusts nothing the plan says of
//! itself; a finding means that the plan must not be carried out.

mod shape;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::decision::{Key, Reason};
use crate::model::desired::{Cluster, Desired, DrainWhen, Pool, Provider};
use crate::model::live::{Live, Node};
use crate::model::plan::{Component, Fact, Plan, Stage, StageKind, Step};
use crate::model::version::Version;

use world::World;

/// The scope of control plane nodes, as the plan's format has it.
const CONTROL_PLANE: &str = "controlPlane";
/// One finding is enough to stop; more than this helps nobody.
const MOST_FINDINGS: usize = 100;

/// Everything that is wrong with a plan that was made for this cluster as it is now.
pub fn check(plan: &Plan, desired: &Desired, live: &Live) -> Vec<Reason> {
    let mut check = Check {
        plan,
        cluster: &desired.cluster,
        live,
        now: World::of(&desired.cluster, live),
        findings: BTreeSet::new(),
    };
    check.shape(desired);
    for (number, stage) in plan.stages.iter().enumerate() {
        check.stage(number, stage);
    }
    check.end();
    check.findings.into_iter().take(MOST_FINDINGS).collect()
}

struct Check<'a> {
    plan: &'a Plan,
    cluster: &'a Cluster,
    live: &'a Live,
    /// The cluster as it is after the steps so far.
    now: World<'a>,
    findings: BTreeSet<Reason>,
}

impl<'a> Check<'a> {
    fn note(&mut self, object: &str, text: impl Into<String>) {
        self.findings.insert(Reason::new(Key::PlanBroken, object, text));
    }

    fn require(&mut self, holds: bool, object: &str, text: &str) {
        if !holds {
            self.note(object, text);
        }
    }

    fn stage(&mut self, number: usize, stage: &'a Stage) {
        let object = format!("stage/{number}");
        self.require(!stage.steps.is_empty(), &object, "the stage has no step");
        match stage.kind {
            StageKind::AwaitServers => self.await_servers(&object, stage),
            StageKind::Servers => {
                self.proof(&object);
                self.once(stage);
                for step in &stage.steps {
                    self.servers(step, stage);
                }
            }
            StageKind::ControlPlaneKubelets => {
                self.once(stage);
                for step in &stage.steps {
                    self.kubelet(step, stage, true);
                }
            }
            StageKind::Workers => {
                self.control_plane_first(&object, stage);
                self.once(stage);
                self.canaries(stage);
                for step in &stage.steps {
                    self.kubelet(step, stage, false);
                }
            }
        }
    }

    /// No servers move without a proven snapshot, or a person's word for it.
    fn proof(&mut self, object: &str) {
        let waits = self.plan.blockers.iter().any(|blocker| blocker.key == Key::NoProvenSnapshot);
        let holds = waits || self.cluster.etcd_unproven.is_some();
        self.require(
            holds,
            object,
            "servers are moved without a proven snapshot and without a written reason",
        );
    }

    fn once(&mut self, stage: &Stage) {
        let mut seen = BTreeSet::new();
        for step in &stage.steps {
            self.require(seen.insert(&step.node), &step.id, "the node is moved twice in one stage");
        }
    }

    fn control_plane_first(&mut self, object: &str, stage: &Stage) {
        if self.cluster.control_plane.provider == Provider::External {
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

    /// A pool's canaries come first, and there are as many as asked for.
    fn canaries(&mut self, stage: &Stage) {
        let mut pools: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
        for step in &stage.steps {
            pools.entry(&step.pool).or_default().push(step);
        }
        for (pool, steps) in pools {
            let Some(limits) = self.plan.pools.get(pool) else { continue };
            let asked = steps.len().min(limits.canary as usize);
            let object = format!("pool/{pool}");
            let count = steps.iter().filter(|step| step.canary).count();
            let first = steps.iter().take_while(|step| step.canary).count();
            self.require(count == asked, &object, "has more or fewer canaries than asked for");
            self.require(first == count, &object, "a canary comes after a node that is none");
        }
    }

    fn await_servers(&mut self, object: &str, stage: &'a Stage) {
        let [step] = stage.steps.as_slice() else {
            return self.note(object, "a control plane that somebody else moves is waited for in one step");
        };
        self.direction(step, stage);
        let external =
            self.cluster.control_plane.provider == Provider::External && step.provider == Provider::External;
        self.require(external, &step.id, "waits for servers that nobody else moves");
        self.require(step.node.is_empty() && !step.drain, &step.id, "waiting for servers takes no node out");
        self.require(
            step.component == Component::Servers,
            &step.id,
            "the stage moves servers, the step does not",
        );
        let achieves = step.achieves.iter().any(|fact| match fact {
            Fact::ServersAtLeast(version) => {
                version.same_minor(&step.to) && (*version == step.to || step.to != self.plan.to)
            }
            Fact::Runs(..) | Fact::Ready(_) | Fact::Exists(..) => false,
        });
        self.require(achieves, &step.id, "does not end with all API servers at its version");
        self.require(
            self.now.oldest_server() == Some(&step.from),
            &step.id,
            "starts from another version than the servers run",
        );
        let crosses = !step.from.same_minor(&step.to);
        self.now.all_servers_to(&step.to);
        if crosses {
            self.no_kubelet_left_behind(step);
        }
    }

    fn servers(&mut self, step: &'a Step, stage: &'a Stage) {
        self.node_step(step, stage, Component::Servers);
        let ours = self.cluster.control_plane.provider == Provider::Kubeadm;
        self.require(ours, &step.id, "moves servers that somebody else moves");
        self.require(!step.drain, &step.id, "servers are moved in place, without a drain");
        self.require(!step.canary, &step.id, "a control plane node is no canary");
        let runs = self.now.servers.insert(&step.node, step.to.clone());
        self.starts_from(step, runs.as_ref());
        if let (Some(oldest), Some(newest)) = (self.now.oldest_server(), self.now.newest_server()) {
            let apart = newest.minors_ahead_of(oldest);
            self.require(apart <= 1, &step.id, "leaves API servers more than one minor apart");
        }
        if !step.from.same_minor(&step.to) {
            self.no_kubelet_left_behind(step);
        }
    }

    fn no_kubelet_left_behind(&mut self, step: &Step) {
        for node in self.now.too_old() {
            self.note(&step.id, format!("leaves the kubelet of {node} too many minors behind"));
        }
    }

    fn kubelet(&mut self, step: &'a Step, stage: &'a Stage, control_plane: bool) {
        self.node_step(step, stage, Component::Kubelet);
        let runs = self.now.kubelets.insert(&step.node, step.to.clone());
        self.starts_from(step, runs.as_ref());
        self.require(!(control_plane && step.canary), &step.id, "a control plane node is no canary");
        let newer = self.now.oldest_server().is_none_or(|oldest| step.to.minors_ahead_of(oldest) > 0);
        self.require(!newer, &step.id, "makes a kubelet newer than an API server");
        let late = self.now.is_too_old(&step.to);
        self.require(!late, &step.id, "ends too many minors behind an API server");
        let waits = step.expects.iter().any(|fact| match fact {
            Fact::ServersAtLeast(version) => *version >= self.servers_before(step),
            Fact::Runs(..) | Fact::Ready(_) | Fact::Exists(..) => false,
        });
        self.require(waits, &step.id, "does not expect the API servers to be there first");
        let always = self.pool(&step.pool).is_some_and(|pool| pool.drain.when == DrainWhen::Always);
        let crosses = !step.from.same_minor(&step.to);
        self.require(step.drain || !crosses, &step.id, "crosses a minor under running pods");
        self.require(step.drain || !always, &step.id, "does not empty the node, which its pool asks for");
        self.require(
            !step.drain || crosses || always,
            &step.id,
            "empties a node for a patch that does not ask for it",
        );
    }

    /// Of servers that somebody else moves, only the last version is known to the patch.
    fn servers_before(&self, step: &Step) -> Version {
        let loose = self.cluster.control_plane.provider == Provider::External && step.to != self.plan.to;
        let mut version = step.to.clone();
        if loose {
            version.patch = 0;
            version.suffix.clear();
        }
        version
    }

    /// What holds for every step that has a node.
    fn node_step(&mut self, step: &'a Step, stage: &Stage, component: Component) {
        self.direction(step, stage);
        self.require(step.component == component, &step.id, "moves another component than its stage");
        let Some(node) = self.live.nodes.get(step.node.as_str()) else {
            return self.note(&step.id, "there is no such node");
        };
        self.require(*node.uid == *step.node_uid, &step.id, "means another node of that name");
        self.belongs(step, stage, node);
        let exists = Fact::Exists(step.node.clone(), step.node_uid.clone());
        self.require(
            step.expects.contains(&exists),
            &step.id,
            "does not expect the very node it was made for",
        );
        for fact in &step.expects {
            let holds = self.now.holds(fact, self.live);
            self.require(holds, &step.id, "expects what does not hold when its turn comes");
        }
        let runs = Fact::Runs(component, step.node.clone(), step.to.clone());
        self.require(step.achieves.contains(&runs), &step.id, "does not end with its version running");
    }

    fn belongs(&mut self, step: &Step, stage: &Stage, node: &Node) {
        let workers = stage.kind == StageKind::Workers;
        self.require(workers != node.control_plane, &step.id, "is in a stage for other nodes");
        if node.control_plane {
            self.require(step.pool == CONTROL_PLANE, &step.id, "a control plane node belongs to no pool");
            let provider = self.cluster.control_plane.provider;
            return self.require(
                step.provider == provider,
                &step.id,
                "is moved by another provider than asked for",
            );
        }
        let pools: Vec<_> = pools_of(self.cluster, node).collect();
        match pools.as_slice() {
            [pool] => {
                self.require(pool.name == step.pool, &step.id, "the node belongs to another pool");
                self.require(
                    pool.provider == step.provider,
                    &step.id,
                    "is moved by another provider than asked for",
                );
            }
            [] => self.note(&step.id, "the node belongs to no pool"),
            [_, _, ..] => self.note(&step.id, "the node belongs to several pools"),
        }
    }

    fn direction(&mut self, step: &Step, stage: &Stage) {
        self.require(step.to == stage.to, &step.id, "goes to another version than its stage");
        self.require(step.to > step.from, &step.id, "does not go up");
        if step.component == Component::Servers {
            let one = step.to.minors_ahead_of(&step.from) <= 1;
            self.require(one, &step.id, "takes servers over more than one minor");
        }
    }

    fn starts_from(&mut self, step: &Step, runs: Option<&Version>) {
        match runs {
            Some(runs) if *runs == step.from => {}
            Some(runs) => self.note(&step.id, format!("starts from {}, and the node runs {runs}", step.from)),
            None => self.note(&step.id, "starts from a version that nobody knows"),
        }
    }

    /// With nothing in the way, the end of the plan is what is asked for.
    fn end(&mut self) {
        if !self.plan.blockers.is_empty() {
            return;
        }
        let target = &self.cluster.version;
        let mut late = Vec::new();
        for (name, runs) in &self.now.servers {
            if runs != target {
                late.push((format!("node/{name}"), format!("its servers end at {runs}")));
            }
        }
        for node in self.live.nodes.values() {
            let ours = node.control_plane || pools_of(self.cluster, node).next().is_some();
            match self.now.kubelets.get(&*node.name) {
                Some(runs) if ours && runs != target => {
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

    fn pool(&self, name: &str) -> Option<&'a Pool> {
        self.cluster.pools.iter().find(|pool| pool.name == name)
    }
}

fn pools_of<'a>(cluster: &'a Cluster, node: &'a Node) -> impl Iterator<Item = &'a Pool> {
    let label = |key: &str| node.labels.get(key).map(|value| &**value);
    cluster.pools.iter().filter(move |pool| pool.selector.matches(label))
}
