//! One look at a cluster for commands that only read: everything is listed once, and nothing is written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;

use super::daemon::answering;
use crate::clock::Clock;
use crate::cluster::{self, ClusterApi};
use crate::config::{Clusters, Environment};
use crate::live::{Folder, Kind, Seen};
use crate::model::addon::Addon;
use crate::model::desired::Desired;
use crate::model::live::{CallFailure, Live, Probe};
use crate::model::plan::Plan;
use crate::plan;
use crate::reconcile::addon_steps;
use crate::record::{AddonObjects, Run};

/// How long listing a large cluster may take; a cluster that takes longer counts as not answering.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many events wait while others are folded.
const SEEN: usize = 4096;
/// How often charts are rendered again: a plan that follows from other renderings may come to ask for others once more.
const MOST_RENDERED: usize = 3;

/// Which cluster a command means, as kubeconfigs know it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Kube {
    /// A kubeconfig with a context for the cluster [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context to use [default: the settings file's, else the one with the cluster's name]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

impl Kube {
    /// A client of the cluster, which has answered once. `config` is the daemon's settings file, if one is named.
    pub async fn connect(
        &self,
        name: &str,
        config: Option<&Path>,
        environment: &Environment,
    ) -> anyhow::Result<ClusterApi> {
        let clusters = Clusters::read(config, self.kubeconfig.as_ref(), environment)?;
        if clusters.kubeconfigs.is_empty() {
            bail!(
                "no kubeconfig is named: pass --kubeconfig, or set KUBECONFIG or `kubeconfig` in the settings file"
            )
        }
        answering(&clusters, self.context.as_deref().unwrap_or(clusters.context(name))).await
    }
}

/// What a look at the addons of a cluster follows from.
#[derive(Clone, Copy)]
pub struct AddonsAsked<'a> {
    pub desired: &'a Desired,
    /// The objects that runs have applied for them.
    pub before: &'a AddonObjects,
    /// The run in progress.
    pub run: Option<&'a Run>,
}

/// Lists everything once, and asks what no list answers; addons are read if they are asked for.
pub async fn observe(
    cluster: &ClusterApi,
    addons: Option<AddonsAsked<'_>>,
    clock: &Clock,
) -> anyhow::Result<Live> {
    let mut folder = Folder::default();
    let (seen_in, mut seen) = mpsc::channel(SEEN);
    let watches = cluster::watch(cluster, clock, &seen_in);
    let listed = async {
        while !folder.live.complete && !lacks_rights(&folder) {
            let Some(next) = seen.recv().await else { break };
            folder.fold(next, clock.now());
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, listed).await.is_ok();
    if lacks_rights(&folder) {
        let missing: Vec<&str> = folder.live.unseen.values().map(CallFailure::words).collect();
        bail!("{}; docs/security.md has the role", missing.join("; "));
    }
    if !in_time {
        let why = |kind: Kind| {
            let why = folder.live.unseen.get(kind.name()).map_or("no answer", CallFailure::words);
            format!("{} ({why})", kind.name())
        };
        let missing: Vec<String> = folder.missing().map(why).collect();
        bail!(
            "the cluster could not be listed within {} s: {} did not come",
            PATIENCE.as_secs(),
            missing.join(", ")
        );
    }
    drop(watches);
    for probe in [Probe::ClusterUid, Probe::Api, Probe::Lock] {
        ask(cluster, probe, &mut folder, clock).await;
    }
    if let Some(asked) = addons {
        Box::pin(look_at_addons(cluster, asked, &mut folder, clock)).await;
    }
    // A command looks once. Unless a daemon waits for the answers to agree, as its lease says, the one answer stands for
    // every API server behind the endpoint.
    folder.live.api.agreed |= folder.live.lock.as_ref().is_none_or(|lock| lock.heard.is_none());
    Ok(folder.live)
}

/// Asks about each addon, and once more about charts whose steps come where the API servers run another version of Kubernetes than
/// the one for which they were rendered. The plan says that.
async fn look_at_addons(
    cluster: &ClusterApi,
    AddonsAsked { desired, before, run }: AddonsAsked<'_>,
    folder: &mut Folder,
    clock: &Clock,
) {
    let addons = &desired.cluster.addons;
    let question = |addon: &Addon, fresh: Option<&Plan>, live: &Live| {
        let steps = addon_steps(run, fresh, &addon.name);
        addon.probe(live, before.get(&addon.name), (&desired.cluster.version, &steps))
    };
    for addon in addons {
        let probe = question(addon, None, &folder.live);
        ask(cluster, probe, folder, clock).await;
        if let Some(probe) = addon.right_probe(&folder.live) {
            ask(cluster, probe, folder, clock).await;
        }
    }
    let fresh = plan::plan(desired, &folder.live);
    for of in fresh.checks() {
        ask(cluster, Probe::Workload(of.workload.clone()), folder, clock).await;
    }
    for _ in 0..MOST_RENDERED {
        let fresh = plan::plan(desired, &folder.live);
        let probes = addons.iter().map(|addon| question(addon, Some(&fresh), &folder.live));
        let probes: Vec<Probe> = probes.filter(|probe| probe.is_outgrown(&folder.live)).collect();
        if probes.is_empty() {
            break;
        }
        for probe in probes {
            ask(cluster, probe, folder, clock).await;
        }
    }
}

async fn ask(cluster: &ClusterApi, probe: Probe, folder: &mut Folder, clock: &Clock) {
    let asked = clock.now();
    let answer = cluster.ask(&probe, clock).await;
    folder.fold(Seen::Probed { probe, answer, asked }, clock.now());
}

/// A picture of the nodes alone; `None` if they cannot be listed.
pub async fn with_nodes(cluster: &ClusterApi, clock: &Clock) -> Option<Live> {
    let mut folder = Folder::default();
    for event in cluster.nodes().await.ok()? {
        folder.fold(event, clock.now());
    }
    Some(folder.live)
}

/// True if every kind that was not listed fails for want of a right: waiting longer changes nothing.
fn lacks_rights(folder: &Folder) -> bool {
    let lacks = |kind: Kind| folder.live.unseen.get(kind.name()).is_some_and(CallFailure::is_missing_right);
    folder.missing().next().is_some() && folder.missing().all(lacks)
}

/// Connects to a cluster and reads it once.
pub async fn look(
    kube: &Kube,
    name: &str,
    addons: Option<AddonsAsked<'_>>,
    config: Option<&Path>,
    environment: &Environment,
    clock: &Clock,
) -> anyhow::Result<Live> {
    let cluster = kube.connect(name, config, environment).await?;
    observe(&cluster, addons, clock).await.with_context(|| format!("looking at cluster {name}"))
}
