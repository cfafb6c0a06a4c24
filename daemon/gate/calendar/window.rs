//! The concrete openings of one maintenance window, and the union of many openings. An opening belongs to the day on
//! which it begins, and its length is absolute time. A local time that does not exist, or exists twice, follows RFC
//! 5545: the offset before the gap, the first of the two.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::stretch::{Stretch, earlier};
use crate::model::decision::{Key, Reason};
use crate::model::desired::{Opening, Opens, Window};

/// One concrete opening, uncut. A window that is always open has one that spans all time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub opens: Timestamp,
    pub closes: Timestamp,
    pub window: String,
}

impl Span {
    pub fn stretch(&self) -> Stretch {
        Stretch { from: self.opens, until: self.closes }
    }

    /// True for the opening of `opens: always`, which neither begins nor ends.
    pub fn is_always(&self) -> bool {
        self.opens == Timestamp::MIN && self.closes == Timestamp::MAX
    }
}

/// The openings that are not over at `from` and begin before `until`, ordered by their beginning and uncut. Adjoining
/// and overlapping ones stay separate. One that comes twice is kept once, as on the day that Samoa skipped.
pub fn openings(window: &Window, from: Timestamp, until: Timestamp) -> Vec<Span> {
    let rules = match &window.opens {
        Opens::Always => {
            let (opens, closes) = (Timestamp::MIN, Timestamp::MAX);
            return vec![Span { opens, closes, window: window.name.clone() }];
        }
        Opens::Weekly(rules) => rules,
    };
    let longest = rules.iter().map(|rule| rule.length).max().unwrap_or_default();
    let mut spans: Vec<Span> = local_openings(rules, &window.time_zone, earlier(from, longest), until)
        .filter_map(|(local, rule)| {
            let opens = window.time_zone.to_timestamp(local).ok()?;
            let closes = opens.checked_add(rule.length).ok()?;
            Some(Span { opens, closes, window: window.name.clone() })
        })
        .filter(|span| span.opens < span.closes && span.closes > from && span.opens < until)
        .collect();
    spans.sort();
    spans.dedup();
    spans
}

/// The local opening times on every day that could hold one which begins between the two instants.
fn local_openings<'r>(
    rules: &'r [Opening],
    zone: &TimeZone,
    from: Timestamp,
    until: Timestamp,
) -> impl Iterator<Item = (DateTime, &'r Opening)> {
    // Two more days on either side: a gap moves a time by up to a day.
    let margin = 2.days();
    let first = zone.to_datetime(from).date().checked_sub(margin).unwrap_or(Date::MIN);
    let last = zone.to_datetime(until).date().checked_add(margin).unwrap_or(Date::MAX);
    let dates = std::iter::successors(Some(first), |date| date.tomorrow().ok());
    dates.take_while(move |date| *date <= last).flat_map(move |date| {
        let today = move |rule: &&Opening| rule.days.is_empty() || rule.days.contains(&date.weekday());
        rules.iter().filter(today).map(move |rule| (date.to_datetime(rule.at), rule))
    })
}

/// The local opening times within `[from, until)` that do not exist or exist twice, each with the instant that stands
/// in.
pub(super) fn odd(
    window: &Window,
    from: Timestamp,
    until: Timestamp,
    instant: fn(DateTime, &TimeZone) -> Option<Timestamp>,
) -> Vec<(DateTime, Timestamp)> {
    let Opens::Weekly(rules) = &window.opens else { return Vec::new() };
    let mut found: Vec<(DateTime, Timestamp)> = local_openings(rules, &window.time_zone, from, until)
        .filter_map(|(at, _)| Some((at, instant(at, &window.time_zone)?)))
        .filter(|(_, at)| (from..until).contains(at))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The instant that stands in for a local time that does not exist; `None` for one that does.
pub(super) fn stand_in(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(at);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => ambiguous.compatible().ok(),
        AmbiguousOffset::Fold { .. } | AmbiguousOffset::Unambiguous { .. } => None,
    }
}

/// The first instant of a local time that exists twice; `None` for one that exists once or not at all.
pub(super) fn first_of_two(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(at);
    match ambiguous.offset() {
        AmbiguousOffset::Fold { .. } => ambiguous.compatible().ok(),
        AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => None,
    }
}

/// The union of openings: those that overlap or adjoin become one stretch.
pub fn union(spans: &[Span]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = spans.iter().map(Span::stretch).collect();
    stretches.sort();
    let mut joined: Vec<Stretch> = Vec::new();
    for stretch in stretches {
        match joined.last_mut() {
            Some(last) if stretch.from <= last.until => last.until = last.until.max(stretch.until),
            Some(_) | None => joined.push(stretch),
        }
    }
    joined
}

/// Why the windows allow: `closes` is the window's own close, `until` that of the union.
pub(super) fn open_reason(window: &Window, closes: Timestamp, until: Timestamp) -> Reason {
    let name = &window.name;
    let text = match &window.opens {
        Opens::Always => format!("maintenance window {name} is always open"),
        Opens::Weekly(_) if until == Timestamp::MAX => {
            format!("maintenance window {name} is open, and with what adjoins it never closes")
        }
        Opens::Weekly(_) if closes == until => {
            format!("maintenance window {name} is open until {}", local(until, &window.time_zone))
        }
        Opens::Weekly(_) => {
            let until = local(until, &window.time_zone);
            format!("maintenance window {name} is open, with what adjoins it until {until}")
        }
    };
    Reason::new(Key::WindowOpen, format!("window/{name}"), text)
}

/// An instant for a sentence, in UTC and in local time of a zone.
pub fn local(at: Timestamp, zone: &TimeZone) -> String {
    let shown = at.to_zoned(zone.clone());
    format!("{at} ({} in {})", shown.strftime("%a %Y-%m-%d %H:%M"), zone_name(zone))
}

/// The name of a zone; the offset of one without a name.
pub fn zone_name(zone: &TimeZone) -> String {
    match (zone.iana_name(), zone.to_fixed_offset()) {
        (Some(name), _) => name.to_owned(),
        (None, Ok(offset)) => offset.to_string(),
        (None, Err(_)) => "a zone without a name".to_owned(),
    }
}

/// The shortest of the stretches that the openings of this window alone make and that begin in `[from, until)`.
pub(super) fn shortest(window: &Window, from: Timestamp, until: Timestamp) -> Option<SignedDuration> {
    let joined = union(&openings(window, from, until));
    let whole = joined.iter().filter(|stretch| stretch.from >= from && stretch.until < until);
    whole.map(|stretch| stretch.until.duration_since(stretch.from)).min()
}
