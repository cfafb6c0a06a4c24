//! Maintenance windows and freezes: may a node be taken out now, why not, and when next. All windows that match a
//! cluster are one union, freezes are subtracted from it, and all of it is arithmetic over half-open stretches of
//! time. It knows no nodes and no runs, takes the time as an argument, and never keeps a node from being returned.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::close::{self, CalendarState};
use super::freeze::{self, in_force, subtract};
use super::stretch::{LOOK, Stretch, days, earlier};
use super::window::{self, Span, local, openings, union};
use crate::model::decision::{Answer, Decision, Gate, Key, Reason, Verdict};
use crate::model::desired::{AtClose, Freeze, Policies, Window};
use crate::model::text::list;
use crate::model::time::later;
use crate::model::work::MoveKind;

/// Nearly every answer lies within the first of these; a longer look costs in proportion.
const LOOKS: [SignedDuration; 3] = [days(9), days(60), LOOK];

/// When one cluster may be disrupted: the union of the windows that match it, minus the freezes that match it.
#[derive(Clone, Debug)]
pub struct Calendar<'a> {
    cluster: String,
    windows: Vec<&'a Window>,
    freezes: Vec<&'a Freeze>,
}

/// The stretches around one instant.
#[derive(Clone, Copy, Debug)]
struct Around {
    last: Option<Stretch>,
    current: Option<Stretch>,
    next: Option<Stretch>,
}

impl<'a> Calendar<'a> {
    pub fn of(policies: &'a Policies, labels: &BTreeMap<String, String>, cluster: &str) -> Self {
        let windows = policies.windows.iter().filter(|window| window.clusters.matches_map(labels));
        let freezes = policies.freezes.iter().filter(|freeze| freeze.clusters.matches_map(labels));
        Self { cluster: cluster.to_owned(), windows: windows.collect(), freezes: freezes.collect() }
    }

