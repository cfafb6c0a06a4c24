//! `windlass plan`: the desired state from git, the running versions from the cluster, and the plan between the two.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use jiff::Timestamp;

use super::observe::{self, Kube};
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
use crate::record::Record;
use crate::view::Page as _;
use crate::view::ink::Ink;
use crate::view::plan::{PlanPage, Script};

/// Show what a change would do: hops, how many nodes and pods, risks and blockers
///
/// Desired state is read from git, running versions from the cluster; nothing is written. Exit codes: 0 nothing to do,
/// 2 something to do, 1 the plan is blocked, or an error.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass plan prod-eu --kubeconfig fleet.kubeconfig
  windlass plan prod-eu --rev my-branch -o markdown      # for a comment on a pull request
  windlass plan prod-eu --show-scripts                   # with every line that would run on a node")]
pub struct Args {
    /// The cluster; may be left out if the repository describes only one
    pub cluster: Option<String>,
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
    let desired = {
        let source = Source::open(RepositorySettings::read(&args.repository, environment)?)?;
        source::choose(source.load(args.rev.as_deref())?, args.cluster.as_deref())?
    };
    let config = args.repository.config.as_deref();
    let live = observe::look(&args.kube, &desired.cluster.name, config, environment, clock).await?;
    let changes = diff::diff(&desired, &live);
    let fresh = plan::proposal(&desired, &live)?;
    let mut scripts = Vec::new();
    if args.show_scripts {
        let shown = provider::scripts(&desired.cluster, &fresh.stages).into_iter();
        scripts.extend(shown.map(|script| Script { title: script.title, text: script.text }));
    }
    let page =
        PlanPage::of(&fresh, &changes, scripts).foreseen(foreseen(desired, &live, &fresh, clock.now()));
    let text = match args.output {
        Format::Text => page.draw(ink),
        Format::Json => page.json()?,
        Format::Markdown => page.markdown(),
    };
    out.write_all(text.as_bytes())?;
    Ok(page.exit().code())
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
