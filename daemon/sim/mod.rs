//! A simulated Kubernetes API server: an in-memory store behind the real wire protocol, with controllers, a scheduler
//! and kubelets that are data-driven and live in the caller's time.
//!
//! It knows Kubernetes and nothing of the rest of this program: a simulation that shared our types would confirm our
//! misunderstandings. What it does not serve it refuses by name.

mod answer;
mod apply;
mod audit;
mod cluster;
mod control;
mod defaults;
mod delete;
mod discovery;
mod events;
mod eviction;
mod faults;
mod immutable;
mod json;
mod object;
mod patch;
mod protobuf;
mod quantity;
mod queue;
mod react;
mod read;
mod request;
mod resource;
mod seed;
mod selector;
mod server;
mod settings;
mod status;
mod store;
mod subresource;
mod table;
#[cfg(test)]
mod tests;
mod time;
mod watch;
mod write;

pub use answer::{Answer, Body};
pub use audit::{Audit, Breach, Entry, Eviction, LowWater};
pub use cluster::Cluster;
pub use faults::{Faults, How, When};
pub use object::{Key, Object};
pub use resource::{Kind, RESOURCES, Resource};
pub use server::{NowFn, Server, SleepUntilFn, kubeconfig};
pub use settings::{Brings, Effect, Settings, Timings, UpgradeRule};
pub use status::Refusal;
pub use watch::{Polled, Subscription};
