//! Reads `kind: MaintenanceWindow` and `kind: Freeze`.

use jiff::SignedDuration;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;

use super::defaults;
use super::fields::{Fields, list, listed};
use super::problem::{Place, Problems, quoted};
use super::selector::selector;
use super::tree::{Value, YamlNode};
use super::values::{choice, length, name, scalar, sentence};
use super::zone::time_zone;
use crate::model::desired::{AtClose, Freeze, Opening, Opens, Selector, Window};

const DAYS: &[(&str, Weekday)] = &[
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// A policy, and the places that are needed to compare it with others and with the clusters.
pub(super) struct Placed<T> {
    pub(super) policy: T,
    pub(super) name: Place,
    pub(super) clusters: Place,
}

pub(super) fn window(fields: &mut Fields<'_, '_, '_>) -> Option<Placed<Window>> {
    let name = fields.required("metadata", "metadata: {name: weeknights}", policy_metadata);
    let spec = fields.required("spec", "spec:", |node, problems| {
        let mut fields = Fields::open(node, problems)?;
        let clusters = fields.required("clusters", "clusters: {matchLabels: {ring: prod}}", clusters);
        let time_zone = fields.optional("timeZone", time_zone);
        let opens = fields.required("opens", r#"opens: [{days: [Tue], at: "22:00", for: 6h}]"#, opens);
        let at_close = fields.optional("atClose", at_close);
        let hard_limit = fields.optional("hardLimit", |node, problems| {
            length(SignedDuration::ZERO, defaults::LONGEST_HARD_LIMIT, node, problems)
        });
        agree(&mut fields, opens.as_ref(), at_close);
        fields.close(&[]);
        Some((clusters?, time_zone.unwrap_or(TimeZone::UTC), opens?, at_close, hard_limit))
    });
    let ((name, named), ((clusters, matched), time_zone, opens, at_close, hard_limit)) = name.zip(spec)?;
    let at_close = at_close.unwrap_or(defaults::AT_CLOSE);
    let policy = Window { name, clusters, time_zone, opens, at_close, hard_limit };
    Some(Placed { policy, name: named, clusters: matched })
}

/// Reports a key that another key makes meaningless.
fn agree(fields: &mut Fields<'_, '_, '_>, opens: Option<&Opens>, at_close: Option<AtClose>) {
    match opens {
        Some(Opens::Weekly(_)) if !fields.has("timeZone") => {
            let place = fields.place_of("opens");
            fields.problems().push_fix(
                place,
                "`timeZone` is missing: an opening is in local time",
                "add a line as in `timeZone: Europe/Berlin`",
            );
        }
        Some(Opens::Always) => {
            for key in ["atClose", "hardLimit"] {
                if fields.has(key) {
                    let place = fields.place_of(key);
                    let message = format!("`{key}` has no effect: a window that is always open never closes");
                    fields.problems().push_fix(place, message, "remove it");
                }
            }
        }
        Some(Opens::Weekly(_)) | None => {}
    }
    if at_close == Some(AtClose::RunOn) && fields.has("hardLimit") {
        let place = fields.place_of("hardLimit");
        fields.problems().push_fix(
            place,
            "`hardLimit` contradicts `atClose: runOn`, which goes on to the end of the run",
            "remove `hardLimit`, or write `atClose: finishNode`",
        );
    }
}

pub(super) fn freeze(fields: &mut Fields<'_, '_, '_>) -> Option<Placed<Freeze>> {
    let name = fields.required("metadata", "metadata: {name: year-end}", policy_metadata);
    let spec = fields.required("spec", "spec:", |node, problems| {
        let mut fields = Fields::open(node, problems)?;
        let clusters = fields.required("clusters", "clusters: {}", clusters);
        let from = fields.required("from", r#"from: "2026-12-18T00:00""#, date_time);
        let until = fields.required("until", r#"until: "2027-01-04T08:00""#, date_time);
        let time_zone = fields.required("timeZone", "timeZone: Europe/Berlin", time_zone);
        let reason = fields.required("reason", "reason: year-end trading", sentence);
        let except = fields.optional("except", except);
        if let (Some(from), Some(until)) = (from, until)
            && from >= until
        {
            let place = fields.place_of("until");
            fields.problems().push_fix(
                place,
                "`until` is not after `from`",
                "the freeze would never hold: swap them",
            );
        }
        fields.close(&[]);
        Some((clusters?, from?, until?, time_zone?, reason?, except.unwrap_or(false)))
    });
    let ((name, named), ((clusters, matched), from, until, time_zone, reason, except_patch)) =
        name.zip(spec)?;
    let policy = Freeze { name, clusters, from, until, time_zone, reason, except_patch };
    Some(Placed { policy, name: named, clusters: matched })
}

/// Reads the metadata of a policy, which is its name.
fn policy_metadata(node: &YamlNode, problems: &mut Problems<'_>) -> Option<(String, Place)> {
    let mut fields = Fields::open(node, problems)?;
    let name = fields
        .required("name", "name: weeknights", |node, problems| Some((name(node, problems)?, node.place)));
    fields.close(&[]);
    name
}

fn clusters(node: &YamlNode, problems: &mut Problems<'_>) -> Option<(Selector, Place)> {
    let place = problems.here().unwrap_or(node.place);
    Some((selector(node, problems)?, place))
}

/// `always`, or a list of weekly openings.
fn opens(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Opens> {
    if let Value::Text { text, .. } = &node.value {
        if text == "always" {
            return Some(Opens::Always);
        }
        problems.push_fix(
            node.place,
            format_args!("{} is neither `always` nor a list of openings", quoted(text)),
            r#"write `always`, or a list as in `[{days: [Tue], at: "22:00", for: 6h}]`"#,
        );
        return None;
    }
    let openings = list(node, problems, opening)?;
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        problems.push_fix(
            node.place,
            "the window would never open",
            "add an opening, or write `opens: always`",
        );
        return None;
    }
    Some(Opens::Weekly(openings))
}

fn opening(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Opening> {
    let mut fields = Fields::open(node, problems)?;
    let days = fields.optional("days", |node, problems| {
        let days = list(node, problems, day)?;
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            problems.push_fix(node.place, "no day is named", "name days, or remove `days` for every day");
        }
        Some(days)
    });
    let at = fields.required("at", r#"at: "22:00""#, time);
    let length = fields.required("for", "for: 6h", |node, problems| {
        length(defaults::SHORTEST, defaults::LONGEST, node, problems)
    });
    fields.close(&[]);
    Some(Opening { days: days.unwrap_or_default(), at: at?, length: length? })
}

fn day(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Weekday> {
    let (word, _) = scalar(node, problems)?;
    if let Some(days) = days_of(word) {
        problems.push_fix(
            node.place,
            format_args!("{} stands for several days", quoted(word)),
            format_args!("write each of them, as in `days: [{}]`", days.join(", ")),
        );
        return None;
    }
    match place_of_day(word).and_then(|place| DAYS.get(place)) {
        Some((day, weekday)) if *day == word => Some(*weekday),
        Some((day, _)) => {
            problems.push_fix(
                node.place,
                format_args!("unknown day {}", quoted(word)),
                format_args!("write `{day}`"),
            );
            None
        }
        None => choice(DAYS, &[], node, problems),
    }
}

/// The place in the week of a day that is spelt in another way: `Tuesday`, `TUE`, `Thurs`.
fn place_of_day(word: &str) -> Option<usize> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let lower = word.trim().to_ascii_lowercase();
    NAMES.iter().position(|name| lower.len() >= 3 && name.starts_with(&lower))
}

/// The days of a text that means several: `Mon-Fri`, `Sat..Sun`, `Fri to Mon`, `weekdays`, `Mon,Wed`, `!Sun`; `None` for
/// any other.
fn days_of(text: &str) -> Option<Vec<&'static str>> {
    let lower = text.to_lowercase();
    let place = place_of_day;
    if let Some(without) = lower.strip_prefix(['!', '^', '-']).and_then(place) {
        let others = DAYS.iter().enumerate().filter(|(place, _)| *place != without);
        return Some(others.map(|(_, (day, _))| *day).collect());
    }
    let words: Vec<&str> =
        lower.split([',', ';', '/', '+', '&', ' ']).filter(|word| !word.is_empty()).collect();
    let each: Option<Vec<usize>> = words.iter().map(|word| place(word)).collect();
    if let Some(each) = each.filter(|each| each.len() > 1) {
        return Some(each.iter().filter_map(|place| DAYS.get(*place)).map(|(day, _)| *day).collect());
    }
    let (first, last) = match lower.as_str() {
        "weekday" | "weekdays" | "workdays" | "working days" => (0, 4),
        "weekend" | "weekends" => (5, 6),
        "daily" | "everyday" | "every day" | "all" | "any" | "*" => (0, 6),
        _ => {
            let signs = ["-", "\u{2013}", "\u{2014}", "..", " to ", " thru ", " through ", " until ", ":"];
            let (first, last) = signs.iter().find_map(|sign| lower.split_once(sign))?;
            (place(first)?, place(last.trim_start_matches('.'))?)
        }
    };
    // `Fri-Mon` goes over the end of the week.
    let length = (last + DAYS.len() - first) % DAYS.len() + 1;
    let days = DAYS.iter().cycle().skip(first).take(length);
    Some(days.map(|(day, _)| *day).collect())
}

/// A local time of day in hours and minutes: `22:00`.
fn time(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Time> {
    let (text, _) = scalar(node, problems)?;
    let fix = match text.split_once(':') {
        Some(("24", _)) => "write 00:00 and name the following day",
        Some((hour, minute)) if hour.len() == 2 && minute.len() == 2 => {
            match (digits(hour), digits(minute)) {
                (Some(hour), Some(minute)) if hour < 24 && minute < 60 => {
                    return Time::new(hour, minute, 0, 0).ok();
                }
                _ => "hours go from 00 to 23 and minutes from 00 to 59",
            }
        }
        _ => "write hours and minutes with two digits each, as in \"09:00\" or \"22:00\"",
    };
    problems.push_fix(node.place, format_args!("{} is not a time of day", quoted(text)), fix);
    None
}

fn digits(text: &str) -> Option<i8> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A local date and time: `2026-12-18T00:00`. The zone is another key.
fn date_time(node: &YamlNode, problems: &mut Problems<'_>) -> Option<DateTime> {
    let (text, _) = scalar(node, problems)?;
    let (date, rest) = text.split_once('T').unwrap_or((text, ""));
    let offset = rest.find(['Z', 'z', '+', '-', '[']);
    let fix = if let Some((local, _)) = offset.and_then(|at| rest.split_at_checked(at)) {
        format!("write \"{}T{}\": `timeZone` says where that is", first_sixteen(date), first_sixteen(local))
    } else if text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok() {
        format!("add the time, as in \"{text}T00:00\"")
    } else if date.len() == 10 && matches!(rest.len(), 5 | 8) && rest.is_ascii() {
        match text.parse::<DateTime>() {
            Ok(at) => return Some(at),
            Err(_) => "there is no such date or time".to_owned(),
        }
    } else {
        "write it as in \"2026-12-18T00:00\"".to_owned()
    };
    problems.push_fix(node.place, format_args!("{} is not a local date and time", quoted(text)), fix);
    None
}

fn first_sixteen(text: &str) -> String {
    text.chars().take(16).collect()
}

fn at_close(node: &YamlNode, problems: &mut Problems<'_>) -> Option<AtClose> {
    let known = [
        ("finishNode", AtClose::FinishNode),
        ("finishBatch", AtClose::FinishBatch),
        ("runOn", AtClose::RunOn),
    ];
    choice(&known, &[], node, problems)
}

/// Which moves pass a freeze: patch moves, or none. True for patch moves.
fn except(node: &YamlNode, problems: &mut Problems<'_>) -> Option<bool> {
    let words = list(node, problems, |node, problems| {
        let (word, _) = scalar(node, problems)?;
        if word != "patch" {
            problems.push_fix(
                node.place,
                format_args!("{} cannot pass a freeze", quoted(word)),
                format_args!("the only exception is {}", listed(&["patch"])),
            );
            return None;
        }
        Some(())
    })?;
    Some(!words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::problem::Problem;
    use super::*;

    fn scalar_node(text: &str) -> YamlNode {
        YamlNode {
            place: Place { line: 1, column: 1, width: 1 },
            value: Value::Text { text: text.into(), plain: false },
        }
    }

    /// Lets a reader read one scalar: the value, or the fix that it proposes.
    fn ask<T>(text: &str, read: impl Fn(&YamlNode, &mut Problems<'_>) -> Option<T>) -> Result<T, String> {
        let mut problems = Problems::new("f", text);
        let answer = read(&scalar_node(text), &mut problems);
        let told = problems.into_list();
        assert_eq!(answer.is_some(), told.is_empty(), "{text}: {told:?}");
        answer.ok_or_else(|| told.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn a_time_of_day_has_four_digits() {
        for text in ["00:00", "22:00", "23:59"] {
            assert_eq!(ask(text, time).unwrap().strftime("%H:%M").to_string(), text);
        }
        for text in [
            "24:00",
            "9:00",
            "22",
            "22:60",
            "25:00",
            "22:00:30",
            "",
            ":",
            "-1:00",
            "+1:00",
            "２２:00",
            "10pm",
        ] {
            assert!(ask(text, time).is_err(), "{text}");
        }
        assert!(ask("24:00", time).unwrap_err().contains("00:00"));
    }

    #[test]
    fn a_date_and_time_is_local() {
        for text in ["2026-12-18T00:00", "2026-12-18T23:59:30", "2028-02-29T12:00"] {
            assert!(ask(text, date_time).unwrap().to_string().starts_with(text), "{text}");
        }
        for (text, fix) in [
            ("2026-12-18", "2026-12-18T00:00"),
            ("2026-12-18T00:00Z", "\"2026-12-18T00:00\": `timeZone`"),
            ("2026-12-18T00:00+01:00", "\"2026-12-18T00:00\": `timeZone`"),
            ("2027-02-29T12:00", "no such date"),
            ("2026-12-18T24:00", "no such date"),
            ("2026-12-18 00:00", "as in"),
            ("18.12.2026", "as in"),
            ("", "as in"),
        ] {
            let told = ask(text, date_time).unwrap_err();
            assert!(told.contains(fix), "{text}: {told}");
        }
    }

    #[test]
    fn zones_are_spelt_as_iana_does() {
        for text in ["Europe/Berlin", "Etc/UTC", "UTC", "America/Argentina/Buenos_Aires"] {
            assert_eq!(ask(text, time_zone).unwrap().iana_name(), Some(text));
        }
        for (text, hint) in [
            ("Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("Europe/Berln", "Europe/Berlin"),
            ("GMT+25", "IANA"),
            ("GMT+2", "`Etc/GMT-2`, with the opposite sign"),
            ("UTC-0300", "`Etc/GMT+3`, with the opposite sign"),
            ("UTC+5:30", "the name of a city"),
            ("UTC+14", "the name of a city"),
            ("-1", "`Etc/GMT+1`"),
            ("../../etc/passwd", "IANA"),
        ] {
            let told = ask(text, time_zone).unwrap_err();
            assert!(told.contains(hint), "{text}: {told}");
        }
    }

    #[test]
    fn days_are_named_in_one_way() {
        for (word, weekday) in DAYS {
            assert_eq!(ask(word, day), Ok(*weekday));
        }
        assert!(ask("tuesday", day).unwrap_err().contains("write `Tue`"));
        assert!(ask("Weekend", day).is_err());
    }
}
