//! Whether a cluster may be worked on now, by all of its windows and freezes together.

use super::*;

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
    let open = CalendarState::Open { closes: None, at_close: AtClose::FinishNode };
    assert_eq!(standing(&policies, "2026-12-01T00:00:00Z"), open);
    assert_eq!(calendar(&policies).left(MoveKind::Minor, at("2026-12-01T00:00:00Z")), None);
}

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
