//! A time in four bytes, because a picture has thousands of pod times.

use jiff::Timestamp;

/// A time in whole seconds, which is how Kubernetes writes it. The range is 1970 to 2106; a time outside of it
/// becomes the nearest bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(u32);

impl Seconds {
    pub fn time(self) -> Timestamp {
        Timestamp::from_second(i64::from(self.0)).unwrap_or(Timestamp::MAX)
    }
}

impl From<Timestamp> for Seconds {
    fn from(time: Timestamp) -> Self {
        Self(u32::try_from(time.as_second().max(0)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_the_second() {
        for (written, kept) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z"),
            ("2026-11-23T12:00:00.999Z", "2026-11-23T12:00:00Z"),
            ("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"),
            ("2999-01-01T00:00:00Z", "2106-02-07T06:28:15Z"),
        ] {
            let time: Timestamp = written.parse().unwrap();
            assert_eq!(Seconds::from(time).time().to_string(), kept);
        }
    }
}
