//! The check of a tick is only worth something if it notices: real ticks of the cases, each spoilt in one way.

use jiff::SignedDuration;
use serde_json::json;
use windlass::model::CommitId;
use windlass::model::decision::Key;
use windlass::model::effect::{Effect, EffectKey, LeaseMove, NodePatch, RolloutPatch};
use windlass::model::entry::{
    CommitEvent, InterruptionEvent, RunEvent, RunOutcome, StepEvent, StepPhase, What,
};
use windlass::model::live::{
    ClaimState, Id, Job, JobState, Jobs, NodeTaint, Pod, Progress, Ready, Rollout, RolloutNote, Strategy,
    Uid, Workload,
};
use windlass::model::work::{Scope, StepId, WorkKind};
use windlass::reconcile::{Tick, check, tick};
use windlass::record::StepEnd;

use super::scene;
use super::scene::Scene;
use crate::worlds::{add_node, add_pod, budget, set_control_plane};

const TAKEN: &str = "lease-of-a-silent-process-is-taken-over";
const WITHDRAWN: &str = "set-aside-with-a-job-that-waits-withdraws-it-first";
const SUSPENDED: &str = "set-aside-with-a-suspended-job-deletes-it-first";
const RETURNED: &str = "set-aside-is-given-back";
/// Spoils the tick of a case, or what it was made from, and expects the check to say these words.
#[track_caller]
fn caught(case: &str, words: &str, spoil: impl FnOnce(&mut Scene, &mut Tick)) {
    let mut scene = scene(case);
    let mut tick = tick(scene.input());
    assert_eq!(check(&scene.input(), &tick), [], "{case}");
    spoil(&mut scene, &mut tick);
    let findings = check(&scene.input(), &tick);
    assert!(findings.iter().all(|finding| finding.key == Key::PassBroken));
    assert!(findings.iter().any(|finding| finding.text.contains(words)), "{case}: {words}: {findings:#?}");
}

/// Changes the first claim, note or release among the effects.
fn patch(tick: &mut Tick, change: impl FnOnce(&mut windlass::model::claim::Claim)) {
    let claim = tick.effects.iter_mut().find_map(|(effect, _)| match effect {
        Effect::Node {
            patch: NodePatch::Claim(claim) | NodePatch::Note(claim) | NodePatch::Release(claim),
            ..
        } => Some(claim),
        _ => None,
    });
    change(claim.unwrap());
}

fn pod(scene: &mut Scene, name: &str, change: impl FnOnce(&mut Pod)) {
    let mut pod = scene.live.pods.get(&Uid::from(format!("uid-shop-{name}"))).unwrap().clone();
    change(&mut pod);
    scene.live.pods.put(pod);
}

fn evict(name: &str) -> Effect {
    let uid = format!("uid-shop-{name}");
    Effect::Evict { namespace: "shop".to_owned(), pod: name.to_owned(), uid }
}

/// The step of a node of the run in progress.
fn step(scene: &Scene, node: &str, kind: WorkKind) -> StepId {
    let mut steps = scene.record.run.as_ref().unwrap().plan.steps();
    steps.find(|step| step.node() == Some(node) && step.id.kind == kind).unwrap().id.clone()
}

fn kubelet(scene: &Scene, node: &str) -> StepId {
    step(scene, node, WorkKind::Kubelet)
}

fn started() -> StepEvent {
    StepEvent::Started { pods: 0, baseline: std::collections::BTreeMap::new() }
}

fn halted() -> What {
    What::Interruption(InterruptionEvent::Halted { reasons: Vec::new() })
}

#[test]
fn evictions_that_no_budget_allows() {
    const CASE: &str = "drain-evicts-what-budgets-and-owners-allow";
    caught(CASE, "more pods are evicted than it allows", |scene, _| {
        let key = ("shop".into(), "cart".into());
        scene.live.budgets.get_mut(&key).unwrap().disruptions_allowed = 0;
    });
    caught(CASE, "more pods are evicted than it allows", |scene, _| {
        let key = ("shop".into(), "cart".into());
        scene.live.budgets.get_mut(&key).unwrap().observed = false;
    });
    caught(CASE, "more pods are evicted than it allows", |scene, _| {
        add_pod(&mut scene.live, "shop", "cart-9", "w2 deployment/cart app=cart");
        scene.live.overlay.evicted.insert("uid-shop-cart-9".into(), scene.now);
    });
    caught(CASE, "more of its pods would be missing than may be", |_, tick| {
        let after = tick.effects[0].1;
        tick.effects.extend([("mail-1", after), ("mail-2", after)].map(|(name, after)| (evict(name), after)));
    });
    caught(CASE, "more than one budget covers it", |scene, _| {
        scene.live.budgets.insert(("shop".into(), "another".into()), budget("app=cart"));
    });
}

