//! Maintenance windows and freezes: may a node be taken out now, why not, and when could it next.
//! Every window that matches a cluster is one union, freezes subtract from it, and all of it is arithmetic over
//! half-open stretches of time. It knows nothing of nodes, runs or the clock, and never gates the way back.

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

/// Nearly every answer lies within the first of these, and looking further costs in proportion.
const LOOKS: [SignedDuration; 3] = [days(9), days(60), LOOK];

/// When one cluster may be disrupted: every window that matches it as one union, less the freezes that match it.
#[derive(Clone, Debug)]
pub struct Calendar<'a> {
    cluster: String,
    windows: Vec<&'a Window>,
    freezes: Vec<&'a Freeze>,
}

/// The stretches that matter at one instant.
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

    /// The windows that match, in the order of the policies.
    pub fn windows(&self) -> impl Iterator<Item = &'a Window> {
        self.windows.iter().copied()
    }

    /// The freezes that match, those with exceptions too.
    pub fn freezes(&self) -> impl Iterator<Item = &'a Freeze> {
        self.freezes.iter().copied()
    }

    /// Whether a node may be taken out for such a move: one answer of the windows and one of the freezes, or one
    /// of each freeze that objects. Every objection carries the same `next`: when windows and freezes would both pass.
    pub fn may_take_out(&self, kind: MoveKind, now: Timestamp) -> Decision {
        let (window, freezes) = self.answers(kind, now);
        let mut answers = vec![window];
        answers.extend(freezes);
        Decision { answers }
    }

    /// What the windows say to such a move, and what the freezes say.
    pub fn answers(&self, kind: MoveKind, now: Timestamp) -> (Answer, Vec<Answer>) {
        let next = self.around(kind, now).next.map(|stretch| stretch.from);
        (self.window_answer(kind, now, next), self.freeze_answers(kind, now, next))
    }

    /// Where the calendar stands, with what the reconciler needs to know about the close.
    ///
    /// Where several windows are open at a close, the `atClose` and `hardLimit` of the one that would close last
    /// count; of several that close at the same instant, the strictest of each. A freeze is nobody's window: what
    /// it ends, or falls into after the close, is finished node by node whatever the window says, because
    /// `finishBatch` and `runOn` would take nodes out while frozen.
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

    /// How long the opening still lasts: nothing where it has no end within [`LOOK`], zero where it is closed.
    pub fn left(&self, kind: MoveKind, now: Timestamp) -> Option<SignedDuration> {
        match self.state(kind, now) {
            CalendarState::Open { closes, .. } => closes.map(|closes| closes.duration_since(now)),
            CalendarState::Closed { .. } => Some(SignedDuration::ZERO),
        }
    }

    /// Every stretch in which such a move may take nodes out; exact within `[from, until)`, not cut at its ends.
    pub fn stretches(&self, kind: MoveKind, from: Timestamp, until: Timestamp) -> Vec<Stretch> {
        subtract(&self.open_stretches(from, until), &self.frozen_stretches(kind))
    }

    /// The windows alone, freezes left out of account.
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

    /// Whether a freeze for such a move is in force at any instant from `from` to `to`, both included.
    fn frozen_within(&self, kind: MoveKind, from: Timestamp, to: Timestamp) -> bool {
        self.frozen_stretches(kind)
            .iter()
            .any(|frozen| frozen.from < frozen.until && frozen.from <= to && frozen.until > from)
    }

    /// What the windows that are open up to `close` say about it.
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
            let text = "no maintenance window matches this cluster; `opens: always` says at any time";
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

    /// `opens` is the next opening whether frozen or not, `passes` the first that is not.
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

    /// The names of the freezes that take something from the openings of a stretch.
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

    /// Of the windows open at an instant, the one that closes last, the first by name of several; and when it does.
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

/// Finds the stretches around an instant, looking no further than it must.
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
    // What has no end within sight has none: a day's window of 24 h in UTC never closes.
    let horizon = later(now, LOOK);
    around.current = around.current.map(|current| Stretch {
        until: if current.until < horizon { current.until } else { Timestamp::MAX },
        ..current
    });
    around
}

/// Names for a sentence; none is left out.
fn named<'a>(freezes: impl Iterator<Item = &'a Freeze>) -> String {
    let names: Vec<&str> = freezes.map(|freeze| freeze.name.as_str()).collect();
    list(&names, names.len())
}
