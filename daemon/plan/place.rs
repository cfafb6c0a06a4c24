//! Chooses where in a plan the steps of one addon belong: as late as its versions allow. It knows openings and costs, and not
//! what either is about.

use std::collections::BTreeSet;
use std::ops::Add;

use crate::model::addon::AddonWhen;
use crate::model::version::Version;

/// The minors of Kubernetes 1 that are present at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MinorsPresent {
    pub(super) servers: BTreeSet<u16>,
    pub(super) kubelets: BTreeSet<u16>,
}

/// A point of a plan at which addons may move.
#[derive(Clone, Debug)]
pub(super) struct AddonOpening {
    pub(super) when: AddonWhen,
    /// True if it comes before everything else of the plan. Then it is also after the control plane and the nodes of the version
    /// that runs, so that all addons may move there.
    pub(super) first: bool,
    pub(super) hop: usize,
    /// Where its hop goes.
    pub(super) to: Version,
    /// What the API servers run meanwhile.
    pub(super) at: Version,
    /// How many stages come before it.
    pub(super) stages: usize,
    pub(super) present: MinorsPresent,
}

/// What is present in the course of a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    pub(super) start: MinorsPresent,
    /// In their order.
    pub(super) openings: Vec<AddonOpening>,
}

impl Timeline {
    /// The openings at which an addon may move.
    pub(super) fn open_to(&self, when: AddonWhen) -> impl Iterator<Item = usize> {
        let openings = self.openings.iter().enumerate();
        openings.filter(move |(_, opening)| opening.first || opening.when == when).map(|(index, _)| index)
    }

    /// Everything that is present from one opening to another, both included; `None` is the start or the end of the plan.
    pub(super) fn present(&self, from: Option<usize>, to: Option<usize>) -> MinorsPresent {
        let first = from.unwrap_or(0);
        let count = to.map_or(usize::MAX, |to| (to + 1).saturating_sub(first));
        let openings = self.openings.iter().skip(first).take(count).map(|opening| &opening.present);
        let mut all = if from.is_none() { self.start.clone() } else { MinorsPresent::default() };
        for present in openings {
            all.servers.extend(&present.servers);
            all.kubelets.extend(&present.kubelets);
        }
        all
    }

    /// True if the control plane goes to another minor.
    pub(super) fn moves(&self) -> bool {
        self.present(None, None).servers.len() > 1
    }
}

/// What speaks against a place, the weightiest first.
///
/// Kubelets are not counted. They are never newer than the API servers, so a version that is too old for one is too old for these;
/// for a version that is too new a later place is better, and of places that are alike the latest is taken anyway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// API servers with which the file says that a version does not work.
    pub(super) forbidden: usize,
    /// API servers with which its project does not say that it works.
    pub(super) doubtful: usize,
    /// By how many openings the moves come before the last one.
    pub(super) early: usize,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            forbidden: self.forbidden + other.forbidden,
            doubtful: self.doubtful + other.doubtful,
            early: self.early + other.early,
        }
    }
}

