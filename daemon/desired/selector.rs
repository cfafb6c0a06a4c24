//! Label selectors and labels, with the grammar of Kubernetes.

use std::collections::BTreeMap;

use super::fields::{Fields, list};
use super::problem::{Problems, quoted};
use super::tree::{Value, YamlNode};
use super::values::{choice, scalar, text};
use crate::model::desired::{Operator, Requirement, Selector};

const OPERATORS: &[(&str, Operator)] = &[
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("Exists", Operator::Exists),
    ("DoesNotExist", Operator::DoesNotExist),
];

/// The longest name part of a label key, and the longest value.
const MAX_LABEL: usize = 63;
/// The longest prefix of a label key, a DNS name.
const MAX_PREFIX: usize = 253;

/// `{matchLabels: …, matchExpressions: …}`; the empty one selects everything.
pub(super) fn selector(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Selector> {
    if let Value::Map(entries) = &node.value
        && let Some((key, _)) = entries.first()
        && entries.iter().all(|(_, value)| matches!(value.value, Value::Text { .. }))
    {
        let fix = format!("write {{matchLabels: {{{}: …}}}}", key.text);
        problems.push_fix(key.place, "labels stand directly in the selector", fix);
        return None;
    }
    if let Value::Text { text, .. } = &node.value {
        let fix = "write labels, as in {matchLabels: {ring: prod}}, or {} for all";
        problems.push_fix(node.place, format_args!("expected a selector, found {}", quoted(text)), fix);
        return None;
    }
    let mut fields = Fields::open(node, problems)?;
    let match_labels = fields.optional("matchLabels", labels).unwrap_or_default();
    let match_expressions = fields
        .optional("matchExpressions", |node, problems| list(node, problems, requirement))
        .unwrap_or_default();
    fields.close(&[]);
    Some(Selector { match_labels, match_expressions })
}

fn requirement(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Requirement> {
    let mut fields = Fields::open(node, problems)?;
    let key = fields.required("key", "key: pool", key);
    let operator =
        fields.required("operator", "operator: In", |node, problems| choice(OPERATORS, &[], node, problems));
    let values = fields.optional("values", |node, problems| list(node, problems, value));
    let place = fields.place_of("values");
    match operator {
        Some(Operator::In | Operator::NotIn) if values.as_ref().is_none_or(Vec::is_empty) => {
            fields.problems().push_fix(place, "In and NotIn need values", "add `values: [a, b]`");
        }
        Some(Operator::Exists | Operator::DoesNotExist) if values.as_ref().is_some_and(|v| !v.is_empty()) => {
            fields.problems().push_fix(place, "Exists and DoesNotExist take no values", "remove `values`");
        }
        Some(_) | None => {}
    }
    fields.close(&[]);
    Some(Requirement { key: key?, operator: operator?, values: values.unwrap_or_default() })
}

/// A map of labels.
pub(super) fn labels(node: &YamlNode, problems: &mut Problems<'_>) -> Option<BTreeMap<String, String>> {
    let Value::Map(entries) = &node.value else {
        problems
            .push(node.place, format_args!("expected labels, as in {{ring: prod}}, found {}", node.found()));
        return None;
    };
    let mut labels = BTreeMap::new();
    for (at, node) in entries {
        if let Some(complaint) = key_complaint(&at.text) {
            problems.push(at.place, complaint);
        }
        let value =
            problems.within(at.text.chars().take(MAX_LABEL).collect::<String>(), at.place, |problems| {
                if matches!(node.value, Value::Nothing) {
                    problems.push_fix(at.place, "the label has no value", "write \"\" for an empty one");
                    return None;
                }
                value(node, problems)
            });
        if let Some(value) = value {
            labels.insert(at.text.clone(), value);
        }
    }
    Some(labels)
}

fn key(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let key = text(node, problems)?;
    match key_complaint(key) {
        Some(complaint) => {
            problems.push(node.place, complaint);
            None
        }
        None => Some(key.to_owned()),
    }
}

fn value(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    // An empty value is legal; it can only be written with quotes.
    if matches!(scalar(node, problems)?, ("", _)) {
        return Some(String::new());
    }
    let value = text(node, problems)?;
    if is_label_word(value) {
        return Some(value.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} is not a label value", quoted(value)),
        "use at most 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit",
    );
    None
}

fn key_complaint(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let good = is_label_word(name) && prefix.is_none_or(is_dns_name);
    (!good).then(|| format!("{} is not a label key, as in `pool` or `example.com/pool`", quoted(key)))
}

fn is_label_word(word: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    word.len() <= MAX_LABEL
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && edge(word.chars().next())
        && edge(word.chars().next_back())
}

fn is_dns_name(name: &str) -> bool {
    name.len() <= MAX_PREFIX && name.split('.').all(super::values::is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_keys_follow_kubernetes() {
        for (key, good) in [
            ("pool", true),
            ("node-role.kubernetes.io/control-plane", true),
            ("a_B.c-1", true),
            ("", false),
            ("/x", false),
            ("x/", false),
            ("a/b/c", false),
            ("Example.com/x", false),
            ("-a", false),
            ("a b", false),
            ("ä", false),
        ] {
            assert_eq!(key_complaint(key).is_none(), good, "{key}");
        }
        assert!(is_label_word(&"a".repeat(63)) && !is_label_word(&"a".repeat(64)));
    }
}
