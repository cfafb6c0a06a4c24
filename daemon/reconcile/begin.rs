//! No run is in progress: is there something to do, and may a run begin?

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::explain::{Answers, MOST_EXPLAINED};
use crate::gate::{self, Books, Moment, Question, World};
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::desired::Desired;
use crate::model::entry::{RunEvent, What};
use crate::model::live::Probe;
use crate::model::plan::{Plan, Stage};
use crate::model::time::later;
use crate::model::version::Version;
use crate::model::work::{MoveKind, Step};
use crate::record::text::{count, list};
use crate::verify::bound::{PROOF, lower_bound};
use crate::work::{LOOK_AGAIN, Turn};

/// How long after a run addons are not moved once more for the same commit.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// How old what the rollback point keeps of addons may be.
const EVIDENCE: SignedDuration = SignedDuration::from_mins(1);

/// How many nodes the cause of a run names.
const MOST_CAUSES: usize = 3;

/// How often the API endpoint is asked for its version while no run is in progress: an external provider may upgrade
/// it.
const LOOK: SignedDuration = SignedDuration::from_mins(1);

/// The answers about a run that could begin, and the plan that it freezes if it begins now.
pub(super) fn begin(
    world: &World<'_>,
    books: &Books<'_>,
    desired: &Desired,
    fresh: Option<&Plan>,
) -> (Turn, Option<Plan>) {
    let mut turn = Turn { probes: vec![(Probe::Api, LOOK)], ..Turn::default() };
    let Some(fresh) = fresh else { return (turn, None) };
    let Some(stage) = fresh.stages.iter().find(|stage| !stage.steps.is_empty()) else {
        tell(&mut turn, world, gate::blockers(fresh));
        return (turn, None);
    };
    if let Some(answer) = moved_a_while_ago(world, desired, fresh) {
        tell(&mut turn, world, vec![answer]);
        return (turn, None);
    }
    let question = Question {
        plan: Some(fresh),
        stage: Some(stage),
        ..Question::general(Moment::StartRun, world, books)
    };
    let (answers, may) = any_step_may(&question, stage);
    tell(&mut turn, world, answers);
    match may {
        May::Not => return (turn, None),
        // The lease keeps what was heard until now.
        May::OnceAgreed => {
            turn.wants_lease = true;
            return (turn, None);
        }
        May::Begin => (turn.wants_lease, turn.moves) = (true, true),
    }
    if world.tenure.held.is_none() {
        return (turn, None);
    }
    let since = world.now.saturating_sub(EVIDENCE).unwrap_or(world.now);
    let missing = world.live.map(|live| live.evidence_missing(fresh, since)).unwrap_or_default();
    if !missing.is_empty() {
        turn.probes.extend(missing.into_iter().map(|probe| (probe, LOOK_AGAIN)));
        return (turn, None);
    }
    let id = world.record.next_run(&desired.commit);
    turn.entries.push(What::Run(RunEvent::Started {
        commit: desired.commit.clone(),
        from: oldest(fresh),
        to: fresh.to.clone(),
        digest: fresh.digest.clone(),
        why: cause(world, desired, fresh),
        nodes: count(fresh.steps().filter_map(Step::node).collect::<BTreeSet<_>>().len()),
    }));
    turn.entries.push(What::Run(RunEvent::RollbackPoint { id }));
    let lower_bound = world.live.and_then(|live| lower_bound(fresh, live, PROOF));
    (turn, Some(Plan { lower_bound, ..fresh.clone() }))
}

