//! What goes on beside a cluster's loop for longer than one call: watchers that feed it, and long work that it
//! begins.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::mpsc::Sender;

use crate::clock::Clock;
use crate::live::{ProbeAnswer, Seen, WriteAnswer};
use crate::model::addon::EarlierQuestion;
use crate::model::live::LongState;

/// Feeds what it sees into a loop for as long as the loop lives.
///
/// It reports by [`Seen`] alone and retries its own failures. It waits while the channel is full. It is dropped with
/// the loop.
pub trait Watcher: Send + Sync {
    fn watch(&self, clock: Clock, seen: Sender<Seen>) -> BoxFuture<'static, ()>;
}

/// Work that takes longer than any call. Its name is made from its step, so every process calls it the same.
///
/// The process remembers nothing of it. A process that began it may be killed right before, right after, or at any
/// time until its end; the next process looks, and finds what there is of it.
pub trait LongWork: Send + Sync {
    /// Begins the work and returns while it goes on. If it was begun before, or is done, this changes nothing and
    /// answers [`WriteAnswer::Done`]. It answers within seconds, like every call.
    fn begin<'a>(&'a self, name: &'a str) -> BoxFuture<'a, WriteAnswer>;

    /// How far the work has come. The error says why that cannot be found out; nothing is known of the work then.
    fn look<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<LongState, String>>;
}

/// Reads what earlier commits of the desired branch ask for.
pub trait EarlierCommits: Send + Sync {
    fn addon(self: Arc<Self>, of: EarlierQuestion) -> BoxFuture<'static, ProbeAnswer>;
}
