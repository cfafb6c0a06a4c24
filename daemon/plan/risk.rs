//! What a reviewer should know before approving, and how hard each node is to empty: one look at every pod
//! that would have to go. A risk stops nothing here; the gates and the drain decide again when it is time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::order::foreign_cordon;
use super::{node, Member, World, CONTROL_PLANE_LIMITS};
use crate::diff::{leaves, Membership};
use crate::model::decision::{Key, Reason};
use crate::model::live::{Budget, ClaimState, Id, Live, OwnerKind, Pod, Ready};

/// How many risks of one kind a plan names: enough to act on, and a page that a person still reads.
const NAMED_PER_KEY: usize = 50;

/// How hard nodes are to empty.
pub(super) struct Loads<'a>(BTreeMap<&'a str, Load>);

/// Compared in the order of its fields: what a budget blocks weighs more than how much there is to move.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Load {
    /// Budgets that allow no disruption now.
    blocked: u32,
    pods: u32,
}

impl Loads<'_> {
    pub(super) fn of(&self, node: &str) -> Load {
        self.0.get(node).copied().unwrap_or_default()
    }
}

/// The load of every node that is behind, and the risks of moving it.
pub(super) fn survey<'a>(world: &'a World) -> (Loads<'a>, Vec<Reason>) {
    let mut survey = Survey {
        live: world.live,
        terms: terms(world),
        budgets: budgets_by_namespace(world.live),
        matched: BTreeMap::new(),
        blocking: BTreeSet::new(),
        never: BTreeMap::new(),
        owners: BTreeSet::new(),
        loads: BTreeMap::new(),
        risks: BTreeMap::new(),
    };
    survey.nodes(world);
    for pod in world.live.pods.values() {
        survey.pod(pod);
    }
    for (name, why) in std::mem::take(&mut survey.never) {
        survey.add(Key::BudgetNeverAllows, &format!("budget/{}/{}", name.0, name.1), why.to_owned());
    }
    for (name, _) in &survey.blocking {
        survey.loads.entry(name).or_default().blocked += 1;
    }
    let risks = survey.risks.into_iter().flat_map(|(key, found)| bounded(key, found)).collect();
    (Loads(survey.loads), risks)
}

/// On what terms the pods of a node that is behind have to leave it.
struct Terms<'a> {
    scope: &'a str,
    /// Whether any step of the plan empties it; if not, its pods are no risk.
    drained: bool,
    empty_dir_may_go: bool,
    timeout_seconds: i64,
}

fn terms<'a>(world: &'a World) -> BTreeMap<&'a str, Terms<'a>> {
    let of = |member: &'a Member<'a>| {
        let kubelet = member.node.kubelet.as_ref().filter(|kubelet| *kubelet < world.target())?;
        let pool = member.pool().map(|pool| &pool.drain);
        let ours = &CONTROL_PLANE_LIMITS.drain;
        Some((
            member.name(),
            Terms {
                scope: member.membership.scope()?,
                drained: node::drains(member, kubelet, world.target()),
                // On the control plane nobody has said so; it is done, and named.
                empty_dir_may_go: pool.is_some_and(|drain| drain.delete_empty_dir_data),
                timeout_seconds: pool.map_or(ours.timeout_seconds, |drain| drain.timeout.as_secs()),
            },
        ))
    };
    world.managed().filter_map(of).collect()
}

type Named<'a> = (&'a (Id, Id), &'a Budget);

fn budgets_by_namespace(live: &Live) -> BTreeMap<&str, Vec<Named<'_>>> {
    let mut all: BTreeMap<&str, Vec<Named>> = BTreeMap::new();
    for (name, budget) in &live.budgets {
        all.entry(&name.0).or_default().push((name, budget));
    }
    all
}

