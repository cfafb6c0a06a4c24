//! Writes and reads all files of the record: byte for byte, and refusing keys that it does not know.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The most nodes of one document: a plan of 20,000 steps has some 600,000. Windlass writes these files itself, so
/// the bound only keeps a damaged or forged file from using up the memory.
const NODES: usize = 4_000_000;

#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    #[error("{0}")]
    Malformed(String),
    #[error("`{0}` is not known to this version")]
    UnknownKey(String),
    #[error("a value cannot be written: {0}")]
    Unwritable(String),
}

/// Equal values give equal bytes. No line is folded, so a text search finds every sentence.
pub(super) fn write<T: Serialize>(value: &T) -> Result<String, YamlError> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false, compact_list_indent: true };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|problem| YamlError::Unwritable(problem.to_string()))
}

/// Reads a value and refuses every key that the type does not have.
///
/// The nouns accept unknown keys, because other formats use them too. So the data of the text is compared with the
/// data of the value that was read from it: one rule at every depth, without a list to keep up to date.
pub(super) fn typed<T: Serialize + DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let malformed = |problem: serde_saphyr::Error| YamlError::Malformed(problem.to_string());
    let value: T = serde_saphyr::from_str_with_options(text, options()).map_err(malformed)?;
    if write(&value)? == text {
        return Ok(value);
    }
    let found: Value = serde_saphyr::from_str_with_options(text, options()).map_err(malformed)?;
    let known = serde_json::to_value(&value).map_err(|problem| YamlError::Unwritable(problem.to_string()))?;
    match unknown(&found, &known) {
        Some(path) => Err(YamlError::UnknownKey(path)),
        None => Ok(value),
    }
}

/// The file's data without a type; `None` if the file is not YAML of ours.
pub(super) fn untyped(text: &str) -> Option<Value> {
    serde_saphyr::from_str_with_options(text, options()).ok()
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        no_schema: true,
        budget: serde_saphyr::budget! {
            max_nodes: NODES,
            max_events: NODES * 2,
            max_total_scalar_bytes: 256 << 20,
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
        },
    }
}

/// The path of the first key that is in `found` and not in `known`.
fn unknown(found: &Value, known: &Value) -> Option<String> {
    let below = |key: String, found, known| {
        unknown(found, known).map(|rest| if rest.is_empty() { key.clone() } else { format!("{key}.{rest}") })
    };
    match (found, known) {
        (Value::Object(found), Value::Object(known)) => {
            found.iter().filter(|(_, value)| !value.is_null()).find_map(|(key, value)| match known.get(key) {
                Some(known) => below(key.clone(), value, known),
                None => Some(key.clone()),
            })
        }
        (Value::Array(found), Value::Array(known)) => found
            .iter()
            .zip(known)
            .enumerate()
            .find_map(|(index, (found, known))| below(index.to_string(), found, known)),
        _ => None,
    }
}