#[test]
fn evictions_of_the_wrong_pod() {
    const CASE: &str = "drain-evicts-what-budgets-and-owners-allow";
    caught(CASE, "two effects are about the same object", |_, tick| {
        let twice = tick.effects.iter().find(|(effect, _)| *effect == evict("cart-1")).unwrap().clone();
        tick.effects.push(twice);
    });
    caught(CASE, "it is evicted twice", |_, tick| {
        let twice = tick.effects.iter().find(|(effect, _)| *effect == evict("cart-1")).unwrap().clone();
        tick.effects.push(twice);
    });
    caught(CASE, "it is evicted and not there", |scene, _| {
        scene.live.pods.remove(&"uid-shop-cart-1".into());
    });
    caught(CASE, "another pod is evicted than the one of this UID", |scene, _| {
        pod(scene, "cart-1", |pod| pod.name = "cart-2".into());
    });
    caught(CASE, "it is evicted and leaving already", |scene, _| {
        let now = scene.now;
        pod(scene, "cart-1", |pod| pod.deleting = Some(now.into()));
    });
    caught(CASE, "it is evicted and leaving already", |scene, _| {
        scene.live.overlay.evicted.insert("uid-shop-cart-1".into(), scene.now);
    });
    caught(CASE, "it is evicted and leaving already", |scene, _| {
        let key = EffectKey::Eviction("uid-shop-cart-1".into());
        scene.live.overlay.in_flight.insert(key, scene.now);
    });
    caught(CASE, "no drain waits for such a pod", |_, tick| {
        let (namespace, pod) = ("kube-system".to_owned(), "proxy-1".to_owned());
        let uid = "uid-kube-system-proxy-1".to_owned();
        let after = tick.effects[0].1;
        tick.effects.push((Effect::Evict { namespace, pod, uid }, after));
    });
}

#[test]
fn evictions_from_the_wrong_node() {
    const CASE: &str = "drain-evicts-what-budgets-and-owners-allow";
    let w1 = |scene: &mut Scene, change: &dyn Fn(&mut windlass::model::live::Node)| {
        change(scene.live.nodes.get_mut("w1").unwrap());
    };
    caught(CASE, "does not bear our claim", |scene, _| w1(scene, &|node| node.claim = None));
    caught(CASE, "does not bear our claim", |scene, _| {
        w1(scene, &|node| {
            let Some(ClaimState::Ours(claim)) = &mut node.claim else { panic!("w1 bears a claim") };
            claim.run.push('9');
        });
    });
    caught(CASE, "a node that is not cordoned", |scene, _| w1(scene, &|node| node.unschedulable = false));
    caught(CASE, "a node that a person holds", |scene, _| w1(scene, &|node| node.hold = Some(String::new())));
    caught(CASE, "a node that is not being emptied", |scene, _| phase(scene, "w1", StepPhase::Upgrading));
    caught(CASE, "by another entry than the intent of its node's step", |_, tick| tick.effects[0].1 += 1);
    caught(CASE, "from a node that no run empties", |scene, _| scene.record.run = None);
}

/// What the record would say if the step had come to this phase.
fn phase(scene: &mut Scene, node: &str, phase: StepPhase) {
    let id = kubelet(scene, node);
    scene.record.run.as_mut().unwrap().steps.get_mut(&id).unwrap().phase = phase;
}

#[test]
fn claims_without_an_intent() {
    const CASE: &str = "window-closed-and-finish-batch-claims-what-was-chosen";
    caught(CASE, "whose intent is not on record", |scene, _| {
        let id = kubelet(scene, "w1");
        scene.record.run.as_mut().unwrap().steps.remove(&id);
    });
    caught(CASE, "whose intent is not on record", |scene, _| scene.record.run = None);
    caught(CASE, "by another entry than the intent of its step", |_, tick| tick.effects[0].1 -= 1);
    caught(CASE, "by an entry that is not written yet", |scene, tick| {
        tick.effects[0].1 = scene.record.next_seq;
    });
    caught(CASE, "for another run", |_, tick| patch(tick, |claim| claim.run.push('9')));
    caught(CASE, "another plan than the run's", |_, tick| patch(tick, |claim| claim.plan_digest.push('9')));
    caught(CASE, "its claim names another node", |_, tick| patch(tick, |claim| claim.node_uid.push('9')));
    caught(CASE, "the step of another node", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().uid = "x".into();
    });
    caught(CASE, "there is no such node", |scene, _| drop(scene.live.nodes.remove("w1")));
    caught(CASE, "without a cordon", |_, tick| patch(tick, |claim| claim.cordoned = false));
    caught(CASE, "forgets how the node was found", |_, tick| {
        patch(tick, |claim| claim.was_unschedulable = true);
    });
    caught(CASE, "another state of it is patched", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().resource_version.push('9');
    });
    caught(CASE, "while a person holds it", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().hold = Some(String::new());
    });
}