/// Addons that were moved for this very commit, and are not as it asks: somebody else sets them back. Two programs that correct each
/// other would replace all pods every few minutes.
fn moved_a_while_ago(world: &World<'_>, desired: &Desired, fresh: &Plan) -> Option<Answer> {
    let mut steps = fresh.steps();
    if !steps.all(|step| step.work.addon().is_some()) {
        return None;
    }
    let of_commit = world.record.ended.iter().rev().find(|run| run.commit == desired.commit)?;
    let until = later(of_commit.ended, AGAIN);
    let mut named: Vec<String> =
        fresh.steps().filter_map(|step| step.work.addon()).map(|mv| mv.name.clone()).collect();
    let mut seen = BTreeSet::new();
    named.retain(|name| seen.insert(name.clone()));
    let text = format!(
        "run {} of this commit ended a while ago, and the addon is not as it asks: somebody sets it back, or its controller does",
        of_commit.run
    );
    let reason = Reason::new(Key::AddonManager, format!("addon/{}", list(&named, MOST_CAUSES)), text);
    (until > world.now).then(|| Answer::wait(Gate::Plan, reason).until(Some(until)))
}

fn tell(turn: &mut Turn, world: &World<'_>, answers: Vec<Answer>) {
    for answer in &answers {
        if let Some(live) = world.live {
            turn.passes_soon(answer, live, world.now);
        }
    }
    turn.answers.extend(answers);
}

/// Whether a run may begin.
enum May {
    Begin,
    /// Once the API endpoint has answered with one version for long enough.
    OnceAgreed,
    Not,
}

/// Whether a run may begin: if the gates allow any step of the first stage, because a run of held nodes alone would
/// do nothing. The control plane of a hop is one unit and needs all of its steps.
fn any_step_may<'a>(question: &Question<'a>, stage: &'a Stage) -> (Vec<Answer>, May) {
    let unit = stage.kind.is_control_plane();
    let (mut any, mut all, mut once_agreed, mut explained) = (false, true, false, 0);
    let mut answers = Answers::default();
    // Kinds of move that a gate denies for every node.
    let mut denied: BTreeSet<MoveKind> = BTreeSet::new();
    for step in &stage.steps {
        if explained >= MOST_EXPLAINED && denied.contains(&step.move_kind()) {
            continue;
        }
        let decision = gate::ask(&Question { step: Some(step), ..*question });
        let may = decision.allows();
        (any, all) = (any | may, all && may);
        once_agreed |= decision.waits_only_for(Key::NotAgreed);
        if decision.objections().any(|answer| !answer.gate.is_about_nodes()) {
            denied.insert(step.move_kind());
        }
        if may || explained < MOST_EXPLAINED {
            explained += usize::from(!may);
            answers.add(decision.answers);
        }
        // The run explains its other workers once it exists.
        if may && !unit {
            break;
        }
    }
    let mut answers = answers.into_list();
    if any && !unit {
        // The run begins: reasons about single nodes are reported now, reasons about a kind of move by the run.
        answers.retain(|answer| answer.verdict == Verdict::Allow || answer.gate.is_about_nodes());
    }
    let may = match if unit { all } else { any } {
        true => May::Begin,
        false if once_agreed => May::OnceAgreed,
        false => May::Not,
    };
    (answers, may)
}

/// Why a run begins that the commit in force has had before: the nodes that do not run its version. The first run of
/// a commit begins because of the commit.
fn cause(world: &World<'_>, desired: &Desired, fresh: &Plan) -> Option<String> {
    world.record.runs_of_commit.get(&desired.commit.0)?;
    let mut nodes: Vec<String> = Vec::new();
    let mut addons: BTreeSet<&str> = BTreeSet::new();
    for step in fresh.steps() {
        let node = step.node().map(|node| format!("{node} runs {}", step.from()));
        // Of an addon that goes through several versions, the first step starts from what it runs.
        let addon = step.work.addon().filter(|mv| addons.insert(&mv.name));
        let addon = addon.map(|mv| format!("the addon {} runs {}", mv.name, mv.from));
        nodes.extend(node.or(addon).filter(|told| !nodes.contains(told)));
    }
    Some(format!("because {}", list(&nodes, MOST_CAUSES)))
}

/// The oldest version that the plan moves. If only workers move, that is theirs and not that of the API servers.
fn oldest(fresh: &Plan) -> Version {
    let nodes = fresh.steps().filter(|step| step.work.addon().is_none());
    let from = nodes.map(Step::from).chain([&fresh.from]);
    Version::oldest(from).unwrap_or(&fresh.from).clone()
}
