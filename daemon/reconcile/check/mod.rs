//! The independent check of a pass: whether the entries and effects of a tick keep the rules that must always hold.
//! It shares no code with the pass and counts and compares for itself. If it finds anything, nothing of the tick may
//! be carried out. It visits entries, effects and steps in progress; only a pass that begins work needs a walk over
//! all nodes.

mod addons;
mod effects;
mod entries;
mod evictions;
mod limits;
mod nodes;
mod rollouts;
mod versions;

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{Input, Tick};
use crate::model::claim::Claim;
use crate::model::decision::{Key, Reason};
use crate::model::desired::Desired;
use crate::model::live::{ClaimState, Live, Node};
use crate::model::time::later;
use crate::model::work::{Step, StepId};
use crate::record::{Record, Run, StepRecord};

/// One finding is enough to stop; a person reads no more than this.
const MOST_FINDINGS: usize = 100;
/// A lease that was renewed longer ago may soon be another process's, so no effect is sent under it.
const RENEWED_WITHIN: SignedDuration = SignedDuration::from_secs(20);

/// The findings about a tick that was made from this input; empty if it may be carried out.
pub fn check(input: &Input<'_>, tick: &Tick) -> Vec<Reason> {
    let mut check = Check { input, tick, findings: BTreeSet::new() };
    check.entries();
    check.effects();
    check.findings.into_iter().take(MOST_FINDINGS).collect()
}

struct Check<'a> {
    input: &'a Input<'a>,
    tick: &'a Tick,
    findings: BTreeSet<Reason>,
}

/// A step in progress: where the frozen plan has it, and how far it has come.
#[derive(Clone, Copy)]
struct InProgress<'a> {
    step: &'a Step,
    progress: &'a StepRecord,
}

impl<'a> Check<'a> {
    fn note(&mut self, object: impl Into<String>, text: impl Into<String>) {
        self.findings.insert(Reason::new(Key::PassBroken, object, text));
    }

    fn require(&mut self, holds: bool, object: &str, text: &str) {
        if !holds {
            self.note(object, text);
        }
    }

    fn live(&self) -> &'a Live {
        self.input.live
    }

    fn record(&self) -> &'a Record {
        self.input.record
    }

    fn run(&self) -> Option<&'a Run> {
        self.input.record.run.as_ref()
    }

    fn desired(&self) -> Option<&'a Desired> {
        self.input.state.desired.as_deref()
    }

    fn cluster(&self) -> String {
        format!("cluster/{}", self.input.me.cluster)
    }

    /// Our epoch; `None` if we do not hold the lease, or not for long any more.
    fn epoch(&self) -> Option<u64> {
        let lock = self.live().lock.as_ref().filter(|lock| lock.holder == self.input.me.holder)?;
        (later(lock.seen, RENEWED_WITHIN) > self.input.now).then_some(lock.transitions)
    }

    /// A step of the run that has begun and not ended.
    fn in_progress(&self, id: &StepId) -> Option<InProgress<'a>> {
        let run = self.run()?;
        let (_, step) = run.find(id)?;
        let progress = run.steps.get(id).filter(|progress| progress.end.is_none())?;
        Some(InProgress { step, progress })
    }

    /// The same by the text of its id, which is all that claims and Jobs have of it.
    fn in_progress_as(&self, text: &str) -> Option<InProgress<'a>> {
        let mut in_progress = self.run()?.in_progress();
        let (id, _) = in_progress.find(|(id, _)| id.to_string() == text)?;
        self.in_progress(id)
    }
}

/// The claim on a node; `None` if there is none or it cannot be read.
fn claim_on(node: &Node) -> Option<&Claim> {
    match &node.claim {
        Some(ClaimState::Ours(claim)) => Some(claim),
        Some(ClaimState::Unreadable(_)) | None => None,
    }
}

/// The claim of this step on its node.
fn claim_of<'a>(node: &'a Node, run: &Run, step: &StepId) -> Option<&'a Claim> {
    claim_on(node).filter(|claim| claim.run == run.id && step.is_shown_as(&claim.step))
}
