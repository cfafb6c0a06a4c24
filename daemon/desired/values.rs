//! Reads single values: text, numbers, limits, lengths of time, names, versions. Each reader returns the value, or
//! reports what is wrong with it and what to write.

use std::fmt::Display;

use jiff::SignedDuration;

use super::fields::{listed, nearest, not_built};
use super::problem::{Problems, quoted};
use super::tree::{Value, YamlNode};
use crate::model::desired::Limit;
use crate::model::text::written;
use crate::model::version::{Version, VersionError};

/// The most nodes of a limit; more is a typing mistake.
pub(super) const MAX_COUNT: u32 = 100_000;

/// The longest sentence that a person may write; commits, reports and the dashboard repeat it.
const MAX_SENTENCE: usize = 500;

/// The longest name, that of a DNS-1123 label: names become part of object names, label values and git refs.
const MAX_NAME: usize = 63;

/// The characters of a scalar as written, and true if they had no quotes.
pub(super) fn scalar<'n>(node: &'n YamlNode, problems: &mut Problems<'_>) -> Option<(&'n str, bool)> {
    match &node.value {
        Value::Text { text, plain } => Some((text, *plain)),
        Value::Broken => None,
        Value::List(_) | Value::Map(_) | Value::Nothing => {
            problems.push(node.place, format_args!("expected a single value, found {}", node.found()));
            None
        }
    }
}

/// Text. What other YAML readers would take for a number or a boolean must be in quotes, so that all readers agree.
pub(super) fn text<'n>(node: &'n YamlNode, problems: &mut Problems<'_>) -> Option<&'n str> {
    let (text, plain) = scalar(node, problems)?;
    if plain && reads_as_another_type(text) {
        problems.push_fix(
            node.place,
            format_args!(
                "{} without quotes is a number or a boolean to YAML; text is expected",
                quoted(text)
            ),
            format_args!("write \"{text}\""),
        );
        return None;
    }
    Some(text)
}

/// True if some YAML reader, 1.1 or 1.2, takes these characters for something other than text.
fn reads_as_another_type(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let word = matches!(lower.as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n");
    let digits = lower.trim_start_matches(['+', '-', '.']).starts_with(|c: char| c.is_ascii_digit());
    let number = lower.replace('_', "");
    let other_base = ["0x", "0o", "0b"].iter().any(|base| number.starts_with(base));
    word || (digits && (other_base || number.parse::<f64>().is_ok()))
}

/// A sentence for people: the reason of a freeze, or of an unproven backup.
pub(super) fn sentence(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let sentence = scalar(node, problems)?.0.trim();
    let length = sentence.chars().count();
    let complaint = if reads_as_another_type(sentence) || !sentence.contains(char::is_alphabetic) {
        format!("{} is no reason: write one that a colleague understands a year later", quoted(sentence))
    } else if length > MAX_SENTENCE {
        format!("the text has {length} characters; at most {MAX_SENTENCE} are kept in the record")
    } else if sentence.contains(char::is_control) {
        "write it in one line; it is repeated in commit messages".to_owned()
    } else {
        return Some(sentence.to_owned());
    };
    problems.push(node.place, complaint);
    None
}

pub(super) fn flag(node: &YamlNode, problems: &mut Problems<'_>) -> Option<bool> {
    match scalar(node, problems)? {
        ("true", true) => Some(true),
        ("false", true) => Some(false),
        (other, _) => {
            let meant = match other.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "y" => "write `true`, without quotes",
                "false" | "no" | "off" | "n" => "write `false`, without quotes",
                _ => "write `true` or `false`",
            };
            problems.push_fix(node.place, format_args!("{} is neither true nor false", quoted(other)), meant);
            None
        }
    }
}

