//! How Kubernetes writes moments down: whole seconds in metadata, microseconds in leases.

use jiff::{SignedDuration, Timestamp};

/// RFC 3339 with whole seconds, as in `creationTimestamp`.
pub(super) fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// RFC 3339 with six decimals, as in a Lease's `renewTime`.
pub(super) fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// A later moment; the end of time where the sum does not exist.
pub(super) fn after(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// How long before `now` something was, as kubectl prints it.
pub(super) fn age(then: &str, now: Timestamp) -> String {
    let Some(then) = parse_time(then) else { return "<unknown>".to_owned() };
    let secs = now.duration_since(then).as_secs().max(0);
    let (minutes, hours, days) = (secs / 60, secs / 3600, secs / 86_400);
    match secs {
        0..120 => format!("{secs}s"),
        120..600 if secs % 60 != 0 => format!("{minutes}m{}s", secs % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}
