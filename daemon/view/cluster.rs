//! What the loop of one cluster knows after its last pass, for pages, the demo and tests. Data only; other modules
//! decide how it is shown.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::model::decision::{Answer, Reason};
use crate::model::entry::Entry;
use crate::model::state::RunState;
use crate::record;

/// How many notices a view keeps. Draining four nodes of 110 pods each, the usual limit of a kubelet, takes 440
/// evictions and some dozens of entries; a reader that looks once meanwhile misses none.
pub const RECENT: usize = 512;

/// One cluster as its loop saw it last.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub cluster: String,
    pub state: RunState,
    /// The answers of every gate in the last pass, the passing ones too, in the order in which the gates were asked.
    pub answers: Vec<Answer>,
    /// The public status with all entries so far; `None` until the loop has its record.
    pub status: Option<record::Status>,
    /// The last pass that was withheld because the independent check found something.
    pub withheld: Option<Withheld>,
    /// The newest last.
    recent: VecDeque<Numbered>,
}

/// A withheld pass, which is a bug of Windlass, and what the check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Withheld {
    pub at: Timestamp,
    pub findings: Vec<Reason>,
}

/// A notice with its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbered {
    /// Counted from one, for each cluster of a process, without a gap.
    pub number: u64,
    pub notice: Notice,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The journal got this entry. It may not be on the remote yet.
    Entry(Box<Entry>),
    /// The API server accepted the eviction of this pod.
    Evicted { at: Timestamp, namespace: String, pod: String },
}

impl View {
    /// The view of a cluster of which nothing is known yet.
    pub fn new(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            state: RunState::default(),
            answers: Vec::new(),
            status: None,
            withheld: None,
            recent: VecDeque::new(),
        }
    }

    /// Gives a notice the next number and keeps it. The oldest is dropped when there are more than [`RECENT`].
    pub fn add(&mut self, notice: Notice) {
        let number = self.last_number() + 1;
        self.recent.push_back(Numbered { number, notice });
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// The number of the newest notice; zero before the first.
    pub fn last_number(&self) -> u64 {
        self.recent.back().map_or(0, |newest| newest.number)
    }

    /// The notices after this number, oldest first. If the first one does not have the next number, those between are
    /// no longer kept.
    pub fn since(&self, number: u64) -> impl Iterator<Item = &Numbered> {
        self.recent.iter().filter(move |numbered| numbered.number > number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evicted(pod: usize) -> Notice {
        Notice::Evicted { at: Timestamp::UNIX_EPOCH, namespace: "shop".into(), pod: pod.to_string() }
    }

    fn numbers(view: &View, since: u64) -> Vec<u64> {
        view.since(since).map(|numbered| numbered.number).collect()
    }

    #[test]
    fn a_reader_that_keeps_the_last_number_gets_each_notice_once() {
        let mut view = View::new("demo");
        assert_eq!((view.last_number(), numbers(&view, 0)), (0, vec![]));
        (0..3).for_each(|pod| view.add(evicted(pod)));
        assert_eq!(numbers(&view, 0), [1, 2, 3]);
        let last = view.last_number();
        assert_eq!(numbers(&view, last), [0; 0]);
        view.add(evicted(3));
        assert_eq!(numbers(&view, last), [4]);
    }

    #[test]
    fn old_notices_go_and_the_gap_shows() {
        let mut view = View::new("demo");
        (0..RECENT + 10).for_each(|pod| view.add(evicted(pod)));
        let kept = numbers(&view, 3);
        assert_eq!(kept.len(), RECENT);
        assert_eq!(kept.first(), Some(&11), "4 to 10 are gone");
        assert_eq!(view.last_number(), u64::try_from(RECENT).unwrap() + 10);
    }
}
