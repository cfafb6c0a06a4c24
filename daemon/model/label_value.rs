//! Any text as the value of a label.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The API server's limit for a label value, and for the name of a Job whose pods have it as a label.
const LABEL_LENGTH: usize = 63;

/// A label value, and the full text if the label cannot hold it; the text goes into an annotation of the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelValue {
    pub label: String,
    pub full: Option<String>,
}

/// Makes any text a legal label value: `+` becomes `-`, as vendors write it; a text that is too long or illegal
/// otherwise is hashed.
pub fn label_value(text: &str) -> LabelValue {
    let plain = text.replace('+', "-");
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: char| c.is_ascii_alphanumeric();
    let legal = plain.len() <= LABEL_LENGTH
        && plain.chars().all(inner)
        && plain.starts_with(edge)
        && plain.ends_with(edge);
    let label = if legal { plain } else { hash(text) };
    let full = (label != text).then(|| text.to_owned());
    LabelValue { label, full }
}

/// The first twelve hexadecimal digits of SHA-256: a name, not a proof, and enough for 100,000 nodes.
pub fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}
