//! Disruption budgets, given and implicit: may this pod be evicted now? The answer is the minimum of the API server's
//! number and our own ledger of evictions that no watch has shown yet. The API server decides at the eviction itself;
//! the ledger only avoids requests that it would refuse.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::model::decision::{Key, Reason};
use crate::model::live::{Budget, Id, Live, NamedBudget, OwnerKind, Phase, Pod, Uid};

/// What may still be evicted in this pass. The rest of a budget is looked up once for all copies of the ledger. What
/// a copy takes counts for that copy only, until it is booked.
#[derive(Clone, Debug)]
pub struct Ledger<'a> {
    live: &'a Live,
    /// The sizes of owners of which no object is watched: the most Ready pods that each had in this run, by UID.
    sizes: &'a BTreeMap<String, u32>,
    /// Owners that still miss pods because of nodes that are back in service: they have an implicit budget in any case.
    in_debt: Rc<BTreeSet<Id>>,
    taken: BTreeMap<(Id, Id), i32>,
    taken_of_owners: BTreeMap<Id, i64>,
    left: Rc<RefCell<Left>>,
}

/// How many evictions each budget and owner allowed before this pass took any.
#[derive(Debug, Default)]
struct Left {
    budgets: BTreeMap<(Id, Id), i32>,
    owners: BTreeMap<Id, i64>,
    /// UIDs of pods whose eviction was accepted or is in flight, by namespace; `None` until a budget asks.
    leaving: Option<BTreeMap<Id, Vec<Uid>>>,
}

impl Left {
    /// Our evictions in a namespace. The overlay is walked once for all budgets of a pass.
    fn leaving(&mut self, live: &Live, namespace: &Id) -> &[Uid] {
        let leaving = self.leaving.get_or_insert_with(|| {
            let mut by_namespace: BTreeMap<Id, Vec<Uid>> = BTreeMap::new();
            for pod in live.overlay.leaving().filter_map(|uid| live.pods.get(uid)) {
                by_namespace.entry(pod.namespace.clone()).or_default().push(pod.uid.clone());
            }
            by_namespace
        });
        leaving.get(namespace).map_or(&[], Vec::as_slice)
    }
}

impl<'a> Ledger<'a> {
    pub fn new(live: &'a Live, sizes: &'a BTreeMap<String, u32>, in_debt: BTreeSet<Id>) -> Self {
        let (taken, taken_of_owners) = Default::default();
        Self { live, sizes, in_debt: Rc::new(in_debt), taken, taken_of_owners, left: Rc::default() }
    }

    /// How many evictions were in flight before this pass took any.
    pub fn asked_to_leave(&self) -> usize {
        self.live.overlay.asked_to_leave().len()
    }

    /// Why this pod may not be evicted now; `None` if it may. It takes nothing.
    pub fn objection(&self, pod: &Pod, implicit: bool) -> Option<Reason> {
        if is_free(pod) {
            return None;
        }
        let budgets = self.live.budgets_of(pod);
        match budgets.as_slice() {
            [] if implicit || self.is_in_debt(pod) => self.implicit(pod),
            [] => None,
            [(key, budget)] => never(pod, &budgets).or_else(|| self.one(pod, key, budget)),
            [..] => never(pod, &budgets),
        }
    }

    fn is_in_debt(&self, pod: &Pod) -> bool {
        let owner = pod.owner.as_ref().filter(|_| !self.in_debt.is_empty());
        owner.is_some_and(|owner| self.in_debt.contains(&self.live.top_owner(owner)))
    }

    fn one(&self, pod: &Pod, key: &(Id, Id), budget: &Budget) -> Option<Reason> {
        if passes_unhealthy(pod, budget) {
            return None;
        }
        let object = object(key);
        if budget.sync_failed {
            let text = "the server cannot compute it (SyncFailed), so it allows nothing".to_owned();
            return Some(Reason::new(Key::BudgetBlocks, object, text));
        }
        if self.left_of(key, budget) > 0 {
            return None;
        }
        // Waiting does not help where pods crash: somebody has to mend them first.
        if budget.observed && budget.current_healthy < budget.desired_healthy {
            let text = "fewer of its pods are healthy than it demands, so it allows no disruption";
            return Some(Reason::new(Key::BudgetUnhealthy, object, text));
        }
        Some(Reason::new(Key::BudgetBlocks, object, "it allows no disruption at present"))
    }

    fn left_of(&self, key: &(Id, Id), budget: &Budget) -> i32 {
        let left = &mut *self.left.borrow_mut();
        let known = left.budgets.get(key).copied();
        let allowed = known.unwrap_or_else(|| {
            // The status is of an older spec, so what the budget allows now is unknown.
            if !budget.observed {
                return 0;
            }
            budget.disruptions_allowed - unseen(self.live, left.leaving(self.live, &key.0), budget)
        });
        left.budgets.insert(key.clone(), allowed);
        allowed - self.taken.get(key).copied().unwrap_or(0)
    }

