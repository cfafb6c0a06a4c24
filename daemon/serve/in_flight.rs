//! Effects, probes and pushes that were sent and not answered. Each is a task, and its answer is an event for the
//! loop.

use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinError, JoinSet};

use super::ask::{Batch, Journal, Lost};
use crate::execute::{Edges, Fence, perform};
use crate::live::{Seen, WriteAnswer};
use crate::model::effect::{Effect, EffectKey};
use crate::model::live::{Overlay, Probe};
use crate::model::time::later;

/// When an effect or a probe without an answer counts as lost; the next pass sends it again if it still wants it.
/// Single calls give up earlier.
const LOST_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// What the tasks of a loop return to it.
pub(super) enum LoopEvent {
    /// An answer to an effect or a probe; with the namespace and name of a pod whose eviction was accepted.
    Seen(Box<Seen>, Option<(String, String)>),
    /// All entries up to this one are on the remote.
    Recorded(u64),
    Lost(Lost),
    /// The fence lets no further effect through.
    Fenced,
}

/// The tasks of one loop, and what they work with.
pub(super) struct InFlight {
    edges: Edges,
    fence: Arc<dyn Fence>,
    tasks: JoinSet<LoopEvent>,
}

impl InFlight {
    pub(super) fn new(edges: Edges, fence: Arc<dyn Fence>) -> Self {
        Self { edges, fence, tasks: JoinSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The next answer; `None` if no task is running.
    pub(super) async fn next(&mut self) -> Option<Result<LoopEvent, JoinError>> {
        self.tasks.join_next().await
    }

    /// Sets until when effects may be sent that only the holder of the lease may send.
    pub(super) fn set_deadline(&self, deadline: Option<Timestamp>) {
        *self.edges.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    pub(super) fn send(&mut self, effect: Effect, overlay: &mut Overlay, now: Timestamp) {
        let answers_within = LOST_AFTER + effect.lasts().unwrap_or_default();
        overlay.in_flight.insert(effect.key(), later(now, answers_within));
        let (edges, fence) = (self.edges.clone(), Arc::clone(&self.fence));
        let pod = match &effect {
            Effect::Evict { namespace, pod, .. } => Some((namespace.clone(), pod.clone())),
            Effect::Node { .. }
            | Effect::Rollout { .. }
            | Effect::SetImage { .. }
            | Effect::Apply { .. }
            | Effect::DeleteObject { .. }
            | Effect::Helm(_)
            | Effect::CreateNamespace(_)
            | Effect::CreateJob { .. }
            | Effect::SuspendJob { .. }
            | Effect::DeleteJob { .. }
            | Effect::Lease { .. }
            | Effect::Publish { .. }
            | Effect::ForgetResume { .. }
            | Effect::BeginLong { .. } => None,
        };
        self.tasks.spawn(async move {
            let Some(seen) = perform(&edges, effect, now, &*fence).await else { return LoopEvent::Fenced };
            let evicted = pod.filter(|_| matches!(seen, Seen::Done(_, WriteAnswer::Done)));
            LoopEvent::Seen(Box::new(seen), evicted)
        });
    }

    /// Asks a probe, unless the same one is in flight.
    pub(super) fn ask(&mut self, probe: Probe, overlay: &mut Overlay, now: Timestamp) {
        let key = EffectKey::Probe(probe.clone());
        if overlay.in_flight.get(&key).is_some_and(|until| until > now) {
            return;
        }
        let within = LOST_AFTER.saturating_mul(looks(&probe));
        overlay.in_flight.insert(key, later(now, within));
        let edges = self.edges.clone();
        self.tasks.spawn(async move {
            let answer = edges.ask(&probe).await;
            LoopEvent::Seen(Box::new(Seen::Probed { probe, answer, asked: now }), None)
        });
    }

    /// Sends entries up to `last` to the keeper. The fence is asked as for every effect; the lease is not needed.
    pub(super) fn push(&mut self, last: u64, batch: Batch, journal: &Journal) {
        let (edges, fence, journal) = (self.edges.clone(), Arc::clone(&self.fence), journal.clone());
        self.tasks.spawn(async move {
            match edges.fenced(&*fence, false, journal.append(batch), || Ok(())).await {
                Some(Ok(())) => LoopEvent::Recorded(last),
                Some(Err(why)) => LoopEvent::Lost(why),
                None => LoopEvent::Fenced,
            }
        });
    }
}

/// How many looks a question is: each version of a chart is pulled and rendered.
fn looks(probe: &Probe) -> i32 {
    let Probe::Manifests(question) = probe else { return 1 };
    let versions = question.release.as_ref().map_or(1, |asked| asked.versions.len().max(1));
    i32::try_from(versions).unwrap_or(i32::MAX)
}

/// Forgets effects and probes whose deadline has passed. The watches show what came of them.
pub(super) fn forget_lost(overlay: &mut Overlay, now: Timestamp) {
    overlay.in_flight.forget_until(now);
    overlay.unanswered.retain(|_, until| *until > now);
}
