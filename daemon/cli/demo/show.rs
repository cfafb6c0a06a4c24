//! The course of the demo: the opening, the commit, the upgrade as it happens, and the last page.

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::ending::Recorded;
use super::narrate::{Narrator, line};
use super::page::{DemoPage, Line};
use super::repository::changed_lines;
use super::stage::{CLUSTER, Commit, Daemon, DemoStage};
use super::{Args, ending, world};
use crate::git::DEFAULT_RECORD_BRANCH;
use crate::model::entry::{Entry, RunEvent, StepEvent, What};
use crate::model::text::{length, plural};
use crate::record::RunStatus;
use crate::serve::blocking;
use crate::view::cluster::{Notice, View};
use crate::view::ink::Tone;
use crate::view::standing::ClusterStanding;

/// How often the workloads are read.
const LOOK: SignedDuration = SignedDuration::from_secs(4);
/// From the daemon being idle to the commit: long enough to read what is on the page.
const PAUSE: SignedDuration = SignedDuration::from_secs(20);
/// A demo that has not ended by then has failed. It is the demo's own time, so a slow machine does not matter.
const PATIENCE: SignedDuration = SignedDuration::from_mins(90);

/// How often the record is read for a report that is still on its way, and how long between two looks: a push takes
/// some seconds of the demo's time.
const MOST_LOOKS: u32 = 30;
const BETWEEN_LOOKS: SignedDuration = SignedDuration::from_secs(4);

pub(super) struct Show<'a> {
    stage: &'a DemoStage,
    args: &'a Args,
    page: DemoPage<'a>,
    narrator: Narrator,
    standing: Option<ClusterStanding>,
    /// The number of the last notice that was shown.
    last: u64,
    /// The run that the commit began, and when.
    run: Option<(String, Timestamp)>,
    ended: Option<Timestamp>,
    /// True once the process is asked to end.
    ending: watch::Receiver<bool>,
    /// The read of the published status that is in progress.
    looking: Option<JoinHandle<anyhow::Result<anyhow::Result<Option<RunStatus>>>>>,
    /// True if the published status has to be read again.
    look_again: bool,
}

/// Why the demo does not go on.
enum ShowEnd {
    /// The expected standing was reached.
    Reached,
    /// Nothing more can happen without a person.
    Stuck(ClusterStanding),
    /// The process is asked to end.
    Asked,
    TooLong,
}

impl<'a> Show<'a> {
    pub(super) fn new(
        stage: &'a DemoStage,
        args: &'a Args,
        page: DemoPage<'a>,
        ending: watch::Receiver<bool>,
    ) -> Self {
        Self {
            stage,
            args,
            page,
            narrator: Narrator::default(),
            standing: None,
            last: 0,
            run: None,
            ended: None,
            ending,
            looking: None,
            look_again: false,
        }
    }

    pub(super) async fn play(&mut self) -> anyhow::Result<u8> {
        self.opening()?;
        let mut daemon = self.stage.start_daemon();
        let stop = match self.upgrade(&mut daemon).await {
            Ok(stop) => stop,
            Err(error) => {
                // The first error is the one to report. The daemon must have ended before its repository is deleted.
                drop(end(daemon).await);
                return Err(error);
            }
        };
        let standing = match stop {
            ShowEnd::Reached => self.standing,
            ShowEnd::Stuck(standing) => Some(standing),
            ShowEnd::TooLong | ShowEnd::Asked => None,
        };
        let standing = standing.map_or(ClusterStanding::Looking, ClusterStanding::from);
        let asked = matches!(stop, ShowEnd::Asked);
        if asked {
            end(daemon).await?;
        } else if self.args.keep {
            self.closing(standing).await?;
            let kept = self.keep(&mut daemon).await;
            end(daemon).await?;
            kept?;
        } else {
            end(daemon).await?;
            self.closing(standing).await?;
        }
        if asked || self.args.keep {
            self.page.gap()?;
            let folder = self.stage.folder().display();
            let left = if self.args.keep {
                format!("the repository stays in {folder}")
            } else {
                "nothing is left behind".to_owned()
            };
            self.page.note(Tone::Plain, &format!("ended on request; {left}"))?;
        }
        Ok(standing.exit().code())
    }

    /// From the first commit to the end of the run that the second one starts.
    async fn upgrade(&mut self, daemon: &mut Daemon) -> anyhow::Result<ShowEnd> {
        let stop = self.follow(daemon, |show| show.standing == Some(ClusterStanding::AsDesired)).await?;
        if !matches!(stop, ShowEnd::Reached) {
            return Ok(stop);
        }
        self.stage.clock.sleep(PAUSE).await;
        self.ask().await?;
        let over = |show: &Self| {
            show.ended.is_some() && show.standing.is_some_and(|standing| standing != ClusterStanding::Moving)
        };
        self.follow(daemon, over).await
    }