#[test]
fn claims_over_somebody_elses() {
    const CASE: &str = "claim-of-the-run-before-is-taken-over";
    let claim = |scene: &mut Scene, epoch: u64| {
        let Some(ClaimState::Ours(claim)) = &mut scene.live.nodes.get_mut("w1").unwrap().claim else {
            panic!("w1 bears a claim")
        };
        claim.epoch = epoch;
    };
    caught(CASE, "a claim of a higher epoch is overwritten", |scene, _| claim(scene, 9));
    caught(CASE, "does not bear the epoch of the lease", |_, tick| patch(tick, |claim| claim.epoch = 2));
    caught(CASE, "forgets how the node was found", |scene, _| {
        let Some(ClaimState::Ours(claim)) = &mut scene.live.nodes.get_mut("w1").unwrap().claim else {
            panic!("w1 bears a claim")
        };
        claim.was_unschedulable = true;
    });
    caught(CASE, "a claim that cannot be read is only ever forgotten", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().claim = Some(ClaimState::Unreadable(String::new()));
    });
}

#[test]
fn claims_that_change_more_than_their_timers() {
    const CASE: &str = "proving-notes-the-first-heartbeat";
    caught(CASE, "more than the timers", |_, tick| patch(tick, |claim| claim.cordoned = false));
    caught(CASE, "more than the timers", |_, tick| patch(tick, |claim| claim.epoch += 1));
    caught(CASE, "more than the timers", |scene, _| scene.live.nodes.get_mut("w1").unwrap().claim = None);
    caught(CASE, "no step in progress has the node", |_, tick| {
        tick.effects.iter_mut().for_each(|(_, after)| *after -= 1);
    });
}

#[test]
fn claims_that_are_given_back_too_early() {
    const UNREADABLE: &str = "returning-a-node-whose-claim-cannot-be-read";
    const CASE: &str = "returning-uncordons";
    caught(CASE, "before it has proven that it is well", |scene, _| phase(scene, "w1", StepPhase::Upgrading));
    caught(CASE, "another claim is taken away", |_, tick| {
        patch(tick, |claim| claim.was_unschedulable = true);
    });
    caught(CASE, "by another entry than the intent of its step", |_, tick| {
        tick.effects.iter_mut().for_each(|(_, after)| *after -= 1);
    });
    let end = |scene: &mut Scene, end| {
        let id = kubelet(scene, "w1");
        scene.record.run.as_mut().unwrap().steps.get_mut(&id).unwrap().end = Some(end);
    };
    caught(RETURNED, "it was changed and has not come back", |scene, _| {
        end(scene, windlass::record::StepEnd::Failed(Vec::new()));
    });
    caught(RETURNED, "it was changed and has not come back", |scene, _| {
        end(scene, windlass::record::StepEnd::SetAside { touched: true, reasons: Vec::new() });
    });
    caught(RETURNED, "while a Job may change it", |scene, _| {
        let other = super::scene("set-aside-with-a-job-that-waits-withdraws-it-first");
        scene.live.jobs = other.live.jobs;
    });
    caught(UNREADABLE, "before it has proven that it is well", |scene, _| {
        phase(scene, "w1", StepPhase::Upgrading);
    });
    caught(UNREADABLE, "no step has brought the node back", |scene, tick| {
        phase(scene, "w1", StepPhase::Upgrading);
        for (effect, _) in &mut tick.effects {
            if let Effect::Node { patch, .. } = effect {
                *patch = NodePatch::Forget;
            }
        }
    });
    caught(
        "claim-of-a-run-that-is-gone-is-given-back",
        "while a step of the run has the node",
        |scene, _| {
            let other = super::scene("claim-that-is-written-and-not-on-record");
            scene.record = other.record;
        },
    );
}

fn state_of_jobs(scene: &mut Scene, state: &JobState) {
    let jobs: Vec<_> = scene.live.jobs.iter().map(|(name, job)| (name.clone(), job.clone())).collect();
    for (name, job) in jobs {
        scene.live.jobs.insert(name, Job { state: state.clone(), ..job });
    }
}

fn runs(scene: &mut Scene, _: &mut Tick) {
    state_of_jobs(scene, &JobState::Running);
}

