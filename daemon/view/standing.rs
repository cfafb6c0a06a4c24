//! Where a cluster stands, in one word, and the exit code for it. Every page, the end of the daemon and the demo use
//! this, so that no two of them disagree about one cluster.

use serde::{Serialize, Serializer};

use super::ink::Tone;
use crate::model::state::RunState;
use crate::record::{ClusterPhase, Status, WaitingFor};

/// The exit codes of all commands, from good to bad; of several clusters the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done, valid, or as desired.
    Done,
    /// A plan has something to do.
    ToDo,
    /// Not there yet, and no failure: running, waiting, or stopped by a person.
    NotYet,
    /// Halted, the newest commit is refused, or something else that only a person can change.
    NeedsAPerson,
    /// An error, a plan that cannot be carried out, or files that are not valid.
    Failed,
}

impl Exit {
    /// The exit code of the process. The numbers are a public contract.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::ToDo => 2,
            Self::NotYet => 3,
            Self::NeedsAPerson => 4,
            Self::Failed => 1,
        }
    }
}

impl From<Exit> for Tone {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::Good,
            Exit::ToDo | Exit::NotYet => Self::Wait,
            Exit::NeedsAPerson | Exit::Failed => Self::Bad,
        }
    }
}

/// Where a cluster stands. Several may be true at once; the order says which one a page shows first.
///
/// What a person has to know first comes first. A cluster that is stopped may also be running, because a host
/// finishes what it has begun; "running" would hide the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClusterStanding {
    /// A person stopped it.
    Stopped,
    /// A step failed. The run goes on when a person resumes it, or with another commit.
    Halted,
    /// The newest commit is good, and no daemon has accepted it.
    NotTakenUp,
    /// Steps are in progress, or nothing keeps the next one from beginning.
    Moving,
    /// The newest commit may not come into force, or this is not the cluster that the record knows.
    Refused,
    /// Something keeps a step, a node or the whole run from going on, and only a person can change that.
    NeedsAPerson,
    /// There is work to do, and a gate, a person or an external provider has to act first.
    Waiting,
    /// The cluster has not been read completely.
    Looking,
    /// No commit has been accepted yet.
    Idle,
    AsDesired,
}

impl ClusterStanding {
    /// The word in JSON, the words for people, and the exit code.
    fn told(self) -> (&'static str, &'static str, Exit) {
        match self {
            Self::Stopped => ("stopped", "stopped, until `windlass resume`", Exit::NotYet),
            Self::NotTakenUp => ("notTakenUp", "no daemon has accepted the newest commit yet", Exit::NotYet),
            Self::Halted => (
                "halted",
                "halted, until a commit asks for something else or `windlass resume`",
                Exit::NeedsAPerson,
            ),
            Self::Moving => ("moving", "running", Exit::NotYet),
            Self::Refused => ("refused", "refused", Exit::NeedsAPerson),
            Self::NeedsAPerson => ("needsAPerson", "waiting for a person", Exit::NeedsAPerson),
            Self::Waiting => ("waiting", "waiting", Exit::NotYet),
            Self::Looking => ("looking", "the cluster has not been read completely yet", Exit::NotYet),
            Self::Idle => ("idle", "idle, no commit has been accepted yet", Exit::NotYet),
            Self::AsDesired => ("asDesired", "as desired", Exit::Done),
        }
    }

    /// The words for people, where many clusters stand below each other.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::NotTakenUp => "not accepted yet",
            Self::Halted => "halted",
            Self::Moving => "running",
            Self::Refused => "refused",
            Self::NeedsAPerson => "needs a person",
            Self::Waiting => "waiting",
            Self::Looking => "not known",
            Self::Idle => "idle",
            Self::AsDesired => "as desired",
        }
    }

    /// The word in JSON.
    pub fn word(self) -> &'static str {
        self.told().0
    }

    /// The words for people.
    pub fn headline(self) -> &'static str {
        self.told().1
    }

    pub fn exit(self) -> Exit {
        self.told().2
    }

    /// Everything that a record says of where its cluster stands: its phase, and what the phase hides. A run goes on
    /// while the newest commit is refused, but a person is needed.
    pub fn all_of(status: &Status) -> Vec<Self> {
        let halted = status.halted.as_ref().map(|_| Self::Halted);
        let refused = status.refused.as_ref().map(|_| Self::Refused);
        let person = status.waiting.iter().any(WaitingFor::needs_a_person).then_some(Self::NeedsAPerson);
        [Some(Self::from(status.phase)), halted, refused, person].into_iter().flatten().collect()
    }
}

