//! The only way to change anything: one match over [`Effect`], behind a fence. It decides nothing, retries nothing
//! and remembers nothing; the answer is returned to be folded.

mod beside;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

pub use beside::{EarlierCommits, LongWork, Watcher};

use crate::clock::Clock;
use crate::cluster::{self, ClusterApi};
use crate::live::{ProbeAnswer, Seen, WriteAnswer};
use crate::model::effect::Effect;
use crate::model::live::{CallFailure, Probe};
use crate::model::time::later;

/// How long it is believed that there is no stop.
const UNSTOPPED_FOR: SignedDuration = SignedDuration::from_secs(2);

/// How long after its decision an effect is sent at most. Effects wait for each other's proof that there is no stop, and
/// what was decided before a long wait may be wrong after it: a person may hold the node by now.
const DECIDED_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// Whether the fence is asked before or after an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    Before,
    After,
}

/// The fence between a decision and the world. Every effect has an index, pushes to git included, and the fence is
/// asked before it is sent and after it was answered. If it breaks, the process ends there.
pub trait Fence: Send + Sync {
    fn at(&self, index: u64, when: When) -> ControlFlow<()>;
}

/// The means with which effects are carried out.
#[derive(Clone)]
pub struct Edges {
    pub cluster: ClusterApi,
    pub clock: Clock,
    watchers: Vec<Arc<dyn Watcher>>,
    long: Option<Arc<dyn LongWork>>,
    earlier: Option<Arc<dyn EarlierCommits>>,
    count: Arc<AtomicU64>,
    /// Until when effects may be sent under the lease; `None` while it is not held.
    pub deadline: Arc<Mutex<Option<Timestamp>>>,
    /// When etcd last said that there is no stop.
    unstopped: Arc<tokio::sync::Mutex<Option<Timestamp>>>,
}

impl Edges {
    pub fn new(cluster: ClusterApi, clock: Clock) -> Self {
        Self {
            cluster,
            clock,
            watchers: Vec::new(),
            long: None,
            earlier: None,
            count: Arc::default(),
            deadline: Arc::default(),
            unstopped: Arc::default(),
        }
    }

    /// Adds a watcher beside the loop.
    #[must_use]
    pub fn with_watcher(mut self, watcher: Arc<dyn Watcher>) -> Self {
        self.watchers.push(watcher);
        self
    }

    /// Adds the system that begins long work and looks at it.
    #[must_use]
    pub fn with_long_work(mut self, long: Arc<dyn LongWork>) -> Self {
        self.long = Some(long);
        self
    }

    /// Adds the reader of earlier commits.
    #[must_use]
    pub fn with_earlier_commits(mut self, earlier: Arc<dyn EarlierCommits>) -> Self {
        self.earlier = Some(earlier);
        self
    }

    /// Starts everything that feeds a loop: the watches of the cluster, and the watchers beside them. They end when
    /// the set is dropped.
    pub fn watch(&self, seen: &Sender<Seen>) -> JoinSet<()> {
        let mut tasks = cluster::watch(&self.cluster, &self.clock, seen);
        for watcher in &self.watchers {
            tasks.spawn(watcher.watch(self.clock.clone(), seen.clone()));
        }
        tasks
    }

    /// Asks one probe. A failure is an answer too: nothing is known.
    pub async fn ask(&self, probe: &Probe) -> ProbeAnswer {
        if let (Probe::Earlier(of), Some(earlier)) = (probe, &self.earlier) {
            return Arc::clone(earlier).addon(of.clone()).await;
        }
        match (probe, &self.long) {
            (Probe::Long(name), Some(long)) => {
                long.look(name).await.map_or_else(ProbeAnswer::Nothing, ProbeAnswer::Long)
            }
            (
                Probe::Long(_)
                | Probe::ClusterUid
                | Probe::Api
                | Probe::Heartbeat(_)
                | Probe::Node(_)
                | Probe::Lock
                | Probe::Workload(_)
                | Probe::Right(_)
                | Probe::Manifests(_)
                | Probe::Evidence(_)
                | Probe::Earlier(_)
                | Probe::Published,
                _,
            ) => self.cluster.ask(probe, &self.clock).await,
        }
    }

    /// Puts a change of the world behind the fence. `None` when the process has to end.
    pub async fn fenced<T>(
        &self,
        fence: &dyn Fence,
        needs_lock: bool,
        work: impl Future<Output = T>,
        withheld: impl FnOnce() -> T,
    ) -> Option<T> {
        let index = self.count.fetch_add(1, Ordering::SeqCst);
        if fence.at(index, When::Before).is_break() {
            return None;
        }
        if needs_lock && !self.in_time() {
            return Some(withheld());
        }
        let done = work.await;
        fence.at(index, When::After).is_continue().then_some(done)
    }
}