/// What keeps a Job from being created, and once more from being let begin.
fn work_that_may_not_begin(case: &str) {
    caught(case, "before its node was drained", |scene, _| phase(scene, "w1", StepPhase::Claimed));
    caught(case, "while the run is halted", |scene, _| {
        scene.record.halted = super::scene("halt-returns-a-drained-node").record.halted;
    });
    caught(case, "while its node is not cordoned", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().unschedulable = false;
    });
    caught(case, "pods that were there before the cordon are left", |scene, _| {
        crate::worlds::add_pod(&mut scene.live, "shop", "cart", "w1 deployment/cart");
    });
    caught(case, "a person holds its node", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().hold = Some(String::new());
    });
}

#[test]
fn jobs_that_begin_for_nothing() {
    const CASE: &str = "change-lets-the-suspended-job-begin";
    work_that_may_not_begin(CASE);
    caught(CASE, "it begins for no step in progress", |scene, _| {
        let id = kubelet(scene, "w1");
        scene.record.run.as_mut().unwrap().steps.get_mut(&id).unwrap().end = Some(StepEnd::Done);
    });
    caught(CASE, "it begins a second time", |scene, _| {
        phase(scene, "w1", StepPhase::Upgrading);
        let (name, job) =
            scene.live.jobs.on("w1").map(|(name, job)| (name.clone(), job.clone())).next().unwrap();
        scene.live.jobs.insert(name, Job { begun: true, ..job });
    });
    caught(CASE, "there is no such Job", |scene, _| scene.live.jobs = Jobs::default());
}

#[test]
fn jobs_for_nothing() {
    const CASE: &str = "change-creates-the-job";
    let manifest = |tick: &mut Tick, path: &str, value: &str| {
        for (effect, _) in &mut tick.effects {
            if let Effect::CreateJob { manifest, .. } = effect {
                *manifest.pointer_mut(path).unwrap() = json!(value);
            }
        }
    };
    work_that_may_not_begin(CASE);
    caught(CASE, "for no step in progress", |_, tick| {
        manifest(tick, "/metadata/annotations/windlass.dev~1step", "general/v1.36.3/w9@uid-w9/kubelet");
    });
    caught(CASE, "on another node than that of its step", |_, tick| {
        manifest(tick, "/spec/template/spec/nodeName", "w2");
    });
    caught(CASE, "does not bear the claim of its step", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().claim = None;
    });
    caught(CASE, "its node is not there", |scene, _| drop(scene.live.nodes.remove("w1")));
    caught(CASE, "by another entry than the intent of its step", |_, tick| {
        tick.effects.iter_mut().for_each(|(_, after)| *after = 0);
    });
    caught(CASE, "it exists", |scene, _| {
        let other = super::scene("job-runs");
        scene.live.jobs = other.live.jobs;
    });
    caught(CASE, "it is not suspended when it is created", |_, tick| {
        manifest(tick, "/spec/suspend", "no");
    });
    for (case, what) in
        [(SUSPENDED, "it is deleted while it runs"), (WITHDRAWN, "it is suspended while it runs")]
    {
        caught(case, what, runs);
    }
    caught(SUSPENDED, "it is deleted while its pod may start", |scene, _| {
        state_of_jobs(scene, &JobState::Waiting(String::new()));
    });
    caught(SUSPENDED, "a step in progress has its node", |scene, _| {
        let id = kubelet(scene, "w1");
        scene.record.run.as_mut().unwrap().steps.get_mut(&id).unwrap().end = None;
    });
    caught(WITHDRAWN, "there is no such Job", |scene, _| {
        scene.live.jobs = Jobs::default();
    });
    caught(WITHDRAWN, "was not set aside untouched", |scene, _| {
        let id = kubelet(scene, "w1");
        scene.record.run.as_mut().unwrap().steps.get_mut(&id).unwrap().end = None;
    });
}

