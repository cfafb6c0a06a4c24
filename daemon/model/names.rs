//! The names of what Windlass makes in a cluster and of what it reads there: each is written here and nowhere else.

/// The namespace of the upgrade Jobs and of the lease.
pub const NAMESPACE: &str = "windlass-system";
/// The namespace in which people and the daemon leave each other notes.
pub const NOTES: &str = "kube-system";
/// The `ConfigMap` by which a person stops the work on a cluster.
pub const STOP: &str = "windlass-stop";
/// The `ConfigMap` by which a person ends a halt.
pub const RESUME: &str = "windlass-resume";
/// The `ConfigMap` that shows the status to those who only have kubectl.
pub const STATUS: &str = "upgrade-status";
/// The lease that says which process should act.
pub const LEASE: &str = "windlass";

/// Labels of an upgrade Job and of its pod.
pub const RUN: &str = "windlass.dev/run";
pub const NODE: &str = "windlass.dev/node";
pub const COMPONENT: &str = "windlass.dev/component";
pub const TARGET: &str = "windlass.dev/target-version";
/// Annotations of an upgrade Job and of its pod.
pub const STEP: &str = "windlass.dev/step";
pub const CLUSTER: &str = "windlass.dev/cluster";

/// The annotation on a node that holds a [`Claim`](super::claim::Claim) as JSON.
pub const CLAIM: &str = "windlass.dev/claim";
/// The annotation by which a person keeps a node from being touched; its value is the reason.
pub const HOLD: &str = "windlass.dev/hold";
/// Asks cluster-autoscaler not to remove a node that is empty only because we drained it.
pub const SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