impl Edges {
    /// Why nothing may be written to nodes, pods and Jobs: a person has stopped the work, or it cannot be told whether
    /// one has. A watch may be late or silent, so a stop is looked for by a read, at most two seconds before each write.
    async fn stopped(&self, decided: Timestamp) -> Option<String> {
        // One read for all effects that are sent together.
        let mut unstopped = self.unstopped.lock().await;
        // The read of another effect took long. What waited for it does not read once more.
        if self.is_old(decided) {
            return Some(too_old());
        }
        if unstopped.is_some_and(|at| later(at, UNSTOPPED_FOR) > self.clock.now()) {
            return None;
        }
        let asked = self.clock.now();
        match self.cluster.is_stopped().await {
            Ok(false) if later(asked, UNSTOPPED_FOR) > self.clock.now() => {
                *unstopped = Some(asked);
                self.is_old(decided).then(too_old)
            }
            // It tells what was so when it was read, and a stop may have come since.
            Ok(false) => Some("the answer whether a person has stopped the work came too late".to_owned()),
            Ok(true) => Some("a person has stopped the work".to_owned()),
            Err(error) => Some(format!("it cannot be read whether a person has stopped the work: {error}")),
        }
    }

    fn is_old(&self, decided: Timestamp) -> bool {
        later(decided, DECIDED_WITHIN) < self.clock.now()
    }

    /// True if the lease's renew deadline is still ahead.
    fn in_time(&self) -> bool {
        let deadline = *self.deadline.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        deadline.is_some_and(|deadline| self.clock.now() < deadline)
    }
}

fn too_old() -> String {
    format!("it was decided more than {} s ago and is decided anew", DECIDED_WITHIN.as_secs())
}

/// The fence of an ordinary process: it lets everything pass.
#[derive(Clone, Copy, Debug)]
pub struct Open;

impl Fence for Open {
    fn at(&self, _: u64, _: When) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Carries an effect out that was decided at `decided`, and returns its answer. `None` when the process has to end.
pub async fn perform(edges: &Edges, effect: Effect, decided: Timestamp, fence: &dyn Fence) -> Option<Seen> {
    let key = effect.key();
    let needs_lease = key.rules().needs_lease;
    let withheld = || WriteAnswer::Stale("the lease's renew deadline has passed".to_owned());
    let answer = edges.fenced(fence, needs_lease, carry_out(edges, effect, decided), withheld).await?;
    Some(Seen::Done(key, answer))
}

async fn carry_out(edges: &Edges, effect: Effect, decided: Timestamp) -> WriteAnswer {
    let cluster = &edges.cluster;
    let rules = effect.key().rules();
    if rules.stops {
        if let Some(why) = edges.stopped(decided).await {
            return WriteAnswer::Stale(why);
        }
        if rules.needs_lease && !edges.in_time() {
            return WriteAnswer::Stale("the lease's renew deadline has passed".to_owned());
        }
    }
    match effect {
        Effect::Node { name, resource_version, patch, taints } => {
            cluster.patch_node(&name, &resource_version, &patch, taints.as_deref()).await
        }
        Effect::Evict { namespace, pod, uid } => {
            cluster.evict(&namespace, &pod, &uid, edges.clock.now()).await
        }
        Effect::Rollout { namespace, name, uid, resource_version, patch } => {
            cluster.patch_deployment((&namespace, &name), &uid, &resource_version, &patch).await
        }
        Effect::SetImage { workload, uid, resource_version, container, init, image } => {
            let guard = (uid.as_str(), resource_version.as_str());
            cluster.set_image(&workload, guard, (&container, init), &image).await
        }
        Effect::Apply { object, address, found, body, takes_over } => {
            cluster.apply((&object, &address), found.as_ref(), &body, takes_over).await
        }
        Effect::DeleteObject { object, address, found } => {
            cluster.delete_object((&object, &address), &found).await
        }
        Effect::Helm(call) => cluster.helm(&call).await,
        Effect::CreateNamespace(manifest) => cluster.create_namespace(&manifest).await,
        Effect::CreateJob { manifest, .. } => cluster.create_job(&manifest).await,
        Effect::SuspendJob { name, uid, resource_version, suspend } => {
            cluster.suspend_job(&name, &uid, &resource_version, suspend).await
        }
        Effect::DeleteJob { name, uid, resource_version } => {
            cluster.delete_job(&name, &uid, &resource_version).await
        }
        Effect::Lease { name, lease, heard, length } => {
            cluster.move_lock(&name, &lease, heard.as_ref(), length, edges.clock.now()).await
        }
        Effect::Publish { text, of } => cluster.publish(&text, of).await,
        Effect::ForgetResume { uid } => cluster.forget_resume(&uid).await,
        Effect::BeginLong { name } => match &edges.long {
            Some(long) => long.begin(&name).await,
            None => WriteAnswer::Failed(CallFailure::Other(format!("nothing here can begin {name}"))),
        },
    }
}
