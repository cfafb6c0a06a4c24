//! The order of the parts of one pass.

use jiff::{SignedDuration, Timestamp};

use super::merge::{Merge, Merged};
use super::{Input, Tick, ahead, begin, choose, drift, intents, lease, publish, settle, taint, waits};
use crate::gate::{self, Books, Moment, Question, Sources, World};
use crate::model::addon::AddonSteps;
use crate::model::decision::Gate;
use crate::model::desired::Mode;
use crate::model::live::{JobState, Live, Probe};
use crate::model::plan::{Plan, Step};
use crate::model::state::Tenure;
use crate::model::work::Scope;
use crate::record::Run;
use crate::work::{self, Hand, LOOK_AGAIN, Turn};

/// How often a run in progress checks that this still is the same cluster.
const IDENTITY: SignedDuration = SignedDuration::from_mins(1);
/// How often it is asked whether our user may change an image that is to be changed.
const RIGHTS: SignedDuration = SignedDuration::from_mins(10);
/// How often the workloads of addons are read; during the step of an addon more often.
const ADDONS: SignedDuration = SignedDuration::from_mins(1);
/// How often the endpoint of a control plane that nothing else shows is asked until its answers agree.
const AGREEING: SignedDuration = SignedDuration::from_secs(10);

/// One pure pass: settles what changed, takes steps in progress further, chooses steps that begin, and returns what
/// to write, do and probe.
pub fn tick(input: Input<'_>) -> Tick {
    let acts = acts(&input);
    let mut merge = Merge::new(input, acts);
    merge.turn(look(&input));
    if !input.live.complete || input.live.api.last_seen.is_none() || input.live.cluster_uid.is_none() {
        merge.turn(blind(&input));
        let tenure = lease::tenure(input.live, input.record, input.me, input.now);
        let mut merged = merge.merged(false);
        let lease_is_known = input.live.probed.contains_key(&Probe::Lock);
        if !lease::others_write(&input, acts, &tenure, &mut merged) && lease_is_known {
            waits::record_unseen(&input, &mut merged.tick);
        }
        return merged.tick;
    }
    let tenure = lease::tenure(input.live, input.record, input.me, input.now);
    merge.turn(settle::settle(&input));
    // Entries of settling are folded into the record first; the next pass follows at once.
    if !merge.has_entries() {
        pass(&input, acts, &tenure, &mut merge);
    }
    let mut merged = merge.merged(tenure.held.is_some());
    if lease::others_write(&input, acts, &tenure, &mut merged) {
        merged.tick.entries.clear();
        merged.tick.frozen = None;
    }
    finish(&input, merged)
}

/// The probes that every pass needs.
fn look(input: &Input<'_>) -> Turn {
    let (live, known) = (input.live, input.record.cluster_uid.as_ref());
    let mut turn = Turn::default();
    if live.cluster_uid.is_none() || known.is_some_and(|uid| live.cluster_uid.as_ref() != Some(uid)) {
        turn.probes.push((Probe::ClusterUid, LOOK_AGAIN));
    }
    // A first answer may be lost, and in the middle of a run nothing else may ask again.
    let unknown = live.api.version.is_none() && live.api_servers().values().any(Option::is_none);
    if live.api.last_seen.is_none() || unknown {
        turn.probes.push((Probe::Api, LOOK_AGAIN));
    }
    let planned = input.record.run.is_some() || input.fresh.is_some_and(|plan| !plan.is_empty());
    if planned && live.complete && !live.api.agreed && live.is_known_by_endpoint() {
        turn.probes.push((Probe::Api, AGREEING));
        turn.moves = true;
    }
    // Whether it may be read shows before the run that has to.
    let checks = input.fresh.into_iter().flat_map(Plan::checks);
    turn.probes.extend(checks.map(|of| (Probe::Workload(of.workload.clone()), ADDONS)));
    let desired = input.state.desired.as_deref().filter(|_| live.complete);
    let clusters = desired.into_iter().map(|desired| &desired.cluster);
    for (cluster, addon) in
        clusters.flat_map(|cluster| cluster.addons.iter().map(move |addon| (cluster, addon)))
    {
        // Its step asks about what it goes back to.
        if goes_back(input, &addon.name) && addon.source.manifests().is_some() {
            continue;
        }
        let before = input.record.addon_objects.get(&addon.name);
        let steps = addon_steps(input.record.run.as_ref(), input.fresh, &addon.name);
        let probe = addon.probe(live, before, (&cluster.version, &steps));
        // The plan has come to need another rendering since.
        let every = if probe.is_outgrown(live) { LOOK_AGAIN } else { ADDONS };
        turn.probes.push((probe, every));
        turn.probes.extend(addon.right_probe(live).map(|probe| (probe, RIGHTS)));
    }
    turn
}

