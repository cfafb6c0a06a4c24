//! The risks that a reviewer should know, and how hard each node is to drain: one look at every pod that would have
//! to go. A risk stops nothing; gates and drain decide again when the step's turn comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rolled::{ByRollout, by_rollout};
use super::{CONTROL_PLANE_LIMITS, Inventory, Member, node};
use crate::diff::{Membership, leaves};
use crate::model::decision::{Key, Reason};
use crate::model::desired::OnBlocked;
use crate::model::live::{ClaimState, Id, Live, NamedBudget, OwnerKind, Pod, Ready};
use crate::model::plan::Scope;
use crate::model::text::held;

/// How many findings of one kind a plan names: enough to act on, and few enough to read.
const NAMED_PER_KEY: usize = 20;

/// How hard the nodes are to drain.
pub(super) struct Loads<'a>(BTreeMap<&'a str, Load>);

/// Compared field by field in this order: a blocking budget weighs more than the number of pods.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Load {
    /// How many budgets allow no disruption now.
    blocked: u32,
    pods: u32,
}

impl Loads<'_> {
    pub(super) fn of(&self, node: &str) -> Load {
        self.0.get(node).copied().unwrap_or_default()
    }
}

/// The load of every node that is behind, and the risks of moving it.
pub(super) fn survey<'a>(inventory: &'a Inventory) -> (Loads<'a>, BTreeSet<Reason>) {
    let behind = nodes_behind(inventory);
    let mut survey = Survey {
        live: inventory.live,
        by_name: behind.iter().enumerate().map(|(number, node)| (node.name, number)).collect(),
        behind,
        by_address: BTreeMap::new(),
        matched: None,
        blocking: BTreeSet::new(),
        never: BTreeMap::new(),
        looked: BTreeSet::new(),
        risks: BTreeSet::new(),
    };
    survey.nodes(inventory);
    let swapped = node::swapped_under_pods(inventory);
    if !swapped.is_empty() {
        for pods in inventory.live.pods.by_owner() {
            survey.on_one_of(&swapped, pods);
        }
    }
    // Where no node is behind, no pod would have to go.
    if !survey.behind.is_empty() {
        for pods in inventory.live.pods.by_owner() {
            survey.pods_of_one(pods);
        }
        for pod in inventory.live.pods.unowned() {
            survey.pods_of_one([pod]);
        }
    }
    for (name, why) in std::mem::take(&mut survey.never) {
        survey.add(Key::BudgetNeverAllows, &format!("budget/{}/{}", name.0, name.1), why.to_owned());
    }
    for (number, _) in &survey.blocking {
        if let Some(node) = survey.behind.get_mut(*number) {
            node.load.blocked += 1;
        }
    }
    let loads = survey.behind.into_iter().map(|node| (node.name, node.load)).collect();
    (Loads(loads), survey.risks)
}

/// A node that is behind, its pods, and the drain settings that hold for them.
struct NodeBehind<'a> {
    name: &'a str,
    load: Load,
    terms: Terms<'a>,
}

#[derive(Clone, Copy)]
struct Terms<'a> {
    scope: &'a str,
    /// True if a step of the plan drains it. Otherwise its pods are no risk.
    drained: bool,
    empty_dir_may_go: bool,
    timeout_seconds: i64,
    on_blocked: OnBlocked,
}

fn nodes_behind<'a>(inventory: &'a Inventory) -> Vec<NodeBehind<'a>> {
    let emptied = inventory.cluster.control_plane.empties_first(inventory.control_plane.len());
    let of = |member: &'a Member<'a>| {
        let kubelet = member.node.kubelet.as_ref().filter(|kubelet| kubelet.is_before(inventory.target()))?;
        let pool = member.pool().map(|pool| &pool.drain);
        let ours = &CONTROL_PLANE_LIMITS.drain;
        let terms = Terms {
            scope: member.membership.scope_name()?,
            drained: node::drains(member, kubelet, inventory.target())
                || (emptied && member.node.control_plane),
            // For the control plane no file says so; the data is deleted, and a risk names it.
            empty_dir_may_go: pool.is_some_and(|drain| drain.delete_empty_dir_data),
            timeout_seconds: pool.map_or(ours.timeout_seconds, |drain| drain.timeout.as_secs()),
            on_blocked: pool.map_or(ours.on_blocked, |drain| drain.on_blocked),
        };
        Some(NodeBehind { name: member.name(), load: Load::default(), terms })
    };
    inventory.managed().filter_map(of).collect()
}

