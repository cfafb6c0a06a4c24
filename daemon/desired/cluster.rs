//! Reads `kind: Cluster`.

use std::collections::BTreeMap;

use super::addon::addons;
use super::defaults;
use super::fields::{Fields, list};
use super::kubeadm::{KubeadmRead, kubeadm};
use super::problem::{Place, Problems, quoted};
use super::selector::{labels, selector};
use super::tree::YamlNode;
use super::values::{MAX_COUNT, choice, count, flag, length, limit, name, sentence, version};
use crate::model::addon::Addon;
use crate::model::desired::{
    Cluster, ControlPlane, ControlPlaneDrain, Drain, DrainWhen, ForeignCordon, Mode, OnBlocked,
    OnNotRecovered, Pool, Provider, Selector,
};
use crate::model::version::Version;
use jiff::SignedDuration;

const PROVIDERS: &[(&str, Provider)] = &[("kubeadm", Provider::Kubeadm), ("external", Provider::External)];
const LATER_PROVIDERS: &[&str] = &["k3s", "rke2", "clusterApi", "command"];

/// What a cluster file says, as far as it could be read.
#[derive(Default)]
pub(super) struct ClusterFile {
    /// Known even if something else in the file is wrong, because policies are matched against them.
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) cluster: Option<Cluster>,
}

/// Reads `metadata` and `spec`. The cluster's name must be that of its folder.
pub(super) fn cluster(folder: &str, fields: &mut Fields<'_, '_, '_>) -> ClusterFile {
    let metadata = fields.required("metadata", &format!("metadata: {{name: {folder}}}"), |node, problems| {
        cluster_metadata(folder, node, problems)
    });
    let spec = fields.required("spec", "spec:", spec);
    let labels = metadata.map(|(_, labels)| labels);
    let cluster = labels.clone().zip(spec).map(|(labels, spec)| Cluster {
        name: folder.to_owned(),
        labels,
        mode: spec.mode,
        version: spec.version,
        max_unavailable: spec.max_unavailable,
        control_plane: spec.control_plane,
        etcd_unproven: spec.etcd_unproven,
        pools: spec.pools,
        addons: spec.addons,
    });
    ClusterFile { labels, cluster }
}

fn cluster_metadata(
    folder: &str,
    node: &YamlNode,
    problems: &mut Problems<'_>,
) -> Option<(String, BTreeMap<String, String>)> {
    let before = problems.count();
    let mut fields = Fields::open(node, problems)?;
    let name = fields.required("name", &format!("name: {folder}"), |node, problems| {
        let name = name(node, problems)?;
        if name != folder {
            problems.push_fix(
                node.place,
                format_args!("the cluster is called {} and its folder {}", quoted(&name), quoted(folder)),
                "give both the same name",
            );
        }
        Some(name)
    });
    let labels = fields.optional("labels", labels).unwrap_or_default();
    fields.close(&[]);
    (problems.count() == before).then_some((name?, labels))
}

struct Spec {
    mode: Mode,
    version: Version,
    max_unavailable: Option<crate::model::desired::Limit>,
    control_plane: ControlPlane,
    etcd_unproven: Option<String>,
    pools: Vec<Pool>,
    addons: Vec<Addon>,
}

