//! One pure pass through the stages: settle what changed, take further what is in progress, choose what starts, merge.
//! A pass starts every step that is ready and allowed, waits for none, and returns its silence too: every gate's
//! answer, and when to look again.

mod begin;
mod check;
mod choose;
mod explain;
mod intents;
mod lease;
mod merge;
mod outlook;
mod publish;
mod settle;
mod tick;
mod waits;
mod withhold;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::gate::{Census, Others};
use crate::model::decision::Reason;
use crate::model::effect::Effect;
use crate::model::entry::What;
use crate::model::live::{Live, Probe};
use crate::model::plan::Plan;
use crate::model::state::{ClusterState, DesiredState, Identity};
use crate::model::work::StepId;
use crate::record::Record;

pub use check::check;
pub use lease::{NAME as LEASE, deadline, release, tenure};
pub use outlook::{MOST_ROUNDS, outlook};
pub use tick::tick;
pub use withhold::checked_tick;

/// Everything a pass looks at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub me: &'a Identity,
    pub state: &'a DesiredState,
    pub live: &'a Live,
    pub record: &'a Record,
    /// What there would be to do for the desired state, where no run is in progress.
    pub fresh: Option<&'a Plan>,
    /// Which nodes each pool has and which of them are out; made anew when nodes or pools change.
    pub census: &'a Census,
    pub others: &'a Others,
    /// Why the record cannot be written at present.
    pub trouble: Option<&'a Reason>,
    pub now: Timestamp,
}

/// What a pass answers.
#[derive(Debug, Default)]
#[must_use]
pub struct Tick {
    pub entries: Vec<What>,
    /// The plan that a run which starts among the entries freezes.
    pub frozen: Option<Plan>,
    /// Each with the entry that releases it: it may be sent once that entry is on the remote.
    pub effects: Vec<(Effect, u64)>,
    pub probes: Vec<Probe>,
    /// Steps that were looked at on their way back; how long they have been counts against them.
    pub watched: BTreeSet<StepId>,
    /// Another process acts, so nothing was written down: what is known of the record may be out of date.
    pub stands_by: bool,
    pub status: ClusterState,
    pub wake_at: Option<Timestamp>,
}
