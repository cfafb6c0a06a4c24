//! `windlass stop` and `windlass resume`: notes in the cluster that the daemon watches. They need no git, work while
//! the daemon is away, and may be repeated.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use super::observe::Kube;
use crate::cluster::{NOTES, RESUME, STOP};
use crate::config::Environment;

/// Stop all work on a cluster, within two seconds
///
/// No new eviction, cordon, Job or other write of an upgrade follows. What already runs on a host finishes, and its
/// node stays cordoned. It lasts, restarts of the daemon included, until `windlass resume`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass stop prod-eu --reason 'checkout is failing, looking into it'
  kubectl -n kube-system create configmap windlass-stop      # the same, without this program")]
pub struct StopArgs {
    /// The cluster to stop
    pub cluster: String,
    /// Why, for those who find it stopped
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub kube: Kube,
    /// The daemon's settings file, for what no flag says
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Let work on a cluster go on after a stop or a halt
///
/// Takes the stop away, if there is one, and ends a halt, if there is one.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass resume prod-eu --reason 'w7 was replaced'")]
pub struct ResumeArgs {
    /// The cluster that goes on
    pub cluster: String,
    /// Why it may go on, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub kube: Kube,
    /// The daemon's settings file, for what no flag says
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

pub async fn stop(args: &StopArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let reason = reason(&args.reason)?;
    let cluster = args.kube.connect(&args.cluster, args.config.as_deref(), environment).await?;
    let left = cluster.leave_note(STOP, reason, &environment.who()).await;
    left.map_err(anyhow::Error::msg)
        .with_context(|| format!("writing the ConfigMap {NOTES}/{STOP} to {}", args.cluster))?;
    let name = &args.cluster;
    writeln!(out, "{name} is stopped: {reason}")?;
    writeln!(
        out,
        "A daemon that watches it sends nothing new from about two seconds on. What runs on a host already finishes,"
    )?;
    writeln!(out, "and its node stays cordoned. `windlass resume {name} --reason ...` lets it go on.")?;
    Ok(0)
}

pub async fn resume(args: &ResumeArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let reason = reason(&args.reason)?;
    let cluster = args.kube.connect(&args.cluster, args.config.as_deref(), environment).await?;
    let name = &args.cluster;
    // In this order a failure in between leaves it stopped.
    let left = cluster.leave_note(RESUME, reason, &environment.who()).await;
    left.map_err(anyhow::Error::msg)
        .with_context(|| format!("writing the ConfigMap {NOTES}/{RESUME} to {name}"))?;
    let stopped = cluster.take_note(STOP).await.map_err(anyhow::Error::msg);
    let stopped = stopped.with_context(|| format!("deleting the ConfigMap {NOTES}/{STOP} of {name}"))?;
    if stopped {
        writeln!(out, "{name} is no longer stopped: {reason}")?;
    } else {
        writeln!(out, "{name} was not stopped")?;
    }
    writeln!(
        out,
        "If the record says that it is halted, the daemon takes this as the word to go on; otherwise it does nothing."
    )?;
    Ok(0)
}

fn reason(text: &str) -> anyhow::Result<&str> {
    let text = text.trim();
    ensure!(!text.is_empty(), "--reason is empty; say why, for those who find the cluster like this");
    Ok(text)
}
