//! Upgrade Jobs of runs before: they are deleted.

use super::turn::Turn;
use crate::model::effect::Effect;
use crate::model::live::{ClaimState, Job, JobState, Live};
use crate::model::state::Tenure;
use crate::record::Record;

/// How many Jobs of runs before are deleted in one pass.
const SWEPT_AT_ONCE: usize = 5;

/// Deletes the Jobs of runs before, once a run has begun: until then people may want to read them. A Job stays while its
/// node has a claim of its run, because it says whether that node was changed, and while it may be at work.
///
/// The API server deletes a finished Job after a week by itself. A Job that never began is not finished.
pub fn sweep(live: &Live, record: &Record, tenure: &Tenure) -> Turn {
    let mut turn = Turn::default();
    let (Some(run), Some(_)) = (&record.run, tenure.held) else { return turn };
    let over = |job: &Job| match live.job_state(job) {
        JobState::Suspended | JobState::Complete | JobState::Failed(_) => true,
        JobState::Waiting(_) | JobState::Running => false,
    };
    let claimed = |job: &Job| match live.nodes.get(job.node.as_str()).map(|node| &node.claim) {
        Some(Some(ClaimState::Ours(claim))) => claim.run == job.run,
        Some(Some(ClaimState::Unreadable(_))) => true,
        Some(None) | None => false,
    };
    let old = live.jobs.of_other_runs(&run.id).filter(|(_, job)| over(job) && !claimed(job));
    for (name, job) in old.take(SWEPT_AT_ONCE) {
        turn.effects.push((Effect::deletion(name, job), record.next_seq.saturating_sub(1)));
    }
    turn
}
