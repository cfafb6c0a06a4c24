//! Seals a plan: computes the digest that a reviewer approves, SHA-256 over the plan's intent in canonical JSON.
//! Names of nodes, counts and risks are not part of it, because nodes come and go between the review and the window.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::model::addon::{Addon, AddonManifests, AddonSource, AddonVia, AddonWhen, OnFailure, WorkloadRef};
use crate::model::desired::{Cluster, ControlPlaneDrain, Kubeadm, Limit, Operator, Pool, Provider, Selector};
use crate::model::helm::{AddonHelm, Chart, ReleaseRef};
use crate::model::plan::{AddonMove, Plan, PoolLimits, Scope, Stage, StageKind};
use crate::model::version::Version;
use crate::provider::Script;

/// Raised whenever the same intent gets another digest. A plan that another version of Windlass sealed then has
/// another digest.
const FORMAT: u32 = 5;

/// Why a plan has no digest. Without one it cannot be approved or carried out, because it cannot be told from another
/// plan.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("writing what the plan for cluster {cluster} does as JSON, for its digest")]
    Intent { cluster: String, source: serde_json::Error },
    #[error("writing what the file of cluster {cluster} asks for as JSON, for its digest")]
    Asked { cluster: String, source: serde_json::Error },
}

/// The fields are written in this order and maps in the order of their keys; that makes the JSON canonical.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Intent<'a> {
    format: u32,
    cluster: &'a str,
    from: &'a Version,
    to: &'a Version,
    /// Where each hop goes. Where it starts may depend on the oldest kubelet, whose node may be gone by the window.
    hops: Vec<&'a Version>,
    order: Vec<StageIntent<'a>>,
    control_plane: Provider,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_plane_drain: Option<ControlPlaneDrain>,
    pools: Vec<PoolIntent<'a>>,
    max_unavailable: Option<Limit>,
    etcd_unproven: Option<&'a str>,
    scripts: &'a [Script],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addons: Vec<AddonIntent<'a>>,
    /// The digests of the charts' archives, which no commit has: by the addon's name, and of a version of `via` by the name and that
    /// version.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    archives: BTreeMap<String, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    version: &'a Version,
    control_plane: Provider,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_plane_drain: Option<ControlPlaneDrain>,
    kubeadm: &'a Kubeadm,
    pools: Vec<PoolIntent<'a>>,
    max_unavailable: Option<Limit>,
    etcd_unproven: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addons: Vec<AddonIntent<'a>>,
}

/// All that is asked of one addon. Which image runs is not part of it: somebody may change that before the window.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddonIntent<'a> {
    name: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    via: Vec<ViaIntent<'a>>,
    source: SourceIntent<'a>,
    when: AddonWhen,
    after: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    requires: Option<&'a str>,
    timeout_seconds: i64,
    #[serde(skip_serializing_if = "OnFailure::is_usual")]
    on_failure: OnFailure,
}

#[derive(Serialize)]
struct ViaIntent<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires: Option<&'a str>,
}

impl<'a> ViaIntent<'a> {
    fn of(via: &'a AddonVia) -> Self {
        Self { version: &via.version, requires: via.requires.as_deref() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum SourceIntent<'a> {
    Image {
        workload: &'a WorkloadRef,
        container: &'a str,
        repository: Option<&'a str>,
    },
    Manifests {
        folder: &'a str,
        digest: &'a str,
        take_over: &'a [String],
    },
    Helm {
        release: &'a ReleaseRef,
        chart: &'a Chart,
        values: Option<&'a str>,
        digest: &'a str,
        take_over: &'a [String],
    },
}

#[derive(Serialize)]
struct StageIntent<'a> {
    kind: StageKind,
    to: &'a Version,
    scopes: Vec<&'a str>,
    /// The versions to which addons move in this stage, where the cluster's file alone does not say so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addons: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize)]
struct PoolIntent<'a> {
    name: &'a str,
    selector: String,
    provider: Provider,
    limits: Option<&'a PoolLimits>,
}

/// Gives a plan its two digests, in hexadecimal, with the name of their algorithm. `scripts` are the scripts that the
/// plan would run on hosts, as [`crate::provider::scripts`] renders them; a reviewer approves them too.
///
/// # Errors
///
/// A digest cannot be computed.
pub fn seal(mut plan: Plan, cluster: &Cluster, scripts: &[Script]) -> Result<Plan, SealError> {
    plan.asked = asked(cluster)?;
    let intent = Intent {
        format: FORMAT,
        cluster: &plan.cluster,
        from: &plan.from,
        to: &plan.to,
        hops: plan.hops.iter().map(|hop| &hop.to).collect(),
        order: order(&plan, cluster),
        control_plane: cluster.control_plane.provider,
        control_plane_drain: drain_asked(cluster),
        pools: pools(cluster, &plan.pools),
        max_unavailable: plan.max_unavailable,
        etcd_unproven: cluster.etcd_unproven.as_deref(),
        scripts,
        addons: addons(cluster),
        archives: archives(&plan, cluster),
    };
    let digest =
        sha256(&intent).map_err(|source| SealError::Intent { cluster: cluster.name.clone(), source })?;
    plan.digest = digest;
    Ok(plan)
}

/// The digest of everything in a cluster's file that plans depend on; the live cluster does not change it. A run
/// whose plan has another value is out of date.
///
/// # Errors
///
/// The digest cannot be computed.
pub fn asked(cluster: &Cluster) -> Result<String, SealError> {
    let limits = super::limits(cluster);
    let asked = Asked {
        version: &cluster.version,
        control_plane: cluster.control_plane.provider,
        control_plane_drain: drain_asked(cluster),
        kubeadm: &cluster.control_plane.kubeadm,
        pools: pools(cluster, &limits),
        max_unavailable: cluster.max_unavailable,
        etcd_unproven: cluster.etcd_unproven.as_deref(),
        addons: addons(cluster),
    };
    sha256(&asked).map_err(|source| SealError::Asked { cluster: cluster.name.clone(), source })
}

fn archives<'a>(plan: &'a Plan, cluster: &Cluster) -> BTreeMap<String, &'a str> {
    let asked =
        |mv: &AddonMove| cluster.addons.iter().any(|addon| addon.name == mv.name && addon.version == mv.to);
    // No name of an addon has a space.
    let key = |mv: &AddonMove| if asked(mv) { mv.name.clone() } else { format!("{} {}", mv.name, mv.to) };
    let moves = plan.steps().filter_map(|step| step.work.addon());
    moves.filter_map(|mv| Some((key(mv), mv.helm()?.archive.as_deref()?))).collect()
}