/// The first words of a page of one cluster, for everything that is true of it. `runs` is true while a run is in
/// progress; `refusal` says that the newest commit may not come into force.
pub(super) fn headline(all: &[ClusterStanding], runs: bool, refusal: Option<&str>) -> String {
    use ClusterStanding::{Looking, Moving, NeedsAPerson, NotTakenUp, Refused, Waiting};
    // What a run in progress does comes before a commit that is not accepted yet.
    let going_on = runs && (all.contains(&Moving) || all.contains(&Waiting));
    let shown = all.iter().copied().filter(|standing| !going_on || *standing != NotTakenUp);
    match (shown.min().unwrap_or(Looking), refusal) {
        (Moving, _) if all.contains(&NeedsAPerson) => "running, and a person is needed".to_owned(),
        (Refused, Some(refusal)) => refusal.to_owned(),
        (standing, _) => standing.headline().to_owned(),
    }
}

impl From<ClusterPhase> for ClusterStanding {
    fn from(phase: ClusterPhase) -> Self {
        match phase {
            ClusterPhase::Stopped => Self::Stopped,
            ClusterPhase::Halted => Self::Halted,
            ClusterPhase::Running => Self::Moving,
            ClusterPhase::Refused => Self::Refused,
            ClusterPhase::Waiting => Self::Waiting,
            ClusterPhase::Idle => Self::Idle,
            ClusterPhase::AsDesired => Self::AsDesired,
        }
    }
}

impl From<RunState> for ClusterStanding {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Looking => Self::Looking,
            RunState::AsDesired => Self::AsDesired,
            RunState::Moving => Self::Moving,
            RunState::Waiting => Self::Waiting,
            RunState::NeedsAPerson => Self::NeedsAPerson,
            RunState::Halted => Self::Halted,
            RunState::Refused => Self::Refused,
        }
    }
}

impl Serialize for ClusterStanding {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.word())
    }
}

/// The exit code of several standings, of one cluster or of many. Without any standing it is not that of "as
/// desired".
pub fn worst(all: impl IntoIterator<Item = ClusterStanding>) -> Exit {
    all.into_iter().map(ClusterStanding::exit).max().unwrap_or(Exit::NotYet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_the_first_is_told() {
        use ClusterStanding::{AsDesired, Halted, Moving, NeedsAPerson, Refused, Stopped, Waiting};
        for (all, told, code) in [
            (vec![AsDesired], AsDesired, 0),
            (vec![AsDesired, Waiting], Waiting, 3),
            (vec![Moving, Refused], Moving, 4),
            (vec![Moving, Halted, Refused], Halted, 4),
            (vec![Stopped, Halted], Stopped, 4),
            (vec![Moving, NeedsAPerson], Moving, 4),
            (vec![Waiting, NeedsAPerson], NeedsAPerson, 4),
        ] {
            assert_eq!(all.iter().min(), Some(&told));
            assert_eq!(worst(all).code(), code);
        }
        assert_eq!(worst([]).code(), 3, "nothing is known");
    }

    #[test]
    fn a_page_begins_with_what_a_person_has_to_know_first() {
        use ClusterStanding::{
            AsDesired, Halted, Moving, NeedsAPerson, NotTakenUp, Refused, Stopped, Waiting,
        };
        let refusal = Some("the newest commit is refused");
        for (all, runs, refusal, told) in [
            (vec![Halted, NotTakenUp], true, None, Halted.headline()),
            (vec![Stopped, Halted, NotTakenUp], true, None, Stopped.headline()),
            (vec![AsDesired, NotTakenUp], false, None, NotTakenUp.headline()),
            (vec![Moving, NotTakenUp], false, None, NotTakenUp.headline()),
            (vec![Moving, NotTakenUp], true, None, "running"),
            (vec![Moving, NeedsAPerson, NotTakenUp], true, None, "running, and a person is needed"),
            (vec![Waiting, NotTakenUp], true, None, "waiting"),
            (vec![Waiting, NeedsAPerson], true, None, "waiting for a person"),
            (vec![AsDesired, Refused], false, refusal, "the newest commit is refused"),
            (vec![Moving, Refused], true, refusal, "running"),
            (vec![Refused], false, None, "refused"),
        ] {
            assert_eq!(headline(&all, runs, refusal), told, "{all:?}");
        }
    }
}
