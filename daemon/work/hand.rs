//! One step in progress, with everything that is read to take it further.

use jiff::Timestamp;

use crate::model::live::Live;
use crate::model::plan::{PoolLimits, Stage};
use crate::model::state::Tenure;
use crate::model::work::Step;
use crate::record::{Record, Run, StepRecord};
use crate::verify::ledger::Ledger;

/// One step in progress, with everything that is read to take it further.
#[derive(Clone, Copy, Debug)]
pub struct Hand<'a> {
    pub live: &'a Live,
    pub record: &'a Record,
    pub run: &'a Run,
    pub stage: &'a Stage,
    pub step: &'a Step,
    pub progress: &'a StepRecord,
    pub tenure: &'a Tenure,
    /// What may still be evicted in this pass, after the evictions of other steps.
    pub ledger: &'a Ledger<'a>,
    pub now: Timestamp,
    /// From when on times that are noted on the cluster and in the record are by this clock.
    pub comparable_from: Timestamp,
}

impl Hand<'_> {
    /// `node/w1`.
    pub(super) fn object(&self) -> String {
        self.step.id.object()
    }

    /// A time that is noted on the node or in the record, as far as it compares with `now`.
    ///
    /// A daemon restarts on a machine whose clock is an hour ahead. All that its predecessor noted looks an hour old, and
    /// every deadline of a step in progress would have passed at once.
    pub(super) fn since(&self, noted: Timestamp) -> Timestamp {
        noted.max(self.comparable_from)
    }

    pub(super) fn limits(&self) -> Option<&PoolLimits> {
        self.run.plan.limits(&self.step.id.scope)
    }
}
