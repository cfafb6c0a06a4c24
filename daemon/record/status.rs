//! The status from the record: equal records give equal bytes, whenever and wherever they are made.

use super::status_types::{
    API_VERSION, AcceptedCommit, ClusterPhase, DriftedSince, HaltedSince, JournalEnd, KIND, LastRun,
    NodeState, NodeStatus, RefusedCommit, RollbackPointStatus, RunStatus, Status, StoppedSince, WaitingFor,
    ends_by_a_person,
};
use super::text::{count, shorten};
use super::yaml::{self, YamlError};
use super::{EndedRun, Record, Run, Since, tally};
use crate::model::decision::{Answer, Verdict};
use crate::model::entry::DriftedObject;

/// Runs up to this size list every node: a person reads that many lines, and the file stays below a few KiB.
const NODES_IN_FULL: usize = 64;
/// How many nodes of a large run are listed: those in progress, set aside, failed or gone.
const NODES_LISTED: usize = 100;
/// How many objections are listed: a thousand nodes that wait for one window are one fact.
const WAITING_LISTED: usize = 50;
const PROBLEMS_LISTED: usize = 20;
/// The longest problem of a file, source lines included, in characters.
const PROBLEM_CHARS: usize = 1_000;
const REASONS_LISTED: usize = 20;
const RUNS_LISTED: usize = 10;
const ROLLBACK_POINTS_LISTED: usize = 10;

pub fn status(cluster: &str, record: &Record) -> Status {
    let objections = || record.waiting.iter().filter(|waiting| waiting.value.verdict != Verdict::Allow);
    let points = record.rollback_points.iter().rev().take(ROLLBACK_POINTS_LISTED);
    Status {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        cluster: cluster.to_owned(),
        cluster_uid: record.cluster_uid.clone(),
        phase: cluster_phase(record),
        journal: record.last_at.zip(record.next_seq.checked_sub(1)).map(|(at, seq)| JournalEnd { seq, at }),
        accepted: record.accepted.as_ref().map(|(commit, version)| AcceptedCommit {
            commit: commit.clone(),
            version: version.clone(),
            at: record.accepted_at,
            by: record.accepted_by.clone(),
        }),
        refused: refused_commit(record),
        stopped: stopped_since(record),
        halted: record.halted.as_ref().map(|halted| HaltedSince {
            reasons: halted.value.iter().take(REASONS_LISTED).cloned().collect(),
            since: halted.since,
        }),
        waiting: objections().take(WAITING_LISTED).map(waiting_for).collect(),
        waiting_left_out: count(objections().skip(WAITING_LISTED).count()),
        drifted: record.drifted.iter().map(drifted_since).collect(),
        run: record.run.as_ref().map(|run| run_status(run, record)),
        last_runs: record.ended.iter().rev().take(RUNS_LISTED).map(last_run).collect(),
        rollback_points: points
            .map(|id| RollbackPointStatus {
                id: id.clone(),
                commit: record.rollback_commits.get(id).cloned(),
            })
            .collect(),
    }
}

pub(super) fn stopped_since(record: &Record) -> Option<StoppedSince> {
    let stopped = record.stopped.as_ref()?;
    let (by, reason, since) = (record.stopped_by.clone(), stopped.value.clone(), stopped.since);
    Some(StoppedSince { by, reason, since })
}

/// Reads `status.yaml` alone, for callers that need no journal.
pub fn read_status(text: &str) -> Result<Status, YamlError> {
    yaml::typed(text)
}

fn cluster_phase(record: &Record) -> ClusterPhase {
    let objected = record.waiting.iter().any(|waiting| waiting.value.verdict != Verdict::Allow);
    let in_progress = record.run.as_ref().is_some_and(|run| run.in_progress().next().is_some());
    if record.stopped.is_some() {
        ClusterPhase::Stopped
    } else if record.halted.is_some() {
        ClusterPhase::Halted
    } else if in_progress {
        ClusterPhase::Running
    } else if record.refused.is_some() {
        ClusterPhase::Refused
    } else if objected {
        ClusterPhase::Waiting
    } else if record.run.is_some() {
        ClusterPhase::Running
    } else if record.accepted.is_none() {
        ClusterPhase::Idle
    } else {
        ClusterPhase::AsDesired
    }
}

fn refused_commit(record: &Record) -> Option<RefusedCommit> {
    let (commit, problems) = record.refused.as_ref()?;
    Some(RefusedCommit {
        commit: commit.clone(),
        problems: problems
            .iter()
            .take(PROBLEMS_LISTED)
            .map(|problem| shorten(problem, PROBLEM_CHARS))
            .collect(),
        problems_left_out: count(problems.len().saturating_sub(PROBLEMS_LISTED)),
    })
}

fn waiting_for(waiting: &Since<Answer>) -> WaitingFor {
    let answer = &waiting.value;
    WaitingFor {
        key: answer.reason.key,
        gate: answer.gate,
        verdict: answer.verdict,
        object: answer.reason.object.clone(),
        text: answer.reason.text.clone(),
        since: waiting.since,
        next: answer.next,
    }
}

fn drifted_since(drifted: &Since<DriftedObject>) -> DriftedSince {
    let DriftedObject { addon, object, text } = drifted.value.clone();
    DriftedSince { addon, object, text, since: drifted.since }
}

fn run_status(run: &Run, record: &Record) -> RunStatus {
    let nodes = tally::node_statuses(run);
    let counts = tally::counts(&nodes);
    let total = nodes.len();
    let listed: Vec<NodeStatus> = if total <= NODES_IN_FULL {
        nodes
    } else {
        let mut listed: Vec<_> = nodes.into_iter().filter(|node| rank(node.state).is_some()).collect();
        listed.sort_by_key(|node| rank(node.state));
        listed.truncate(NODES_LISTED);
        listed
    };
    let moving = cluster_phase(record) == ClusterPhase::Running;
    let blocked = record.waiting.iter().any(|wait| ends_by_a_person(wait.value.verdict, wait.value.next));
    RunStatus {
        id: run.id.clone(),
        commit: run.commit.clone(),
        from: run.from.clone(),
        to: run.to.clone(),
        digest: run.digest.clone(),
        started: run.started,
        epoch: run.epoch,
        hops: run.plan.hops.clone(),
        stage: tally::current_stage(run),
        control_plane: tally::control_plane(run),
        counts,
        nodes_left_out: count(total.saturating_sub(listed.len())),
        nodes: listed,
        addons: tally::addon_statuses(run),
        rollback_point: run.rollback_point.clone(),
        past_return: run.past_return(),
        estimated_completion: record
            .last_at
            .filter(|_| moving && !blocked)
            .and_then(|last| tally::estimated_completion(run, last)),
    }
}

/// The order in which the nodes of a large run are listed; `None` for a node that is not listed.
fn rank(state: NodeState) -> Option<u8> {
    match state {
        NodeState::Pending | NodeState::Done => None,
        NodeState::InProgress => Some(1),
        NodeState::Failed => Some(0),
        NodeState::SetAside => Some(2),
        NodeState::Gone => Some(3),
    }
}

fn last_run(run: &EndedRun) -> LastRun {
    LastRun {
        id: run.run.clone(),
        commit: run.commit.clone(),
        from: run.from.clone(),
        to: run.to.clone(),
        started: run.started,
        ended: run.ended,
        outcome: run.outcome,
        steps_done: run.steps_done,
        set_aside: run.set_aside,
        failed: run.failed,
        halts: run.halts,
        reasons: run.reasons.iter().take(REASONS_LISTED).cloned().collect(),
    }
}