/// True if the step of an addon takes it back to what it was.
fn goes_back(input: &Input<'_>, addon: &str) -> bool {
    let run = input.record.run.as_ref();
    run.into_iter()
        .flat_map(Run::in_progress)
        .any(|(id, progress)| progress.goes_back.is_some() && id.scope == Scope::Addon(addon.to_owned()))
}

/// The steps of an addon in the run in progress, or without a run in the present plan. They decide what is asked about the addon.
pub fn addon_steps<'a>(run: Option<&'a Run>, fresh: Option<&'a Plan>, addon: &str) -> AddonSteps<'a> {
    let of_addon = |step: &&'a Step| step.work.addon().is_some_and(|mv| mv.name == addon);
    let Some(run) = run else {
        let steps = fresh.into_iter().flat_map(Plan::steps).filter(of_addon);
        return AddonSteps::Planned(steps.filter_map(|step| step.work.addon()).collect());
    };
    let begun = run.plan.steps().filter(of_addon).filter(|step| run.steps.contains_key(&step.id)).last();
    let step = begun.or_else(|| run.plan.steps().find(of_addon));
    step.and_then(|step| step.work.addon()).map_or_else(|| AddonSteps::Planned(Vec::new()), AddonSteps::Begun)
}

/// Concludes nothing from an incomplete picture; reports what git and the record say, and which kinds cannot be listed.
fn blind(input: &Input<'_>) -> Turn {
    let answers = gate::not_current(input.live, input.now);
    let Input { me, state, record, others, census, trouble, now, wall, .. } = *input;
    let tenure = Tenure::default();
    let world = World::new(Sources {
        me,
        state,
        live: None,
        record,
        others,
        census,
        tenure: &tenure,
        trouble,
        now,
        wall,
    });
    let books = Books::default();
    let said = gate::ask(&Question::general(Moment::GoOn, &world, &books)).answers;
    // Another process may act, and then it writes the record.
    let probes = if answers.is_empty() { Vec::new() } else { vec![(Probe::Lock, LOOK_AGAIN)] };
    Turn { answers: said.into_iter().chain(answers).collect(), probes, ..Turn::default() }
}

/// True if the pass may write to the cluster. In `observe` it may while a step is in progress or a node has a claim
/// of ours, so that no node stays cordoned; no further node is taken out.
fn acts(input: &Input<'_>) -> bool {
    match input.state.desired.as_ref().map(|desired| desired.cluster.mode) {
        Some(Mode::Act) => true,
        Some(Mode::Observe) => {
            let in_progress = input.record.run.as_ref().is_some_and(|run| run.in_progress().next().is_some());
            let claimed = || input.live.claimed.iter().filter_map(|name| input.live.nodes.get(name));
            let tainting = input.record.run.as_ref().is_some_and(|run| !run.tainting.is_empty());
            let rolling = work::bears_our_note(input.record, input.live);
            let claims = || claimed().any(|node| work::bears_our_claim(input.record, node));
            in_progress || tainting || rolling || claims()
        }
        None => false,
    }
}

