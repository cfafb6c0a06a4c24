//! Any world, any record: what starts was asked, what is said of a step is about its own node, and the check has nothing
//! against the tick. A failure prints its case, which becomes one in `cases/pass`.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use windlass::gate::{Books, Moment, Question, Sources, World, ask};
use windlass::model::decision::{Answer, Decision, Gate, Reason, Verdict};
use windlass::model::effect::{Effect, NodePatch};
use windlass::model::entry::{RunEvent, StepEvent, StepPhase, What};
use windlass::model::state::Tenure;
use windlass::model::work::{Scope, Step, StepId};
use windlass::reconcile::{Tick, check, tenure, tick};
use windlass::verify::ledger::Ledger;
use windlass::work::{self, Hand};

use super::case::Case;
use super::scene::Scene;

/// One worker: its pool and zone, what is the matter with it, and how far its step came.
fn worker(number: usize, in_run: bool, hop: bool) -> impl Strategy<Value = (String, Option<String>)> + use<> {
    let pool = prop_oneof![3 => Just("pool=general"), 1 => Just("pool=batch"), 1 => Just("pool=patch")];
    let zone = prop_oneof![Just("zone=a"), Just("zone=b")];
    let matter = prop_oneof![
        12 => Just(""), 1 => Just("cordoned"), 1 => Just("held"), 1 => Just("notReady"), 1 => Just("leaving"),
        1 => Just("claimed:garbage"), 1 => Just("claimed:later"), 1 => Just("claimed:gone-run")
    ];
    (pool, zone, matter, state(number % 7, in_run && !hop)).prop_map(
        move |(pool, zone, matter, (words, step))| {
            // Before a hop no kubelet is newer than the API servers.
            let from = if pool == "pool=patch" && !hop { "v1.36.1" } else { "v1.35.4" };
            let version =
                if words.contains("arrived") { format!("v1.36.3 was:{from}") } else { from.to_owned() };
            let words = words.replace("arrived", "");
            (format!("{pool} {zone} {version} {words} {matter}"), step)
        },
    )
}

/// How far a step came, and the marks that its node bears then; mostly, for people and crashes do as they like.
fn state(age: usize, in_run: bool) -> BoxedStrategy<(String, Option<String>)> {
    let untouched = Just((String::new(), None));
    if !in_run {
        return untouched.boxed();
    }
    let step = move |marks: &'static str, phase: &'static str| {
        Just((marks.to_owned(), Some(format!("{phase} {}m", age + 1))))
    };
    prop_oneof![
        4 => untouched,
        2 => step("", "started"),
        1 => step("claimed", "started"),
        3 => step("claimed", "claimed"),
        1 => step("claimed:older", "claimed"),
        1 => step("claimed uncordoned", "claimed"),
        1 => step("claimed blocked:31m", "claimed"),
        1 => step("", "claimed"),
        1 => step("cordoned", "claimed"),
        1 => step("cordoned", "drained"),
        1 => step("cordoned job:running:2m", "upgrading"),
        1 => step("cordoned", "upgrading"),
        1 => step("cordoned arrived", "upgrading"),
        2 => step("claimed", "drained"),
        1 => step("claimed uncordoned", "drained"),
        2 => step("claimed", "upgrading"),
        1 => step("claimed job:running:2m", "upgrading"),
        1 => step("claimed job:waiting:6m", "upgrading"),
        1 => step("claimed job:failed:5m", "upgrading"),
        1 => step("claimed job:failed:5m:refused", "upgrading"),
        1 => step("claimed job:refused", "upgrading"),
        1 => step("claimed arrived reported:20s heartbeat:new", "upgrading"),
        1 => step("claimed arrived", "upgrading"),
        1 => step("claimed arrived reported:20s heartbeat:new", "upgraded"),
        1 => step("arrived", "upgraded"),
        1 => step("arrived", "returned"),
        2 => step("arrived", "done"),
        1 => step("claimed", "setAside drainTimedOut"),
        1 => step("", "setAside drainTimedOut"),
        1 => step("claimed job:waiting:6m", "setAside jobNotStarted"),
        1 => step("claimed job:failed:5m", "failed jobFailed"),
    ]
    .boxed()
}

