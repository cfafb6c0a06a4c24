//! The names of the objects that Windlass creates in a cluster or reads there. No other module spells them.

/// The namespace of the upgrade Jobs and of the lease.
pub const NAMESPACE: &str = "windlass-system";
/// The namespace of the notes `windlass-stop` and `windlass-resume`, and of `upgrade-status`.
pub const NOTES: &str = "kube-system";
/// The `ConfigMap` with which a person stops the work on a cluster.
pub const STOP: &str = "windlass-stop";
/// The `ConfigMap` with which a person ends a halt.
pub const RESUME: &str = "windlass-resume";
/// The `ConfigMap` that shows the status to people who only have kubectl.
pub const STATUS: &str = "upgrade-status";
/// The lease whose holder may act.
pub const LEASE: &str = "windlass";
/// The manager of the fields that the daemon writes.
pub const MANAGER: &str = "windlass";
/// The annotation of the lease that says which version the API endpoint has answered with, and since when.
pub const HEARD: &str = "windlass.dev/api-endpoint";

/// Labels of an upgrade Job and of its pod.
pub const RUN: &str = "windlass.dev/run";
pub const NODE: &str = "windlass.dev/node";
pub const COMPONENT: &str = "windlass.dev/component";
pub const TARGET: &str = "windlass.dev/target-version";
/// Annotations of an upgrade Job and of its pod.
pub const STEP: &str = "windlass.dev/step";
/// On a Job that was made in the place of one that somebody deleted.
pub const MADE_ANEW: &str = "windlass.dev/made-anew";
pub const CLUSTER: &str = "windlass.dev/cluster";

/// The annotation of a node that holds a [`Claim`](super::claim::Claim) as JSON.
pub const CLAIM: &str = "windlass.dev/claim";
/// The annotation with which a person lets a Deployment move by a rollout where an eviction would take it out of service.
pub const SURGE: &str = "windlass.dev/surge";
/// The annotation of a Deployment's template that sets off a rollout.
pub const MOVED: &str = "windlass.dev/moved";
/// The annotation of a Deployment that holds a [`RolloutNote`](super::rollout::RolloutNote) as JSON. It counts only beside a
/// label of the same name: Kubernetes copies annotations to `ReplicaSets`, and `kubectl rollout undo` brings them back.
pub const MOVING: &str = "windlass.dev/moving";
/// The taint of nodes that wait for their upgrade: the scheduler prefers others for the pods that are evicted.
pub const OUTDATED: &str = "windlass.dev/outdated";
/// The annotation with which a person keeps Windlass from touching a node; its value is the reason.
pub const HOLD: &str = "windlass.dev/hold";
/// Keeps cluster-autoscaler from removing a node that is empty only because Windlass drained it.
pub const SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
/// The label of an object that an addon's manifests have: `<cluster>.<addon>`.
pub const ADDON: &str = "windlass.dev/addon";
/// The annotations of such an object: the addon's version, and the digest of its manifest as people wrote it.
pub const ADDON_VERSION: &str = "windlass.dev/addon-version";
pub const MANIFEST: &str = "windlass.dev/manifest";
/// The annotation with which people allow that an object of a kind that is kept is deleted with its manifest.
pub const PRUNE: &str = "windlass.dev/prune";
/// Labels that Windlass gives to the record of a revision that it lets helm make: the beginning of its content's digest, the run
/// and attempt, for how many seconds helm may wait, and the revision's number. Helm copies labels to later revisions, which the number tells apart.
pub const CONTENT: &str = "windlass.dev/content";
pub const ATTEMPT: &str = "windlass.dev/attempt";
pub const TIMEOUT: &str = "windlass.dev/timeout";
pub const REVISION: &str = "windlass.dev/revision";
/// The field manager of Helm.
pub const HELM: &str = "helm";
/// The label by which programs know who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The annotations by which Helm knows its objects, and the one that keeps an object when it leaves its chart.
pub const RELEASE_NAME: &str = "meta.helm.sh/release-name";
pub const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";
pub const RESOURCE_POLICY: &str = "helm.sh/resource-policy";