fn spec(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Spec> {
    let mut fields = Fields::open(node, problems)?;
    let mode = fields.optional("mode", |node, problems| {
        choice(&[("observe", Mode::Observe), ("act", Mode::Act)], &[], node, problems)
    });
    let version = fields.required("kubernetes", "kubernetes: {version: v1.36.3}", |node, problems| {
        let mut fields = Fields::open(node, problems)?;
        let version = fields.required("version", "version: v1.36.3", |node, problems| {
            Some((version(node, problems)?, node.place))
        });
        fields.close(&[]);
        version
    });
    let max_unavailable = fields.optional("maxUnavailable", limit);
    let control_plane = fields.required("controlPlane", "controlPlane: {provider: kubeadm}", control_plane);
    let etcd_unproven = fields.optional("etcd", |node, problems| {
        let mut fields = Fields::open(node, problems)?;
        let unproven = fields.optional("unproven", sentence);
        fields.close(&["snapshot"]);
        unproven
    });
    let provider = control_plane.as_ref().map(|read| read.provider);
    let before = fields.problems().count();
    let pools =
        fields.optional("nodePools", |node, problems| pools(provider, node, problems)).unwrap_or_default();
    let pools_known = fields.problems().count() == before;
    let by_kubeadm = pools.iter().map(|pool| pool.provider).chain(provider);
    if let (Some((version, place)), true) =
        (&version, by_kubeadm.into_iter().any(|each| each == Provider::Kubeadm))
    {
        vendor(version, *place, fields.problems());
    }
    let addons = fields.optional("addons", addons).unwrap_or_default();
    fields.close(&["checks", "probes"]);
    let ControlPlaneRead { provider, kubeadm: settings, drain } = control_plane?;
    let used = provider == Provider::Kubeadm || pools.iter().any(|pool| pool.provider == Provider::Kubeadm);
    if let (false, true, Some((_, place))) = (used, pools_known, &settings) {
        problems.within("controlPlane.kubeadm", *place, |problems| {
            problems.push_fix(
                *place,
                "nothing here is moved by kubeadm, so these settings have no effect",
                "remove them, or write `provider: kubeadm` where it is meant",
            );
        });
    }
    let skips = settings.as_ref().and_then(|(read, _)| read.skips).filter(|_| used);
    let of_ours =
        [("controlPlane.drain", drain.map(|(_, place)| place)), ("controlPlane.kubeadm.skipPhases", skips)];
    for (key, place) in of_ours.into_iter().filter(|_| provider == Provider::External) {
        let Some(place) = place else { continue };
        problems.within(key, place, |problems| {
            problems.push_fix(
                place,
                "somebody else moves this control plane, so this setting has no effect",
                "remove it",
            );
        });
    }
    let drain = drain.map_or(defaults::CONTROL_PLANE_DRAIN, |(drain, _)| drain);
    let kubeadm = settings.map(|(read, _)| read.settings).unwrap_or_default();
    Some(Spec {
        mode: mode.unwrap_or(defaults::MODE),
        version: version?.0,
        max_unavailable,
        control_plane: ControlPlane { provider, kubeadm, drain },
        etcd_unproven,
        pools,
        addons,
    })
}

type KubeadmSettings = (KubeadmRead, Place);

struct ControlPlaneRead {
    provider: Provider,
    kubeadm: Option<KubeadmSettings>,
    drain: Option<(ControlPlaneDrain, Place)>,
}

fn control_plane(node: &YamlNode, problems: &mut Problems<'_>) -> Option<ControlPlaneRead> {
    let mut fields = Fields::open(node, problems)?;
    let provider = fields.required("provider", "provider: kubeadm", provider);
    let place = fields.place_of("kubeadm");
    let kubeadm = fields.optional("kubeadm", kubeadm).map(|settings| (settings, place));
    let drain = fields.optional("drain", |node, problems| {
        let known = [
            ("beforeKubelet", ControlPlaneDrain::BeforeKubelet),
            ("beforeControlPlane", ControlPlaneDrain::BeforeControlPlane),
        ];
        Some((choice(&known, &[], node, problems)?, node.place))
    });
    fields.close(LATER_PROVIDERS);
    Some(ControlPlaneRead { provider: provider?, kubeadm, drain })
}

fn provider(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Provider> {
    choice(PROVIDERS, LATER_PROVIDERS, node, problems)
}

/// Refuses a suffix such as `+k3s1`: it names a build that kubeadm and its packages do not know.
fn vendor(version: &Version, place: Place, problems: &mut Problems<'_>) {
    if version.suffix().is_empty() {
        return;
    }
    problems.within("kubernetes.version", place, |problems| {
        problems.push_fix(
            place,
            format_args!("kubeadm has no build {}", quoted(&version.to_string())),
            format_args!(
                "write v{}.{}.{}, or `provider: external`",
                version.major, version.minor, version.patch
            ),
        );
    });
}

fn pools(default: Option<Provider>, node: &YamlNode, problems: &mut Problems<'_>) -> Option<Vec<Pool>> {
    let mut names = BTreeMap::<String, u32>::new();
    let mut selectors = Vec::<(Selector, String, u32)>::new();
    list(node, problems, |node, problems| {
        let mut fields = Fields::open(node, problems)?;
        let name = fields.required("name", "name: general", |node, problems| {
            let name = name(node, problems)?;
            if let Some(line) = names.insert(name.clone(), node.place.line) {
                problems.push_fix(
                    node.place,
                    format_args!("a pool called {} is already in line {line}", quoted(&name)),
                    "give every pool its own name",
                );
            }
            Some(name)
        });
        let selector =
            fields.required("selector", "selector: {matchLabels: {pool: general}}", |node, problems| {
                let place = problems.here().unwrap_or(node.place);
                let selector = selector(node, problems)?;
                if let Some((_, other, line)) = selectors.iter().find(|(known, ..)| *known == selector) {
                    problems.push_fix(
                        place,
                        format_args!("selects the same nodes as the pool {} in line {line}", quoted(other)),
                        "a node belongs to one pool: narrow one of the two, or make them one",
                    );
                }
                selectors.push((selector.clone(), name.clone().unwrap_or_default(), place.line));
                Some(selector)
            });
        let pool = pool(default, name, selector, &mut fields);
        fields.close(&[]);
        pool
    })
}

fn pool(
    default: Option<Provider>,
    name: Option<String>,
    selector: Option<Selector>,
    fields: &mut Fields<'_, '_, '_>,
) -> Option<Pool> {
    let provider = fields.optional("provider", provider).or(default);
    let canary =
        fields.optional("canary", |node, problems| count(0, defaults::MOST_CANARIES, node, problems));
    let soak = fields.optional("soak", |node, problems| {
        length(SignedDuration::from_secs(1), defaults::LONGEST, node, problems)
    });
    if canary == Some(0) && soak.is_some() {
        let place = fields.place_of("soak");
        fields.problems().push_fix(
            place,
            "soak has no effect with `canary: 0`",
            "remove `soak`, or let at least one node go first with `canary: 1`",
        );
    }
    let max_unavailable = fields.optional("maxUnavailable", limit);
    let per_zone =
        fields.optional("maxUnavailablePerZone", |node, problems| count(1, MAX_COUNT, node, problems));
    let foreign_cordon = fields.optional("foreignCordon", |node, problems| {
        choice(&[("skip", ForeignCordon::Skip), ("upgrade", ForeignCordon::Upgrade)], &[], node, problems)
    });
    let prefer_upgraded = fields.optional("preferUpgraded", flag);
    let drain = fields.optional("drain", drain).unwrap_or_default();
    if drain.ahead && prefer_upgraded == Some(false) {
        let place = fields.place_of("preferUpgraded");
        fields.problems().push_fix(
            place,
            "`drain.ahead` needs the taint that `preferUpgraded: false` turns off: its pods would move to nodes that wait, too",
            "remove `preferUpgraded`, or `drain.ahead`",
        );
    }
    Some(Pool {
        name: name?,
        selector: selector?,
        provider: provider?,
        canary: canary.unwrap_or(defaults::CANARY),
        soak: soak.unwrap_or(defaults::SOAK),
        max_unavailable: max_unavailable.unwrap_or(defaults::MAX_UNAVAILABLE),
        max_unavailable_per_zone: per_zone,
        foreign_cordon: foreign_cordon.unwrap_or(defaults::FOREIGN_CORDON),
        prefer_upgraded: prefer_upgraded.unwrap_or(defaults::PREFER_UPGRADED),
        drain,
    })
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            when: defaults::DRAIN_WHEN,
            timeout: defaults::DRAIN_TIMEOUT,
            delete_empty_dir_data: defaults::DELETE_EMPTY_DIR_DATA,
            jobs: defaults::DRAIN_JOBS,
            implicit_budgets: defaults::IMPLICIT_BUDGETS,
            recovery: defaults::RECOVERY,
            max_recovering: defaults::MAX_RECOVERING,
            ahead: defaults::AHEAD,
            on_not_recovered: defaults::ON_NOT_RECOVERED,
            on_blocked: defaults::ON_BLOCKED,
        }
    }
}

