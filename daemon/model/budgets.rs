//! All disruption budgets of a cluster, with an index by the labels that their selectors demand: a pass asks for the
//! budgets of pod after pod, and must not try every selector of a namespace each time.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::{Operator, Selector};
use super::live::Id;
use super::pod::Pod;

#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub resource_version: u64,
    pub selector: Option<Selector>,
    pub disruptions_allowed: i32,
    pub current_healthy: i32,
    pub desired_healthy: i32,
    /// How many pods it covers, as its owners want them.
    pub expected: i32,
    /// True if the status was computed from the present spec.
    pub observed: bool,
    /// True if the disruption controller could not compute the status (`SyncFailed`).
    pub sync_failed: bool,
    pub always_allow_unhealthy: bool,
    /// Names of pods whose eviction was accepted and that are not gone yet.
    pub disrupted: BTreeSet<Id>,
    /// Why it can never allow a disruption while the workload has its present size; see `live::budget`.
    pub never: Option<String>,
}

impl Budget {
    /// True if the budget covers a pod of its namespace.
    pub fn selects(&self, pod: &Pod) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.selects(&pod.labels))
    }
}

/// A budget with its namespace and name.
pub type NamedBudget<'a> = (&'a (Id, Id), &'a Budget);

/// The budgets of a cluster by namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    namespaces: BTreeMap<Id, OfNamespace>,
    /// In how many namespaces a budget may keep a pod for good. Nearly everywhere there is none.
    blocking: usize,
}

/// The budgets of one namespace by name, and their names by what their selectors demand.
#[derive(Clone, Debug, Default)]
struct OfNamespace {
    all: BTreeMap<Id, ((Id, Id), Budget)>,
    /// By key and value of a label without which the budget selects no pod.
    of_label: BTreeMap<String, BTreeMap<String, BTreeSet<Id>>>,
    /// Budgets that demand no label of a known value.
    others: BTreeSet<Id>,
    /// True if a pod may have several of these budgets, or one that never lets it go. Nearly everywhere it is false.
    may_block: bool,
}

impl Budgets {
    /// Puts a budget in, in place of one of the same name.
    pub fn insert(&mut self, key: (Id, Id), budget: Budget) {
        let there = self.namespaces.entry(key.0.clone()).or_default();
        match there.all.get_mut(&key.1).filter(|(_, before)| before.selector == budget.selector) {
            Some((_, before)) => *before = budget,
            None => there.insert(key, budget),
        }
        self.blocking = self.blocking.saturating_sub(usize::from(there.may_block));
        there.may_block = there.may_block();
        self.blocking += usize::from(there.may_block);
    }

    /// Takes a budget out; `None` if there is none of this name.
    pub fn remove(&mut self, (namespace, name): &(Id, Id)) -> Option<Budget> {
        let there = self.namespaces.get_mut(namespace)?;
        let budget = there.remove(name);
        self.blocking = self.blocking.saturating_sub(usize::from(there.may_block));
        there.may_block = there.may_block();
        self.blocking += usize::from(there.may_block);
        if there.all.is_empty() {
            self.namespaces.remove(namespace);
        }
        budget
    }

    pub fn get(&self, (namespace, name): &(Id, Id)) -> Option<&Budget> {
        self.namespaces.get(namespace)?.all.get(name).map(|(_, budget)| budget)
    }

    /// The budget of this name, to be changed in place. Its selector, and whether it ever lets a pod go, do not change this
    /// way: [`Budgets::insert`] does that.
    pub fn get_mut(&mut self, (namespace, name): &(Id, Id)) -> Option<&mut Budget> {
        self.namespaces.get_mut(namespace)?.all.get_mut(name).map(|(_, budget)| budget)
    }

    /// All budgets, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = NamedBudget<'_>> {
        self.namespaces.values().flat_map(|there| there.all.values().map(|(key, budget)| (key, budget)))
    }

    pub fn keys(&self) -> impl Iterator<Item = &(Id, Id)> {
        self.iter().map(|(key, _)| key)
    }

    /// False if no pod of the namespace has several budgets, or one that never lets it go.
    pub fn may_block(&self, namespace: &Id) -> bool {
        self.blocking > 0 && self.namespaces.get(namespace).is_some_and(|there| there.may_block)
    }

    /// The budgets that cover a pod, by name.
    pub fn of(&self, pod: &Pod) -> Vec<NamedBudget<'_>> {
        let Some(there) = self.namespaces.get(&pod.namespace) else { return Vec::new() };
        let demanded = there.of_label.iter().filter_map(|(key, values)| values.get(&**pod.labels.get(key)?));
        let names = demanded.flatten().chain(&there.others);
        let found = names.filter_map(|name| there.all.get(name));
        let mut found: Vec<_> =
            found.filter(|(_, budget)| budget.selects(pod)).map(|(key, budget)| (key, budget)).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        found
    }
}

impl OfNamespace {
    /// A pod has one value of a label: where all selectors demand the same label and each another value, it has one budget.
    fn may_block(&self) -> bool {
        let one_label = self.others.is_empty() && self.of_label.len() <= 1;
        let mut names = self.of_label.values().flat_map(BTreeMap::values);
        let apart = one_label && names.all(|names| names.len() <= 1);
        !apart || self.all.values().any(|(_, budget)| budget.never.is_some())
    }

    fn insert(&mut self, key: (Id, Id), budget: Budget) {
        self.remove(&key.1);
        self.index(&key.1, budget.selector.as_ref(), true);
        self.all.insert(key.1.clone(), (key, budget));
    }

    fn remove(&mut self, name: &Id) -> Option<Budget> {
        let (_, budget) = self.all.remove(name)?;
        self.index(name, budget.selector.as_ref(), false);
        Some(budget)
    }

    /// Adds a budget to the index, or takes it out. A budget without a selector covers no pod and is in no index.
    fn index(&mut self, name: &Id, selector: Option<&Selector>, present: bool) {
        let Some(selector) = selector else { return };
        let Some((key, values)) = demanded(selector) else {
            return set(&mut self.others, name, present);
        };
        let of_key = self.of_label.entry(key.to_owned()).or_default();
        for value in values {
            set(of_key.entry(value.to_owned()).or_default(), name, present);
        }
        if !present {
            of_key.retain(|_, names| !names.is_empty());
            self.of_label.retain(|_, values| !values.is_empty());
        }
    }
}

fn set(names: &mut BTreeSet<Id>, name: &Id, present: bool) {
    if present {
        names.insert(name.clone());
    } else {
        names.remove(name);
    }
}

/// A label that every pod of the selector has: its key, and the values that it may have. `None` if the selector demands
/// no label of a known value.
fn demanded(selector: &Selector) -> Option<(&str, Vec<&str>)> {
    let pair = selector.match_labels.iter().next().map(|(key, value)| (key.as_str(), vec![value.as_str()]));
    pair.or_else(|| {
        let mut listed = selector.match_expressions.iter().filter(|of| of.operator == Operator::In);
        listed.next().map(|of| (of.key.as_str(), of.values.iter().map(String::as_str).collect()))
    })
}
