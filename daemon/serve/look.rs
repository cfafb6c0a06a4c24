//! What a pass reads, as one loop keeps it: the desired state, the picture of the cluster, and the plan of a run that
//! could begin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::gate::{Census, Others};
use crate::live::Folder;
use crate::model::CommitId;
use crate::model::decision::{Reason, Verdict};
use crate::model::desired::Desired;
use crate::model::entry::{RunEvent, What};
use crate::model::live::{Live, Probe};
use crate::model::plan::Plan;
use crate::model::state::{DesiredState, Identity};
use crate::model::time::later;
use crate::plan;
use crate::reconcile::{Input, Tick};
use crate::record::Record;
use crate::work::{bears_our_claim, bears_our_note};

/// Under which name each cluster (UID of its kube-system) is served, over all loops of a process. Two contexts of a
/// kubeconfig may lead to one cluster; two loops would then upgrade it against each other.
#[derive(Clone, Debug, Default)]
pub struct ServedUids(Arc<Mutex<BTreeMap<String, ServedAs>>>);

#[derive(Debug)]
struct ServedAs {
    cluster: String,
    /// True if the record has the UID under this name.
    recorded: bool,
}

impl ServedUids {
    /// Serves the UID under this name. Returns the other name if the UID is served under one already. A name whose
    /// record has the UID replaces one that only connected earlier.
    pub fn claim(&self, uid: &str, cluster: &str, recorded: bool) -> Option<String> {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = || ServedAs { cluster: cluster.to_owned(), recorded };
        let first = served.entry(uid.to_owned()).or_insert_with(mine);
        if recorded && !first.recorded {
            *first = mine();
        }
        (first.cluster != cluster).then(|| first.cluster.clone())
    }
}

/// How old the pods in a waiting plan may be: on a large cluster some pod always comes or goes.
const PODS_SETTLE: SignedDuration = SignedDuration::from_secs(10);

/// The plan of a run that could begin, and what it was made from.
struct FreshPlan {
    plan: Plan,
    commit: CommitId,
    nodes: u64,
    pods: u64,
    at: Timestamp,
}

impl FreshPlan {
    /// When the plan becomes too old for the present pods; `None` while no pod has changed. A plan without steps does
    /// not depend on pods.
    fn outdated_at(&self, live: &Live) -> Option<Timestamp> {
        let news = self.pods != live.pods_generation && !self.plan.is_empty();
        news.then(|| later(self.at, PODS_SETTLE))
    }

    fn holds(&self, commit: &CommitId, live: &Live, now: Timestamp) -> bool {
        self.commit == *commit
            && self.nodes == live.nodes_generation
            && self.outdated_at(live).is_none_or(|at| now < at)
    }
}

/// The census, and the commit whose pools it counts; `None` before the first count.
#[derive(Default)]
struct FreshCensus {
    census: Census,
    of: Option<CommitId>,
}

impl FreshCensus {
    /// Counts again what has changed: single nodes, or everything after a new commit.
    fn keep(&mut self, desired: &Desired, live: &mut Live) {
        let changed = live.nodes.take_changed();
        if self.of.as_ref() == Some(&desired.commit) {
            self.census.update(&desired.cluster, live, &changed);
        } else {
            *self = Self { census: Census::of(&desired.cluster, live), of: Some(desired.commit.clone()) };
        }
    }
}

/// What one loop knows of its cluster and of the desired state.
#[derive(Default)]
pub(super) struct Picture {
    pub(super) folder: Folder,
    wanted: Option<DesiredState>,
    fresh: Option<FreshPlan>,
    counted: FreshCensus,
    others: Others,
}

impl Picture {
    pub(super) fn live(&self) -> &Live {
        &self.folder.live
    }

    /// Takes over the cluster's desired state if it has changed.
    pub(super) fn take_wanted(
        &mut self,
        all: &mut watch::Receiver<BTreeMap<String, DesiredState>>,
        cluster: &str,
    ) {
        if self.wanted.is_some() && matches!(all.has_changed(), Ok(false)) {
            return;
        }
        if let Some(wanted) = all.borrow_and_update().get(cluster) {
            self.wanted = Some(wanted.clone());
        }
    }