/// Names are interned, so equal names mostly have the same address. Addresses only save time: the findings are the
/// same without them, and no order depends on them.
struct Survey<'a> {
    live: &'a Live,
    behind: Vec<NodeBehind<'a>>,
    by_name: BTreeMap<&'a str, usize>,
    /// The index of a node by the address of its name; `None` for a node that is not behind.
    by_address: BTreeMap<usize, Option<usize>>,
    /// The pod that was looked at last, and its budgets. The pods of one template share their label set, so the budgets
    /// are looked up once for all of them.
    matched: Option<(&'a Pod, Vec<NamedBudget<'a>>)>,
    /// Budgets that allow no disruption, by node and address.
    blocking: BTreeSet<(usize, usize)>,
    never: BTreeMap<&'a (Id, Id), &'a str>,
    /// What the owner at hand was already looked at for: the kind of finding, and the scope if the finding depends on
    /// the scope.
    looked: BTreeSet<(Key, &'a str)>,
    risks: BTreeSet<Reason>,
}

impl<'a> Survey<'a> {
    fn nodes(&mut self, inventory: &Inventory) {
        let newest = inventory.newest_api_server();
        for member in &inventory.nodes {
            let object = format!("node/{}", member.name());
            match &member.membership {
                Membership::Nowhere => {
                    let text = if member.node.kubelet.is_some() {
                        "no pool selects it: it is not touched, and the run will not be complete"
                    } else {
                        "no pool selects it, and its version cannot be read: it is not touched; see for yourself that \
                         its kubelet is not too old"
                    };
                    self.add(Key::NodeInNoPool, &object, text.to_owned());
                }
                Membership::Beyond(beyond) => self.add(Key::NodeNotMovable, &object, beyond.to_string()),
                Membership::ControlPlane | Membership::Pool(_) | Membership::Several(_) => {}
            }
            if let (Some(kubelet), Some(api_server)) = (&member.node.kubelet, &newest)
                && !kubelet.may_lag(api_server)
            {
                let text = format!(
                    "runs {kubelet}, too old for API servers of {}; moving it is the cure",
                    api_server.minor_name()
                );
                self.add(Key::SkewTooLarge, &object, text);
            }
            let control_plane_behind = || {
                inventory
                    .control_plane
                    .get(member.name())
                    .is_some_and(|runs| runs.as_ref().is_some_and(|runs| runs.is_before(inventory.target())))
            };
            if self.by_name.contains_key(member.name()) || control_plane_behind() {
                self.node(member, &object);
            }
        }
    }

    fn node(&mut self, member: &Member, object: &str) {
        if let Some(why) = &member.node.hold {
            self.add(Key::Held, object, held(why));
        }
        if member.node.is_cordoned_by_others() {
            self.add(Key::ForeignCordon, object, "another user cordoned it; it stays cordoned".to_owned());
        }
        if let Some(ClaimState::Unreadable(_)) = &member.node.claim {
            self.add(Key::ForeignClaim, object, "bears a claim that cannot be read".to_owned());
        }
        if member.node.ready != Ready::True {
            let text = if member.node.control_plane {
                "is not Ready; the control plane is moved only while all its nodes are"
            } else {
                "is not Ready; it is not moved, and counts as out, until it is"
            };
            self.add(Key::NodeNotReady, object, text.to_owned());
        }
    }

    /// Finds an owner that has all its Ready pods on one of these nodes.
    fn on_one_of(&mut self, nodes: &BTreeSet<&str>, pods: impl Iterator<Item = &'a Pod>) {
        let mut ready = pods.filter(|pod| leaves(pod) && pod.ready && pod.deleting.is_none());
        let Some(first) = ready.next() else { return };
        let Some(node) = first.node.as_deref().filter(|node| nodes.contains(node)) else { return };
        if ready.all(|pod| pod.node.as_deref() == Some(node)) {
            let text = format!(
                "has all its Ready pods on control plane node {node}; while that node's components move it may miss its \
                 heartbeats, and its pods leave their Services for up to a minute: spread them, or write \
                 `controlPlane.drain: beforeControlPlane`"
            );
            self.add(Key::OnOneControlPlaneNode, &owner_of(self.live, first), text);
        }
    }

