//! Half-open stretches of time, and how far ahead the calendar looks.

use jiff::{SignedDuration, Timestamp};

/// How far ahead and back the calendar looks: a year, and enough more to see the same week of the next year.
pub const LOOK: SignedDuration = days(400);

pub(super) const fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

/// A half-open stretch of time, `[from, until)`. Without a beginning or an end it reaches to the limits of the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stretch {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Stretch {
    pub fn contains(self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.from.max(other.from) < self.until.min(other.until)
    }
}

pub(super) fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}
