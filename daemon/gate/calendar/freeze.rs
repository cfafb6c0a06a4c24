//! Freezes: absolute stretches of local time in which no node is taken out. They are subtracted from the union of the
//! windows, and close nothing that a window did not open.

use jiff::Timestamp;

use super::stretch::Stretch;
use super::window::local;
use crate::model::decision::{Key, Reason};
use crate::model::desired::Freeze;
use crate::model::work::MoveKind;

/// When a freeze is in force. An end that no timestamp can represent becomes the end of time, so the freeze stays in
/// force.
pub fn in_force(freeze: &Freeze) -> Stretch {
    let from = freeze.time_zone.to_timestamp(freeze.from).unwrap_or(Timestamp::MIN);
    let until = freeze.time_zone.to_timestamp(freeze.until).unwrap_or(Timestamp::MAX);
    Stretch { from, until }
}

/// True if the freeze holds up a move of this kind.
pub(super) fn applies(freeze: &Freeze, kind: MoveKind) -> bool {
    match kind {
        MoveKind::Patch => !freeze.except_patch,
        MoveKind::Minor => true,
    }
}

/// What is left of ordered, separate stretches without the frozen ones; the frozen ones may come in any order.
pub fn subtract(open: &[Stretch], frozen: &[Stretch]) -> Vec<Stretch> {
    let mut frozen: Vec<Stretch> = frozen.iter().copied().filter(|cut| cut.from < cut.until).collect();
    frozen.sort();
    let mut left = Vec::new();
    for stretch in open {
        let mut from = stretch.from;
        for cut in frozen.iter().filter(|cut| cut.overlaps(*stretch)) {
            if from < cut.from {
                left.push(Stretch { from, until: cut.from });
            }
            from = from.max(cut.until);
        }
        if from < stretch.until {
            left.push(Stretch { from, until: stretch.until });
        }
    }
    left
}

pub(super) fn frozen_reason(freeze: &Freeze) -> Reason {
    let until = local(in_force(freeze).until, &freeze.time_zone);
    let text = format!("frozen until {until}: {}", freeze.reason);
    Reason::new(Key::Frozen, format!("freeze/{}", freeze.name), text)
}
