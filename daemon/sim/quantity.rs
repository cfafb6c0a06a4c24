//! Kubernetes quantities (`250m`, `1Gi`) as whole numbers.

const SUFFIXES: &[(&str, f64)] = &[
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("m", 0.001),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
];

/// Milli-units where `milli` is set, units otherwise. What cannot be read is nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped just before")]
pub(super) fn parse_quantity(text: &str, milli: bool) -> u64 {
    let (digits, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|digits| (digits, *factor)))
        .unwrap_or((text, 1.0));
    let number = digits.parse::<f64>().unwrap_or_default() * factor * if milli { 1000.0 } else { 1.0 };
    number.clamp(0.0, 1e18).ceil() as u64
}
