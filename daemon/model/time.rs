//! Arithmetic on times that cannot fail: a result beyond the last representable time becomes that time.

use jiff::{SignedDuration, Timestamp};

/// `at` plus `by`, or the last representable time if that is later.
pub fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// `at` minus `by`, or the first representable time if that is earlier.
pub fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// The earlier of two times; a missing one does not count.
pub fn earliest(left: Option<Timestamp>, right: Option<Timestamp>) -> Option<Timestamp> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (left, right) => left.or(right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stop_at_the_last_and_the_first_one_there_is() {
        let minute = SignedDuration::from_mins(1);
        assert_eq!(later(Timestamp::UNIX_EPOCH, minute).as_second(), 60);
        assert_eq!(later(Timestamp::MAX, minute), Timestamp::MAX);
        assert_eq!(earlier(Timestamp::UNIX_EPOCH, minute).as_second(), -60);
        assert_eq!(earlier(Timestamp::MIN, minute), Timestamp::MIN);
    }

    #[test]
    fn a_missing_time_is_not_the_earliest() {
        let (first, second) = (Some(Timestamp::UNIX_EPOCH), Some(Timestamp::MAX));
        for (left, right, expected) in [
            (first, second, first),
            (second, first, first),
            (None, second, second),
            (first, None, first),
            (None, None, None),
        ] {
            assert_eq!(earliest(left, right), expected);
        }
    }
}
