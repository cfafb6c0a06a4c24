//! The order of a plan: hops one minor at a time, control plane components before kubelets, control plane nodes
//! before workers, workers between two hops only where the version skew needs it, and the order of the workers.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{self, Move};
use super::patches::newest_known;
use super::risk::Loads;
use super::{Inventory, Member, addons};
use crate::model::addon::AddonWhen;
use crate::model::desired::{ForeignCordon, Pool, Provider};
use crate::model::live::{Node, Ready};
use crate::model::plan::{Hop, Stage, StageKind, Step};
use crate::model::version::Version;

/// All hops and stages from the present state to the target.
pub(super) fn stages(
    inventory: &Inventory,
    loads: &Loads,
    addons: &addons::AddonSurvey,
) -> (Vec<Hop>, Vec<Stage>) {
    let Some(start) = inventory.oldest_control_plane() else { return Default::default() };
    let mut walk = Walk {
        inventory,
        loads,
        addons,
        control_plane: known(
            inventory.control_plane.iter().map(|(name, version)| (name.as_str(), version.as_ref())),
        ),
        kubelets: known(inventory.managed().map(|member| (member.name(), member.node.kubelet.as_ref()))),
        hops: Vec::new(),
        stages: Vec::new(),
    };
    let mut at = start;
    let targets = targets(inventory, &at);
    let moves = !targets.is_empty();
    for to in targets {
        walk.finish_before(&at, &to);
        walk.hop(&at, &to);
        at = to;
    }
    walk.finish(moves);
    (walk.hops, walk.stages)
}

fn known<'a>(all: impl Iterator<Item = (&'a str, Option<&'a Version>)>) -> BTreeMap<&'a str, Version> {
    all.filter_map(|(name, version)| Some((name, version?.clone()))).collect()
}

/// The versions that the control plane passes through. An interrupted hop goes on to the version that the already
/// moved nodes run (the oldest of them, so that no node moves twice). A new hop goes to the newest known patch. The
/// last hop goes to the target as written.
fn targets(inventory: &Inventory, at: &Version) -> Vec<Version> {
    let target = inventory.target();
    if inventory.control_plane.values().flatten().all(|version| version.is_as(target)) {
        return Vec::new();
    }
    let between = (at.minor + 1..target.minor).map(|minor| {
        let of_minor = inventory.control_plane.values().flatten().filter(|version| version.minor == minor);
        let seen = Version::oldest(of_minor);
        seen.cloned().unwrap_or_else(|| newest_known(minor))
    });
    between.chain([target.clone()]).collect()
}

/// The model of the cluster while the plan is made, and the plan so far.
struct Walk<'a> {
    inventory: &'a Inventory<'a>,
    loads: &'a Loads<'a>,
    addons: &'a addons::AddonSurvey<'a>,
    control_plane: BTreeMap<&'a str, Version>,
    kubelets: BTreeMap<&'a str, Version>,
    hops: Vec<Hop>,
    stages: Vec<Stage>,
}

impl<'a> Walk<'a> {
    /// Plans the kubelets that must catch up before the control plane may move to the next minor.
    fn finish_before(&mut self, at: &Version, next: &Version) {
        if next.same_minor(at) {
            return;
        }
        let by_us = self.inventory.provider().moves_control_plane();
        // Windlass finishes a hop, kubelets included, before it begins the next one. Behind an external provider only
        // the skew counts.
        let late = self.behind(at, |member, kubelet| {
            let unfinished = by_us && member.node.control_plane && !kubelet.same_minor(at);
            unfinished || !kubelet.may_lag(next)
        });
        self.kubelets_to(at, late);
    }

