//! What `windlass windows` prints, and its lints.

use windlass::cli::Output;
use windlass::cli::windows::{Args, page as asked};
use windlass::view::Page as _;
use windlass::view::windows::WindowsPage;

use super::*;

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
fn lints_name_local_times_that_no_clock_shows_or_that_come_twice() {
    let sunday = weekly("sunday", "Europe/Berlin", "Sun", "02:30", hours(2));
    let frozen = freeze("spring", "Europe/Berlin", "2027-03-28T02:15", "2027-03-29T02:15");
    assert_eq!(
        linted(&policies(&[sunday], &[frozen])),
        [
            "timeTwice window/sunday: opens at 2027-10-31T00:30:00Z (Sun 2027-10-31 02:30 in Europe/Berlin), the first \
             of two: clocks show 02:30 twice on 2027-10-31",
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

fn args(line: &[&str]) -> Result<Args, clap::Error> {
    use clap::{Args as _, FromArgMatches as _};
    let command = Args::augment_args(clap::Command::new("windows"));
    let matches = command.try_get_matches_from(std::iter::once(&"windows").chain(line))?;
    Args::from_arg_matches(&matches)
}

fn page(policies: &Policies, line: &[&str]) -> WindowsPage {
    let clusters = [("dev-eu".to_owned(), labels("dev")), ("prod-eu".to_owned(), labels("prod"))];
    asked(&args(line).unwrap(), policies, &clusters, at("2026-12-16T12:34:56Z")).unwrap()
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
    insta::assert_snapshot!(page(&shop(), &["--days", "7"]).text(), @r#"
    CLUSTER  WINDOW       OPENS                        CLOSES                       ZONE           UTC                         FROZEN
    dev-eu   dev-any      always                       never                        UTC            always
    prod-eu  prod-nights  Wed 2026-12-16 22:00 +01:00  Thu 2026-12-17 04:00 +01:00  Europe/Berlin  12-16 21:00 to 12-17 03:00
    prod-eu  prod-nights  Thu 2026-12-17 22:00 +01:00  Fri 2026-12-18 04:00 +01:00  Europe/Berlin  12-17 21:00 to 12-18 03:00  partly: year-end (patch moves pass)
    prod-eu  sundays      Sun 2026-12-20 10:00 +00:00  Sun 2026-12-20 10:10 +00:00  UTC            12-20 10:00 to 12-20 10:10  wholly: year-end (patch moves pass), sunday
    prod-eu  prod-nights  Tue 2026-12-22 22:00 +01:00  Wed 2026-12-23 04:00 +01:00  Europe/Berlin  12-22 21:00 to 12-23 03:00  wholly: year-end (patch moves pass)

    FREEZE    FROM                         UNTIL                        ZONE           CLUSTERS  WHY
    sunday    Sun 2026-12-20 00:00 +00:00  Mon 2026-12-21 00:00 +00:00  UTC            prod-eu   year-end trading
    year-end  Fri 2026-12-18 00:00 +01:00  Mon 2027-01-04 08:00 +01:00  Europe/Berlin  prod-eu   year-end trading

    lint: window/sundays: is open for 10m, one node takes 15m [tooShort]
    "#);
}

#[test]
fn a_window_that_is_always_open_is_frozen_on_the_days_shown() {
    let year_end = freeze("year-end", "Europe/Berlin", "2026-12-18T00:00", "2027-01-04T08:00");
    let policies = policies(&[Window { clusters: ring("dev"), ..always("dev-any") }], &[year_end]);
    let frozen = |from: &str, days: &str| {
        let page = page(&policies, &["--from", from, "--days", days]);
        (page.text().lines().nth(1).unwrap().rsplit("  ").next().unwrap().to_owned(), page.freezes.len())
    };
    assert_eq!(frozen("2026-12-20", "7"), ("on all days shown: year-end".to_owned(), 1));
    assert_eq!(frozen("2026-12-16", "7"), ("partly: year-end".to_owned(), 1));
    assert_eq!(frozen("2026-12-01", "7"), ("always".to_owned(), 0));
    assert_eq!(frozen("2027-02-01", "7"), ("always".to_owned(), 0));
    let text = page(&policies, &["--from", "2026-12-20"]).text();
    let dates = "year-end  Fri 2026-12-18 00:00 +01:00  Mon 2027-01-04 08:00 +01:00  Europe/Berlin";
    assert!(text.contains(dates), "{text}");
}

#[test]
fn the_page_for_machines() {
    insta::assert_snapshot!(page(&shop(), &["--from", "2026-12-17T22:30:00Z", "--days", "1"]).json().unwrap(), @r#"
    {
      "openings": [
        {
          "window": "dev-any",
          "cluster": "dev-eu",
          "opens": null,
          "closes": null,
          "timeZone": "UTC",
          "frozenBy": []
        },
        {
          "window": "prod-nights",
          "cluster": "prod-eu",
          "opens": "2026-12-17T21:00:00Z",
          "closes": "2026-12-18T03:00:00Z",
          "timeZone": "Europe/Berlin",
          "frozen": "partly",
          "frozenBy": [
            "year-end"
          ],
          "exceptPatch": [
            "year-end"
          ]
        }
      ],
      "freezes": [
        {
          "freeze": "year-end",
          "from": "2026-12-17T23:00:00Z",
          "until": "2027-01-04T07:00:00Z",
          "timeZone": "Europe/Berlin",
          "exceptPatch": true,
          "reason": "year-end trading",
          "clusters": [
            "prod-eu"
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
    insta::assert_snapshot!(page(&policies, &["--from", "2026-10-25", "--days", "1"]).text(), @r#"
    CLUSTER  WINDOW  OPENS                        CLOSES                       ZONE           UTC                         FROZEN
    dev-eu   autumn  Sun 2026-10-25 02:30 +02:00  Sun 2026-10-25 02:30 +01:00  Europe/Berlin  10-25 00:30 to 10-25 01:30
    prod-eu  autumn  Sun 2026-10-25 02:30 +02:00  Sun 2026-10-25 02:30 +01:00  Europe/Berlin  10-25 00:30 to 10-25 01:30

    lint: window/autumn: opens at 2026-10-25T00:30:00Z (Sun 2026-10-25 02:30 in Europe/Berlin), the first of two: clocks show 02:30 twice on 2026-10-25 [timeTwice]
    lint: window/autumn: opens at 2027-10-31T00:30:00Z (Sun 2027-10-31 02:30 in Europe/Berlin), the first of two: clocks show 02:30 twice on 2027-10-31 [timeTwice]
    lint: window/autumn: opens at 2027-03-28T01:30:00Z (Sun 2027-03-28 03:30 in Europe/Berlin): no clock shows 02:30 on 2027-03-28 [noSuchTime]
    "#);
}

#[test]
fn the_page_says_when_there_is_nothing() {
    insta::assert_snapshot!(page(&policies(&[], &[]), &["--days", "1"]).text(), @r#"
    no opening in 1 day

    lint: cluster/dev-eu: no maintenance window matches it, so nothing is ever taken out [noWindow]
    lint: cluster/prod-eu: no maintenance window matches it, so nothing is ever taken out [noWindow]
    "#);
    let elsewhere = policies(&[Window { clusters: ring("test"), ..always("test") }], &[]);
    assert!(page(&elsewhere, &[]).json().unwrap().starts_with("{\n  \"openings\": [],"));
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
    let error = asked(&far, &shop(), &[], at("2026-12-16T12:34:56Z")).unwrap_err();
    assert!(error.to_string().contains("--from 9999-12-30"), "{error}");
}