struct Survey<'a> {
    live: &'a Live,
    terms: BTreeMap<&'a str, Terms<'a>>,
    budgets: BTreeMap<&'a str, Vec<Named<'a>>>,
    /// Budgets by namespace and label set. Pods of one template share the set, so the selectors are asked once
    /// for all of them; the address is only looked up, never seen in an order.
    matched: BTreeMap<(&'a str, usize), Vec<Named<'a>>>,
    blocking: BTreeSet<(&'a str, &'a (Id, Id))>,
    never: BTreeMap<&'a (Id, Id), &'a str>,
    /// Owners that were looked at already, once for each kind of finding.
    owners: BTreeSet<(Key, &'a str)>,
    loads: BTreeMap<&'a str, Load>,
    risks: BTreeMap<Key, BTreeSet<(String, String)>>,
}

impl<'a> Survey<'a> {
    fn nodes(&mut self, world: &World) {
        for member in &world.nodes {
            let object = format!("node/{}", member.name());
            if member.membership == Membership::Nowhere {
                let text = "no pool selects it: it is not touched, and the run will not be complete";
                self.add(Key::NodeInNoPool, &object, text.to_owned());
            }
            let servers_behind = || {
                world.servers.get(member.name()).is_some_and(|runs| runs.as_ref().is_some_and(|runs| runs < world.target()))
            };
            if self.terms.contains_key(member.name()) || servers_behind() {
                self.node(member, &object);
            }
        }
    }

    fn node(&mut self, member: &Member, object: &str) {
        if let Some(reason) = &member.node.hold {
            self.add(Key::Held, object, format!("held by a person: {reason}"));
        }
        if foreign_cordon(member.node) {
            self.add(Key::ForeignCordon, object, "somebody else cordoned it; it stays cordoned".to_owned());
        }
        if let Some(ClaimState::Unreadable(_)) = &member.node.claim {
            self.add(Key::ForeignClaim, object, "bears a claim that cannot be read".to_owned());
        }
        if member.node.ready != Ready::True && !member.node.control_plane {
            self.add(Key::NodeNotReady, object, "is not Ready, and counts as out until it is".to_owned());
        }
    }

    fn pod(&mut self, pod: &'a Pod) {
        let Some(node) = pod.node.as_deref() else { return };
        let Some((&node, terms)) = self.terms.get_key_value(node) else { return };
        if !leaves(pod) {
            if terms.drained {
                self.orphan(pod);
            }
            return;
        }
        let (drained, empty_dir, grace) =
            (terms.drained, pod.empty_dir && !terms.empty_dir_may_go, i64::from(pod.grace_seconds) > terms.timeout_seconds);
        let scope = terms.scope;
        self.loads.entry(node).or_default().pods += 1;
        self.budgets(pod, node, drained);
        if !drained {
            return;
        }
        if empty_dir {
            self.add_for_owner(Key::LocalData, pod, || local_data(scope));
        }
        if grace {
            let text = || format!("may take longer to stop than the drain of `{scope}` waits");
            self.add_for_owner(Key::GraceTooLong, pod, text);
        }
        if pod.do_not_disrupt {
            let text = || "asks not to be disrupted: waited for up to the pool's `jobs`, then the node is set aside";
            self.add_for_owner(Key::DoNotDisrupt, pod, || text().to_owned());
        }
        self.owner(pod);
    }

    fn budgets(&mut self, pod: &'a Pod, node: &'a str, drained: bool) {
        let Some(budgets) = self.budgets.get(&*pod.namespace) else { return };
        let labels = (&*pod.namespace, Arc::as_ptr(&pod.labels) as usize);
        let matched = self.matched.entry(labels).or_insert_with(|| matching(budgets, pod));
        for (name, _) in matched.iter().filter(|(_, budget)| budget.disruptions_allowed <= 0) {
            self.blocking.insert((node, *name));
        }
        if !drained || matched.is_empty() {
            return;
        }
        let several = match matched.as_slice() {
            [first, second, ..] => Some(format!(
                "both budget/{}/{} and budget/{}/{} select it, and then no eviction passes",
                first.0.0, first.0.1, second.0.0, second.0.1
            )),
            [] | [_] => None,
        };
        self.never.extend(matched.iter().filter_map(|(name, budget)| Some((*name, budget.never.as_deref()?))));
        if let Some(text) = several {
            self.add_for_owner(Key::SeveralBudgets, pod, || text);
        }
    }

    fn owner(&mut self, pod: &'a Pod) {
        let Some(owner) = &pod.owner else {
            self.add(Key::Unmanaged, &pod.object(), "no controller would bring it back: it is not evicted".to_owned());
            return;
        };
        match owner.kind {
            OwnerKind::Job => {
                let text = "is running: waited for up to the pool's `jobs`, then the node is set aside";
                self.add_for_owner(Key::JobRunning, pod, || text.to_owned());
            }
            OwnerKind::ReplicaSet | OwnerKind::StatefulSet | OwnerKind::ReplicationController => {
                if !self.owners.insert((Key::SingleReplica, &owner.uid)) {
                    return;
                }
                if self.live.workloads.get(&owner.uid).is_some_and(|workload| workload.replicas == 1) {
                    let text = "has one replica: it is away while that is moved";
                    let object = owner_of(self.live, pod);
                    self.add(Key::SingleReplica, &object, text.to_owned());
                }
            }
            OwnerKind::DaemonSet | OwnerKind::Node | OwnerKind::Other => {}
        }
    }

    /// A pod whose `DaemonSet` is gone is neither brought back elsewhere nor left alone for good.
    fn orphan(&mut self, pod: &'a Pod) {
        let Some(owner) = pod.owner.as_ref().filter(|owner| owner.kind == OwnerKind::DaemonSet) else { return };
        if self.owners.insert((Key::OrphanOfDaemonSet, &owner.uid)) && !self.live.workloads.contains_key(&owner.uid) {
            let object = owner_of(self.live, pod);
            self.add(Key::OrphanOfDaemonSet, &object, "is gone, and its pods are still there".to_owned());
        }
    }

    /// One finding for all pods of one owner.
    fn add_for_owner(&mut self, key: Key, pod: &'a Pod, text: impl FnOnce() -> String) {
        let id = pod.owner.as_ref().map_or(&*pod.uid, |owner| &*owner.uid);
        if self.owners.insert((key, id)) {
            let object = owner_of(self.live, pod);
            self.add(key, &object, text());
        }
    }

    fn add(&mut self, key: Key, object: &str, text: String) {
        self.risks.entry(key).or_default().insert((object.to_owned(), text));
    }
}

fn matching<'a>(budgets: &[Named<'a>], pod: &Pod) -> Vec<Named<'a>> {
    let label = |key: &str| pod.labels.get(key).map(|value| &**value);
    let selects = |(_, budget): &&Named| budget.selector.as_ref().is_some_and(|selector| selector.matches(label));
    budgets.iter().filter(selects).copied().collect()
}

fn local_data(scope: &str) -> String {
    if scope == crate::diff::CONTROL_PLANE {
        return "has emptyDir data, which is lost when a control plane node is emptied".to_owned();
    }
    format!("has emptyDir data, and `{scope}` does not let it be deleted: it is not evicted")
}

/// `deployment/shop/cart`; the pod itself where nobody owns it.
fn owner_of(live: &Live, pod: &Pod) -> String {
    let Some(owner) = &pod.owner else { return pod.object() };
    let top = live.top_owner(owner);
    if live.workloads.contains_key(&top) {
        return live.owner_name(&top);
    }
    format!("{}/{}/{}", owner.kind.noun(), pod.namespace, owner.name)
}

fn bounded(key: Key, found: BTreeSet<(String, String)>) -> Vec<Reason> {
    let more = found.len().saturating_sub(NAMED_PER_KEY);
    let mut named: Vec<_> = found.into_iter().take(NAMED_PER_KEY).map(|(object, text)| Reason::new(key, object, text)).collect();
    if more > 0 {
        named.push(Reason::new(key, "more", format!("and {more} more")));
    }
    named
}
