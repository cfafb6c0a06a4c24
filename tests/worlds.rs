//! Worlds in the short form in which cases are written, and the long form that the stages take.
//!
//! A node is a line of words: its version, `k=v` labels, and `cordoned`, `held`, `notReady`, `leaving`,
//! `unknown`. A control plane node begins with `control-plane`, and its version may be two: `control plane/kubelet`.
//! `w1..w3` are three such nodes. A pod is its node and then its owner (`deployment/cart`, with `x3` replicas),
//! labels, `emptyDir`, `grace:600`, `doNotDisrupt`, `done`, `orphan`. A budget is what it selects, `allows:0`,
//! `healthy:3/2` (those that are, and those that have to be) and `never`. Every other word is a mark, for those who know more about a world than what there is.

#[path = "worlds/charts.rs"]
pub mod charts;
#[path = "worlds/desired.rs"]
mod desired;
#[path = "worlds/live.rs"]
pub mod live;

pub use desired::{Wish, desired, pool};
pub use live::{Marks, Sight, add_node, add_pod, budget, is_version, plain_pod, set_control_plane};