#[test]
fn effects_without_the_lease() {
    for case in
        ["change-creates-the-job", "returning-uncordons", "status-is-published", "hop-takes-its-first-node"]
    {
        caught(case, "it is done without the lease", |scene, _| scene.live.lock = None);
        caught(case, "it is done without the lease", |scene, _| {
            scene.live.lock.as_mut().unwrap().holder = "another".to_owned();
        });
        caught(case, "it is done without the lease", |scene, _| {
            scene.live.lock.as_mut().unwrap().seen -= SignedDuration::from_secs(20);
        });
        caught(case, "while the cluster is stopped", |scene, _| {
            scene.live.stop = super::scene("stop-starts-no-run").live.stop;
        });
        caught(case, "to another cluster", |scene, _| scene.live.cluster_uid = Some("uid-other".to_owned()));
        caught(case, "to another cluster", |scene, _| scene.me.twin = Some("prod-us".to_owned()));
        caught(case, "before everything was seen", |scene, _| scene.live.complete = false);
    }
    caught(TAKEN, "from a process that is alive", |scene, _| {
        scene.live.lock.as_mut().unwrap().seen = scene.now;
    });
    caught(TAKEN, "its epoch does not follow", |scene, _| scene.live.lock.as_mut().unwrap().transitions = 9);
    caught(TAKEN, "for another process", |_, tick| {
        for (effect, _) in &mut tick.effects {
            if let Effect::Lease { lease: LeaseMove::Hold { holder, .. }, .. } = effect {
                holder.push('9');
            }
        }
    });
    caught("as-desired-gives-the-lease-back", "by another than its holder", |scene, _| {
        scene.live.lock.as_mut().unwrap().holder = "another".to_owned();
    });
}

#[test]
fn two_control_plane_nodes_at_once() {
    const CASE: &str = "hop-takes-its-first-node";
    caught(CASE, "two control plane nodes", |scene, tick| {
        let id = step(scene, "cp2", WorkKind::ControlPlane);
        let intent = scene.record.run.as_ref().unwrap().steps[&id].intent;
        let Some((Effect::Node { patch: NodePatch::Claim(claim), .. }, _)) = tick.effects.first() else {
            panic!("cp1 is claimed")
        };
        let mut claim = claim.clone();
        (claim.step, claim.node_uid) = (id.to_string(), "uid-cp2".to_owned());
        let node = scene.live.nodes.get("cp2").unwrap();
        tick.effects.push((Effect::node(node, NodePatch::Claim(claim)), intent));
    });
    caught(CASE, "two control plane nodes", |scene, _| {
        let id = step(scene, "cp3", WorkKind::ControlPlane);
        scene.record.run.as_mut().unwrap().steps.get_mut(&id).unwrap().phase = StepPhase::Upgrading;
    });
}

#[test]
fn versions_too_far_apart() {
    let version = |text: &str| Some(text.parse().unwrap());
    for case in ["hop-takes-its-first-node", "hop-begins-as-one-unit"] {
        caught(case, "API servers more than one minor apart", |scene, _| {
            set_control_plane(&mut scene.live, "cp2", version("v1.34.9").as_ref());
        });
        caught(case, "too many minors behind an API server", |scene, _| {
            add_node(&mut scene.live, "w9", "pool=none v1.32.13");
        });
    }
    caught("hop-takes-its-first-node", "the version of an API server is not known", |scene, _| {
        set_control_plane(&mut scene.live, "cp2", None);
    });
    for case in [
        "run-takes-out-a-worker",
        "change-creates-the-job",
        "window-closed-and-finish-batch-claims-what-was-chosen",
    ] {
        caught(case, "its kubelet would be newer than an API server", |scene, _| {
            set_control_plane(&mut scene.live, "cp1", version("v1.35.4").as_ref());
        });
    }
    caught("run-takes-out-a-worker", "the version of an API server is not known", |scene, _| {
        set_control_plane(&mut scene.live, "cp1", None);
        scene.live.api.version = None;
    });
    // Two minors for kubelets before 1.25, three for later ones.
    caught("hop-takes-its-first-node", "too many minors behind an API server", |scene, _| {
        for node in ["cp1", "cp2", "cp3"] {
            set_control_plane(&mut scene.live, node, version("v1.26.3").as_ref());
        }
        for step in
            scene.record.run.as_mut().unwrap().plan.stages.iter_mut().flat_map(|stage| &mut stage.steps)
        {
            if let windlass::model::work::Work::ControlPlane(mv) = &mut step.work {
                mv.to = "v1.27.16".parse().unwrap();
            }
        }
        add_node(&mut scene.live, "w9", "pool=none v1.24.17");
        for name in ["cp1", "cp2", "cp3"] {
            scene.live.nodes.get_mut(name).unwrap().kubelet = version("v1.26.3");
        }
    });
}

#[test]
fn intents_beyond_a_limit() {
    let begin = |scene: &Scene, tick: &mut Tick, node: &str| {
        tick.entries.push(What::Step(kubelet(scene, node), started()));
    };
    caught("limit-of-the-pool", "more of its nodes would be out", |scene, tick| begin(scene, tick, "w2"));
    caught(
        "limit-of-the-pool-counts-who-is-out-for-any-cause",
        "more of its nodes would be out",
        |scene, tick| {
            begin(scene, tick, "w3");
        },
    );
    caught("limit-of-the-zone", "more nodes of one pool would be out in it", |scene, tick| {
        begin(scene, tick, "w2");
    });
    caught("limit-of-the-cluster", "more nodes would be out than its limit", |scene, tick| {
        let missing = ["w1", "w2", "b1", "b2"].into_iter().find(|node| {
            let id = kubelet(scene, node);
            !tick.entries.iter().any(|what| matches!(what, What::Step(step, _) if *step == id))
        });
        begin(scene, tick, missing.unwrap());
    });
    caught("run-takes-out-a-worker", "more of its nodes would be out", |scene, _| {
        scene.live.nodes.get_mut("w3").unwrap().ready = Ready::Unknown;
    });
}

