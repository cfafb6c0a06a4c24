//! One pure pass: settles what changed, takes steps in progress further, chooses steps that begin, and merges all of
//! it. A pass begins every step that is ready and allowed and waits for none. It also returns every gate's answer,
//! and when to look again.

mod ahead;
mod begin;
mod check;
mod choose;
mod drift;
mod explain;
mod intents;
mod lease;
mod merge;
mod next;
mod outlook;
mod passed;
mod publish;
mod settle;
mod taint;
mod tick;
mod waits;
mod withhold;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::gate::{Census, Others};
use crate::model::decision::Reason;
use crate::model::effect::Effect;
use crate::model::entry::What;
use crate::model::live::{Live, Looked, Probe};
use crate::model::plan::Plan;
use crate::model::state::{ClusterState, DesiredState, Identity};
use crate::model::work::StepId;
use crate::record::Record;
use crate::work::State;

pub use crate::model::names::LEASE;
pub use check::check;
pub use lease::{deadline, release, tenure};
pub use outlook::{MOST_ROUNDS, outlook};
pub use tick::{addon_steps, tick};
pub use withhold::checked_tick;

/// Everything that a pass reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub me: &'a Identity,
    pub state: &'a DesiredState,
    pub live: &'a Live,
    pub record: &'a Record,
    /// The plan for the desired state; `None` while a run is in progress.
    pub fresh: Option<&'a Plan>,
    /// The nodes of each pool and which of them are out. The caller makes it anew when nodes or pools change.
    pub census: &'a Census,
    pub others: &'a Others,
    /// Why the record cannot be written now.
    pub trouble: Option<&'a Reason>,
    /// The clock of lengths of time; it never goes back.
    pub now: Timestamp,
    /// The time of day, for maintenance windows and freezes.
    pub wall: Timestamp,
}

/// The result of a pass.
#[derive(Debug, Default)]
#[must_use]
pub struct Tick {
    pub entries: Vec<What>,
    /// The plan that is frozen if a run starts among the entries.
    pub frozen: Option<Plan>,
    /// Each with the number of the entry that releases it: it may be sent once that entry is on the remote.
    pub effects: Vec<(Effect, u64)>,
    pub probes: Vec<Probe>,
    /// Where each step in progress stands.
    pub states: BTreeMap<StepId, State>,
    /// Steps that return their nodes and were looked at; that time counts against their patience.
    pub watched: BTreeSet<StepId>,
    /// What waiting nodes were looked through for.
    pub looked: BTreeSet<Looked>,
    /// True if another process acts: nothing was written, and the record may be out of date.
    pub stands_by: bool,
    pub status: ClusterState,
    pub wake_at: Option<Timestamp>,
}
