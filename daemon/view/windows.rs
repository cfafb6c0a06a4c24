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
use crate::model::text::{one_line, plural};

/// Drain, upgrade and settling of one lightly loaded node. A shorter opening will hardly finish a node.
const ONE_NODE: SignedDuration = SignedDuration::from_mins(15);

/// The openings and freezes of some days, and everything about their policies that looks like a mistake.
#[derive(Clone, Debug, Serialize)]
pub struct WindowsPage {
    pub openings: Vec<OpeningRow>,
    /// The freezes that overlap these days or one of the openings, by name.
    pub freezes: Vec<FreezeRow>,
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
    /// How much of the opening is frozen, of `opens: always` how much of the days shown; `None` if no freeze overlaps it.
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

/// One freeze, uncut.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FreezeRow {
    pub freeze: String,
    pub from: Timestamp,
    pub until: Timestamp,
    /// The zone in which the freeze is written.
    pub time_zone: String,
    /// True if patch moves pass it.
    pub except_patch: bool,
    pub reason: String,
    /// Those of the clusters shown that it freezes.
    pub clusters: Vec<String>,
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
        let openings = rows(policies, clusters, from, until);
        Some(Self {
            freezes: freezes(policies, clusters, &openings, Stretch { from, until }),
            openings,
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
        if !self.freezes.is_empty() {
            let heads = ["FREEZE", "FROM", "UNTIL", "ZONE", "CLUSTERS", "WHY"];
            let _ = write!(page, "\n{}", table(heads, self.freezes.iter().map(FreezeRow::words).collect()));
        }
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
    let shown = Stretch { from, until };
    let mut rows: Vec<OpeningRow> = Vec::new();
    for (cluster, labels) in clusters {
        let calendar = Calendar::of(policies, labels, cluster);
        for window in calendar.windows() {
            let spans = openings(window, from, until);
            rows.extend(
                spans.iter().map(|span| OpeningRow::of(span, cluster, &window.time_zone, &calendar, shown)),
            );
        }
    }
    rows.sort_by(|a, b| (a.opens, &a.cluster, &a.window).cmp(&(b.opens, &b.cluster, &b.window)));
    rows
}

impl OpeningRow {
    fn of(span: &Span, cluster: &str, zone: &TimeZone, calendar: &Calendar<'_>, shown: Stretch) -> Self {
        // An opening without a beginning and an end counts for the days shown.
        let stretch = if span.is_always() { shown } else { span.stretch() };
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
            frozen: share(stretch, &overlapping),
            except_patch: passing.map(|freeze| freeze.name.clone()).collect(),
            frozen_by: overlapping.into_iter().map(|freeze| freeze.name.clone()).collect(),
            zone: zone.clone(),
        }
    }

    fn words(&self) -> [String; 7] {
        let (opens, closes, utc) = match (self.opens, self.closes) {
            (Some(opens), Some(closes)) => (
                local(opens, &self.zone),
                local(closes, &self.zone),
                format!("{} to {}", opens.strftime("%m-%d %H:%M"), closes.strftime("%m-%d %H:%M")),
            ),
            (_, _) => ("always".to_owned(), "never".to_owned(), "always".to_owned()),
        };
        let (cluster, window) = (self.cluster.clone(), self.window.clone());
        [cluster, window, opens, closes, self.time_zone.clone(), utc, self.frozen_words()]
    }

    fn frozen_words(&self) -> String {
        let share = match self.frozen {
            Some(Share::Wholly) if self.opens.is_none() => "on all days shown",
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

impl FreezeRow {
    fn of(freeze: &Freeze, clusters: Vec<String>) -> Self {
        let Stretch { from, until } = in_force(freeze);
        Self {
            freeze: freeze.name.clone(),
            from,
            until,
            time_zone: zone_name(&freeze.time_zone),
            except_patch: freeze.except_patch,
            reason: freeze.reason.clone(),
            clusters,
            zone: freeze.time_zone.clone(),
        }
    }

    fn words(&self) -> [String; 6] {
        [
            self.freeze.clone(),
            local(self.from, &self.zone),
            local(self.until, &self.zone),
            self.time_zone.clone(),
            self.clusters.join(", "),
            one_line(&self.reason),
        ]
    }
}

/// The freezes of the clusters that overlap the days shown or one of the openings.
fn freezes(
    policies: &Policies,
    clusters: &[(String, BTreeMap<String, String>)],
    openings: &[OpeningRow],
    shown: Stretch,
) -> Vec<FreezeRow> {
    let mut rows: BTreeMap<String, FreezeRow> = BTreeMap::new();
    let of_opening = |freeze: &Freeze| openings.iter().any(|row| row.frozen_by.contains(&freeze.name));
    for (cluster, labels) in clusters {
        let calendar = Calendar::of(policies, labels, cluster);
        let told = |freeze: &&Freeze| in_force(freeze).overlaps(shown) || of_opening(freeze);
        for freeze in calendar.freezes().filter(told) {
            let row = rows.entry(freeze.name.clone()).or_insert_with(|| FreezeRow::of(freeze, Vec::new()));
            row.clusters.push(cluster.clone());
        }
    }
    rows.into_values().collect()
}

/// With the offset, because 02:30 comes twice on the day on which clocks go back.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %:z").to_string()
}

/// How much of an opening these freezes take away; `None` if none of it.
fn share(opening: Stretch, overlapping: &[&Freeze]) -> Option<Share> {
    if overlapping.is_empty() {
        return None;
    }
    let frozen: Vec<_> = overlapping.iter().map(|freeze| in_force(freeze)).collect();
    let left = subtract(&[opening], &frozen);
    Some(if left.is_empty() { Share::Wholly } else { Share::Partly })
}

impl From<Lint> for Finding {
    fn from(lint: Lint) -> Self {
        Self { lint: lint.kind.as_str(), object: lint.object, text: lint.text }
    }
}
