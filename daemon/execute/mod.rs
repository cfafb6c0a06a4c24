//! The only way to change anything: one match over [`Effect`], behind a fence.
//! It decides nothing, retries nothing and remembers nothing; what came back is returned to be folded.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::clock::Clock;
use crate::cluster::{Cluster, LockMove, NodePatch};
use crate::live::{Answer, Deed, Seen};
use crate::model::live::{EVICTION, OUR_LEASE, OUR_NAMESPACE, RESUME_NOTE, STATUS_MAP};

/// Everything that can be done to a cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Node { name: String, resource_version: String, patch: NodePatch },
    Evict { namespace: String, pod: String, uid: String },
    CreateNamespace(Value),
    CreateJob { name: String, manifest: Value },
    DeleteJob { name: String, uid: String },
    Lock { name: String, lock: LockMove, length: SignedDuration },
    Publish(String),
    ForgetResume { uid: String },
}

impl Effect {
    /// Two effects of one key are never under way at the same time.
    pub fn key(&self) -> String {
        match self {
            Self::Node { name, .. } => format!("node/{name}"),
            Self::Evict { uid, .. } => format!("{EVICTION}{uid}"),
            Self::CreateNamespace(_) => OUR_NAMESPACE.to_owned(),
            Self::CreateJob { name, .. } | Self::DeleteJob { name, .. } => format!("job/{name}"),
            Self::Lock { .. } => OUR_LEASE.to_owned(),
            Self::Publish(_) => STATUS_MAP.to_owned(),
            Self::ForgetResume { .. } => RESUME_NOTE.to_owned(),
        }
    }

    /// The object that it changes, as people call it.
    pub fn object(&self) -> String {
        match self {
            Self::Evict { namespace, pod, .. } => format!("pod/{namespace}/{pod}"),
            other => other.key(),
        }
    }

    /// Whether only the holder of the lease may do it.
    pub fn needs_lock(&self) -> bool {
        !matches!(self, Self::Lock { .. } | Self::CreateNamespace(_))
    }
}

/// On which side of an effect the fence is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    Before,
    After,
}

/// What stands between a decision and the world: every effect has an index, pushes to git included, and the fence
/// is asked before it is sent and after it was answered. A break ends the process there.
pub trait Fence: Send + Sync {
    fn at(&self, index: u64, when: When) -> ControlFlow<()>;
}

/// What effects are carried out with.
#[derive(Clone)]
pub struct Edges {
    pub cluster: Cluster,
    pub clock: Clock,
    count: Arc<AtomicU64>,
    /// Until when effects may be sent under the lease; nothing while it is not held.
    pub deadline: Arc<Mutex<Option<Timestamp>>>,
}

impl Edges {
    pub fn new(cluster: Cluster, clock: Clock) -> Self {
        Self { cluster, clock, count: Arc::default(), deadline: Arc::default() }
    }

    /// Puts something that changes the world behind the fence. Nothing when the process has to end.
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
    /// Whether the lease's renew deadline is still ahead.
    fn in_time(&self) -> bool {
        let deadline = *self.deadline.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        deadline.is_some_and(|deadline| self.clock.now() < deadline)
    }
}

/// The fence of an ordinary process: everything passes.
#[derive(Clone, Copy, Debug)]
pub struct Open;

impl Fence for Open {
    fn at(&self, _: u64, _: When) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Carries one effect out and says what came of it. Nothing when the process has to end.
pub async fn perform(edges: &Edges, effect: Effect, fence: &dyn Fence) -> Option<Seen> {
    let evicted = match &effect {
        Effect::Evict { uid, .. } => Some(uid.clone()),
        _ => None,
    };
    let deed = Deed { key: effect.key(), evicted };
    let needs_lock = effect.needs_lock();
    let withheld = || Answer::Stale("the lease's renew deadline has passed".to_owned());
    let answer = edges.fenced(fence, needs_lock, carry_out(edges, effect), withheld).await?;
    Some(Seen::Done(deed, answer))
}

async fn carry_out(edges: &Edges, effect: Effect) -> Answer {
    let cluster = &edges.cluster;
    match effect {
        Effect::Node { name, resource_version, patch } => {
            cluster.patch_node(&name, &resource_version, &patch).await
        }
        Effect::Evict { namespace, pod, uid } => {
            cluster.evict(&namespace, &pod, &uid, edges.clock.now()).await
        }
        Effect::CreateNamespace(manifest) => cluster.create_namespace(&manifest).await,
        Effect::CreateJob { manifest, .. } => cluster.create_job(&manifest).await,
        Effect::DeleteJob { name, uid } => cluster.delete_job(&name, &uid).await,
        Effect::Lock { name, lock, length } => {
            cluster.move_lock(&name, &lock, length, edges.clock.now()).await
        }
        Effect::Publish(text) => cluster.publish(&text).await,
        Effect::ForgetResume { uid } => cluster.forget_resume(&uid).await,
    }
}
