//! `windlass stop` and `windlass resume`: notes in the cluster that the daemon watches. They need no git, work while
//! the daemon is away, and may be repeated.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use super::observe::Kube;
use crate::cluster::ClusterApi;
use crate::config::Environment;
use crate::model::names::{NOTES, RESUME, STOP};

/// Stop all work on a cluster, within two seconds
///
/// Nothing new is started: no eviction, no cordon, no Job. An upgrade that already runs on a host finishes, and its node
/// stays cordoned. The stop survives restarts of the daemon and ends with `windlass resume`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass stop prod-eu --reason 'checkout is failing, looking into it'
  kubectl -n kube-system create configmap windlass-stop      # the same, without this program")]
pub struct StopArgs {
    /// The cluster to stop
    pub cluster: String,
    /// Why; everyone who finds the cluster stopped reads it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub kube: Kube,
    /// The daemon's settings file; flags override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Continue the work on a cluster after a stop or a halt
///
/// Removes a stop and ends a halt, whichever there is.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass resume prod-eu --reason 'w7 was replaced'")]
pub struct ResumeArgs {
    /// The cluster to continue
    pub cluster: String,
    /// Why it may continue, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub kube: Kube,
    /// The daemon's settings file; flags override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

pub async fn stop(args: &StopArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let reason = reason(&args.reason)?;
    let cluster = args.kube.connect(&args.cluster, args.config.as_deref(), environment).await?;
    let left = cluster.leave_note(STOP, reason, &author(&cluster, environment).await).await;
    left.with_context(|| format!("writing the ConfigMap {NOTES}/{STOP} to {}", args.cluster))?;
    let name = &args.cluster;
    writeln!(out, "{name} is stopped: {reason}")?;
    writeln!(
        out,
        "Within 2 s nothing new is started. An upgrade that already runs on a host finishes, and its"
    )?;
    writeln!(
        out,
        "node stays cordoned. Check: windlass status {name}. Continue: windlass resume {name} --reason ..."
    )?;
    Ok(0)
}

pub async fn resume(args: &ResumeArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let reason = reason(&args.reason)?;
    let cluster = args.kube.connect(&args.cluster, args.config.as_deref(), environment).await?;
    let name = &args.cluster;
    // The resume note comes first: if the second call fails, the cluster stays stopped.
    let left = cluster.leave_note(RESUME, reason, &author(&cluster, environment).await).await;
    left.with_context(|| format!("writing the ConfigMap {NOTES}/{RESUME} to {name}"))?;
    let stopped = cluster.take_note(STOP).await;
    let stopped = stopped.with_context(|| format!("deleting the ConfigMap {NOTES}/{STOP} of {name}"))?;
    if stopped {
        writeln!(out, "{name} is no longer stopped: {reason}")?;
        writeln!(out, "A running daemon goes on at once, also with a run that has halted.")?;
    } else {
        writeln!(out, "the resume is sent to {name}: {reason}")?;
        writeln!(
            out,
            "{name} was not stopped. A run that has halted goes on once a running daemon reads this; otherwise nothing \
             changes."
        )?;
    }
    writeln!(out, "Check: windlass status {name}")?;
    Ok(0)
}

/// Who writes the note: the user at this terminal, and the user whom the API server knows, which tells more in a
/// container or a cron job.
async fn author(cluster: &ClusterApi, environment: &Environment) -> String {
    match cluster.user().await {
        Some(user) => format!("{} (as {user})", environment.who()),
        None => environment.who(),
    }
}

fn reason(text: &str) -> anyhow::Result<&str> {
    let text = text.trim();
    ensure!(!text.is_empty(), "--reason is empty; say why, for everyone who finds the cluster like this");
    Ok(text)
}
