//! What has changed outside of any step: which cluster this is, which commit is in force, who has stopped or resumed.

use super::Input;
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::effect::Effect;
use crate::model::entry::{ClusterEvent, CommitEvent, InterruptionEvent, What};
use crate::model::version::Version;
use crate::work::Turn;

pub(super) fn settle(input: &Input<'_>) -> Turn {
    let (record, state, live) = (input.record, input.state, input.live);
    let mut turn = Turn::default();
    if let (None, Some(uid)) = (&record.cluster_uid, &live.cluster_uid) {
        turn.entries.push(What::Cluster(ClusterEvent::Met { uid: uid.clone() }));
    }
    turn.entries.extend(commits(input));
    if !state.problems.is_empty() && record.refused.as_ref().is_none_or(|(commit, _)| *commit != state.newest)
    {
        let (commit, problems) = (state.newest.clone(), state.problems.clone());
        turn.entries.push(What::Commit(CommitEvent::Refused { commit, problems }));
    }
    // What people have left in another cluster is not about this one.
    if other_cluster(input).is_none() {
        notes(input, &mut turn);
    }
    turn
}

/// The notes by which people stop and resume.
fn notes(input: &Input<'_>, turn: &mut Turn) {
    let (record, live) = (input.record, input.live);
    turn.entries.extend(match (&live.stop, &record.stopped) {
        (Some(stop), None) => {
            let (by, reason) = (stop.by.clone(), stop.reason.clone());
            Some(What::Interruption(InterruptionEvent::Stopped { by, reason }))
        }
        (None, Some(_)) => Some(What::Interruption(InterruptionEvent::StopEnded)),
        (Some(_), Some(_)) | (None, None) => None,
    });
    if let Some(note) = &live.resume {
        // One note ends one halt, however long it takes until it can be deleted.
        let spent = record.resumed_by.as_ref() == Some(&note.uid);
        if record.halted.is_some() && !spent {
            let (by, reason, uid) = (note.by.clone(), note.reason.clone(), note.uid.clone());
            let event = InterruptionEvent::Resumed { by, reason, note: Some(uid) };
            turn.entries.push(What::Interruption(event));
        } else {
            // Recorded, or there was nothing to resume: either way it is spent.
            let effect = Effect::ForgetResume { uid: note.uid.clone() };
            turn.effects.push((effect, record.next_seq.saturating_sub(1)));
        }
    }
}

/// A commit that is in force is recorded once.
fn commits(input: &Input<'_>) -> Vec<What> {
    let (record, state) = (input.record, input.state);
    let Some(desired) = state.desired.as_deref().filter(|_| state.problems.is_empty()) else {
        return Vec::new();
    };
    let mut entries = Vec::new();
    let known = record.accepted.as_ref().is_some_and(|(commit, _)| *commit == desired.commit);
    if !known || record.refused.is_some() {
        let (commit, version) = (desired.commit.clone(), desired.cluster.version.clone());
        entries.push(What::Commit(CommitEvent::Accepted { commit, version }));
    }
    if !known && record.halted.is_some() && asks_for_something_else(input, &desired.cluster.version) {
        let by = format!("commit {}", desired.commit.short());
        let reason = "it asks for something else".to_owned();
        entries.push(What::Interruption(InterruptionEvent::Resumed { by, reason, note: None }));
    }
    entries
}

/// Whether the commit in force ends a halt. A comment, a policy or another cluster in the same repository may change
/// at any time, and whoever changes it has not looked at the node that failed.
fn asks_for_something_else(input: &Input<'_>, version: &Version) -> bool {
    match (&input.record.run, &input.record.accepted) {
        (Some(run), _) => input.state.supersedes(&run.plan),
        (None, accepted) => accepted.as_ref().is_none_or(|(_, asked)| asked != version),
    }
}

/// Another cluster behind the same name is never touched. Why this is another one; nothing if it is not.
pub(super) fn other_cluster(input: &Input<'_>) -> Option<Answer> {
    let (known, seen) = (&input.record.cluster_uid, &input.live.cluster_uid);
    let text = if let Some(twin) = &input.me.twin {
        format!("it is the same cluster as {twin}, behind another context; only {twin} is served")
    } else if known.is_none() || known == seen {
        return None;
    } else {
        format!(
            "this cluster's kube-system has UID {}, the record knows {}: it is another cluster; check the kubeconfig context",
            seen.as_deref().unwrap_or_default(),
            known.as_deref().unwrap_or_default()
        )
    };
    let object = format!("cluster/{}", input.me.cluster);
    Some(Answer::deny(Gate::Desired, Reason::new(Key::OtherCluster, object, text)))
}
