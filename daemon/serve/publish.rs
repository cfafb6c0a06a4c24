//! What a loop publishes of itself: the newest view in a watch channel, changed only when there is news.

use jiff::Timestamp;
use tokio::sync::watch;

use crate::model::decision::{Answer, Reason};
use crate::model::state::RunState;
use crate::record::{self, Record};
use crate::view::cluster::{Notice, View, Withheld};

/// Publishes the view of one cluster for its loop.
pub(super) struct Publisher {
    view: watch::Sender<View>,
    cluster: String,
    /// What has happened since the view was last published.
    news: Vec<Notice>,
    /// The last pass that was withheld.
    withheld: Option<Withheld>,
    /// The number and time of the last entry in the published status.
    shown: Option<(u64, Option<Timestamp>)>,
}

impl Publisher {
    pub(super) fn new(cluster: &str, view: watch::Sender<View>) -> Self {
        Self { view, cluster: cluster.to_owned(), news: Vec::new(), withheld: None, shown: None }
    }

    /// Adds a notice; it shows in the next view.
    pub(super) fn note(&mut self, notice: Notice) {
        self.news.push(notice);
    }

    /// Notes a withheld pass; it shows in the next view.
    pub(super) fn withheld(&mut self, at: Timestamp, findings: Vec<Reason>) {
        self.withheld = Some(Withheld { at, findings });
    }

    /// Publishes where the cluster stands. `answers` are those of a completed pass; with `None` the earlier ones
    /// stay. Readers are not woken if nothing has changed.
    pub(super) fn publish(&mut self, state: RunState, answers: Option<Vec<Answer>>, record: &Record) {
        // A record changes only by entries, so its last entry shows whether the status has to be made again.
        let newest = Some((record.next_seq, record.last_at));
        let status = (self.shown != newest).then(|| record::status(&self.cluster, record));
        self.shown = newest;
        let news = std::mem::take(&mut self.news);
        let withheld = self.withheld.take();
        self.view.send_if_modified(|view| {
            let answers = answers.filter(|answers| *answers != view.answers);
            let changed = view.state != state
                || answers.is_some()
                || status.is_some()
                || !news.is_empty()
                || withheld.is_some();
            view.state = state;
            if let Some(answers) = answers {
                view.answers = answers;
            }
            if status.is_some() {
                view.status = status;
            }
            if withheld.is_some() {
                view.withheld = withheld;
            }
            for notice in news {
                view.add(notice);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::decision::{Gate, Key, Verdict};

    #[test]
    fn readers_are_woken_by_news_and_by_nothing_else() {
        let (sender, mut view) = watch::channel(View::new("demo"));
        let mut publisher = Publisher::new("demo", sender);
        let record = Record::default();
        publisher.publish(RunState::Looking, None, &record);
        assert!(view.has_changed().unwrap(), "the record is known from now on");
        assert!(view.borrow_and_update().status.is_some());

        let answer = Answer {
            gate: Gate::Window,
            verdict: Verdict::Deny,
            reason: Reason::new(Key::WindowClosed, "cluster/demo", "closed"),
            next: None,
        };
        let answers = || Some(vec![answer.clone()]);
        publisher.publish(RunState::Waiting, answers(), &record);
        assert!(view.has_changed().unwrap());
        view.mark_unchanged();
        publisher.publish(RunState::Waiting, answers(), &record);
        assert!(!view.has_changed().unwrap(), "the same again");
        publisher.publish(RunState::Waiting, None, &record);
        assert!(!view.has_changed().unwrap(), "a pass that was broken off says nothing new");
        assert_eq!(Some(&view.borrow().answers), answers().as_ref());

        let (at, namespace, pod) = (Timestamp::UNIX_EPOCH, "shop".to_owned(), "web".to_owned());
        publisher.note(Notice::Evicted { at, namespace, pod });
        publisher.publish(RunState::Waiting, answers(), &record);
        assert!(view.has_changed().unwrap());
        assert_eq!(view.borrow().last_number(), 1);
    }
}
