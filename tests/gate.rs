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
use proptest::prelude::*;
use windlass::cli::windows::{Args, Output, run};
use windlass::gate::{
    AtNow, Calendar, LintKind, MoveKind, Span, Standing, lints, openings, union, work_in_hand,
};
use windlass::model::decision::{Decision, Gate, Key, Verdict};
use windlass::model::desired::{
    AtClose, Freeze, Opening, Opens, Operator, Policies, Requirement, Selector, Window,
};

// --- building policies ------------------------------------------------------------------------------------

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

// --- one check per question -------------------------------------------------------------------------------

fn spans(window: &Window, from: &str, until: &str) -> Vec<String> {
    openings(window, at(from), at(until))
        .iter()
        .map(|span| format!("{}/{}", span.opens, span.closes))
        .collect()
}

fn standing(policies: &Policies, now: &str) -> Standing {
    calendar(policies).standing(MoveKind::Minor, at(now))
}

/// A standing in one short line: "open until CLOSES" or "closed until NEXT".
fn stands(policies: &Policies, now: &str) -> String {
    match standing(policies, now) {
        Standing::Open { closes, .. } => format!("open until {}", told(closes)),
        Standing::Closed { next, .. } => format!("closed until {}", told(next)),
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

// --- openings ---------------------------------------------------------------------------------------------

#[test]
fn an_opening_is_listed_if_it_is_not_over_and_begins_in_time() {
    let window = weekly("nights", "UTC", "", "22:00", hours(6));
    let both = ["2026-12-01T22:00:00Z/2026-12-02T04:00:00Z", "2026-12-02T22:00:00Z/2026-12-03T04:00:00Z"];
    // Whole although `from` lies inside it; the close itself is no longer inside.
    assert_eq!(spans(&window, "2026-12-02T03:59:59Z", "2026-12-02T22:00:01Z"), both);
    assert_eq!(spans(&window, "2026-12-02T04:00:00Z", "2026-12-02T22:00:01Z"), both[1..]);
    assert_eq!(spans(&window, "2026-12-02T03:59:59Z", "2026-12-02T22:00:00Z"), both[..1]);
    assert_eq!(spans(&window, "2026-12-02T04:00:00Z", "2026-12-02T22:00:00Z"), [""; 0]);
    // However long ago it began.
    let week = weekly("week", "UTC", "Mon", "00:00", hours(24 * 6));
    let expected = ["2026-11-30T00:00:00Z/2026-12-06T00:00:00Z"];
    assert_eq!(spans(&week, "2026-12-05T23:59:00Z", "2026-12-06T00:00:00Z"), expected);
}

#[test]
fn local_times_become_instants_by_the_rules_of_rfc_5545() {
    let table: &[(&str, &str, &str, &str, &str)] = &[
        // zone, local time, day, opens, closes two hours later
        ("UTC", "02:30", "2027-03-28", "2027-03-28T02:30:00Z", "2027-03-28T04:30:00Z"),
        ("Europe/Berlin", "02:30", "2027-03-27", "2027-03-27T01:30:00Z", "2027-03-27T03:30:00Z"),
        // The gap: 02:30 with the offset before it is 03:30 CEST.
        ("Europe/Berlin", "02:30", "2027-03-28", "2027-03-28T01:30:00Z", "2027-03-28T03:30:00Z"),
        // The fold: the first 02:30, in CEST; two hours later it is 03:30 CET.
        ("Europe/Berlin", "02:30", "2026-10-25", "2026-10-25T00:30:00Z", "2026-10-25T02:30:00Z"),
        // A length is absolute: from 01:30 it crosses the gap and ends at 04:30 CEST.
        ("Europe/Berlin", "01:30", "2027-03-28", "2027-03-28T00:30:00Z", "2027-03-28T02:30:00Z"),
        ("America/New_York", "02:30", "2027-03-14", "2027-03-14T07:30:00Z", "2027-03-14T09:30:00Z"),
        ("America/New_York", "01:30", "2026-11-01", "2026-11-01T05:30:00Z", "2026-11-01T07:30:00Z"),
        // Lord Howe moves by half an hour: 02:00 to 02:30, and back from 02:00 to 01:30.
        ("Australia/Lord_Howe", "02:15", "2026-10-04", "2026-10-03T15:45:00Z", "2026-10-03T17:45:00Z"),
        ("Australia/Lord_Howe", "01:45", "2027-04-04", "2027-04-03T14:45:00Z", "2027-04-03T16:45:00Z"),
        ("Asia/Kathmandu", "22:00", "2026-12-01", "2026-12-01T16:15:00Z", "2026-12-01T18:15:00Z"),
        // The leap day is a day, and a year ends between two others.
        ("Europe/Berlin", "22:00", "2028-02-29", "2028-02-29T21:00:00Z", "2028-02-29T23:00:00Z"),
        ("Europe/Berlin", "23:30", "2026-12-31", "2026-12-31T22:30:00Z", "2027-01-01T00:30:00Z"),
    ];
    for (zone, local, day, opens, closes) in table {
        let window = weekly("w", zone, "", local, hours(2));
        let from = at(&format!("{day}T12:00:00Z")) - hours(28);
        let found: Vec<Span> = openings(&window, from, from + hours(60));
        let one = |span: &&Span| span.opens == at(opens);
        let span = found.iter().find(one).unwrap_or_else(|| panic!("{zone} {local} {day}: {found:?}"));
        assert_eq!(span.closes, at(closes), "{zone} {local} {day}");
        // One opening a day, whatever the clocks do.
        let near =
            found.iter().filter(|other| other.opens.duration_since(span.opens).abs() < hours(20)).count();
        assert_eq!(near, 1, "{zone} {local} {day}: {found:?}");
    }
}

#[test]
fn a_skipped_day_opens_with_the_offset_before_it_and_only_once() {
    // Samoa had no 30 December 2011: it went from -10 to +14 at the end of the 29th.
    let friday = weekly("w", "Pacific/Apia", "Fri", "22:00", hours(2));
    let expected = ["2011-12-31T08:00:00Z/2011-12-31T10:00:00Z"];
    assert_eq!(spans(&friday, "2011-12-29T00:00:00Z", "2012-01-03T00:00:00Z"), expected);
    let daily = weekly("w", "Pacific/Apia", "", "22:00", hours(2));
    let days = [
        "2011-12-29T08:00:00Z/2011-12-29T10:00:00Z",
        "2011-12-30T08:00:00Z/2011-12-30T10:00:00Z",
        "2011-12-31T08:00:00Z/2011-12-31T10:00:00Z",
        "2012-01-01T08:00:00Z/2012-01-01T10:00:00Z",
    ];
    assert_eq!(spans(&daily, "2011-12-29T00:00:00Z", "2012-01-02T00:00:00Z"), days);
    // Asked on the Saturday to which it moved, it is still found.
    assert_eq!(spans(&friday, "2011-12-31T09:00:00Z", "2011-12-31T09:30:00Z"), expected);
}

#[test]
fn a_day_is_the_day_of_the_zone() {
    // Tuesday 05:00 in Kathmandu is still Monday in UTC.
    let window = weekly("w", "Asia/Kathmandu", "Tue", "05:00", hours(1));
    let expected = ["2026-11-30T23:15:00Z/2026-12-01T00:15:00Z"];
    assert_eq!(spans(&window, "2026-11-29T00:00:00Z", "2026-12-05T00:00:00Z"), expected);
}

#[test]
fn the_ends_of_time_are_survived() {
    let window = weekly("w", "Europe/Berlin", "", "22:00", hours(6));
    assert!(openings(&window, Timestamp::MIN, Timestamp::MIN + hours(48)).len() <= 3);
    assert!(openings(&window, Timestamp::MAX - hours(48), Timestamp::MAX).len() <= 3);
    let policies =
        policies(&[window, always("a")], &[freeze("f", "UTC", "2026-01-01T00:00", "2027-01-01T00:00")]);
    for now in [Timestamp::MIN, Timestamp::MAX] {
        let _ = calendar(&policies).may_take_out(MoveKind::Minor, now);
        let _ = calendar(&policies).standing(MoveKind::Minor, now);
        let _ = calendar(&policies).left(MoveKind::Minor, now);
    }
}

// --- standing ---------------------------------------------------------------------------------------------

#[test]
fn a_window_is_open_from_its_opening_and_closed_from_its_close() {
    let policies = policies(&[weekly("prod-nights", "Europe/Berlin", "Tue Wed Thu", "22:00", hours(6))], &[]);
    check(
        &policies,
        &[
            ("2026-12-01T20:59:59.999999999Z", "closed until 2026-12-01T21:00:00Z"),
            ("2026-12-01T21:00:00Z", "open until 2026-12-02T03:00:00Z"),
            // Past midnight it still is Tuesday's.
            ("2026-12-02T02:59:59.999999999Z", "open until 2026-12-02T03:00:00Z"),
            ("2026-12-02T03:00:00Z", "closed until 2026-12-02T21:00:00Z"),
            // Friday morning belongs to Thursday; Friday night to nobody.
            ("2026-12-04T01:00:00Z", "open until 2026-12-04T03:00:00Z"),
            ("2026-12-04T22:00:00Z", "closed until 2026-12-08T21:00:00Z"),
        ],
    );
}

#[test]
fn weeks_years_and_leap_days_have_no_seams() {
    let sunday = policies(&[weekly("w", "UTC", "Sun", "22:00", hours(6))], &[]);
    check(
        &sunday,
        &[
            ("2026-12-07T03:59:00Z", "open until 2026-12-07T04:00:00Z"),
            ("2026-12-07T04:00:00Z", "closed until 2026-12-13T22:00:00Z"),
        ],
    );
    let nightly = policies(&[weekly("w", "UTC", "", "23:00", hours(2))], &[]);
    check(
        &nightly,
        &[
            ("2026-12-31T23:30:00Z", "open until 2027-01-01T01:00:00Z"),
            ("2027-01-01T00:30:00Z", "open until 2027-01-01T01:00:00Z"),
            ("2028-02-29T00:30:00Z", "open until 2028-02-29T01:00:00Z"),
            ("2028-02-29T12:00:00Z", "closed until 2028-02-29T23:00:00Z"),
            ("2028-03-01T00:59:00Z", "open until 2028-03-01T01:00:00Z"),
        ],
    );
}

#[test]
fn a_window_may_be_longer_than_a_day() {
    let weekend = policies(&[weekly("w", "Europe/Berlin", "Fri", "20:00", hours(56))], &[]);
    check(
        &weekend,
        &[
            ("2026-12-06T12:00:00Z", "open until 2026-12-07T03:00:00Z"),
            ("2026-12-07T03:00:00Z", "closed until 2026-12-11T19:00:00Z"),
            // Over the change of the clocks it lasts 56 hours, and ends at 05:00 of local time.
            ("2027-03-28T12:00:00Z", "open until 2027-03-29T03:00:00Z"),
        ],
    );
    // Longer than a week: it never closes.
    let endless = policies(&[weekly("w", "UTC", "Fri", "20:00", hours(24 * 8))], &[]);
    check(&endless, &[("2026-12-06T12:00:00Z", "open until -")]);
    assert_eq!(calendar(&endless).left(MoveKind::Minor, at("2026-12-06T12:00:00Z")), None);
}

#[test]
fn a_whole_day_has_a_gap_where_a_day_has_twenty_five_hours() {
    let daily = |zone| policies(&[weekly("w", zone, "", "00:00", hours(24))], &[]);
    check(&daily("UTC"), &[("2026-10-25T22:30:00Z", "open until -")]);
    check(
        &daily("Europe/Berlin"),
        &[
            ("2026-10-25T12:00:00Z", "open until 2026-10-25T22:00:00Z"),
            ("2026-10-25T22:30:00Z", "closed until 2026-10-25T23:00:00Z"),
        ],
    );
}

#[test]
fn all_matching_windows_are_one_union() {
    let early = weekly("early", "UTC", "Tue", "20:00", hours(3));
    let overlapping = weekly("late", "UTC", "Tue", "22:00", hours(4));
    let adjoining = weekly("adjoining", "UTC", "Tue", "23:00", hours(1));
    let nested = weekly("nested", "UTC", "Tue", "20:30", hours(1));
    let now = "2026-12-01T20:00:00Z";
    check(&policies(&[early.clone(), overlapping], &[]), &[(now, "open until 2026-12-02T02:00:00Z")]);
    check(&policies(&[early.clone(), nested], &[]), &[(now, "open until 2026-12-01T23:00:00Z")]);
    let back_to_back = policies(&[early, adjoining], &[]);
    check(
        &back_to_back,
        &[
            (now, "open until 2026-12-02T00:00:00Z"),
            ("2026-12-01T23:00:00Z", "open until 2026-12-02T00:00:00Z"),
            ("2026-12-02T00:00:00Z", "closed until 2026-12-08T20:00:00Z"),
        ],
    );
    assert_eq!(calendar(&back_to_back).left(MoveKind::Minor, at(now)), Some(hours(4)));
}

#[test]
fn only_what_selects_the_cluster_counts() {
    let labelled = Window { clusters: ring("prod"), ..weekly("prod", "UTC", "", "20:00", hours(1)) };
    let not_dev = Requirement {
        key: "ring".to_owned(),
        operator: Operator::NotIn,
        values: vec!["dev".to_owned(), "test".to_owned()],
    };
    let expression = Selector { match_expressions: vec![not_dev], ..Selector::default() };
    let other = Window { clusters: expression, ..weekly("not-dev", "UTC", "", "22:00", hours(1)) };
    let freeze =
        Freeze { clusters: ring("dev"), ..freeze("dev", "UTC", "2026-12-01T00:00", "2026-12-03T00:00") };
    let policies = policies(&[labelled, other], &[freeze]);
    let of = |ring: &str, now: &str| {
        let calendar = Calendar::of(&policies, &labels(ring), "c");
        calendar.may_take_out(MoveKind::Minor, at(now)).verdict()
    };
    assert_eq!(of("prod", "2026-12-01T20:30:00Z"), Verdict::Allow);
    assert_eq!(of("prod", "2026-12-01T22:30:00Z"), Verdict::Allow);
    assert_eq!(of("edge", "2026-12-01T20:30:00Z"), Verdict::Wait);
    assert_eq!(of("edge", "2026-12-01T22:30:00Z"), Verdict::Allow);
    assert_eq!(of("dev", "2026-12-01T20:30:00Z"), Verdict::Deny);
}

#[test]
fn always_has_neither_beginning_nor_end() {
    let policies = policies(&[always("any")], &[]);
    let open = Standing::Open { closes: None, at_close: AtClose::FinishNode };
    assert_eq!(standing(&policies, "2026-12-01T00:00:00Z"), open);
    assert_eq!(calendar(&policies).left(MoveKind::Minor, at("2026-12-01T00:00:00Z")), None);
}

// --- freezes ----------------------------------------------------------------------------------------------

#[test]
fn a_freeze_subtracts() {
    let nights = weekly("nights", "UTC", "", "20:00", hours(8));
    let frozen =
        |from: &str, until: &str| policies(std::slice::from_ref(&nights), &[freeze("f", "UTC", from, until)]);
    // It begins inside the window and outlasts it.
    check(
        &frozen("2026-12-01T23:00", "2026-12-02T12:00"),
        &[
            ("2026-12-01T22:00:00Z", "open until 2026-12-01T23:00:00Z"),
            ("2026-12-01T23:00:00Z", "closed until 2026-12-02T20:00:00Z"),
        ],
    );
    // It covers one opening, exactly.
    check(
        &frozen("2026-12-01T20:00", "2026-12-02T04:00"),
        &[
            ("2026-12-01T12:00:00Z", "closed until 2026-12-02T20:00:00Z"),
            ("2026-12-01T20:00:00Z", "closed until 2026-12-02T20:00:00Z"),
        ],
    );
    // It ends inside: what is left opens then.
    check(
        &frozen("2026-12-01T12:00", "2026-12-02T01:30"),
        &[
            ("2026-12-01T10:00:00Z", "closed until 2026-12-02T01:30:00Z"),
            ("2026-12-01T22:00:00Z", "closed until 2026-12-02T01:30:00Z"),
            ("2026-12-02T01:30:00Z", "open until 2026-12-02T04:00:00Z"),
        ],
    );
    // It lies inside: two openings.
    check(
        &frozen("2026-12-01T22:00", "2026-12-01T23:00"),
        &[
            ("2026-12-01T21:00:00Z", "open until 2026-12-01T22:00:00Z"),
            ("2026-12-01T22:30:00Z", "closed until 2026-12-01T23:00:00Z"),
            ("2026-12-01T23:00:00Z", "open until 2026-12-02T04:00:00Z"),
        ],
    );
    // Between two openings, or without length: it changes nothing.
    for (from, until) in [("2026-12-01T04:00", "2026-12-01T20:00"), ("2026-12-01T22:00", "2026-12-01T22:00")]
    {
        check(
            &frozen(from, until),
            &[
                ("2026-12-01T12:00:00Z", "closed until 2026-12-01T20:00:00Z"),
                ("2026-12-01T22:00:00Z", "open until 2026-12-02T04:00:00Z"),
            ],
        );
    }
}

#[test]
fn freezes_together_hide_what_neither_hides_alone() {
    let nights = weekly("nights", "UTC", "", "20:00", hours(4));
    let first = freeze("a", "UTC", "2026-12-01T00:00", "2026-12-02T21:00");
    let second = freeze("b", "UTC", "2026-12-02T20:30", "2026-12-04T12:00");
    for order in [[first.clone(), second.clone()], [second, first]] {
        check(
            &policies(std::slice::from_ref(&nights), &order),
            &[
                ("2026-11-30T23:59:00Z", "open until 2026-12-01T00:00:00Z"),
                ("2026-12-01T12:00:00Z", "closed until 2026-12-04T20:00:00Z"),
            ],
        );
    }
    // One inside the other.
    let long = freeze("long", "UTC", "2026-12-01T20:30", "2026-12-01T23:30");
    let inner = freeze("inner", "UTC", "2026-12-01T21:00", "2026-12-01T22:00");
    let nested = policies(&[nights], &[long, inner]);
    check(&nested, &[("2026-12-01T21:30:00Z", "closed until 2026-12-01T23:30:00Z")]);
}

#[test]
fn a_freeze_is_told_in_its_zone_and_follows_the_same_rules_for_its_bounds() {
    // From the missing 02:30 of 28 March, which is 03:30 CEST, to the first 02:30 of 31 October.
    let frozen = freeze("summer", "Europe/Berlin", "2027-03-28T02:30", "2027-10-31T02:30");
    check(
        &policies(&[always("any")], &[frozen]),
        &[
            ("2027-03-28T01:29:59Z", "open until 2027-03-28T01:30:00Z"),
            ("2027-03-28T01:30:00Z", "closed until 2027-10-31T00:30:00Z"),
            ("2027-10-31T00:30:00Z", "open until -"),
        ],
    );
}

#[test]
fn a_freeze_may_let_patch_moves_pass() {
    let except = Freeze {
        except_patch: true,
        ..freeze("year-end", "Europe/Berlin", "2026-12-18T00:00", "2027-01-04T08:00")
    };
    let policies = policies(&[weekly("nights", "Europe/Berlin", "", "22:00", hours(6))], &[except]);
    let now = "2026-12-24T22:00:00Z";
    assert_eq!(decide(&policies, MoveKind::Patch, now).verdict(), Verdict::Allow);
    assert_eq!(decide(&policies, MoveKind::Minor, now).verdict(), Verdict::Wait);
    assert_eq!(calendar(&policies).left(MoveKind::Patch, at(now)), Some(hours(5)));
    assert_eq!(calendar(&policies).left(MoveKind::Minor, at(now)), Some(hours(0)));
    assert_eq!(
        answers(&policies, MoveKind::Patch, now),
        [
            "Window Allow windowOpen window/nights: maintenance window nights is open until \
             2026-12-25T03:00:00Z (Fri 2026-12-25 04:00 in Europe/Berlin)",
            "Freeze Allow passes cluster/prod-eu: frozen by year-end, which lets patch moves pass",
        ]
    );
}

// --- decisions --------------------------------------------------------------------------------------------

#[test]
fn nothing_matches_nothing_moves() {
    let elsewhere = Window { clusters: ring("dev"), ..always("dev") };
    let none = policies(&[elsewhere], &[freeze("f", "UTC", "2026-12-01T00:00", "2026-12-03T00:00")]);
    let decision = decide(&none, MoveKind::Patch, "2026-12-02T00:00:00Z");
    assert_eq!((decision.verdict(), decision.next()), (Verdict::Deny, None));
    assert_eq!(
        answers(&none, MoveKind::Patch, "2026-12-05T00:00:00Z"),
        [
            "Window Deny noWindow cluster/prod-eu: no maintenance window matches this cluster; \
             `opens: always` says at any time",
            "Freeze Allow passes cluster/prod-eu: no freeze is in force",
        ]
    );
    let closed =
        Standing::Closed { since: None, next: None, at_close: AtClose::FinishNode, hard_limit_at: None };
    assert_eq!(standing(&none, "2026-12-05T00:00:00Z"), closed);
    assert_eq!(calendar(&none).left(MoveKind::Patch, at("2026-12-05T00:00:00Z")), Some(hours(0)));
}

#[test]
fn every_answer_says_why_and_when_it_could_pass() {
    let nights = weekly("prod-nights", "Europe/Berlin", "Tue Wed Thu", "22:00", hours(6));
    let year_end = freeze("year-end", "Europe/Berlin", "2026-12-18T00:00", "2027-01-04T08:00");
    let both = policies(std::slice::from_ref(&nights), &[year_end]);
    let no_freeze = "Freeze Allow passes cluster/prod-eu: no freeze is in force";
    let frozen = "Freeze Wait frozen freeze/year-end: frozen until 2027-01-04T07:00:00Z \
                  (Mon 2027-01-04 08:00 in Europe/Berlin): year-end trading -> 2027-01-05T21:00:00Z";
    let closed = "Window Wait windowClosed window/prod-nights: no maintenance window is open;";
    let opens = "2027-01-05T21:00:00Z (Tue 2027-01-05 22:00 in Europe/Berlin)";
    let hidden = format!("{closed} what opens before {opens} is frozen by year-end -> 2027-01-05T21:00:00Z");
    let table: &[(&str, [&str; 2])] = &[
        (
            "2026-12-16T12:00:00Z",
            [
                &format!(
                    "{closed} prod-nights opens at 2026-12-16T21:00:00Z (Wed 2026-12-16 22:00 in \
                     Europe/Berlin) -> 2026-12-16T21:00:00Z"
                ),
                no_freeze,
            ],
        ),
        // The freeze begins at midnight, inside Thursday's opening; the windows alone would stay open.
        (
            "2026-12-17T22:59:00Z",
            [
                "Window Allow windowOpen window/prod-nights: maintenance window prod-nights is open until \
                 2026-12-18T03:00:00Z (Fri 2026-12-18 04:00 in Europe/Berlin)",
                no_freeze,
            ],
        ),
        (
            "2026-12-17T23:00:00Z",
            [
                "Window Allow windowOpen window/prod-nights: maintenance window prod-nights is open until \
                 2026-12-18T03:00:00Z (Fri 2026-12-18 04:00 in Europe/Berlin)",
                frozen,
            ],
        ),
        ("2026-12-20T12:00:00Z", [&hidden, frozen]),
    ];
    for (now, expected) in table {
        assert_eq!(answers(&both, MoveKind::Minor, now), expected, "at {now}");
    }
    // Not frozen yet, but what opens next is.
    let later = policies(&[nights], &[freeze("f", "UTC", "2026-12-01T20:00", "2026-12-03T12:00")]);
    let decision = decide(&later, MoveKind::Minor, "2026-12-01T12:00:00Z");
    assert_eq!(decision.next(), Some(at("2026-12-03T21:00:00Z")));
}

#[test]
fn every_freeze_in_force_is_named() {
    let first = freeze("a", "UTC", "2026-12-01T00:00", "2026-12-05T00:00");
    let second = freeze("b", "UTC", "2026-12-02T00:00", "2026-12-09T00:00");
    let policies = policies(&[always("any")], &[first, second]);
    let decision = decide(&policies, MoveKind::Minor, "2026-12-03T00:00:00Z");
    let objects: Vec<_> = decision.objections().map(|answer| answer.reason.object.as_str()).collect();
    assert_eq!(objects, ["freeze/a", "freeze/b"]);
    assert_eq!(decision.next(), Some(at("2026-12-09T00:00:00Z")));
    let gates: Vec<_> = decision.answers.iter().map(|answer| answer.gate).collect();
    assert_eq!(gates, [Gate::Window, Gate::Freeze, Gate::Freeze]);
}

#[test]
fn of_several_open_windows_the_last_to_close_is_named() {
    let short = weekly("short", "UTC", "Tue", "20:00", hours(2));
    let long = weekly("long", "UTC", "Tue", "20:00", hours(3));
    let adjoining = weekly("adjoining", "UTC", "Tue", "23:00", hours(1));
    let window = |windows: &[Window]| {
        answers(&policies(windows, &[]), MoveKind::Minor, "2026-12-01T21:00:00Z").swap_remove(0)
    };
    let both = "Window Allow windowOpen window/long: maintenance window long is open until \
                2026-12-01T23:00:00Z (Tue 2026-12-01 23:00 in UTC)";
    assert_eq!(window(&[short.clone(), long.clone()]), both);
    let three = "Window Allow windowOpen window/long: maintenance window long is open, with what adjoins it \
                 until 2026-12-02T00:00:00Z (Wed 2026-12-02 00:00 in UTC)";
    assert_eq!(window(&[adjoining, short.clone(), long]), three);
    let any = "Window Allow windowOpen window/any: maintenance window any is always open";
    assert_eq!(window(&[short, always("any")]), any);
    let whole_days = "Window Allow windowOpen window/days: maintenance window days is open, and with what \
                      adjoins it never closes";
    assert_eq!(window(&[weekly("days", "UTC", "", "00:00", hours(24))]), whole_days);
}

#[test]
fn what_lies_beyond_the_look_ahead_has_no_time() {
    let long = freeze("long", "UTC", "2026-12-01T00:00", "2028-12-01T00:00");
    let policies = policies(&[weekly("w", "UTC", "", "20:00", hours(1))], &[long]);
    let decision = decide(&policies, MoveKind::Minor, "2026-12-03T00:00:00Z");
    assert_eq!((decision.verdict(), decision.next()), (Verdict::Wait, None));
    assert_eq!(
        answers(&policies, MoveKind::Minor, "2026-12-03T00:00:00Z")[0],
        "Window Wait windowClosed window/w: no maintenance window is open; every opening of the next 400 days \
         is frozen by long"
    );
    let never = never_opening();
    assert_eq!(
        answers(&never, MoveKind::Minor, "2026-12-03T00:00:00Z")[0],
        "Window Wait windowClosed cluster/prod-eu: no maintenance window opens within 400 days"
    );
}

fn never_opening() -> Policies {
    policies(&[Window { opens: Opens::Weekly(Vec::new()), ..always("never") }], &[])
}

#[test]
fn a_text_stays_equal_while_nothing_changes() {
    let nights = weekly("nights", "Europe/Berlin", "Tue", "22:00", hours(6));
    let frozen = freeze("f", "UTC", "2026-12-02T00:00", "2026-12-05T12:00");
    let policies = policies(&[nights], &[frozen]);
    let same = |first: &str, last: &str| {
        let (first, last) =
            (decide(&policies, MoveKind::Minor, first), decide(&policies, MoveKind::Minor, last));
        assert_eq!(first, last);
    };
    same("2026-11-25T03:00:00Z", "2026-12-01T20:59:59Z");
    same("2026-12-01T21:00:00Z", "2026-12-01T23:59:59Z");
    same("2026-12-02T03:00:00Z", "2026-12-05T11:59:59Z");
}

// --- the close --------------------------------------------------------------------------------------------

#[test]
fn the_close_follows_the_window_that_closes_last() {
    let short = closing(weekly("short", "UTC", "Tue", "20:00", hours(2)), AtClose::RunOn, None);
    let long = closing(weekly("long", "UTC", "Tue", "20:00", hours(4)), AtClose::FinishBatch, Some(hours(1)));
    let policies_of_both = policies(&[short.clone(), long], &[]);
    let open = Standing::Open { closes: Some(at("2026-12-02T00:00:00Z")), at_close: AtClose::FinishBatch };
    assert_eq!(standing(&policies_of_both, "2026-12-01T21:00:00Z"), open);
    let closed = Standing::Closed {
        since: Some(at("2026-12-02T00:00:00Z")),
        next: Some(at("2026-12-08T20:00:00Z")),
        at_close: AtClose::FinishBatch,
        hard_limit_at: Some(at("2026-12-02T01:00:00Z")),
    };
    assert_eq!(standing(&policies_of_both, "2026-12-02T00:00:00Z"), closed);
    // At the same instant the strictest of each counts.
    let same = closing(weekly("same", "UTC", "Tue", "21:00", hours(1)), AtClose::FinishNode, Some(hours(3)));
    let tied = policies(&[short, same], &[]);
    let Standing::Closed { at_close, hard_limit_at, .. } = standing(&tied, "2026-12-01T22:00:00Z") else {
        panic!("open");
    };
    assert_eq!((at_close, hard_limit_at), (AtClose::FinishNode, Some(at("2026-12-02T01:00:00Z"))));
    let limited = |name, opens, length, limit| {
        closing(weekly(name, "UTC", "Tue", opens, hours(length)), AtClose::FinishNode, Some(hours(limit)))
    };
    let hard_limit =
        |windows: &[Window], freezes: &[Freeze], now| match standing(&policies(windows, freezes), now) {
            Standing::Closed { hard_limit_at, .. } => told(hard_limit_at),
            Standing::Open { .. } => panic!("open at {now}"),
        };
    let tied = [limited("a", "20:00", 2, 3), limited("b", "21:00", 1, 1)];
    assert_eq!(hard_limit(&tied, &[], "2026-12-01T22:00:00Z"), "2026-12-01T23:00:00Z");
    // A freeze ends both at once; it is still the one that would have closed last that counts.
    let both = [limited("a", "20:00", 2, 1), limited("b", "20:00", 4, 3)];
    let frozen = freeze("f", "UTC", "2026-12-01T21:00", "2026-12-03T00:00");
    assert_eq!(hard_limit(&both, &[frozen], "2026-12-01T21:00:00Z"), "2026-12-02T00:00:00Z");
}

#[test]
fn what_a_freeze_ends_is_finished_node_by_node() {
    let run_on = closing(weekly("w", "UTC", "Tue", "20:00", hours(4)), AtClose::RunOn, Some(hours(2)));
    let inside = freeze("f", "UTC", "2026-12-01T22:00", "2026-12-03T00:00");
    let frozen = policies(std::slice::from_ref(&run_on), &[inside]);
    let open = Standing::Open { closes: Some(at("2026-12-01T22:00:00Z")), at_close: AtClose::FinishNode };
    assert_eq!(standing(&frozen, "2026-12-01T21:00:00Z"), open);
    let closed = |now| match standing(&frozen, now) {
        Standing::Closed { since, at_close, hard_limit_at, .. } => {
            (told(since), at_close, told(hard_limit_at))
        }
        Standing::Open { .. } => panic!("open at {now}"),
    };
    let finish = ("2026-12-01T22:00:00Z".to_owned(), AtClose::FinishNode, "2026-12-02T00:00:00Z".to_owned());
    assert_eq!(closed("2026-12-01T23:00:00Z"), finish);
    // The end of the freeze does not revive a run outside of any window.
    assert_eq!(closed("2026-12-04T00:00:00Z"), finish);
    // A freeze that falls into the time after the close ends a run that runs on; until then it runs.
    let after = policies(&[run_on], &[freeze("f", "UTC", "2026-12-02T01:00", "2026-12-02T06:00")]);
    let began = Some(at("2026-12-01T20:10:00Z"));
    let hand = |now: &str| work_in_hand(&standing(&after, now), began, at(now));
    assert_eq!(hand("2026-12-02T00:59:00Z"), AtNow::TakeOut);
    assert_eq!(hand("2026-12-02T01:00:00Z"), AtNow::FinishOnly);
    // One that was over before the close takes nothing from what the window says.
    let before = policies(
        &[closing(weekly("w", "UTC", "Tue", "20:00", hours(4)), AtClose::RunOn, None)],
        &[freeze("f", "UTC", "2026-12-01T21:00", "2026-12-01T22:00")],
    );
    let standing = standing(&before, "2026-12-02T00:30:00Z");
    assert!(matches!(standing, Standing::Closed { at_close: AtClose::RunOn, .. }), "{standing:?}");
}

#[test]
fn work_in_hand_goes_on_as_the_window_says() {
    let began = Some("2026-12-01T20:10:00Z");
    let late = Some("2026-12-02T00:10:00Z");
    let (one, none) = (Some(hours(1)), None);
    let table = [
        (AtClose::FinishNode, one, began, "2026-12-01T23:59:59Z", AtNow::TakeOut),
        (AtClose::FinishNode, one, None, "2026-12-01T23:59:59Z", AtNow::TakeOut),
        (AtClose::FinishNode, one, began, "2026-12-02T00:00:00Z", AtNow::FinishOnly),
        (AtClose::FinishNode, one, began, "2026-12-02T00:59:59Z", AtNow::FinishOnly),
        (AtClose::FinishNode, one, began, "2026-12-02T01:00:00Z", AtNow::ReturnUntouched),
        (AtClose::FinishNode, none, began, "2026-12-05T00:00:00Z", AtNow::FinishOnly),
        (AtClose::FinishNode, Some(hours(0)), began, "2026-12-02T00:00:00Z", AtNow::ReturnUntouched),
        (AtClose::FinishBatch, none, began, "2026-12-02T00:30:00Z", AtNow::FinishBatchOnly),
        (AtClose::FinishBatch, one, began, "2026-12-02T01:00:00Z", AtNow::ReturnUntouched),
        (AtClose::FinishBatch, none, None, "2026-12-02T00:30:00Z", AtNow::FinishOnly),
        (AtClose::RunOn, none, began, "2026-12-05T00:00:00Z", AtNow::TakeOut),
        (AtClose::RunOn, one, began, "2026-12-02T00:59:59Z", AtNow::TakeOut),
        (AtClose::RunOn, one, began, "2026-12-02T01:00:00Z", AtNow::ReturnUntouched),
        // Only what began before the close runs on: nothing starts outside of a window.
        (AtClose::RunOn, none, None, "2026-12-02T00:30:00Z", AtNow::FinishOnly),
        (AtClose::RunOn, none, late, "2026-12-02T00:30:00Z", AtNow::FinishOnly),
    ];
    for (at_close, hard_limit, began, now, expected) in &table {
        let window = closing(weekly("w", "UTC", "Tue", "20:00", hours(4)), *at_close, *hard_limit);
        let standing = standing(&policies(&[window], &[]), now);
        let found = work_in_hand(&standing, began.map(at), at(now));
        assert_eq!(found, *expected, "{at_close:?} {hard_limit:?} began {began:?} at {now}");
    }
}

#[test]
fn the_last_close_is_found_far_back() {
    let yearly = freeze("f", "UTC", "2026-01-10T00:00", "2027-01-01T00:00");
    let window = closing(weekly("w", "UTC", "Tue", "20:00", hours(1)), AtClose::FinishNode, Some(hours(1)));
    let policies = policies(&[window], &[yearly]);
    let expected = Standing::Closed {
        since: Some(at("2026-01-06T21:00:00Z")),
        next: Some(at("2027-01-05T20:00:00Z")),
        at_close: AtClose::FinishNode,
        hard_limit_at: Some(at("2026-01-06T22:00:00Z")),
    };
    assert_eq!(standing(&policies, "2026-12-15T00:00:00Z"), expected);
}

// --- lints ------------------------------------------------------------------------------------------------

fn linted(policies: &Policies) -> Vec<String> {
    let clusters = [("prod-eu".to_owned(), labels("prod"))];
    let found = lints(policies, &clusters, minutes(20), at("2026-12-01T00:00:00Z"));
    found.iter().map(|lint| format!("{} {}: {}", lint.kind.as_str(), lint.object, lint.text)).collect()
}

#[test]
fn lints_tell_what_is_suspicious() {
    assert_eq!(linted(&policies(&[always("any")], &[])), [""; 0]);
    let good = weekly("good", "UTC", "", "22:00", minutes(20));
    assert_eq!(linted(&policies(std::slice::from_ref(&good), &[])), [""; 0]);
    assert_eq!(linted(&never_opening()), ["neverOpens window/never: never opens within 400 days"]);
    let short = weekly("short", "UTC", "Tue", "22:00", minutes(10));
    let too_short = "tooShort window/short: is open for 10m, one node takes 20m";
    assert_eq!(linted(&policies(std::slice::from_ref(&short), &[])), [too_short]);
    let elsewhere = Window { clusters: ring("dev"), ..good.clone() };
    let nothing = "noWindow cluster/prod-eu: no maintenance window matches it, so nothing is ever taken out";
    assert_eq!(linted(&policies(&[elsewhere], &[])), [nothing]);
    let long = freeze("long", "UTC", "2026-11-01T00:00", "2028-12-01T00:00");
    let past = freeze("past", "UTC", "2025-11-01T00:00", "2026-01-01T00:00");
    let all = "allFrozen cluster/prod-eu: every opening of the next 400 days is frozen by long";
    assert_eq!(linted(&policies(std::slice::from_ref(&good), &[long.clone(), past])), [all]);
    let minor =
        "allFrozen cluster/prod-eu: every opening of the next 400 days is frozen for minor moves by long";
    assert_eq!(linted(&policies(&[good], &[Freeze { except_patch: true, ..long }])), [minor]);
    // What was open before the freeze is past.
    let since = freeze("since", "UTC", "2026-11-30T23:00", "2028-12-01T00:00");
    let evening = weekly("evening", "UTC", "", "22:00", hours(6));
    let all = "allFrozen cluster/prod-eu: every opening of the next 400 days is frozen by since";
    assert_eq!(linted(&policies(&[evening], &[since])), [all]);
}

#[test]
fn short_openings_that_adjoin_are_not_short() {
    let opening = |at: &str| Opening { days: Vec::new(), at: at.parse().unwrap(), length: minutes(15) };
    let opens = Opens::Weekly(vec![opening("22:00"), opening("22:15")]);
    let pair = Window { opens, ..always("pair") };
    assert_eq!(linted(&policies(&[pair], &[])), [""; 0]);
}

#[test]
fn lints_name_local_times_that_no_clock_shows() {
    let sunday = weekly("sunday", "Europe/Berlin", "Sun", "02:30", hours(2));
    let frozen = freeze("spring", "Europe/Berlin", "2027-03-28T02:15", "2027-03-29T02:15");
    assert_eq!(
        linted(&policies(&[sunday], &[frozen])),
        [
            "noSuchTime window/sunday: opens at 2027-03-28T01:30:00Z (Sun 2027-03-28 03:30 in Europe/Berlin): \
             no clock shows 02:30 on 2027-03-28",
            "noSuchTime freeze/spring: begins at 2027-03-28T01:15:00Z (Sun 2027-03-28 03:15 in Europe/Berlin): \
             no clock shows 02:15 on 2027-03-28",
        ]
    );
    let saturday = weekly("saturday", "Europe/Berlin", "Sat", "02:30", hours(2));
    assert_eq!(linted(&policies(&[saturday], &[])), [""; 0]);
    // A whole day, where the clocks skipped one.
    let apia = policies(&[weekly("friday", "Pacific/Apia", "Fri", "22:00", hours(2))], &[]);
    let found = lints(&apia, &[], minutes(20), at("2011-12-01T00:00:00Z"));
    let kinds: Vec<_> = found.iter().map(|lint| lint.kind).collect();
    assert_eq!(kinds, [LintKind::NoSuchTime]);
}

// --- the page ---------------------------------------------------------------------------------------------

fn args(line: &[&str]) -> Result<Args, clap::Error> {
    use clap::{Args as _, FromArgMatches as _};
    let command = Args::augment_args(clap::Command::new("windows"));
    let matches = command.try_get_matches_from(std::iter::once(&"windows").chain(line))?;
    Args::from_arg_matches(&matches)
}

fn page(policies: &Policies, line: &[&str]) -> String {
    let clusters = [("dev-eu".to_owned(), labels("dev")), ("prod-eu".to_owned(), labels("prod"))];
    let mut out = Vec::new();
    run(&args(line).unwrap(), policies, &clusters, at("2026-12-16T12:34:56Z"), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn shop() -> Policies {
    let nights = weekly("prod-nights", "Europe/Berlin", "Tue Wed Thu", "22:00", hours(6));
    let sundays = weekly("sundays", "UTC", "Sun", "10:00", minutes(10));
    let year_end = freeze("year-end", "Europe/Berlin", "2026-12-18T00:00", "2027-01-04T08:00");
    let sunday =
        Freeze { clusters: ring("prod"), ..freeze("sunday", "UTC", "2026-12-20T00:00", "2026-12-21T00:00") };
    policies(
        &[
            Window { clusters: ring("prod"), ..nights },
            Window { clusters: ring("prod"), ..sundays },
            Window { clusters: ring("dev"), ..always("dev-any") },
        ],
        &[Freeze { clusters: ring("prod"), except_patch: true, ..year_end }, sunday],
    )
}

#[test]
fn the_page_for_people() {
    insta::assert_snapshot!(page(&shop(), &["--days", "7"]), @r#"
    CLUSTER  WINDOW       OPENS                        CLOSES                       ZONE           UTC                         FROZEN
    dev-eu   dev-any      always                       never                        UTC            always
    prod-eu  prod-nights  Wed 2026-12-16 22:00 +01:00  Thu 2026-12-17 04:00 +01:00  Europe/Berlin  12-16 21:00 to 12-17 03:00
    prod-eu  prod-nights  Thu 2026-12-17 22:00 +01:00  Fri 2026-12-18 04:00 +01:00  Europe/Berlin  12-17 21:00 to 12-18 03:00  partly: year-end (patch moves pass)
    prod-eu  sundays      Sun 2026-12-20 10:00 +00:00  Sun 2026-12-20 10:10 +00:00  UTC            12-20 10:00 to 12-20 10:10  wholly: year-end (patch moves pass), sunday
    prod-eu  prod-nights  Tue 2026-12-22 22:00 +01:00  Wed 2026-12-23 04:00 +01:00  Europe/Berlin  12-22 21:00 to 12-23 03:00  wholly: year-end (patch moves pass)

    lint: window/sundays: is open for 10m, one node takes 15m [tooShort]
    "#);
}

#[test]
fn the_page_for_machines() {
    insta::assert_snapshot!(page(&shop(), &["--from", "2026-12-17T22:30:00Z", "--days", "1", "-o", "json"]), @r#"
    {
      "openings": [
        {
          "window": "dev-any",
          "cluster": "dev-eu",
          "opens": null,
          "closes": null,
          "frozenBy": []
        },
        {
          "window": "prod-nights",
          "cluster": "prod-eu",
          "opens": "2026-12-17T21:00:00Z",
          "closes": "2026-12-18T03:00:00Z",
          "frozenBy": [
            "year-end"
          ]
        }
      ],
      "lints": [
        {
          "lint": "tooShort",
          "object": "window/sundays",
          "text": "is open for 10m, one node takes 15m"
        }
      ]
    }
    "#);
}

#[test]
fn the_two_half_past_two_of_autumn_are_told_apart() {
    let policies = policies(&[weekly("autumn", "Europe/Berlin", "Sun", "02:30", hours(1))], &[]);
    insta::assert_snapshot!(page(&policies, &["--from", "2026-10-25", "--days", "1"]), @r#"
    CLUSTER  WINDOW  OPENS                        CLOSES                       ZONE           UTC                         FROZEN
    dev-eu   autumn  Sun 2026-10-25 02:30 +02:00  Sun 2026-10-25 02:30 +01:00  Europe/Berlin  10-25 00:30 to 10-25 01:30
    prod-eu  autumn  Sun 2026-10-25 02:30 +02:00  Sun 2026-10-25 02:30 +01:00  Europe/Berlin  10-25 00:30 to 10-25 01:30

    lint: window/autumn: opens at 2027-03-28T01:30:00Z (Sun 2027-03-28 03:30 in Europe/Berlin): no clock shows 02:30 on 2027-03-28 [noSuchTime]
    "#);
}

#[test]
fn the_page_says_when_there_is_nothing() {
    insta::assert_snapshot!(page(&policies(&[], &[]), &["--days", "1"]), @r#"
    no opening in 1 day

    lint: cluster/dev-eu: no maintenance window matches it, so nothing is ever taken out [noWindow]
    lint: cluster/prod-eu: no maintenance window matches it, so nothing is ever taken out [noWindow]
    "#);
    let json = page(&policies(&[Window { clusters: ring("test"), ..always("test") }], &[]), &["-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["openings"], serde_json::json!([]));
}

#[test]
fn from_is_an_instant_or_a_date() {
    let from = |text: &str| args(&["--from", text]).map(|args| args.from.unwrap().to_string());
    for (text, expected) in [
        ("2026-12-24", "2026-12-24T00:00:00Z"),
        ("2026-12-24T22:00:00Z", "2026-12-24T22:00:00Z"),
        ("2026-12-24T22:00:00+01:00", "2026-12-24T21:00:00Z"),
    ] {
        assert_eq!(from(text).unwrap(), expected);
    }
    for bad in ["", "tomorrow", "2026-13-01", "2026-02-29", "2026-12-24T22:00", "22:00", "20261224", "-1"] {
        let error = args(&[&format!("--from={bad}")]).expect_err(bad).to_string();
        assert!(error.contains("--from <TIME>"), "{bad}: {error}");
    }
}

#[test]
fn bad_flags_are_named() {
    for days in ["0", "401", "-1", "many", "1.5"] {
        let error = args(&[&format!("--days={days}")]).expect_err(days).to_string();
        assert!(error.contains("--days <N>"), "{days}: {error}");
    }
    assert_eq!(args(&["--days", "400"]).unwrap().days, 400);
    assert!(args(&["-o", "yaml"]).unwrap_err().to_string().contains("--output <OUTPUT>"));
    let defaults = args(&[]).unwrap();
    assert_eq!((defaults.days, defaults.output, defaults.from), (14, Output::Text, None));
    let far = args(&["--from", "9999-12-30", "--days", "400"]).unwrap();
    let error = run(&far, &shop(), &[], at("2026-12-16T12:34:56Z"), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("--from 9999-12-30"), "{error}");
}

// --- properties -------------------------------------------------------------------------------------------

const ZONES: [&str; 5] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"];

prop_compose! {
    fn any_window()(
        zone in 0..ZONES.len(), day in 0..8_i8, minute in 0..48_i8, length in 1..90_i64, close in 0..3_usize,
    ) -> Window {
        let on = if day == 0 { Vec::new() } else { vec![Weekday::from_monday_one_offset(day).unwrap()] };
        let at = Time::new(minute / 2, (minute % 2) * 30, 0, 0).unwrap();
        let opening = Opening { days: on, at, length: minutes(length * 30) };
        let at_close = [AtClose::FinishNode, AtClose::FinishBatch, AtClose::RunOn][close];
        Window {
            opens: Opens::Weekly(vec![opening]),
            ..closing(weekly(&format!("w{zone}{day}{minute}"), ZONES[zone], "", "00:00", hours(1)), at_close, None)
        }
    }
}

prop_compose! {
    fn any_freeze()(zone in 0..ZONES.len(), begin in -600..600_i64, length in 1..300_i64, patch: bool) -> Freeze {
        let zone = self::zone(ZONES[zone]);
        let from = NEAR.checked_add(minutes(begin * 30)).unwrap();
        let until = from + minutes(length * 30);
        let (from, until) = (zone.to_datetime(from), zone.to_datetime(until));
        Freeze { from, until, time_zone: zone, except_patch: patch, ..freeze("f", "UTC", "2026-01-01", "2026-01-02") }
    }
}

/// Two weeks before clocks go back in Berlin and three before they do in New York.
const NEAR: Timestamp = Timestamp::constant(1_791_763_200, 0);

prop_compose! {
    fn any_policies()(
        windows in prop::collection::vec(any_window(), 0..4),
        freezes in prop::collection::vec(any_freeze(), 0..3),
    ) -> Policies {
        Policies { windows, freezes }
    }
}

/// The plain answer, told straight from the single openings and freezes.
fn open_at(policies: &Policies, kind: MoveKind, now: Timestamp) -> bool {
    let within = |span: &Span| span.opens <= now && now < span.closes;
    let open = policies
        .windows
        .iter()
        .any(|window| openings(window, now - hours(100), now + hours(1)).iter().any(within));
    let frozen = policies.freezes.iter().any(|freeze| {
        let from = freeze.time_zone.to_timestamp(freeze.from).unwrap();
        let until = freeze.time_zone.to_timestamp(freeze.until).unwrap();
        from <= now && now < until && !(kind == MoveKind::Patch && freeze.except_patch)
    });
    open && !frozen
}

fn any_kind() -> impl Strategy<Value = MoveKind> {
    prop::sample::select(vec![MoveKind::Patch, MoveKind::Minor])
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default()
    })]

    /// Open iff an opening contains the instant and no freeze does; and the decision says the same.
    #[test]
    fn open_is_what_an_opening_holds_and_no_freeze(
        policies in any_policies(), kind in any_kind(), minute in -20_000..20_000_i64,
    ) {
        let now = NEAR + minutes(minute);
        let calendar = calendar(&policies);
        let open = matches!(calendar.standing(kind, now), Standing::Open { .. });
        prop_assert_eq!(open, open_at(&policies, kind, now));
        prop_assert_eq!(open, calendar.may_take_out(kind, now).verdict() == Verdict::Allow);
        prop_assert_eq!(open, calendar.left(kind, now) != Some(SignedDuration::ZERO));
    }

    /// `next` and `closes` are the first instants at which the answer turns, and not one minute before.
    #[test]
    fn the_answer_turns_where_it_says_and_nowhere_before(
        policies in any_policies(), kind in any_kind(), minute in -20_000..20_000_i64,
    ) {
        let now = NEAR + minutes(minute);
        let (open, turns) = match calendar(&policies).standing(kind, now) {
            Standing::Open { closes, .. } => (true, closes),
            Standing::Closed { next, .. } => (false, next),
        };
        let end = turns.unwrap_or(now + hours(24 * 15)).min(now + hours(24 * 15));
        let mut instant = now;
        while instant < end {
            prop_assert_eq!(open_at(&policies, kind, instant), open, "at {}", instant);
            instant += minutes(10);
        }
        if let Some(turns) = turns {
            prop_assert_eq!(open_at(&policies, kind, turns), !open);
            for minute in 1..=30 {
                let before = turns - minutes(minute);
                prop_assert!(before < now || open_at(&policies, kind, before) == open, "at {}", before);
            }
        }
    }

    /// The last close is one: open just before it, and never since.
    #[test]
    fn closed_since_the_last_instant_that_was_open(
        policies in any_policies(), kind in any_kind(), minute in -20_000..20_000_i64,
    ) {
        let now = NEAR + minutes(minute);
        if let Standing::Closed { since: Some(since), .. } = calendar(&policies).standing(kind, now) {
            prop_assert!(since <= now);
            prop_assert!(open_at(&policies, kind, since - SignedDuration::from_nanos(1)));
            let mut instant = since;
            while instant < now.min(since + hours(24 * 15)) {
                prop_assert!(!open_at(&policies, kind, instant), "at {}", instant);
                instant += minutes(10);
            }
        }
    }

    /// No order of policies or openings changes an answer.
    #[test]
    fn order_does_not_matter(policies in any_policies(), kind in any_kind(), minute in -20_000..20_000_i64) {
        let now = NEAR + minutes(minute);
        let mut turned = policies.clone();
        turned.windows.reverse();
        turned.freezes.reverse();
        prop_assert_eq!(calendar(&policies).standing(kind, now), calendar(&turned).standing(kind, now));
        let (mut a, mut b) =
            (calendar(&policies).may_take_out(kind, now), calendar(&turned).may_take_out(kind, now));
        a.answers.sort_by(|x, y| x.reason.cmp(&y.reason));
        b.answers.sort_by(|x, y| x.reason.cmp(&y.reason));
        prop_assert_eq!(a, b);
        let spans: Vec<Span> = policies.windows.iter().flat_map(|w| openings(w, now, now + hours(400))).collect();
        let backwards: Vec<Span> = spans.iter().rev().cloned().collect();
        prop_assert_eq!(union(&spans), union(&backwards));
    }

    /// A later question never finds less time than an earlier one promised.
    #[test]
    fn what_is_left_runs_out_one_second_a_second(policies in any_policies(), minute in -20_000..20_000_i64) {
        let now = NEAR + minutes(minute);
        let calendar = calendar(&policies);
        if let Some(left) = calendar.left(MoveKind::Minor, now).filter(|left| *left > minutes(1)) {
            prop_assert_eq!(calendar.left(MoveKind::Minor, now + minutes(1)), Some(left - minutes(1)));
            prop_assert_eq!(calendar.left(MoveKind::Minor, now + left), Some(SignedDuration::ZERO));
        }
    }
}

#[test]
fn keys_are_those_that_the_gates_promise() {
    let nights = weekly("w", "UTC", "Tue", "20:00", hours(1));
    let decision = decide(&policies(&[nights], &[]), MoveKind::Minor, "2026-12-02T00:00:00Z");
    let keys: Vec<Key> = decision.answers.iter().map(|answer| answer.reason.key).collect();
    assert_eq!(keys, [Key::WindowClosed, Key::Passes]);
}
