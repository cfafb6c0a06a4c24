//! Parses arguments, sets up logging, and is the one place that prints an error chain.

mod log;

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use windlass::cli::{self, Cli};
use windlass::config::{Environment, LogFormat};
use windlass::view::ink::Ink;

/// The daemon is largest while it lists everything. The system's allocator keeps that for good, once for each thread; this one
/// gives it back (`.cargo/config.toml` has how).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is logged unless `RUST_LOG` says otherwise.
const USUAL_LOG: &str = "info,kube=off,kube_client=off,kube_runtime=off,notify=warn";

/// Any error, also a usage error. It is not 2, because `windlass plan` exits with 2 when there is something to do.
const FAILED: u8 = 1;
/// Threads that run tasks, on however large a machine. The daemon waits most of the time, and each thread has a heap of its
/// own. It is not one, so that a long pass of one cluster does not keep another from hearing of a stop.
const WORKERS: usize = 2;
/// The reader closed the pipe: what a shell reports for a program that SIGPIPE ended.
const CLOSED_PIPE: u8 = 141;

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
    let usual = if demo { "error,kube=off,kube_client=off" } else { USUAL_LOG };
    let format = match &cli.command {
        cli::Command::Daemon(args) => LogFormat::of(&args.flags),
        _ => LogFormat::Text,
    };
    let colours = std::io::stderr().is_terminal() && !environment.plain;
    log::begin(environment.log.as_deref().unwrap_or(usual), format, colours);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("starting the runtime")),
    };
    let mut out = std::io::stdout();
    let ink = Ink::of(out.is_terminal(), environment.plain);
    let done = runtime.block_on(cli::run(&cli, &environment, ink, &mut out));
    // A git call that hangs must not keep the process from exiting.
    runtime.shutdown_background();
    match done.and_then(|code| Ok(out.flush().map(|()| code)?)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error),
    }
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
    [io, json].contains(&Some(ErrorKind::BrokenPipe))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // The reader of the pipe has closed it on purpose. The code is not 0, because the answer may not have been "all is
    // well", and not 1, because nothing failed.
    if error.chain().any(is_broken_pipe) {
        return ExitCode::from(CLOSED_PIPE);
    }
    let _ = writeln!(std::io::stderr(), "windlass: {error:#}");
    ExitCode::from(FAILED)
}
