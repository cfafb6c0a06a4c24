//! What a process serves, with what, and where it publishes what it knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::cluster::ClusterApi;
use crate::execute::Fence;
use crate::git;
use crate::view::cluster::View;

/// Makes the client of the cluster of this name. It is called again after a failure.
pub type Connect = Arc<dyn Fn(String) -> BoxFuture<'static, anyhow::Result<ClusterApi>> + Send + Sync>;

/// The view of each cluster that has been served, by the cluster's name. A cluster that is no longer served keeps its
/// last view, whose sender is closed.
pub type Views = BTreeMap<String, watch::Receiver<View>>;

/// Everything that is served, and with what.
pub struct Serve {
    pub git: git::Settings,
    /// Folder of `desired-state/` and `policies/` in the repository; empty for its root.
    pub path: String,
    /// The image of the upgrade Jobs for cluster files that name none.
    pub image: Option<String>,
    /// How often a remote is polled; spread by a tenth, so that many daemons do not poll at once.
    pub poll: SignedDuration,
    pub clock: Clock,
    pub fence: Arc<dyn Fence>,
    pub connect: Connect,
    /// The name of this machine, for the lease.
    pub host: String,
    /// True to return when every cluster is idle, and not to wait for hosts that cannot be reached.
    pub until_idle: bool,
    /// True once the process is asked to end. Its sender has to live as long as the call.
    pub ending: watch::Receiver<bool>,
    /// Gets the view of each cluster when its loop starts. Pages and the demo keep a receiver; without one the daemon
    /// works the same.
    pub views: watch::Sender<Views>,
}
