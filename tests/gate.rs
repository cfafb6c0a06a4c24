//! Maintenance windows and freezes: tables of policy × time → answer, the days on which clocks change,
//! properties over any policies, and the page that `windlass windows` prints.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking, in what it calls too"
)]

use std::collections::BTreeMap;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZoneDatabase;
use jiff::{SignedDuration, Timestamp};
use windlass::gate::{
    AtNow, Calendar, CalendarState, LintKind, MoveKind, Span, after_close, lints, openings, union,
};
use windlass::model::decision::{Decision, Gate, Key, Verdict};
use windlass::model::desired::{
    AtClose, Freeze, Opening, Opens, Operator, Policies, Requirement, Selector, Window,
};

mod decisions;
mod openings;
mod page;
mod properties;
mod standing;

fn zone(name: &str) -> jiff::tz::TimeZone {
    TimeZoneDatabase::bundled().get(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

fn days(text: &str) -> Vec<Weekday> {
    text.split_whitespace()
        .map(|day| match day {
            "Mon" => Weekday::Monday,
            "Tue" => Weekday::Tuesday,
            "Wed" => Weekday::Wednesday,
            "Thu" => Weekday::Thursday,
            "Fri" => Weekday::Friday,
            "Sat" => Weekday::Saturday,
            "Sun" => Weekday::Sunday,
            other => panic!("{other} is no day"),
        })
        .collect()
}

/// `days` as "Tue Wed", empty for every day; `opens` as "22:00".
fn weekly(name: &str, zone_name: &str, on: &str, opens: &str, length: SignedDuration) -> Window {
    Window {
        name: name.to_owned(),
        clusters: Selector::default(),
        time_zone: zone(zone_name),
        opens: Opens::Weekly(vec![Opening { days: days(on), at: opens.parse::<Time>().unwrap(), length }]),
        at_close: AtClose::FinishNode,
        hard_limit: None,
    }
}

fn always(name: &str) -> Window {
    Window { opens: Opens::Always, ..weekly(name, "UTC", "", "00:00", hours(1)) }
}

fn closing(window: Window, at_close: AtClose, hard_limit: Option<SignedDuration>) -> Window {
    Window { at_close, hard_limit, ..window }
}

fn freeze(name: &str, zone_name: &str, from: &str, until: &str) -> Freeze {
    Freeze {
        name: name.to_owned(),
        clusters: Selector::default(),
        from: from.parse().unwrap(),
        until: until.parse().unwrap(),
        time_zone: zone(zone_name),
        reason: "year-end trading".to_owned(),
        except_patch: false,
    }
}

fn policies(windows: &[Window], freezes: &[Freeze]) -> Policies {
    Policies { windows: windows.to_vec(), freezes: freezes.to_vec() }
}

fn ring(value: &str) -> Selector {
    Selector { match_labels: labels(value), match_expressions: Vec::new() }
}

fn labels(ring: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("ring".to_owned(), ring.to_owned())])
}

fn calendar(policies: &Policies) -> Calendar<'_> {
    Calendar::of(policies, &labels("prod"), "prod-eu")
}

fn spans(window: &Window, from: &str, until: &str) -> Vec<String> {
    openings(window, at(from), at(until))
        .iter()
        .map(|span| format!("{}/{}", span.opens, span.closes))
        .collect()
}

fn standing(policies: &Policies, now: &str) -> CalendarState {
    calendar(policies).state(MoveKind::Minor, at(now))
}

/// A standing in one short line: "open until CLOSES" or "closed until NEXT".
fn stands(policies: &Policies, now: &str) -> String {
    match standing(policies, now) {
        CalendarState::Open { closes, .. } => format!("open until {}", told(closes)),
        CalendarState::Closed { next, .. } => format!("closed until {}", told(next)),
    }
}

fn told(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_string())
}

fn check(policies: &Policies, table: &[(&str, &str)]) {
    for (now, expected) in table {
        assert_eq!(stands(policies, now), *expected, "at {now}");
    }
}

fn decide(policies: &Policies, kind: MoveKind, now: &str) -> Decision {
    calendar(policies).may_take_out(kind, at(now))
}

/// Every answer on a line: gate, verdict, key, object, text, and `next` where there is one.
fn answers(policies: &Policies, kind: MoveKind, now: &str) -> Vec<String> {
    let line = |answer: &windlass::model::decision::Answer| {
        let next = answer.next.map_or_else(String::new, |next| format!(" -> {next}"));
        let (key, object, text) = (answer.reason.key.as_str(), &answer.reason.object, &answer.reason.text);
        format!("{:?} {:?} {key} {object}: {text}{next}", answer.gate, answer.verdict)
    };
    decide(policies, kind, now).answers.iter().map(line).collect()
}

fn never_opening() -> Policies {
    policies(&[Window { opens: Opens::Weekly(Vec::new()), ..always("never") }], &[])
}
