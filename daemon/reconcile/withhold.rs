//! Which passes the loop carries out: only those without a finding of the independent check.

use jiff::SignedDuration;

use super::{Input, Tick, check, tick, waits};
use crate::model::decision::{Answer, Gate, Reason};
use crate::model::state::{ClusterState, RunState};
use crate::model::time::later;

/// The time until the next pass after a withheld one, if nothing happens before.
const AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// One pass, and the findings of the independent check. With a finding, the tick has no entry and no effect of the
/// pass; its answers and entries are the findings, so that people find them in the record.
pub fn checked_tick(input: Input<'_>) -> (Tick, Vec<Reason>) {
    let tick = tick(input);
    let findings = check(&input, &tick);
    if findings.is_empty() { (tick, findings) } else { (withhold(&input, tick, &findings), findings) }
}

/// The probes are kept, because they change nothing. The time for which a step has been looked at still counts.
fn withhold(input: &Input<'_>, tick: Tick, findings: &[Reason]) -> Tick {
    let answers = findings.iter().map(|finding| Answer::deny(Gate::Plan, finding.clone())).collect();
    let mut withheld = Tick {
        probes: tick.probes,
        states: tick.states,
        watched: tick.watched,
        stands_by: tick.stands_by,
        status: ClusterState { answers, state: RunState::NeedsAPerson },
        wake_at: Some(later(input.now, AGAIN)),
        ..Tick::default()
    };
    if !withheld.stands_by {
        waits::record(input, &mut withheld, false);
    }
    withheld
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::gate::{Census, Others};
    use crate::model::CommitId;
    use crate::model::decision::Key;
    use crate::model::effect::Effect;
    use crate::model::entry::{ClusterEvent, What};
    use crate::model::live::Live;
    use crate::model::state::{DesiredState, Identity};
    use crate::record::Record;

    #[test]
    fn of_a_withheld_pass_nothing_is_left_but_its_findings() {
        let now = Timestamp::UNIX_EPOCH;
        let me = Identity {
            cluster: "demo".into(),
            holder: "me".into(),
            predecessors: BTreeSet::new(),
            twin: None,
        };
        let newest = CommitId("c0ffee".into());
        let state = DesiredState {
            newest,
            desired: None,
            asked: String::new(),
            problems: vec![],
            rewritten: false,
            unproven: false,
            by: None,
        };
        let (live, record) = (Live::default(), Record::default());
        let (census, others) = (Census::default(), Others::default());
        let input = Input {
            me: &me,
            state: &state,
            live: &live,
            record: &record,
            fresh: None,
            census: &census,
            others: &others,
            trouble: None,
            now,
            wall: now,
        };
        let findings = [Reason::new(Key::PassBroken, "node/w1", "two claims at once")];
        let broken = || Tick {
            entries: vec![What::Cluster(ClusterEvent::Waiting { answers: vec![] })],
            effects: vec![(Effect::CreateNamespace("windlass-system".into()), 0)],
            ..Tick::default()
        };
        let withheld = withhold(&input, broken(), &findings);
        assert_eq!(withheld.effects, []);
        let told = [Answer::deny(Gate::Plan, findings[0].clone())];
        assert_eq!(withheld.status.answers, told);
        assert_eq!(withheld.status.state, RunState::NeedsAPerson);
        assert_eq!(withheld.wake_at, Some(later(now, AGAIN)));
        assert_eq!(withheld.entries, [What::Cluster(ClusterEvent::Waiting { answers: told.to_vec() })]);

        let another_acts = Tick { stands_by: true, ..broken() };
        assert_eq!(
            withhold(&input, another_acts, &findings).entries,
            [],
            "another process writes the record"
        );
    }
}