    /// The pods of one owner, or one pod without an owner.
    fn pods_of_one(&mut self, pods: impl IntoIterator<Item = &'a Pod>) {
        self.looked.clear();
        for pod in pods {
            self.pod(pod);
        }
    }

    fn pod(&mut self, pod: &'a Pod) {
        let Some(number) = pod.node.as_ref().and_then(|node| self.number_of(node)) else { return };
        let Some(node) = self.behind.get_mut(number) else { return };
        let terms = node.terms;
        if !leaves(pod) {
            if terms.drained {
                self.orphan(pod);
            }
            return;
        }
        node.load.pods += 1;
        self.budgets(pod, number, terms);
        if terms.drained {
            self.drained(pod, terms);
        }
    }

    fn number_of(&mut self, node: &'a Id) -> Option<usize> {
        let by_name = &self.by_name;
        *self.by_address.entry(Arc::as_ptr(node).addr()).or_insert_with(|| by_name.get(&**node).copied())
    }

    fn budgets(&mut self, pod: &'a Pod, number: usize, terms: Terms<'a>) {
        let alike = |other: &Pod| {
            Arc::ptr_eq(&other.labels, &pod.labels) && Arc::ptr_eq(&other.namespace, &pod.namespace)
        };
        let before = self.matched.take().filter(|(other, _)| alike(other));
        let matched = before.map_or_else(|| self.live.budgets_of(pod), |(_, matched)| matched);
        let stuck = matched.len() > 1 || matched.iter().any(|(_, budget)| budget.never.is_some());
        if stuck && terms.drained && self.rolls(pod, terms) {
            self.matched = Some((pod, matched));
            return;
        }
        for (_, budget) in matched.iter().filter(|(_, budget)| budget.disruptions_allowed <= 0) {
            self.blocking.insert((number, std::ptr::from_ref(*budget).addr()));
        }
        if terms.drained {
            self.of_budgets(pod, &matched);
        }
        self.matched = Some((pod, matched));
    }

    /// True if a pod that no budget lets go moves by a rollout, which asks no budget.
    fn rolls(&mut self, pod: &Pod, terms: Terms<'a>) -> bool {
        match by_rollout(self.live, pod, terms.on_blocked) {
            ByRollout::NotAsked => false,
            ByRollout::Moves(reason) => {
                self.risks.insert(reason);
                true
            }
            ByRollout::Cannot(owner, why) => {
                self.add(Key::BudgetNeverAllows, &owner, why);
                false
            }
        }
    }

