//! `windlass status`: where each cluster stands according to the record in the repository, once or whenever it
//! changes.

use std::io::{IsTerminal as _, Write};

use jiff::SignedDuration;

use super::Output;
use super::records::RecordBranch;
use crate::clock::Clock;
use crate::config::{Environment, RepositoryFlags, RepositorySettings};
use crate::view::status::StatusPage;

/// How often `--watch` reads: a local branch costs nothing, a git host counts requests.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(2);
const LOOK_AGAIN_REMOTE: SignedDuration = SignedDuration::from_secs(15);
/// Moves the cursor home and clears the terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show where each cluster stands, from the record in the repository
///
/// Of several clusters the worst decides the exit code: 0 as desired, 3 not there yet (running, waiting, stopped),
/// 4 a person is needed (halted, or the newest commit is refused).
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass status
  windlass status prod-eu --repo https://git.example.com/fleet.git --watch")]
pub struct Args {
    /// The cluster to show [default: all of them]
    #[arg(value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Keep running, and draw again whenever the record changes
    #[arg(long, conflicts_with = "output")]
    pub watch: bool,
    /// The format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(flatten)]
    repository: RepositoryFlags,
}

pub async fn run(
    args: &Args,
    environment: &Environment,
    clock: &Clock,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let mut records = RecordBranch::open(RepositorySettings::read(&args.repository, environment)?)?;
    let cluster = args.cluster.as_deref();
    let mut shown = StatusPage::of(&records.of(cluster)?);
    super::write(&shown, args.output, out)?;
    let screen = args.watch && std::io::stdout().is_terminal();
    let rest = if records.is_local() { LOOK_AGAIN } else { LOOK_AGAIN_REMOTE };
    if !args.watch {
        return Ok(shown.exit().code());
    }
    loop {
        out.flush()?;
        clock.sleep(rest).await;
        if let Err(error) = records.refresh() {
            tracing::warn!("{error:#}");
            continue;
        }
        let now = StatusPage::of(&records.of(cluster)?);
        if shown != now {
            out.write_all(if screen { CLEAR } else { "\n" }.as_bytes())?;
            super::write(&now, args.output, out)?;
            shown = now;
        }
    }
}
