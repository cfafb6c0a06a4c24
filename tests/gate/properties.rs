//! What holds for any policies at any time, against the plain answer told from single openings.

use proptest::prelude::*;

use super::*;

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
        let open = matches!(calendar.state(kind, now), CalendarState::Open { .. });
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
        let (open, turns) = match calendar(&policies).state(kind, now) {
            CalendarState::Open { closes, .. } => (true, closes),
            CalendarState::Closed { next, .. } => (false, next),
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
        if let CalendarState::Closed { since: Some(since), .. } = calendar(&policies).state(kind, now) {
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
        prop_assert_eq!(calendar(&policies).state(kind, now), calendar(&turned).state(kind, now));
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