fn drain(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Drain> {
    let plain = Drain::default();
    let mut fields = Fields::open(node, problems)?;
    let when = fields.optional("for", |node, problems| {
        choice(&[("always", DrainWhen::Always), ("minor", DrainWhen::Minor)], &[], node, problems)
    });
    let timeout = fields
        .optional("timeout", |node, problems| length(defaults::SHORTEST, defaults::LONGEST, node, problems));
    // Zero is allowed: a node with a running Job is then set aside at once.
    let jobs = fields
        .optional("jobs", |node, problems| length(SignedDuration::ZERO, defaults::LONGEST, node, problems));
    let delete_empty_dir_data = fields.optional("deleteEmptyDirData", flag);
    let implicit_budgets = fields.optional("implicitBudgets", flag);
    let recovery = fields
        .optional("recovery", |node, problems| length(defaults::SHORTEST, defaults::LONGEST, node, problems));
    let max_recovering = fields.optional("maxRecovering", limit);
    let ahead = fields.optional("ahead", flag);
    let on_not_recovered = fields.optional("onNotRecovered", |node, problems| {
        let known = [
            ("wait", OnNotRecovered::Wait),
            ("halt", OnNotRecovered::Halt),
            ("continue", OnNotRecovered::Continue),
        ];
        choice(&known, &[], node, problems)
    });
    let on_blocked = fields.optional("onBlocked", on_blocked);
    fields.close(&[]);
    Some(Drain {
        when: when.unwrap_or(plain.when),
        timeout: timeout.unwrap_or(plain.timeout),
        delete_empty_dir_data: delete_empty_dir_data.unwrap_or(plain.delete_empty_dir_data),
        jobs: jobs.unwrap_or(plain.jobs),
        implicit_budgets: implicit_budgets.unwrap_or(plain.implicit_budgets),
        recovery: recovery.unwrap_or(plain.recovery),
        max_recovering: max_recovering.unwrap_or(plain.max_recovering),
        ahead: ahead.unwrap_or(plain.ahead),
        on_not_recovered: on_not_recovered.unwrap_or(plain.on_not_recovered),
        on_blocked: on_blocked.unwrap_or(plain.on_blocked),
    })
}

/// None of the values forces a drain.
fn on_blocked(node: &YamlNode, problems: &mut Problems<'_>) -> Option<OnBlocked> {
    choice(&[("setAside", OnBlocked::SetAside), ("surge", OnBlocked::Surge)], &[], node, problems)
}