    /// The windows that match the cluster, in the order of the policies.
    pub fn windows(&self) -> impl Iterator<Item = &'a Window> {
        self.windows.iter().copied()
    }

    /// The freezes that match the cluster, those with exceptions too.
    pub fn freezes(&self) -> impl Iterator<Item = &'a Freeze> {
        self.freezes.iter().copied()
    }

    /// Whether a node may be taken out for a move of this kind: one answer of the windows, and one of the freezes or
    /// one of each freeze that objects. Every objection has the same `next`: when windows and freezes would both
    /// allow.
    pub fn may_take_out(&self, kind: MoveKind, now: Timestamp) -> Decision {
        let (window, freezes) = self.answers(kind, now);
        let mut answers = vec![window];
        answers.extend(freezes);
        Decision { answers }
    }

    /// The answers of the windows and of the freezes to a move of this kind.
    pub fn answers(&self, kind: MoveKind, now: Timestamp) -> (Answer, Vec<Answer>) {
        let next = self.around(kind, now).next.map(|stretch| stretch.from);
        (self.window_answer(kind, now, next), self.freeze_answers(kind, now, next))
    }

    /// The state of the calendar, with the rules for the close.
    ///
    /// If several windows are open at a close, the `atClose` and `hardLimit` of the window that closes last count; of
    /// several that close at the same instant, the strictest of each. A freeze is different: if it ends an opening or
    /// begins after the close, work is finished node by node whatever the windows say, because `finishBatch` and
    /// `runOn` would take nodes out during the freeze.
    pub fn state(&self, kind: MoveKind, now: Timestamp) -> CalendarState {
        let around = self.around(kind, now);
        if let Some(current) = around.current {
            let closes = Some(current.until).filter(|until| *until < Timestamp::MAX);
            let frozen = self.frozen_within(kind, current.until, current.until);
            let (at_close, _) = self.terms(current.until);
            return CalendarState::Open {
                closes,
                at_close: if frozen { AtClose::FinishNode } else { at_close },
            };
        }
        let next = around.next.map(|stretch| stretch.from);
        let Some(since) = around.last.map(|stretch| stretch.until) else {
            return CalendarState::Closed {
                since: None,
                next,
                at_close: AtClose::FinishNode,
                hard_limit_at: None,
            };
        };
        let (at_close, hard_limit) = self.terms(since);
        let frozen = self.frozen_within(kind, since, now);
        CalendarState::Closed {
            since: Some(since),
            next,
            at_close: if frozen { AtClose::FinishNode } else { at_close },
            hard_limit_at: hard_limit.map(|limit| later(since, limit)),
        }
    }

    /// How long the opening lasts from now: `None` if it has no end within [`LOOK`], zero if it is closed.
    pub fn left(&self, kind: MoveKind, now: Timestamp) -> Option<SignedDuration> {
        match self.state(kind, now) {
            CalendarState::Open { closes, .. } => closes.map(|closes| closes.duration_since(now)),
            CalendarState::Closed { .. } => Some(SignedDuration::ZERO),
        }
    }

    /// Every stretch in which a move of this kind may take nodes out. Exact within `[from, until)`, not cut at its
    /// ends.
    pub fn stretches(&self, kind: MoveKind, from: Timestamp, until: Timestamp) -> Vec<Stretch> {
        subtract(&self.open_stretches(from, until), &self.frozen_stretches(kind))
    }

    /// The stretches of the windows alone, without the freezes.
    fn open_stretches(&self, from: Timestamp, until: Timestamp) -> Vec<Stretch> {
        union(&self.spans(from, until))
    }

    fn spans(&self, from: Timestamp, until: Timestamp) -> Vec<Span> {
        self.windows.iter().flat_map(|window| openings(window, from, until)).collect()
    }

    fn frozen_stretches(&self, kind: MoveKind) -> Vec<Stretch> {
        self.applying(kind).map(in_force).collect()
    }

    fn applying(&self, kind: MoveKind) -> impl Iterator<Item = &'a Freeze> {
        self.freezes().filter(move |freeze| freeze::applies(freeze, kind))
    }

    fn around(&self, kind: MoveKind, now: Timestamp) -> Around {
        let frozen = self.frozen_stretches(kind);
        look_around(now, |from, until| subtract(&self.open_stretches(from, until), &frozen))
    }

    /// True if a freeze for a move of this kind is in force at any instant from `from` to `to`, both included.
    fn frozen_within(&self, kind: MoveKind, from: Timestamp, to: Timestamp) -> bool {
        self.frozen_stretches(kind)
            .iter()
            .any(|frozen| frozen.from < frozen.until && frozen.from <= to && frozen.until > from)
    }

    /// The `atClose` and `hardLimit` that hold at `close`.
    fn terms(&self, close: Timestamp) -> (AtClose, Option<SignedDuration>) {
        let before = earlier(close, SignedDuration::from_nanos(1));
        let open = self.windows.iter().filter_map(|window| {
            openings(window, before, close)
                .iter()
                .map(|span| span.closes)
                .max()
                .map(|closes| (closes, *window))
        });
        close::terms(&open.collect::<Vec<_>>())
    }

    fn window_answer(&self, kind: MoveKind, now: Timestamp, next: Option<Timestamp>) -> Answer {
        if self.windows.is_empty() {
            let text = "no maintenance window matches this cluster: add one to policies/, with `opens: always` if any time will do";
            let reason = Reason::new(Key::NoWindow, self.object(), text);
            return Answer { gate: Gate::Window, verdict: Verdict::Deny, reason, next: None };
        }
        let around = look_around(now, |from, until| self.open_stretches(from, until));
        let open = around.current.and_then(|current| Some((current, self.open_at(now)?)));
        if let Some((current, (window, closes))) = open {
            let reason = window::open_reason(window, closes, current.until);
            return Answer { gate: Gate::Window, verdict: Verdict::Allow, reason, next: None };
        }
        let reason = self.closed_reason(kind, around.next.map(|stretch| stretch.from), next);
        Answer { gate: Gate::Window, verdict: Verdict::Wait, reason, next }
    }

    /// `opens` is the next opening, frozen or not; `passes` is the first that is not frozen.
    fn closed_reason(&self, kind: MoveKind, opens: Option<Timestamp>, passes: Option<Timestamp>) -> Reason {
        let named = passes.or(opens).and_then(|at| self.open_at(at)).map(|(window, _)| window);
        let object = named.map_or_else(|| self.object(), |window| format!("window/{}", window.name));
        let text = match (opens, passes, named) {
            (Some(opens), Some(passes), Some(window)) if opens < passes => format!(
                "no maintenance window is open; what opens before {} is frozen by {}",
                local(passes, &window.time_zone),
                self.freezers(kind, opens, passes),
            ),
            (_, Some(passes), Some(window)) => format!(
                "no maintenance window is open; {} opens at {}",
                window.name,
                local(passes, &window.time_zone)
            ),
            (Some(opens), None, _) => format!(
                "no maintenance window is open; every opening of the next {} days is frozen by {}",
                LOOK.as_hours() / 24,
                self.freezers(kind, opens, later(opens, LOOK)),
            ),
            (_, _, _) => format!("no maintenance window opens within {} days", LOOK.as_hours() / 24),
        };
        Reason::new(Key::WindowClosed, object, text)
    }

    /// The names of the freezes that overlap the openings of a stretch.
    pub(super) fn freezers(&self, kind: MoveKind, from: Timestamp, until: Timestamp) -> String {
        let open = self.open_stretches(from, until);
        let cuts = |frozen: Stretch| {
            let within = Stretch { from: frozen.from.max(from), until: frozen.until.min(until) };
            open.iter().any(|open| open.overlaps(within))
        };
        named(self.applying(kind).filter(|freeze| cuts(in_force(freeze))))
    }

    fn freeze_answers(&self, kind: MoveKind, now: Timestamp, next: Option<Timestamp>) -> Vec<Answer> {
        let (objecting, passing): (Vec<&Freeze>, Vec<&Freeze>) = self
            .freezes()
            .filter(|freeze| in_force(freeze).contains(now))
            .partition(|freeze| freeze::applies(freeze, kind));
        if !objecting.is_empty() {
            let reasons = objecting.into_iter().map(freeze::frozen_reason);
            return reasons
                .map(|reason| Answer { gate: Gate::Freeze, verdict: Verdict::Wait, reason, next })
                .collect();
        }
        let text = if passing.is_empty() {
            "no freeze is in force".to_owned()
        } else {
            format!("frozen by {}, which lets patch moves pass", named(passing.into_iter()))
        };
        let reason = Reason::new(Key::Passes, self.object(), text);
        vec![Answer { gate: Gate::Freeze, verdict: Verdict::Allow, reason, next: None }]
    }

    /// The window that closes last of those open at an instant (the first by name if several do), and when it closes.
    fn open_at(&self, at: Timestamp) -> Option<(&'a Window, Timestamp)> {
        let just_after = later(at, SignedDuration::from_nanos(1));
        let open = self.windows.iter().filter_map(|window| {
            let closes = openings(window, at, just_after).iter().map(|span| span.closes).max()?;
            Some((*window, closes))
        });
        open.max_by(|(a, a_closes), (b, b_closes)| a_closes.cmp(b_closes).then_with(|| b.name.cmp(&a.name)))
    }

    fn object(&self) -> String {
        format!("cluster/{}", self.cluster)
    }
}

