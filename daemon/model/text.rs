//! Formats times, lengths, counts, lists and text from outside. It uses no type of ours, so every page, message and
//! command formats them the same way.

use jiff::{SignedDuration, Timestamp};

/// The longest sentence from outside on a line of ours, in characters.
const SENTENCE_CHARS: usize = 400;

/// `2026-11-24 22:03 UTC`. The zone is always shown, because people in several zones read the pages.
pub fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `2026-11-24 22:03:07 UTC`.
pub fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long something took, in its two largest units: `2d 3h`, `1h 5m`, `4m 10s`, `12s`.
pub fn length(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let pair = |large: i64, unit: &str, small: i64, smaller: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit} {small}{smaller}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => pair(minutes, "m", seconds % 60, "s"),
        3_600..86_400 => pair(hours, "h", minutes, "m"),
        _ => pair(days, "d", hours, "h"),
    }
}

/// A length as files of desired state write it, exact to the second: `1h30m`, `45s`, `0s`.
pub fn written(length: SignedDuration) -> String {
    let seconds = length.as_secs();
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let words = parts.into_iter().filter(|(count, _)| *count != 0);
    let words: Vec<String> = words.map(|(count, unit)| format!("{count}{unit}")).collect();
    if words.is_empty() { "0s".to_owned() } else { words.concat() }
}

/// `1 node`, `3 nodes`, `2 policies`.
pub fn plural(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    if count == 1 {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{count} {stem}ies"),
        Some(_) | None => format!("{count} {noun}s"),
    }
}

/// A count for a file; a count above `u32::MAX` becomes that.
pub fn count(count: usize) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}

/// Stands where text from outside has a character that is not seen.
pub const UNSEEN: char = '\u{fffd}';

/// A character of text from outside as it may be shown and recorded. This is the only rule for that.
///
/// A control character drives a terminal and ends a line: it becomes a space. A mark of the direction of text makes a
/// line read differently from what it says, and a character without width makes two names look alike: both become
/// [`UNSEEN`], so a reader sees that something was there.
pub fn harmless(c: char) -> char {
    match c {
        c if c.is_control() => ' ',
        '\u{2028}' | '\u{2029}' => ' ',
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => UNSEEN,
        c => c,
    }
}

/// Text from outside with each character [`harmless`]. Spaces stay, so a script keeps its indentation.
pub fn plain(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// The same for text that is not needed any more: nearly all of it is harmless already, and stays where it is.
pub fn into_plain(text: String) -> String {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) { text } else { plain(&text) }
}

/// Text on one line, each character [`harmless`], so text from outside cannot end a paragraph or forge a trailer.
pub fn flat(text: &str) -> String {
    plain(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first line of a text. For a problem in a file that is its place and message, without the excerpt.
pub fn first_line(text: &str) -> String {
    one_line(text.lines().next().unwrap_or_default())
}

/// The text on one line of bounded length.
pub fn one_line(text: &str) -> String {
    shorten(&flat(text), SENTENCE_CHARS)
}

/// The text cut to at most this many characters; the last one is an ellipsis if something was cut off.
pub fn shorten(text: &str, chars: usize) -> String {
    if text.chars().nth(chars).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// `w1, w2 and w3`; names beyond `most` are counted.
pub fn list<S: AsRef<str>>(names: &[S], most: usize) -> String {
    let (shown, rest) = names.split_at(most.min(names.len()));
    let mut words: Vec<String> = shown.iter().map(|name| one_line(name.as_ref())).collect();
    if !rest.is_empty() {
        words.push(format!("{} more", rest.len()));
    }
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// A sentence and the object it is about; the object is left out if the sentence names it.
pub fn about(text: &str, object: &str) -> String {
    let text = one_line(text);
    let name = object.rsplit('/').next().unwrap_or_default();
    if object.is_empty() || has_word(&text, name) {
        return text;
    }
    format!("{text} ({})", one_line(object))
}

/// True if the text has the name, and not as a part of a longer one: w1 is not named by w10, nor a budget by the pods
/// of its Deployment.
fn has_word(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let whole = |start: usize| {
        let before = text.get(..start).and_then(|text| text.chars().next_back());
        let after = text.get(start + name.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    };
    !name.is_empty() && text.match_indices(name).any(|(start, _)| whole(start))
}

/// `anna: the database team asked`; the name, the reason or both may be missing.
pub fn said(by: &str, why: &str) -> String {
    let by = one_line(by);
    format!("{}: {}", if by.is_empty() { "somebody" } else { &by }, given(why))
}

/// The reason that a person gave.
pub fn given(why: &str) -> String {
    let why = one_line(why);
    if why.is_empty() { "no reason given".to_owned() } else { why }
}

/// That a person holds a node, with the reason in the node's annotation.
pub fn held(why: &str) -> String {
    if why.trim().is_empty() {
        return "a person holds it (no reason given)".to_owned();
    }
    format!("a person holds it: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_rounded_where_they_passed_and_exact_where_they_are_asked_for() {
        for (seconds, passed, asked) in [
            (0, "0s", "0s"),
            (59, "59s", "59s"),
            (60, "1m", "1m"),
            (250, "4m 10s", "4m10s"),
            (3_900, "1h 5m", "1h5m"),
            (3_901, "1h 5m", "1h5m1s"),
            (97_200, "1d 3h", "27h"),
        ] {
            let took = SignedDuration::from_secs(seconds);
            assert_eq!((length(took).as_str(), written(took).as_str()), (passed, asked));
        }
        assert_eq!(length(SignedDuration::from_secs(-5)), "0s", "clocks go back");
    }

    #[test]
    fn counts_and_names() {
        assert_eq!(
            [plural(1_u32, "pod"), plural(0_usize, "pod"), plural(2_u64, "policy"), plural(14_u16, "day")],
            ["1 pod", "0 pods", "2 policies", "14 days"]
        );
        assert_eq!(count(usize::MAX), u32::MAX);
        assert_eq!(list(&["a", "b", "c"], 3), "a, b and c");
        assert_eq!(list(&["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(list(&["a"], 2), "a");
        assert_eq!(list::<&str>(&[], 2), "");
    }

    #[test]
    fn text_from_elsewhere_stays_on_its_line() {
        let text = " a\u{1b}[2J\n\tb ";
        assert_eq!((plain(text).as_str(), flat(text).as_str()), (" a [2J  b ", "a [2J b"));
        let hidden = "pay\u{202e}lap\u{200b}\u{e0041}";
        assert_eq!(
            (plain(hidden).as_str(), one_line(hidden).as_str()),
            ("pay\u{fffd}lap\u{fffd}\u{fffd}", "pay\u{fffd}lap\u{fffd}\u{fffd}")
        );
        assert_eq!(plain("Größe, 日本語, naïve"), "Größe, 日本語, naïve");
        assert_eq!(first_line("a: wrong\n   | a"), "a: wrong");
        assert_eq!(shorten("äöü", 2), "ä…");
        assert_eq!(one_line(&"x".repeat(500)).chars().count(), SENTENCE_CHARS);
    }

    #[test]
    fn people_and_objects_are_named_once() {
        assert_eq!(about("w1 is not Ready", "node/w1"), "w1 is not Ready");
        assert_eq!(about("is not Ready", "node/w1"), "is not Ready (node/w1)");
        assert_eq!(about("is not Ready", ""), "is not Ready");
        assert_eq!(said("anna", " a\nb "), "anna: a b");
        assert_eq!(said("", ""), "somebody: no reason given");
        assert_eq!(held("a new disk"), "a person holds it: a new disk");
        assert_eq!(held(" "), "a person holds it (no reason given)");
    }
}
