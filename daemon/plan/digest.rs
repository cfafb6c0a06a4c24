//! What a reviewer approves, as one number: SHA-256 over the intent of a plan in canonical JSON. Names of
//! nodes, counts and risks are left out, for nodes come and go between the review and the window.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::diff::CONTROL_PLANE;
use crate::model::desired::{Cluster, Kubeadm, Limit, Operator, Pool, Provider, Selector};
use crate::model::plan::{Plan, PoolLimits, Stage, StageKind};
use crate::model::version::Version;

/// Fields are written in this order and maps in the order of their keys, which makes the JSON canonical.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Intent<'a> {
    format: u32,
    cluster: &'a str,
    from: &'a Version,
    to: &'a Version,
    /// Where each hop goes. Where one comes from may hang on the oldest kubelet, and that node may be gone.
    hops: Vec<&'a Version>,
    order: Vec<Order<'a>>,
    control_plane: Provider,
    pools: Vec<PoolIntent<'a>>,
    max_unavailable: Option<Limit>,
    etcd_unproven: Option<&'a str>,
    scripts: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    version: &'a Version,
    control_plane: Provider,
    kubeadm: &'a Kubeadm,
    pools: Vec<PoolIntent<'a>>,
    max_unavailable: Option<Limit>,
    etcd_unproven: Option<&'a str>,
}

#[derive(Serialize)]
struct Order<'a> {
    kind: StageKind,
    to: &'a Version,
    scopes: Vec<&'a str>,
}

#[derive(Serialize)]
struct PoolIntent<'a> {
    name: &'a str,
    selector: String,
    provider: Provider,
    limits: Option<&'a PoolLimits>,
}

/// In hexadecimal, with the name of its algorithm.
pub(super) fn of(plan: &Plan, cluster: &Cluster, scripts: &str) -> String {
    let intent = Intent {
        format: 1,
        cluster: &plan.cluster,
        from: &plan.from,
        to: &plan.to,
        hops: plan.hops.iter().map(|hop| &hop.to).collect(),
        order: order(plan, cluster),
        control_plane: cluster.control_plane.provider,
        pools: pools(cluster, &plan.pools),
        max_unavailable: plan.max_unavailable,
        etcd_unproven: cluster.etcd_unproven.as_deref(),
        scripts,
    };
    sha256(&intent)
}

/// What a cluster's file asks for, as far as plans depend on it, whatever the cluster is like.
pub fn asked(cluster: &Cluster) -> String {
    let limits = super::limits(cluster);
    let asked = Asked {
        version: &cluster.version,
        control_plane: cluster.control_plane.provider,
        kubeadm: &cluster.control_plane.kubeadm,
        pools: pools(cluster, &limits),
        max_unavailable: cluster.max_unavailable,
        etcd_unproven: cluster.etcd_unproven.as_deref(),
    };
    sha256(&asked)
}

fn pools<'a>(cluster: &'a Cluster, limits: &'a BTreeMap<String, PoolLimits>) -> Vec<PoolIntent<'a>> {
    let intent = |pool: &'a Pool| PoolIntent {
        name: &pool.name,
        selector: selector(&pool.selector),
        provider: pool.provider,
        limits: limits.get(&pool.name),
    };
    cluster.pools.iter().map(intent).collect()
}

fn sha256(what: &impl Serialize) -> String {
    // Strings, numbers and lists of them cannot fail to be written.
    let json = serde_json::to_vec(what).unwrap_or_default();
    format!("sha256:{:x}", Sha256::digest(&json))
}

/// The stages before the last, with the pools that take part, and then every pool: whether one of them has a
/// node at all may change overnight.
fn order<'a>(plan: &'a Plan, cluster: &'a Cluster) -> Vec<Order<'a>> {
    let last = |stage: &&Stage| stage.kind == StageKind::Workers && stage.to == plan.to;
    let before = plan.stages.iter().filter(|stage| !last(stage)).map(|stage| {
        let taking_part = |name: &&str| stage.steps.iter().any(|step| step.pool == **name);
        let scopes = [CONTROL_PLANE].into_iter().chain(cluster.pools.iter().map(|pool| pool.name.as_str()));
        Order { kind: stage.kind, to: &stage.to, scopes: scopes.filter(taking_part).collect() }
    });
    let all = cluster.pools.iter().map(|pool| pool.name.as_str()).collect();
    before.chain([Order { kind: StageKind::Workers, to: &plan.to, scopes: all }]).collect()
}

/// A selector as kubectl takes it: `disk in (hdd,ssd),pool=general`.
fn selector(selector: &Selector) -> String {
    let labels = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().map(|requirement| {
        let (key, values) = (&requirement.key, requirement.values.join(","));
        match requirement.operator {
            Operator::In => format!("{key} in ({values})"),
            Operator::NotIn => format!("{key} notin ({values})"),
            Operator::Exists => key.clone(),
            Operator::DoesNotExist => format!("!{key}"),
        }
    });
    let mut all: Vec<_> = labels.chain(expressions).collect();
    all.sort();
    all.join(",")
}