    /// Plans the control plane components, then the control plane's kubelets, minor by minor.
    fn hop(&mut self, at: &Version, to: &Version) {
        self.hops.push(Hop { from: at.clone(), to: to.clone() });
        // Of a hop that was begun the rest of the control plane comes first; the next plan has these addons.
        let begun = self.control_plane.values().any(|runs| !runs.is_before(to));
        if to == self.inventory.target() && !begun {
            self.addons(AddonWhen::BeforeControlPlane, to, at);
        }
        if !self.inventory.provider().moves_control_plane() {
            let steps = vec![node::await_control_plane_step(at, to, &self.certain(to))];
            self.push(StageKind::AwaitControlPlane, to, steps);
            self.control_plane.values_mut().for_each(|version| *version = to.clone());
            return;
        }
        let steps = self.move_control_plane(at, to);
        self.push(StageKind::ControlPlane, to, steps);
        // After the last hop they are moved together with everything else that is left.
        let passing = to != self.inventory.target();
        let late = self
            .behind(to, |member, kubelet| passing && member.node.control_plane && !kubelet.same_minor(to));
        self.kubelets_to(to, late);
    }

    fn move_control_plane(&mut self, at: &Version, to: &Version) -> Vec<Step> {
        let provider = self.inventory.cluster.control_plane.provider;
        let drain = self.inventory.cluster.control_plane.empties_first(self.inventory.control_plane.len());
        let mut steps = Vec::new();
        for member in self.inventory.managed() {
            let Some(from) = self.control_plane.get(member.name()).filter(|from| from.is_before(to)) else {
                continue;
            };
            let mv = Move { from, to, provider, api_servers: at, canary: false };
            steps.extend(node::control_plane_step(member, &mv, drain));
            self.control_plane.insert(member.name(), to.clone());
        }
        steps
    }

    /// The version that is certain of a control plane that has moved to `to`. If an external provider moves it, only
    /// the last version is exact; on the way there any patch of the minor will do, because skew is about minors.
    fn certain(&self, to: &Version) -> Version {
        let exact = self.inventory.provider().moves_control_plane() || to == self.inventory.target();
        let first = Version::new(to.major, to.minor, 0);
        if exact || !first.is_before(to) { to.clone() } else { first }
    }

    /// Plans everything that is left, to the target. `moves` is true if a hop moves the control plane before.
    fn finish(&mut self, moves: bool) {
        let target = self.inventory.target();
        let late = self.behind(target, |_, _| true);
        self.hop_for_kubelets(target, &late);
        if !moves {
            self.addons(AddonWhen::BeforeControlPlane, target, target);
        }
        let (control_plane, workers) = late.into_iter().partition(|member| member.node.control_plane);
        self.control_plane_kubelets_to(target, control_plane);
        self.addons(AddonWhen::AfterControlPlane, target, target);
        self.workers_to(target, workers);
        self.addons(AddonWhen::AfterNodes, target, target);
    }

    /// Plans the addons that move then; `at` is what the API servers run meanwhile.
    fn addons(&mut self, when: AddonWhen, to: &Version, at: &Version) {
        self.push(StageKind::of_addons(when), to, self.addons.steps(when, &self.certain(at)));
    }

    fn behind(&self, to: &Version, also: impl Fn(&Member, &Version) -> bool) -> Vec<&'a Member<'a>> {
        let late = |member: &&Member| {
            self.kubelets
                .get(member.name())
                .is_some_and(|kubelet| kubelet.is_before(to) && also(member, kubelet))
        };
        self.inventory.managed().filter(late).collect()
    }

    /// Plans the control plane's kubelets one by one, then workers. They belong to the hop that brought the control
    /// plane to `to`; if an earlier run did that, the plan gets a hop for what is left.
    fn kubelets_to(&mut self, to: &Version, members: Vec<&'a Member<'a>>) {
        self.hop_for_kubelets(to, &members);
        let (control_plane, workers) = members.into_iter().partition(|member| member.node.control_plane);
        self.control_plane_kubelets_to(to, control_plane);
        self.workers_to(to, workers);
    }

    fn hop_for_kubelets(&mut self, to: &Version, members: &[&'a Member<'a>]) {
        let runs = members.iter().filter_map(|member| self.kubelets.get(member.name()));
        if let (Some(oldest), true) = (Version::oldest(runs), self.hops.is_empty()) {
            self.hops.push(Hop { from: oldest.clone(), to: to.clone() });
        }
    }

