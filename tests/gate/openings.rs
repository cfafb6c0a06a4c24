//! Windows become spans of time: zones, midnight, the two days on which clocks change.

use super::*;

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
        let _ = calendar(&policies).state(MoveKind::Minor, now);
        let _ = calendar(&policies).left(MoveKind::Minor, now);
    }
}