/// A control plane of some nodes, and how far its hop came.
fn control_plane(
    in_run: bool,
) -> impl Strategy<Value = (BTreeMap<String, String>, BTreeMap<String, String>)> {
    let matter = prop_oneof![
        12 => Just(""), 1 => Just("held"), 1 => Just("notReady"), 1 => Just("leaving"), 1 => Just("cordoned"),
        1 => Just("claimed:garbage"), 1 => Just("claimed:later"), 1 => Just("etcdDown")
    ];
    let matters = prop::collection::vec(matter, 1..=3);
    // Nodes that are done, and how far the next one came.
    (matters, 0..=3_usize, 0..6_usize).prop_map(move |(matters, done, next)| {
        let (mut nodes, mut steps) = (BTreeMap::new(), BTreeMap::new());
        let hop = in_run && next > 0;
        for (index, matter) in matters.iter().enumerate() {
            let name = format!("cp{}", index + 1);
            let (words, step) = match index.cmp(&done) {
                _ if !hop => ("v1.35.4", "started 9m"),
                std::cmp::Ordering::Less => ("v1.36.3/v1.35.4 was:v1.35.4", "done 5m"),
                std::cmp::Ordering::Equal => [
                    ("v1.35.4", "started 9m"),
                    ("v1.35.4", "started 9m"),
                    ("v1.35.4 claimed", "claimed 2m"),
                    ("v1.35.4 claimed", "upgrading 2m"),
                    ("v1.36.3/v1.35.4 was:v1.35.4 claimed", "upgrading 2m"),
                    ("v1.36.3/v1.35.4 was:v1.35.4 claimed", "upgraded 1m"),
                ][next],
                std::cmp::Ordering::Greater => ("v1.35.4", "started 9m"),
            };
            nodes.insert(name.clone(), format!("control-plane {words} {matter}"));
            if hop {
                steps.insert(format!("{name}/kubelet"), "started 9m".to_owned());
                steps.insert(name, step.to_owned());
            }
        }
        (nodes, steps)
    })
}

fn pod(nodes: usize) -> impl Strategy<Value = String> {
    let owner = prop_oneof![
        3 => Just("deployment/cart app=cart"), 3 => Just("deployment/mail"), 2 => Just("statefulset/cache emptyDir"),
        1 => Just("daemonset/proxy"), 1 => Just("job/import"), 1 => Just(""), 1 => Just("other/training doNotDisrupt")
    ];
    let matter = prop_oneof![
        8 => Just(""), 1 => Just("going"), 1 => Just("stuck"), 1 => Just("late"), 1 => Just("unready"),
        1 => Just("pending"), 1 => Just("evicted"), 1 => Just("evicting"), 1 => Just("refused:budget"),
        1 => Just("refused:busy"), 1 => Just("done")
    ];
    (1..=nodes, owner, matter).prop_map(|(node, owner, matter)| format!("w{node} {owner} {matter}"))
}

