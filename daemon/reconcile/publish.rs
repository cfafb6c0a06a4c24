//! The `ConfigMap` `upgrade-status`, which shows people where the cluster stands.

use jiff::{SignedDuration, Timestamp};

use super::Input;
use crate::model::effect::Effect;
use crate::model::live::Probe;
use crate::model::time::later;
use crate::record;
use crate::work::{LOOK_AGAIN, Turn};

/// The `ConfigMap` is for people's eyes: a change shows within this, however many entries there are.
const PUBLISH_SPACING: SignedDuration = SignedDuration::from_secs(10);

/// Keeps the `ConfigMap` as the record has it. It is read once before it is ever written.
pub(super) fn publish(input: &Input<'_>) -> Turn {
    let (record, overlay) = (input.record, &input.live.overlay);
    let mut turn = Turn::default();
    if record.run.is_none() && record.ended.is_empty() {
        return turn;
    }
    let Some(published) = &input.live.published else {
        turn.probes.push((Probe::Published, LOOK_AGAIN));
        return turn;
    };
    // The text follows from the record alone: while no entry came, it is what was published.
    if published.of == Some(record.next_seq) {
        return turn;
    }
    let last = overlay.published.unwrap_or(Timestamp::UNIX_EPOCH);
    let due = later(last, PUBLISH_SPACING);
    // Of a run that goes on, not every entry is worth a write; but no process ends before the last of them shows.
    if record.run.is_some() && due > input.now {
        turn.wake_at = Some(due);
        turn.moves = input.live.stop.is_none();
        return turn;
    }
    let text = record::config_map_text(&record::status(&input.me.cluster, record));
    if text != published.text {
        turn.effects.push((Effect::Publish { text, of: record.next_seq }, 0));
    }
    turn
}
