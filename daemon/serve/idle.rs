//! Why a loop ends, and when one that ends by itself may end.

use jiff::{SignedDuration, Timestamp};

use super::ask::Trouble;
use super::push::PUSH_PATIENCE;
use crate::model::decision::Key;
use crate::model::state::RunState;
use crate::model::time::later;

/// How long a loop that ends by itself waits for a git host that does not answer.
const GIT_PATIENCE: SignedDuration = SignedDuration::from_mins(30);

/// Why a loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing can go on without a person, a calendar or another system.
    Idle(RunState),
    /// The machine's time of day was set, by this much. The loop is started again, with the new time.
    ClockSet(SignedDuration),
    /// The process was asked to end; effects in flight were answered and recorded.
    Asked,
    /// The fence ended the process here.
    Fenced,
    /// The record of this cluster was lost to another process, or could not be read again.
    Lost(String),
    /// The entries cannot be put into files, so they cannot be recorded.
    Unwritable(String),
    /// The record cannot be pushed, and nothing goes on without it. `refused` is true if a rule of the git host
    /// refuses it.
    Unrecorded { refused: bool, why: String },
}

/// The end of a loop with nothing in flight and no entry waiting for a push; `None` while it still moves.
pub(super) fn at_rest(state: RunState) -> Option<End> {
    match state {
        RunState::Looking | RunState::Moving => None,
        RunState::AsDesired
        | RunState::Waiting
        | RunState::NeedsAPerson
        | RunState::Halted
        | RunState::Refused => Some(End::Idle(state)),
    }
}

/// The end of a loop that only waits for its push, once its patience is over: only a person can help then.
pub(super) fn unrecorded(trouble: &Trouble, pushing: Option<Timestamp>, now: Timestamp) -> Option<End> {
    let until = patience(trouble, pushing)?;
    let refused = is_refused(trouble);
    (until <= now).then(|| End::Unrecorded { refused, why: trouble.reason.text.clone() })
}

/// Until when a loop that ends by itself waits for the push in flight.
pub(super) fn patience(trouble: &Trouble, pushing: Option<Timestamp>) -> Option<Timestamp> {
    let limit = if is_refused(trouble) { PUSH_PATIENCE } else { GIT_PATIENCE };
    pushing.map(|since| later(since, limit))
}

fn is_refused(trouble: &Trouble) -> bool {
    trouble.reason.key == Key::RecordRefused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::Reason;

    #[test]
    fn a_push_is_given_up_sooner_where_a_rule_of_the_host_refuses_it() {
        let began = Timestamp::UNIX_EPOCH;
        for (key, refused, limit) in
            [(Key::RecordRefused, true, PUSH_PATIENCE), (Key::RecordUnreachable, false, GIT_PATIENCE)]
        {
            let trouble = Trouble { reason: Reason::new(key, "repository", "why"), since: began };
            let early = later(began, limit - SignedDuration::from_secs(1));
            assert_eq!(unrecorded(&trouble, Some(began), early), None, "{key:?}");
            let end = End::Unrecorded { refused, why: "why".into() };
            assert_eq!(unrecorded(&trouble, Some(began), later(began, limit)), Some(end), "{key:?}");
            assert_eq!(unrecorded(&trouble, None, Timestamp::MAX), None, "{key:?}: no push is under way");
        }
    }
}
