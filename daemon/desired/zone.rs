//! Reads the name of a time zone, and says what to write for what people write instead.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::fields::nearest;
use super::problem::{Problems, quoted};
use super::tree::YamlNode;
use super::values::text;

/// Abbreviations that people write for a zone, and a city of it. None of them is a name of the IANA data, and some mean
/// several zones; the fix names the city, so that a person sees which one was taken.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("pst", "America/Los_Angeles"),
    ("pdt", "America/Los_Angeles"),
    ("pt", "America/Los_Angeles"),
    ("mdt", "America/Denver"),
    ("cst", "America/Chicago"),
    ("cdt", "America/Chicago"),
    ("edt", "America/New_York"),
    ("bst", "Europe/London"),
    ("cest", "Europe/Berlin"),
    ("mez", "Europe/Berlin"),
    ("mesz", "Europe/Berlin"),
    ("eest", "Europe/Athens"),
    ("west", "Europe/Lisbon"),
    ("msk", "Europe/Moscow"),
    ("ist", "Asia/Kolkata"),
    ("jst", "Asia/Tokyo"),
    ("kst", "Asia/Seoul"),
    ("sgt", "Asia/Singapore"),
    ("hkt", "Asia/Hong_Kong"),
    ("aest", "Australia/Sydney"),
    ("aedt", "Australia/Sydney"),
    ("nzst", "Pacific/Auckland"),
    ("nzdt", "Pacific/Auckland"),
    ("brt", "America/Sao_Paulo"),
];

/// A zone of the bundled IANA data, spelt as IANA does.
pub(super) fn time_zone(node: &YamlNode, problems: &mut Problems<'_>) -> Option<TimeZone> {
    let text = text(node, problems)?;
    let zones = TimeZoneDatabase::bundled();
    if let Ok(zone) = zones.get(text)
        && zone.iana_name() == Some(text)
    {
        return Some(zone);
    }
    if let Some(fix) = of_offset(text) {
        problems.push_fix(node.place, format_args!("{} is not the name of a time zone", quoted(text)), fix);
        return None;
    }
    let known: Vec<String> = zones.available().map(|zone| zone.to_string()).collect();
    let lower = text.to_lowercase();
    // Most people write their city: the fix for `Berlin` is `Europe/Berlin`.
    let city =
        known.iter().find(|zone| zone.rsplit('/').next().is_some_and(|city| city.to_lowercase() == lower));
    let message = format!("unknown time zone {}", quoted(text));
    if let Some((_, zone)) = ABBREVIATIONS.iter().find(|(short, _)| *short == lower) {
        problems.push_fix(
            node.place,
            message,
            format_args!("write the name of a city: `{zone}`, if that is meant"),
        );
        return None;
    }
    // The nearest name of a few letters is another zone, not another spelling.
    let near = || nearest(text, known.iter().map(String::as_str)).filter(|_| text.len() > 4);
    let hint = city.map(String::as_str).or_else(near);
    match hint {
        Some(hint) => problems.push_meant(node.place, message, hint),
        None => problems.push_fix(
            node.place,
            message,
            "write a name of the IANA data, as in Europe/Berlin, America/New_York or Etc/UTC",
        ),
    }
    None
}

/// What to write for an offset, such as `UTC+2` or `GMT-03:00`; `None` for any other text. IANA's names of offsets have the
/// opposite sign: `Etc/GMT-2` is two hours ahead of UTC.
fn of_offset(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let number = ["utc", "gmt", "etc/utc"].iter().find_map(|name| lower.strip_prefix(name)).unwrap_or(&lower);
    let (behind, number) = match number.trim().split_at_checked(1)? {
        ("+", number) => (false, number),
        ("-" | "\u{2212}", number) => (true, number),
        _ => return None,
    };
    let (hours, minutes) = match number.split_once(':') {
        Some(parts) => parts,
        None if number.len() == 4 => number.split_at_checked(2)?,
        None => (number, ""),
    };
    let whole = matches!(minutes, "" | "0" | "00");
    let city = "write the name of a city, as in Europe/Berlin";
    match hours.parse::<i8>().ok().filter(|_| hours.bytes().all(|b| b.is_ascii_digit())) {
        Some(hours @ 1..=12) if whole => {
            let sign = if behind { '+' } else { '-' };
            Some(format!(
                "{city}; an offset that never changes is `Etc/GMT{sign}{hours}`, with the opposite sign"
            ))
        }
        Some(0..=14) => Some(city.to_owned()),
        Some(_) | None => None,
    }
}
