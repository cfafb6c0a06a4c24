//! How the objects of addons are before a run: evidence for its rollback point.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::addon::AddonMove;
use super::live::{Live, Probe};
use super::manifest::ObjectRef;
use super::plan::Plan;

/// The question how the objects are that the run changes of one addon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EvidenceQuestion {
    pub addon: String,
    pub objects: BTreeSet<ObjectRef>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    pub question: Arc<EvidenceQuestion>,
    pub objects: BTreeMap<ObjectRef, ObjectBefore>,
    pub read_at: Timestamp,
}

/// One object before a run.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectBefore {
    /// Without what only the API server writes.
    There(Value),
    Absent,
    /// A Secret is not read.
    Secret,
    /// Why it could not be read.
    Unread(String),
}

/// The questions about the addons that a plan moves: one for each addon, in the order of their names.
pub fn evidence_of(plan: &Plan) -> Vec<Arc<EvidenceQuestion>> {
    let mut objects: BTreeMap<&str, BTreeSet<ObjectRef>> = BTreeMap::new();
    for mv in plan.steps().filter_map(|step| step.work.addon()) {
        objects.entry(&mv.name).or_default().extend(touched(mv));
    }
    let question =
        |(addon, objects): (&str, _)| Arc::new(EvidenceQuestion { addon: addon.to_owned(), objects });
    objects.into_iter().map(question).collect()
}

/// All objects of which the addon consists after the move, and those that it loses.
fn touched(mv: &AddonMove) -> Vec<ObjectRef> {
    match (mv.image(), mv.objects()) {
        (Some(of), _) => vec![of.workload.object()],
        (None, Some(of)) => of.objects.iter().chain(&of.removed).cloned().collect(),
        (None, None) => Vec::new(),
    }
}

impl Live {
    /// The questions about a plan's addons that were not answered since this time.
    pub fn evidence_missing(&self, plan: &Plan, since: Timestamp) -> Vec<Probe> {
        let known = |question: &Arc<EvidenceQuestion>| {
            let found = self.evidence.get(&question.addon);
            found.is_some_and(|found| found.question == *question && found.read_at >= since)
        };
        let missing = evidence_of(plan).into_iter().filter(|question| !known(question));
        missing.map(Probe::Evidence).collect()
    }
}
