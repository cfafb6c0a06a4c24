//! Entries in the log, as loud as they are important: what needs a person is an error, what went another way than
//! planned is a warning.

use jiff::SignedDuration;
use tracing::Level;

use super::lease::Acts;
use crate::gate;
use crate::model::decision::{Answer, Key, Reason};
use crate::model::entry::{ClusterEvent, CommitEvent, Entry, InterruptionEvent, StepEvent, What};
use crate::model::text::list;
use crate::record::{self, Record, Run};

/// How many nodes a line names.
const MOST_NODES: usize = 10;

/// Logs an entry with the reason key, node and run that it is about.
pub(super) fn log(cluster: &str, entry: &Entry) {
    let (level, reason) = importance(&entry.what);
    let key = reason.map(|reason| reason.key.as_str());
    let node = match &entry.what {
        What::Step(id, _) => id.node_name(),
        What::Cluster(_) | What::Commit(_) | What::Run(_) | What::Interruption(_) => None,
    };
    let (run, seq, text) = (entry.run.as_deref(), entry.seq, record::sentence(entry));
    match level {
        Level::ERROR => tracing::error!(%cluster, seq, key, node, run, "{text}"),
        Level::WARN => tracing::warn!(%cluster, seq, key, node, run, "{text}"),
        _ => tracing::info!(%cluster, seq, key, node, run, "{text}"),
    }
}

/// Logs who acts on a cluster from now on. A process that takes over says what it has in hand.
pub(super) fn acts(cluster: &str, before: &Acts, now: &Acts, record: &Record) {
    match (before, now) {
        (_, Acts::WeDo) => {
            let steps = record.run.iter().flat_map(Run::in_progress);
            let nodes: Vec<&str> = steps.filter_map(|(id, _)| id.node_name()).collect();
            let run = record.run.as_ref().map(|run| run.id.as_str());
            tracing::info!(%cluster, run, in_progress = list(&nodes, MOST_NODES), "took the lease");
        }
        (Acts::WeDo, Acts::Nobody) => {
            tracing::info!(%cluster, "gave the lease back: nothing to do at present");
        }
        (Acts::WeDo, Acts::Another(holder)) => {
            tracing::warn!(%cluster, holder, "lost the lease to another process, which acts from now on");
        }
        (_, Acts::Another(holder)) => tracing::info!(%cluster, holder, "looking on: another process acts"),
        (Acts::Another(holder), Acts::Nobody) => {
            tracing::info!(%cluster, holder, "the other process no longer acts");
        }
        (Acts::Nobody, Acts::Nobody) => {}
    }
}

/// Logs that this machine's clock and the API server's differ, or agree again.
pub(super) fn clock(cluster: &str, ahead: SignedDuration) {
    if gate::clock_differs(ahead) {
        tracing::warn!(%cluster, key = Key::ClockOff.as_str(), "{}", gate::difference(ahead));
    } else {
        tracing::info!(%cluster, "the clock of this machine and that of the API server agree again");
    }
}

/// How loud an entry is, and the first of its reasons.
fn importance(what: &What) -> (Level, Option<&Reason>) {
    match what {
        What::Step(_, StepEvent::Failed { reasons } | StepEvent::GoesBack { reasons })
        | What::Interruption(InterruptionEvent::Halted { reasons }) => (Level::ERROR, reasons.first()),
        What::Step(_, StepEvent::SetAside { reasons, .. }) => (Level::WARN, reasons.first()),
        What::Step(_, StepEvent::Gone)
        | What::Commit(CommitEvent::Refused { .. })
        | What::Interruption(InterruptionEvent::Stopped { .. }) => (Level::WARN, None),
        What::Cluster(ClusterEvent::Waiting { answers }) => {
            let person = answers.iter().find(|answer| answer.needs_a_person());
            let level = if person.is_some() { Level::WARN } else { Level::INFO };
            (level, person.or(answers.first()).map(|answer: &Answer| &answer.reason))
        }
        What::Cluster(ClusterEvent::Drifted { objects }) if !objects.is_empty() => (Level::WARN, None),
        What::Cluster(ClusterEvent::Met { .. } | ClusterEvent::Drifted { .. })
        | What::Commit(CommitEvent::Accepted { .. })
        | What::Run(_)
        | What::Step(..)
        | What::Interruption(InterruptionEvent::Resumed { .. } | InterruptionEvent::StopEnded) => {
            (Level::INFO, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::{Gate, Key};

    #[test]
    fn what_needs_a_person_is_loud() {
        let reason = || Reason::new(Key::BudgetNeverAllows, "budget/shop/cart", "never");
        let waiting = |answers| What::Cluster(ClusterEvent::Waiting { answers });
        let halted = What::Interruption(InterruptionEvent::Halted { reasons: vec![reason()] });
        for (what, level, key) in [
            (halted, Level::ERROR, Some(Key::BudgetNeverAllows)),
            (waiting(vec![Answer::deny(Gate::Budget, reason())]), Level::WARN, Some(Key::BudgetNeverAllows)),
            (waiting(vec![Answer::wait(Gate::Budget, reason())]), Level::INFO, Some(Key::BudgetNeverAllows)),
            (What::Interruption(InterruptionEvent::StopEnded), Level::INFO, None),
        ] {
            let told = importance(&what);
            assert_eq!((told.0, told.1.map(|reason| reason.key)), (level, key), "{what:?}");
        }
    }
}
