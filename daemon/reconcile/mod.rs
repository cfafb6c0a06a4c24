//! One pure pass through the stages, and the loop around it.
//! A pass starts every step that is ready and allowed, waits for none, and returns its silence too: every gate's
//! answer, and when to look again.

mod ask;
mod begin;
mod calendar;
mod choose;
mod claim;
mod drain;
mod idle;
mod job;
pub mod journal;
mod lock;
mod look;
mod orphans;
mod pass;
mod prove;
mod push;
mod run;
mod settle;
mod step;
mod tick;
pub mod wanted;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::execute::Effect;
use crate::model::CommitId;
use crate::model::decision::Answer;
use crate::model::desired::Desired;
use crate::model::entry::What;
use crate::model::live::{Live, Probe};
use crate::model::plan::Plan;
use crate::plan;
use crate::provider;
use crate::record::Record;

pub use ask::{Batch, Journal};
pub use lock::NAME as LEASE;
pub use run::{End, Links, Settings, Told, drive};
pub use tick::tick;

/// What git wants of one cluster, as far as it can be told.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The newest commit, whether it is good or not.
    pub newest: CommitId,
    /// The newest good one; the last accepted one while the newest is broken.
    pub desired: Option<Desired>,
    /// What is wrong with the newest commit; empty when it is good.
    pub problems: Vec<String>,
    /// The newest commit does not descend from the one in force.
    pub rewritten: bool,
}

/// What there would be to do, with the scripts it would run and the objections of a second opinion.
pub fn fresh_plan(desired: &Desired, live: &Live) -> Plan {
    let draft = plan::plan(desired, live, "");
    let scripts =
        provider::digest_text(&desired.cluster, draft.stages.iter().map(|stage| (stage.kind, &stage.to)));
    let mut fresh = plan::plan(desired, live, &scripts);
    let objections = plan::check(&fresh, desired, live);
    fresh.blockers.extend(objections);
    fresh
}

/// Who we are among those who may act.
#[derive(Clone, Debug)]
pub struct Me {
    pub cluster: String,
    /// New for each process.
    pub holder: String,
    /// A holder of which it is certain that it is gone: the process before us on the same host.
    pub predecessor: Option<String>,
    /// Another cluster of this process that has turned out to be the same one, behind another context.
    pub twin: Option<String>,
}

/// As which cluster each UID is served, over all loops of a process, and whether the record knew it by that name.
pub type Met = Arc<Mutex<BTreeMap<String, (String, bool)>>>;

/// Everything a pass looks at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub me: &'a Me,
    pub wanted: &'a Wanted,
    pub live: &'a Live,
    pub record: &'a Record,
    /// What there would be to do for the wanted commit, where no run is under way.
    pub fresh: Option<&'a Plan>,
    pub now: Timestamp,
}

/// What a pass answers.
#[derive(Debug, Default)]
#[must_use]
pub struct Tick {
    pub entries: Vec<What>,
    /// The plan that a `RunStarted` among the entries freezes.
    pub frozen: Option<Plan>,
    /// Each with the entry that releases it: it may be sent once that entry is on the remote.
    pub effects: Vec<(Effect, u64)>,
    pub probes: Vec<Probe>,
    /// Steps that were looked at on their way back; how long they have been counts against them.
    pub watched: BTreeSet<String>,
    /// Somebody else acts, so nothing was written down: what is known of the record may be out of date.
    pub stands_by: bool,
    pub status: Status,
    pub wake_at: Option<Timestamp>,
}

/// Where things stand, for `windlass why`, for the exit code and for nothing else.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Status {
    /// Every answer of every gate that was asked, the passing ones too.
    pub answers: Vec<Answer>,
    pub standing: Standing,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not everything has been seen yet.
    #[default]
    Looking,
    AsDesired,
    /// Something is in flight: a drain, a Job, a soak, a push.
    Moving,
    /// Nothing is in flight and a gate, a person or an external provider has to move first.
    Waiting,
    Halted,
    Refused,
}
