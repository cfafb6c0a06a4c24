//! What is asked for.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use windlass::model::CommitId;
use windlass::model::addon::{
    Addon, AddonImage, AddonSource, AddonVia, AddonWhen, OnFailure, WorkloadKind, WorkloadRef,
};
use windlass::model::desired::{
    Cluster, ControlPlane, ControlPlaneDrain, Desired, Drain, DrainWhen, ForeignCordon, Kubeadm, Limit, Mode,
    OnBlocked, PackageSource, Policies, Pool, Provider, Selector,
};
use windlass::model::installed::SkippedPhase;
use windlass::model::version::Version;

use super::charts;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Wish {
    pub version: Version,
    #[serde(default)]
    external: bool,
    #[serde(default = "unproven")]
    unproven: String,
    #[serde(default)]
    max: Option<u32>,
    /// True if control plane nodes are drained before their components move.
    #[serde(default)]
    drain_first: bool,
    /// The image of the upgrade Jobs; `no` for none.
    #[serde(default)]
    image: Option<String>,
    /// `kubeadm.skipPhases`.
    #[serde(default)]
    skip_phases: Vec<SkippedPhase>,
    #[serde(default)]
    pools: Vec<PoolWish>,
    #[serde(default)]
    addons: Vec<AddonWish>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AddonWish {
    name: String,
    version: String,
    /// `daemonset/kube-system/cilium`; the addon is a chart where there is none.
    #[serde(default)]
    workload: Option<String>,
    /// The name of the addon, if nothing is said.
    #[serde(default)]
    container: Option<String>,
    #[serde(default)]
    repository: Option<String>,
    #[serde(default)]
    when: AddonWhen,
    #[serde(default)]
    after: Vec<String>,
    #[serde(default)]
    requires: Option<String>,
    /// `1.17.9`, or `1.17.9 >=1.33 <1.36` with what it requires.
    #[serde(default)]
    via: Vec<String>,
}

/// The image of the upgrade Jobs, named so that it can never change.
pub const IMAGE: &str =
    "windlass:0.1.0@sha256:b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184";

fn unproven() -> String {
    "velero, nightly".to_owned()
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a key that a case may write")]
struct PoolWish {
    name: String,
    select: String,
    #[serde(default)]
    external: bool,
    #[serde(default)]
    canary: u32,
    #[serde(default)]
    soak_minutes: i64,
    #[serde(default = "one")]
    max: u32,
    #[serde(default)]
    percent: Option<u8>,
    #[serde(default)]
    zone: Option<u32>,
    #[serde(default)]
    drain_for_minor: bool,
    #[serde(default)]
    keep_empty_dir_data: bool,
    #[serde(default)]
    upgrade_cordoned: bool,
    #[serde(default)]
    prefer_upgraded: bool,
    #[serde(default)]
    ahead: bool,
    /// `drain.onBlocked: surge`.
    #[serde(default)]
    surge: bool,
}

fn one() -> u32 {
    1
}

impl Wish {
    pub fn desired(&self) -> Desired {
        let provider = |external| if external { Provider::External } else { Provider::Kubeadm };
        let mut desired = desired(self.version.clone(), self.pools.iter().map(PoolWish::pool).collect());
        desired.cluster.control_plane.provider = provider(self.external);
        if self.drain_first {
            desired.cluster.control_plane.drain = ControlPlaneDrain::BeforeControlPlane;
        }
        if let Some(image) = &self.image {
            desired.cluster.control_plane.kubeadm.image = Some(image.clone()).filter(|image| image != "no");
        }
        desired.cluster.control_plane.kubeadm.skip_phases.clone_from(&self.skip_phases);
        desired.cluster.addons = self.addons.iter().map(AddonWish::addon).collect();
        desired.cluster.max_unavailable = self.max.map(Limit::Count);
        desired.cluster.etcd_unproven = Some(self.unproven.clone()).filter(|reason| reason != "no");
        desired
    }
}

impl AddonWish {
    fn addon(&self) -> Addon {
        let image = |workload: &String| AddonImage {
            workload: workload_ref(workload),
            container: self.container.clone().unwrap_or_else(|| self.name.clone()),
            repository: self.repository.clone(),
        };
        let via: Vec<AddonVia> = self.via.iter().map(|via| between(via)).collect();
        let versions = via.iter().map(|via| via.version.as_str()).chain([self.version.as_str()]);
        let source = match &self.workload {
            Some(workload) => AddonSource::Image(image(workload)),
            None => AddonSource::Helm(charts::asked(&self.name, versions)),
        };
        Addon {
            name: self.name.clone(),
            version: self.version.clone(),
            via: via.clone(),
            source,
            when: self.when,
            after: self.after.clone(),
            requires: self.requires.clone(),
            timeout: SignedDuration::from_mins(10),
            on_failure: OnFailure::Halt,
        }
    }
}

fn between(via: &str) -> AddonVia {
    let (version, requires) = via.split_once(' ').unzip();
    AddonVia { version: version.unwrap_or(via).to_owned(), requires: requires.map(str::to_owned) }
}

/// `daemonset/kube-system/cilium`.
pub fn workload_ref(text: &str) -> WorkloadRef {
    let (kind, rest) = text.split_once('/').unwrap();
    let (namespace, name) = rest.split_once('/').unwrap();
    let kind = WorkloadKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap();
    WorkloadRef { kind, namespace: namespace.to_owned(), name: name.to_owned() }
}

impl PoolWish {
    fn pool(&self) -> Pool {
        let mut pool = pool(&self.name, &self.select);
        pool.provider = if self.external { Provider::External } else { Provider::Kubeadm };
        pool.canary = self.canary;
        pool.soak = SignedDuration::from_mins(self.soak_minutes);
        pool.max_unavailable = self.percent.map_or(Limit::Count(self.max), Limit::Percent);
        pool.max_unavailable_per_zone = self.zone;
        pool.drain.when = if self.drain_for_minor { DrainWhen::Minor } else { DrainWhen::Always };
        pool.drain.delete_empty_dir_data = !self.keep_empty_dir_data;
        if self.surge {
            pool.drain.on_blocked = OnBlocked::Surge;
        }
        pool.prefer_upgraded = self.prefer_upgraded;
        pool.drain.ahead = self.ahead;
        pool.foreign_cordon =
            if self.upgrade_cordoned { ForeignCordon::Upgrade } else { ForeignCordon::Skip };
        pool
    }
}

pub fn desired(version: Version, pools: Vec<Pool>) -> Desired {
    let kubeadm = Kubeadm {
        from: PackageSource::Packages,
        image: Some(IMAGE.to_owned()),
        ignore_preflight_errors: Vec::new(),
        skip_phases: Vec::new(),
    };
    let cluster = Cluster {
        name: "prod-eu".to_owned(),
        labels: BTreeMap::new(),
        mode: Mode::Act,
        version,
        max_unavailable: None,
        control_plane: ControlPlane {
            provider: Provider::Kubeadm,
            kubeadm,
            drain: ControlPlaneDrain::BeforeKubelet,
        },
        etcd_unproven: Some(unproven()),
        pools,
        addons: Vec::new(),
    };
    Desired { commit: CommitId("c0ffee00".repeat(5)), cluster, policies: Policies::default() }
}

pub fn pool(name: &str, select: &str) -> Pool {
    let drain = Drain {
        when: DrainWhen::Always,
        timeout: SignedDuration::from_mins(30),
        delete_empty_dir_data: true,
        jobs: SignedDuration::from_hours(2),
        implicit_budgets: true,
        recovery: SignedDuration::from_mins(30),
        max_recovering: windlass::model::desired::Limit::Percent(25),
        ahead: false,
        on_not_recovered: windlass::model::desired::OnNotRecovered::Wait,
        on_blocked: OnBlocked::SetAside,
    };
    Pool {
        name: name.to_owned(),
        selector: selector(select),
        provider: Provider::Kubeadm,
        canary: 0,
        soak: SignedDuration::ZERO,
        max_unavailable: Limit::Count(1),
        max_unavailable_per_zone: None,
        foreign_cordon: ForeignCordon::Skip,
        prefer_upgraded: false,
        drain,
    }
}

pub(super) fn selector(text: &str) -> Selector {
    let pair =
        |label: &str| label.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
    Selector { match_labels: text.split(',').map(pair).collect(), match_expressions: Vec::new() }
}
