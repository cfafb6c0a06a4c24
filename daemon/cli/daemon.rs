//! `windlass daemon`: settings and signals around [`crate::serve`].

use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::source;
use crate::clock::Clock;
use crate::cluster::{ClusterApi, InstalledHelm};
use crate::config::{Clusters, Config, Environment, Flags};
use crate::execute::Open;
use crate::git::GitError;
use crate::live::ProbeAnswer;
use crate::model::live::Probe;
use crate::serve::{Connect, Ended, Serve, Views, serve};

/// Follow a repository and upgrade its clusters to what it asks for
///
/// Every cluster below desired-state/ is upgraded inside the windows of policies/, and every step is recorded on the
/// branch windlass/status. A cluster uses the kubeconfig context with its name. On SIGTERM the daemon finishes the
/// request in progress, records it and exits.
///
/// Exit codes with --until-idle: 0 as desired, 3 waiting, 4 a person is needed, 1 an error.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass daemon --repo https://git.example.com/fleet.git --token-file /run/secrets/token --kubeconfig fleet.kubeconfig
  windlass daemon --config /etc/windlass/windlass.yaml
  windlass daemon --repo . --until-idle       # upgrade as far as it goes by itself, then exit

A settings file holds the same in YAML: repo, branch, path, recordRepo, recordBranch, poll, cache, image, logFormat,
author {name, email}, credentials {tokenFile, username, sshKey, knownHosts}, kubeconfig, contexts {CLUSTER: CONTEXT}.")]
pub struct Args {
    #[command(flatten)]
    pub flags: Flags,
    /// Exit when no cluster can make progress by itself
    #[arg(long)]
    pub until_idle: bool,
}

/// Runs until a signal, or until idle; returns the exit code.
pub async fn run(args: &Args, environment: &Environment) -> anyhow::Result<u8> {
    let config = Config::read(&args.flags, environment)?;
    if config.clusters.kubeconfigs.is_empty() {
        bail!(
            "no kubeconfig is named: pass --kubeconfig, or set KUBECONFIG or `kubeconfig` in the settings file"
        );
    }
    let (ending, ended) = signals()?;
    let connect = connect(config.clusters);
    let named = config.repository.branch.is_some();
    let image = config.repository.image.clone();
    let (git, path) = source::located(config.repository);
    let start = |branch: String| Serve {
        git: crate::git::Settings { branch, ..git.clone() },
        path: path.clone(),
        image: image.clone(),
        poll: config.poll,
        clock: Clock::machine(),
        fence: Arc::new(Open),
        connect: Arc::clone(&connect),
        host: environment.host.clone(),
        until_idle: args.until_idle,
        ending: ended.clone(),
        views: watch::Sender::new(Views::new()),
    };
    let done = match serve(start(git.branch.clone())).await {
        Err(error) if !named => match other_branch(&error) {
            Some(branch) => serve(start(branch)).await,
            None => Err(error),
        },
        done => done,
    };
    drop(ending);
    Ok(report(&done?))
}

/// The branch to use if none was named and there is no `main`.
fn other_branch(error: &anyhow::Error) -> Option<String> {
    match error.downcast_ref::<GitError>() {
        Some(GitError::NoSuchBranch { exists, .. }) => source::sole(exists),
        Some(_) | None => None,
    }
}

fn report(ended: &Ended) -> u8 {
    let code = ended.exit_code();
    tracing::info!(code, clusters = ended.clusters.len(), "ended");
    code
}

/// Makes the client of a cluster from its kubeconfig context. The file is read at every try, because it may be fixed
/// meanwhile.
fn connect(clusters: Clusters) -> Connect {
    Arc::new(move |name: String| {
        let context = clusters.context(&name).to_owned();
        let clusters = clusters.clone();
        Box::pin(async move { answering(&clusters, &context).await })
    })
}

/// A client of a cluster that has answered once; the error says what is wrong with the address or the rights.
pub(super) async fn answering(clusters: &Clusters, context: &str) -> anyhow::Result<ClusterApi> {
    let kubeconfigs = clusters.kubeconfigs.clone();
    let cluster = ClusterApi::connect(&kubeconfigs, context).await?;
    let helm = InstalledHelm {
        program: clusters.helm.clone(),
        kubeconfigs: kubeconfigs.clone(),
        context: context.to_owned(),
    };
    let cluster = cluster.with_helm(Arc::new(helm));
    match cluster.ask(&Probe::ClusterUid, &Clock::machine()).await {
        ProbeAnswer::Nothing(why) => bail!(
            "the cluster behind context {context} of {} does not answer as it should: reading the namespace kube-system: {why}",
            kubeconfigs.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
        ),
        _ => Ok(cluster),
    }
}

/// True once SIGTERM, SIGINT or SIGHUP has come. A second one ends the process at once.
pub(super) fn signals() -> anyhow::Result<(watch::Sender<bool>, watch::Receiver<bool>)> {
    let (ending, ended) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    // A terminal that goes away.
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    let told = ending.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
            if told.send_replace(true) {
                tracing::warn!(
                    "second signal: exiting at once; the next process continues from the cluster and the record"
                );
                std::process::exit(1);
            }
        }
    });
    Ok((ending, ended))
}
