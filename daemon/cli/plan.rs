//! `windlass plan`: the desired state from git, the running versions from the cluster, and the plan between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;

use super::observe::{self, AddonsAsked, Kube};
use super::source::{self, Source};
use crate::clock::Clock;
use crate::config::{Environment, RepositoryFlags, RepositorySettings};
use crate::diff;
use crate::gate::{Census, Forecast, Others, Sources, World, forecast};
use crate::model::desired::Desired;
use crate::model::live::Live;
use crate::model::plan::Plan;
use crate::model::state::{DesiredState, Identity, Tenure};
use crate::plan;
use crate::provider;
use crate::record::{AddonObjects, Record};
use crate::view::Page;
use crate::view::ink::Ink;
use crate::view::plan::{PlanPage, Script};
use crate::view::plans::{Planned, PlansPage};

/// How many clusters are read at once.
const AT_ONCE: usize = 8;

/// Show what a change would do: hops, how many nodes and pods, risks and blockers
///
/// Desired state is read from git, running versions from the cluster; nothing is written. Exit codes: 0 nothing to do,
/// 2 something to do, 1 the plan is blocked, or an error. Of several clusters the worst decides.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass plan prod-eu --kubeconfig fleet.kubeconfig
  windlass plan prod-eu --rev my-branch -o markdown      # for a comment on a pull request
  windlass plan --all --rev my-branch -o markdown        # of a change to a policy
  windlass plan prod-eu --show-scripts                   # with every line that would run on a node")]
pub struct Args {
    /// The clusters; may be left out if the repository describes only one
    #[arg(value_name = "CLUSTER")]
    pub clusters: Vec<String>,
    /// Plan for every cluster of the repository
    #[arg(long, conflicts_with_all = ["clusters", "context"])]
    pub all: bool,
    /// The commit, branch or tag to plan for; the work tree is never read
    #[arg(long, value_name = "REVISION")]
    pub rev: Option<String>,
    /// The format of the plan
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Print the scripts that would run on the nodes as well
    #[arg(long)]
    pub show_scripts: bool,
    #[command(flatten)]
    kube: Kube,
    #[command(flatten)]
    repository: RepositoryFlags,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// For a comment on a pull request
    Markdown,
}

pub async fn run(
    args: &Args,
    environment: &Environment,
    clock: &Clock,
    ink: Ink,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let (chosen, mut before) = {
        let source = Source::open(RepositorySettings::read(&args.repository, environment)?)?;
        let chosen = source::chosen(source.load(args.rev.as_deref())?, &args.clusters, args.all)?;
        let before = applied(&source, &chosen)?;
        (chosen, before)
    };
    let several = args.all || chosen.len() > 1;
    if several && args.kube.context.is_some() {
        bail!(
            "--context names the context of one cluster; name one cluster, or map contexts in the settings file"
        );
    }
    let chosen = chosen.into_iter().map(|(cluster, desired)| {
        let before = before.remove(&cluster).unwrap_or_default();
        (cluster, desired, before)
    });
    let chosen: Vec<_> = chosen.collect();
    let of_one = |(cluster, desired, before): (String, anyhow::Result<Desired>, AddonObjects)| async move {
        let page = match desired {
            Ok(desired) => planned(args, desired, &before, environment, clock).await,
            Err(error) => Err(error),
        };
        (cluster, page)
    };
    let mut plans: Vec<(String, anyhow::Result<PlanPage>)> =
        stream::iter(chosen).map(of_one).buffered(AT_ONCE).collect().await;
    let (text, exit) = match (plans.pop(), several) {
        (Some((_, only)), false) => {
            let page = only?;
            (shown(&page, page.markdown(), args.output, ink)?, page.exit())
        }
        (last, _) => {
            let plans = plans.into_iter().chain(last);
            let one = |(cluster, page): (String, anyhow::Result<PlanPage>)| match page {
                Ok(page) => Planned::Plan(Box::new(page)),
                Err(error) => Planned::None { cluster, error: format!("{error:#}") },
            };
            let page = PlansPage::of(plans.map(one).collect());
            (shown(&page, page.markdown(), args.output, ink)?, page.exit())
        }
    };
    out.write_all(text.as_bytes())?;
    Ok(exit.code())
}

fn shown(page: &impl Page, markdown: String, format: Format, ink: Ink) -> anyhow::Result<String> {
    Ok(match format {
        Format::Text => page.draw(ink),
        Format::Json => page.json()?,
        Format::Markdown => markdown,
    })
}

/// The objects that runs have applied for the addons of each cluster. The record is read only if an addon has manifests.
fn applied(
    source: &Source,
    chosen: &[(String, anyhow::Result<Desired>)],
) -> anyhow::Result<BTreeMap<String, AddonObjects>> {
    let has_manifests =
        |desired: &Desired| desired.cluster.addons.iter().any(|addon| addon.source.manifests().is_some());
    if !chosen.iter().filter_map(|(_, desired)| desired.as_ref().ok()).any(has_manifests) {
        return Ok(BTreeMap::new());
    }
    let records = source.all_records().context("reading what earlier runs have applied")?.into_iter();
    // A record that cannot be read is told by the commands that show it.
    Ok(records.filter_map(|(cluster, record)| Some((cluster, record.ok()?.addon_objects))).collect())
}

/// The plan of one cluster as it is now.
async fn planned(
    args: &Args,
    desired: Desired,
    before: &AddonObjects,
    environment: &Environment,
    clock: &Clock,
) -> anyhow::Result<PlanPage> {
    let config = args.repository.config.as_deref();
    let name = &desired.cluster.name;
    let of_addons = AddonsAsked { desired: &desired, before, run: None };
    let live = observe::look(&args.kube, name, Some(of_addons), config, environment, clock).await?;
    let changes = diff::diff(&desired, &live);
    let fresh = plan::proposal(&desired, &live)?;
    let mut scripts = Vec::new();
    if args.show_scripts {
        let shown = provider::scripts(&desired.cluster, &fresh.stages).into_iter();
        scripts.extend(shown.map(|script| Script { title: script.title, text: script.text }));
    }
    let forecast = foreseen(desired, &live, &fresh, clock.now());
    Ok(PlanPage::of(&fresh, &changes, scripts).foreseen(forecast))
}

/// What the gates would say of the plan now, if no run were in progress.
fn foreseen(desired: Desired, live: &Live, plan: &Plan, now: Timestamp) -> Forecast {
    let me = Identity {
        cluster: desired.cluster.name.clone(),
        holder: String::new(),
        predecessors: BTreeSet::new(),
        twin: None,
    };
    let census = Census::of(&desired.cluster, live);
    let state = DesiredState {
        newest: desired.commit.clone(),
        desired: Some(Arc::new(desired)),
        asked: plan.asked.clone(),
        problems: Vec::new(),
        rewritten: false,
        unproven: false,
        by: None,
    };
    let (record, others, tenure) = (Record::default(), Others::new(), Tenure::default());
    let world = World::new(Sources {
        me: &me,
        state: &state,
        live: Some(live),
        record: &record,
        others: &others,
        census: &census,
        tenure: &tenure,
        trouble: None,
        now,
        wall: now,
    });
    forecast(&world, plan)
}
