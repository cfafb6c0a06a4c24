//! `windlass status`: where each cluster stands according to its record, compared with the desired branch and, on
//! request, with the lease in the cluster; once, or whenever it changes.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use jiff::SignedDuration;

use super::Output;
use super::observe::{self, Kube};
use super::records::RecordBranch;
use super::source::{Source, unknown};
use crate::clock::Clock;
use crate::config::{Environment, RepositoryFlags, RepositorySettings};
use crate::live::ProbeAnswer;
use crate::model::live::Probe;
use crate::model::state::DesiredState;
use crate::record::Record;
use crate::view::beside::{Acting, KeptNode};
use crate::view::ink::Ink;
use crate::view::status::{BesideRecords, StatusPage};

/// How often `--watch` reads: a local branch costs nothing, a git host counts requests.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);
const LOOK_AGAIN_REMOTE: SignedDuration = SignedDuration::from_secs(15);
/// Moves the cursor home and clears the terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show where each cluster stands: its record, compared with the newest commit
///
/// Several clusters are a table, the worst first. With --kubeconfig it also asks each cluster whether its daemon is
/// alive, and which nodes people hold or have cordoned. Of several clusters the worst decides the exit code: 0 as desired, 3 not there yet (running, waiting, stopped), 4 a person is needed.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass status                                     # a table, if there are several clusters
  windlass status --long
  windlass status prod-eu --repo https://git.example.com/fleet.git --watch
  windlass status --kubeconfig fleet.kubeconfig       # for an alarm: it also finds a daemon that died")]
pub struct Args {
    /// The cluster to show [default: all of them]
    #[arg(value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Show each of several clusters in full, and not as one line of a table
    #[arg(long, conflicts_with = "output")]
    pub long: bool,
    /// Keep running, and draw again whenever something changes
    #[arg(long, conflicts_with = "output")]
    pub watch: bool,
    /// The format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Ask each cluster for the daemon's lease, through this kubeconfig
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<std::path::PathBuf>,
    #[command(flatten)]
    repository: RepositoryFlags,
}

pub async fn run(
    args: &Args,
    environment: &Environment,
    clock: &Clock,
    ink: Ink,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let settings = RepositorySettings::read(&args.repository, environment)?;
    let local = Path::new(settings.git.record_url.as_deref().unwrap_or(&settings.git.url)).is_dir();
    let mut shown = status_page(args, &settings, environment, clock).await?;
    super::write(&shown, args.output, ink, out)?;
    let screen = args.watch && std::io::stdout().is_terminal();
    let rest = if local { LOOK_AGAIN } else { LOOK_AGAIN_REMOTE };
    if !args.watch {
        return Ok(shown.exit().code());
    }
    loop {
        out.flush()?;
        clock.sleep(rest).await;
        let now = match status_page(args, &settings, environment, clock).await {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!("{error:#}");
                continue;
            }
        };
        if !shown.same_news(&now) {
            out.write_all(if screen { CLEAR } else { "\n" }.as_bytes())?;
            super::write(&now, args.output, ink, out)?;
            shown = now;
        }
    }
}

async fn status_page(
    args: &Args,
    settings: &RepositorySettings,
    environment: &Environment,
    clock: &Clock,
) -> anyhow::Result<StatusPage> {
    let (mut records, mut wanted) = read(args, settings)?;
    if let Some(cluster) = &args.cluster {
        let wants = |wanted: &BTreeMap<String, DesiredState>| wanted.contains_key(cluster);
        if !records.contains_key(cluster) && !wanted.as_ref().is_ok_and(wants) {
            bail!(unknown("the record", cluster, records.keys().map(String::as_str)));
        }
        records.retain(|name, _| name == cluster);
        if let Ok(wanted) = &mut wanted {
            wanted.retain(|name, _| name == cluster);
        }
    }
    let (mut acting, mut kept) = (BTreeMap::new(), BTreeMap::new());
    if args.kubeconfig.is_some() {
        let names = records.keys().chain(wanted.iter().flat_map(BTreeMap::keys));
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let (daemon, nodes) = seen_there(args, name, environment, clock).await;
            acting.insert(name.clone(), daemon);
            kept.extend(nodes.map(|nodes| (name.clone(), nodes)));
        }
    }
    Ok(StatusPage::of(&records, &BesideRecords { wanted, acting, kept }, clock.now()).in_full(args.long))
}

type RecordsAndWanted = (BTreeMap<String, Record>, Result<BTreeMap<String, DesiredState>, String>);

/// The records, and the desired states if they can be read: the repository may hold the record alone.
fn read(args: &Args, settings: &RepositorySettings) -> anyhow::Result<RecordsAndWanted> {
    let flags = &args.repository;
    let named = flags.branch.is_some() || flags.path.is_some();
    let wanted = match wanted(settings) {
        Ok(wanted) if wanted.is_empty() && named => {
            bail!("there is no cluster below desired-state/; check --branch and --path")
        }
        Ok(wanted) if wanted.is_empty() => Err("it has no cluster below desired-state/".to_owned()),
        Ok(wanted) => Ok(wanted),
        Err(error) if named => return Err(error),
        Err(error) => Err(format!("{error:#}")),
    };
    let branch = RecordBranch::open(settings.clone())?.named(flags.record_branch.as_deref())?;
    Ok((branch.of(None)?, wanted))
}

fn wanted(settings: &RepositorySettings) -> anyhow::Result<BTreeMap<String, DesiredState>> {
    let mut source = Source::open(settings.clone())?;
    let records = source.all_records()?;
    source.wanted(&records)
}

/// What the lease of a cluster says, and the nodes that people keep if they can be listed.
async fn seen_there(
    args: &Args,
    name: &str,
    environment: &Environment,
    clock: &Clock,
) -> (Acting, Option<Vec<KeptNode>>) {
    let kube = Kube { kubeconfig: args.kubeconfig.clone(), context: None };
    let looked = async {
        let cluster = kube.connect(name, args.repository.config.as_deref(), environment).await?;
        let lock = cluster.ask(&Probe::Lock, clock).await;
        let nodes = observe::with_nodes(&cluster, clock).await;
        Ok::<_, anyhow::Error>((lock, nodes.map(|live| KeptNode::all_of(&live))))
    };
    let unknown = |why| (Acting::Unknown { why }, None);
    match looked.await.with_context(|| format!("asking {name}")) {
        Ok((ProbeAnswer::Lock(lock), nodes)) => (Acting::of(lock.as_ref(), clock.now()), nodes),
        Ok((ProbeAnswer::Nothing(why), _)) => unknown(why),
        Ok(_) => unknown("the answer is not about the lease".to_owned()),
        Err(error) => unknown(format!("{error:#}")),
    }
}
