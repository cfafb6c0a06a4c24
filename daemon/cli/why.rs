//! `windlass why`: every gate with its answer, the reason, since when, and when it could next pass. With a kubeconfig
//! it looks at the cluster and makes one pass without carrying anything out; without one it answers from git and the
//! record, and says so.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::observe::{self, Kube};
use super::source::{self, Source};
use super::status::Output;
use super::why_page::{Page, Row};
use crate::clock::Clock;
use crate::config::{Environment, Place, RepositoryFlags};
use crate::gate::{Calendar, MoveKind};
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::desired::{Desired, Mode};
use crate::model::entry::Entry;
use crate::model::live::Live;
use crate::reconcile::{self, Input, Me, Standing, Wanted, tick};
use crate::record::{self, Phase, Record};

/// Passes until nothing more would be written down; as many as the daemon allows itself.
const MOST_ROUNDS: usize = 16;
/// A holder of nothing: no process is called so.
const NOBODY: &str = "windlass-why";

/// Say what a cluster waits for: every gate, its answer, since when, and when it could next pass
///
/// With a kubeconfig the cluster is looked at as well; nothing is written anywhere. Exit codes: 0 as desired, 3 waiting
/// or on its way, 4 halted or refused: a person is needed.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  windlass why prod-eu --kubeconfig fleet.kubeconfig
  windlass why prod-eu --repo https://git.example.com/fleet.git -o json")]
pub struct Args {
    /// The cluster; may be left out where the repository describes only one
    pub cluster: Option<String>,
    /// How to show it
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
    out: &mut (dyn Write + Send),
) -> anyhow::Result<u8> {
    let (name, wanted, record) = {
        let mut source = Source::open(Place::read(&args.repository, environment)?)?;
        let mut records = source.all_records()?;
        let mut wanted = source.wanted(&records)?;
        let name = name(args.cluster.as_deref(), &wanted)?;
        let record =
            records.remove(&name).transpose().with_context(|| format!("reading the record of {name}"))?;
        (name.clone(), wanted.remove(&name), record.unwrap_or_default())
    };
    let Some(wanted) = wanted else { bail!("the repository has no cluster {name}") };
    let (live, note) = looked(args, &name, environment, clock).await?;
    let now = clock.now();
    let mut page = match live {
        Some(live) => from_cluster(&name, &wanted, &record, &live, now),
        None => from_record(&name, &wanted, &record, now),
    };
    page.note = note;
    match args.output {
        Output::Text => write!(out, "{}", page.text())?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, &page).context("writing the answers")?;
            writeln!(out)?;
        }
    }
    Ok(page.exit_code())
}

fn name(asked: Option<&str>, wanted: &BTreeMap<String, Wanted>) -> anyhow::Result<String> {
    let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
    match (asked, names.as_slice()) {
        (Some(name), _) if wanted.contains_key(name) => Ok(name.to_owned()),
        (Some(name), _) => bail!(source::unknown("the repository", name, names.into_iter())),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => bail!("the repository describes no cluster below desired-state/; check --path"),
        (None, many) => bail!("the repository describes several clusters; name one of {}", many.join(", ")),
    }
}

/// The cluster, if there is a way to look at it. A kubeconfig that was named has to work; the usual one may not fit.
async fn looked(
    args: &Args,
    name: &str,
    environment: &Environment,
    clock: &Clock,
) -> anyhow::Result<(Option<Live>, Option<String>)> {
    let config = args.repository.config.as_deref();
    let named = args.kube.kubeconfig.is_some() || args.kube.context.is_some() || config.is_some();
    if !named && environment.kubeconfig.is_none() {
        return Ok((None, Some("no kubeconfig is named".to_owned())));
    }
    match observe::look(&args.kube, name, config, environment, clock).await {
        Ok(live) => Ok((Some(live), None)),
        Err(error) if named => Err(error),
        Err(error) => Ok((None, Some(format!("{error:#}")))),
    }
}

/// What the daemon's next pass would answer, had it just looked.
fn from_cluster(name: &str, wanted: &Wanted, record: &Record, live: &Live, now: Timestamp) -> Page {
    let me = Me { cluster: name.to_owned(), holder: NOBODY.to_owned(), predecessor: None, twin: None };
    let mut scratch = record.clone();
    let mut status = reconcile::Status::default();
    let mut frozen = None;
    for _ in 0..MOST_ROUNDS {
        let desired = wanted.desired.as_ref().filter(|_| scratch.run.is_none());
        let fresh = desired.map(|desired| crate::reconcile::fresh_plan(desired, live));
        let tick = tick(Input { me: &me, wanted, live, record: &scratch, fresh: fresh.as_ref(), now });
        status = tick.status;
        if tick.entries.is_empty() {
            break;
        }
        frozen = tick.frozen.or(frozen);
        for what in tick.entries {
            let run = scratch.run.as_ref().map(|run| run.id.clone());
            let entry = Entry { seq: scratch.next_seq, at: now, run, epoch: 0, what };
            scratch.apply(&entry, frozen.as_ref());
        }
    }
    let answers = of_every_gate(status.answers, name, wanted, record, now);
    let rows = answers.into_iter().map(|answer| row(lease(answer), record)).collect();
    Page::new(name, wanted, standing(status.standing), true, rows)
}

