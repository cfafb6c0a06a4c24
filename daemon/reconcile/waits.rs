//! Which answers of a pass are recorded, and where the cluster stands by them.

use jiff::{SignedDuration, Timestamp};

use super::{Input, Tick};
use crate::gate::other_cluster;
use crate::model::decision::{Answer, Gate, Key, Verdict};
use crate::model::entry::{ClusterEvent, What};
use crate::model::state::RunState;
use crate::model::time::{earliest, later};

/// How long a wait of the cluster's own has to last before it is recorded; a shorter one explains itself by ending.
const WORTH_RECORDING: SignedDuration = SignedDuration::from_secs(10);
/// How often waits are recorded that come and go by the second, as those of pods in a drain do.
const SPACING: SignedDuration = SignedDuration::from_mins(1);
/// More waits than a person reads. The others are recorded as these end.
const MOST_WAITS: usize = 50;

/// Records the waits if they changed: denials and waits of policies at once, waits of the cluster once they last. While
/// the run moves, waits of the same kind for other nodes and pods are recorded once a minute.
/// True while one of them has not lasted long enough.
pub(super) fn record(input: &Input<'_>, tick: &mut Tick, moves: bool) -> bool {
    if !tick.entries.is_empty() {
        return false;
    }
    let (mut lasting, wake) = lasting(input, &tick.status.answers);
    lasting.sort_by(|a, b| (a.gate, &a.reason).cmp(&(b.gate, &b.reason)));
    lasting.dedup_by(|a, b| a.same_subject(b));
    lasting.truncate(MOST_WAITS);
    let recorded: Vec<&Answer> = input.record.waiting.iter().map(|old| &old.value).collect();
    if lasting != recorded {
        let due = input.record.waiting_at.map(|last| later(last, SPACING));
        // A process before this one may have written by a clock that was ahead.
        let due = due.filter(|due| *due > input.now && *due <= later(input.now, SPACING));
        if let Some(due) = due.filter(|_| moves && is_more_of_the_same(&recorded, &lasting)) {
            tick.wake_at = earliest(tick.wake_at, Some(due));
        } else {
            let answers = lasting.into_iter().cloned().collect();
            tick.entries.push(What::Cluster(ClusterEvent::Waiting { answers }));
        }
    }
    tick.wake_at = earliest(tick.wake_at, wake);
    wake.is_some()
}

/// True if what has changed says of other nodes and pods what is recorded of some already, or that it is over. What people,
/// calendars and denials say, and what is said of the cluster as a whole, is never more of the same.
fn is_more_of_the_same(recorded: &[&Answer], lasting: &[&Answer]) -> bool {
    let passing = |answer: &Answer| {
        answer.verdict == Verdict::Wait && answer.gate.is_about_nodes() && !answer.gate.is_policy()
    };
    let known = |answer: &Answer| recorded.iter().any(|old| old.reason.key == answer.reason.key);
    let mut over = recorded.iter().filter(|old| !lasting.contains(old));
    let mut new = lasting.iter().filter(|answer| !recorded.contains(answer));
    over.all(|answer| passing(answer)) && new.all(|answer| passing(answer) && known(answer))
}

/// Records why the cluster cannot be read, beside the waits that are recorded already: only a complete picture shows
/// that one of those has ended.
///
/// The daemon lacks the right to list a kind. Its picture is never complete, no pass is made, and without this the
/// record would go on saying what it said last, most often that all is well.
pub(super) fn record_unseen(input: &Input<'_>, tick: &mut Tick) {
    let told = tick.status.answers.iter().filter(|answer| answer.gate == Gate::Watch);
    let (lasting, wake) = lasting(input, told);
    let recorded = input.record.waiting.iter().map(|old| &old.value);
    let news = lasting.iter().filter(|answer| !recorded.clone().any(|old| old.same_subject(answer)));
    let mut news: Vec<Answer> = news.map(|answer| (*answer).clone()).collect();
    if !news.is_empty() {
        news.extend(recorded.cloned());
        news.truncate(MOST_WAITS);
        tick.entries.push(What::Cluster(ClusterEvent::Waiting { answers: news }));
    }
    tick.wake_at = earliest(tick.wake_at, wake);
}

/// The objections that are to be recorded now, and when the next one has lasted long enough.
fn lasting<'a>(
    input: &Input<'_>,
    answers: impl IntoIterator<Item = &'a Answer>,
) -> (Vec<&'a Answer>, Option<Timestamp>) {
    let (mut lasting, mut wake) = (Vec::new(), None);
    for answer in answers.into_iter().filter(|answer| answer.verdict != Verdict::Allow) {
        if !worth_recording(answer) {
            continue;
        }
        let recorded = input.record.waiting.iter().any(|old| old.value.same_subject(answer));
        let key = (answer.reason.key, answer.reason.object.clone());
        let since = input.live.overlay.waits.get(&key).copied().unwrap_or(input.now);
        let due = later(since, WORTH_RECORDING);
        if recorded || answer.verdict == Verdict::Deny || answer.gate.is_policy() || due <= input.now {
            lasting.push(answer);
        } else {
            wake = earliest(wake, Some(due));
        }
    }
    (lasting, wake)
}

/// Where the cluster stands. `moving` is true if something goes on without anyone acting.
pub(super) fn state(input: &Input<'_>, tick: &Tick, moving: bool) -> RunState {
    let objects = tick.status.answers.iter().any(|answer| answer.verdict != Verdict::Allow);
    let refused =
        !input.state.problems.is_empty() || other_cluster(input.me, input.live, input.record).is_some();
    match () {
        () if moving => RunState::Moving,
        () if input.record.halted.is_some() => RunState::Halted,
        () if refused => RunState::Refused,
        () if tick.status.answers.iter().any(Answer::needs_a_person) => RunState::NeedsAPerson,
        () if objects || input.record.run.is_some() => RunState::Waiting,
        () => RunState::AsDesired,
    }
}

/// Whether an objection is to be written down. That a Job is at work is left out: the phase of its step tells it. So is
/// what every process that begins waits for: it would be written at each start.
fn worth_recording(answer: &Answer) -> bool {
    answer.gate.is_recorded() && !matches!(answer.reason.key, Key::Upgrading | Key::NotAgreed)
}