#[test]
fn intents_of_what_may_not_begin() {
    const CASE: &str = "run-takes-out-a-worker";
    caught(CASE, "while the cluster is stopped", |scene, _| {
        scene.live.stop = super::scene("stop-starts-no-run").live.stop;
    });
    caught(CASE, "progress is recorded while the cluster is stopped", |scene, _| {
        scene.live.stop = super::scene("stop-starts-no-run").live.stop;
    });
    caught(CASE, "while the run is halted", |scene, _| {
        scene.record.halted = super::scene("halt-starts-no-run").record.halted;
    });
    caught(CASE, "while spec.mode is observe", |scene, _| {
        scene.state.desired = super::scene("mode-observe-starts-no-run").state.desired;
    });
    caught(CASE, "while the newest commit is not valid", |scene, _| scene.state.problems.push(String::new()));
    caught(CASE, "it is begun without the lease", |scene, _| scene.live.lock = None);
    caught(CASE, "its node is not there", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().uid = "another".into();
    });
    caught(CASE, "in progress, done or gone", |scene, tick| {
        let other = super::scene("limit-of-the-pool");
        let id = kubelet(&other, "w1");
        scene.record = other.record;
        tick.entries.push(What::Step(id, started()));
    });
    caught(CASE, "the frozen plan does not have", |scene, tick| {
        let mut id = kubelet(scene, "w1");
        id.scope = Scope::Pool("batch".to_owned());
        tick.entries.push(What::Step(id, started()));
    });
    caught(CASE, "the frozen plan does not have", |scene, _| scene.record.run = None);
    caught(CASE, "while another process acts", |_, tick| tick.stands_by = true);
}

#[test]
fn runs_that_may_not_start() {
    const CASE: &str = "run-starts";
    caught(CASE, "a run without its plan", |_, tick| tick.frozen = None);
    caught("as-desired-gives-the-lease-back", "a plan is frozen without its run", |scene, tick| {
        tick.frozen = scene.fresh.clone();
    });
    caught(CASE, "another plan than the frozen one", |_, tick| {
        tick.frozen.as_mut().unwrap().digest.push('9');
    });
    caught(CASE, "for another commit or cluster", |_, tick| tick.frozen.as_mut().unwrap().commit.0.push('9'));
    caught(CASE, "for another commit or cluster", |_, tick| tick.frozen.as_mut().unwrap().cluster.push('9'));
    caught(CASE, "that cannot be carried out", |_, tick| {
        let other = super::scene("plan-with-blockers-starts-no-run");
        tick.frozen.as_mut().unwrap().blockers = other.fresh.unwrap().blockers;
    });
    caught(CASE, "not the good one in force", |scene, _| scene.state.problems.push(String::new()));
    caught(CASE, "not the good one in force", |scene, _| scene.state.desired = None);
    caught(CASE, "while another is in progress", |scene, _| {
        scene.record = super::scene("run-takes-out-a-worker").record;
    });
    caught(CASE, "while the run is halted", |scene, _| {
        scene.record.halted = super::scene("halt-starts-no-run").record.halted;
    });
    caught(CASE, "while the cluster is stopped", |scene, _| {
        scene.live.stop = super::scene("stop-starts-no-run").live.stop;
    });
    caught(CASE, "a run starts without the lease", |scene, _| scene.live.lock = None);
    caught(CASE, "while spec.mode is observe", |scene, _| {
        scene.state.desired = super::scene("mode-observe-starts-no-run").state.desired;
    });
}

