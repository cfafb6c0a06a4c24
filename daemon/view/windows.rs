//! When each cluster may be disrupted next, what is frozen, and what looks like a mistake. It shows the policies and
//! nothing of what a cluster does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Page;
use super::ink::{Ink, Tone};
use super::table::table;
use crate::gate::{Calendar, Lint, Span, Stretch, in_force, lints, openings, subtract, zone_name};
use crate::model::desired::{Freeze, Policies};
use crate::model::text::plural;

/// Drain, upgrade and settling of one lightly loaded node. A shorter opening will hardly finish a node.
const ONE_NODE: SignedDuration = SignedDuration::from_mins(15);

/// The openings of some days, and everything about their policies that looks like a mistake.
#[derive(Clone, Debug, Serialize)]
pub struct WindowsPage {
    pub openings: Vec<OpeningRow>,
    pub lints: Vec<Finding>,
    #[serde(skip)]
    days: u16,
}

/// One opening of one cluster. It is shown uncut, even if a freeze overlaps it or the first day begins within it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpeningRow {
    pub window: String,
    pub cluster: String,
    /// `None` for `opens: always`, which has no beginning.
    pub opens: Option<Timestamp>,
    /// `None` for `opens: always`, which has no end.
    pub closes: Option<Timestamp>,
    /// The zone in which the window is written.
    pub time_zone: String,
    /// How much of the opening is frozen; `None` if no freeze overlaps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Share>,
    /// The freezes that overlap it.
    pub frozen_by: Vec<String>,
    /// Those of them that let patch moves pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except_patch: Vec<String>,
    #[serde(skip)]
    zone: TimeZone,
}

/// How much of an opening is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Share {
    Partly,
    Wholly,
}

/// Something that looks like a mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub lint: &'static str,
    pub object: String,
    pub text: String,
}

impl WindowsPage {
    /// The openings that begin within `days` from an instant on, or have begun and not ended. `None` if a timestamp
    /// cannot represent the end.
    pub fn of(
        policies: &Policies,
        clusters: &[(String, BTreeMap<String, String>)],
        from: Timestamp,
        days: u16,
    ) -> Option<Self> {
        let until = from.checked_add(SignedDuration::from_hours(24 * i64::from(days))).ok()?;
        Some(Self {
            openings: rows(policies, clusters, from, until),
            lints: lints(policies, clusters, ONE_NODE, from).into_iter().map(Finding::from).collect(),
            days,
        })
    }
}

impl Page for WindowsPage {
    fn draw(&self, ink: Ink) -> String {
        let mut page = if self.openings.is_empty() {
            format!("no opening in {}\n", plural(self.days, "day"))
        } else {
            let heads = ["CLUSTER", "WINDOW", "OPENS", "CLOSES", "ZONE", "UTC", "FROZEN"];
            table(heads, self.openings.iter().map(OpeningRow::words).collect())
        };
        for (index, lint) in self.lints.iter().enumerate() {
            let gap = if index == 0 { "\n" } else { "" };
            let head = ink.paint(Tone::Wait, "lint");
            let _ = writeln!(page, "{gap}{head}: {}: {} [{}]", lint.object, lint.text, lint.lint);
        }
        page
    }
}

/// One row per cluster and opening: those without a beginning first, then by time, cluster and window.
fn rows(
    policies: &Policies,
    clusters: &[(String, BTreeMap<String, String>)],
    from: Timestamp,
    until: Timestamp,
) -> Vec<OpeningRow> {
    let mut rows: Vec<OpeningRow> = Vec::new();
    for (cluster, labels) in clusters {
        let calendar = Calendar::of(policies, labels, cluster);
        for window in calendar.windows() {
            let spans = openings(window, from, until);
            rows.extend(
                spans.iter().map(|span| OpeningRow::of(span, cluster, &window.time_zone, &calendar, from)),
            );
        }
    }
    rows.sort_by(|a, b| (a.opens, &a.cluster, &a.window).cmp(&(b.opens, &b.cluster, &b.window)));
    rows
}

impl OpeningRow {
    fn of(span: &Span, cluster: &str, zone: &TimeZone, calendar: &Calendar<'_>, from: Timestamp) -> Self {
        // Of an opening without a beginning, past freezes are left out.
        let stretch = span.stretch();
        let stretch = if span.is_always() { Stretch { from, ..stretch } } else { stretch };
        let overlapping: Vec<&Freeze> =
            calendar.freezes().filter(|freeze| in_force(freeze).overlaps(stretch)).collect();
        let passing = overlapping.iter().filter(|freeze| freeze.except_patch);
        let bound = |at| (!span.is_always()).then_some(at);
        Self {
            window: span.window.clone(),
            cluster: cluster.to_owned(),
            opens: bound(span.opens),
            closes: bound(span.closes),
            time_zone: zone_name(zone),
            frozen: share(span, &overlapping),
            except_patch: passing.map(|freeze| freeze.name.clone()).collect(),
            frozen_by: overlapping.into_iter().map(|freeze| freeze.name.clone()).collect(),
            zone: zone.clone(),
        }
    }

    fn words(&self) -> [String; 7] {
        let (opens, closes, utc) = match (self.opens, self.closes) {
            (Some(opens), Some(closes)) => (
                self.local(opens),
                self.local(closes),
                format!("{} to {}", opens.strftime("%m-%d %H:%M"), closes.strftime("%m-%d %H:%M")),
            ),
            (_, _) => ("always".to_owned(), "never".to_owned(), "always".to_owned()),
        };
        let (cluster, window) = (self.cluster.clone(), self.window.clone());
        [cluster, window, opens, closes, self.time_zone.clone(), utc, self.frozen_words()]
    }

    /// With the offset, because 02:30 comes twice on the day on which clocks go back.
    fn local(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %Y-%m-%d %H:%M %:z").to_string()
    }

    fn frozen_words(&self) -> String {
        let share = match self.frozen {
            Some(Share::Partly) => "partly",
            Some(Share::Wholly) => "wholly",
            None => return String::new(),
        };
        let name = |name: &String| {
            let passes = if self.except_patch.contains(name) { " (patch moves pass)" } else { "" };
            format!("{name}{passes}")
        };
        format!("{share}: {}", self.frozen_by.iter().map(name).collect::<Vec<_>>().join(", "))
    }
}

/// How much of an opening these freezes take away; `None` if none of it.
fn share(span: &Span, overlapping: &[&Freeze]) -> Option<Share> {
    if overlapping.is_empty() {
        return None;
    }
    let frozen: Vec<_> = overlapping.iter().map(|freeze| in_force(freeze)).collect();
    let left = subtract(&[span.stretch()], &frozen);
    Some(if left.is_empty() { Share::Wholly } else { Share::Partly })
}

impl From<Lint> for Finding {
    fn from(lint: Lint) -> Self {
        Self { lint: lint.kind.as_str(), object: lint.object, text: lint.text }
    }
}
