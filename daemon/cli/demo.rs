//! `windlass demo`: one upgrade from commit to report, on a simulated cluster and a repository of its own, faster
//! than real time. It runs the daemon that `windlass daemon` runs; only the clock and the cluster are simulated.

mod ending;
mod folder;
mod narrate;
mod page;
mod repository;
mod show;
mod stage;
mod workloads;
mod world;

use std::io::Write;

use anyhow::bail;
use tokio::sync::watch;

use crate::model::version::Version;
use crate::view::ink::Ink;

use page::DemoPage;
use show::Show;
use stage::DemoStage;

/// Show an upgrade from commit to report, on a simulated cluster
///
/// Makes a repository and a simulated cluster of eleven nodes, commits another version, and shows what the daemon does.
/// Needs nothing but this program, and leaves nothing behind unless --keep is given.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass demo
  windlass demo --from v1.34.2 --to v1.36.3     # two hops
  windlass demo --keep --port 7443              # and look at it with kubectl and git")]
pub struct Args {
    /// How many times as fast as real time, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub speed: u32,
    /// Keep the cluster and the daemon running until Ctrl-C, to look at them with kubectl and git; the folder stays
    #[arg(long)]
    pub keep: bool,
    /// The port of the simulated API server on this machine [default: any free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    pub port: u16,
    /// The version that the cluster runs at first
    #[arg(long, value_name = "VERSION", default_value = "v1.35.4")]
    pub from: Version,
    /// The version to upgrade to
    #[arg(long, value_name = "VERSION", default_value = "v1.36.3")]
    pub to: Version,
}

/// Runs the demo, in colours if `ink` says so. The exit code is the daemon's: 0 when the cluster is as desired, 3
/// when it waits for something, 4 when it needs a person.
///
/// `ending` turns true once the process is asked to end. With `keep` the demo ends only then.
pub async fn run(
    args: &Args,
    ink: Ink,
    out: &mut (dyn Write + Send),
    ending: watch::Receiver<bool>,
) -> anyhow::Result<u8> {
    if !args.to.is_after(&args.from) {
        bail!("{} is not newer than {}: the demonstration shows an upgrade", args.to, args.from);
    }
    let stage = DemoStage::set(args).await?;
    Show::new(&stage, args, DemoPage::new(out, ink), ending).play().await
}
