//! What the daemon's next passes would answer, without carrying anything out: for `windlass why` and for tests.

use super::{Input, tick};
use crate::model::entry::Entry;
use crate::model::state::ClusterState;

/// The most passes until nothing more is written. A pass that always has something to write is a bug and must not
/// loop.
pub const MOST_ROUNDS: usize = 16;

/// Where the cluster would stand after the passes that follow at once.
pub fn outlook(input: Input<'_>) -> ClusterState {
    let mut scratch = input.record.clone();
    let mut frozen = None;
    let mut state = ClusterState::default();
    for _ in 0..MOST_ROUNDS {
        let fresh = input.fresh.filter(|_| scratch.run.is_none());
        let tick = tick(Input { record: &scratch, fresh, ..input });
        state = tick.status;
        if tick.entries.is_empty() {
            break;
        }
        frozen = tick.frozen.or(frozen);
        for what in tick.entries {
            let run = scratch.run.as_ref().map(|run| run.id.clone());
            let entry = Entry { seq: scratch.next_seq, at: input.now, run, epoch: 0, what };
            scratch.apply(&entry, frozen.as_ref());
        }
    }
    state
}
