//! Whole upgrades on the simulator, from a commit to the record. The files are named after what their tests show:
//!
//! * `addons`, `addons_via`, `manifests`, `helm`, `helm_via`: what moves with the cluster, in its order, through the versions between, and
//!   to the end of its rollout
//! * `calendar`: what may begin within a window, and what a close leaves to be done
//! * `canary`: who goes first, and who waits for it
//! * `claims`: claims that were removed, changed or copied
//! * `clock`: clocks that differ or are set
//! * `commits`: new, changed, broken and rewritten desired states
//! * `control_plane`: hops, version skew, and the control plane as one unit
//! * `drain`, `drain_blocked`, `drain_surge`: pods on their way out, drains that cannot go on, and pods that move by a rollout
//! * `failures`, `failures_api`: nodes, Jobs and git; the API server
//! * `kubeadm`: what kubeadm moves itself with the control plane
//! * `line`: requests and watches that are lost or late on their way
//! * `limits`: how many nodes and pods may be out at once
//! * `observe`: clusters that are only looked at, and what is published of any
//! * `pace`: how long an upgrade takes, and what it must not wait for
//! * `people`: stop, resume, hold, cordon, and upgrades by hand
//! * `processes`, `processes_fleet`: restarts, leases and claims; several clusters in one repository
//! * `record_branch`: what people write there who may not change the desired branch
//!
//! A test of one of these is a world, something that happens to it, and one check of how it ends.

mod addons;
mod addons_via;
mod calendar;
mod canary;
mod claims;
mod clock;
mod commits;
mod control_plane;
mod drain;
mod drain_blocked;
mod drain_surge;
mod failures;
mod failures_api;
pub mod helm;
mod helm_via;
mod kubeadm;
mod limits;
mod line;
pub mod manifests;
mod observe;
mod pace;
mod people;
mod processes;
mod processes_fleet;
mod record_branch;
