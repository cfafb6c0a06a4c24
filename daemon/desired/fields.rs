//! Reads a map key by key. The keys that were read are the known keys; every other key is reported. So the code that
//! reads a kind is its schema, and one pass finds all mistakes.

use super::problem::{Place, Problems, quoted};
use super::tree::{MapKey, Value, YamlNode};

/// The most edits between a misspelt key and the proposed one; more would be a guess.
const HINT_DISTANCE: usize = 3;

pub(super) struct Fields<'n, 'p, 'f> {
    entries: &'n [(MapKey, YamlNode)],
    asked: Vec<&'static str>,
    /// Where the map's own key is; a missing key is reported there.
    place: Place,
    problems: &'p mut Problems<'f>,
}

impl<'n, 'p, 'f> Fields<'n, 'p, 'f> {
    /// Opens a map; reports anything else.
    pub(super) fn open(node: &'n YamlNode, problems: &'p mut Problems<'f>) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => {
                let place = problems.here().unwrap_or(node.place);
                Some(Self { entries, asked: Vec::new(), place, problems })
            }
            Value::Broken => None,
            Value::Text { text, .. } if text.contains(':') => {
                problems.push_fix(
                    node.place,
                    format_args!("expected keys with values, found {}", node.found()),
                    "write a space after the colon, as in `key: value`",
                );
                None
            }
            Value::Text { .. } | Value::List(_) | Value::Nothing => {
                problems.push(node.place, format_args!("expected keys with values, found {}", node.found()));
                None
            }
        }
    }

    /// Reads a key that may be left out. `None` also if its value is wrong, which is then reported.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&'n YamlNode, &mut Problems<'f>) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(key);
        let (at, node) = self.entries.iter().find(|(at, _)| at.text == key)?;
        self.problems.within(key, at.place, |problems| {
            if matches!(node.value, Value::Nothing) {
                problems.push(at.place, "the key has no value");
                return None;
            }
            read(node, problems)
        })
    }

    /// Reads a key that must be there; `example` is a line that a reader can copy.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&'n YamlNode, &mut Problems<'f>) -> Option<T>,
    ) -> Option<T> {
        if !self.has(key) {
            self.problems.push_fix(
                self.place,
                format_args!("{} is missing", quoted(key)),
                format_args!("add `{example}`"),
            );
        }
        self.optional(key, read)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(at, _)| at.text == key)
    }

    /// Where a key is, or the map if the key is missing.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.entries.iter().find(|(at, _)| at.text == key).map_or(self.place, |(at, _)| at.place)
    }

    pub(super) fn problems(&mut self) -> &mut Problems<'f> {
        self.problems
    }

    /// Reports every key that was not read. `later` names keys that are designed but not built.
    pub(super) fn close(self, later: &[&str]) {
        for (at, _) in self.entries {
            let key = at.text.as_str();
            if self.asked.contains(&key) {
                continue;
            }
            if later.contains(&key) {
                self.problems.push_fix(at.place, not_built(key), "remove it");
                continue;
            }
            match nearest(key, self.asked.iter().chain(later).copied()) {
                Some(known) => {
                    self.problems.push_meant(at.place, format_args!("unknown key {}", quoted(key)), known);
                }
                None => self.problems.push_fix(
                    at.place,
                    format_args!("unknown key {}", quoted(key)),
                    format_args!("the keys here are {}", listed(&self.asked)),
                ),
            }
        }
    }
}

/// The message for a kind, key or value that the documents name and this version does not have.
pub(super) fn not_built(what: &str) -> String {
    format!("{} is not supported by this version of Windlass", quoted(what))
}

/// `a, b, c` in backticks.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The known word that was most likely meant; `None` if no word is near.
pub(super) fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // A key this long is no typing mistake, and comparing it would only take time.
    if word.len() > 60 {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= HINT_DISTANCE.min(candidate.len() / 3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Reads every item of a list; items that are wrong are reported and left out.
pub(super) fn list<'n, 'f, T>(
    node: &'n YamlNode,
    problems: &mut Problems<'f>,
    mut read: impl FnMut(&'n YamlNode, &mut Problems<'f>) -> Option<T>,
) -> Option<Vec<T>> {
    match &node.value {
        Value::List(items) => Some(
            items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| {
                    problems.within(format!("[{index}]"), item.place, |problems| {
                        if matches!(item.value, Value::Nothing) {
                            problems.push(item.place, "the item is empty");
                            return None;
                        }
                        read(item, problems)
                    })
                })
                .collect(),
        ),
        Value::Broken => None,
        Value::Text { text, .. } => {
            let fix = format!("write `[{text}]`");
            problems.push_fix(node.place, format_args!("expected a list, found {}", node.found()), fix);
            None
        }
        Value::Map(_) | Value::Nothing => {
            problems.push_fix(node.place, "expected a list, found a map", "begin each item with `- `");
            None
        }
    }
}

impl YamlNode {
    /// What is here, in a reader's words.
    pub(super) fn found(&self) -> String {
        match &self.value {
            Value::Text { text, .. } => quoted(text),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
            Value::Nothing | Value::Broken => "nothing".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_near_or_absent() {
        let known = ["timeZone", "opens", "at", "for", "maxUnavailable", "maxUnavailablePerZone"];
        for (word, hint) in [
            ("timezone", Some("timeZone")),
            ("time_zone", Some("timeZone")),
            ("open", Some("opens")),
            ("max_unavailable", Some("maxUnavailable")),
            ("maxUnavailible", Some("maxUnavailable")),
            ("colour", None),
            ("ta", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), hint, "{word}");
        }
    }
}