#[test]
fn steps_that_did_not_come_that_far() {
    let moved =
        |scene: &Scene, phase| What::Step(kubelet(scene, "w1"), StepEvent::Moved { phase, found: None });
    caught("change-creates-the-job", "it moves back", |scene, tick| {
        tick.entries.push(moved(scene, StepPhase::Claimed));
    });
    caught("drain-is-over", "without its claim on the node", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().claim = None;
    });
    caught("proving-is-over", "does not run the target", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().kubelet = "v1.35.4".parse().ok();
    });
    caught("returned-is-written-down", "bears its claim", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().claim =
            super::scene("returning-uncordons").live.nodes["w1"].claim.clone();
    });
    caught("done-is-written-down", "does not run the target", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().kubelet = None;
    });
    caught("run-takes-out-a-worker", "is not in progress", |scene, tick| {
        tick.entries.push(moved(scene, StepPhase::Claimed));
    });
    caught("run-ends-when-everything-is-done", "it is done twice", |scene, tick| {
        let id = kubelet(scene, "w1");
        tick.entries.push(What::Step(
            id,
            StepEvent::Done { version: "v1.36.3".to_owned(), evicted: 0, owes: Vec::new() },
        ));
    });
}

#[test]
fn ends_that_are_none() {
    caught("job-failed", "the run does not halt", |_, tick| {
        tick.entries.retain(|what| !matches!(what, What::Interruption(_)));
    });
    caught("run-takes-out-a-worker", "fails and was not in progress", |scene, tick| {
        let event = StepEvent::Failed { reasons: Vec::new() };
        tick.entries.extend([What::Step(kubelet(scene, "w2"), event), halted()]);
    });
    caught("run-takes-out-a-worker", "set aside and was not in progress", |scene, tick| {
        let event = StepEvent::SetAside { touched: false, reasons: Vec::new() };
        tick.entries.push(What::Step(kubelet(scene, "w2"), event));
    });
    caught("job-waits-for-too-long", "an attempt before has changed it", |scene, _| {
        let id = kubelet(scene, "w1");
        scene.record.run.as_mut().unwrap().steps.get_mut(&id).unwrap().touched = true;
    });
    caught("step-is-gone-with-its-node-in-mid-drain", "and its node is there", |scene, _| {
        add_node(&mut scene.live, "w1", "pool=general v1.35.4");
    });
    let ended = || What::Run(RunEvent::Ended { outcome: RunOutcome::Converged, reasons: Vec::new() });
    caught("run-takes-out-a-worker", "is called converged and has steps to do", |_, tick| {
        tick.entries.push(ended());
    });
    caught("job-runs", "ends while a node is on its way", |_, tick| tick.entries.push(ended()));
    caught("run-starts", "a run ends, and there is none", |_, tick| tick.entries.push(ended()));
    caught("run-starts", "a commit is accepted that is not the good one", |_, tick| {
        let (commit, version) = (CommitId("f00d".to_owned()), "v1.36.3".parse().unwrap());
        tick.entries.push(What::Commit(CommitEvent::Accepted { commit, version, by: None }));
    });
    caught("run-starts", "it resumes, and neither is it halted", |_, tick| {
        let (by, reason) = ("anna".to_owned(), String::new());
        tick.entries.push(What::Interruption(InterruptionEvent::Resumed { by, reason, note: None }));
    });
}

/// The taints that the pass gives a node.
fn taints<'t>(tick: &'t mut Tick, node: &str) -> &'t mut Option<Vec<NodeTaint>> {
    let taints = tick.effects.iter_mut().find_map(|(effect, _)| match effect {
        Effect::Node { name, taints, .. } if name == node => Some(taints),
        _ => None,
    });
    taints.unwrap()
}

#[test]
fn taints_that_may_not_change() {
    const CASE: &str = "taint-is-given-to-nodes-that-wait";
    caught(CASE, "a taint of somebody else is changed", |_, tick| {
        taints(tick, "w4").as_mut().unwrap().retain(NodeTaint::is_ours);
    });
    caught(CASE, "our taint keeps pods from it", |_, tick| {
        taints(tick, "w3").as_mut().unwrap()[0].effect = "NoSchedule".into();
    });
    caught(CASE, "a patch of its taints has none", |_, tick| *taints(tick, "w3") = None);
    caught(CASE, "does not wait for its upgrade", |_, tick| tick.effects[0].1 = 1);
    caught(CASE, "while it is cordoned", |scene, _| {
        scene.live.nodes.get_mut("w3").unwrap().unschedulable = true;
    });
    caught("taint-is-announced-once-a-node-is-back", "a taint that it does not ask for", |scene, _| {
        let run = scene.record.run.as_mut().unwrap();
        run.plan.pools.get_mut("general").unwrap().prefer_upgraded = false;
    });
    caught("taint-that-is-gone-everywhere-is-recorded", "a taint that they never got", |scene, _| {
        scene.record.run.as_mut().unwrap().tainting.clear();
    });
}