    /// Why an owner without a budget cannot spare the pod: one pod, or a quarter of its replicas if that is more, may
    /// be missing.
    fn implicit(&self, pod: &Pod) -> Option<Reason> {
        let owner = pod.owner.as_ref()?;
        // Evicting a pod that is not Ready takes nothing out of service.
        if !pod.ready || matches!(owner.kind, OwnerKind::Job | OwnerKind::DaemonSet | OwnerKind::Node) {
            return None;
        }
        let top = self.live.top_owner(owner);
        (self.left_of_owner(&top) <= 0).then(|| {
            let text = "it has no budget, and as many of its pods are missing as Windlass allows then (a quarter of them, at least one)";
            Reason::new(Key::OwnerNotReady, self.live.owner_name(&top), text)
        })
    }

    fn left_of_owner(&self, owner: &Id) -> i64 {
        let mut left = self.left.borrow_mut();
        let left =
            left.owners.entry(owner.clone()).or_insert_with(|| allowance(self.live, owner, self.sizes));
        *left - self.taken_of_owners.get(owner).copied().unwrap_or(0)
    }

    /// Books an eviction that is about to be sent.
    pub fn take(&mut self, pod: &Pod) {
        if is_free(pod) {
            return;
        }
        let budgets = self.live.budgets_of(pod);
        if let (true, Some(owner)) = (budgets.is_empty() && pod.ready, &pod.owner) {
            *self.taken_of_owners.entry(self.live.top_owner(owner)).or_default() += 1;
        }
        for (key, _) in budgets.into_iter().filter(|(_, budget)| !passes_unhealthy(pod, budget)) {
            *self.taken.entry(key.clone()).or_default() += 1;
        }
    }
}

/// Why budgets never let this pod go, however many of the others are there; `None` if they may.
pub fn structural_objection(live: &Live, pod: &Pod) -> Option<Reason> {
    let asks = live.budgets.may_block(&pod.namespace) && !is_free(pod);
    if asks { never(pod, &live.budgets_of(pod)) } else { None }
}

/// True if the API server checks no budget for the pod (pkg/registry/core/pod/storage/eviction.go).
fn is_free(pod: &Pod) -> bool {
    pod.finished() || pod.phase == Phase::Pending
}

fn never(pod: &Pod, budgets: &[NamedBudget<'_>]) -> Option<Reason> {
    match budgets {
        [] => None,
        [(key, budget)] => {
            let never = budget.never.as_ref().filter(|_| !passes_unhealthy(pod, budget))?;
            let text = format!("it never allows the eviction of {}: {never}", pod.object());
            Some(Reason::new(Key::BudgetNeverAllows, object(key), text))
        }
        [(first, _), (second, _), ..] => Some(Reason::new(
            Key::SeveralBudgets,
            pod.object(),
            format!(
                "budgets {} and {} both match it, so the server refuses every eviction; narrow one of them",
                first.1, second.1
            ),
        )),
    }
}

/// `budget/shop/cart`.
fn object((namespace, name): &(Id, Id)) -> String {
    format!("budget/{namespace}/{name}")
}

/// True if the API server evicts the pod without counting it, because it is not Ready.
fn passes_unhealthy(pod: &Pod, budget: &Budget) -> bool {
    let healthy = budget.current_healthy >= budget.desired_healthy && budget.desired_healthy > 0;
    !pod.ready && (budget.always_allow_unhealthy || (healthy && budget.observed))
}

/// How many of these pods the budget covers and its status does not count as disrupted yet.
fn unseen(live: &Live, leaving: &[Uid], budget: &Budget) -> i32 {
    let ours = leaving.iter().filter_map(|uid| live.pods.get(uid));
    let unseen = ours.filter(|pod| {
        pod.deleting.is_none() && !budget.disrupted.contains(&*pod.name) && budget.selects(pod)
    });
    i32::try_from(unseen.count()).unwrap_or(i32::MAX)
}

/// How many pods of an owner without a budget may be missing: one, or a quarter of its replicas if that is more.
pub(super) fn implicit_budget(replicas: i64) -> i64 {
    (replicas / 4).max(1)
}

/// How many more pods of this owner may go missing; negative if more are missing than may be.
fn allowance(live: &Live, owner: &Id, sizes: &BTreeMap<String, u32>) -> i64 {
    let pods = || live.pods_under(owner);
    let serves = |pod: &&Pod| pod.ready && pod.deleting.is_none() && !live.overlay.is_leaving(&pod.uid);
    let serving = i64::try_from(pods().filter(serves).count()).unwrap_or(i64::MAX);
    let replicas = live.workloads.get(owner).map_or_else(
        || {
            // Of a database's own resource only its pods are known. Counted anew after each loss, it would have a pod to
            // spare until none is left.
            let before = sizes.get(&**owner).copied().map_or(0, i64::from);
            i64::try_from(pods().filter(|pod| !pod.finished()).count()).unwrap_or(i64::MAX).max(before)
        },
        |workload| i64::from(workload.replicas),
    );
    implicit_budget(replicas) - (replicas - serving).max(0)
}
