//! Small words for people: times, lengths, counts, one-line sentences. Shared by every page that shows the record.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use crate::model::decision::Reason;
use crate::model::entry::{RunOutcome, StepPhase};
use crate::model::plan::StageKind;

/// A sentence from elsewhere may be as long as its author liked; on our lines it may not.
const SENTENCE_CHARS: usize = 400;

/// `2026-11-24 22:03 UTC`: pages are read by people in several zones, so the zone is always said.
pub fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `2026-11-24 22:03:07 UTC`.
pub fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `2d 3h`, `1h 5m`, `4m 10s`, `12s`: the two largest units.
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

/// `1 node`, `3 nodes`.
pub fn plural(count: impl Into<u64>, noun: &str) -> String {
    let count = count.into();
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// One line without control characters: no sentence from outside can end a paragraph or forge a trailer.
pub fn flat(text: &str) -> String {
    let blank = |c: char| c.is_control() || c.is_whitespace();
    text.split(blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The first line of a text of several: of a problem in a file its place and what is wrong, without the excerpt.
pub fn first_line(text: &str) -> String {
    one_line(text.lines().next().unwrap_or_default())
}

/// One line of a bounded length.
pub fn one_line(text: &str) -> String {
    shorten(&flat(text), SENTENCE_CHARS)
}

/// At most this many characters, the last of them an ellipsis where something was cut off.
pub fn shorten(text: &str, chars: usize) -> String {
    if text.chars().nth(chars).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// `w1, w2 and w3`; beyond `most` the rest is counted.
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

/// A reason as one sentence, its object named unless the sentence does so.
pub fn reason(reason: &Reason) -> String {
    about(&reason.text, &reason.object)
}

/// A sentence, and the object that it is about unless the sentence names it.
pub fn about(text: &str, object: &str) -> String {
    let text = one_line(text);
    let name = object.rsplit('/').next().unwrap_or_default();
    if object.is_empty() || (!name.is_empty() && text.contains(name)) {
        return text;
    }
    format!("{text} ({})", one_line(object))
}

/// Several reasons in one sentence.
pub fn reasons(reasons: &[Reason]) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    for (index, each) in reasons.iter().take(SHOWN).enumerate() {
        let _ = write!(text, "{}{}", if index == 0 { "" } else { "; " }, reason(each));
    }
    match reasons.len().saturating_sub(SHOWN) {
        0 if text.is_empty() => "no reason is recorded".to_owned(),
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}

/// `anna: the database team asked`; neither a name nor a reason has to be there.
pub fn said(by: &str, why: &str) -> String {
    let by = one_line(by);
    format!("{}: {}", if by.is_empty() { "somebody" } else { &by }, given(why))
}

/// The reason that a person gave.
pub fn given(why: &str) -> String {
    let why = one_line(why);
    if why.is_empty() { "no reason given".to_owned() } else { why }
}

pub fn outcome(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Converged => "converged",
        RunOutcome::Incomplete => "incomplete",
        RunOutcome::Superseded => "superseded",
        RunOutcome::Cancelled => "cancelled",
    }
}

/// As it is written in files and trailers.
pub fn phase(phase: StepPhase) -> &'static str {
    match phase {
        StepPhase::Started => "started",
        StepPhase::Claimed => "claimed",
        StepPhase::Drained => "drained",
        StepPhase::Upgrading => "upgrading",
        StepPhase::Upgraded => "upgraded",
        StepPhase::Returned => "returned",
    }
}

pub fn stage(kind: StageKind) -> &'static str {
    match kind {
        StageKind::AwaitServers => "hosted control plane",
        StageKind::Servers => "control plane servers",
        StageKind::ControlPlaneKubelets => "control plane kubelets",
        StageKind::Workers => "workers",
    }
}

pub(crate) fn count(count: usize) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}
