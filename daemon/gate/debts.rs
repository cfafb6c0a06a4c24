//! What the owners of evicted pods still miss because of nodes that are back in service, pool by pool.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::live::{Id, Live};
use crate::model::work::Scope;
use crate::record::{Run, StepRecord};
use crate::verify::owners::{self, Debt, Moved};

/// The debts of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PoolDebts {
    /// What is owed, by the UID of the owner. An owner that several nodes had pods of is in here once.
    pub(super) owners: BTreeMap<Id, Debt>,
    /// Owners whose time to recover is over.
    pub(super) late: BTreeMap<Id, Debt>,
}

/// The debts of all pools, by name.
pub(super) fn by_pool(live: &Live, run: &Run) -> BTreeMap<String, PoolDebts> {
    let mut pools: BTreeMap<String, PoolDebts> = BTreeMap::new();
    for (id, step, late) in run.returned() {
        let Scope::Pool(pool) = &id.scope else { continue };
        for debt in debts_of(live, step) {
            let of_pool = pools.entry(pool.clone()).or_default();
            if late {
                of_pool.late.insert(debt.owner.clone(), debt.clone());
            }
            let known = of_pool.owners.get(&debt.owner).map_or(0, |known| known.missing);
            if debt.missing > known {
                of_pool.owners.insert(debt.owner.clone(), debt);
            }
        }
    }
    pools
}

/// The owners that miss pods because of nodes that are back in service, by UID.
pub fn owners_in_debt(live: &Live, run: &Run) -> BTreeSet<Id> {
    run.returned().flat_map(|(_, step, _)| debts_of(live, step)).map(|debt| debt.owner).collect()
}

fn debts_of(live: &Live, step: &StepRecord) -> Vec<Debt> {
    step.moved()
        .map_or_else(Vec::new, |(from, until)| owners::debts(live, &step.baseline, Moved { from, until }))
}
