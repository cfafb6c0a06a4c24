//! `windlass plan`: the desired state from git, the running versions from the cluster, and the plan between the two.

use std::io::Write;

use super::observe::{self, Kube};
use super::source::{self, Source};
use crate::clock::Clock;
use crate::config::{Environment, RepositoryFlags, RepositorySettings};
use crate::diff;
use crate::plan;
use crate::provider;
use crate::view::Page as _;
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
    /// For people; the order of nodes is in the JSON
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
    let page = PlanPage::of(&fresh, &changes, scripts);
    let text = match args.output {
        Format::Text => page.text(),
        Format::Json => page.json()?,
        Format::Markdown => page.markdown(),
    };
    out.write_all(text.as_bytes())?;
    Ok(page.exit().code())
}
