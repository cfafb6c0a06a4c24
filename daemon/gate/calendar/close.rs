//! What a close means for the work in hand: the standing of a calendar, and what may still go on.

use jiff::{SignedDuration, Timestamp};

use crate::model::desired::{AtClose, Window};

/// Where a calendar stands at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarState {
    Open {
        /// The end of everything that overlaps or adjoins, or the beginning of a freeze; nothing where no end is in sight.
        closes: Option<Timestamp>,
        /// What will hold at that close.
        at_close: AtClose,
    },
    Closed {
        /// The last close, by a window's end or a freeze; nothing if there was none in sight.
        since: Option<Timestamp>,
        /// When it opens, windows and freezes taken together; nothing if not within sight.
        next: Option<Timestamp>,
        /// What held at the last close.
        at_close: AtClose,
        /// From when on a node whose upgrade has not begun is returned.
        hard_limit_at: Option<Timestamp>,
    },
}

/// What may go on now; each allows less than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AtNow {
    /// Further nodes may be taken out.
    TakeOut,
    /// Only nodes of a batch already begun may still be taken out.
    FinishBatchOnly,
    /// Nodes in hand are finished, no other is taken out.
    FinishOnly,
    /// A node in hand whose upgrade has not begun is returned; the others are finished.
    ReturnUntouched,
}

/// What may go on in a run that took its first node out at `began`; nothing if it has taken none.
///
/// Without `began`, a `runOn` would let a run begin days after the close: only what was begun before it runs on.
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

/// Of windows that are open up to a close, each with its own close: the terms of the one that closes last, and
/// the strictest of each term where several do.
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
