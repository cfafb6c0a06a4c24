//! The record's own nouns in words: reasons, outcomes, phases, stages. Words for no type of ours are in
//! `model::text`; the record's files use both through this module.

use std::fmt::Write as _;

use crate::model::decision::Reason;
use crate::model::entry::{RunOutcome, StepPhase};
use crate::model::plan::StageKind;
pub use crate::model::text::{
    about, count, first_line, flat, given, length, list, minute, one_line, plural, said, second, shorten,
};
use crate::model::version::Version;

/// A reason as one sentence. The object is added unless the sentence names it.
pub fn reason(reason: &Reason) -> String {
    about(&reason.text, &reason.object)
}

/// A reason behind words that say already that something failed. The words of an upgrade Job begin with `failed: `
/// themselves.
pub fn cause(reason: &Reason) -> String {
    about(reason.text.strip_prefix("failed: ").unwrap_or(&reason.text), &reason.object)
}

/// Several reasons in one sentence.
pub fn reasons(reasons: &[Reason]) -> String {
    joined(reasons, reason)
}

/// Several causes in one sentence; see [`cause`].
pub fn causes(reasons: &[Reason]) -> String {
    joined(reasons, cause)
}

fn joined(reasons: &[Reason], words: fn(&Reason) -> String) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    for (index, each) in reasons.iter().take(SHOWN).enumerate() {
        let _ = write!(text, "{}{}", if index == 0 { "" } else { "; " }, words(each));
    }
    match reasons.len().saturating_sub(SHOWN) {
        0 if text.is_empty() => "no reason is recorded".to_owned(),
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}

pub fn outcome(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Converged => "converged",
        RunOutcome::Superseded => "superseded",
        RunOutcome::Cancelled => "cancelled",
    }
}

/// Between which versions a run moves the cluster: `v1.35.4 to v1.36.3`. A run that moves only addons goes from a version to the
/// same.
pub fn way(from: &Version, to: &Version) -> String {
    if from == to { format!("addons at {to}") } else { format!("{from} to {to}") }
}

/// The phase as files and trailers write it.
pub fn phase(phase: StepPhase) -> &'static str {
    match phase {
        StepPhase::Started => "started",
        StepPhase::Claimed => "claimed",
        StepPhase::Drained => "drained",
        StepPhase::Upgrading => "upgrading",
        StepPhase::Upgraded => "upgraded",
        StepPhase::Returned => "returned",
    }
}

pub fn stage(kind: StageKind) -> &'static str {
    match kind {
        StageKind::AwaitControlPlane => "hosted control plane",
        StageKind::ControlPlane => "control plane components",
        StageKind::ControlPlaneKubelets => "control plane kubelets",
        StageKind::Checks => "checks",
        StageKind::Workers => "workers",
        StageKind::AddonsBeforeControlPlane => "addons before the control plane",
        StageKind::AddonsAfterControlPlane => "addons after the control plane",
        StageKind::AddonsAfterNodes => "addons after the nodes",
    }
}