    /// Shows what there is before anything happens.
    fn opening(&mut self) -> anyhow::Result<()> {
        let (args, stage) = (self.args, self.stage);
        let there = stage.server.with(|cluster, _| world::count(cluster));
        let served = stage.server.with(|cluster, _| world::workloads_of(cluster));
        let served: u64 = served.iter().map(|workload| workload.wanted).sum();
        self.page.title(&format!(
            "windlass demo: {} to {}, {} times as fast as real time",
            args.from, args.to, args.speed
        ))?;
        let lines = [
            (
                "cluster",
                format!(
                    "{} and {} in {} zones; {} of {} pods are Ready; {served} of them belong to {} with {}",
                    plural(there.control_plane, "control plane node"),
                    plural(there.workers, "worker"),
                    there.zones,
                    there.ready,
                    there.pods,
                    plural(there.workloads, "workload"),
                    plural(there.budgets, "disruption budget"),
                ),
            ),
            ("kubectl", format!("kubectl --kubeconfig {} get nodes", stage.kubeconfig.display())),
            (
                "git",
                format!(
                    "{}, branch main; the record goes to {DEFAULT_RECORD_BRANCH}",
                    stage.repository.display()
                ),
            ),
        ];
        for (key, text) in lines {
            self.page.note(Tone::Plain, &format!("{key:<9}{text}"))?;
        }
        self.page.gap()?;
        let first = committed(&stage.first);
        self.page.tell(&[first])?;
        Ok(())
    }

    /// The commit with the other version.
    async fn ask(&mut self) -> anyhow::Result<()> {
        let commit = self.stage.ask_for(&self.args.to).await?;
        self.standing = None;
        let mut told = vec![Line { tone: Tone::Title, ..committed(&commit) }];
        for (added, text) in changed_lines(&self.args.from, &self.args.to) {
            let (tone, sign) = if added { (Tone::Good, '+') } else { (Tone::Bad, '-') };
            told.push(line(commit.at, "", tone, format!("{sign} {text}")));
        }
        self.page.tell(&told)?;
        Ok(())
    }