/// The opening of each of so many moves, in their order: those that cost least. `None` if there is no opening at all.
///
/// `may` are the openings that are allowed. `cost` is what it costs that a version, counted from the one that runs, is there from
/// one opening to another.
pub(super) fn cheapest(
    may: &[usize],
    moves: usize,
    cost: impl Fn(usize, Option<usize>, Option<usize>) -> Cost,
) -> Option<Vec<usize>> {
    let last = *may.last()?;
    let early = |opening: usize| Cost { early: last - opening, ..Cost::default() };
    let first = |opening: usize| (cost(0, None, Some(opening)) + early(opening), vec![opening]);
    // For each opening the best way to have made all moves so far, the last one there.
    let mut best: Vec<(Cost, Vec<usize>)> = may.iter().map(|opening| first(*opening)).collect();
    for version in 1..moves {
        let step = |(at, opening): (usize, &usize)| {
            let ways = best.iter().zip(may).take(at + 1).map(|((so_far, places), from)| {
                let whole = *so_far + cost(version, Some(*from), Some(*opening)) + early(*opening);
                (whole, places.iter().copied().chain([*opening]).collect::<Vec<_>>())
            });
            ways.min()
        };
        best = may.iter().enumerate().filter_map(step).collect();
    }
    let ends = best
        .into_iter()
        .zip(may)
        .map(|((so_far, places), from)| (so_far + cost(moves, Some(*from), None), places));
    ends.min().map(|(_, places)| places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(when: AddonWhen, first: bool, server: u16, kubelet: u16) -> AddonOpening {
        let at = Version::new(1, server, 0);
        let present =
            MinorsPresent { servers: BTreeSet::from([server]), kubelets: BTreeSet::from([server, kubelet]) };
        AddonOpening { when, first, hop: 0, to: at.clone(), at, stages: 0, present }
    }

    /// From 1.34 to 1.36, with workers that follow at the end.
    fn two_hops() -> Timeline {
        let openings = vec![
            opening(AddonWhen::BeforeControlPlane, true, 34, 34),
            opening(AddonWhen::AfterControlPlane, false, 35, 34),
            opening(AddonWhen::AfterNodes, false, 35, 34),
            opening(AddonWhen::BeforeControlPlane, false, 35, 34),
            opening(AddonWhen::AfterControlPlane, false, 36, 34),
            opening(AddonWhen::AfterNodes, false, 36, 36),
        ];
        let start = MinorsPresent { servers: BTreeSet::from([34]), kubelets: BTreeSet::from([34]) };
        Timeline { start, openings }
    }

    /// Versions that work with the minors from one to another.
    fn cost_of(
        timeline: &Timeline,
        versions: &[(u16, u16)],
        at: (usize, Option<usize>, Option<usize>),
    ) -> Cost {
        let (version, from, to) = at;
        let (low, high) = versions[version];
        let present = timeline.present(from, to);
        let outside =
            |minors: &BTreeSet<u16>| minors.iter().filter(|minor| !(low..=high).contains(minor)).count();
        Cost { doubtful: outside(&present.servers), ..Cost::default() }
    }

    fn chosen(when: AddonWhen, versions: &[(u16, u16)]) -> Vec<usize> {
        let timeline = two_hops();
        let may: Vec<usize> = timeline.open_to(when).collect();
        let cost = |version, from, to| cost_of(&timeline, versions, (version, from, to));
        cheapest(&may, versions.len() - 1, cost).unwrap()
    }

    #[test]
    fn a_step_comes_as_late_as_its_versions_allow() {
        use AddonWhen::{AfterControlPlane as After, AfterNodes, BeforeControlPlane as Before};
        for (when, versions, places) in [
            // Nothing asks for an earlier hop.
            (After, vec![(30, 40), (30, 40)], vec![4]),
            (Before, vec![(30, 40), (30, 40)], vec![3]),
            (AfterNodes, vec![(30, 40), (30, 40)], vec![5]),
            // The version that runs ends at 1.35.
            (After, vec![(30, 35), (34, 36)], vec![1]),
            (AfterNodes, vec![(30, 35), (34, 36)], vec![2]),
            (Before, vec![(30, 35), (34, 36)], vec![3]),
            // It ends at 1.34, and the new one works with 1.34 too: before everything else.
            (After, vec![(30, 34), (34, 36)], vec![0]),
            (Before, vec![(30, 34), (34, 36)], vec![0]),
            // Both moves wait for the last hop where they can.
            (After, vec![(30, 40), (30, 40), (30, 40)], vec![4, 4]),
            // Each has its hop.
            (After, vec![(30, 35), (34, 35), (35, 36)], vec![1, 1]),
            (Before, vec![(30, 34), (34, 35), (34, 36)], vec![0, 3]),
            // No version works with both ends of a hop.
            (After, vec![(34, 34), (35, 35), (36, 36)], vec![1, 4]),
        ] {
            assert_eq!(chosen(when, &versions), places, "{when:?} {versions:?}");
        }
    }

    /// Every sequence of openings that never goes back.
    fn all_ways(may: &[usize], moves: usize) -> Vec<Vec<usize>> {
        let mut ways: Vec<Vec<usize>> = vec![Vec::new()];
        for _ in 0..moves {
            ways = ways
                .into_iter()
                .flat_map(|way| {
                    let from = way.last().copied().unwrap_or(0);
                    let next = may.iter().filter(move |opening| **opening >= from);
                    next.map(|opening| way.iter().copied().chain([*opening]).collect()).collect::<Vec<_>>()
                })
                .collect();
        }
        ways
    }

    #[test]
    fn no_other_way_costs_less() {
        let timeline = two_hops();
        let ranges: Vec<(u16, u16)> =
            (33..=36).flat_map(|low| (low..=37).map(move |high| (low, high))).collect();
        for when in [AddonWhen::BeforeControlPlane, AddonWhen::AfterControlPlane, AddonWhen::AfterNodes] {
            let may: Vec<usize> = timeline.open_to(when).collect();
            for first in &ranges {
                for second in &ranges {
                    for third in &ranges {
                        let versions = [*first, *second, *third];
                        let total = |way: &[usize]| {
                            let ends: Vec<Option<usize>> = [None]
                                .into_iter()
                                .chain(way.iter().map(|place| Some(*place)))
                                .chain([None])
                                .collect();
                            let last = *may.last().unwrap();
                            let stays = ends.windows(2).enumerate();
                            let costs = stays.map(|(version, ends)| {
                                cost_of(&timeline, &versions, (version, ends[0], ends[1]))
                            });
                            let early = way.iter().map(|place| last - place).sum();
                            costs.fold(Cost { early, ..Cost::default() }, Cost::add)
                        };
                        let found = chosen(when, &versions);
                        let least = all_ways(&may, 2).iter().map(|way| total(way)).min().unwrap();
                        assert!(found.is_sorted(), "{when:?} {versions:?}: {found:?}");
                        assert_eq!(total(&found), least, "{when:?} {versions:?}: {found:?}");
                    }
                }
            }
        }
    }
}
