//! `windlass history`: the runs in the record, or one of them entry by entry.

use std::collections::BTreeMap;
use std::io::Write;

use super::Output;
use super::records::RecordBranch;
use super::source::Source;
use crate::config::{Environment, RepositoryFlags, RepositorySettings};
use crate::record;
use crate::view::history::{RunsPage, StoryPage};
use crate::view::ink::Ink;

/// Show the runs of each cluster, or with --run everything that one of them did
///
/// Exit codes: 0 shown, 3 there is no record yet.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass history prod-eu
  windlass history prod-eu --run 4f2a91c03b77-1")]
pub struct Args {
    /// The cluster to show [default: all of them]
    #[arg(value_name = "CLUSTER")]
    pub cluster: Option<String>,
    /// Show one run, entry by entry
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// The format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    #[command(flatten)]
    repository: RepositoryFlags,
}

pub fn run(args: &Args, environment: &Environment, ink: Ink, out: &mut dyn Write) -> anyhow::Result<u8> {
    let settings = RepositorySettings::read(&args.repository, environment)?;
    if args.repository.branch.is_some() {
        // The record needs no desired branch, but one that is named and does not exist is a mistake.
        Source::open(settings.clone())?;
    }
    let records = RecordBranch::open(settings)?;
    let records = records.named(args.repository.record_branch.as_deref())?;
    let cluster = args.cluster.as_deref();
    match &args.run {
        None => {
            let page = if cluster.is_none() && records.files()?.is_empty() {
                RunsPage::nowhere(&records.place())
            } else {
                RunsPage::of(&records.of(cluster)?)
            };
            super::write(&page, args.output, ink, out)?;
            return Ok(page.exit().code());
        }
        Some(run) => {
            let files = records.files()?;
            let mut journals = BTreeMap::new();
            for name in records.of(cluster)?.into_keys() {
                let folder = format!("{name}/");
                let own = files.iter().filter(|(path, _)| path.starts_with(&folder));
                let own = own.map(|(path, text)| (path.clone(), text.clone())).collect();
                journals.insert(name.clone(), record::journal(&name, &own)?);
            }
            super::write(&StoryPage::of(&journals, run)?, args.output, ink, out)?;
        }
    }
    Ok(0)
}