/// An answer of each gate. Where there was nothing to ask it about, the calendar answers for now, and the others let
/// pass.
fn of_every_gate(
    mut answers: Vec<Answer>,
    name: &str,
    wanted: &Wanted,
    record: &Record,
    now: Timestamp,
) -> Vec<Answer> {
    let silent: Vec<Gate> =
        Gate::ALL.into_iter().filter(|gate| answers.iter().all(|answer| answer.gate != *gate)).collect();
    if let Some(desired) = &wanted.desired {
        let calendar = of_calendar_now(name, desired, record, now);
        answers.extend(calendar.into_iter().filter(|answer| silent.contains(&answer.gate)));
    }
    for gate in silent {
        if answers.iter().all(|answer| answer.gate != gate) {
            let reason = Reason::new(Key::Passes, format!("cluster/{name}"), "nothing objects");
            answers.push(Answer { gate, verdict: Verdict::Allow, reason, next: None });
        }
    }
    answers
}

fn of_calendar_now(name: &str, desired: &Desired, record: &Record, now: Timestamp) -> Vec<Answer> {
    let calendar = Calendar::of(&desired.policies, &desired.cluster.labels, name);
    calendar.may_take_out(kind(desired, record), now).answers
}

/// Whoever holds the lease is most likely the daemon itself: to it, that is no objection.
fn lease(answer: Answer) -> Answer {
    if answer.gate == Gate::Lease { Answer { verdict: Verdict::Allow, next: None, ..answer } } else { answer }
}

/// What git and the record say by themselves.
fn from_record(name: &str, wanted: &Wanted, record: &Record, now: Timestamp) -> Page {
    let mut answers = standing_answers(name, wanted, record);
    if let Some(desired) = &wanted.desired {
        answers.extend(of_calendar_now(name, desired, record, now));
    }
    for waiting in &record.waiting {
        let told = |answer: &Answer| answer.gate == waiting.value.gate;
        if !answers.iter().any(told) || !of_calendar(waiting.value.gate) {
            answers.push(waiting.value.clone());
        }
    }
    let status = record::status(name, record);
    let taken_up =
        wanted.desired.as_ref().map(|desired| &desired.commit) == record.accepted.as_ref().map(|(id, _)| id);
    let word = match status.phase {
        _ if !wanted.problems.is_empty() => "refused",
        _ if !taken_up => "notTakenUp",
        Phase::AsDesired => "asDesired",
        Phase::Waiting | Phase::Stopped | Phase::Idle => "waiting",
        Phase::Running => "moving",
        Phase::Halted => "halted",
        Phase::Refused => "refused",
    };
    let rows = answers.into_iter().map(|answer| row(answer, record)).collect();
    Page::new(name, wanted, word, false, rows)
}

/// Gates whose answer of now is better than the one that was recorded.
fn of_calendar(gate: Gate) -> bool {
    matches!(gate, Gate::Window | Gate::Freeze | Gate::Mode | Gate::Desired | Gate::Stop | Gate::Halt)
}

fn standing_answers(name: &str, wanted: &Wanted, record: &Record) -> Vec<Answer> {
    let object = format!("cluster/{name}");
    let answer = |gate, objection: Option<(Key, String)>, passes: &str| match objection {
        Some((key, text)) => {
            Answer { gate, verdict: Verdict::Deny, reason: Reason::new(key, &*object, text), next: None }
        }
        None => Answer {
            gate,
            verdict: Verdict::Allow,
            reason: Reason::new(Key::Passes, &*object, passes),
            next: None,
        },
    };
    let problem = wanted.problems.first().map(|problem| {
        let first = problem.lines().next().unwrap_or_default();
        (Key::CommitRefused, format!("commit {} is not valid: {first}", wanted.newest.short()))
    });
    let observes = wanted.desired.as_ref().is_some_and(|desired| desired.cluster.mode == Mode::Observe);
    let observes = observes
        .then(|| (Key::ObserveOnly, "spec.mode is observe: nothing is written to the cluster".to_owned()));
    let stopped = record.stopped.as_ref().map(|stopped| {
        let by = record.stopped_by.as_deref().unwrap_or_default();
        (Key::Stopped, format!("stopped by {}", record::text::said(by, &stopped.value)))
    });
    let halted = record.halted.as_ref().map(|halted| {
        (
            Key::Halted,
            format!(
                "halted: {}; a new commit or `windlass resume` goes on",
                record::text::reasons(&halted.value)
            ),
        )
    });
    vec![
        answer(Gate::Desired, problem, "the newest commit is valid"),
        answer(Gate::Mode, observes, "spec.mode is act"),
        answer(Gate::Stop, stopped, "nobody has stopped it"),
        answer(Gate::Halt, halted, "nothing has failed"),
    ]
}

/// Which kind of move is due, as far as the record tells; the stricter one where it does not.
fn kind(desired: &Desired, record: &Record) -> MoveKind {
    let to = &desired.cluster.version;
    let from = match (&record.run, record.ended.last()) {
        (Some(run), _) => Some(&run.from),
        (None, Some(ended)) => Some(&ended.to),
        (None, None) => None,
    };
    match from {
        Some(from) if from.minor_name() == to.minor_name() => MoveKind::Patch,
        Some(_) | None => MoveKind::Minor,
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Looking => "looking",
        Standing::AsDesired => "asDesired",
        Standing::Moving => "moving",
        Standing::Waiting => "waiting",
        Standing::Halted => "halted",
        Standing::Refused => "refused",
    }
}

/// An answer with the time since which it has been given, as the record has it.
fn row(answer: Answer, record: &Record) -> Row {
    let same = |old: &&record::Since<Answer>| {
        old.value.reason.key == answer.reason.key && old.value.reason.object == answer.reason.object
    };
    let since = match answer.verdict {
        Verdict::Allow => None,
        Verdict::Wait | Verdict::Deny => {
            record.waiting.iter().find(same).map(|old| old.since).or_else(|| match answer.gate {
                Gate::Stop => record.stopped.as_ref().map(|stopped| stopped.since),
                Gate::Halt => record.halted.as_ref().map(|halted| halted.since),
                _ => None,
            })
        }
    };
    Row { answer, since }
}
