//! Findings about windows and freezes that are valid but look like a mistake. A finding stops nothing; `windlass
//! windows` and `windlass validate` show it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::answers::Calendar;
use super::stretch::LOOK;
use super::window::openings;
use super::window::{first_of_two, local, odd, shortest, stand_in};
use crate::model::desired::{Freeze, Policies, Window};
use crate::model::time::later;
use crate::model::work::MoveKind;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lint {
    pub kind: LintKind,
    /// The object it is about: `window/prod-nights`, `freeze/year-end`, `cluster/prod-eu`.
    pub object: String,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LintKind {
    /// No window matches a cluster.
    NoWindow,
    /// A window has no opening in sight.
    NeverOpens,
    /// An opening is shorter than one node takes.
    TooShort,
    /// Freezes cover every opening of a cluster.
    AllFrozen,
    /// A freeze begins so late that its year looks like a mistake.
    FarAway,
    /// A local time that no clock shows on some day.
    NoSuchTime,
    /// A local time that clocks show twice on some day.
    TimeTwice,
}

impl LintKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoWindow => "noWindow",
            Self::NeverOpens => "neverOpens",
            Self::TooShort => "tooShort",
            Self::AllFrozen => "allFrozen",
            Self::FarAway => "farAway",
            Self::NoSuchTime => "noSuchTime",
            Self::TimeTwice => "timeTwice",
        }
    }
}

/// More years ahead than anybody plans a freeze.
const FAR: i64 = 3;

/// Everything from `now` on that looks like a mistake, as far ahead as [`LOOK`]; `node` is how long one node takes.
pub fn lints(
    policies: &Policies,
    clusters: &[(String, BTreeMap<String, String>)],
    node: SignedDuration,
    now: Timestamp,
) -> Vec<Lint> {
    let mut found: Vec<Lint> = Vec::new();
    found.extend(policies.windows.iter().flat_map(|window| of_window(window, node, now)));
    found.extend(policies.freezes.iter().flat_map(|freeze| of_freeze(freeze, now)));
    found.extend(
        clusters
            .iter()
            .filter_map(|(name, labels)| of_cluster(&Calendar::of(policies, labels, name), name, now)),
    );
    found
}

fn of_window(window: &Window, node: SignedDuration, now: Timestamp) -> Vec<Lint> {
    let until = later(now, LOOK);
    let lint = |kind, text| Lint { kind, object: format!("window/{}", window.name), text };
    let mut found = Vec::new();
    if openings(window, now, until).is_empty() {
        found.push(lint(LintKind::NeverOpens, format!("never opens within {} days", LOOK.as_hours() / 24)));
    }
    if let Some(length) = shortest(window, now, until).filter(|length| *length < node) {
        let text = format!("is open for {length:#}, one node takes {node:#}");
        found.push(lint(LintKind::TooShort, text));
    }
    for (at, first) in odd(window, now, until, first_of_two) {
        let text = format!(
            "opens at {}, the first of two: clocks show {} twice on {}",
            local(first, &window.time_zone),
            at.strftime("%H:%M"),
            at.date()
        );
        found.push(lint(LintKind::TimeTwice, text));
    }
    for (at, stands_in) in odd(window, now, until, stand_in) {
        let text = format!(
            "opens at {}: no clock shows {} on {}",
            local(stands_in, &window.time_zone),
            at.strftime("%H:%M"),
            at.date()
        );
        found.push(lint(LintKind::NoSuchTime, text));
    }
    found
}

fn of_freeze(freeze: &Freeze, now: Timestamp) -> Vec<Lint> {
    let bounds = [("begins", freeze.from), ("ends", freeze.until)];
    let found = bounds.into_iter().filter_map(|(verb, at)| {
        let stands_in = stand_in(at, &freeze.time_zone).filter(|stands_in| *stands_in >= now)?;
        let shown = local(stands_in, &freeze.time_zone);
        let text = format!("{verb} at {shown}: no clock shows {} on {}", at.strftime("%H:%M"), at.date());
        Some(Lint { kind: LintKind::NoSuchTime, object: format!("freeze/{}", freeze.name), text })
    });
    let far = (i64::from(freeze.from.year()) - i64::from(now.to_zoned(freeze.time_zone.clone()).year())
        > FAR)
        .then(|| Lint {
            kind: LintKind::FarAway,
            object: format!("freeze/{}", freeze.name),
            text: format!("begins in {}, and until then freezes nothing", freeze.from.year()),
        });
    found.chain(far).collect()
}

fn of_cluster(calendar: &Calendar<'_>, name: &str, now: Timestamp) -> Option<Lint> {
    let object = format!("cluster/{name}");
    if calendar.windows().next().is_none() {
        let text = "no maintenance window matches it, so nothing is ever taken out".to_owned();
        return Some(Lint { kind: LintKind::NoWindow, object, text });
    }
    let until = later(now, LOOK);
    let opens = calendar.windows().any(|window| !openings(window, now, until).is_empty());
    let passes = |kind| {
        let stretches = calendar.stretches(kind, now, until);
        stretches.iter().any(|stretch| stretch.until > now && stretch.from < until)
    };
    if !opens || passes(MoveKind::Minor) {
        return None;
    }
    let names = calendar.freezers(MoveKind::Minor, now, until);
    let days = LOOK.as_hours() / 24;
    let moves = if passes(MoveKind::Patch) { " for minor moves" } else { "" };
    let text = format!("every opening of the next {days} days is frozen{moves} by {names}");
    Some(Lint { kind: LintKind::AllFrozen, object, text })
}