/// The stretches around an instant. It looks further only if a shorter look does not answer.
fn look_around(now: Timestamp, stretches: impl Fn(Timestamp, Timestamp) -> Vec<Stretch>) -> Around {
    let mut around = Around { last: None, current: None, next: None };
    for look in LOOKS {
        let until = later(now, look);
        let seen = stretches(earlier(now, look), until);
        around.current = seen.iter().copied().find(|stretch| stretch.contains(now));
        around.next = seen.iter().copied().find(|stretch| stretch.from > now);
        around.last = seen.iter().copied().rfind(|stretch| stretch.until <= now);
        let settled = match &around.current {
            Some(current) => current.until < until || current.until == Timestamp::MAX,
            None => around.last.is_some() && around.next.is_some(),
        };
        if settled {
            return around;
        }
    }
    // An opening without an end within sight has none: a daily window of 24 h in UTC never closes.
    let horizon = later(now, LOOK);
    around.current = around.current.map(|current| Stretch {
        until: if current.until < horizon { current.until } else { Timestamp::MAX },
        ..current
    });
    around
}

/// All names, for a sentence.
fn named<'a>(freezes: impl Iterator<Item = &'a Freeze>) -> String {
    let names: Vec<&str> = freezes.map(|freeze| freeze.name.as_str()).collect();
    list(&names, names.len())
}
