//! The calendar of one cluster: its maintenance windows as one union, its freezes, and what may go on after a close.

mod answers;
mod close;
mod freeze;
mod lint;
mod stretch;
mod window;

pub use answers::Calendar;
pub use close::{AtNow, CalendarState, after_close};
pub use freeze::{in_force, subtract};
pub use lint::{Lint, LintKind, lints};
pub use stretch::{LOOK, Stretch};
pub use window::{Span, local, openings, union, zone_name};

pub use crate::model::work::MoveKind;
