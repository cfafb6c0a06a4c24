//! Parses arguments, sets up logging, and is the one place that prints an error chain.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use windlass::cli::{self, Cli};
use windlass::clock::Clock;
use windlass::config::Environment;

/// Any error, also a usage error. It is not 2, because `windlass plan` exits with 2 when there is something to do.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // A reader that closes the pipe before the end of the help is no failure.
            let _ = told.print();
            return ExitCode::from(if told.use_stderr() { FAILED } else { 0 });
        }
    };
    let environment = Environment::read();
    // The demo writes its own page to the same terminal, so logs are off there. The Kubernetes client's messages
    // about single requests are off because the sender of a request logs them with the object. The message that a
    // watched folder of a repository is gone is off because it needs no action.
    let demo = matches!(cli.command, cli::Command::Demo(_));
    let usual = if demo { "error,kube_client=off" } else { "info,kube_client=off,notify=warn" };
    log(environment.log.as_deref().unwrap_or(usual));
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("starting the runtime")),
    };
    let mut out = std::io::stdout();
    let done = runtime.block_on(cli::run(&cli, &environment, &mut out));
    // A git call that hangs must not keep the process from exiting.
    runtime.shutdown_background();
    match done.and_then(|code| Ok(out.flush().map(|()| code)?)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error),
    }
}

/// Log lines for people go to stderr, one a line. Stdout belongs to the output of the command.
fn log(filter: &str) {
    let filter = EnvFilter::new(filter);
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .with_timer(LogTime)
        .compact()
        .init();
}

/// A log time to the second, `2026-11-24T22:03:07Z`, to compare with a window or a commit.
struct LogTime;

impl FormatTime for LogTime {
    fn format_time(&self, line: &mut Writer<'_>) -> std::fmt::Result {
        write!(line, "{}", Clock::Wall.now().strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let closed = error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
    });
    // The reader of the pipe has closed it on purpose.
    if closed {
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(std::io::stderr(), "windlass: {error:#}");
    ExitCode::from(FAILED)
}
