//! Steps that are not started, in groups of those that the gates mostly answer alike, so that a pass leaves out whole
//! groups and does not walk over thousands of steps that wait.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::plan::{Scope, Stage, Step};
use crate::model::work::MoveKind;

/// What the steps of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alike {
    pub scope: Scope,
    /// Empty for a step without a node.
    pub zone: String,
    pub kind: MoveKind,
}

impl Alike {
    fn of(step: &Step) -> Self {
        let zone = step.node_move().map_or_else(String::new, |mv| mv.zone.clone());
        Self { scope: step.id.scope.clone(), zone, kind: step.move_kind() }
    }
}

/// The steps of one stage that are not started, by their positions in the stage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WaitingGroups {
    groups: Vec<(Alike, BTreeSet<usize>)>,
    /// The group of each step of the stage, started or not.
    group_of: Vec<usize>,
}

impl WaitingGroups {
    /// The groups of a stage of which no step has started.
    pub(super) fn of(stage: &Stage) -> Self {
        let mut numbers: BTreeMap<Alike, usize> = BTreeMap::new();
        let mut new = Self { groups: Vec::new(), group_of: Vec::with_capacity(stage.steps.len()) };
        for (position, step) in stage.steps.iter().enumerate() {
            let alike = Alike::of(step);
            let number = *numbers.entry(alike.clone()).or_insert(new.groups.len());
            match new.groups.get_mut(number) {
                Some((_, waiting)) => drop(waiting.insert(position)),
                None => new.groups.push((alike, BTreeSet::from([position]))),
            }
            new.group_of.push(number);
        }
        new
    }

    /// The steps of a scope that wait, in the order of the stage.
    pub(super) fn of_scope(&self, scope: &Scope) -> BTreeSet<usize> {
        let groups = self.groups.iter().filter(|(alike, _)| alike.scope == *scope);
        groups.flat_map(|(_, waiting)| waiting).copied().collect()
    }

    /// The first of them.
    pub(super) fn first_of(&self, scope: &Scope) -> Option<usize> {
        let groups = self.groups.iter().filter(|(alike, _)| alike.scope == *scope);
        groups.filter_map(|(_, waiting)| waiting.first()).min().copied()
    }

    /// Adds a step to its group, or takes it out.
    pub(super) fn set(&mut self, position: usize, waits: bool) {
        let group = self.group_of.get(position).and_then(|number| self.groups.get_mut(*number));
        if let Some((_, waiting)) = group {
            put(waiting, position, waits);
        }
    }
}

pub(super) fn put<T: Ord>(set: &mut BTreeSet<T>, item: T, present: bool) {
    if present {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}

/// A walk over the steps of one stage that are not started.
pub struct Waiting<'a> {
    steps: &'a [Step],
    groups: &'a [(Alike, BTreeSet<usize>)],
    /// The next step of each group that was not left out: its position, and the number of the group.
    ahead: BTreeSet<(usize, usize)>,
}

impl<'a> Waiting<'a> {
    pub(super) fn over(stage: &'a Stage, of: &'a WaitingGroups) -> Self {
        let first = of.groups.iter().enumerate().filter_map(|(number, (_, waiting))| {
            let position = waiting.first()?;
            Some((*position, number))
        });
        Self { steps: &stage.steps, groups: &of.groups, ahead: first.collect() }
    }

    /// The next step in the plan's order whose group is not to be left out. A group that was left out once is never
    /// asked about again.
    pub fn next(&mut self, leave_out: impl Fn(&'a Alike) -> bool) -> Option<&'a Step> {
        loop {
            let (position, number) = self.ahead.pop_first()?;
            let (alike, waiting) = self.groups.get(number)?;
            if leave_out(alike) {
                continue;
            }
            let after = waiting.range(position + 1..).next();
            self.ahead.extend(after.map(|after| (*after, number)));
            return self.steps.get(position);
        }
    }
}