/// A number of nodes.
pub(super) fn count(least: u32, most: u32, node: &YamlNode, problems: &mut Problems<'_>) -> Option<u32> {
    let (text, plain) = scalar(node, problems)?;
    match text.parse::<u32>() {
        Ok(_) if !plain => {
            problems.push_fix(node.place, "a number must not be in quotes", format_args!("write `{text}`"));
            None
        }
        Ok(count) if (least..=most).contains(&count) && text == count.to_string() => Some(count),
        _ => {
            problems.push(
                node.place,
                format_args!("{} is not a whole number from {least} to {most}", quoted(text)),
            );
            None
        }
    }
}

/// `3` or `10%`.
pub(super) fn limit(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Limit> {
    let (text, _) = scalar(node, problems)?;
    if matches!(text, "0" | "0%") {
        problems.push_fix(
            node.place,
            format_args!("{text} would let no node go, ever"),
            "write 1 or more; to pause, use `mode: observe` or a Freeze",
        );
        return None;
    }
    let Some(share) = text.strip_suffix('%') else {
        return count(1, MAX_COUNT, node, problems).map(Limit::Count);
    };
    match share.parse::<u8>() {
        Ok(percent @ 1..=100) if share == percent.to_string() => Some(Limit::Percent(percent)),
        _ => {
            problems.push(node.place, format_args!("{} is not a share from 1% to 100%", quoted(text)));
            None
        }
    }
}

/// A length of time between two bounds: `90s`, `30m`, `1h30m`.
pub(super) fn length(
    least: SignedDuration,
    most: SignedDuration,
    node: &YamlNode,
    problems: &mut Problems<'_>,
) -> Option<SignedDuration> {
    let (text, _) = scalar(node, problems)?;
    match parse_length(text, most) {
        Ok(length) if length < least || length > most => {
            problems.push(
                node.place,
                format_args!("{} is not between {} and {}", quoted(text), written(least), written(most)),
            );
            None
        }
        Ok(length) => Some(length),
        Err(fix) => {
            problems.push_fix(node.place, format_args!("{} is not a length of time", quoted(text)), fix);
            None
        }
    }
}

/// Hours, minutes and seconds in this order, each at most once. The error says what to write.
fn parse_length(text: &str, most: SignedDuration) -> Result<SignedDuration, String> {
    let general = || "write it in hours, minutes and seconds, as in 2h, 30m, 90s or 1h30m".to_owned();
    // The unit that the person meant is unknown: a window of `6` is probably six hours, and a soak of `6` six minutes.
    let number: String = text.chars().take(6).collect();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.bytes().any(|b| b != b'0') {
        return Err(format!("add a unit: `{number}h`, `{number}m` or `{number}s`"));
    }
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<u16>().ok()) {
        let hours = i64::from(days) * 24;
        let bounded = if hours > most.as_hours() { "at most" } else { "as in" };
        let hours = hours.min(most.as_hours());
        return Err(format!("write hours, {bounded} `{hours}h`; a day is not always 24 hours long"));
    }
    let (mut rest, mut total) = (text, 0_i64);
    for (unit, seconds) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((digits, tail)) = rest.split_once(unit) {
            let plain = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            total += digits.parse::<i64>().ok().filter(|_| plain).ok_or_else(general)? * seconds;
            rest = tail;
        }
    }
    if text.is_empty() || !rest.is_empty() {
        return Err(general());
    }
    Ok(SignedDuration::from_secs(total))
}