fn addons(cluster: &Cluster) -> Vec<AddonIntent<'_>> {
    fn intent(addon: &Addon) -> AddonIntent<'_> {
        let Addon { name, version, via, source, when, after, requires, timeout, on_failure } = addon;
        let source = match source {
            AddonSource::Image(image) => SourceIntent::Image {
                workload: &image.workload,
                container: &image.container,
                repository: image.repository.as_deref(),
            },
            AddonSource::Manifests(AddonManifests { folder, digest, take_over, .. }) => {
                SourceIntent::Manifests { folder, digest, take_over }
            }
            // The digests of the versions between have nothing that this one has not, but their versions.
            AddonSource::Helm(AddonHelm { release, chart, values, digests, take_over, .. }) => {
                let digest = digests.get(version).map_or("", String::as_str);
                SourceIntent::Helm { release, chart, values: values.as_deref(), digest, take_over }
            }
        };
        AddonIntent {
            name,
            version,
            via: via.iter().map(ViaIntent::of).collect(),
            source,
            when: *when,
            after,
            requires: requires.as_deref(),
            timeout_seconds: timeout.as_secs(),
            on_failure: *on_failure,
        }
    }
    cluster.addons.iter().map(intent).collect()
}

/// `None` for the usual drain.
fn drain_asked(cluster: &Cluster) -> Option<ControlPlaneDrain> {
    Some(cluster.control_plane.drain).filter(|drain| *drain != ControlPlaneDrain::BeforeKubelet)
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

/// The SHA-256 of a value. A failure stays an error: the hash of nothing would be equal for all plans, and one
/// approval would fit every plan.
fn sha256(what: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(format!("sha256:{:x}", Sha256::digest(&serde_json::to_vec(what)?)))
}

/// The stages before the last with the pools that take part, and then every pool: whether a pool has a node at all
/// may change before the window.
fn order<'a>(plan: &'a Plan, cluster: &'a Cluster) -> Vec<StageIntent<'a>> {
    let last = |stage: &&Stage| stage.kind == StageKind::Workers && stage.to == plan.to;
    // Which workloads are there to be checked may change before the window, too, and a check changes nothing.
    let covered = plan.stages.iter().filter(|stage| !last(stage) && stage.kind != StageKind::Checks);
    let before = covered.map(|stage| {
        let taking_part = |name: &&str| stage.steps.iter().any(|step| step.id.scope.name() == *name);
        let scopes =
            [Scope::CONTROL_PLANE].into_iter().chain(cluster.pools.iter().map(|pool| pool.name.as_str()));
        let scopes = scopes.filter(taking_part).collect();
        StageIntent { kind: stage.kind, to: &stage.to, scopes, addons: unusual(plan, stage, cluster) }
    });
    let all = cluster.pools.iter().map(|pool| pool.name.as_str()).collect();
    before
        .chain([StageIntent { kind: StageKind::Workers, to: &plan.to, scopes: all, addons: Vec::new() }])
        .collect()
}

/// The moves of addons that the cluster's file alone does not decide: to a version of `via`, or before the last hop.
fn unusual<'a>(plan: &Plan, stage: &'a Stage, cluster: &Cluster) -> Vec<(&'a str, &'a str)> {
    let moves = stage.steps.iter().filter_map(|step| step.work.addon());
    let usual = |name: &str, to: &str| {
        let addon = cluster.addons.iter().find(|addon| addon.name == name);
        let last = stage.to == plan.to && addon.is_some_and(|addon| addon.version == to);
        last && addon.is_some_and(|addon| stage.kind == StageKind::of_addons(addon.when))
    };
    moves.map(|mv| (mv.name.as_str(), mv.to.as_str())).filter(|(name, to)| !usual(name, to)).collect()
}

/// A selector in the syntax of kubectl: `disk in (hdd,ssd),pool=general`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_has_no_digest() {
        assert!(sha256(&"a text").is_ok_and(|digest| digest.starts_with("sha256:")));
        // JSON has only text as keys.
        assert!(sha256(&BTreeMap::from([((1, 2), 3)])).is_err());
    }
}