/// Changes a Deployment of the namespace `shop`.
fn of_deployment(scene: &mut Scene, name: &str, change: impl FnOnce(&mut Workload, &mut Rollout)) {
    let uid = Id::from(format!("uid-shop-{name}-deployment"));
    let mut workload = scene.live.workloads[&uid].clone();
    let mut rollout = workload.rollout.take().unwrap();
    change(&mut workload, &mut rollout);
    workload.rollout = Some(rollout);
    scene.live.put_workload(uid, workload);
}

/// The first patch of a Deployment among the effects.
fn rolled(tick: &mut Tick) -> (&mut RolloutPatch, &mut u64) {
    let mut found = tick.effects.iter_mut().filter_map(|(effect, after)| match effect {
        Effect::Rollout { patch, .. } => Some((patch, after)),
        _ => None,
    });
    found.next().unwrap()
}

fn begun(tick: &mut Tick) -> &mut RolloutNote {
    match rolled(tick).0 {
        RolloutPatch::Begin(note) => note,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rollouts_that_may_not_begin() {
    const CASE: &str = "drain-moves-a-single-replica-by-a-rollout";
    let cart = |words: &str, change: fn(&mut Workload, &mut Rollout)| {
        caught(CASE, words, |scene, _| of_deployment(scene, "cart", change));
    };
    cart("another Deployment is patched", |workload, _| workload.name = "cart-2".into());
    cart("while another one is in progress", |_, rollout| rollout.progress = Progress::Going);
    cart("may take a pod away", |_, rollout| {
        rollout.strategy = Strategy::Rolling { surge: 1, unavailable: 1 };
    });
    cart("may take a pod away", |_, rollout| rollout.strategy = Strategy::Recreate);
    cart("did not ask", |_, rollout| rollout.surge = Some(false));
    cart("evictions are possible", |workload, _| workload.replicas = 2);
    cart("what its template had before", |_, rollout| rollout.moved = Some("other".into()));
    caught(CASE, "the patch would set off no rollout", |scene, tick| {
        let value = begun(tick).value();
        begun(tick).before = Some(value.clone());
        of_deployment(scene, "cart", |_, rollout| rollout.moved = Some(value.as_str().into()));
    });
    caught(CASE, "for no step in progress", |_, tick| begun(tick).step.push('9'));
    caught(CASE, "for another run", |_, tick| begun(tick).run.push('9'));
    caught(CASE, "another attempt than its step", |_, tick| begun(tick).attempt += 1);
    caught(CASE, "another epoch than ours", |_, tick| begun(tick).epoch += 1);
    caught(CASE, "another entry than the intent", |_, tick| *rolled(tick).1 = 1);
    caught(CASE, "that is not cordoned", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().unschedulable = false;
    });
    caught(CASE, "does not bear our claim", |scene, _| scene.live.nodes.get_mut("w1").unwrap().claim = None);
    caught(CASE, "that a person holds", |scene, _| {
        scene.live.nodes.get_mut("w1").unwrap().hold = Some(String::new());
    });
    caught(CASE, "that has no pod of it", |scene, _| {
        pod(scene, "cart", |pod| pod.node = Some("cp1".into()));
    });
    caught(CASE, "a volume that only one node may mount", |scene, _| {
        let with_volume = scene.live.pods.get(&Uid::from("uid-shop-disk")).unwrap().seldom.clone();
        pod(scene, "cart", |pod| pod.seldom = with_volume);
    });
    caught(CASE, "it is done without the lease", |scene, _| scene.live.lock = None);
}

#[test]
fn rollouts_that_may_not_end() {
    const CASE: &str = "rollout-of-a-step-that-is-over-is-undone";
    caught(CASE, "that no note tells of", |scene, _| {
        of_deployment(scene, "cart", |_, rollout| rollout.note = None);
    });
    caught(CASE, "another value than it had before", |_, tick| {
        for (effect, _) in &mut tick.effects {
            if let Effect::Rollout { patch: RolloutPatch::Undo { before }, .. } = effect {
                *before = Some("other".to_owned());
            }
        }
    });
    caught(CASE, "or has ended well", |scene, _| {
        of_deployment(scene, "cart", |_, rollout| rollout.progress = Progress::Complete);
    });
    caught("drain-waits-for-a-rollout", "while its step is in progress", |scene, tick| {
        let uid = "uid-shop-cart-deployment";
        let patch = RolloutPatch::Undo { before: None };
        tick.effects.push((Effect::rollout(uid, &scene.live.workloads[uid], patch).unwrap(), 5));
    });
    caught(CASE, "a later leader has begun", |scene, _| scene.live.lock.as_mut().unwrap().transitions = 1);
    caught("drain-forgets-a-rollout-that-has-ended-well", "that has not ended", |scene, _| {
        of_deployment(scene, "cart", |_, rollout| rollout.progress = Progress::Going);
    });
}