fn any_case() -> impl Strategy<Value = String> {
    let in_run = prop::bool::weighted(0.8);
    let policies = (
        prop_oneof![
            8 => Just("{always: always}"), 1 => Just("{nights: 'open:20m'}"), 1 => Just("{nights: 'closed:3m'}"),
            1 => Just("{nights: 'closed:3m finishBatch'}"), 1 => Just("{nights: 'closed:3m runOn'}"),
            1 => Just("{nights: 'closed:2h hardLimit:1h'}"), 1 => Just("{}")
        ],
        prop_oneof![8 => Just("{}"), 1 => Just("{f: 'until:3d'}"), 1 => Just("{f: 'until:3d except:patch'}")],
        prop_oneof![12 => Just(""), 1 => Just("observe: true\n"), 1 => Just("newest: broken\n")],
    );
    let around = (
        prop_oneof![
            10 => Just("ours"), 1 => Just("ours:9s"), 1 => Just("'ours:21s'"), 1 => Just("theirs"), 1 => Just("silent"),
            1 => Just("free"), 1 => Just("left"), 1 => Just("unseen")
        ],
        prop_oneof![10 => Just("1h"), 1 => Just("4s"), 1 => Just("down")],
        prop_oneof![10 => Just(""), 1 => Just(", stop: 5m"), 1 => Just(", resume: 1m"), 1 => Just(", gitAway: true")],
        prop_oneof![
            8 => Just(""), 1 => Just("halted jobFailed node/w1 10m"), 1 => Just("stopped 5m"), 2 => Just("refused")
        ],
    );
    let limits = (
        1..=3_u32,
        prop_oneof![Just(""), Just(", zone: 1")],
        0..=2_u32,
        prop_oneof![Just(""), Just("  max: 2\n")],
    );
    (in_run, 1..=6_usize, any::<bool>(), policies, around, limits).prop_flat_map(
        |(in_run, count, hop, policies, around, limits)| {
            let workers: Vec<_> = (1..=count).map(|number| worker(number, in_run, hop).boxed()).collect();
            let control_plane = if hop {
                control_plane(in_run).boxed()
            } else {
                Just((
                    BTreeMap::from([("cp1".to_owned(), "control-plane v1.36.3".to_owned())]),
                    BTreeMap::new(),
                ))
                .boxed()
            };
            let budgets = prop::collection::vec(
                prop_oneof![Just("allows:0"), Just("allows:1"), Just("allows:2"), Just("never")],
                0..=2,
            );
            (workers, control_plane, prop::collection::vec(pod(count), 0..=8), budgets).prop_map(
                move |(workers, control_plane, pods, budgets)| {
                    written(in_run, policies, around, limits, &workers, control_plane, &pods, &budgets)
                },
            )
        },
    )
}

/// The case as a file would have it, so that a failure can be taken over as it is.
#[expect(clippy::too_many_arguments, reason = "each is a part of a case")]
fn written(
    in_run: bool,
    (windows, freezes, more): (&str, &str, &str),
    (lease, readyz, marks, record): (&str, &str, &str, &str),
    (max, zone, canary, of_cluster): (u32, &str, u32, &str),
    workers: &[(String, Option<String>)],
    (nodes, mut steps): (BTreeMap<String, String>, BTreeMap<String, String>),
    pods: &[String],
    budgets: &[&str],
) -> String {
    use std::fmt::Write as _;
    let mut text = format!("about: Generated.\ndesired:\n  version: v1.36.3\n{of_cluster}  pools:\n");
    for (pool, more) in
        [("general", ""), ("batch", ", drainForMinor: true"), ("patch", ", drainForMinor: true")]
    {
        writeln!(text, "    - {{name: {pool}, select: pool={pool}, max: {max}{zone}, canary: {canary}, soakMinutes: 3{more}}}").unwrap();
    }
    writeln!(text, "{more}windows: {windows}\nfreezes: {freezes}\nlive:\n  nodes:").unwrap();
    for (name, words) in &nodes {
        writeln!(text, "    {name}: {words}").unwrap();
    }
    for (index, (words, step)) in workers.iter().enumerate() {
        writeln!(text, "    w{}: {words}", index + 1).unwrap();
        steps.extend(step.clone().map(|step| (format!("w{}", index + 1), step)));
    }
    if !pods.is_empty() {
        text.push_str("  pods:\n");
    }
    for (index, words) in pods.iter().enumerate() {
        writeln!(text, "    shop/p{index}: {words}").unwrap();
    }
    if !budgets.is_empty() {
        text.push_str("  budgets:\n");
    }
    for (index, words) in budgets.iter().enumerate() {
        writeln!(text, "    shop/b{index}: app=cart {words}").unwrap();
    }
    writeln!(text, "around: {{lease: {lease}, readyz: {readyz}{marks}}}").unwrap();
    if in_run {
        writeln!(text, "run: {{steps: {steps:?}}}").unwrap();
    }
    // What is refused is the newest commit, and only a broken one is.
    if !record.is_empty() && (record != "refused" || more.contains("broken")) {
        writeln!(text, "record: [{record}]").unwrap();
    }
    text
}

