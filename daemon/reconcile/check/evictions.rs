//! Checks evictions: the pods exist, they are on nodes that a step drains, and budgets and owners can spare them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, claim_of};
use crate::model::effect::Effect;
use crate::model::entry::StepPhase;
use crate::model::live::{Budget, Id, Live, Node, OwnerKind, Phase, Pod, Uid};
use crate::model::names;
use crate::model::work::StepId;
use crate::record::{Run, StepRecord};

/// What is looked at for every eviction of a tick, sorted once.
struct EvictionFacts<'a> {
    /// The steps in progress of each node.
    steps: BTreeMap<&'a str, Vec<(&'a StepId, &'a StepRecord)>>,
    /// Pods whose eviction was accepted or is in flight, by namespace.
    leaving: BTreeMap<&'a Id, Vec<&'a Pod>>,
}

/// The pods that a tick would evict.
#[derive(Default)]
struct Evicted<'a> {
    uids: BTreeSet<&'a Uid>,
    /// How many evictions each budget has to allow.
    of_budgets: BTreeMap<&'a (Id, Id), i32>,
    /// Owners without a budget that have to spare a pod.
    owners: BTreeSet<Id>,
}

impl<'a> Check<'a> {
    pub(super) fn evictions(&mut self) {
        if !self.tick.effects.iter().any(|(effect, _)| matches!(effect, Effect::Evict { .. })) {
            return;
        }
        let mut evicted = Evicted::default();
        let facts = self.facts();
        for (effect, after) in &self.tick.effects {
            let Effect::Evict { namespace, pod: name, uid } = effect else { continue };
            let object = format!("pod/{namespace}/{name}");
            let Some(pod) = self.live().pods.get(&Uid::from(uid.as_str())) else {
                self.note(object, "it is evicted and not there");
                continue;
            };
            self.require(pod.object() == object, &object, "another pod is evicted than the one of this UID");
            self.require(evicted.uids.insert(&pod.uid), &object, "it is evicted twice");
            let leaving = pod.deleting.is_some() || self.live().overlay.is_leaving(&pod.uid);
            self.require(!leaving, &object, "it is evicted and leaving already");
            self.pod_may_go(pod, *after, &object, &facts);
            self.book(pod, &mut evicted, &object, &facts);
        }
        for (key, count) in &evicted.of_budgets {
            let spare = self.live().budgets.get(key).map_or(0, |budget| spare(&facts, key, budget));
            let object = format!("budget/{}/{}", key.0, key.1);
            self.require(*count <= spare, &object, "more pods are evicted than it allows");
        }
        for owner in &evicted.owners {
            let before = self.run().and_then(|run| run.owner_sizes.get(&**owner)).copied().unwrap_or(0);
            let holds = may_miss(self.live(), owner, before, &evicted.uids);
            let object = self.live().owner_name(owner);
            self.require(holds, &object, "more of its pods would be missing than may be without a budget");
        }
    }

