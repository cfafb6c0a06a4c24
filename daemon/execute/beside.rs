//! What goes on beside a cluster's loop for longer than one call: watchers that feed it, and long work that it begins.

use futures::future::BoxFuture;
use tokio::sync::mpsc::Sender;

use crate::clock::Clock;
use crate::live::{Answer, Seen};
use crate::model::live::LongState;

/// Feeds what it sees into a loop for as long as that loop lives.
///
/// It tells what it knows by [`Seen`] and nothing else, tries again by itself whatever fails, and tells less often
/// than the loop can take in: a full channel makes it wait. It is dropped with the loop.
pub trait Watcher: Send + Sync {
    fn watch(&self, clock: Clock, seen: Sender<Seen>) -> BoxFuture<'static, ()>;
}

/// Work that goes on for longer than any call, known by its name: a name stands for one piece of work, and is made
/// from the step that it belongs to, so that every process calls it the same.
///
/// Nothing of it is remembered by the process. What began it may have been killed right before, right after, or at
/// any time until its end; whoever comes next looks, and finds what the world has of it.
pub trait LongWork: Send + Sync {
    /// Begins it and returns, while the work goes on by itself. Beginning what was begun, or is done, is no second
    /// piece of work: it answers [`Answer::Done`] and changes nothing. Like every call it answers within seconds.
    fn begin<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Answer>;

    /// How far it has come, asked of the world. When the world does not answer, why: then nothing is known of it.
    fn look<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<LongState, String>>;
}