/// What is asked of the gates about one scene.
struct Asker<'a> {
    scene: &'a Scene,
    tenure: Tenure,
}

impl Asker<'_> {
    fn world(&self) -> World<'_> {
        let Scene { me, state, live, record, census, others, trouble, now, .. } = self.scene;
        let (live, trouble, tenure) = (Some(live), trouble.as_ref(), &self.tenure);
        World::new(Sources {
            me,
            state,
            live,
            record,
            others,
            census,
            tenure,
            trouble,
            now: *now,
            wall: *now,
        })
    }

    /// The same question about a step as the pass puts, where it stands now.
    fn about(&self, id: &StepId, moment: Option<Moment>, books: &Books<'_>) -> (Moment, Decision) {
        let (world, run) = (self.world(), self.scene.record.run.as_ref().unwrap());
        let (stage, step) = run.find(id).unwrap();
        let moment = moment.unwrap_or_else(|| {
            work::standing(
                &self.hand(id, &Ledger::new(&self.scene.live, &sizes(&self.scene.record), BTreeSet::new())),
            )
            .moment()
        });
        let (plan, stage, step) = (Some(&run.plan), Some(stage), Some(step));
        (moment, ask(&Question { moment, world: &world, plan, stage, step, books }))
    }

    fn hand<'h>(&'h self, id: &StepId, ledger: &'h Ledger<'h>) -> Hand<'h> {
        let Scene { live, record, now, .. } = self.scene;
        let run = record.run.as_ref().unwrap();
        let (stage, step) = run.find(id).unwrap();
        let progress = &run.steps[id];
        Hand {
            live,
            record,
            run,
            stage,
            step,
            progress,
            tenure: &self.tenure,
            ledger,
            now: *now,
            comparable_from: jiff::Timestamp::MIN,
        }
    }

    fn books(&self) -> Books<'_> {
        Books::of(&self.scene.census, self.scene.record.run.as_ref())
    }
}

fn allows(what: &str, decision: &Decision) -> Result<(), TestCaseError> {
    let objections: Vec<&Answer> = decision.objections().collect();
    prop_assert!(objections.is_empty(), "{what} was not allowed: {objections:#?}");
    Ok(())
}