    fn facts(&self) -> EvictionFacts<'a> {
        let mut facts = EvictionFacts { steps: BTreeMap::new(), leaving: BTreeMap::new() };
        for (id, progress) in self.run().into_iter().flat_map(Run::in_progress) {
            if let Some(node) = id.node_name() {
                facts.steps.entry(node).or_default().push((id, progress));
            }
        }
        let live = self.live();
        for pod in live.overlay.leaving().filter_map(|uid| live.pods.get(uid)) {
            facts.leaving.entry(&pod.namespace).or_default().push(pod);
        }
        facts
    }

    /// Checks that the pod is on a node that a step of this run drains.
    fn pod_may_go(&mut self, pod: &Pod, after: u64, object: &str, facts: &EvictionFacts<'_>) {
        let of_daemon_set = pod.owner.as_ref().is_some_and(|owner| owner.kind == OwnerKind::DaemonSet);
        let stays = pod.mirror || pod.is_ours() || (of_daemon_set && !pod.finished());
        self.require(!stays, object, "it is evicted, and no drain waits for such a pod");
        let node = pod.node.as_ref().and_then(|node| self.live().nodes.get(node));
        let (Some(run), Some(node)) = (self.run(), node) else {
            return self.note(object, "it is evicted from a node that no run empties");
        };
        self.require(node.hold.is_none(), object, "it is evicted from a node that a person holds");
        if node.claim.is_none() && self.may_leave_ahead(pod, node, run, after) {
            return;
        }
        self.require(node.unschedulable, object, "it is evicted from a node that is not cordoned");
        let mut steps = facts.steps.get(&*node.name).into_iter().flatten();
        let holder = steps.find(|(id, _)| claim_of(node, run, id).is_some());
        let Some((id, progress)) = holder else {
            return self.note(object, "it is evicted from a node that does not bear our claim");
        };
        let drains = run.find(id).is_some_and(|(_, step)| step.drains());
        self.require(
            drains && progress.phase < StepPhase::Upgrading,
            object,
            "it is evicted from a node that is not being emptied",
        );
        self.require(
            progress.intent == after,
            object,
            "it is released by another entry than the intent of its node's step",
        );
    }

    /// True if the pod leaves a node that waits for its upgrade with our taint, has one budget, and its pool asks for that.
    fn may_leave_ahead(&self, pod: &Pod, node: &Node, run: &Run, after: u64) -> bool {
        let mut steps = run.plan.steps().filter(|step| step.node() == Some(&node.name) && step.drains());
        let waits = steps.any(|step| {
            let pool = step.id.scope.name();
            let asked = run.plan.limits(&step.id.scope).is_some_and(|limits| limits.drain.ahead);
            asked && run.ahead.get(pool) == Some(&after) && !run.steps.contains_key(&step.id)
        });
        let ours = node.taints.iter().any(|taint| &*taint.key == names::OUTDATED);
        waits && ours && !node.unschedulable && pod.ready && self.live().budgets_of(pod).len() == 1
    }

    /// Books who has to spare this pod. A pod that has finished or not started is missed by no owner.
    fn book(&mut self, pod: &'a Pod, evicted: &mut Evicted<'a>, object: &str, facts: &EvictionFacts<'_>) {
        if pod.finished() || pod.phase == Phase::Pending {
            return;
        }
        let budgets = self.live().budgets_of(pod);
        match budgets.as_slice() {
            [] if pod.ready && self.run().is_some_and(|run| has_implicit_budgets(run, pod, facts)) => {
                let owner = pod.owner.as_ref().filter(|owner| match owner.kind {
                    OwnerKind::Job | OwnerKind::DaemonSet | OwnerKind::Node => false,
                    OwnerKind::Deployment
                    | OwnerKind::ReplicaSet
                    | OwnerKind::StatefulSet
                    | OwnerKind::ReplicationController
                    | OwnerKind::Other => true,
                });
                evicted.owners.extend(owner.map(|owner| self.live().top_owner(owner)));
            }
            [] => {}
            [(key, budget)] => {
                if pod.ready || !lets_unready_go(budget) {
                    *evicted.of_budgets.entry(key).or_default() += 1;
                }
            }
            [_, _, ..] => self.note(object, "it is evicted, and more than one budget covers it"),
        }
    }
}

/// True if owners without a budget get an implicit one on the pod's node.
fn has_implicit_budgets(run: &Run, pod: &Pod, facts: &EvictionFacts<'_>) -> bool {
    let mut steps = pod.node.as_ref().and_then(|node| facts.steps.get(&**node)).into_iter().flatten();
    steps.any(|(id, _)| run.plan.limits(&id.scope).is_some_and(|limits| limits.drain.implicit_budgets))
}

/// True if the budget lets a pod go that is not Ready, whatever else it allows.
fn lets_unready_go(budget: &Budget) -> bool {
    let healthy =
        budget.observed && budget.desired_healthy > 0 && budget.current_healthy >= budget.desired_healthy;
    budget.always_allow_unhealthy || healthy
}

/// How many evictions a budget still allows, minus our evictions that its status does not count yet.
fn spare(facts: &EvictionFacts<'_>, (namespace, _): &(Id, Id), budget: &Budget) -> i32 {
    if !budget.observed || budget.sync_failed || budget.never.is_some() {
        return 0;
    }
    let ours = facts.leaving.get(namespace).into_iter().flatten();
    let uncounted = ours.filter(|pod| {
        let counted = pod.deleting.is_some() || budget.disrupted.contains(&*pod.name);
        !counted && budget.selects(pod)
    });
    budget.disruptions_allowed - i32::try_from(uncounted.count()).unwrap_or(i32::MAX)
}

/// True if an owner without a budget misses no more than one pod, or a quarter of its pods, once these are gone.
/// `before` is how many Ready pods the owner had in this run.
fn may_miss(live: &Live, owner: &Id, before: u32, evicted: &BTreeSet<&Uid>) -> bool {
    let (mut pods, mut serving) = (0_u32, 0_u32);
    for pod in live.pods_under(owner) {
        pods += u32::from(!pod.finished());
        let goes = pod.deleting.is_some() || live.overlay.is_leaving(&pod.uid) || evicted.contains(&pod.uid);
        serving += u32::from(pod.ready && !goes);
    }
    let wanted = live.workloads.get(owner).map_or(pods.max(before), |workload| workload.replicas);
    wanted.saturating_sub(serving) <= (wanted / 4).max(1)
}
