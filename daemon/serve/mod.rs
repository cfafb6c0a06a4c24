//! The async loops: one process, one writer for its repository, one loop for each cluster. They look, let the pure
//! pass of [`crate::reconcile`] decide, write down and do. They decide nothing about a cluster.

mod ask;
mod cluster_loop;
mod identity;
mod idle;
mod in_flight;
mod keeper;
mod lease;
mod look;
mod one;
mod open;
mod process;
mod publish;
mod push;
mod retry;
mod said;
mod settings;
mod vouch;
pub mod wanted;

pub use ask::{Ask, Batch, GitCallError, Journal, Lost, RereadError, Trouble};
pub use cluster_loop::{Links, LoopSettings, drive};
pub use idle::End;
pub use keeper::{Keeper, Watching, Wires};
pub use look::ServedUids;
pub use open::{Opened, Records, accepted, blocking, by_cluster, open_now};
pub use process::{Ended, serve};
pub use settings::{Connect, Serve, Views};
