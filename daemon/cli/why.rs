//! `windlass why`: every gate with its answer, the reason, since when, and when it could next pass. With a kubeconfig
//! it reads the cluster and makes one pass without carrying anything out. Without one it answers from git and the
//! record, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::Output;
use super::observe::{self, AddonsAsked, Kube};
use super::source::{self, Source};
use crate::clock::Clock;
use crate::config::{Environment, RepositoryFlags, RepositorySettings};
use crate::gate::{Census, Others, Sources, World, forecast, of_every_gate, silent_holder, without_cluster};
use crate::model::decision::{Answer, Gate, Verdict};
use crate::model::desired::Desired;
use crate::model::live::{Live, Lock};
use crate::model::state::{DesiredState, Identity};
use crate::plan;
use crate::reconcile::{self, Input};
use crate::record::{self, Record};
use crate::view::ink::Ink;
use crate::view::standing::ClusterStanding;
use crate::view::why::{Facts, WhyPage};

/// The holder's name of a command that never takes the lease; no process has it.
const NO_HOLDER: &str = "windlass-why";

/// Show what a cluster waits for: every gate, its answer, since when, and when it could next pass
///
/// With a kubeconfig the cluster is read as well; nothing is written anywhere. Exit codes: 0 as desired, 3 not there yet
/// (running, waiting, stopped), 4 a person is needed.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass why prod-eu --kubeconfig fleet.kubeconfig
  windlass why prod-eu --repo https://git.example.com/fleet.git -o json")]
pub struct Args {
    /// The cluster; may be left out if the repository describes only one
    pub cluster: Option<String>,
    /// The format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(flatten)]
    pub kube: Kube,
    #[command(flatten)]
    pub repository: RepositoryFlags,
}

pub async fn run(
    args: &Args,
    environment: &Environment,
    clock: &Clock,
    ink: Ink,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let (name, wanted, record) = {
        let mut source = Source::open(RepositorySettings::read(&args.repository, environment)?)?;
        let mut records = source.all_records()?;
        let mut wanted = source.wanted(&records)?;
        let name = chosen_cluster(args.cluster.as_deref(), &wanted)?;
        let record =
            records.remove(&name).transpose().with_context(|| format!("reading the record of {name}"))?;
        (name.clone(), wanted.remove(&name), record.unwrap_or_default())
    };
    let Some(wanted) = wanted else { bail!("the repository has no cluster {name}") };
    let (live, note) = looked(args, &name, (wanted.desired.as_deref(), &record), environment, clock).await?;
    let now = clock.now();
    let (standings, answers) = told(&name, &wanted, &record, live.as_ref(), now)?;
    let page = WhyPage::of(Facts {
        cluster: &name,
        newest: &wanted.newest,
        refused: !wanted.problems.is_empty(),
        desired: wanted.desired.as_deref(),
        standings,
        unseen: note.as_deref(),
        answers,
        record: &record,
    });
    super::write(&page, args.output, ink, out)?;
    Ok(page.exit().code())
}

fn chosen_cluster(asked: Option<&str>, wanted: &BTreeMap<String, DesiredState>) -> anyhow::Result<String> {
    let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
    match (asked, names.as_slice()) {
        (Some(name), _) if wanted.contains_key(name) => Ok(name.to_owned()),
        (Some(name), _) => bail!(source::unknown("the repository", name, names.into_iter())),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => bail!("the repository describes no cluster below desired-state/; check --path"),
        (None, many) => bail!("the repository describes several clusters; name one of {}", many.join(", ")),
    }
}

/// The cluster, if it can be read. A named kubeconfig has to work; the default one may not fit.
async fn looked(
    args: &Args,
    name: &str,
    (desired, record): (Option<&Desired>, &Record),
    environment: &Environment,
    clock: &Clock,
) -> anyhow::Result<(Option<Live>, Option<String>)> {
    let config = args.repository.config.as_deref();
    let named = args.kube.kubeconfig.is_some() || args.kube.context.is_some() || config.is_some();
    if !named && environment.kubeconfigs.is_empty() {
        return Ok((None, Some("no kubeconfig is named".to_owned())));
    }
    let (before, run) = (&record.addon_objects, record.run.as_ref());
    let of_addons = desired.map(|desired| AddonsAsked { desired, before, run });
    match observe::look(&args.kube, name, of_addons, config, environment, clock).await {
        Ok(live) => Ok((Some(live), None)),
        Err(error) if named => Err(error),
        Err(error) => Ok((None, Some(format!("{error:#}")))),
    }
}