    /// Plans again if no run is in progress, and counts nodes again, if something has changed that they depend on.
    pub(super) fn replan(&mut self, record: &Record, now: Timestamp) {
        let desired = self.wanted.as_ref().and_then(|wanted| wanted.desired.clone());
        let Some(desired) = desired.filter(|_| self.folder.live.complete) else {
            self.fresh = None;
            return;
        };
        self.counted.keep(&desired, &mut self.folder.live);
        let live = &self.folder.live;
        if record.run.is_some() {
            self.fresh = None;
            return;
        }
        if self.fresh.as_ref().is_some_and(|fresh| fresh.holds(&desired.commit, live, now)) {
            return;
        }
        self.fresh = match plan::proposal(&desired, live) {
            Ok(plan) => Some(FreshPlan {
                plan,
                commit: desired.commit.clone(),
                nodes: live.nodes_generation,
                pods: live.pods_generation,
                at: now,
            }),
            Err(error) => {
                tracing::error!(cluster = %desired.cluster.name, %error, "the plan cannot be sealed; no run begins");
                None
            }
        };
    }

    /// When to plan again because pods have changed.
    pub(super) fn replan_at(&self) -> Option<Timestamp> {
        self.fresh.as_ref()?.outdated_at(&self.folder.live)
    }

    /// What a pass reads; `None` until git has been read.
    pub(super) fn input<'a>(
        &'a self,
        me: &'a Identity,
        record: &'a Record,
        trouble: Option<&'a Reason>,
        clock: &Clock,
    ) -> Option<Input<'a>> {
        Some(Input {
            me,
            state: self.wanted.as_ref()?,
            live: &self.folder.live,
            record,
            fresh: self.fresh.as_ref().map(|fresh| &fresh.plan),
            census: &self.counted.census,
            others: &self.others,
            trouble,
            now: clock.now(),
            wall: clock.wall(),
        })
    }

    /// Notes since when each wait has been given, and since when each step that returns its node has been looked at.
    pub(super) fn remember(&mut self, tick: &Tick, now: Timestamp) {
        let overlay = &mut self.folder.live.overlay;
        let before = std::mem::take(&mut overlay.waits);
        for answer in tick.status.answers.iter().filter(|answer| answer.verdict != Verdict::Allow) {
            let key = (answer.reason.key, answer.reason.object.clone());
            let since = before.get(&key).copied().unwrap_or(now);
            overlay.waits.insert(key, since);
        }
        overlay.looked.extend(tick.looked.iter().map(|what| (*what, now)));
        overlay.watched.retain(|step, _| tick.watched.contains(step));
        for step in &tick.watched {
            overlay.watched.entry(step.clone()).or_insert(now);
        }
    }

    /// Forgets the pods of which an entry says where they are, and all of a run that has ended.
    pub(super) fn forget_told(&mut self, what: &What) {
        let ahead = &mut self.folder.live.overlay.ahead;
        match what {
            What::Run(RunEvent::Landed { pods }) => {
                for pod in pods {
                    ahead.remove(&pod.uid.as_str().into());
                }
            }
            What::Run(RunEvent::Ended { .. }) => ahead.clear(),
            What::Run(_) | What::Step(..) | What::Cluster(_) | What::Commit(_) | What::Interruption(_) => {}
        }
    }

    /// Forgets what is out of date after another process has acted: the plan, and what `upgrade-status` holds.
    pub(super) fn others_acted(&mut self) {
        self.fresh = None;
        self.folder.live.published = None;
        self.folder.live.probed.remove(&Probe::Published);
    }

    /// The reason that a person wrote for upgrading the control plane without a proven snapshot of etcd.
    pub(super) fn etcd_unproven(&self) -> Option<&str> {
        self.wanted.as_ref()?.desired.as_ref()?.cluster.etcd_unproven.as_deref()
    }

    /// True if a node has a claim, or a Deployment the note of a rollout, of a run that this record knows.
    pub(super) fn has_claims_or_notes(&self, record: &Record) -> bool {
        let live = &self.folder.live;
        let mut claimed = live.claimed.iter().filter_map(|name| live.nodes.get(name));
        claimed.any(|node| bears_our_claim(record, node)) || bears_our_note(record, live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_uid_is_served_as_one_cluster() {
        let served = ServedUids::default();
        assert_eq!(served.claim("uid", "demo", false), None);
        assert_eq!(served.claim("uid", "other", false).as_deref(), Some("demo"), "demo was quicker");
        assert_eq!(served.claim("uid", "demo", false), None);
        assert_eq!(served.claim("another", "other", false), None);
    }

    #[test]
    fn the_cluster_that_the_record_knows_comes_before_a_quicker_one() {
        let served = ServedUids::default();
        assert_eq!(served.claim("uid", "quicker", false), None);
        assert_eq!(served.claim("uid", "known", true), None);
        assert_eq!(served.claim("uid", "quicker", false).as_deref(), Some("known"));
        assert_eq!(served.claim("uid", "quicker", true).as_deref(), Some("known"), "the first of two stays");
    }
}
