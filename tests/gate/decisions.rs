//! What is answered, with reasons and the next moment, and what becomes of work in hand at the close.

use super::*;

#[test]
fn nothing_matches_nothing_moves() {
    let elsewhere = Window { clusters: ring("dev"), ..always("dev") };
    let none = policies(&[elsewhere], &[freeze("f", "UTC", "2026-12-01T00:00", "2026-12-03T00:00")]);
    let decision = decide(&none, MoveKind::Patch, "2026-12-02T00:00:00Z");
    assert_eq!((decision.verdict(), decision.next()), (Verdict::Deny, None));
    assert_eq!(
        answers(&none, MoveKind::Patch, "2026-12-05T00:00:00Z"),
        [
            "Window Deny noWindow cluster/prod-eu: no maintenance window matches this cluster: add one to policies/, \
             with `opens: always` if any time will do",
            "Freeze Allow passes cluster/prod-eu: no freeze is in force",
        ]
    );
    let closed =
        CalendarState::Closed { since: None, next: None, at_close: AtClose::FinishNode, hard_limit_at: None };
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

#[test]
fn the_close_follows_the_window_that_closes_last() {
    let short = closing(weekly("short", "UTC", "Tue", "20:00", hours(2)), AtClose::RunOn, None);
    let long = closing(weekly("long", "UTC", "Tue", "20:00", hours(4)), AtClose::FinishBatch, Some(hours(1)));
    let policies_of_both = policies(&[short.clone(), long], &[]);
    let open =
        CalendarState::Open { closes: Some(at("2026-12-02T00:00:00Z")), at_close: AtClose::FinishBatch };
    assert_eq!(standing(&policies_of_both, "2026-12-01T21:00:00Z"), open);
    let closed = CalendarState::Closed {
        since: Some(at("2026-12-02T00:00:00Z")),
        next: Some(at("2026-12-08T20:00:00Z")),
        at_close: AtClose::FinishBatch,
        hard_limit_at: Some(at("2026-12-02T01:00:00Z")),
    };
    assert_eq!(standing(&policies_of_both, "2026-12-02T00:00:00Z"), closed);
    // At the same instant the strictest of each counts.
    let same = closing(weekly("same", "UTC", "Tue", "21:00", hours(1)), AtClose::FinishNode, Some(hours(3)));
    let tied = policies(&[short, same], &[]);
    let CalendarState::Closed { at_close, hard_limit_at, .. } = standing(&tied, "2026-12-01T22:00:00Z")
    else {
        panic!("open");
    };
    assert_eq!((at_close, hard_limit_at), (AtClose::FinishNode, Some(at("2026-12-02T01:00:00Z"))));
    let limited = |name, opens, length, limit| {
        closing(weekly(name, "UTC", "Tue", opens, hours(length)), AtClose::FinishNode, Some(hours(limit)))
    };
    let hard_limit =
        |windows: &[Window], freezes: &[Freeze], now| match standing(&policies(windows, freezes), now) {
            CalendarState::Closed { hard_limit_at, .. } => told(hard_limit_at),
            CalendarState::Open { .. } => panic!("open at {now}"),
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
    let open =
        CalendarState::Open { closes: Some(at("2026-12-01T22:00:00Z")), at_close: AtClose::FinishNode };
    assert_eq!(standing(&frozen, "2026-12-01T21:00:00Z"), open);
    let closed = |now| match standing(&frozen, now) {
        CalendarState::Closed { since, at_close, hard_limit_at, .. } => {
            (told(since), at_close, told(hard_limit_at))
        }
        CalendarState::Open { .. } => panic!("open at {now}"),
    };
    let finish = ("2026-12-01T22:00:00Z".to_owned(), AtClose::FinishNode, "2026-12-02T00:00:00Z".to_owned());
    assert_eq!(closed("2026-12-01T23:00:00Z"), finish);
    // The end of the freeze does not revive a run outside of any window.
    assert_eq!(closed("2026-12-04T00:00:00Z"), finish);
    // A freeze that falls into the time after the close ends a run that runs on; until then it runs.
    let after = policies(&[run_on], &[freeze("f", "UTC", "2026-12-02T01:00", "2026-12-02T06:00")]);
    let began = Some(at("2026-12-01T20:10:00Z"));
    let hand = |now: &str| after_close(&standing(&after, now), began, at(now));
    assert_eq!(hand("2026-12-02T00:59:00Z"), AtNow::TakeOut);
    assert_eq!(hand("2026-12-02T01:00:00Z"), AtNow::FinishOnly);
    // One that was over before the close takes nothing from what the window says.
    let before = policies(
        &[closing(weekly("w", "UTC", "Tue", "20:00", hours(4)), AtClose::RunOn, None)],
        &[freeze("f", "UTC", "2026-12-01T21:00", "2026-12-01T22:00")],
    );
    let standing = standing(&before, "2026-12-02T00:30:00Z");
    assert!(matches!(standing, CalendarState::Closed { at_close: AtClose::RunOn, .. }), "{standing:?}");
}

#[test]
fn after_close_goes_on_as_the_window_says() {
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
        let found = after_close(&standing, began.map(at), at(now));
        assert_eq!(found, *expected, "{at_close:?} {hard_limit:?} began {began:?} at {now}");
    }
}

#[test]
fn the_last_close_is_found_far_back() {
    let yearly = freeze("f", "UTC", "2026-01-10T00:00", "2027-01-01T00:00");
    let window = closing(weekly("w", "UTC", "Tue", "20:00", hours(1)), AtClose::FinishNode, Some(hours(1)));
    let policies = policies(&[window], &[yearly]);
    let expected = CalendarState::Closed {
        since: Some(at("2026-01-06T21:00:00Z")),
        next: Some(at("2027-01-05T20:00:00Z")),
        at_close: AtClose::FinishNode,
        hard_limit_at: Some(at("2026-01-06T22:00:00Z")),
    };
    assert_eq!(standing(&policies, "2026-12-15T00:00:00Z"), expected);
}
