//! What people type: one file per subcommand, and here who answers to what.

pub mod daemon;
pub mod demo;
pub mod history;
mod identity;
pub mod notes;
pub mod observe;
mod one;
pub mod pages;
pub mod plan;
mod records;
pub mod serve;
pub mod source;
pub mod status;
pub mod validate;
pub mod why;
mod why_page;
pub mod windows;

use std::io::{IsTerminal as _, Write};

use crate::clock::Clock;
use crate::config::Environment;

/// The command line.
#[derive(Debug, clap::Parser)]
#[command(
    name = "windlass",
    version,
    about = "GitOps for Kubernetes upgrades: git asks for versions, clusters follow, and git tells the story",
    max_term_width = 100,
    after_help = "Exit codes: 0 done or as desired, 1 an error (of usage, too), 2 a plan has something to do,
3 waiting or on its way, 4 halted or refused: a person is needed."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Daemon(daemon::Args),
    Demo(demo::Args),
    Validate(pages::ValidateArgs),
    Plan(pages::PlanArgs),
    Windows(pages::WindowsArgs),
    Why(why::Args),
    Status(pages::StatusArgs),
    History(pages::HistoryArgs),
    Stop(notes::StopArgs),
    Resume(notes::ResumeArgs),
}

/// Carries out what was typed; answers with the exit code.
pub async fn run(cli: &Cli, environment: &Environment, out: &mut (dyn Write + Send)) -> anyhow::Result<u8> {
    let clock = Clock::Wall;
    match &cli.command {
        Command::Daemon(args) => daemon::run(args, environment).await,
        Command::Demo(args) => {
            let (_end, ending) = daemon::signals()?;
            demo::run(args, std::io::stdout().is_terminal(), out, ending).await
        }
        Command::Validate(args) => pages::validate(args, environment, out),
        Command::Plan(args) => pages::plan(args, environment, &clock, out).await,
        Command::Windows(args) => pages::windows(args, environment, clock.now(), out),
        Command::Why(args) => why::run(args, environment, &clock, out).await,
        Command::Status(args) => pages::status(args, environment, &clock, out).await,
        Command::History(args) => pages::history(args, environment, out),
        Command::Stop(args) => notes::stop(args, environment, out).await,
        Command::Resume(args) => notes::resume(args, environment, out).await,
    }
}