/// What is known of a cluster, with or without reading it.
fn told(
    name: &str,
    state: &DesiredState,
    record: &Record,
    live: Option<&Live>,
    now: Timestamp,
) -> anyhow::Result<(Vec<ClusterStanding>, Vec<Answer>)> {
    let me = Identity {
        cluster: name.to_owned(),
        holder: NO_HOLDER.to_owned(),
        predecessors: BTreeSet::new(),
        twin: None,
    };
    let others = Others::new();
    let desired = state.desired.as_deref();
    let census = desired.zip(live).map(|(desired, live)| Census::of(&desired.cluster, live));
    let census = census.unwrap_or_default();
    let tenure = live.map(|live| reconcile::tenure(live, record, &me, now)).unwrap_or_default();
    let world = World::new(Sources {
        me: &me,
        state,
        live,
        record,
        others: &others,
        census: &census,
        tenure: &tenure,
        trouble: None,
        now,
        wall: now,
    });
    let Some(live) = live else { return Ok((from_record(name, state, record), without_cluster(&world))) };
    // What the daemon's next passes would answer if it read the cluster now.
    let fresh = desired.map(|desired| plan::proposal(desired, live)).transpose()?;
    let input = Input {
        me: &me,
        state,
        live,
        record,
        fresh: fresh.as_ref(),
        census: &census,
        others: &others,
        trouble: None,
        now,
        wall: now,
    };
    let outlook = reconcile::outlook(input);
    let mut answers = of_every_gate(outlook.answers, &world);
    // A pass asks the gates about the nodes that come first. This page lists every node that cannot be taken out.
    if let (Some(fresh), None) = (&fresh, &record.run) {
        answers.extend(forecast(&world, fresh).left_out.into_values().flatten());
    }
    let lock = live.lock.as_ref();
    let answers: Vec<Answer> = answers.into_iter().map(|answer| lease(answer, lock, now)).collect();
    let true_too = [
        (!is_taken_up(state, record), ClusterStanding::NotTakenUp),
        (live.stop.is_some(), ClusterStanding::Stopped),
        (record.halted.is_some(), ClusterStanding::Halted),
        (!state.problems.is_empty(), ClusterStanding::Refused),
        (answers.iter().any(Answer::needs_a_person), ClusterStanding::NeedsAPerson),
    ];
    let true_too = true_too.into_iter().filter_map(|(holds, standing)| holds.then_some(standing));
    let standings = std::iter::once(outlook.state.into()).chain(true_too).collect();
    Ok((standings, answers))
}

/// The lease is most likely held by the daemon itself, and for the daemon that is no objection, as long as it renews
/// the lease.
fn lease(answer: Answer, lock: Option<&Lock>, now: Timestamp) -> Answer {
    if answer.gate != Gate::Lease {
        return answer;
    }
    let silent = lock.and_then(|lock| silent_holder(lock, now));
    silent.unwrap_or(Answer { verdict: Verdict::Allow, next: None, ..answer })
}

/// True if a daemon has accepted the newest good commit.
fn is_taken_up(state: &DesiredState, record: &Record) -> bool {
    let asked = state.desired.as_ref().map(|desired| &desired.commit);
    asked == record.accepted.as_ref().map(|(commit, _)| commit)
}

/// Where the cluster stands according to git and the record.
fn from_record(name: &str, state: &DesiredState, record: &Record) -> Vec<ClusterStanding> {
    let mut standings = ClusterStanding::all_of(&record::status(name, record));
    standings.extend((!is_taken_up(state, record)).then_some(ClusterStanding::NotTakenUp));
    standings.extend((!state.problems.is_empty()).then_some(ClusterStanding::Refused));
    standings
}