fn pass(input: &Input<'_>, acts: bool, tenure: &Tenure, merge: &mut Merge<'_>) {
    let Input { me, state, live, record, fresh, census, others, trouble, now, wall } = *input;
    let world = World::new(Sources {
        me,
        state,
        live: Some(live),
        record,
        others,
        census,
        tenure,
        trouble,
        now,
        wall,
    });
    let books = Books::of(census, record.run.as_ref());
    let general = Question { plan: fresh, ..Question::general(Moment::GoOn, &world, &books) };
    let may = gate::ask(&general);
    let another = may.objects(Gate::Identity);
    // What runs on a host is not known then, so no node is returned and no Job is deleted.
    let blind = may.objects(Gate::Watch);
    // Watches come back by themselves, so a process that ends when nothing moves does not end here.
    let moves = may.objects(Gate::Watch);
    merge.turn(Turn { answers: may.answers, moves, wake_at: live.current_until(), ..Turn::default() });
    if another {
        return;
    }
    if let Some(run) = &record.run {
        merge.turn(intents::begun_unrecorded(live, run));
        // A step that the record misses is folded into it first, and the next pass follows at once.
        if merge.has_entries() {
            return;
        }
    }
    if let Some(desired) = world.desired() {
        if let Some(run) = &record.run {
            advance(&world, &books, live, run, comparable_from(input), merge);
        }
        if acts && !blind {
            merge.turn(taint::taint(&world, &books, live));
            let turn = ahead::ahead(&world, &books, live, merge.ledger());
            merge.turn(turn);
        }
        if let Some(run) = &record.run {
            merge.turn(choose::choose(&world, books, desired, run));
        } else {
            let (turn, frozen) = begin::begin(&world, &books, desired, fresh);
            merge.turn(turn);
            if let Some(plan) = frozen {
                merge.freeze(plan);
            }
        }
        if acts && !blind {
            merge.turn(work::return_orphans(desired, live, record, tenure));
            merge.turn(work::end_rollouts(desired, live, record, tenure));
            merge.turn(work::sweep(live, record, tenure));
        }
        if acts {
            merge.turn(publish::publish(input));
        }
    }
    merge.wake(world.calendar_changes());
    let wanted = acts && merge.wants_lease() && live.stop.is_none();
    merge.turn(lease::keep(input, tenure, wanted));
}

/// From when on times that are noted compare with `now`: always, or since this process looks, if its clock for lengths of
/// time is not that of the API server. Processes before it may have noted by another clock then.
fn comparable_from(input: &Input<'_>) -> Timestamp {
    let Some(ahead) = input.live.api.clock_ahead else { return Timestamp::MIN };
    let off = input.now.duration_since(input.wall) + ahead;
    if gate::clock_is_off(off) { input.live.begun.unwrap_or(input.now) } else { Timestamp::MIN }
}

/// Takes every step in progress as far as it goes now. Of the control plane only the first step in progress is taken
/// further.
fn advance(
    world: &World<'_>,
    books: &Books<'_>,
    live: &Live,
    run: &Run,
    comparable_from: Timestamp,
    merge: &mut Merge<'_>,
) {
    // The API endpoint's address may come to lead to another cluster, and clocks may come to differ.
    let probes = vec![(Probe::ClusterUid, IDENTITY), (Probe::Api, IDENTITY)];
    merge.turn(Turn { probes, ..Turn::default() });
    let mut control_plane_moved = false;
    for (stage, step) in run.steps_by_turn() {
        let Some(progress) = run.steps.get(&step.id) else { continue };
        let serial = stage.kind.is_control_plane();
        if serial && control_plane_moved {
            continue;
        }
        control_plane_moved |= serial;
        let turn = {
            let record = world.record;
            let (tenure, ledger, now) = (world.tenure, merge.ledger(), world.now);
            let hand =
                Hand { live, record, run, stage, step, progress, tenure, ledger, now, comparable_from };
            let plan = Some(&run.plan);
            let (stage, step) = (Some(stage), Some(step));
            let standing = work::standing(&hand);
            let may = gate::ask(&Question { moment: standing.moment(), world, plan, stage, step, books });
            work::advance(&hand, standing, &may)
        };
        merge.state(&step.id, turn.state);
        merge.turn(turn);
    }
}

fn finish(input: &Input<'_>, merged: Merged) -> Tick {
    let Merged { mut tick, moves } = merged;
    // While stopped, only an upgrade that already runs on a host goes on.
    let by_itself = moves && (input.live.stop.is_none() || on_a_host(input));
    // A process with `--until-idle` must not end before the reason for its wait is recorded.
    let unsaid = !tick.stands_by && waits::record(input, &mut tick, by_itself);
    if !tick.stands_by {
        drift::record_drift(input, &mut tick);
    }
    let moving = by_itself || unsaid || !tick.entries.is_empty() || !tick.effects.is_empty();
    tick.status.state = waits::state(input, &tick, moving);
    tick
}

/// True if an upgrade runs on a host; it cannot be stopped from here.
fn on_a_host(input: &Input<'_>) -> bool {
    let Some(run) = &input.record.run else { return false };
    run.in_progress().any(|(id, _)| {
        let mut jobs = id.node_name().into_iter().flat_map(|node| input.live.jobs.on(node));
        jobs.any(|(_, job)| {
            job.run == run.id && matches!(job.state, JobState::Waiting(_) | JobState::Running)
        })
    })
}
