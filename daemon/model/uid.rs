//! UIDs of objects, stored compactly. A UID is only compared and shown.

use std::fmt;
use std::sync::Arc;

/// The UID of an object.
///
/// An API server makes UUIDs: sixteen bytes, whose text would take five times that. Any other text is kept as it is.
/// UUIDs are ordered like their texts, and come before all others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uid(Kept);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kept {
    Uuid(Packed),
    Text(Arc<str>),
}

/// The bytes of a UUID. They are compared as one number, which is faster than byte by byte.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Packed([u8; 16]);

impl Packed {
    fn number(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl Ord for Packed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number().cmp(&other.number())
    }
}

impl PartialOrd for Packed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Where a UUID has hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const LENGTH: usize = 36;

/// The number that a UUID encodes; `None` for any text but the usual form, which can be shown again letter by letter.
fn uuid_of(text: &str) -> Option<u128> {
    if text.len() != LENGTH {
        return None;
    }
    let digit = |number: u128, (at, byte): (usize, u8)| match (HYPHENS.contains(&at), byte) {
        (true, b'-') => Some(number),
        (false, b'0'..=b'9') => Some(number << 4 | u128::from(byte - b'0')),
        (false, b'a'..=b'f') => Some(number << 4 | u128::from(byte - b'a' + 10)),
        (true | false, _) => None,
    };
    text.bytes().enumerate().try_fold(0, digit)
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(
            uuid_of(text)
                .map_or_else(|| Kept::Text(text.into()), |number| Kept::Uuid(Packed(number.to_be_bytes()))),
        )
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match &self.0 {
            Kept::Uuid(packed) => packed.number(),
            Kept::Text(text) => return out.write_str(text),
        };
        let group = |shift: u32, digits: u32| number >> shift & ((1 << (4 * digits)) - 1);
        write!(
            out,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            group(96, 8),
            group(80, 4),
            group(64, 4),
            group(48, 4),
            group(0, 12)
        )
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_uid_is_shown_as_it_was_written_and_only_plain_uuids_are_packed() {
        for (text, packed) in [
            ("6fa459ea-ee8a-4ca4-894e-db77e160355e", true),
            ("00000000-0000-0000-0000-000000000000", true),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", true),
            ("6FA459EA-EE8A-4CA4-894E-DB77E160355E", false),
            ("6fa459ea-ee8a-4ca4-894e-db77e160355", false),
            ("6fa459eaee8a-4ca4-894e-db77e160355e-", false),
            ("6fa459ea-ee8a-4ca4-894e-db77e160355g", false),
            ("6fa459ea-ee8a-4ca4-894e--b77e160355e", false),
            ("b77e160355e6fa459eaee8a4ca4894edb77e", false),
            ("uid-w1", false),
            ("größe-ee8a-4ca4-894e-db77e160355e12", false),
            ("", false),
        ] {
            let uid = Uid::from(text);
            assert_eq!(uid.to_string(), text);
            assert_eq!(matches!(uid.0, Kept::Uuid(_)), packed, "{text}");
        }
    }

    #[test]
    fn uids_are_ordered_as_their_texts() {
        let sorted = [
            "00000000-0000-0000-0000-000000000000",
            "00000000-0000-0000-0000-00000000000a",
            "0fa459ea-ee8a-4ca4-894e-db77e160355e",
            "a0000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "uid-a",
            "uid-b",
        ];
        assert!(sorted.is_sorted_by_key(|text| Uid::from(*text)));
    }
}