    /// Finds the risks of the budgets of one pod that a drain evicts.
    fn of_budgets(&mut self, pod: &'a Pod, matched: &[NamedBudget<'a>]) {
        let never = matched.iter().filter_map(|(name, budget)| Some((*name, budget.never.as_deref()?)));
        self.never.extend(never);
        if let [(first, _), (second, _), ..] = matched {
            self.add_for_owner(Key::SeveralBudgets, pod, "", || {
                let names =
                    format!("both budget/{}/{} and budget/{}/{}", first.0, first.1, second.0, second.1);
                format!("{names} select it, and then no eviction passes")
            });
        }
    }

    /// Finds the risks of one pod that a drain evicts.
    fn drained(&mut self, pod: &'a Pod, terms: Terms<'a>) {
        let scope = terms.scope;
        if pod.empty_dir && !terms.empty_dir_may_go {
            self.add_for_owner(Key::LocalData, pod, scope, || local_data(scope));
        }
        if i64::from(pod.grace_seconds) > terms.timeout_seconds {
            let text = || format!("may take longer to stop than the drain of `{scope}` waits");
            self.add_for_owner(Key::GraceTooLong, pod, scope, text);
        }
        if pod.do_not_disrupt {
            let text =
                "asks not to be disrupted: waited for up to the pool's `jobs`, then the node is set aside";
            self.add_for_owner(Key::DoNotDisrupt, pod, scope, || text.to_owned());
        }
        let Some(owner) = &pod.owner else {
            let text = "no controller would bring it back: it is not evicted";
            return self.add(Key::Unmanaged, &pod.object(), text.to_owned());
        };
        match owner.kind {
            OwnerKind::Job => {
                let text = "is running: waited for up to the pool's `jobs`, then the node is set aside";
                self.add_for_owner(Key::JobRunning, pod, scope, || text.to_owned());
            }
            OwnerKind::Deployment
            | OwnerKind::ReplicaSet
            | OwnerKind::StatefulSet
            | OwnerKind::ReplicationController => {
                if self.first_look(Key::SingleReplica, "")
                    && self.live.workloads.get(&owner.uid).is_some_and(|workload| workload.replicas == 1)
                {
                    let text = "has one replica: it is away while that is moved";
                    match by_rollout(self.live, pod, terms.on_blocked) {
                        ByRollout::NotAsked => {
                            self.add(Key::SingleReplica, &owner_of(self.live, pod), text.to_owned());
                        }
                        ByRollout::Moves(reason) => drop(self.risks.insert(reason)),
                        ByRollout::Cannot(owner, why) => {
                            self.add(Key::SingleReplica, &owner, format!("{text}; it {why}"));
                        }
                    }
                }
            }
            OwnerKind::DaemonSet | OwnerKind::Node | OwnerKind::Other => {}
        }
    }

    /// A pod whose `DaemonSet` is gone: no controller creates it again elsewhere, and a drain cannot leave it.
    fn orphan(&mut self, pod: &'a Pod) {
        let Some(owner) = &pod.owner else { return };
        if owner.kind == OwnerKind::DaemonSet
            && self.first_look(Key::OrphanOfDaemonSet, "")
            && !self.live.workloads.contains_key(&owner.uid)
        {
            let text = "is gone, and its pods are still there";
            self.add(Key::OrphanOfDaemonSet, &owner_of(self.live, pod), text.to_owned());
        }
    }

    /// Adds one finding for all pods of one owner in a scope.
    fn add_for_owner(&mut self, key: Key, pod: &'a Pod, scope: &'a str, text: impl FnOnce() -> String) {
        if self.first_look(key, scope) {
            self.add(key, &owner_of(self.live, pod), text());
        }
    }

    fn first_look(&mut self, key: Key, scope: &'a str) -> bool {
        self.looked.insert((key, scope))
    }

    fn add(&mut self, key: Key, object: &str, text: String) {
        self.risks.insert(Reason::new(key, object, text));
    }
}

fn local_data(scope: &str) -> String {
    if scope == Scope::CONTROL_PLANE {
        return "has emptyDir data, which is lost when a control plane node is emptied".to_owned();
    }
    format!("has emptyDir data, and `{scope}` does not let it be deleted: it is not evicted")
}

/// `deployment/shop/cart`; the pod itself if it has no owner.
fn owner_of(live: &Live, pod: &Pod) -> String {
    let Some(owner) = &pod.owner else { return pod.object() };
    let top = live.top_owner(owner);
    if live.workloads.contains_key(&top) {
        return live.owner_name(&top);
    }
    format!("{}/{}/{}", owner.kind.noun(), pod.namespace, owner.name)
}

/// The first findings of each kind, and how many more there are; sorted, without duplicates.
pub(super) fn first_of_each(found: BTreeSet<Reason>) -> Vec<Reason> {
    let mut left: BTreeMap<Key, usize> = BTreeMap::new();
    let mut named = Vec::new();
    for reason in found {
        let count = left.entry(reason.key).or_default();
        *count += 1;
        if *count <= NAMED_PER_KEY {
            named.push(reason);
        }
    }
    let more = left.into_iter().filter(|(_, count)| *count > NAMED_PER_KEY);
    named.extend(
        more.map(|(key, count)| Reason::new(key, "more", format!("and {} more", count - NAMED_PER_KEY))),
    );
    named
}
