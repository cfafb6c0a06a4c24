//! The parts of the demo: the folder with the repository and the kubeconfig, the simulated cluster behind its port,
//! the clock, and the daemon.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::folder::TempFolder;
use super::repository::{self, NewCommit};
use super::{Args, world};
use crate::clock::Clock;
use crate::cluster::ClusterApi;
use crate::execute::Open;
use crate::git::{self, Author, Credentials, DEFAULT_RECORD_BRANCH};
use crate::model::version::Version;
use crate::serve::{Connect, Ended, Serve, Views, blocking, serve};
use crate::sim::{self, Server};
use crate::view::cluster::View;

/// The name of the cluster: the folder in `desired-state/`, and the context of the kubeconfig.
pub(super) const CLUSTER: &str = "demo";
/// The time at which the demo begins: a Tuesday morning, at which the quick start's policies allow changes.
const ORIGIN: &str = "2026-09-08T09:00:00Z";
/// The file system reports a push; polling is for the case that it does not.
const POLL: SignedDuration = SignedDuration::from_secs(30);
/// No remote is contacted.
const TIMEOUT: Duration = Duration::from_secs(10);

const FIRST: (&str, &str) = ("Grace Example", "grace@example.com");
const SECOND: (&str, &str) = ("Ada Example", "ada@example.com");

pub(super) struct DemoStage {
    pub(super) repository: PathBuf,
    pub(super) kubeconfig: PathBuf,
    pub(super) clock: Clock,
    pub(super) server: Server,
    pub(super) first: Commit,
    folder: TempFolder,
    /// The simulated cluster's time and its port; they end with the stage.
    _tasks: JoinSet<()>,
}

/// A commit as the page shows it.
pub(super) struct Commit {
    pub(super) at: Timestamp,
    pub(super) author: &'static str,
    pub(super) subject: String,
    pub(super) id: String,
}

/// The daemon at work.
pub(super) struct Daemon {
    views: watch::Receiver<Views>,
    /// The view of the demo's cluster, once the daemon serves it.
    view: Option<watch::Receiver<View>>,
    pub(super) ending: watch::Sender<bool>,
    pub(super) task: JoinHandle<anyhow::Result<Ended>>,
}

impl Daemon {
    /// Waits until the view of the cluster has changed, and returns it; `None` once the daemon has ended.
    pub(super) async fn changed(&mut self) -> Option<View> {
        let view = loop {
            if let Some(view) = &mut self.view {
                break view;
            }
            self.views.changed().await.ok()?;
            self.view = self.views.borrow_and_update().get(CLUSTER).cloned();
        };
        view.changed().await.ok()?;
        Some(view.borrow_and_update().clone())
    }
}

impl DemoStage {
    pub(super) async fn set(args: &Args) -> anyhow::Result<Self> {
        let origin: Timestamp = ORIGIN.parse().context("the time of the demonstration")?;
        let folder = TempFolder::new(args.keep)?;
        let repository = folder.path().join("repository.git");
        let first = first_commit(repository.clone(), args.from.clone(), origin).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
            .await
            .with_context(|| format!("opening port {} for the simulated API server", args.port))?;
        let address = listener.local_addr().context("asking for the port of the simulated API server")?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, sim::kubeconfig(address, CLUSTER))
            .with_context(|| format!("writing {}", kubeconfig.display()))?;
        let cluster = world::at(&args.from, origin)?;
        let clock = Clock::starting_at(origin, args.speed);
        let (now, sleep_until) = clock.functions();
        let server = Server::new(cluster, now, sleep_until);
        let mut tasks = JoinSet::new();
        let (driven, listening) = (server.clone(), server.clone());
        tasks.spawn(async move { driven.drive().await });
        tasks.spawn(async move {
            if let Err(error) = listening.listen(listener).await {
                tracing::error!(%error, "the simulated API server has ended");
            }
        });
        Ok(Self { repository, kubeconfig, clock, server, first, folder, _tasks: tasks })
    }

    /// The repository's settings for the daemon.
    pub(super) fn git(&self) -> git::Settings {
        git::Settings {
            url: self.repository.display().to_string(),
            branch: repository::BRANCH.to_owned(),
            record_url: None,
            record_branch: DEFAULT_RECORD_BRANCH.to_owned(),
            cache: self.folder.path().join("cache"),
            credentials: Credentials::default(),
            author: Author { name: "windlass".to_owned(), email: "windlass@example.com".to_owned() },
            timeout: TIMEOUT,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn start_daemon(&self) -> Daemon {
        let (published, views) = watch::channel(Views::new());
        let (ending, ends) = watch::channel(false);
        let kubeconfig = self.kubeconfig.clone();
        let connect: Connect = Arc::new(move |context: String| {
            let kubeconfig = kubeconfig.clone();
            Box::pin(async move { Ok(ClusterApi::connect(&[kubeconfig], &context).await?) })
        });
        let served = serve(Serve {
            git: self.git(),
            path: String::new(),
            image: None,
            poll: POLL,
            clock: self.clock.clone(),
            fence: Arc::new(Open),
            connect,
            host: "demo".to_owned(),
            until_idle: false,
            ending: ends,
            views: published,
        });
        Daemon { views, view: None, ending, task: tokio::spawn(served) }
    }

    /// Makes the commit with another version.
    pub(super) async fn ask_for(&self, version: &Version) -> anyhow::Result<Commit> {
        let (path, version, at) = (self.repository.clone(), version.clone(), self.clock.now());
        blocking(move || {
            let subject = format!("demo: Kubernetes {version} and the next cilium");
            let mut files = repository::files_at(&version, true);
            files.retain(|(path, _)| *path == repository::CLUSTER_FILE);
            let message = format!("{subject}\n\nThe release notes are read, the addons support it.\n");
            make_commit(&path, &NewCommit { author: SECOND, message: &message, at, files }, subject)
        })
        .await?
    }
}

async fn first_commit(path: PathBuf, version: Version, origin: Timestamp) -> anyhow::Result<Commit> {
    let at = origin.checked_sub(SignedDuration::from_mins(40)).context("the time of the first commit")?;
    blocking(move || {
        repository::create(&path)?;
        let subject = format!("demo: the cluster as it is, Kubernetes {version}");
        let message = format!("{subject}\n");
        let files = repository::files_at(&version, false);
        make_commit(&path, &NewCommit { author: FIRST, message: &message, at, files }, subject)
    })
    .await?
}

fn make_commit(path: &Path, change: &NewCommit<'_>, subject: String) -> anyhow::Result<Commit> {
    let author = if change.author == FIRST { FIRST.0 } else { SECOND.0 };
    let id = repository::commit(path, change)?;
    Ok(Commit { at: change.at, author, subject, id })
}
