//! The order of a plan: hops one minor at a time, control plane components before kubelets, control plane nodes
//! before workers, workers between two hops only where the version skew needs it, and the order of the workers.

use std::collections::{BTreeMap, BTreeSet};

use super::installed::checks;
use super::node::{self, Move};
use super::patches::newest_known;
use super::place::{AddonOpening, MinorsPresent, Timeline};
use super::risk::Loads;
use super::{Inventory, Member};
use crate::model::addon::AddonWhen;
use crate::model::desired::{ForeignCordon, Pool, Provider};
use crate::model::live::{Node, Ready};
use crate::model::plan::{Hop, Stage, StageKind, Step};
use crate::model::version::Version;

/// All hops and stages from the present state to the target, without those of addons, and where these may come.
pub(super) struct Route {
    hops: Vec<Hop>,
    stages: Vec<Stage>,
    pub(super) timeline: Timeline,
}

impl Route {
    /// The hops and stages with the steps of addons, each at its opening.
    pub(super) fn with_addons(self, steps: Vec<(usize, Step)>) -> (Vec<Hop>, Vec<Stage>) {
        let mut of_opening: BTreeMap<usize, Vec<Step>> = BTreeMap::new();
        for (opening, step) in steps {
            of_opening.entry(opening).or_default().push(step);
        }
        let mut stages = Vec::new();
        let mut others = self.stages.into_iter();
        let mut passed = 0;
        for (index, opening) in self.timeline.openings.into_iter().enumerate() {
            stages.extend(others.by_ref().take(opening.stages - passed));
            passed = opening.stages;
            if let Some(steps) = of_opening.remove(&index) {
                let AddonOpening { when, hop, to, .. } = opening;
                stages.push(Stage { kind: StageKind::of_addons(when), hop, to, steps });
            }
        }
        stages.extend(others);
        (self.hops, stages)
    }
}

/// What is known of the way where no stage can be planned: the minors at both of its ends.
pub(super) fn no_route(inventory: &Inventory) -> Route {
    let target = inventory.target();
    let from = inventory.oldest_control_plane().unwrap_or_else(|| target.clone());
    let from = if from.is_before(target) { from } else { target.clone() };
    let present =
        |at: &Version| MinorsPresent { servers: BTreeSet::from([at.minor]), ..MinorsPresent::default() };
    let opening = |when, at: &Version| AddonOpening {
        when,
        first: false,
        hop: 0,
        to: target.clone(),
        at: at.clone(),
        stages: 0,
        present: present(at),
    };
    let openings = vec![
        opening(AddonWhen::BeforeControlPlane, &from),
        opening(AddonWhen::AfterControlPlane, target),
        opening(AddonWhen::AfterNodes, target),
    ];
    let timeline = Timeline { start: present(&from), openings };
    Route { hops: Vec::new(), stages: Vec::new(), timeline }
}

pub(super) fn route(inventory: &Inventory, loads: &Loads) -> Route {
    let Some(start) = inventory.oldest_control_plane() else { return no_route(inventory) };
    let mut walk = Walk {
        inventory,
        loads,
        control_plane: known(
            inventory.control_plane.iter().map(|(name, version)| (name.as_str(), version.as_ref())),
        ),
        kubelets: known(inventory.managed().map(|member| (member.name(), member.node.kubelet.as_ref()))),
        hops: Vec::new(),
        stages: Vec::new(),
        timeline: Timeline::default(),
    };
    walk.timeline.start = walk.present(&start);
    let mut at = start;
    let targets = targets(inventory, &at);
    let moves = !targets.is_empty();
    for (number, to) in targets.into_iter().enumerate() {
        walk.finish_before(&at, &to, number > 0);
        walk.hop(&at, &to, number == 0);
        at = to;
    }
    walk.finish(moves);
    Route { hops: walk.hops, stages: walk.stages, timeline: walk.timeline }
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
    control_plane: BTreeMap<&'a str, Version>,
    kubelets: BTreeMap<&'a str, Version>,
    hops: Vec<Hop>,
    stages: Vec<Stage>,
    timeline: Timeline,
}

impl<'a> Walk<'a> {
    /// Plans the kubelets that must catch up before the control plane may move to the next minor. `passed` is true if a hop of this
    /// plan brought it to the present one.
    fn finish_before(&mut self, at: &Version, next: &Version, passed: bool) {
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
        self.hop_for_kubelets(at, &late);
        let (control_plane, workers) = late.into_iter().partition(|member| member.node.control_plane);
        self.control_plane_kubelets_to(at, control_plane);
        if passed {
            self.open(AddonWhen::AfterControlPlane, at, at, false);
        }
        self.workers_to(at, workers);
        if passed {
            self.open(AddonWhen::AfterNodes, at, at, false);
        }
    }

    /// Plans the control plane components, then the control plane's kubelets, minor by minor.
    fn hop(&mut self, at: &Version, to: &Version, first: bool) {
        self.hops.push(Hop { from: at.clone(), to: to.clone() });
        // Of a hop that was begun the rest of the control plane comes first; the next plan has these addons.
        let begun = self.control_plane.values().any(|runs| !runs.is_before(to));
        if !begun {
            self.open(AddonWhen::BeforeControlPlane, to, at, first);
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
        self.control_plane_kubelets_to(to, late);
        if passing {
            self.push(StageKind::Checks, to, checks(self.inventory, at, to));
        }
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
            self.open(AddonWhen::BeforeControlPlane, target, target, false);
        }
        let (control_plane, workers) = late.into_iter().partition(|member| member.node.control_plane);
        self.control_plane_kubelets_to(target, control_plane);
        let last = self.hops.last().filter(|_| moves).map(|hop| hop.from.clone());
        if let Some(from) = last.filter(|_| self.inventory.provider().moves_control_plane()) {
            self.push(StageKind::Checks, target, checks(self.inventory, &from, target));
        }
        self.open(AddonWhen::AfterControlPlane, target, target, false);
        self.workers_to(target, workers);
        self.open(AddonWhen::AfterNodes, target, target, false);
    }

    /// Notes that addons may move here; `at` is what the API servers run meanwhile.
    fn open(&mut self, when: AddonWhen, to: &Version, at: &Version, first: bool) {
        let hop = self.hops.len().saturating_sub(1);
        let (to, present, at) = (to.clone(), self.present(at), self.certain(at));
        self.timeline.openings.push(AddonOpening {
            when,
            first,
            hop,
            to,
            at,
            stages: self.stages.len(),
            present,
        });
    }

    /// The minors that are present now; `at` is what the API servers run if none is known.
    fn present(&self, at: &Version) -> MinorsPresent {
        let mut servers: BTreeSet<u16> = self.control_plane.values().map(|version| version.minor).collect();
        if servers.is_empty() {
            servers.insert(at.minor);
        }
        MinorsPresent { servers, kubelets: self.kubelets.values().map(|version| version.minor).collect() }
    }

    fn behind(&self, to: &Version, also: impl Fn(&Member, &Version) -> bool) -> Vec<&'a Member<'a>> {
        let late = |member: &&Member| {
            self.kubelets
                .get(member.name())
                .is_some_and(|kubelet| kubelet.is_before(to) && also(member, kubelet))
        };
        self.inventory.managed().filter(late).collect()
    }

    /// Kubelets belong to the hop that brought the control plane to `to`; if an earlier run did that, the plan gets a hop for what is
    /// left.
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
