//! The `ConfigMap` `upgrade-status`, which shows people where the cluster stands.

use jiff::{SignedDuration, Timestamp};

use super::Input;
use crate::model::effect::Effect;
use crate::model::live::Probe;
use crate::model::time::later;
use crate::work::{LOOK_AGAIN, Turn};

/// The time between two writes during a run. People read the `ConfigMap`, so not every entry has to show at once.
const PUBLISH_SPACING: SignedDuration = SignedDuration::from_secs(10);

/// Writes the `ConfigMap` if the record's text differs from it. The `ConfigMap` is read before the first write.
pub(super) fn publish(input: &Input<'_>) -> Turn {
    let (record, overlay) = (input.record, &input.live.overlay);
    let mut turn = Turn::default();
    if record.run.is_none() && record.ended.is_empty() {
        return turn;
    }
    let stopped = input.live.stop.is_some();
    // Of a stop one write tells, once the stop is recorded.
    if stopped && record.stopped.is_none() {
        return turn;
    }
    let Some(published) = &input.live.published else {
        turn.probes.push((Probe::Published, LOOK_AGAIN));
        return turn;
    };
    // The text depends on the record alone. Without a new entry, what was published is up to date.
    if published.of == Some(record.next_seq) {
        return turn;
    }
    if stopped && record.stop_is_told(&published.text) {
        return turn;
    }
    let last = overlay.published.unwrap_or(Timestamp::UNIX_EPOCH);
    let due = later(last, PUBLISH_SPACING);
    // During a run, entries wait for the next write. A process with `--until-idle` does not end before the last of
    // them shows.
    if record.run.is_some() && due > input.now && !stopped {
        turn.wake_at = Some(due);
        turn.moves = true;
        return turn;
    }
    let text = record.shown_text(&input.me.cluster);
    if text != published.text {
        turn.effects.push((Effect::Publish { text: text.to_owned(), of: record.next_seq }, 0));
    }
    turn
}
