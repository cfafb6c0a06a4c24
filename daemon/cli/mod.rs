//! The command line: one file per subcommand, and here the dispatch.

pub mod daemon;
pub mod demo;
pub mod history;
pub mod notes;
pub mod observe;
pub mod plan;
mod records;
pub mod source;
pub mod status;
pub mod validate;
pub mod why;
pub mod windows;

use std::io::Write;

use crate::clock::Clock;
use crate::config::Environment;
use crate::view::Page;
use crate::view::ink::Ink;

/// The command line.
#[derive(Debug, clap::Parser)]
#[command(
    name = "windlass",
    version,
    about = "GitOps for Kubernetes upgrades: git says which versions, Windlass upgrades the clusters, git records it all",
    max_term_width = 100,
    after_help = "Exit codes: 0 done or as desired, 1 an error (of usage, too), 2 a plan has something to do,
3 not there yet (running, waiting, stopped), 4 a person is needed (halted, refused, or nobody else can lift it)."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Daemon(daemon::Args),
    Demo(demo::Args),
    Validate(validate::Args),
    Plan(plan::Args),
    Windows(windows::Args),
    Why(why::Args),
    Status(status::Args),
    History(history::Args),
    Stop(notes::StopArgs),
    Resume(notes::ResumeArgs),
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs; all times in UTC
    Json,
}

/// Carries out a command; returns the exit code.
pub async fn run(
    cli: &Cli,
    environment: &Environment,
    ink: Ink,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let clock = Clock::machine();
    match &cli.command {
        Command::Daemon(args) => daemon::run(args, environment).await,
        Command::Demo(args) => {
            let (_end, ending) = daemon::signals()?;
            demo::run(args, ink, out, ending).await
        }
        Command::Validate(args) => validate::run(args, environment, out),
        Command::Plan(args) => plan::run(args, environment, &clock, ink, out).await,
        Command::Windows(args) => windows::run(args, environment, clock.now(), ink, out),
        Command::Why(args) => why::run(args, environment, &clock, ink, out).await,
        Command::Status(args) => status::run(args, environment, &clock, ink, out).await,
        Command::History(args) => history::run(args, environment, ink, out),
        Command::Stop(args) => notes::stop(args, environment, out).await,
        Command::Resume(args) => notes::resume(args, environment, out).await,
    }
}

/// Writes a page in the requested format.
fn write(page: &impl Page, output: Output, ink: Ink, out: &mut dyn Write) -> anyhow::Result<()> {
    let text = match output {
        Output::Text => page.draw(ink),
        Output::Json => page.json()?,
    };
    Ok(out.write_all(text.as_bytes())?)
}
