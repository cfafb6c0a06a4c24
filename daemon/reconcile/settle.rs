//! Records what changed outside of any step: which cluster this is, which commit is in force, who stopped or resumed
//! the work.

use super::Input;
use crate::gate::other_cluster;
use crate::model::effect::Effect;
use crate::model::entry::{ClusterEvent, CommitEvent, InterruptionEvent, What};
use crate::model::live::Note;
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
    // The notes in another cluster are not about this one.
    if other_cluster(input.me, live, record).is_none() {
        notes(input, &mut turn);
    }
    turn
}

/// Takes in the notes with which people stop and resume.
fn notes(input: &Input<'_>, turn: &mut Turn) {
    let (record, live) = (input.record, input.live);
    turn.entries.extend(match (&live.stop, &record.stopped) {
        (Some(stop), None) => {
            let (by, reason) = (stop.by.clone(), stop.reason.clone());
            Some(What::Interruption(InterruptionEvent::Stopped { by, reason }))
        }
        // A person stopped it with kubectl, and another one says why afterwards.
        (Some(stop), Some(known)) if says_more(stop, &known.value, record.stopped_by.as_deref()) => {
            let (by, reason) = (stop.by.clone(), stop.reason.clone());
            Some(What::Interruption(InterruptionEvent::Stopped { by, reason }))
        }
        (None, Some(_)) => Some(What::Interruption(InterruptionEvent::StopEnded)),
        (Some(_), Some(_)) | (None, None) => None,
    });
    if let Some(note) = &live.resume {
        // A person resumes after a halt; the deletion of the note fails for a while, and another node fails and halts
        // the run again. The old note must not end that halt: the person has not seen it. So the record keeps the
        // note's UID.
        //
        // The words of the person are recorded in any case: `windlass resume` also ends a stop, and then the stop may be
        // over before its note is seen here.
        let spent = record.resumed_by.as_ref() == Some(&note.uid);
        if spent {
            // The resume is recorded, so the note is used up and is deleted.
            let effect = Effect::ForgetResume { uid: note.uid.clone() };
            turn.effects.push((effect, record.next_seq.saturating_sub(1)));
        } else {
            let (by, reason, uid) = (note.by.clone(), note.reason.clone(), note.uid.clone());
            let event = InterruptionEvent::Resumed { by, reason, note: Some(uid) };
            turn.entries.push(What::Interruption(event));
        }
    }
}

/// True if the note of a stop has words that the record does not have. A note without words adds nothing.
fn says_more(stop: &Note, reason: &str, by: Option<&str>) -> bool {
    !stop.reason.is_empty() && (stop.reason != reason || by != Some(&stop.by))
}

/// Records a commit that comes into force, and records it again when a refused commit was taken back.
fn commits(input: &Input<'_>) -> Vec<What> {
    let (record, state) = (input.record, input.state);
    let Some(desired) = state.desired.as_deref().filter(|_| state.problems.is_empty()) else {
        return Vec::new();
    };
    let mut entries = Vec::new();
    let known = record.accepted.as_ref().is_some_and(|(commit, _)| *commit == desired.commit);
    if !known || record.refused.is_some() {
        let (commit, version) = (desired.commit.clone(), desired.cluster.version.clone());
        entries.push(What::Commit(CommitEvent::Accepted { commit, version, by: state.by.clone() }));
    }
    if !known && record.halted.is_some() && asks_for_something_else(input, &desired.cluster.version) {
        let by = format!("commit {}", desired.commit.short());
        let reason = "it asks for something else".to_owned();
        entries.push(What::Interruption(InterruptionEvent::Resumed { by, reason, note: None }));
    }
    entries
}

/// True if the commit in force ends a halt, because it asks this cluster for something else.
///
/// w5 fails and the run halts. Then another person commits a comment in the cluster's file or a policy. That commit
/// comes into force too, but its author has not looked at w5, so the halt stays.
fn asks_for_something_else(input: &Input<'_>, version: &Version) -> bool {
    match (&input.record.run, &input.record.accepted) {
        (Some(run), _) => input.state.supersedes(&run.plan),
        (None, accepted) => accepted.as_ref().is_none_or(|(_, asked)| asked != version),
    }
}