    /// Shows what happens until `enough`.
    async fn follow(
        &mut self,
        daemon: &mut Daemon,
        enough: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<ShowEnd> {
        let clock = self.stage.clock.clone();
        let until = clock.now().saturating_add(PATIENCE)?;
        let mut next_look = clock.now();
        loop {
            tokio::select! {
                biased;
                () = asked(&mut self.ending) => return Ok(ShowEnd::Asked),
                view = daemon.changed() => {
                    let Some(view) = view else { return Err(ended_early(daemon).await) };
                    self.hear(&view)?;
                }
                () = clock.sleep_until(next_look) => {
                    self.look().await?;
                    next_look = clock.now().saturating_add(LOOK)?;
                }
            }
            if enough(self) {
                return Ok(ShowEnd::Reached);
            }
            match self.standing {
                Some(stuck @ (ClusterStanding::Halted | ClusterStanding::Refused)) => {
                    return Ok(ShowEnd::Stuck(stuck));
                }
                Some(_) | None if clock.now() > until => return Ok(ShowEnd::TooLong),
                Some(_) | None => {}
            }
        }
    }

    /// Shows what is new in a view, and takes over where the cluster stands.
    fn hear(&mut self, view: &View) -> anyhow::Result<()> {
        for numbered in view.since(self.last) {
            self.last = numbered.number;
            match &numbered.notice {
                Notice::Entry(entry) => {
                    self.note(entry);
                    let lines = self.narrator.entry(entry);
                    self.page.tell(&lines)?;
                }
                Notice::Evicted { .. } => {}
            }
        }
        self.standing = Some(view.state.into());
        Ok(())
    }

    /// Keeps what the course of the demo depends on.
    fn note(&mut self, entry: &Entry) {
        self.look_again |= matches!(entry.what, What::Step(_, StepEvent::Done { .. }));
        if matches!(entry.what, What::Run(RunEvent::Started { .. })) {
            self.run = entry.run.clone().map(|run| (run, entry.at));
            self.ended = None;
        }
        if matches!(entry.what, What::Run(RunEvent::Ended { .. })) {
            self.ended = Some(entry.at);
            // A status that was read before is of a run that had not ended.
            self.look_again = false;
            self.looking = None;
        }
    }

    /// Reads what the daemon does not report: the workloads, and the published status.
    async fn look(&mut self) -> anyhow::Result<()> {
        let now = self.stage.clock.now();
        if self.run.is_some() {
            let serving = self.stage.server.with(|cluster, _| world::workloads_of(cluster));
            let lines = self.narrator.pods(now, &serving);
            self.page.tell(&lines)?;
        }
        if let Some(looking) = self.looking.take_if(|looking| looking.is_finished()) {
            // A status that cannot be read now is read again.
            if let Ok(Ok(Ok(Some(run)))) = looking.await {
                let lines = self.narrator.progress(now, &run);
                self.look_again &= lines.is_empty();
                self.page.tell(&lines)?;
            }
        }
        if self.look_again && self.looking.is_none() {
            let git = self.stage.git();
            self.looking = Some(tokio::spawn(blocking(move || ending::run_now(git, CLUSTER))));
        }
        Ok(())
    }

    async fn closing(&mut self, standing: ClusterStanding) -> anyhow::Result<()> {
        if let Some((run, _)) = &self.run {
            let recorded = self.recorded(run).await?;
            let stays = self.args.keep.then_some(self.stage.repository.as_path());
            ending::record(&mut self.page, stays, &recorded)?;
        }
        let took = self.run.as_ref().zip(self.ended).map(|((_, began), ended)| ended.duration_since(*began));
        let outcome = match (standing, took) {
            (ClusterStanding::AsDesired, Some(took)) => {
                let real = took / i32::try_from(self.args.speed).unwrap_or(1);
                let took = format!("{} of its time, {} of yours", length(took), length(real));
                format!("{} to {}: the cluster is as git asks, after {took}", self.args.from, self.args.to)
            }
            (standing, _) => standing.headline().to_owned(),
        };
        let counts = ending::counts(&self.stage.server);
        ending::result(&mut self.page, &outcome, standing == ClusterStanding::AsDesired, &counts)?;
        self.closer()
    }

    /// What the record has of a run. With `--keep` the daemon goes on, and its last push may still be on its way.
    async fn recorded(&self, run: &str) -> anyhow::Result<Recorded> {
        let mut tries = 0;
        loop {
            let (git, run) = (self.stage.git(), run.to_owned());
            let recorded = blocking(move || ending::recorded(git, CLUSTER, &run)).await??;
            tries += 1;
            if recorded.has_report() || self.ended.is_none() || tries >= MOST_LOOKS {
                return Ok(recorded);
            }
            self.stage.clock.sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Shows where to look closer.
    fn closer(&mut self) -> anyhow::Result<()> {
        let repo = self.stage.repository.display();
        if !self.args.keep {
            self.page.title("look closer")?;
            self.page.note(
                Tone::Plain,
                "windlass demo --keep    leaves the cluster, the daemon and the repository running",
            )?;
            return Ok(());
        }
        let kubectl = format!("kubectl --kubeconfig {}", self.stage.kubeconfig.display());
        self.page.title("look closer, until Ctrl-C")?;
        for line in [
            format!("git -C {repo} log {DEFAULT_RECORD_BRANCH}"),
            format!("windlass status --repo {repo}"),
            format!("windlass history --repo {repo}"),
            format!("{kubectl} get nodes"),
            format!("{kubectl} get pods -A -o wide"),
            format!("{kubectl} -n kube-system get configmap upgrade-status -o yaml"),
        ] {
            self.page.note(Tone::Plain, &line)?;
        }
        self.page.gap()?;
        Ok(())
    }

    /// Goes on showing what happens until Ctrl-C.
    async fn keep(&mut self, daemon: &mut Daemon) -> anyhow::Result<()> {
        loop {
            match self.follow(daemon, |_| false).await? {
                ShowEnd::Asked => return Ok(()),
                ShowEnd::Reached | ShowEnd::TooLong => {}
                // The daemon reports this once, and a person may change it.
                ShowEnd::Stuck(_) => self.standing = None,
            }
        }
    }
}

/// Why the daemon ended although it was not asked to.
async fn ended_early(daemon: &mut Daemon) -> anyhow::Error {
    match (&mut daemon.task).await {
        Ok(Ok(ended)) => anyhow::anyhow!("the daemon has ended by itself: {:?}", ended.clusters),
        Ok(Err(error)) => error.context("the daemon has ended by itself"),
        Err(error) => anyhow::Error::new(error).context("the daemon did not end in order"),
    }
}

/// Ends the daemon; it writes its last entries.
async fn end(daemon: Daemon) -> anyhow::Result<()> {
    daemon.ending.send_replace(true);
    daemon.task.await??;
    Ok(())
}

/// Returns once the process is asked to end, or once the sender is gone.
async fn asked(ending: &mut watch::Receiver<bool>) {
    if ending.wait_for(|ending| *ending).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn committed(commit: &Commit) -> Line {
    let id: String = commit.id.chars().take(12).collect();
    line(commit.at, "git", Tone::Plain, format!("{} commits {id}: {}", commit.author, commit.subject))
}
