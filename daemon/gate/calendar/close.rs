//! What a close means for the work in progress: the state of the calendar, and what may go on after a close.

use jiff::{SignedDuration, Timestamp};

use crate::model::desired::{AtClose, Window};

/// The state of a calendar at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarState {
    Open {
        /// The end of all windows that overlap or adjoin, or the beginning of a freeze; `None` if no end is in sight.
        closes: Option<Timestamp>,
        /// The `atClose` that will hold then.
        at_close: AtClose,
    },
    Closed {
        /// The last close, by the end of a window or by a freeze; `None` if there is none in sight.
        since: Option<Timestamp>,
        /// The next opening, windows and freezes taken together; `None` if there is none in sight.
        next: Option<Timestamp>,
        /// The `atClose` that held at the last close.
        at_close: AtClose,
        /// From when on a node whose upgrade has not begun is returned.
        hard_limit_at: Option<Timestamp>,
    },
}

/// What may go on now. Each variant allows less than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AtNow {
    /// Further nodes may be taken out.
    TakeOut,
    /// Only nodes of a batch already begun may still be taken out.
    FinishBatchOnly,
    /// Nodes in progress are finished; no other node is taken out.
    FinishOnly,
    /// A node in progress whose upgrade has not begun is returned; the others are finished.
    ReturnUntouched,
}

/// What may go on in a run whose first intent was written at `began`; `None` for a run without an intent.
///
/// A window with `atClose: runOn` closes on Saturday at 04:00. A run with an intent of 03:00 goes on taking nodes
/// out. A run without an intent before 04:00 waits for the next opening: if it ran on too, `runOn` would let runs
/// begin days after the close.
pub fn after_close(state: &CalendarState, began: Option<Timestamp>, now: Timestamp) -> AtNow {
    match *state {
        CalendarState::Open { .. } => AtNow::TakeOut,
        CalendarState::Closed { hard_limit_at: Some(limit), .. } if limit <= now => AtNow::ReturnUntouched,
        CalendarState::Closed { since, at_close, .. } => {
            let under_way = began.zip(since).is_some_and(|(began, since)| began < since);
            match at_close {
                AtClose::RunOn if under_way => AtNow::TakeOut,
                AtClose::FinishBatch if under_way => AtNow::FinishBatchOnly,
                AtClose::RunOn | AtClose::FinishBatch | AtClose::FinishNode => AtNow::FinishOnly,
            }
        }
    }
}

/// The rules of windows that are open up to a close, each with its own close: those of the window that closes last,
/// and the strictest of each rule if several close then.
pub(super) fn terms(open: &[(Timestamp, &Window)]) -> (AtClose, Option<SignedDuration>) {
    let latest = open.iter().map(|(closes, _)| *closes).max();
    let last = || open.iter().filter(|(closes, _)| Some(*closes) == latest).map(|(_, window)| *window);
    let at_close = last().map(|window| window.at_close).min_by_key(|at_close| leniency(*at_close));
    let hard_limit = last().filter_map(|window| window.hard_limit).min();
    (at_close.unwrap_or(AtClose::FinishNode), hard_limit)
}

fn leniency(at_close: AtClose) -> u8 {
    match at_close {
        AtClose::FinishNode => 0,
        AtClose::FinishBatch => 1,
        AtClose::RunOn => 2,
    }
}