    fn control_plane_kubelets_to(&mut self, to: &Version, members: Vec<&'a Member<'a>>) {
        let provider = self.inventory.cluster.control_plane.provider;
        let steps = members.iter().filter_map(|member| self.kubelet(member, to, provider, false)).collect();
        self.push(StageKind::ControlPlaneKubelets, to, steps);
        self.kubelets.extend(members.into_iter().map(|member| (member.name(), to.clone())));
    }

    fn workers_to(&mut self, to: &Version, members: Vec<&'a Member<'a>>) {
        let turns = self.in_turn(&members).into_iter();
        let steps =
            turns.filter_map(|turn| self.kubelet(turn.member, to, turn.pool.provider, turn.canary)).collect();
        self.push(StageKind::Workers, to, steps);
        self.kubelets.extend(members.into_iter().map(|member| (member.name(), to.clone())));
    }

    fn kubelet(&self, member: &Member, to: &Version, provider: Provider, canary: bool) -> Option<Step> {
        let from = self.kubelets.get(member.name()).unwrap_or(to);
        node::kubelet_step(member, &Move { from, to, provider, api_servers: &self.certain(to), canary })
    }

    /// The workers pool by pool as written; in each pool the canaries first, then the nodes that are easier to drain.
    fn in_turn(&self, workers: &[&'a Member<'a>]) -> Vec<QueuedWorker<'a>> {
        let mut turns = Vec::with_capacity(workers.len());
        for pool in &self.inventory.cluster.pools {
            let of_pool = |member: &&&Member| member.pool().is_some_and(|of| of.name == pool.name);
            let mut members: Vec<_> = workers.iter().filter(of_pool).copied().collect();
            // A node that an autoscaler is about to remove goes last: it may be gone before its turn.
            members.sort_by_key(|member| {
                (member.node.to_be_deleted, self.loads.of(member.name()), member.name())
            });
            let canaries = canaries(pool, &members);
            members.sort_by_key(|member| !canaries.contains(member.name()));
            turns.extend(members.into_iter().map(|member| QueuedWorker {
                member,
                pool,
                canary: canaries.contains(member.name()),
            }));
        }
        turns
    }

    fn push(&mut self, kind: StageKind, to: &Version, steps: Vec<Step>) {
        if !steps.is_empty() {
            let hop = self.hops.len().saturating_sub(1);
            self.stages.push(Stage { kind, hop, to: to.clone(), steps });
        }
    }
}

struct QueuedWorker<'a> {
    member: &'a Member<'a>,
    pool: &'a Pool,
    canary: bool,
}

/// The canaries: the first nodes in order, one of each zone before a second one of any, so that a canary shows a
/// problem of one zone. A node that cannot be taken out shows nothing, so it becomes a canary only if there is no
/// other.
fn canaries<'a>(pool: &Pool, in_order: &[&Member<'a>]) -> BTreeSet<&'a str> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ranked: Vec<(bool, usize, &str)> = Vec::with_capacity(in_order.len());
    for member in in_order {
        let unfit = !fit(member.node, pool);
        // A node that cannot be taken out does not count as its zone's first.
        let place = seen.entry(&member.node.zone).or_default();
        ranked.push((unfit, *place, member.name()));
        *place += usize::from(!unfit);
    }
    ranked.sort_by_key(|&(unfit, place, _)| (unfit, place));
    ranked.into_iter().take(pool.canary as usize).map(|(_, _, name)| name).collect()
}

/// True if nothing now keeps the node from being taken out.
fn fit(node: &Node, pool: &Pool) -> bool {
    let skipped = node.is_cordoned_by_others() && pool.foreign_cordon == ForeignCordon::Skip;
    node.ready == Ready::True && node.hold.is_none() && !node.to_be_deleted && !skipped
}