/// One word of several; `later` are words that are designed but not built.
pub(super) fn choice<T: Copy>(
    known: &[(&'static str, T)],
    later: &[&'static str],
    node: &YamlNode,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let (text, _) = scalar(node, problems)?;
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
    if later.contains(&text) {
        problems.push_fix(node.place, not_built(text), format_args!("write {}", either(&words)));
        return None;
    }
    match nearest(text, words.iter().chain(later).copied()) {
        Some(meant) => {
            problems.push_meant(node.place, format_args!("unknown value {}", quoted(text)), meant);
        }
        None => problems.push_fix(
            node.place,
            format_args!("unknown value {}", quoted(text)),
            format_args!("write {}", either(&words)),
        ),
    }
    None
}

fn either(words: &[&str]) -> String {
    match words {
        [.., _, _] => format!("one of {}", listed(words)),
        _ => listed(words),
    }
}

/// A DNS-1123 label.
pub(super) fn name(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let name = text(node, problems)?;
    if is_name(name) {
        return Some(name.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} is not a name", quoted(name)),
        format_args!(
            "use at most {MAX_NAME} of a-z, 0-9 and `-`, beginning and ending with a letter or digit"
        ),
    );
    None
}

pub(super) fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// A version of Kubernetes with its patch: `v1.36.3`.
pub(super) fn version(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Version> {
    let (text, plain) = scalar(node, problems)?;
    if plain && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.parse::<f64>().is_ok() {
        problems.push_fix(
            node.place,
            format_args!(
                "{} without quotes is a number to YAML, and a version needs its patch",
                quoted(text)
            ),
            format_args!("write the exact version with a `v`, as in v{}", with_patch(text)),
        );
        return None;
    }
    let refused: Option<(String, &dyn Display)> = match text.parse::<Version>() {
        Ok(version) if version.major == 1 => return Some(version),
        Ok(version) => Some((format!("there is no Kubernetes {}", version.major), &"write it as in v1.36.3")),
        Err(VersionError::NoPatch(_)) => {
            let fix = format!("write the exact version, as in v{}", with_patch(text.trim_start_matches('v')));
            problems.push_fix(node.place, format_args!("{} has no patch number", quoted(text)), fix);
            None
        }
        Err(VersionError::Malformed(_)) => {
            Some((format!("{} is not a version", quoted(text)), &"write an exact version, as in v1.36.3"))
        }
    };
    if let Some((message, fix)) = refused {
        problems.push_fix(node.place, message, fix);
    }
    None
}

/// `1.30` -> `1.30.4`, `1` -> `1.36.3`: an example with the shape of what was written.
fn with_patch(text: &str) -> String {
    match text.split_once('.') {
        Some((major, minor)) if !minor.is_empty() => format!("{major}.{minor}.4"),
        _ => "1.36.3".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_hours_minutes_seconds_in_this_order() {
        for (text, seconds) in [
            ("30m", 1800),
            ("1h30m", 5400),
            ("2h", 7200),
            ("90s", 90),
            ("1h1m1s", 3661),
            ("0s", 0),
            ("168h", 604_800),
        ] {
            assert_eq!(
                parse_length(text, SignedDuration::MAX),
                Ok(SignedDuration::from_secs(seconds)),
                "{text}"
            );
            let again = written(SignedDuration::from_secs(seconds));
            assert_eq!(
                parse_length(&again, SignedDuration::MAX),
                Ok(SignedDuration::from_secs(seconds)),
                "{again}"
            );
        }
        for text in [
            "", "5", "m", "5 m", "1.5h", "-5m", "30m1h", "1h1h", "5min", "h5", "9999999h", "٣m", "PT5M",
            "1d", "+5m",
        ] {
            assert!(parse_length(text, SignedDuration::MAX).is_err(), "{text}");
        }
    }

    #[test]
    fn what_yaml_readers_disagree_on_needs_quotes() {
        for text in ["1", "1.30", "-1", "0x1f", "0o17", "1_000", "1e3", ".5", "true", "No", "ON", "y"] {
            assert!(reads_as_another_type(text), "{text}");
        }
        for text in
            ["v1.30.4", "1.30.4", "prod", "eu-1", "10%", "nightly", "22:00", "infinity", "nan", "-", "1a"]
        {
            assert!(!reads_as_another_type(text), "{text}");
        }
    }

    #[test]
    fn names_are_dns_labels() {
        for (name, good) in [
            ("a", true),
            ("prod-eu-1", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("A", false),
            ("a.b", false),
            ("a_b", false),
            ("..", false),
            ("ä", false),
        ] {
            assert_eq!(is_name(name), good, "{name}");
        }
        assert!(is_name(&"a".repeat(63)) && !is_name(&"a".repeat(64)));
    }
}
