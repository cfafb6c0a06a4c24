//! The commands that print a page: what each needs is loaded here, and drawn by the page's own file.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};

use super::observe::{self, Kube};
use super::records::Records;
use super::source::{self, Source};
use super::{history, plan, status, validate, windows};
use crate::clock::Clock;
use crate::config::{Environment, Place, RepositoryFlags};
use crate::desired::{self, Loaded};
use crate::diff;
use crate::model::CommitId;
use crate::provider;
use crate::record::{self, text::plural};

/// How often `--watch` looks: a local branch costs nothing, a host counts requests.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);
const LOOK_AGAIN_REMOTE: SignedDuration = SignedDuration::from_secs(15);
/// Moves the cursor home and clears the terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Check desired state and policies, and show every problem with its place
///
/// Asks no cluster and needs no network. Exit codes: 0 valid, 1 not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass validate                       # the files of this folder, committed or not
  windlass validate --rev my-branch       # the files of a branch, a tag or a commit")]
pub struct ValidateArgs {
    #[command(flatten)]
    page: validate::Args,
}

/// Show when each cluster may be disrupted next, what is frozen, and what looks wrong
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass windows
  windlass windows --from 2026-12-20 --days 30
  windlass windows --rev my-branch")]
pub struct WindowsArgs {
    #[command(flatten)]
    page: windows::Args,
    /// Read a commit, a branch or a tag of the repository instead of the files on disk
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
}

/// Show what a change would do: hops, order, how many nodes and pods, risks and blockers
///
/// Desired state is read from git, what runs from the cluster; nothing is written. Exit codes: 0 nothing to do,
/// 2 there is something to do, 1 it cannot be done as it stands, or an error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass plan prod-eu --kubeconfig fleet.kubeconfig
  windlass plan prod-eu --rev my-branch -o markdown      # for a comment on a pull request
  windlass plan prod-eu --show-scripts                   # with every line that would run on a node")]
pub struct PlanArgs {
    #[command(flatten)]
    page: plan::Args,
    #[command(flatten)]
    kube: Kube,
    #[command(flatten)]
    repository: RepositoryFlags,
}

/// Show where each cluster stands, from the record in the repository
///
/// Exit codes: 0 as desired, 3 not there yet (running, waiting, stopped), 4 a person is needed (halted, refused).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass status
  windlass status prod-eu --repo https://git.example.com/fleet.git --watch")]
pub struct StatusArgs {
    #[command(flatten)]
    page: status::Args,
    #[command(flatten)]
    repository: RepositoryFlags,
}

/// Show the runs of each cluster, or with --run everything that one of them did
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass history prod-eu
  windlass history prod-eu --run 4f2a91c03b77-1")]
pub struct HistoryArgs {
    #[command(flatten)]
    page: history::Args,
    #[command(flatten)]
    repository: RepositoryFlags,
}

/// The repository around a folder.
fn around(folder: &Path, environment: &Environment) -> anyhow::Result<Source> {
    let repo = Some(folder.display().to_string());
    Source::open(Place::read(&RepositoryFlags { repo, ..RepositoryFlags::default() }, environment)?)
}

pub fn validate(args: &ValidateArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let read_rev = |path: &Path, rev: &str| around(path, environment)?.files(Some(rev));
    validate::run(&args.page, read_rev, out)
}

pub fn windows(
    args: &WindowsArgs,
    environment: &Environment,
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let path = args.page.path.display().to_string();
    let loaded: Loaded = match &args.rev {
        Some(rev) => around(&args.page.path, environment)?.load(Some(rev))?,
        None => desired::load(&CommitId("work tree".to_owned()), &validate::work_tree(&args.page.path)?),
    };
    let valid: Vec<(String, BTreeMap<String, String>)> = loaded
        .clusters
        .iter()
        .filter_map(|(name, desired)| Some((name.clone(), desired.as_ref().ok()?.cluster.labels.clone())))
        .collect();
    let broken = record::text::count(loaded.problems.len());
    if valid.is_empty() {
        bail!(
            "{path} has no valid cluster below desired-state/ ({}); `windlass validate {path}` shows what is wrong",
            plural(broken, "problem")
        );
    }
    windows::run(&args.page, &loaded.policies, &valid, now, out)?;
    if broken > 0 {
        tracing::warn!(
            "left out what is not valid ({}); `windlass validate` shows it",
            plural(broken, "problem")
        );
    }
    Ok(0)
}

pub async fn plan(
    args: &PlanArgs,
    environment: &Environment,
    clock: &Clock,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let page = &args.page;
    let desired = {
        let source = Source::open(Place::read(&args.repository, environment)?)?;
        source::choose(source.load(page.rev.as_deref())?, page.cluster.as_deref())?
    };
    let config = args.repository.config.as_deref();
    let live = observe::look(&args.kube, &desired.cluster.name, config, environment, clock).await?;
    let changes = diff::diff(&desired, &live);
    let fresh = crate::reconcile::fresh_plan(&desired, &live);
    let scripts: Vec<(String, String)> =
        provider::scripts(&desired.cluster, fresh.stages.iter().map(|s| (s.kind, &s.to)))
            .into_iter()
            .map(|script| (script.title, script.text))
            .collect();
    let shown = page.show_scripts.then_some(scripts.as_slice());
    out.write_all(plan::render(&fresh, &changes, page.output, shown).as_bytes())?;
    Ok(plan::exit_code(&fresh))
}

pub async fn status(
    args: &StatusArgs,
    environment: &Environment,
    clock: &Clock,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let page = &args.page;
    let mut records = Records::open(Place::read(&args.repository, environment)?)?;
    let cluster = page.cluster.as_deref();
    let mut shown = source::statuses(&records.of(cluster)?);
    write!(out, "{}", status::render(&shown, page.output).context("writing the status")?)?;
    let screen = page.watch && std::io::stdout().is_terminal();
    let rest = if records.is_local() { LOOK_AGAIN } else { LOOK_AGAIN_REMOTE };
    if !page.watch {
        return Ok(status::exit_code_of(&shown));
    }
    loop {
        out.flush()?;
        clock.sleep(rest).await;
        if let Err(error) = records.refresh() {
            tracing::warn!("{error:#}");
            continue;
        }
        let now = source::statuses(&records.of(cluster)?);
        if status::changed(&shown, &now) {
            let before = if screen { CLEAR } else { "\n" };
            write!(out, "{before}{}", status::render(&now, page.output).context("writing the status")?)?;
            shown = now;
        }
    }
}

pub fn history(args: &HistoryArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let page = &args.page;
    let records = Records::open(Place::read(&args.repository, environment)?)?;
    let cluster = page.cluster.as_deref();
    let text = match &page.run {
        None => history::render_runs(&records.of(cluster)?, page.output)?,
        Some(run) => {
            let files = records.files()?;
            let mut journals = BTreeMap::new();
            for name in records.of(cluster)?.into_keys() {
                let folder = format!("{name}/");
                let own = files.iter().filter(|(path, _)| path.starts_with(&folder));
                let own = own.map(|(path, text)| (path.clone(), text.clone())).collect();
                journals.insert(name.clone(), record::journal(&name, &own)?);
            }
            history::render_run(&journals, run, page.output)?
        }
    };
    out.write_all(text.as_bytes())?;
    Ok(0)
}