fn what_starts_was_asked(scene: &Scene, tick: &Tick) -> Result<(), TestCaseError> {
    let asker = Asker { scene, tenure: tenure(&scene.live, &scene.record, &scene.me, scene.now) };
    let mut books = asker.books();
    for what in &tick.entries {
        match what {
            What::Run(RunEvent::Started { .. }) => run_was_asked(&asker, tick)?,
            What::Step(id, StepEvent::Started { .. }) => {
                let (_, decision) = asker.about(id, Some(Moment::TakeOut), &books);
                allows(&format!("the intent of {id}"), &decision)?;
            }
            What::Step(id, StepEvent::Moved { phase: StepPhase::Upgrading, .. }) => {
                let (moment, decision) = asker.about(id, None, &books);
                if moment == Moment::Change {
                    allows(&format!("the change of {id}"), &decision)?;
                }
            }
            What::Step(..) | What::Run(_) | What::Cluster(_) | What::Commit(_) | What::Interruption(_) => {}
        }
        // Steps that are chosen are booked one after the other.
        if let What::Step(id, StepEvent::Started { .. }) = what {
            books.choose(scene.record.run.as_ref().unwrap().find(id).unwrap().1);
        }
    }
    for (effect, _) in &tick.effects {
        match effect {
            Effect::Node { patch: NodePatch::Claim(claim), .. } => {
                let mut in_progress = scene.record.run.as_ref().unwrap().in_progress();
                let (id, progress) = in_progress.find(|(id, _)| id.to_string() == claim.step).unwrap();
                // A claim that somebody removed from a changed node is made again, to return the node. That takes
                // nothing out.
                if progress.found.is_some() && progress.phase >= StepPhase::Upgrading {
                    continue;
                }
                let (_, decision) = asker.about(id, None, &asker.books());
                allows(&format!("the claim of {}", claim.step), &decision)?;
            }
            Effect::CreateJob { manifest, .. } => {
                let wanted = manifest["metadata"]["annotations"]["windlass.dev/step"].as_str().unwrap();
                job_was_asked(&asker, |id| id.to_string() == wanted)?;
            }
            Effect::SuspendJob { name, suspend: false, .. } => {
                let node = scene.live.jobs.get(name).unwrap().node.as_str();
                job_was_asked(&asker, |id| id.node_name() == Some(node))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Any step of the first stage may start; of a control plane every one.
fn run_was_asked(asker: &Asker<'_>, tick: &Tick) -> Result<(), TestCaseError> {
    let (world, plan, books) = (asker.world(), tick.frozen.as_ref().unwrap(), asker.books());
    let stage = plan.stages.iter().find(|stage| !stage.steps.is_empty()).unwrap();
    let may = |step: &Step| {
        let (plan, stage, step) = (Some(plan), Some(stage), Some(step));
        ask(&Question { moment: Moment::StartRun, world: &world, plan, stage, step, books: &books }).allows()
    };
    let unit = stage.kind.is_control_plane();
    let allowed = if unit { stage.steps.iter().all(may) } else { stage.steps.iter().any(may) };
    prop_assert!(allowed, "the run was not allowed");
    Ok(())
}

/// A Job is created only where every gate allows the change. One that vanished from a node that is being upgraded is
/// created again; only a stop keeps it back.
fn job_was_asked(asker: &Asker<'_>, of: impl Fn(&StepId) -> bool) -> Result<(), TestCaseError> {
    let run = asker.scene.record.run.as_ref().unwrap();
    let (id, progress) = run.in_progress().find(|(id, _)| of(id)).unwrap();
    let (_, decision) = asker.about(id, None, &asker.books());
    if progress.phase < StepPhase::Upgrading {
        return allows(&format!("the Job of {id}"), &decision);
    }
    let stops = |answer: &&Answer| answer.gate == Gate::Stop;
    prop_assert!(decision.objections().find(stops).is_none());
    Ok(())
}

/// What owners had before this run, of the run in progress.
fn sizes(record: &windlass::record::Record) -> BTreeMap<String, u32> {
    record.run.as_ref().map(|run| run.owner_sizes.clone()).unwrap_or_default()
}

/// What may be named as a reason of a step: its node, the node's pods, their budgets and owners, its Job, its pool and
/// zone, and what concerns the whole cluster.
fn own_objects(scene: &Scene, id: &StepId) -> BTreeSet<String> {
    let (live, run) = (&scene.live, scene.record.run.as_ref().unwrap());
    let (_, step) = run.find(id).unwrap();
    let mut own: BTreeSet<String> =
        ["api", "etcd", "lease/windlass", "cluster/prod-eu"].map(str::to_owned).into();
    let policies = &scene.state.desired.as_ref().unwrap().policies;
    own.extend(policies.windows.iter().map(|window| format!("window/{}", window.name)));
    own.extend(policies.freezes.iter().map(|freeze| format!("freeze/{}", freeze.name)));
    let Some(mv) = step.node_move() else { return own };
    own.extend([
        format!("node/{}", mv.node.name),
        format!("zone/{}", mv.zone),
        format!("pool/{}", id.scope.name()),
    ]);
    for pod in live.pods_on(&mv.node.name) {
        own.insert(pod.object());
        own.extend(
            live.budgets_of(pod).into_iter().map(|((space, name), _)| format!("budget/{space}/{name}")),
        );
        own.extend(pod.owner.as_ref().map(|owner| live.owner_name(&live.top_owner(owner))));
    }
    if let Some(record) = run.steps.get(id) {
        own.extend(record.baseline.values().map(|owner| owner.name.clone()));
        own.insert(format!("job/{}", super::marks::job_name(run, step, record)));
    }
    own
}

fn reasons_are_its_own(scene: &Scene, tick: &Tick) -> Result<(), TestCaseError> {
    let Some(run) = &scene.record.run else { return Ok(()) };
    let is_own = |id: &StepId, reason: &Reason, also: &BTreeSet<String>| {
        let own = own_objects(scene, id);
        prop_assert!(own.contains(&reason.object) || also.contains(&reason.object), "{id}: {reason:#?}");
        Ok::<(), TestCaseError>(())
    };
    for what in &tick.entries {
        if let What::Step(id, StepEvent::SetAside { reasons, .. } | StepEvent::Failed { reasons }) = what {
            reasons.iter().try_for_each(|reason| is_own(id, reason, &BTreeSet::new()))?;
        }
    }
    let asker = Asker { scene, tenure: tenure(&scene.live, &scene.record, &scene.me, scene.now) };
    for (id, _) in run.in_progress() {
        let (_, decision) = asker.about(id, None, &asker.books());
        let sizes = sizes(&scene.record);
        let ledger = Ledger::new(&scene.live, &sizes, BTreeSet::new());
        let hand = asker.hand(id, &ledger);
        let turn = work::advance(&hand, work::standing(&hand), &decision);
        // A control plane node waits for its peers.
        let peers = scene.live.control_plane().map(|node| format!("node/{}", node.name));
        let peers: BTreeSet<String> = peers.filter(|_| id.scope == Scope::ControlPlane).collect();
        let objections = turn.answers.iter().filter(|answer| answer.verdict != Verdict::Allow);
        objections.map(|answer| &answer.reason).try_for_each(|reason| is_own(id, reason, &peers))?;
    }
    Ok(())
}

/// A walk that leaves groups of steps out comes by all others that are not started, in the order of the plan.
fn walks_come_by_what_is_not_started(scene: &Scene) -> Result<(), TestCaseError> {
    let Some(run) = &scene.record.run else { return Ok(()) };
    for (number, _) in run.plan.stages.iter().enumerate() {
        for (pool, zone) in [("", ""), ("general", ""), ("batch", "a"), ("", "b")] {
            let out = |of: &str, in_zone: &str| of == pool || (!zone.is_empty() && in_zone == zone);
            let mut walk = run.waiting(number).unwrap();
            let left = std::iter::from_fn(|| walk.next(|alike| out(alike.scope.name(), &alike.zone)));
            let in_zone = |step: &Step| step.node_move().map_or(String::new(), |mv| mv.zone.clone());
            let other = run.not_started(number).filter(|step| !out(step.id.scope.name(), &in_zone(step)));
            let (left, other): (Vec<_>, Vec<_>) =
                (left.map(|step| &step.id).collect(), other.map(|step| &step.id).collect());
            prop_assert_eq!(left, other);
        }
    }
    Ok(())
}

proptest! {
    // Without a file of old failures: a failure becomes a case in `cases/pass`.
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pass_starts_what_was_asked_and_gives_reasons_of_its_own(text in any_case()) {
        let case = Case::read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let scene = Scene::of(&case);
        walks_come_by_what_is_not_started(&scene)?;
        let tick = tick(scene.input());
        what_starts_was_asked(&scene, &tick)?;
        reasons_are_its_own(&scene, &tick)?;
        prop_assert_eq!(check(&scene.input(), &tick), []);
    }
}
